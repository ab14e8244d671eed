"""Accuracy of labels in each form of reply, on the same rows, with the paired difference to the plain form.

    python benchmarks/forms.py [--prompt sentiment ...] [--data FILE] [--rows 100] [--model embedded/smollm2]

The model runs in the process and enforces every form; each run allows it one:

    plain     the label alone (GBNF)
    object    {"answer": "..."} (JSON Schema with an object as its root)
    string    a JSON string (a `json` answer with an `enum`)

Each is asked after the prompt's cue; `no cue` is without it.

Rows are those of `evals/data` that the prompt is for, or those of FILE (JSON Lines with `text` and `label`) for the
prompts of sentiments. One request runs at a time, so that a repetition gives the same. The interval is Tango's, 95 %.
100 rows of a prompt take about 5 minutes with SmolLM2-135M on 2 cores that others use too.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any

from promptkit.engine.load import load_target
from promptkit.engine.run import run
from promptkit.evaluation.statistics.paired import tango
from promptkit.project import Project
from promptkit.runtimes.base import Capability, Model, OnText, Reply, Request, Runtime
from promptkit.runtimes.client import Client
from promptkit.runtimes.models import Models
from promptkit.storage.rows import read_rows

ROWS = Path(__file__).resolve().parent.parent / "evals" / "data"
PROMPTS = {
    "sentiment": (ROWS / "reviews.jsonl", "text", "label"),
    "sentiment_plain": (ROWS / "reviews.jsonl", "text", "label"),
    "classify_issue": (ROWS / "issues.jsonl", "issue", "category"),
}
"""The prompts, each with its rows, the field of its input and that of the label."""
FORMS: dict[str, tuple[Capability, tuple[str, ...]]] = {
    "plain": ("grammar", ()),
    "object": ("object_schema", ()),
    "object, no cue": ("object_schema", ("cue=none",)),
    "string": ("schema", ("answer={{json: {{enum: {labels}}}}}",)),
    "string, no cue": ("schema", ("answer={{json: {{enum: {labels}}}}}", "cue=none")),
}
"""Each form: what the model may enforce, and settings of the step."""
CONSTRAINTS: frozenset[Capability] = frozenset(
    {"guidance", "choice", "grammar", "regex", "schema", "object_schema", "json_object"}
)
PIPELINE = """\
name: forms
inputs:
  texts: {{type: list}}
steps:
  label:
    for_each: "{{{{ texts }}}}"
    as: {input}
    prompt: {prompt}
    on_error: skip
    repairs: 0
output: "{{{{ label }}}}"
"""


class OneForm(Runtime):
    """A model that enforces one form only."""

    def __init__(self, inner: Runtime, form: Capability) -> None:
        self._inner, self._form = inner, form

    async def model(self) -> Model:
        model = await self._inner.model()
        return replace(model, capabilities=model.capabilities - CONSTRAINTS | {self._form})

    async def answer(self, request: Request, on_text: OnText | None = None) -> Reply:
        return await self._inner.answer(request, on_text)


@dataclass(frozen=True)
class OneClient:
    """The models of a run: one for all steps."""

    client: Client

    async def get(self, reference: str | None = None) -> Client:
        return self.client


async def answers(prompt: str, name: str, texts: Sequence[str], client: Client, settings: Sequence[str]) -> list[Any]:
    """Return the label of each text, None where there is none. Raises what ended the run."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "forms.yaml"
        file.write_text(PIPELINE.format(prompt=prompt, input=name), encoding="utf-8")
        pipeline = load_target(file, Project.find(file), sets=[f"label.{setting}" for setting in settings])
        result = await run(pipeline, {"texts": list(texts)}, models=OneClient(client))  # type: ignore[arg-type]
    if result.error:
        raise result.error
    return list(result.output)


async def compare(prompt: str, data: Path | None, count: int, models: Models) -> None:
    """Print the accuracy in each form, and its difference to the first."""
    file, name, label = PROMPTS[prompt]
    name, label = (name, label) if data is None else ("text", "label")
    rows = list(islice(read_rows(data or file), count))
    inner = (await models.get()).runtime
    print(f"{prompt}: {len(rows)} rows of {(data or file).name}")
    labels = json.dumps(sorted({row[label] for row in rows}))
    texts = [row[name] for row in rows]
    plain: list[bool] = []
    for form, (capability, settings) in FORMS.items():
        client = Client(OneForm(inner, capability), concurrency=1)
        found = await answers(prompt, name, texts, client, [setting.format(labels=labels) for setting in settings])
        right = [answer == row[label] for answer, row in zip(found, rows, strict=True)]
        plain = plain or right
        better = sum(now and not before for now, before in zip(right, plain, strict=True))
        worse = sum(before and not now for now, before in zip(right, plain, strict=True))
        low, high = tango(better, worse, len(rows))
        print(
            f"  {form:14} {sum(right) / len(rows):6.1%}  unparsed {found.count(None):2}"
            f"  {(better - worse) / len(rows):+6.1%} [{low:+.1%}, {high:+.1%}]",
            flush=True,
        )


async def main(arguments: argparse.Namespace) -> None:
    """Measure each prompt."""
    print(arguments.model)
    async with Models(arguments.model, why="--model", concurrency=1) as models:
        for prompt in arguments.prompt or PROMPTS:
            await compare(prompt, arguments.data, arguments.rows, models)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--prompt", choices=PROMPTS, nargs="*")
    parser.add_argument("--data", type=Path)
    parser.add_argument("--rows", type=int, default=100)
    parser.add_argument("--model", default="embedded/smollm2")
    asyncio.run(main(parser.parse_args()))
