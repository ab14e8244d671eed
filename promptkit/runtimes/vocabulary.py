"""The control tokens in a GGUF file's vocabulary, which llama.cpp does not list."""

from __future__ import annotations

import mmap
import struct
from pathlib import Path
from typing import Any, Final

from promptkit.runtimes.control_tokens import is_known

TOKENS: Final = "tokenizer.ggml.tokens"
KINDS: Final = "tokenizer.ggml.token_type"
UNKNOWN, CONTROL = 2, 3
"""Kinds of token that a text means only where control tokens are looked for in it."""

_SCALARS: Final = dict(enumerate(("B", "b", "H", "h", "I", "i", "f", "?"))) | {10: "Q", 11: "q", 12: "d"}
_TEXT, _LIST = 8, 9


def control_tokens(path: Path) -> frozenset[str]:
    """Return the texts of a model's control tokens: those that the file calls so, and those of a known form.

    llama.cpp takes the latter for control tokens whatever the file says. Raises OSError; ValueError and struct.error
    for what is not a GGUF file.
    """
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        found = _Reader(data).values({TOKENS, KINDS})
    texts = [text.decode("utf-8", "replace") for text in found.get(TOKENS, ())]
    kinds = found.get(KINDS) or [0] * len(texts)
    return frozenset(
        text
        for text, kind in zip(texts, kinds, strict=True)
        if text and (kind in (UNKNOWN, CONTROL) or (text[0] in "<[" and is_known(text)))
    )


class _Reader:
    """Reads the metadata at the start of a GGUF file."""

    def __init__(self, data: mmap.mmap) -> None:
        self._data = data
        self._at = 0

    def values(self, wanted: set[str]) -> dict[str, Any]:
        """Return the wanted values by key, texts as bytes; reading stops at the last of them."""
        magic, _version, _tensors, count = self._take("4sIQQ")
        if magic != b"GGUF":
            raise ValueError("not a GGUF file")
        found: dict[str, Any] = {}
        for _ in range(count):
            key = self._text().decode("utf-8", "replace")
            value = self._value(*self._take("I"))
            if key in wanted:
                found[key] = value
                if len(found) == len(wanted):
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
        """Return so many texts. A vocabulary has some 100,000, so that a call for each would be felt."""
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
