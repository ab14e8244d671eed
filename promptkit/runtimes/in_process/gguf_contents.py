"""All of a GGUF file: its metadata and its table of tensors, checked against the size of the file.

Reads without the package `gguf`, which neither bounds what it reads nor says what is wrong.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any, Final

from promptkit.errors import InputError, Problem, place
from promptkit.runtimes.in_process.gguf import open_gguf
from promptkit.storage.files import open_file

EMBEDDING: Final = "token_embd.weight"
"""The name of the token embedding, [tokens, width]."""
ALIGNMENT: Final = 32
"""Tensors begin at multiples of this many bytes, unless the metadata says otherwise."""
PART_BYTES: Final = 1 << 22


@dataclass(frozen=True, slots=True)
class TensorType:
    """The storage of a tensor's numbers: blocks of `block` numbers, `size` bytes each."""

    name: str
    block: int
    size: int


TENSOR_TYPES: Final = {
    0: TensorType("F32", 1, 4),
    1: TensorType("F16", 1, 2),
    2: TensorType("Q4_0", 32, 18),
    3: TensorType("Q4_1", 32, 20),
    6: TensorType("Q5_0", 32, 22),
    7: TensorType("Q5_1", 32, 24),
    8: TensorType("Q8_0", 32, 34),
    10: TensorType("Q2_K", 256, 84),
    11: TensorType("Q3_K", 256, 110),
    12: TensorType("Q4_K", 256, 144),
    13: TensorType("Q5_K", 256, 176),
    14: TensorType("Q6_K", 256, 210),
    16: TensorType("IQ2_XXS", 256, 66),
    17: TensorType("IQ2_XS", 256, 74),
    18: TensorType("IQ3_XXS", 256, 98),
    19: TensorType("IQ1_S", 256, 50),
    20: TensorType("IQ4_NL", 32, 18),
    21: TensorType("IQ3_S", 256, 110),
    22: TensorType("IQ2_S", 256, 82),
    23: TensorType("IQ4_XS", 256, 136),
    29: TensorType("IQ1_M", 256, 56),
    30: TensorType("BF16", 1, 2),
}
"""The types of ggml by their number."""


@dataclass(frozen=True, slots=True)
class Tensor:
    """A tensor in a file: its shape with the outermost dimension first, and where its bytes lie."""

    name: str
    shape: tuple[int, ...]
    kind: int
    start: int
    size: int

    @property
    def type(self) -> TensorType:
        """The type of its numbers."""
        return TENSOR_TYPES[self.kind]


@dataclass(frozen=True, slots=True)
class GgufContents:
    """The metadata and the tensors of a file.

    Texts in `metadata` are bytes. `raw` has the bytes of each value as they lie in the file, after the number of its
    type, so that a copy can keep them.
    """

    path: Path
    metadata: Mapping[str, Any]
    raw: Mapping[str, bytes]
    tensors: Mapping[str, Tensor]

    @property
    def architecture(self) -> str:
        """The name of the architecture; empty where the file has none."""
        return self.text("general.architecture")

    def text(self, key: str) -> str:
        """Return a text of the metadata; empty where it is missing or not a text."""
        value = self.metadata.get(key)
        return value.decode("utf-8", "replace") if isinstance(value, bytes) else ""

    def tensor_bytes(self, tensor: Tensor) -> Iterator[bytes]:
        """Yield the bytes of a tensor in parts. Raises InputError where the file has become shorter."""
        with open_file(self.path) as file:
            file.seek(tensor.start)
            left = tensor.size
            while left:
                part = file.read(min(left, PART_BYTES))
                if not part:
                    raise wrong_gguf(self.path, "the file was cut while it was read")
                left -= len(part)
                yield part


def read_contents(path: Path) -> GgufContents:
    """Read the metadata and the table of tensors. Raises InputError with the file and what is wrong with it."""
    open_file(path).close()
    try:
        with open_gguf(path) as reader:
            metadata, raw, table, end = reader.contents()
        size = path.stat().st_size
        alignment = metadata.get("general.alignment", ALIGNMENT)
        if not isinstance(alignment, int) or not 8 <= alignment <= 1 << 16 or alignment % 8:
            raise ValueError(f"the alignment {alignment!r} is not possible")
        data = -(-end // alignment) * alignment
        tensors: dict[str, Tensor] = {}
        for name, shape, kind, offset in table:
            if name in tensors:
                raise ValueError(f"the tensor `{name}` is there twice")
            tensors[name] = _checked(Tensor(name, shape[::-1], kind, data + offset, 0), size)
    except OSError as error:
        raise wrong_gguf(path, error.strerror or str(error)) from error
    except (struct.error, UnicodeDecodeError, OverflowError, MemoryError) as error:
        raise wrong_gguf(path, "the GGUF file is cut off or damaged in its metadata") from error
    except ValueError as error:
        raise wrong_gguf(path, str(error)) from error
    return GgufContents(path, metadata, raw, tensors)


def wrong_gguf(path: Path, message: str, *, hint: str | None = None) -> InputError:
    """Return the error of a file that cannot be used."""
    return InputError(Problem(message, place(path), hint=hint))


def _checked(tensor: Tensor, file_size: int) -> Tensor:
    """Return a tensor with its size in bytes. Raises ValueError where it does not lie in the file."""
    if tensor.kind not in TENSOR_TYPES:
        raise ValueError(f"the tensor `{tensor.name}` has the unknown type {tensor.kind}")
    stored = tensor.type
    if not tensor.shape or 0 in tensor.shape or tensor.shape[-1] % stored.block:
        raise ValueError(f"the tensor `{tensor.name}` of type {stored.name} has the shape {list(tensor.shape)}")
    size = prod(tensor.shape) // stored.block * stored.size
    if tensor.start + size > file_size:
        raise ValueError(f"the file is cut off: the tensor `{tensor.name}` ends after the file's {file_size:,} bytes")
    return Tensor(tensor.name, tensor.shape, tensor.kind, tensor.start, size)
