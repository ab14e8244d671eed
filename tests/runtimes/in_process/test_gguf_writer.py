"""Copies of a model that end after some layers. They need no package of the extra `train`."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest

from promptkit.errors import InputError, StoreFailed
from promptkit.runtimes.in_process.cut_model import write_cut
from promptkit.runtimes.in_process.gguf_contents import read_contents
from promptkit.runtimes.in_process.gguf_writer import SOURCE_KEY
from promptkit.runtimes.in_process.llama_cpp import Embedder
from promptkit.runtimes.in_process.weights import file_digest
from tests.training.tiny_gguf import TinyShape, write_tiny


def test_a_cut_copy_gives_the_vectors_of_a_model_of_so_many_layers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = write_tiny(tmp_path / "whole.gguf")
    monkeypatch.setitem(sys.modules, "gguf", None)  # as where the extra is not installed
    write_cut(whole, 2, cut := tmp_path / "cut.gguf")
    monkeypatch.undo()
    short = write_tiny(tmp_path / "short.gguf", shape=TinyShape(layers=2))  # the same random numbers, layer by layer
    vectors = [Embedder(path, context=64, threads=1).embed("a text") for path in (cut, short, whole)]
    assert vectors[0] == vectors[1]
    assert np.abs(np.subtract(vectors[0], vectors[2])).max() > 0.01
    source = json.loads(read_contents(cut).text(SOURCE_KEY))
    assert source == {"weights": file_digest(whole), "change": "cut after 2 layers"}


@pytest.mark.parametrize("layers", [0, 3, -1])
def test_a_model_is_cut_between_its_layers_only(tmp_path: Path, layers: int) -> None:
    with pytest.raises(InputError, match=f"a model of 3 layers cannot be cut after {layers}"):
        write_cut(write_tiny(tmp_path / "whole.gguf"), layers, tmp_path / "cut.gguf")


def test_a_copy_never_replaces_its_original(tmp_path: Path) -> None:
    whole = write_tiny(tmp_path / "whole.gguf")
    (tmp_path / "link.gguf").symlink_to(whole)
    with pytest.raises(InputError, match="would replace the file"):
        write_cut(whole, 2, tmp_path / "link.gguf")


def test_a_full_disk_leaves_no_half_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = write_tiny(tmp_path / "whole.gguf")

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("promptkit.storage.files.os.replace", full)
    with pytest.raises(StoreFailed, match="No space left"):
        write_cut(whole, 2, tmp_path / "cut.gguf")
    assert list(tmp_path.iterdir()) == [whole]
