"""The table of a GGUF file's tensors, and what a damaged file is told."""

from __future__ import annotations

import struct
from pathlib import Path

import gguf
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from promptkit.errors import InputError
from promptkit.runtimes.in_process.gguf_contents import TENSOR_TYPES, read_contents
from promptkit.runtimes.in_process.gguf_writer import NewTensor, encode_value, write_gguf
from tests.training.tiny_gguf import write_tiny

COUNTS = struct.calcsize("<4sI")
"""The place of the number of tensors, before that of values."""


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    return write_tiny(tmp_path_factory.mktemp("gguf") / "tiny.gguf", quantized="Q8_0").read_bytes()


def problem(folder: Path, data: bytes) -> str:
    path = folder / "model.gguf"
    path.write_bytes(data)
    with pytest.raises(InputError) as raised:
        read_contents(path)
    return str(raised.value)


def test_metadata_and_tensors_are_those_that_the_package_gguf_reads(tmp_path: Path, tiny: bytes) -> None:
    path = tmp_path / "model.gguf"
    path.write_bytes(tiny)
    contents, reader = read_contents(path), gguf.GGUFReader(path)
    assert contents.architecture == "llama"
    layers = reader.get_field("llama.block_count")
    assert layers is not None and contents.metadata["llama.block_count"] == layers.contents()
    for tensor in reader.tensors:
        own = contents.tensors[tensor.name]
        assert (own.shape, own.start, own.size) == (tuple(tensor.shape)[::-1], tensor.data_offset, tensor.n_bytes)
        assert own.type.name == tensor.tensor_type.name
        assert b"".join(contents.tensor_bytes(own)) == tensor.data.tobytes()


def test_types_of_tensors_have_the_blocks_of_ggml() -> None:
    sizes = {int(kind): (kind.name, *size) for kind, size in gguf.constants.GGML_QUANT_SIZES.items()}
    assert {kind: (it.name, it.block, it.size) for kind, it in TENSOR_TYPES.items()} == {
        kind: sizes[kind] for kind in TENSOR_TYPES
    }


@pytest.mark.attack("gguf")
@pytest.mark.parametrize(
    ("start", "message"),
    [
        (b"", "empty"),
        (b"GGML", "damaged"),
        (b"GGUF" + struct.pack("<IQQ", 9, 0, 0), "version 9"),
        (b"GGUF" + struct.pack("<IQQ", 3, 0, 1 << 60), "cut off or damaged"),
        (b"GGUF" + struct.pack("<IQQ", 3, 1 << 60, 0), "cut off or damaged"),
        (b"GGUF" + struct.pack("<IQQQ", 3, 0, 1, 1 << 63), "cut off or damaged"),
        (b"GGUF" + struct.pack("<IQQQ1sIIQ", 3, 0, 1, 1, b"k", 9, 0, 1 << 62), "cut off or damaged"),
        (b"GGUF" + struct.pack("<IQQQ1sIIQ", 3, 0, 1, 1, b"k", 9, 9, 1), "no lists of the kind 9"),
        (b"GGUF" + struct.pack("<IQQQ1sI", 3, 0, 1, 1, b"k", 77), "no values of the kind 77"),
        (b"GGUF" + struct.pack("<IQQQ1sI", 3, 1, 0, 1, b"t", 9), "9 dimensions"),
        (b"GGUF" + struct.pack("<IQQQ1sIQIQ", 3, 1, 0, 1, b"t", 1, 1 << 62, 0, 0), "the file is cut off"),
        (b"GGUF" + struct.pack("<IQQQ1sIQIQ", 3, 1, 0, 1, b"t", 1, 32, 99, 0), "unknown type 99"),
        (b"GGUF" + struct.pack("<IQQQ1sIQIQ", 3, 1, 0, 1, b"t", 1, 33, 8, 0), r"shape [33]"),
        (b"GGUF" + struct.pack("<IQQQ1sIQIQ", 3, 1, 0, 1, b"t", 1, 0, 0, 0), r"shape [0]"),
    ],
)
def test_what_is_wrong_is_said_with_the_file(tmp_path: Path, start: bytes, message: str) -> None:
    assert message in (said := problem(tmp_path, start))
    assert "model.gguf" in said


def test_an_alignment_of_zero_and_a_key_twice_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "model.gguf"
    write_gguf(path, {"general.alignment": encode_value(0)}, [])
    with pytest.raises(InputError, match="alignment 0"):
        read_contents(path)
    twice = struct.pack("<Q1s", 1, b"k") + encode_value(1)
    assert "`k` twice" in problem(tmp_path, b"GGUF" + struct.pack("<IQQ", 3, 0, 2) + twice * 2)


@settings(max_examples=60, deadline=None)
@given(at=st.integers(0, 6000), with_=st.binary(min_size=1, max_size=9), cut=st.booleans())
def test_a_damaged_file_is_read_or_refused_and_nothing_else(
    tmp_path_factory: pytest.TempPathFactory, tiny: bytes, at: int, with_: bytes, cut: bool
) -> None:
    path = tmp_path_factory.mktemp("damaged") / "model.gguf"
    path.write_bytes(tiny[:at] + with_ + (b"" if cut else tiny[at + len(with_) :]))
    try:
        read_contents(path)
    except InputError as error:
        assert "model.gguf" in str(error)


def test_a_tensor_with_too_few_bytes_is_never_written(tmp_path: Path) -> None:
    short = NewTensor("t", (4,), 0, lambda: [b"1234"])
    with pytest.raises(AssertionError):
        write_gguf(tmp_path / "new.gguf", {}, [short])
    assert list(tmp_path.iterdir()) == []
