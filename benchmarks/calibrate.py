"""Make the frozen offsets of a prompt that scores its labels: batch calibration over rows without labels.

    python benchmarks/calibrate.py classify_issue evals/data/issues.jsonl

Prints the `calibrate:` block to paste into the prompt's front matter. Where the rows' file says what is right (a field
other than the prompt's inputs and `split`), the right answers with and without the offsets are printed beside it.
"""

from __future__ import annotations

import argparse
import asyncio
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from promptkit.answers.base import AnswerType
from promptkit.answers.calibration import best_label, mean_offsets
from promptkit.answers.decide import score_answer
from promptkit.engine.inputs import fill_inputs
from promptkit.engine.load import load_target
from promptkit.engine.run import run
from promptkit.project import Project
from promptkit.runtimes.models import Models
from promptkit.storage.rows import read_rows

ROOT = Path(__file__).resolve().parent.parent
Row = Mapping[str, Any]


async def scores(prompt: str, rows: Sequence[Row], model: str) -> list[dict[str, float]]:
    """Return the log-probability of each label for each row, uncorrected."""
    pipeline = load_target(prompt, Project.find(ROOT), sets=[f"{prompt}.decide=score"])
    asking = pipeline.steps[prompt].prompt_call
    if asking is None or not isinstance(asking.answer, AnswerType):
        raise SystemExit(f"{prompt} has no labels of its own; offsets need a closed set that is the same for each row")
    answer, found = asking.answer, []
    async with Models(model, why="--model", concurrency=1) as models:
        client = await models.get(None)
        for row in rows:
            inputs = {name: row[name] for name in pipeline.inputs}
            result = await run(pipeline, fill_inputs(pipeline, inputs).values, models=models)
            if result.error:
                raise result.error
            [call] = [call for node in result.trace.nodes() for call in node.calls]
            found.append(dict((await score_answer(client, call.request, answer)).logprobs))
    return found


def right(found: Sequence[Mapping[str, float]], rows: Sequence[Row], name: str, offsets: Mapping[str, float]) -> int:
    """Count the rows whose best label, offsets added, is the one in the field `name`."""
    told = [best_label({label: value + offsets.get(label, 0.0) for label, value in row.items()}) for row in found]
    return sum(1 for label, row in zip(told, rows, strict=True) if label == row[name])


def main() -> None:
    """Print the block."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("prompt")
    parser.add_argument("rows", type=Path)
    parser.add_argument("--split", default="tune")
    parser.add_argument("--model", default="embedded/smollm2")
    options = parser.parse_args()
    rows = [row for row in read_rows(options.rows) if row.get("split", options.split) == options.split]
    found = asyncio.run(scores(options.prompt, rows, options.model))
    offsets = {label: round(value, 2) for label, value in mean_offsets(found).items()}
    print("calibrate:\n  method: batch\n  model: " + options.model + "\n  offsets:")
    for label, value in offsets.items():
        print(f"    {label}: {value}")
    for name in rows[0].keys() - {"split"}:
        if all(row[name] in offsets for row in rows):
            plain, corrected = (right(found, rows, name, each) for each in ({}, offsets))
            print(f"# right of {len(rows)}: {plain} without, {corrected} with these offsets")


if __name__ == "__main__":
    main()
