"""The shipped pipelines' exact requests, made through the engine for the real model and answered by a script.

`python -m tests.pipelines.asking` writes them anew into `tests/pipelines/golden/`; read the difference before
committing it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from promptkit.engine.inputs import fill_inputs
from promptkit.engine.load import load_target
from promptkit.engine.results import Result
from promptkit.engine.run import run
from promptkit.project import LIBRARY, Project
from promptkit.runtimes.base import Alternative, Message, Model, OnText, Reply, Request, Runtime, Token, ToolDefinition
from promptkit.runtimes.client import Client
from promptkit.runtimes.models import Models
from promptkit.runtimes.replay import Recorder
from promptkit.runtimes.serialization import request_record

GOLDEN = Path(__file__).parent / "golden"
PIPELINES = (
    "ambiguity",
    "arithmetic",
    "classify",
    "extract",
    "faithfulness",
    "feedback",
    "sentiment",
    "sentiment_plain",
    "summarize",
    "table_questions",
)
ANSWERS: Mapping[str, str] = {
    "Issues:": " The internet has been down since Monday; I was charged for it anyway; The support agent hung up on me",
    "Recommendation:": " Repair the line.",
    "Reasoning:": ' What looks pale needs heat, so "it" is the chicken.',
    "Reading:": " The chef put the chicken in the oven because the chicken looked pale.",
    "Record:": ' {"customer": "Maria Lopez", "product": "blue blankets", "quantity": 5, "due": "12 June"}',
    "Sentiment:": " positive",
    "Summary:": " The council repairs the bridge.",
    "Answer:": " 27",
    "Claims:": " The bridge was built in 1932.\nThe army built the bridge.",
    "Verdict:": " supported",
    "": "positive",
}
CATEGORIES = {"internet": "service", "charged": "pricing", "agent": "customer"}
CLASSES = {"sparrow": "bird", "salmon": "fish", "horse": "mammal", "eagle": "bird", "tuna": "fish", "dog": "mammal"}


class Given(Models):
    """One runtime for every reference, one request at a time."""

    def __init__(self, runtime: Runtime, recorder: Recorder | None = None) -> None:
        super().__init__("scripted:given.yaml")
        self._only = Client(runtime, concurrency=1, recorder=recorder)

    async def get(self, reference: str | None = None) -> Client:
        return self._only


class Script(Runtime):
    """A runtime that is described, templated and tokenized as the one behind it, and answers by the cue."""

    def __init__(self, behind: Runtime, answer: Callable[[Request], str]) -> None:
        self.requests: list[Request] = []
        self._behind = behind
        self._answer = answer

    async def model(self) -> Model:
        return await self._behind.model()

    async def answer(self, request: Request, on_text: OnText | None = None) -> Reply:
        text = self._answer(request)
        self.requests.append(request)
        if not request.alternatives:
            return Reply(text=text)
        # A score: the label that begins with the answer is the likeliest, after whatever correction.
        words = (*CATEGORIES.values(), "others")
        shown = tuple(Alternative(f" {word}".encode(), -1.0 if word == text else -20.0) for word in words)
        return Reply(text=f" {text}", tokens=(Token(f" {text}".encode(), -1.0, shown),))

    async def embed(self, texts: Sequence[str]) -> list[list[float]]:
        return await self._behind.embed(texts)

    async def tokenize(self, text: str) -> tuple[bytes, ...] | None:
        return await self._behind.tokenize(text)

    async def template(
        self, messages: Sequence[Message], begun: str = "", tools: Sequence[ToolDefinition] = ()
    ) -> str | None:
        return await self._behind.template(messages, begun)

    async def close(self) -> None:
        """Leave what is behind open; it is another's."""


def by_cue(request: Request) -> str:
    """Return what the script says after a cue."""
    name = request.begun.removesuffix(":")
    if name in CLASSES:
        return f" {CLASSES[name]}"
    if name == "Category":
        said = request.messages[-1].content
        return next(category for word, category in CATEGORIES.items() if word in said)
    return ANSWERS[request.begun]


async def asked(
    name: str, behind: Runtime, *, root: Path = LIBRARY, inputs: Mapping[str, Any] | None = None
) -> tuple[Script, Result]:
    """Run a pipeline (its inputs' examples) on the script. Returns the script with the requests that it saw."""
    pipeline = load_target(root / "pipelines" / f"{name}.yaml", Project.find(root))
    script = Script(behind, by_cue)
    values = fill_inputs(pipeline, inputs, texts=None if inputs else {}).values
    result = await run(pipeline, values, models=Given(script))
    # Items of a step are asked at once; here they stand in the trace's order.
    calls = [call for node in result.trace.nodes() for call in node.calls]
    places = {call.request.messages: place for place, call in reversed(list(enumerate(calls)))}
    script.requests.sort(key=lambda request: places[request.messages])
    return script, result


async def golden(script: Script) -> str:
    """Return requests as a text to read: options, the text after the chat template, the grammar or schema."""
    parts = []
    for number, request in enumerate(script.requests, 1):
        record = request_record(request)
        text = await script.template(request.messages, request.begun)
        grammar = record.pop("grammar", "")
        rest = {key: value for key, value in record.items() if key not in ("messages", "begun")}
        options = {"temperature": request.temperature, **rest}
        said = " ".join(f"{key}={value!r}" for key, value in options.items())
        parts.append(f"##### request {number} {said}".rstrip() + f"\n{text}⏎")
        if grammar:
            parts.append(f"##### grammar\n{grammar.rstrip()}")
    return "\n".join(parts) + "\n"


async def write_all() -> None:
    """Write the golden file of each pipeline."""
    from promptkit.runtimes.in_process.embedded import Embedded
    from promptkit.runtimes.in_process.weights import default_weights

    runtime = Embedded(default_weights(), reference="embedded/smollm2", slots=1)
    for name in PIPELINES:
        script, result = await asked(name, runtime)
        if result.error:
            raise result.error
        (GOLDEN / f"{name}.txt").write_text(await golden(script), encoding="utf-8")
    await runtime.close()


if __name__ == "__main__":
    asyncio.run(write_all())
