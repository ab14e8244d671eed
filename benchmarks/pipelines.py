"""How well the shipped pipelines do on a model: shares of right answers with Wilson 95 % intervals.

    python benchmarks/pipelines.py                               # the rows kept back for testing, the default model
    python benchmarks/pipelines.py sentiment --split tune --set sentiment.decide=constrain --show
    python benchmarks/pipelines.py sst2 --data DIR --limit 200   # DIR/dev.jsonl: rows of `text` and `label`

Rows are the project's own, in `evals/data`; `tune` rows were looked at while the prompts were written, `test` rows
only counted. One request at a time, so that a second run gives the same numbers.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import math
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from promptkit.engine.inputs import fill_inputs
from promptkit.engine.load import load_target
from promptkit.engine.results import Result
from promptkit.engine.run import run
from promptkit.project import Project
from promptkit.runtimes.models import Models
from promptkit.storage.store import Store

ROOT = Path(__file__).resolve().parent.parent
ROWS = ROOT / "evals" / "data"
Counts = Mapping[str, tuple[int, int]]


@dataclass(frozen=True, slots=True)
class Measure:
    """What is measured: a target on the rows of a file, and what each row counts (right answers, of how many)."""

    target: str
    rows: str
    inputs: Callable[[Mapping[str, Any]], dict[str, Any]]
    judge: Callable[[Mapping[str, Any], Any], Counts]


def interval(right: int, count: int) -> tuple[float, float]:
    """Return the Wilson 95 % interval of a share."""
    if not count:
        return 0.0, 1.0
    z, share = 1.96, right / count
    middle = share + z * z / (2 * count)
    half = z * math.sqrt(share * (1 - share) / count + z * z / (4 * count * count))
    return max(0.0, (middle - half) / (1 + z * z / count)), min(1.0, (middle + half) / (1 + z * z / count))


def judge_issues(row: Mapping[str, Any], output: Any) -> Counts:
    """Count the issues found (an item holds the issue's word, and no item counts twice) and the items that are one."""
    items = [item.lower() for item in output or []]
    left = list(items)
    found = 0
    for word in row["issues"]:
        held = next((item for item in left if word in item), None)
        if held is not None:
            left.remove(held)
            found += 1
    return {
        "issues found": (found, len(row["issues"])),
        "items that are an issue": (found, len(items)),
        "messages without a fault": (int(found == len(row["issues"]) == len(items)), 1),
    }


def judge_record(row: Mapping[str, Any], output: Any) -> Counts:
    """Count whole records and fields."""
    wanted = row["record"]
    right = sum(1 for key, value in wanted.items() if output and output.get(key) == value)
    return {"records": (int(right == len(wanted)), 1), "fields": (right, len(wanted))}


def judge_reading(row: Mapping[str, Any], output: Any) -> Counts:
    """Count the readings that name the right one, and those that name one of the two at all."""
    text = (output or {}).get("reading", "").lower()
    return {
        "right readings": (int(row["right"] in text), 1),
        "unambiguous readings": (int(row["right"] in text or row["wrong"] in text), 1),
    }


def judge_summary(row: Mapping[str, Any], output: Any) -> Counts:
    """Count the words that a summary must name, and the summary's words that the text has."""
    words = re.findall(r"[a-z]{4,}", (output or "").lower())
    known = row["text"].lower()
    return {
        "main words named": (sum(1 for word in row["words"] if word in (output or "").lower()), len(row["words"])),
        "words that the text has": (sum(1 for word in words if word in known), len(words)),
    }


def judge_equal(name: str) -> Callable[[Mapping[str, Any], Any], Counts]:
    return lambda row, output: {"right": (int(output == row[name]), 1)}


MEASURES = {
    "issues": Measure("extract_issues", "feedback", lambda row: {"feedback": row["feedback"]}, judge_issues),
    "categories": Measure("classify_issue", "issues", lambda row: {"issue": row["issue"]}, judge_equal("category")),
    "sentiment": Measure("sentiment", "sentiment", lambda row: {"text": row["text"]}, judge_equal("label")),
    "sentiment_plain": Measure("sentiment_plain", "sentiment", lambda row: {"text": row["text"]}, judge_equal("label")),
    "classify": Measure(
        "classify_object",
        "objects",
        lambda row: {"object": row["object"], "classes": row["classes"]},
        judge_equal("class"),
    ),
    "extract": Measure("extract", "orders", lambda row: {"text": row["text"]}, judge_record),
    "ambiguity": Measure("ambiguity", "ambiguity", lambda row: {"sentence": row["sentence"]}, judge_reading),
    "summarize": Measure("summarize", "texts", lambda row: {"text": row["text"]}, judge_summary),
    "sst2": Measure("sentiment", "dev", lambda row: {"text": row["text"]}, judge_equal("label")),
}


def rows_of(measure: Measure, folder: Path, split: str, limit: int | None) -> Iterator[Mapping[str, Any]]:
    """Yield the rows of a split; rows without one belong to all."""
    rows = [json.loads(line) for line in (folder / f"{measure.rows}.jsonl").read_text(encoding="utf-8").splitlines()]
    yield from [row for row in rows if row.get("split", split) == split][:limit]


async def measured(measure: Measure, rows: Sequence[Mapping[str, Any]], options: argparse.Namespace) -> None:
    """Run the target on each row and print what came of it."""
    store = Store.open(options.store) if options.store else None
    pipeline = load_target(measure.target, Project.find(ROOT), sets=options.sets)
    totals: dict[str, tuple[int, int]] = {}
    unparsed = 0
    async with Models(options.model, why="--model", store=store, concurrency=1) as models:
        for row in rows:
            result = await run(pipeline, fill_inputs(pipeline, measure.inputs(row)).values, models=models)
            unparsed += result.error is not None
            counts = measure.judge(row, result.output)
            for name, (right, count) in counts.items():
                before = totals.get(name, (0, 0))
                totals[name] = (before[0] + right, before[1] + count)
            if options.show:
                show(row, result, counts)
    if store:
        store.close()
    for name, (right, count) in totals.items():
        low, high = interval(right, count)
        share = right / count if count else 0.0
        print(f"{name:26} {right:4} of {count:4}  {share:6.1%}  [{low:.1%}, {high:.1%}]")
    print(f"{'without an answer':26} {unparsed:4} of {len(rows):4}")


def show(row: Mapping[str, Any], result: Result, counts: Counts) -> None:
    """Print a row with its answer."""
    mark = "+" if all(right == count for right, count in counts.values()) else "-"
    print(mark, json.dumps(row, ensure_ascii=False)[:300])
    print("   ", json.dumps(result.output, ensure_ascii=False) if result.error is None else f"{result.error}")


def main() -> None:
    """Measure what is named on the command line, all of the project's own by default."""
    own = [name for name in MEASURES if name != "sst2"]
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(MEASURES))
    parser.add_argument("--split", default="test", choices=["tune", "test"])
    parser.add_argument("--model", default="embedded/smollm2")
    parser.add_argument("--data", type=Path, default=ROWS)
    parser.add_argument("--set", dest="sets", action="append", default=[], metavar="STEP.KEY=VALUE")
    parser.add_argument("--limit", type=int)
    parser.add_argument("--store", type=Path, help="a folder that keeps answers")
    parser.add_argument("--show", action="store_true", help="print each row and answer")
    options = parser.parse_args()
    for name in options.names or own:
        measure = MEASURES[name]
        rows = list(rows_of(measure, options.data, options.split, options.limit))
        print(f"{name} ({measure.target}, {len(rows)} rows)")
        asyncio.run(measured(measure, rows, options))


if __name__ == "__main__":
    main()
