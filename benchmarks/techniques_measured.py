"""What techniques bring on a model: accuracy with intervals, and what it costs, on two public sets of rows.

    python benchmarks/techniques_measured.py --data DIR [--model REF] [--rows 100] [--write docs/techniques-measured.md]

DIR holds `sst2/dev.jsonl` (fields `text`, `label`) and `gsm8k/dev.jsonl` (`question`, `answer`); the first rows are
taken, half as many of the second. Each technique is put on the same step, with the settings that the table names, and
asked on the same model; intervals are Wilson's, 95 %. With `--write` the page is written anew, else it is printed.
"""

from __future__ import annotations

import argparse
import asyncio
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date
from pathlib import Path

from promptkit.engine.load import load_target
from promptkit.engine.step_rows import find_prompt_step
from promptkit.evaluation.recommendation.technique_comparison import (
    TechniqueComparison,
    TechniqueResult,
    compare_techniques,
    parse_specs,
    technique_suite,
)
from promptkit.project import Project
from promptkit.runtimes.models import Models
from promptkit.storage.store import Store

SENTIMENT = """\
name: sst2
inputs: {text: {type: text}}
steps:
  sentiment:
    prompt:
      instructions: Classify the sentiment of the review as positive or negative.
      input: "{{ text }}"
      cue: "Sentiment:"
    answer: {label: [positive, negative]}
    options: {max_tokens: 64}
"""
ARITHMETIC = """\
name: gsm8k
inputs: {question: {type: text}}
steps:
  solve:
    prompt:
      instructions: Solve the problem.
      input: "{{ question }}"
    answer: number
"""


@dataclass(frozen=True, slots=True)
class Set:
    """Rows with the pipeline that asks them and the techniques to measure, in YAML; `share` of the rows wanted."""

    title: str
    file: str
    pipeline: str
    techniques: str
    share: float


SETS = (
    Set(
        title="SST-2: the sentiment of a sentence",
        file="sst2/dev.jsonl",
        pipeline=SENTIMENT,
        techniques="""
            vanilla, instructed, {chain_of_thought: {max_tokens: 64}}, {plan_and_solve: {max_tokens: 64}},
            {self_consistency: {samples: 3, over: {chain_of_thought: {max_tokens: 64}}}}, system_2_attention,
            metacognitive, {ensemble_refinement: {first: 2, samples: 2}}, {chain_of_verification: {questions: 2}}
        """,
        share=1.0,
    ),
    Set(
        title="GSM8K: word problems",
        file="gsm8k/dev.jsonl",
        pipeline=ARITHMETIC,
        techniques="""
            vanilla, {chain_of_thought: {max_tokens: 160}}, {plan_and_solve: {max_tokens: 160}},
            {self_consistency: {samples: 3, over: {chain_of_thought: {max_tokens: 160}}}}, pal
        """,
        share=0.5,
    ),
)
HEAD = """\
# Techniques, measured

Made by `benchmarks/techniques_measured.py --data DIR --write docs/techniques-measured.md` on {day}, on {model};
`--model` takes any model. Each technique is measured on the same step of one prompt, without examples; the table
names its settings. No reply of SST-2 may be longer than 64 tokens. Accuracy is on the first rows of each set, with
Wilson's 95 % interval: two intervals that overlap do not show which of the two is better. Calls, requests and tokens
(in + out) are for one row. `seconds` is the model's own time for a row, on 2 cores shared with other work: compare
them only with each other. The last column names a technique that is right at least as often for no more requests.
"""


async def measured(each: Set, folder: Path, options: argparse.Namespace) -> TechniqueComparison:
    """Return a set's comparison; what was answered before is not asked again."""
    file = folder / f"{each.pipeline.splitlines()[0].removeprefix('name: ')}.yaml"
    file.write_text(each.pipeline)
    pipeline = load_target(file, Project.find(file))
    suite = technique_suite(
        pipeline,
        find_prompt_step(pipeline, None),
        parse_specs(each.techniques),
        options.data / each.file,
        limit=int(options.rows * each.share),
    )
    with Store.open(options.store) as store:
        async with Models(options.model, why="--model", store=store) as models:
            comparison = await compare_techniques(suite, models=models, store=store)
    for result in comparison.results:
        print(f"{result.name}: {result.right} of {result.n} {result.reason}", flush=True)
    return comparison


def section(each: Set, comparison: TechniqueComparison) -> Iterator[str]:
    """Yield a set's part of the page."""
    yield from (f"## {each.title}", "")
    yield f"{comparison.rows} rows, {comparison.model.reference} (digest `{comparison.model.digest[:12]}`)."
    yield ""
    heads = ("technique", "accuracy", "unparsed", "truncated", "calls", "requests", "tokens", "seconds", "dominated by")
    yield f"| {' | '.join(heads)} |"
    yield f"| {' | '.join('---' for _ in heads)} |"
    for found in comparison.results:
        yield f"| `{found.name}` | {_cells(found)} |"
    yield ""


def _cells(found: TechniqueResult) -> str:
    if found.state == "unavailable":
        return f"not measured: {found.reason} | | | | | | | "
    low, high = found.interval
    cells = [
        f"{found.accuracy:.0%} [{low:.0%}, {high:.0%}]",
        str(found.unparsed),
        str(found.truncated),
        *(f"{found.per_row(what):.1f}" for what in ("calls", "requests")),
        f"{found.per_row('tokens_in'):.0f} + {found.per_row('tokens_out'):.0f}",
        f"{found.per_row('seconds'):.1f}",
        f"`{found.dominated_by}`" if found.dominated_by else "",
    ]
    return " | ".join(cells)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="the folder with sst2/ and gsm8k/")
    parser.add_argument("--model", default="embedded/smollm2", help="a model reference")
    parser.add_argument("--rows", type=int, default=100, help="rows of SST-2; half as many of GSM8K")
    parser.add_argument("--write", type=Path, help="the page to write anew, up to its part `Conclusions`")
    parser.add_argument("--store", type=Path, help="where answers are kept, so that a second run resumes")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        options.store = options.store or Path(folder) / "store"
        options.store.mkdir(parents=True, exist_ok=True)
        parts = [HEAD.format(model=options.model, day=date.today().isoformat())]
        for each in SETS:
            comparison = asyncio.run(measured(each, Path(folder), options))
            parts.append("\n".join(section(each, comparison)))
    page = "\n".join(parts)
    if options.write:
        old = options.write.read_text("utf-8") if options.write.is_file() else ""
        _, mark, kept = old.partition("## Conclusions")
        options.write.write_text(f"{page.rstrip()}\n\n{mark}{kept}", "utf-8")
    else:
        print(page)


if __name__ == "__main__":
    main()
