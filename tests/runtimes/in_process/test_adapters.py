"""Adapters by request in the embedded runtime, on a tiny model."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from promptkit.runtimes.base import Adapter, Request
from promptkit.runtimes.in_process.embedded import Embedded
from promptkit.storage.file_digests import file_digest
from tests.adapters import write_adapter
from tests.training.tiny_gguf import write_tiny

TEXTS = ("the cat sat on the mat and then " * 3, "another thing is in the thing " * 3, "zzzz yyyy xxxx wwww " * 4)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny(tmp_path_factory.mktemp("tiny") / "tiny.gguf")


@pytest.fixture(scope="module")
def adapters(model: Path) -> list[Adapter]:
    files = [write_adapter(model.parent / f"{seed}.lora.gguf", model, seed=seed) for seed in range(2)]
    files.append(write_adapter(model.parent / "zero.lora.gguf", model, strength=0.0))
    return [Adapter(file, file_digest(file)) for file in files]


@pytest.fixture(params=[1, 3])
def runtime(model: Path, request: pytest.FixtureRequest) -> Iterator[Embedded]:
    opened = Embedded(model, reference="tiny", context=256, slots=request.param)
    yield opened
    asyncio.run(opened.close())


def asked(text: str, adapter: Adapter | None) -> Request:
    return Request(prompt=text, max_tokens=12, adapter=adapter)


async def test_each_request_gets_its_own_adapter_in_turn_and_at_once(
    runtime: Embedded, adapters: list[Adapter]
) -> None:
    for adapter in adapters:
        await runtime.add_adapter(adapter)
    requests = [asked(text, adapter) for text in TEXTS for adapter in (None, *adapters)]
    alone = [(await runtime.answer(replace(request, reuse_prefix=False))).text for request in requests]
    in_turn = [(await runtime.answer(request)).text for _ in range(2) for request in requests]
    at_once = [reply.text for reply in await asyncio.gather(*map(runtime.answer, requests * 2))]
    assert in_turn == at_once == alone * 2
    base, first, second, zero = (alone[at::4] for at in range(4))
    assert base == zero
    assert base != first != second != base


async def test_an_adapter_that_comes_later_reloads_the_model_with_all_of_them(
    model: Path, adapters: list[Adapter]
) -> None:
    runtime = Embedded(model, reference="tiny", context=256, slots=1)
    digest = (await runtime.model()).digest
    base = (await runtime.answer(asked(TEXTS[2], None))).text
    first, second = [(await runtime.answer(asked(TEXTS[2], adapter))).text for adapter in adapters[:2]]
    assert len({base, first, second}) == 3
    assert (await runtime.answer(asked(TEXTS[2], adapters[0]))).text == first
    assert (await runtime.model()).digest == digest
    await runtime.close()
