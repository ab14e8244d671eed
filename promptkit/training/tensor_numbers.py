"""The numbers of a GGUF file's tensors as float32, and numbers as the bytes of a tensor (package `gguf`)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

import numpy as np

from promptkit.errors import MissingExtra
from promptkit.runtimes.in_process.gguf_contents import TENSOR_TYPES, GgufContents, Tensor, wrong_gguf

Numbers = np.ndarray[Any, np.dtype[np.float32]]

QUANTIZATIONS: Final = {"f32": 0, "f16": 1, "bf16": 30, "q4_0": 2, "q4_1": 3, "q5_0": 6, "q5_1": 7, "q8_0": 8}
"""The types to which a matrix can be converted, by the name in a command, with ggml's number."""
Q8_0: Final = QUANTIZATIONS["q8_0"]
F16: Final = QUANTIZATIONS["f16"]
_FINE: Final = {QUANTIZATIONS[name] for name in ("f32", "f16", "bf16", "q8_0")}
_NUMBERS_AT_ONCE: Final = 1 << 22


def read_numbers(contents: GgufContents, tensor: Tensor) -> Numbers:
    """Return all numbers of a tensor. Raises InputError where they cannot be read."""
    return np.concatenate(list(read_rows(contents, tensor))).reshape(tensor.shape)


def read_rows(contents: GgufContents, tensor: Tensor) -> Iterator[Numbers]:
    """Yield the rows of a tensor, groups [rows, row length] of some million numbers: a large one fills no memory.

    Raises InputError where they cannot be read, MissingExtra without the package.
    """
    length = tensor.shape[-1]
    row_bytes = length // tensor.type.block * tensor.type.size
    group = max(1, _NUMBERS_AT_ONCE // length) * row_bytes
    waiting = bytearray()
    for part in contents.tensor_bytes(tensor):
        waiting += part
        while len(waiting) >= group:
            yield _dequantized(contents, tensor, bytes(waiting[:group]), row_bytes)
            del waiting[:group]
    if waiting:
        yield _dequantized(contents, tensor, bytes(waiting), row_bytes)


def to_bytes(rows: Numbers, kind: int) -> bytes:
    """Return rows of numbers as the bytes of a tensor of the type `kind`. Raises MissingExtra without the package."""
    quants = _quants()
    return bytes(quants.quantize(rows, _types()(kind)).tobytes())


def fine_type(kind: int) -> int:
    """Return the type in which changed numbers are written: `kind`, or Q8_0 in place of one with fewer bits.

    Measured with adapters merged into a Q4_1 file: 4 bits round most of a small change away, 8 bits keep it.
    """
    return kind if kind in _FINE else Q8_0


def fitting_type(kind: int, row_length: int) -> int:
    """Return `kind`, or F16 where its blocks do not fit rows of a length."""
    return kind if row_length % TENSOR_TYPES[kind].block == 0 else F16


def _dequantized(contents: GgufContents, tensor: Tensor, data: bytes, row_bytes: int) -> Numbers:
    rows = np.frombuffer(data, np.uint8).reshape(-1, row_bytes)
    try:
        numbers = np.asarray(_quants().dequantize(rows, _types()(tensor.kind)), np.float32)
    except NotImplementedError as error:
        raise wrong_gguf(contents.path, f"`{tensor.name}` has the type {tensor.type.name}, not readable") from error
    if not np.isfinite(numbers).all():
        raise wrong_gguf(contents.path, f"the tensor `{tensor.name}` has numbers that are not finite")
    return numbers.reshape(len(rows), -1)


def _quants() -> Any:
    try:
        import gguf.quants
    except ImportError as error:
        raise MissingExtra("reading and writing the numbers of a GGUF file", "train") from error
    return gguf.quants


def _types() -> Any:
    import gguf

    return gguf.GGMLQuantizationType
