"""Copies of GGUF files that end after a middle layer, read back by the package gguf."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from promptkit.errors import ModelLoadFailed
from promptkit.runtimes.in_process import cut_model as module
from promptkit.runtimes.in_process.cut_model import count_layers, cut_model, cut_models_folder, delete_cuts
from promptkit.runtimes.in_process.gguf_writer import SOURCE_KEY

gguf = pytest.importorskip("gguf")

LAYERS = 4


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PROMPTKIT_CACHE", str(tmp_path / "cache"))


def write_model(path: Path, architecture: str = "llama", *, split: int = 1) -> Path:
    writer: Any = gguf.GGUFWriter(path, architecture)
    writer.add_block_count(LAYERS)
    writer.add_array(f"{architecture}.attention.head_count_kv", [1, 2, 3, 4])
    writer.add_array("tokenizer.ggml.tokens", ["a", "b", "c", "d"])
    writer.add_uint16("split.count", split)
    generator = np.random.default_rng(0)
    names = ["token_embd.weight", *(f"blk.{layer}.ffn_up.weight" for layer in range(LAYERS)), "output_norm.weight"]
    for at, name in enumerate(names):
        writer.add_tensor(name, generator.normal(size=(3, 5 + at)).astype(np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def contents(path: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    reader: Any = gguf.GGUFReader(path)
    values = {name: field.contents() for name, field in reader.fields.items() if not name.startswith("GGUF.")}
    return values, {tensor.name: np.array(tensor.data) for tensor in reader.tensors}


@pytest.mark.parametrize("layer", [1, 3])
def test_a_copy_has_the_first_blocks_and_all_that_is_not_of_a_block(tmp_path: Path, layer: int) -> None:
    path = write_model(tmp_path / "model.gguf")
    values, tensors = contents(path)
    cut_values, cut_tensors = contents(cut_model(path, layer))
    changed = {"llama.block_count": layer, "llama.attention.head_count_kv": [1, 2, 3, 4][:layer]}
    del cut_values[SOURCE_KEY]
    assert cut_values == {**values, **changed}
    assert list(cut_tensors) == [
        "token_embd.weight",
        *(f"blk.{at}.ffn_up.weight" for at in range(layer)),
        "output_norm.weight",
    ]
    for name, data in cut_tensors.items():
        assert np.array_equal(data, tensors[name])


def test_a_copy_is_made_once_and_belongs_to_the_content_of_the_file(tmp_path: Path) -> None:
    path = write_model(tmp_path / "model.gguf")
    copy = cut_model(path, 2)
    made = copy.stat().st_ino
    assert cut_model(path, 2).stat().st_ino == made
    assert cut_model(path, 3) != copy
    moved = path.rename(tmp_path / "elsewhere.gguf")
    assert cut_model(moved, 2) == copy


def test_the_least_recently_used_copies_are_deleted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_model(tmp_path / "model.gguf")
    first, second = cut_model(path, 1), cut_model(path, 2)
    os.utime(first, (1, 1))
    monkeypatch.setattr(module, "MOST_BYTES", second.stat().st_size + cut_model(path, 1).stat().st_size)
    os.utime(second, (1, 1))
    third = cut_model(path, 3)
    assert not second.exists()
    assert third.exists()


def test_copies_of_other_layers_are_deleted_on_request(tmp_path: Path) -> None:
    path = write_model(tmp_path / "model.gguf")
    kept = cut_model(path, 1)
    cut_model(path, 2)
    delete_cuts(path, but=1)
    assert list(cut_models_folder().iterdir()) == [kept]


@pytest.mark.parametrize(("architecture", "split"), [("mamba", 1), ("llama", 2)])
def test_a_model_whose_first_blocks_are_no_model_has_no_layers(tmp_path: Path, architecture: str, split: int) -> None:
    assert count_layers(write_model(tmp_path / "model.gguf", architecture, split=split)) is None


def test_a_layer_that_is_not_in_the_middle_is_refused(tmp_path: Path) -> None:
    path = write_model(tmp_path / "model.gguf")
    for layer in (0, LAYERS, 99):
        with pytest.raises(ModelLoadFailed, match="has no middle layer"):
            cut_model(path, layer)


def test_a_file_that_is_cut_off_is_refused_and_nothing_is_kept(tmp_path: Path) -> None:
    path = write_model(tmp_path / "model.gguf")
    data = path.read_bytes()
    table = data.index(b"blk.0")
    for end in range(table, data.index(b"output_norm") + 20, 23):
        path.write_bytes(data[:end])
        os.utime(path, ns=(end, end))
        with pytest.raises(ModelLoadFailed, match="cut off"):
            cut_model(path, 2)
    assert not list(cut_models_folder().glob("*"))


def test_a_file_that_is_not_gguf_has_no_layers(tmp_path: Path) -> None:
    path = tmp_path / "model.gguf"
    for data in (b"", b"GGUF", b"not a model" * 9, b"GGUF" + b"\xff" * 60):
        path.write_bytes(data)
        assert count_layers(path) is None
