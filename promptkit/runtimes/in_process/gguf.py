"""The metadata at the start of a GGUF file: control tokens, and what kind of model it is."""

from __future__ import annotations

import mmap
import struct
from collections.abc import Collection, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
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


RERANKING: Final = 4
"""The pooling type of a reranker, which scores pairs of texts and embeds none."""


def read_kind(path: Path) -> ModelKind:
    """Return the kind of a model; of a file that is not GGUF nothing, since llama.cpp says why when it loads it."""
    with suppress(OSError, ValueError, OverflowError, struct.error), _metadata(path) as metadata:
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
