"""Reading a model's weights, and refusing what cannot be trained."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import pytest

from promptkit.errors import InputError
from promptkit.runtimes.in_process.gguf_contents import read_contents
from promptkit.runtimes.in_process.gguf_writer import copied, encode_value, write_gguf
from promptkit.training.lora_files import write_lora
from promptkit.training.transformer.architectures import read_config
from promptkit.training.transformer.weights import Blocks, Transformer
from tests.training.tiny_gguf import TinyShape, vocabulary, write_tiny


def changed(path: Path, **facts: Any) -> Path:
    """Return a copy with other metadata; `__` in a name stands for a dot."""
    contents = read_contents(path)
    other = {key.replace("__", "."): encode_value(value) for key, value in facts.items()}
    tensors = [copied(contents, tensor) for tensor in contents.tensors.values()]
    write_gguf(new := path.with_name("changed.gguf"), {**contents.raw, **other}, tensors)
    return new


def test_the_sizes_are_those_of_the_file(tmp_path: Path) -> None:
    model = Transformer.read(write_tiny(tmp_path / "tiny.gguf", "gemma2"))
    config = model.config
    assert (config.layers, config.width, config.heads, config.kv_heads, config.head_size) == (3, 64, 4, 2, 16)
    assert config.vocabulary == len(vocabulary())
    assert config.local_layers == (True, False, True)
    assert (config.window, config.attention_cap, config.output_cap) == (8, 1, 2)
    assert model.weights["layers"]["ffn_down"].shape == (3, 64, 128)
    assert str(model.weights["layers"]["ffn_down"].dtype) == "float16"
    assert "output" not in model.weights


@pytest.mark.parametrize(
    ("facts", "scale"),
    [
        ({}, 1),
        ({"llama__rope__scaling__factor": 4.0}, 0.25),  # linear, where no type is named
        ({"llama__rope__scale_linear": 2.0}, 0.5),
        ({"llama__rope__scaling__type": "none", "llama__rope__scaling__factor": 4.0}, 1),
    ],
)
def test_positions_are_scaled_as_the_file_says(tmp_path: Path, facts: dict[str, Any], scale: float) -> None:
    assert read_config(read_contents(changed(write_tiny(tmp_path / "tiny.gguf"), **facts))).rope_scale == scale


def test_matrices_of_rows_without_whole_blocks_are_kept_in_16_bits(tmp_path: Path) -> None:
    shape = TinyShape(width=48, heads=3, kv_heads=3, inner=64)
    layers = Transformer.read(write_tiny(tmp_path / "tiny.gguf", shape=shape), dtype="int8").weights["layers"]
    assert isinstance(layers["ffn_down"], Blocks)
    assert str(layers["ffn_up"].dtype) == "float16"


@pytest.mark.parametrize(
    ("facts", "message"),
    [
        ({"general__architecture": "bert"}, "architecture `bert` cannot be trained"),
        ({"general__architecture": 7}, "names no architecture"),
        ({"general__type": "adapter"}, "an adapter, not a model"),
        ({"llama__block_count": 0}, "`llama.block_count` is 0"),
        ({"llama__block_count": 1 << 30}, "`llama.block_count` is 1073741824"),
        ({"llama__block_count": 2}, "`blk.2.attn_q.weight` is not one of a `llama` model"),
        ({"llama__block_count": 4}, "`blk.3.attn_q.weight` is missing"),
        ({"llama__attention__head_count": "four"}, "`llama.attention.head_count` is b'four'"),
        ({"llama__attention__head_count_kv": 3}, r"`blk.0.attn_k.weight` has the shape \[32, 64\], not \[48, 64\]"),
        ({"llama__rope__scaling__type": "yarn"}, "the RoPE scaling `yarn`"),
        ({"llama__rope__dimension_count": 8}, "RoPE on a part of a head"),
        ({"llama__rope__scaling__factor": 0.0}, "rope.scaling.factor` is 0.0"),
        ({"llama__rope__freq_base": -1.0}, "`llama.rope.freq_base` is -1.0"),
        ({"llama__expert_count": 8}, "a mixture of experts"),
        ({"llama__attention__layer_norm_rms_epsilon": float("nan")}, "layer_norm_rms_epsilon` is nan"),
    ],
)
def test_what_cannot_be_trained_is_refused_by_name(tmp_path: Path, facts: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message) as raised:
        Transformer.read(changed(write_tiny(tmp_path / "tiny.gguf"), **facts))
    assert "changed.gguf" in str(raised.value)


def test_all_missing_tensors_are_named_at_once(tmp_path: Path) -> None:
    names = frozenset({"output_norm.weight", "blk.1.ffn_up.weight"})
    with pytest.raises(InputError) as raised:
        Transformer.read(write_tiny(tmp_path / "tiny.gguf", without=names))
    assert {problem.message for problem in raised.value.problems} == {
        f"the tensor `{name}` is missing" for name in names
    }


def damaged(path: Path, change: Callable[[Any], None]) -> Path:
    numbers = np.memmap(path, np.float32, "r+", offset=gguf.GGUFReader(path).get_tensor(1).data_offset)
    change(numbers)
    numbers.flush()
    return path


def test_numbers_that_are_not_finite_are_refused(tmp_path: Path) -> None:
    path = damaged(write_tiny(tmp_path / "tiny.gguf"), lambda numbers: numbers.__setitem__(0, np.inf))
    with pytest.raises(InputError, match=r"`output_norm\.weight` has numbers that are not finite"):
        Transformer.read(path)


def test_an_adapter_is_not_a_model(tmp_path: Path) -> None:
    write_lora(path := tmp_path / "a.lora.gguf", "llama", {}, scale=1.0, training={})
    with pytest.raises(InputError, match="an adapter, not a model"):
        Transformer.read(path)
