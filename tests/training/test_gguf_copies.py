"""Copies of a model: quantised, merged, with other rows of the token embedding."""

from __future__ import annotations

import json
import sys
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from promptkit.errors import InputError, MissingExtra
from promptkit.runtimes.in_process.gguf_contents import read_contents
from promptkit.runtimes.in_process.gguf_writer import SOURCE_KEY, NewTensor, encode_value, write_gguf
from promptkit.runtimes.in_process.weights import file_digest
from promptkit.training import tensor_numbers
from promptkit.training.gguf_copies import unused_control_tokens, write_copy, write_embedding_rows
from promptkit.training.lora_files import write_lora
from promptkit.training.tensor_numbers import QUANTIZATIONS, read_numbers
from tests.training.llama_answers import LlamaAnswers
from tests.training.test_lora_files import Pair
from tests.training.tiny_gguf import TinyShape, vocabulary, write_tiny

TOKENS = [20, 60, 110, 200, 9]


def probabilities(path: Path) -> np.ndarray[Any, Any]:
    return np.asarray(np.exp(LlamaAnswers(path).log_probabilities(TOKENS, len(vocabulary()))))


@pytest.mark.parametrize(("name", "most"), [("f16", 0.002), ("q8_0", 0.04), ("q5_1", 0.1), ("q4_0", 0.3)])
def test_a_quantised_copy_answers_nearly_as_its_original(tmp_path: Path, name: str, most: float) -> None:
    path = write_tiny(tmp_path / "tiny.gguf")
    write_copy(path, copy := tmp_path / "copy.gguf", quantization=name)
    distance = np.abs(probabilities(copy) - probabilities(path)).sum() / 2
    assert 0 < distance < most
    contents = read_contents(copy)
    assert {
        tensor.type.name for tensor in contents.tensors.values() if "ffn" in tensor.name and "norm" not in tensor.name
    } == {name.upper()}
    assert contents.tensors["output_norm.weight"].type.name == "F32"
    assert json.loads(contents.text(SOURCE_KEY)) == {"weights": file_digest(path), "change": f"quantized as {name}"}


def test_a_coarse_copy_keeps_the_vocabulary_in_eight_bits(tmp_path: Path) -> None:
    write_copy(write_tiny(tmp_path / "tiny.gguf", tied=False), copy := tmp_path / "copy.gguf", quantization="q4_0")
    tensors = read_contents(copy).tensors
    assert [tensors[name].type.name for name in ("token_embd.weight", "output.weight")] == ["Q8_0", "Q8_0"]


def test_matrices_that_an_adapter_changes_become_fine_enough_to_keep_the_change(tmp_path: Path) -> None:
    path = write_tiny(tmp_path / "tiny.gguf", quantized="Q4_1")
    factors = Pair(np.full((1, 4, 64), 0.1, np.float32), np.full((1, 128, 4), 0.1, np.float32))
    note = {"base": file_digest(path)}
    write_lora(adapter := tmp_path / "a.lora.gguf", "llama", {"ffn_up": factors}, scale=1.0, first=1, training=note)
    write_copy(path, copy := tmp_path / "copy.gguf", adapter=adapter)
    tensors = read_contents(copy).tensors
    assert [tensors[f"blk.{layer}.ffn_up.weight"].type.name for layer in range(3)] == ["Q4_1", "Q8_0", "Q4_1"]
    write_copy(path, copy, adapter=adapter, quantization="q4_1")
    assert read_contents(copy).tensors["blk.1.ffn_up.weight"].type.name == "Q4_1"


def bytes_of(values: np.ndarray[Any, Any]) -> list[bytes]:
    return [values.tobytes()]


def test_an_adapter_of_the_embedding_is_merged_as_llama_cpp_applies_it(tmp_path: Path) -> None:
    path, random = write_tiny(tmp_path / "tiny.gguf", tied=False), np.random.default_rng(0)
    facts = {"general.architecture": "llama", "general.type": "adapter", "adapter.type": "lora"}
    sizes = {"token_embd.weight.lora_a": (len(vocabulary()), 4), "token_embd.weight.lora_b": (64, 4)}
    factors = {name: random.normal(size=size, scale=0.3).astype(np.float32) for name, size in sizes.items()}
    tensors = [NewTensor(name, sizes[name], 0, partial(bytes_of, values)) for name, values in factors.items()]
    write_gguf(adapter := tmp_path / "a.gguf", {key: encode_value(value) for key, value in facts.items()}, tensors)
    write_copy(path, copy := tmp_path / "copy.gguf", adapter=adapter)
    adapted = np.exp(LlamaAnswers(path, adapter).log_probabilities(TOKENS, len(vocabulary())))
    assert probabilities(copy) == pytest.approx(adapted, abs=1e-4)
    assert np.abs(adapted - probabilities(path)).max() > 0.1


def test_rows_that_blocks_do_not_fit_become_16_bits(tmp_path: Path) -> None:
    path = write_tiny(tmp_path / "tiny.gguf", shape=TinyShape(width=48, heads=3, kv_heads=3, inner=64))
    write_copy(path, copy := tmp_path / "copy.gguf", quantization="q4_0")
    tensors = read_contents(copy).tensors
    assert [tensors[f"blk.0.{name}.weight"].type.name for name in ("ffn_up", "ffn_down")] == ["F16", "Q4_0"]


def test_large_matrices_are_converted_in_groups_of_rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_tiny(tmp_path / "tiny.gguf")
    write_copy(path, whole := tmp_path / "whole.gguf", quantization="q8_0")
    monkeypatch.setattr(tensor_numbers, "_NUMBERS_AT_ONCE", 3 * 64)
    write_copy(path, grouped := tmp_path / "grouped.gguf", quantization="q8_0")
    assert grouped.read_bytes() == whole.read_bytes()


def test_rows_of_the_embedding_are_replaced_and_no_others(tmp_path: Path) -> None:
    path = write_tiny(tmp_path / "tiny.gguf", quantized="Q4_0")
    vector = np.linspace(-1, 1, 64, dtype=np.float32)
    write_embedding_rows(path, {3: vector}, copy := tmp_path / "soft.gguf", facts={"promptkit.soft": "yes"})
    old, new = read_contents(path), read_contents(copy)
    before, after = (read_numbers(it, it.tensors["token_embd.weight"]) for it in (old, new))
    assert after[3] == pytest.approx(vector, abs=0.01)
    assert np.delete(after, 3, axis=0) == pytest.approx(np.delete(before, 3, axis=0), abs=0.01)
    assert new.text("promptkit.soft") == "yes"
    with pytest.raises(InputError, match="the token 999"):
        write_embedding_rows(path, {999: vector}, copy, facts={})


def test_control_tokens_that_chats_never_use_are_found(tmp_path: Path) -> None:
    found = unused_control_tokens(read_contents(write_tiny(tmp_path / "tiny.gguf")))
    # The template has <|im_start|> and <|im_end|>, which are also the roles of begin and end.
    assert found == {0: "<|endoftext|>", 3: "<repo_name>", 4: "<reponame>", 5: "<file_sep>", 6: "<filename>"}


def test_without_the_package_gguf_the_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_tiny(tmp_path / "tiny.gguf")
    monkeypatch.setitem(sys.modules, "gguf.quants", None)
    with pytest.raises(MissingExtra) as raised:
        write_copy(path, tmp_path / "copy.gguf", quantization="q8_0")
    assert raised.value.hint == "pip install 'promptkit[train]'"
    assert list(tmp_path.iterdir()) == [path]


def test_types_have_the_numbers_of_ggml() -> None:
    import gguf

    assert {name: gguf.GGMLQuantizationType[name.upper()] for name in QUANTIZATIONS} == QUANTIZATIONS
