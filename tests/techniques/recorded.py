"""Recordings of each technique's example on the real embedded model, which answer in its place.

`python -m tests.techniques.recorded [NAME…]` makes them anew, where a technique's requests have changed; it takes some
five seconds each.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from promptkit.engine.inputs import fill_inputs
from promptkit.engine.load import load_target
from promptkit.engine.results import Result
from promptkit.engine.run import run
from promptkit.engine.session import RunSettings
from promptkit.project import LIBRARY, Project
from promptkit.runtimes.base import Message, Model, OnText, Reply, Request, Runtime, ToolDefinition
from promptkit.runtimes.in_process.embedded import Embedded
from promptkit.runtimes.in_process.weights import default_weights
from promptkit.runtimes.references import EMBEDDED
from promptkit.runtimes.replay import Recorder
from tests.pipelines.asking import Given

FOLDER = Path(__file__).parent / "recordings"
MAX_TOKENS = 48


class Brief(Runtime):
    """A runtime whose replies are at most MAX_TOKENS long."""

    def __init__(self, runtime: Embedded) -> None:
        self.runtime = runtime

    async def model(self) -> Model:
        return await self.runtime.model()

    async def answer(self, request: Request, on_text: OnText | None = None) -> Reply:
        return await self.runtime.answer(replace(request, max_tokens=min(MAX_TOKENS, request.max_tokens)), on_text)

    async def embed(self, texts: Sequence[str]) -> list[list[float]]:
        return await self.runtime.embed(texts)

    async def tokenize(self, text: str) -> tuple[bytes, ...] | None:
        return await self.runtime.tokenize(text)

    async def template(
        self, messages: Sequence[Message], begun: str = "", tools: Sequence[ToolDefinition] = ()
    ) -> str | None:
        return await self.runtime.template(messages, begun)

    async def close(self) -> None:
        """Leave the model open; it is another's."""


def recording(name: str) -> Path:
    """Return the file of a technique's recording."""
    return FOLDER / f"{name}.jsonl"


async def run_example(name: str, runtime: Runtime, recorder: Recorder | None = None) -> Result:
    """Run the shipped example of a technique, without repairs."""
    file = LIBRARY / "pipelines" / "techniques" / f"{name}.yaml"
    pipeline = load_target(file, Project.find(file))
    models = Given(runtime, recorder)
    return await run(pipeline, fill_inputs(pipeline).values, models=models, settings=RunSettings(repairs=0))


async def record(names: Sequence[str]) -> None:
    """Run the examples on the real model and keep what it answers."""
    runtime = Embedded(default_weights(), reference=EMBEDDED, context=1024, slots=4)
    for name in names:
        recording(name).unlink(missing_ok=True)
        recorder = Recorder(recording(name))
        try:
            await run_example(name, Brief(runtime), recorder)
        finally:
            recorder.close()
        recording(name).chmod(0o644)
    await runtime.close()


if __name__ == "__main__":
    from tests.techniques.test_catalog import ANSWERABLE

    FOLDER.mkdir(exist_ok=True)
    asyncio.run(record(sys.argv[1:] or ANSWERABLE))
