"""Count how many replies of models are read as what they say, by kind of answer and by way of asking.

    python benchmarks/replies.py FILE [--kind number] [--wrong]

FILE has a JSON object a line: `id kind question reply expected`, and where they apply `labels schema language accept`
and `cut`. `kind` is number, boolean, label, choice, json, code, sql or list. `expected` is what the reply says, null
where it holds no answer; `accept` lists other values that are as good. For `choice` the letter is expected; of JSON
objects only the keys in `expected` are compared; numbers may differ by a thousandth of their size.

Each reply is given by a scripted model to a step under `decide: generate`, in three ways:

    step        the step asks for the answer alone
    technique   the model thinks first, and no cue marks its answer
    cue         the model thinks first, and its answer is to follow `Answer:`

Prints a line a way and kind: rows, right, wrong and refused, with their shares. `--wrong` lists the rows that were not
read right, with the rule or the problem. No model is asked.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import tempfile
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from promptkit.answers.build import build_answer_type
from promptkit.project import Project
from promptkit.prompts.load import Prompts
from promptkit.runtimes.base import Reply
from promptkit.runtimes.client import Client
from promptkit.runtimes.scripted import Scripted
from promptkit.techniques.context import CallRecord, StepContext
from promptkit.techniques.perform import perform

PROMPT: Final = "---\ninputs: {question: {type: text}}\n---\n{% block input %}{{ question }}{% endblock %}\n"
THINKING: Final = {"self_consistency": {"samples": 1}}
WAYS: Final[Mapping[str, tuple[Any, str]]] = {
    "step": ("vanilla", "none"),
    "technique": (THINKING, "none"),
    "cue": (THINKING, "Answer:"),
}
"""The technique and the cue of each way."""

TOLERANCE: Final = 0.001
"""Share of its size by which a number may differ."""

OUTCOMES: Final = ("right", "wrong", "refused")


@dataclass(frozen=True, slots=True)
class Outcome:
    """How one reply was read in one way: right, wrong or refused; by which rule, or for which problem."""

    way: str
    row: Mapping[str, Any]
    outcome: str
    value: Any
    reason: str


def read_rows(file: Path) -> list[dict[str, Any]]:
    """Return the rows of a file of JSON lines."""
    return [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines() if line.strip()]


async def measure(rows: Iterable[Mapping[str, Any]], ways: Sequence[str] = tuple(WAYS)) -> list[Outcome]:
    """Return how each row's reply is read in each way."""
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "promptkit.yaml").touch()
        (Path(folder) / "ask.j2").write_text(PROMPT, encoding="utf-8")
        project = Project.find(Path(folder))
        prompts = Prompts(project)
        return [await _read(row, way, project, prompts) for row in rows for way in ways]


async def _read(row: Mapping[str, Any], way: str, project: Project, prompts: Prompts) -> Outcome:
    technique, cue = WAYS[way]
    answer = build_answer_type(_answer_spec(row))
    reply = Reply(text=row["reply"], finish="length" if row.get("cut") else "stop")
    prompt = prompts.load("ask", beside=project.root / "replies.yaml")
    records: list[CallRecord] = []
    step = StepContext(
        prompt=prompt,
        values={"question": row.get("question") or ""},
        inputs=prompt.inputs,
        answer=answer,
        client=Client(Scripted(lambda request: reply)),
        project=project,
        decide="generate",
        cue=cue,
        record=records.append,
    )
    result = await perform(technique, step)
    value = None if result.flag else result.value
    if row["kind"] == "choice" and value is not None:
        value = answer.write(value)
    is_right = any(_equal(value, wanted) for wanted in (row["expected"], *(row.get("accept") or ())))
    outcome = "right" if is_right else "refused" if value is None else "wrong"
    return Outcome(way, row, outcome, value, result.problem or records[-1].rule or "")


def _answer_spec(row: Mapping[str, Any]) -> Any:
    kind = row["kind"]
    if kind in ("label", "choice"):
        return {kind: row["labels"]}
    if kind == "json":
        return {"json": row["schema"]} if row.get("schema") else "json"
    if kind in ("code", "sql"):
        return {"code": row.get("language") or ("sql" if kind == "sql" else "python")}
    if kind == "list":
        separator = {"separator": row["separator"]} if row.get("separator") else {}
        return {"list": {**separator, **({"of": {"label": row["labels"]}} if row.get("labels") else {})}}
    return kind


def _equal(value: Any, wanted: Any) -> bool:
    """Tell whether a value is the one that was wanted: numbers nearly, of objects the wanted keys alone."""
    if value is None or wanted is None or isinstance(value, bool) or isinstance(wanted, bool):
        return value is wanted
    if isinstance(wanted, int | float) and isinstance(value, int | float):
        return abs(value - wanted) <= TOLERANCE * max(abs(value), abs(wanted))
    if isinstance(wanted, Mapping) and isinstance(value, Mapping):
        return all(key in value and _equal(value[key], wanted[key]) for key in wanted)
    if isinstance(wanted, list) and isinstance(value, list):
        return len(value) == len(wanted) and all(map(_equal, value, wanted))
    if isinstance(wanted, str) and isinstance(value, str):
        return value.split() == wanted.split()
    return bool(value == wanted)


def lines_of(outcomes: Sequence[Outcome]) -> Iterator[str]:
    """Yield a table of the outcomes: a line a way and kind, and one for all kinds of a way."""
    counts = Counter(
        (outcome.way, kind, outcome.outcome) for outcome in outcomes for kind in (outcome.row["kind"], "all")
    )
    kinds = [*sorted({outcome.row["kind"] for outcome in outcomes}), "all"]
    yield f"{'way':<10} {'kind':<8} {'rows':>5} " + " ".join(f"{name:>15}" for name in OUTCOMES)
    for way in dict.fromkeys(outcome.way for outcome in outcomes):
        for kind in kinds:
            rows = sum(counts[way, kind, name] for name in OUTCOMES)
            if rows:
                shares = (f"{counts[way, kind, name]:>6} ({counts[way, kind, name] / rows:6.1%})" for name in OUTCOMES)
                yield f"{way:<10} {kind:<8} {rows:>5} " + " ".join(shares)


def main() -> int:
    """Print the table for the file that the command line names."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", type=Path, help="a file of JSON lines")
    parser.add_argument("--kind", help="the rows of one kind only")
    parser.add_argument("--wrong", action="store_true", help="list the rows that were not read right")
    given = parser.parse_args()
    rows = [row for row in read_rows(given.file) if given.kind in (None, row["kind"])]
    outcomes = asyncio.run(measure(rows))
    print("\n".join(lines_of(outcomes)))
    if given.wrong:
        for outcome in outcomes:
            if outcome.outcome != "right":
                how = f"{outcome.row['expected']!r:.60} read as {outcome.value!r:.60}: {outcome.reason:.120}"
                print(f"{outcome.way} {outcome.row['id']} {outcome.outcome}: {how}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
