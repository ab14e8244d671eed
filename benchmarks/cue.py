"""Accuracy of a sentiment prompt with and without a cue, by way of deciding, each with its 95 % interval.

    python benchmarks/cue.py [--data DIR] [--rows 100] [--prompt sentiment] [--model embedded/smollm2]

DIR holds `sst2/dev.jsonl`, or `dev.jsonl` itself, and `train.jsonl` beside it, with fields `text` and `label`; without
it the rows are those of `evals/data/sentiment.jsonl`, of which the split `tune` stands for the training rows. Each way
is a run of promptkit's own engine over the same rows, one request at a time, so that a repetition gives the same:

    generate            the model writes, and a label is looked for in what it wrote
    constrain           the same under a grammar
    score               the label of the highest log-probability
    score, calibrated   with offsets estimated on 50 training rows, whose labels are not used (batch calibration)

With SmolLM2-135M on 2 cores, 100 rows take about 3 minutes. Rows that the prompt shows as examples are no rows of these
data. `--prompt sentiment_plain` is the same task without examples.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice
from math import sqrt
from pathlib import Path
from typing import Any

from promptkit.answers.base import AnswerType
from promptkit.answers.calibration import mean_offsets
from promptkit.answers.decide import score_answer
from promptkit.engine.load import load_target
from promptkit.engine.results import Result
from promptkit.engine.run import run
from promptkit.project import Project
from promptkit.runtimes.models import Models
from promptkit.storage.rows import read_rows
from promptkit.storage.store import Store

OWN_ROWS = Path(__file__).resolve().parent.parent / "evals" / "data" / "sentiment.jsonl"
CUES = {"no cue": "none", "cue": "'Sentiment:'"}
WAYS = ("generate", "constrain", "score")
CALIBRATING = 50
PIPELINE = """\
name: moods
inputs:
  texts: {{type: list}}
steps:
  mood:
    for_each: "{{{{ texts }}}}"
    as: text
    prompt: {prompt}
    on_error: skip
    repairs: 0
output: "{{{{ mood }}}}"
"""

Row = dict[str, Any]


@dataclass(frozen=True)
class Data:
    """Rows to measure on, and training rows, whose texts alone are used."""

    rows: list[Row]
    training: list[Row]


@dataclass(frozen=True)
class Outcome:
    """What one way gave: right answers, those without a label, how often the first label was said, and seconds."""

    right: int
    unparsed: int
    positive: int
    rows: int
    seconds: float

    def __str__(self) -> str:
        low, high = wilson(self.right, self.rows)
        share = f"{self.right / self.rows:6.1%}  [{low:5.1%}, {high:5.1%}]"
        return f"{share}  n={self.rows}  positive {self.positive:3}  unparsed {self.unparsed:3}  {self.seconds:5.1f} s"


def wilson(right: int, rows: int, z: float = 1.959964) -> tuple[float, float]:
    """Return Wilson's 95 % interval of a share."""
    share, shrunk = right / rows, 1 + z * z / rows
    middle = (share + z * z / (2 * rows)) / shrunk
    half = z * sqrt(share * (1 - share) / rows + z * z / (4 * rows * rows)) / shrunk
    return max(0.0, middle - half), min(1.0, middle + half)


def read(folder: Path | None, count: int) -> Data:
    """Return the first rows of the data, or else our own."""
    if folder is None:
        own = list(read_rows(OWN_ROWS))
        training = [row for row in own if row["split"] == "tune"]
        return Data([row for row in own if row["split"] != "tune"][:count], training[:CALIBRATING])
    folder = folder / "sst2" if (folder / "sst2").is_dir() else folder
    training = list(islice(read_rows(folder / "train.jsonl"), CALIBRATING))
    return Data(list(islice(read_rows(folder / "dev.jsonl"), count)), training)


class Bench:
    """One prompt on one model, asked in different ways."""

    def __init__(self, folder: Path, prompt: str, models: Models) -> None:
        self._file = folder / "moods.yaml"
        self._file.write_text(PIPELINE.format(prompt=prompt), encoding="utf-8")
        self._models = models

    async def run(self, rows: Sequence[Row], **settings: str) -> Result:
        """Run the prompt over the rows with these settings of its step. Raises what ended the run."""
        sets = [f"mood.{key}={value}" for key, value in settings.items()]
        pipeline = load_target(self._file, Project.find(self._file), sets=sets)
        result = await run(pipeline, {"texts": [row["text"] for row in rows]}, models=self._models)
        if result.error:
            raise result.error
        return result

    async def measure(self, rows: Sequence[Row], **settings: str) -> Outcome:
        """Count what is right."""
        started = time.perf_counter()
        said = (await self.run(rows, **settings)).output
        return Outcome(
            right=sum(label == row["label"] for label, row in zip(said, rows, strict=True)),
            unparsed=sum(label is None for label in said),
            positive=sum(label == "positive" for label in said),
            rows=len(rows),
            seconds=time.perf_counter() - started,
        )

    async def offsets(self, rows: Sequence[Row], cue: str) -> str:
        """Return a `calibrate:` for the prompt with this cue, estimated on rows without their labels."""
        pipeline = load_target(self._file, Project.find(self._file))
        asking = pipeline.steps["mood"].prompt_call
        assert asking is not None and isinstance(asking.answer, AnswerType), "the prompt has labels of its own"
        client = await self._models.get()
        ran = await self.run(rows, decide="score", cue=cue)
        requests = [call.request for node in ran.trace.nodes() for call in node.calls]
        scores = [await score_answer(client, request, asking.answer) for request in requests]  # answered by the store
        offsets = mean_offsets([each.logprobs for each in scores])
        return "{method: batch, offsets: {" + ", ".join(f"{label}: {value}" for label, value in offsets.items()) + "}}"


async def main(arguments: argparse.Namespace) -> None:
    """Measure each way and print a line for it."""
    data = read(arguments.data, arguments.rows)
    print(f"{arguments.prompt} on {arguments.model}: {len(data.rows)} rows, {arguments.data or OWN_ROWS.name}")
    with tempfile.TemporaryDirectory() as folder, Store.open(Path(folder)) as store:
        async with Models(arguments.model, why="--model", concurrency=1, store=store) as models:
            bench = Bench(Path(folder), arguments.prompt, models)
            for name, cue in CUES.items():
                for way in WAYS:
                    print(f"{name:8} {way:18} {await bench.measure(data.rows, decide=way, cue=cue)}", flush=True)
                if data.training:
                    print("  calibrating …", file=sys.stderr)
                    calibrate = await bench.offsets(data.training, cue)
                    outcome = await bench.measure(data.rows, decide="score", cue=cue, calibrate=calibrate)
                    print(f"{name:8} {'score, calibrated':18} {outcome}   {calibrate}", flush=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path)
    parser.add_argument("--rows", type=int, default=100)
    parser.add_argument("--prompt", default="sentiment", help="a shipped prompt: sentiment or sentiment_plain")
    parser.add_argument("--model", default="embedded/smollm2")
    asyncio.run(main(parser.parse_args()))
