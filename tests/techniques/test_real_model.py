"""Each technique's example on the real embedded model, with tiny settings: it may answer wrongly, it may not crash."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest

from promptkit.engine.inputs import fill_inputs
from promptkit.engine.load import load_target
from promptkit.engine.run import run
from promptkit.engine.session import RunSettings
from promptkit.project import LIBRARY, Project
from promptkit.runtimes.base import Message, Model, OnText, Reply, Request, Runtime
from promptkit.runtimes.embedded import Embedded
from tests.pipelines.asking import Given
from tests.techniques.test_catalog import CATALOG

TOKENS = 48


class Brief(Runtime):
    """A runtime whose replies are at most TOKENS long."""

    def __init__(self, runtime: Embedded) -> None:
        self.runtime = runtime

    async def model(self) -> Model:
        return await self.runtime.model()

    async def answer(self, request: Request, on_text: OnText | None = None) -> Reply:
        return await self.runtime.answer(replace(request, max_tokens=min(TOKENS, request.max_tokens)), on_text)

    async def embed(self, texts: Sequence[str]) -> list[list[float]]:
        return await self.runtime.embed(texts)

    async def tokenize(self, text: str) -> tuple[bytes, ...] | None:
        return await self.runtime.tokenize(text)

    async def template(self, messages: Sequence[Message], begun: str = "") -> str | None:
        return await self.runtime.template(messages, begun)

    async def close(self) -> None:
        """The model is the session's."""


@pytest.mark.parametrize("name", CATALOG)
async def test_the_example_ends_on_the_real_model_and_what_does_not_parse_is_counted(
    embedded: Embedded, name: str
) -> None:
    file = LIBRARY / "pipelines" / "techniques" / f"{name}.yaml"
    pipeline = load_target(file, Project.find(file))

    result = await run(
        pipeline, fill_inputs(pipeline).values, models=Given(Brief(embedded)), settings=RunSettings(repairs=0)
    )

    assert result.totals.calls >= 1
    assert result.error is None or result.totals.unparsed >= 1
