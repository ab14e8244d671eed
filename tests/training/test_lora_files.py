"""Adapter files: written, read, and refused for another model."""

from __future__ import annotations

from functools import partial
from math import prod
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest

from promptkit.errors import InputError
from promptkit.runtimes.in_process.gguf_contents import read_contents
from promptkit.runtimes.in_process.gguf_writer import NewTensor, encode_value, write_gguf
from promptkit.runtimes.in_process.weights import file_digest
from promptkit.training.lora_files import TRAINING_KEY, read_lora, write_lora
from tests.training.tiny_gguf import TinyShape, write_tiny


class Pair(NamedTuple):
    a: Any
    b: Any


def zeros(count: int) -> list[bytes]:
    return [bytes(4 * count)]


def write(path: Path, *, width: int = 64, architecture: str = "llama", **training: Any) -> Path:
    pair = Pair(np.full((2, 4, width), 0.1, np.float32), np.full((2, width, 4), 0.2, np.float32))
    write_lora(path, architecture, {"attn_q": pair}, scale=2.0, first=1, training=training)
    return path


@pytest.fixture
def base(tmp_path: Path) -> Path:
    return write_tiny(tmp_path / "base.gguf")


def test_an_adapter_keeps_its_factors_its_scale_and_what_is_said_of_its_making(tmp_path: Path, base: Path) -> None:
    lora = read_lora(write(tmp_path / "sort.lora.gguf", step="sört", base=file_digest(base)))
    assert set(lora.pairs) == {"blk.1.attn_q.weight", "blk.2.attn_q.weight"}
    assert lora.alpha == 8  # scale times rank
    assert lora.scale(lora.pairs["blk.1.attn_q.weight"]) == 2
    assert lora.training == {"step": "sört", "base": file_digest(base)}
    lora.check_base(read_contents(base))


def test_an_adapter_made_elsewhere_fits_by_its_shapes(tmp_path: Path, base: Path) -> None:
    read_lora(write(tmp_path / "other.gguf")).check_base(read_contents(base))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"architecture": "qwen2"}, "for the architecture `qwen2`, not `llama`"),
        ({"base": "0" * 64}, "trained on other weights"),
        ({"width": 32}, r"of shape \[32, 32\]; in the model it is \[64, 64\]"),
    ],
)
def test_an_adapter_of_another_model_is_refused(
    tmp_path: Path, base: Path, changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(InputError, match=message):
        read_lora(write(tmp_path / "other.gguf", **changes)).check_base(read_contents(base))


def test_an_adapter_of_more_layers_is_refused(tmp_path: Path) -> None:
    short = write_tiny(tmp_path / "short.gguf", shape=TinyShape(layers=2))
    with pytest.raises(InputError, match=r"changes `blk.2.attn_q.weight`, which the model does not have"):
        read_lora(write(tmp_path / "long.gguf")).check_base(read_contents(short))


@pytest.mark.attack("gguf")
@pytest.mark.parametrize(
    ("metadata", "tensors", "message"),
    [
        ({"general.type": "model"}, {}, "not a LoRA adapter"),
        ({}, {"x.weight": (4, 64)}, "not a factor"),
        ({}, {"x.weight.lora_a": (4, 64)}, "do not fit each other"),
        ({}, {"x.weight.lora_b": (64, 4)}, "`x.weight.lora_a` is missing"),
        ({}, {"x.weight.lora_a": (4, 64), "x.weight.lora_b": (64, 8)}, "do not fit each other"),
        ({"adapter.lora.alpha": float("nan")}, {}, "`adapter.lora.alpha` is not a number"),
        ({TRAINING_KEY: "[1]"}, {}, "not a JSON object"),
        ({TRAINING_KEY: "[" * 100_000}, {}, "not a JSON object"),
    ],
)
def test_what_is_not_an_adapter_is_refused(
    tmp_path: Path, metadata: dict[str, Any], tensors: dict[str, tuple[int, ...]], message: str
) -> None:
    facts = {"general.type": "adapter", "adapter.type": "lora", "adapter.lora.alpha": 8.0, **metadata}
    new = [NewTensor(name, shape, 0, partial(zeros, prod(shape))) for name, shape in tensors.items()]
    write_gguf(path := tmp_path / "wrong.gguf", {key: encode_value(value) for key, value in facts.items()}, new)
    with pytest.raises(InputError, match=message):
        read_lora(path)
