"""Adapters by request in the embedded runtime, on a tiny model."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from promptkit.errors import InputError
from promptkit.runtimes.base import Adapter, Request
from promptkit.runtimes.in_process.adapter_file import MOST_RANK, check_fits, read_adapter
from promptkit.runtimes.in_process.embedded import Embedded
from promptkit.runtimes.in_process.weights import file_digest as weights_digest
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


def refused(file: Path, model: Path) -> str:
    with pytest.raises(InputError) as caught:
        check_fits(read_adapter(file), model, "tiny")
    (problem,) = caught.value.problems
    assert file.name in str(problem.file)
    assert problem.hint
    return problem.message


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"architecture": "qwen2"}, "an adapter for the architecture `qwen2`; tiny is `llama`"),
        ({"shape": (64, 64)}, "of 64 × 64; tiny has it as 128 × 64"),
        ({"kind": "model"}, "holds no low-rank adapter"),
        ({"rank": MOST_RANK + 1}, f"an adapter of rank {MOST_RANK + 1}; 1 to {MOST_RANK} is taken"),
        ({"training": {"base": "0" * 64}}, "trained on other weights than those of tiny"),
        ({"training": {"rows": []}}, "is not what promptkit writes there"),
        ({"matrix": "nothing"}, "changes no matrix"),
    ],
)
def test_an_adapter_that_does_not_fit_is_refused_with_the_reason(
    tmp_path: Path, model: Path, changes: dict[str, object], message: str
) -> None:
    file = write_adapter(tmp_path / "wrong.gguf", model, **changes)  # type: ignore[arg-type]
    assert message in refused(file, model)


def test_a_file_that_is_cut_anywhere_is_refused(tmp_path: Path, model: Path) -> None:
    content = write_adapter(tmp_path / "whole.gguf", model).read_bytes()
    for size in (1, 4, 20, 100, 300, len(content) // 2, len(content) - 1):
        file = tmp_path / f"{size}.gguf"
        file.write_bytes(content[:size])
        assert "whole GGUF" in (message := refused(file, model)) or "cut" in message


def test_a_huge_count_in_a_header_is_refused(tmp_path: Path, model: Path) -> None:
    content = bytearray(write_adapter(tmp_path / "whole.gguf", model).read_bytes())
    for at in (8, 16):
        file = tmp_path / f"{at}.gguf"
        file.write_bytes(content[:at] + b"\xff" * 8 + content[at + 8 :])
        assert "whole GGUF" in refused(file, model)


def test_an_adapter_of_these_weights_fits_and_tells_its_rows(tmp_path: Path, model: Path) -> None:
    note = {"base": weights_digest(model), "rows": ["a", "b"], "step": "sort", "seed": 1}
    file = write_adapter(tmp_path / "right.gguf", model, rank=2, training=note)
    check_fits(adapter := read_adapter(file), model, "tiny")
    assert (adapter.rank, adapter.training and adapter.training.rows) == (2, ("a", "b"))
