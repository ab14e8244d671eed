"""Copies of GGUF files that end after a middle layer: llama.cpp gives the vectors of a model's last layer only.

A copy keeps the output norm, so a token's vector is divided by its root mean square, as after the last layer. Copies
lie in the user's cache folder, where they can be made again; the least recently used are deleted beyond MOST_BYTES.
"""

from __future__ import annotations

import mmap
import os
import re
import struct
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from promptkit.errors import InputError, ModelLoadFailed, StoreFailed, place
from promptkit.project import cache_folder
from promptkit.runtimes.in_process.gguf import _LIST, _SCALARS, _GgufReader, _metadata
from promptkit.runtimes.in_process.weights import file_digest
from promptkit.storage.files import make_folder, remove_file, write_atomic

ARCHITECTURES: Final = frozenset({"llama", "qwen2", "qwen3", "gemma", "gemma2", "gemma3", "phi3", "granite", "olmo2"})
"""Architectures whose blocks are alike and follow each other, so that the first of them are a model too."""
MOST_BYTES: Final = 8_000_000_000
ALIGNMENT: Final = 32
MOST_DIMENSIONS: Final = 4
MOST_LAYERS: Final = 1_000
_COPIED_AT_ONCE: Final = 1 << 24
_BLOCK = re.compile(r"blk\.(\d+)\.")
_UINT32 = 4


def count_layers(path: Path) -> int | None:
    """Return the number of a model's blocks; None where a copy of the first of them would not be a model."""
    with suppress(OSError, ValueError, OverflowError, struct.error), _metadata(path) as metadata:
        facts = metadata.values()
        architecture = facts.get("general.architecture", b"").decode("utf-8", "replace")
        layers = facts.get(f"{architecture}.block_count")
        is_whole = facts.get("split.count", 1) in (0, 1)
        if architecture in ARCHITECTURES and is_whole and type(layers) is int and 1 < layers <= MOST_LAYERS:
            return layers
    return None


def cut_model(path: Path, layer: int) -> Path:
    """Return a copy of a GGUF file that ends after `layer` blocks, made at its first use.

    Raises ModelLoadFailed where the file has no such layer, is damaged, or the copy cannot be written.
    """
    layers = count_layers(path)
    if layers is None or not 0 < layer < layers:
        raise ModelLoadFailed(f"{place(path)} has no middle layer {layer}: it has {layers or 'no known'} layers")
    folder = cut_models_folder()
    copy = folder / f"{file_digest(path)[:32]}-{layer}.gguf"
    with suppress(OSError):
        os.utime(copy)  # the most recently used
        return copy
    try:
        make_folder(folder)
        with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            write_atomic(copy, _cut(_Contents.read(data), data, layer))
    except (StoreFailed, InputError, OSError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        hint = "set PROMPTKIT_CACHE to a folder with room where you may write"
        raise ModelLoadFailed(
            f"cannot keep the first {layer} layers of {place(path)} in {place(folder)}: {reason}", hint=hint
        ) from error
    except (ValueError, OverflowError, struct.error) as error:
        raise ModelLoadFailed(f"cannot read {place(path)}: it is cut off or damaged ({error})") from error
    _delete_oldest(folder, copy)
    return copy


def cut_models_folder() -> Path:
    """Return the folder that keeps the copies."""
    return cache_folder() / "cut_models"


def delete_cuts(path: Path, *, but: int | None) -> None:
    """Delete the copies of a file, but that after the layer `but`."""
    kept = f"-{but}.gguf"
    for copy in cut_models_folder().glob(f"{file_digest(path)[:32]}-*.gguf"):
        if not copy.name.endswith(kept):
            with suppress(OSError, StoreFailed):
                remove_file(copy)


def _delete_oldest(folder: Path, newest: Path) -> None:
    total = 0
    found: list[tuple[float, int, Path]] = []
    for copy in folder.glob("*.gguf"):
        with suppress(OSError):
            status = copy.stat()
            found.append((status.st_mtime, status.st_size, copy))
    for _, size, copy in sorted(found, reverse=True):
        total += size
        if total > MOST_BYTES and copy != newest:
            with suppress(OSError, StoreFailed):
                remove_file(copy)


@dataclass(frozen=True, slots=True)
class _Tensor:
    """A line of the table of tensors: the bytes before its offset, and where its data begin and end in the file."""

    name: str
    head: bytes
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class _Contents:
    """A GGUF file: its version, each value's bytes with key and type, the decoded values, the tensors."""

    version: int
    raw: Mapping[str, bytes]
    values: Mapping[str, Any]
    tensors: tuple[_Tensor, ...]

    @classmethod
    def read(cls, data: mmap.mmap) -> _Contents:
        """Read a file. Raises ValueError and struct.error where it is damaged."""
        return _ContentsReader(data).contents()


class _ContentsReader(_GgufReader):
    """Reads the values and the table of tensors."""

    def contents(self) -> _Contents:
        _magic, version, tensors, count = self._take("4sIQQ")
        raw: dict[str, bytes] = {}
        values: dict[str, Any] = {}
        for _ in range(count):
            start = self._at
            key = self._text().decode("utf-8", "replace")
            values[key] = self._value(*self._take("I"))
            raw[key] = self._data[start : self._at]
        table = [self._tensor() for _ in range(tensors)]
        alignment = values.get("general.alignment", ALIGNMENT)
        if type(alignment) is not int or not 0 < alignment <= 1 << 16:
            raise ValueError("the alignment is out of range")
        begin = self._at + -self._at % alignment
        return _Contents(version, raw, values, tuple(_placed(table, begin, len(self._data))))

    def _tensor(self) -> tuple[str, bytes, int]:
        start = self._at
        name = self._text().decode("utf-8", "replace")
        (dimensions,) = self._take("I")
        if dimensions > MOST_DIMENSIONS:
            raise ValueError(f"a tensor has {dimensions} dimensions")
        self._take(f"{dimensions}QI")
        head = self._data[start : self._at]
        (offset,) = self._take("Q")
        return name, head, offset


def _placed(table: list[tuple[str, bytes, int]], begin: int, size: int) -> Iterator[_Tensor]:
    """Yield the tensors with their places; the data of each end where those of the next one begin."""
    ordered = sorted(table, key=lambda tensor: tensor[2])
    ends = [begin + offset for _, _, offset in ordered[1:]] + [size]
    for (name, head, offset), end in zip(ordered, ends, strict=True):
        if not begin + offset < end <= size:
            raise ValueError(f"the tensor `{name[:80]}` lies outside of the file")
        yield _Tensor(name, head, begin + offset, end)


def _cut(contents: _Contents, data: mmap.mmap, layer: int) -> Iterator[bytes]:
    """Yield the bytes of the copy: the head, then the data of the kept tensors."""
    kept = [tensor for tensor in contents.tensors if _block(tensor.name) < layer]
    values = dict(_values(contents, layer))
    head = [struct.pack("<4sIQQ", b"GGUF", contents.version, len(kept), len(values)), *values.values()]
    alignment = contents.values.get("general.alignment", ALIGNMENT)
    offset = 0
    for tensor in kept:
        head += [tensor.head, struct.pack("<Q", offset)]
        offset += _padded(tensor.end - tensor.start, alignment)
    table = b"".join(head)
    yield table.ljust(_padded(len(table), alignment), b"\0")
    for tensor in kept:
        for start in range(tensor.start, tensor.end, _COPIED_AT_ONCE):
            yield data[start : min(start + _COPIED_AT_ONCE, tensor.end)]
        yield bytes(-(tensor.end - tensor.start) % alignment)


def _padded(size: int, alignment: int) -> int:
    return size + -size % alignment


def _block(name: str) -> int:
    """Return the number of the block that a tensor belongs to, -1 for one of the whole model."""
    found = _BLOCK.match(name)
    return int(found[1]) if found else -1


def _values(contents: _Contents, layer: int) -> Iterator[tuple[str, bytes]]:
    """Yield each value's bytes: the number of blocks changed, and lists with a number for each block cut."""
    architecture = contents.values["general.architecture"].decode()
    layers = contents.values[f"{architecture}.block_count"]
    for key, raw in contents.raw.items():
        value, named = contents.values[key], len(key.encode()) + 8
        kind, inner = struct.unpack_from("<I", raw, named)[0], 0
        if key == f"{architecture}.block_count":
            yield key, raw[:named] + struct.pack("<II", _UINT32, layer)
        elif kind == _LIST and key.startswith(f"{architecture}.") and len(value) == layers:
            inner = struct.unpack_from("<I", raw, named + 4)[0]
            if inner not in _SCALARS:
                raise ValueError(f"`{key}` is no list of numbers")
            head = raw[:named] + struct.pack("<IIQ", kind, inner, layer)
            yield key, head + raw[named + 16 : named + 16 + layer * struct.calcsize(f"<{_SCALARS[inner]}")]
        else:
            yield key, raw
