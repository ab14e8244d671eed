"""Adapter files: read, held against a model, and refused for another one or where they are damaged."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from math import prod
from pathlib import Path

import pytest

from promptkit.errors import InputError, Problem
from promptkit.runtimes.in_process.adapter_file import MOST_RANK, TRAINING_KEY, check_fits, read_adapter
from promptkit.runtimes.in_process.gguf_writer import NewTensor, encode_value, write_gguf
from promptkit.runtimes.in_process.weights import file_digest
from tests.adapters import write_adapter
from tests.training.tiny_gguf import TinyShape, vocabulary, write_tiny


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny(tmp_path_factory.mktemp("tiny") / "tiny.gguf")


def refused(file: Path, model: Path) -> Problem:
    with pytest.raises(InputError) as caught:
        check_fits(read_adapter(file), model, "tiny")
    (problem,) = caught.value.problems
    assert file.name in str(problem.file)
    return problem


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"architecture": "qwen2"}, "an adapter for the architecture `qwen2`; tiny is `llama`"),
        ({"shape": (64, 64)}, "of 64 × 64; tiny has it as 64 × 128"),
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
    problem = refused(file, model)
    assert message in problem.message
    assert problem.hint == "promptkit train TARGET --adapter writes one for the model that answers"


def test_a_file_that_is_cut_anywhere_is_refused(tmp_path: Path, model: Path) -> None:
    content = write_adapter(tmp_path / "whole.gguf", model).read_bytes()
    for size in (1, 4, 20, 100, 300, len(content) // 2, len(content) - 1):
        file = tmp_path / f"{size}.gguf"
        file.write_bytes(content[:size])
        assert "cut off" in refused(file, model).message


def test_a_huge_count_in_a_header_is_refused(tmp_path: Path, model: Path) -> None:
    content = bytearray(write_adapter(tmp_path / "whole.gguf", model).read_bytes())
    for at in (8, 16):
        file = tmp_path / f"{at}.gguf"
        file.write_bytes(content[:at] + b"\xff" * 8 + content[at + 8 :])
        assert "cut off or damaged" in refused(file, model).message


def test_an_adapter_of_these_weights_fits_and_tells_its_rows(tmp_path: Path, model: Path) -> None:
    note = {"base": file_digest(model), "rows": ["a", "b"], "step": "sort", "seed": 1}
    file = write_adapter(tmp_path / "right.gguf", model, rank=2, training=note)
    check_fits(adapter := read_adapter(file), model, "tiny")
    assert (adapter.rank, adapter.training and adapter.training.rows) == (2, ("a", "b"))


def test_an_adapter_made_elsewhere_fits_by_its_shapes(tmp_path: Path, model: Path) -> None:
    check_fits(adapter := read_adapter(write_adapter(tmp_path / "other.gguf", model)), model, "tiny")
    assert adapter.training is None


def test_an_adapter_of_more_layers_is_refused(tmp_path: Path, model: Path) -> None:
    short = write_tiny(tmp_path / "short.gguf", shape=TinyShape(layers=2))
    message = refused(write_adapter(tmp_path / "long.gguf", model), short).message
    assert message == "this adapter changes `blk.2.ffn_down.weight` of 64 × 128; tiny does not have it"


def test_without_alpha_a_change_is_taken_as_it_is(tmp_path: Path) -> None:
    facts = {"general.type": "adapter", "adapter.type": "lora"}
    adapter = read_adapter(written(tmp_path / "plain.gguf", facts, {"x.lora_a": (4, 64), "x.lora_b": (64, 4)}))
    assert (adapter.alpha, adapter.scale(adapter.matrices["x"])) == (0, 1)


def test_the_factors_of_the_embedding_lie_the_other_way_round(tmp_path: Path) -> None:
    facts = {"general.type": "adapter", "adapter.type": "lora"}
    name = "token_embd.weight"
    file = written(tmp_path / "e.gguf", facts, {f"{name}.lora_a": (300, 4), f"{name}.lora_b": (64, 4)})
    pair = read_adapter(file).matrices[name]
    assert (pair.rank, pair.shape) == (4, (300, 64))


def test_a_changed_embedding_that_is_also_the_output_is_refused_as_it_would_end_the_process(tmp_path: Path) -> None:
    facts = {"general.architecture": "llama", "general.type": "adapter", "adapter.type": "lora"}
    tensors = {"token_embd.weight.lora_a": (len(vocabulary()), 4), "token_embd.weight.lora_b": (64, 4)}
    file = written(tmp_path / "e.gguf", facts, tensors)
    message = refused(file, write_tiny(tmp_path / "tied.gguf", tied=True)).message
    assert "which is also the output of tiny" in message
    check_fits(read_adapter(file), write_tiny(tmp_path / "untied.gguf", tied=False), "tiny")


PAIR = {"x.lora_a": (4, 64), "x.lora_b": (64, 4)}


@pytest.mark.attack("gguf")
@pytest.mark.parametrize(
    ("metadata", "tensors", "message"),
    [
        ({"general.type": "model"}, PAIR, "holds no low-rank adapter"),
        ({}, {"x.weight": (4, 64)}, "a tensor without its pair: `x.weight`"),
        ({}, {"x.lora_a": (4, 64)}, "a tensor without its pair: `x.lora_a`"),
        ({}, {"x.lora_b": (64, 4)}, "a tensor without its pair: `x.lora_b`"),
        ({}, {"x.lora_a": (4, 64), "x.lora_b": (64, 8)}, "of `x` do not fit together"),
        ({}, {"x.lora_a": (4, 64), "x.lora_b": (4,)}, "of `x` are not matrices"),
        ({}, {"token_embd.weight.lora_a": (300, 4), "token_embd.weight.lora_b": (64, 8)}, "do not fit together"),
        ({"adapter.lora.alpha": float("nan")}, PAIR, "`adapter.lora.alpha` is not a finite number of 32 bits"),
        ({"adapter.lora.alpha": 8}, PAIR, "`adapter.lora.alpha` is not a finite number of 32 bits"),
        ({TRAINING_KEY: "[1]"}, PAIR, "is not what promptkit writes there"),
        ({TRAINING_KEY: "[" * 100_000}, PAIR, "is not what promptkit writes there"),
    ],
)
def test_what_llama_cpp_could_not_load_is_refused(
    tmp_path: Path, metadata: dict[str, str | float], tensors: dict[str, tuple[int, ...]], message: str
) -> None:
    facts = {"general.type": "adapter", "adapter.type": "lora", "adapter.lora.alpha": 8.0, **metadata}
    with pytest.raises(InputError, match=message):
        read_adapter(written(tmp_path / "wrong.gguf", facts, tensors))


def written(path: Path, facts: Mapping[str, str | float], tensors: Mapping[str, tuple[int, ...]]) -> Path:
    new = [NewTensor(name, shape, 0, partial(zeros, prod(shape))) for name, shape in tensors.items()]
    write_gguf(path, {key: encode_value(value) for key, value in facts.items()}, new)
    return path


def zeros(count: int) -> list[bytes]:
    return [bytes(4 * count)]
