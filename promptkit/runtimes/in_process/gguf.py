"""The metadata at the start of a GGUF file: control tokens, what kind of model it is, and its tensors."""

from __future__ import annotations

import mmap
import struct
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any, Final

from promptkit.runtimes.control_tokens import is_control_token

TOKENS_KEY: Final = "tokenizer.ggml.tokens"
TOKEN_TYPES_KEY: Final = "tokenizer.ggml.token_type"
UNKNOWN, CONTROL = 2, 3
"""Token types of control tokens."""

_SCALARS: Final = dict(enumerate(("B", "b", "H", "h", "I", "i", "f", "?"))) | {10: "Q", 11: "q", 12: "d"}
_TEXT, _LIST = 8, 9


@dataclass(frozen=True, slots=True)
class ModelKind:
    """The architecture of a model, its window in training, and how it pools vectors (llama.cpp's number).

    Only embedding models and rerankers say how they pool.
    """

    architecture: str
    trained: int | None = None
    pooling: int | None = None


@dataclass(frozen=True, slots=True)
class TensorInfo:
    """A tensor's shape, innermost dimension first as in the file, its type, and where its data ends in the file.

    `end` is None for a type whose size is not known here.
    """

    shape: tuple[int, ...]
    kind: int
    end: int | None


RERANKING: Final = 4
"""The pooling type of a reranker, which scores pairs of texts and embeds none."""


def read_kind(path: Path) -> ModelKind:
    """Return the kind of a model; of a file that is not GGUF nothing, since llama.cpp says why when it loads it."""
    with suppress(OSError, ValueError, struct.error), _metadata(path) as metadata:
        # The vocabulary follows the facts of the model, and takes long to read.
        facts = metadata.values(before="tokenizer.")
        name = facts.get("general.architecture", b"").decode("utf-8", "replace")
        return ModelKind(name, facts.get(f"{name}.context_length"), facts.get(f"{name}.pooling_type") or None)
    return ModelKind("")


def read_control_tokens(path: Path) -> frozenset[str]:
    """Return the texts of a model's control tokens: those that the file marks, and those of a known form.

    llama.cpp obeys the latter whatever the file says. Raises OSError; ValueError and struct.error
    for what is not a GGUF file.
    """
    with _metadata(path) as metadata:
        found = metadata.values({TOKENS_KEY, TOKEN_TYPES_KEY})
    texts = [text.decode("utf-8", "replace") for text in found.get(TOKENS_KEY, ())]
    kinds = found.get(TOKEN_TYPES_KEY) or [0] * len(texts)
    return frozenset(
        text
        for text, kind in zip(texts, kinds, strict=True)
        if text and (kind in (UNKNOWN, CONTROL) or (text[0] in "<[" and is_control_token(text)))
    )


UNREADABLE: Final = (OSError, ValueError, struct.error, IndexError, OverflowError, RecursionError, MemoryError)
"""What reading a file that is cut, or is not GGUF, may raise."""

_BLOCKS: Final[Mapping[int, tuple[int, int]]] = {0: (1, 4), 1: (1, 2), 2: (32, 18), 8: (32, 34), 30: (1, 2)}
"""Numbers and bytes of a block, by tensor type: F32, F16, Q4_0, Q8_0, BF16."""
MOST_DIMENSIONS: Final = 4


def read_layout(path: Path) -> tuple[dict[str, Any], dict[str, TensorInfo]]:
    """Return a file's metadata, texts as bytes, and its tensors by name. Raises one of UNREADABLE."""
    with _metadata(path) as metadata:
        facts = metadata.values()
        return facts, metadata.tensors(facts.get("general.alignment", 32))


@contextmanager
def _metadata(path: Path) -> Iterator[_GgufReader]:
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        yield _GgufReader(data)


class _GgufReader:
    """Reads the metadata at the start of a GGUF file."""

    def __init__(self, data: mmap.mmap) -> None:
        self._data = data
        self._at = 0

    def values(self, keys: Collection[str] | None = None, *, before: str | None = None) -> dict[str, Any]:
        """Return the values under `keys`, or under all, texts as bytes.

        Stops at the last of them, or at a key that begins with `before`.
        """
        magic, _version, _tensors, count = self._take("4sIQQ")
        if magic != b"GGUF":
            raise ValueError("not a GGUF file")
        found: dict[str, Any] = {}
        for _ in range(count):
            key = self._text().decode("utf-8", "replace")
            if before is not None and key.startswith(before):
                break
            value = self._value(*self._take("I"))
            if keys is None or key in keys:
                found[key] = value
            if keys is not None and len(found) == len(keys):
                break
        return found

    def tensors(self, alignment: int) -> dict[str, TensorInfo]:
        """Return the tensors by name. Call it after `values` has read all."""
        found: dict[str, tuple[tuple[int, ...], int, int]] = {}
        (count,) = struct.unpack_from("<Q", self._data, 8)
        for _ in range(count):
            name = self._text().decode("utf-8", "replace")
            (dimensions,) = self._take("I")
            if dimensions > MOST_DIMENSIONS:
                raise ValueError(f"a tensor of {dimensions} dimensions")
            shape = self._take(f"{dimensions}Q")
            found[name] = (shape, *self._take("IQ"))
        start = -(-self._at // alignment) * alignment
        return {
            name: TensorInfo(shape, kind, _end(start + offset, shape, kind))
            for name, (shape, kind, offset) in found.items()
        }

    def _take(self, form: str) -> tuple[Any, ...]:
        taken = struct.unpack_from(f"<{form}", self._data, self._at)
        self._at += struct.calcsize(f"<{form}")
        return taken

    def _text(self) -> bytes:
        (length,) = self._take("Q")
        start, self._at = self._at, self._at + length
        return self._data[start : self._at]

    def _texts(self, count: int) -> list[bytes]:
        """Return `count` texts. A vocabulary has some 100,000, too many for a call for each."""
        data, at, length = self._data, self._at, struct.Struct("<Q").unpack_from
        texts = []
        for _ in range(count):
            start = at + 8
            at = start + length(data, at)[0]
            texts.append(data[start:at])
        self._at = at
        return texts

    def _value(self, kind: int) -> Any:
        if kind == _TEXT:
            return self._text()
        if kind == _LIST:
            inner, count = self._take("IQ")
            if inner in _SCALARS:
                return self._take(f"{count}{_SCALARS[inner]}")
            return self._texts(count) if inner == _TEXT else [self._value(inner) for _ in range(count)]
        if kind not in _SCALARS:
            raise ValueError(f"a GGUF file has no values of the kind {kind}")
        return self._take(_SCALARS[kind])[0]


def _end(start: int, shape: tuple[int, ...], kind: int) -> int | None:
    """Return where a tensor's data ends, None for a type of unknown size."""
    if kind not in _BLOCKS:
        return None
    numbers, size = _BLOCKS[kind]
    return start + -(-prod(shape) // numbers) * size
