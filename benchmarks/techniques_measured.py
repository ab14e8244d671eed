"""Which techniques pay on a model: accuracy with intervals, cost and warnings, on four tasks.

    python benchmarks/techniques_measured.py --data DIR --model REF --store DIR [--rows 100] [--minutes 60]
        [--tasks sst2,gsm8k,wtq,multi_hop] [--techniques A,B] [--write docs/techniques-measured.md]

DIR holds the public sets `sst2/dev.jsonl` (`text`, `label`), `gsm8k/dev.jsonl` (`question`, `answer`) and
`wtq/dev.jsonl` (`question`, `table` as `{columns, rows}`, `answer`); the rows of `multi_hop` are made here. All
techniques are asked on the same first rows. Answers are kept in the store, so the same command goes on where it ended.
`--minutes` ends it in time: a task is then measured on as many rows as all of its techniques have.

The measurements go to the record that `promptkit techniques recommend` reads, and the page is made from that: a section
for each model. Intervals are Wilson's, 95 %; the gain over `vanilla` is on the same rows, with its 95 % interval.
"""

from __future__ import annotations

import argparse
import asyncio
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import groupby
from pathlib import Path
from time import monotonic

from measured_tasks import TASKS, MeasuredTask

from promptkit.engine.load import load_target
from promptkit.engine.step_rows import find_prompt_step
from promptkit.evaluation.cells.progress import EvalOptions
from promptkit.evaluation.evaluate import Evaluation
from promptkit.evaluation.recommendation.evidence import MEASURED_FILE, Evidence, read_measured
from promptkit.evaluation.recommendation.technique_comparison import (
    TechniqueComparison,
    TechniqueSuite,
    compare_techniques,
    comparison_of,
    parse_specs,
    technique_suite,
)
from promptkit.project import Project
from promptkit.runtimes.models import Models
from promptkit.storage.store import Store
from promptkit.techniques.spec import spec_text
from promptkit.techniques.warnings import warning_text

HEAD = """\
# Techniques, measured

Which techniques of the catalog pay, on which task and model. One command makes this page, for any model, and the record
that `promptkit techniques recommend` uses:

```text
python benchmarks/techniques_measured.py --data DIR --model ollama/NAME --store DIR --write docs/techniques-measured.md
```

`--rows` and `--minutes` bound it, and the same command goes on where it ended. All techniques of a task are put on the
same step of one prompt without examples and asked on the same rows; the table names their settings. Accuracy has
Wilson's 95 % interval. The gain is against `vanilla` on the same rows, in points, with its 95 % interval: a technique
pays where that lies above 0. Requests and tokens (in + out) are for one row, and `seconds` is the model's own time for
it on the machine that measured: compare them only with each other. The last column counts rows without an answer that
can be read, answers that were cut off, and [warnings](evaluating.md#warnings).
"""
HEADS = ("technique", "right", "gain in points", "requests", "tokens", "seconds", "conditions, of all rows")
KEPT = "## Conclusions"


async def measure(task: MeasuredTask, options: argparse.Namespace, deadline: float) -> TechniqueComparison | None:
    """Return a task's comparison on as many rows as the time allows; None where it allows none."""
    with tempfile.TemporaryDirectory() as name, Store.open(options.store) as store:
        pipeline, rows = task.write(Path(name), options.data, options.rows)
        async with Models(options.model, why="--model", store=store) as models:
            watched: list[tuple[TechniqueSuite, Evaluation]] = []

            @contextmanager
            def watch(suite: TechniqueSuite, evaluation: Evaluation) -> Iterator[None]:
                watched.append((suite, evaluation))
                yield

            retrying = EvalOptions(retry_errors=True)

            def suite_of(count: int) -> TechniqueSuite:
                loaded = load_target(pipeline, Project.find(pipeline))
                specs = parse_specs(options.techniques or task.techniques)
                return technique_suite(loaded, find_prompt_step(loaded, None), specs, rows, limit=count)

            try:
                async with asyncio.timeout(max(0.0, deadline - monotonic())):
                    return await compare_techniques(
                        suite_of(options.rows), models=models, store=store, options=retrying, watch=watch
                    )
            except TimeoutError:
                done = complete_rows(comparison_of(*watched[0], store)) if watched else 0
            if not done:
                return None
            return await compare_techniques(suite_of(done), models=models, store=store, options=retrying)


def complete_rows(comparison: TechniqueComparison) -> int:
    """Return the number of rows that every available technique has answered."""
    return min(result.n for result in comparison.results if result.state != "unavailable")


def keep(file: Path, task: MeasuredTask, comparison: TechniqueComparison) -> list[Evidence]:
    """Put a task's measurements into the record in place of earlier ones on that model, and return the record."""
    new = [
        evidence.model_copy(update={"task": task.key, "data": evidence.data.model_copy(update={"file": task.name})})
        for evidence in comparison.evidence()
    ]
    replaced = {(line.task, line.model.reference, spec_text(line.technique)) for line in new}
    old = (
        line
        for line in read_measured(file)
        if (line.task, line.model.reference, spec_text(line.technique)) not in replaced
    )
    record = sorted([*old, *new], key=lambda line: (line.model.reference, _place(line)))
    file.write_text("".join(f"{line.model_dump_json(exclude_defaults=True)}\n" for line in record), "utf-8")
    return record


def _place(line: Evidence) -> int:
    return next((at for at, task in enumerate(TASKS) if task.key == line.task), len(TASKS))


def page(record: Sequence[Evidence]) -> Iterator[str]:
    """Yield the page's lines: a section for each model, in it a table for each task."""
    yield HEAD
    for reference, of_model in groupby(record, key=lambda line: line.model.reference):
        measured = list(of_model)
        yield from (f"## {reference}", "")
        yield f"Measured until {max(line.date for line in measured)[:10]}; digest `{measured[-1].model.digest[:12]}`."
        yield ""
        for task in TASKS:
            if lines := [line for line in measured if line.task == task.key]:
                yield from table(task, lines)


def table(task: MeasuredTask, measured: Sequence[Evidence]) -> Iterator[str]:
    """Yield a task's table, the best technique first, and which techniques pay."""
    ordered = sorted(measured, key=lambda line: (-line.right / line.n, line.requests))
    counts = sorted({line.n for line in measured})
    yield from (f"### {task.title}", "", f"{' or '.join(map(str, counts))} rows.", "")
    yield f"| {' | '.join(HEADS)} |"
    yield f"| {' | '.join('---' for _ in HEADS)} |"
    yield from (f"| {' | '.join(_cells(line))} |" for line in ordered)
    pay = [f"`{spec_text(line.technique)}`" for line in ordered if line.gain and line.gain[1] > 0]
    yield from ("", f"Pays here: {', '.join(pay)}." if pay else "No technique pays here.", "")


def _cells(line: Evidence) -> Iterator[str]:
    yield f"`{spec_text(line.technique)}`"
    yield f"{line.right / line.n:.0%} [{line.low:.0%}, {line.high:.0%}]".replace("%", " %")
    gain = line.gain
    yield f"{100 * gain[0]:+.0f} [{100 * gain[1]:+.0f}, {100 * gain[2]:+.0f}]" if gain else ""
    yield f"{line.requests:.1f}"
    yield f"{line.tokens - line.tokens_out:.0f} + {line.tokens_out:.0f}"
    yield f"{line.seconds:.1f}"
    conditions = {"unparsed": line.unparsed, "cut off": line.truncated}
    conditions |= {warning_text(name): count for name, count in line.warnings.items()}
    yield ", ".join(f"{count} {text}" for text, count in conditions.items() if count)


def write(file: Path, lines: Iterable[str]) -> None:
    """Write the page anew, up to its part `Conclusions`, which is kept."""
    old = file.read_text("utf-8") if file.is_file() else ""
    _, mark, kept = old.partition(KEPT)
    text = "\n".join(lines).rstrip()
    file.write_text(f"{text}\n" + (f"\n{mark}{kept}" if mark else ""), "utf-8")


def parse_options() -> argparse.Namespace:
    """Return the options of the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    names = [task.name for task in TASKS]
    parser.add_argument("--data", type=Path, required=True, help="the folder with sst2/, gsm8k/ and wtq/")
    parser.add_argument("--model", default="embedded/smollm2", help="a model reference")
    parser.add_argument("--rows", type=int, default=100, help="rows of each task")
    parser.add_argument("--minutes", type=float, default=60.0, help="the most minutes of all tasks together")
    parser.add_argument("--tasks", default=",".join(names), help=f"of {', '.join(names)}")
    parser.add_argument("--techniques", help="measure these in place of each task's own; begin with vanilla")
    parser.add_argument("--store", type=Path, required=True, help="the folder where answers are kept")
    parser.add_argument("--record", type=Path, default=MEASURED_FILE, help="the record of measurements")
    parser.add_argument("--write", type=Path, help="the page to write anew; default: it is printed")
    options = parser.parse_args()
    options.tasks = [task for task in TASKS if task.name in options.tasks.split(",")]
    if not options.tasks:
        parser.error(f"--tasks: of {', '.join(names)}")
    return options


def main() -> None:
    options = parse_options()
    options.store.mkdir(parents=True, exist_ok=True)
    end, record = monotonic() + 60 * options.minutes, read_measured(options.record)
    for number, task in enumerate(options.tasks):
        share = (end - monotonic()) / (len(options.tasks) - number)
        comparison = asyncio.run(measure(task, options, monotonic() + share))
        if comparison is None:
            print(f"{task.name}: no row was finished in the time; the same command goes on", flush=True)
            continue
        for result in comparison.results:
            print(f"{task.name}: {result.name}: {result.right} of {result.n} {result.reason}", flush=True)
        record = keep(options.record, task, comparison)
    lines = list(page(record))
    if options.write:
        write(options.write, lines)
    else:
        print("\n".join(lines))


if __name__ == "__main__":
    main()
