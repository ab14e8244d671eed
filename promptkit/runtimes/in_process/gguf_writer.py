"""Writing GGUF files: new ones, and copies of a model with other metadata or tensors.

Like the reader it works without the package `gguf`.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Final

from promptkit.runtimes.in_process.gguf_contents import (
    ALIGNMENT,
    TENSOR_TYPES,
    GgufContents,
    Tensor,
    wrong_gguf,
)
from promptkit.runtimes.in_process.weights import file_digest
from promptkit.storage.files import resolved, unreadable, write_atomic

SOURCE_KEY: Final = "promptkit.source"
"""The metadata of a copy: a JSON object with the SHA-256 of the file that it was made from, and what was changed."""
_VERSION: Final = 3
_UINT32, _FLOAT32, _BOOL, _TEXT = 4, 6, 7, 8


@dataclass(frozen=True, slots=True)
class NewTensor:
    """A tensor to write. `parts` yields its bytes, as many as its shape and type need."""

    name: str
    shape: tuple[int, ...]
    kind: int
    parts: Callable[[], Iterable[bytes]]

    @property
    def size(self) -> int:
        """Its bytes."""
        stored = TENSOR_TYPES[self.kind]
        return prod(self.shape) // stored.block * stored.size


def encode_value(value: str | bool | int | float) -> bytes:
    """Return a value of the metadata as bytes, after the number of its type; whole numbers as 32 bits."""
    if isinstance(value, str):
        return struct.pack("<I", _TEXT) + _text(value)
    if isinstance(value, bool):
        return struct.pack("<I?", _BOOL, value)
    if isinstance(value, int):
        return struct.pack("<II", _UINT32, value)
    return struct.pack("<If", _FLOAT32, value)


def write_gguf(path: Path, metadata: Mapping[str, bytes], tensors: Sequence[NewTensor]) -> None:
    """Write a file whole or not at all. `metadata` has values as `encode_value` gives them.

    Raises StoreFailed where it cannot be written, such as on a full disk.
    """
    write_atomic(path, _file(metadata, tensors))


def copy_metadata(
    contents: GgufContents, changes: Mapping[str, str | bool | int | float], change: str
) -> dict[str, bytes]:
    """Return the metadata of a copy: with `changes`, and with the digest of the original and a name of the `change`."""
    try:
        digest = file_digest(contents.path)
    except OSError as error:
        raise unreadable(contents.path, error) from error
    source = {"weights": digest, "change": change}
    # Tensors of a copy are laid out anew.
    kept = {key: value for key, value in contents.raw.items() if key != "general.alignment"}
    encoded = {key: encode_value(value) for key, value in changes.items()}
    return {**kept, **encoded, SOURCE_KEY: encode_value(json.dumps(source))}


def copied(contents: GgufContents, tensor: Tensor) -> NewTensor:
    """Return a tensor to write as it is in another file."""
    return NewTensor(tensor.name, tensor.shape, tensor.kind, lambda: contents.tensor_bytes(tensor))


def check_other_file(source: Path, to: Path) -> None:
    """Raise InputError where a copy would replace its original."""
    if resolved(source) == resolved(to):
        raise wrong_gguf(to, "the copy would replace the file that it is made from", hint="name another file")


def _file(metadata: Mapping[str, bytes], tensors: Sequence[NewTensor]) -> Iterator[bytes]:
    head = [b"GGUF", struct.pack("<IQQ", _VERSION, len(tensors), len(metadata))]
    head += [_text(key) + value for key, value in metadata.items()]
    offset = 0
    for tensor in tensors:
        shape = tensor.shape[::-1]
        head += [_text(tensor.name), struct.pack(f"<I{len(shape)}QIQ", len(shape), *shape, tensor.kind, offset)]
        offset += tensor.size + _padding(tensor.size)
    start = b"".join(head)
    yield start
    yield bytes(_padding(len(start)))
    for tensor in tensors:
        written = 0
        for part in tensor.parts():
            written += len(part)
            yield part
        if written != tensor.size:
            raise AssertionError(f"{tensor.name} has {written} bytes, not {tensor.size}")
        yield bytes(_padding(written))


def _padding(length: int) -> int:
    return -length % ALIGNMENT


def _text(text: str) -> bytes:
    data = text.encode()
    return struct.pack("<Q", len(data)) + data
