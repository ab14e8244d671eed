"""The metadata at the start of a GGUF file: control tokens, what kind of model it is, and the table of tensors."""

from __future__ import annotations

import json
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
SOFT_PROMPT_KEY: Final = "promptkit.soft_prompt"
"""The metadata of a copy with a soft prompt: the ids of the tokens that begin each prompt, as a JSON list."""
UNKNOWN, CONTROL = 2, 3
"""Token types of control tokens."""

SCALARS: Final = dict(enumerate(("B", "b", "H", "h", "I", "i", "f", "?"))) | {10: "Q", 11: "q", 12: "d"}
"""The forms of `struct` by the number of a value's type."""
_TEXT, _LIST = 8, 9
MOST_DIMENSIONS: Final = 4


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
    with suppress(OSError, ValueError, OverflowError, struct.error), open_gguf(path) as metadata:
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
    with open_gguf(path) as metadata:
        found = metadata.values({TOKENS_KEY, TOKEN_TYPES_KEY})
    texts = [text.decode("utf-8", "replace") for text in found.get(TOKENS_KEY, ())]
    kinds = found.get(TOKEN_TYPES_KEY) or [0] * len(texts)
    return frozenset(
        text
        for text, kind in zip(texts, kinds, strict=True)
        if text and (kind in (UNKNOWN, CONTROL) or (text[0] in "<[" and is_control_token(text)))
    )


def read_soft_prompt(path: Path) -> dict[int, str]:
    """Return the tokens that begin each prompt of a copy with a soft prompt, by id; empty for other models.

    Raises OSError; ValueError and struct.error for what is not a GGUF file, or names tokens that it does not have.
    """
    with open_gguf(path) as metadata:
        found = metadata.values({TOKENS_KEY, SOFT_PROMPT_KEY})
    if SOFT_PROMPT_KEY not in found:
        return {}
    ids, texts = json.loads(found[SOFT_PROMPT_KEY]), found.get(TOKENS_KEY, [])
    if not isinstance(ids, list) or not all(isinstance(at, int) and 0 <= at < len(texts) for at in ids):
        raise ValueError(f"`{SOFT_PROMPT_KEY}` names tokens that the vocabulary does not have")
    return {at: texts[at].decode("utf-8", "replace") for at in ids}


def read_end_token(path: Path) -> int | None:
    """Return the id of the token that ends a turn as the file names it, else of that which ends a text, if any.

    Raises OSError; ValueError and struct.error for what is not a GGUF file.
    """
    with open_gguf(path) as metadata:
        found = metadata.values({"tokenizer.ggml.eot_token_id", "tokenizer.ggml.eos_token_id"})
    end = found.get("tokenizer.ggml.eot_token_id", found.get("tokenizer.ggml.eos_token_id"))
    return end if isinstance(end, int) else None


@contextmanager
def open_gguf(path: Path) -> Iterator[GgufReader]:
    """Yield a reader of a file. Raises OSError; ValueError for an empty file."""
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        yield GgufReader(data)


class GgufReader:
    """Reads the start of a GGUF file: the metadata, then the table of tensors.

    Raises ValueError, OverflowError and struct.error for what is not a GGUF file, or a cut one.
    """

    def __init__(self, data: mmap.mmap) -> None:
        self._data = data
        self._at = 0

    def values(self, keys: Collection[str] | None = None, *, before: str | None = None) -> dict[str, Any]:
        """Return the values under `keys`, or under all, texts as bytes.

        Stops at the last of them, or at a key that begins with `before`.
        """
        count = self._counts()[1]
        found: dict[str, Any] = {}
        for _ in range(count):
            key = self._text().decode("utf-8", "replace")
            if before is not None and key.startswith(before):
                break
            (kind,) = self._take("I")
            if keys is None or key in keys:
                found[key] = self._value(kind)
            else:
                self._skip(kind)
            if keys is not None and len(found) == len(keys):
                break
        return found

    def contents(self) -> tuple[dict[str, Any], dict[str, bytes], list[tuple[str, tuple[int, ...], int, int]], int]:
        """Return all values, their bytes with the number of their type, the tensors' facts, and where the table ends.

        A tensor's facts are its name, its shape (innermost first), its type and its offset.
        """
        tensors, count = self._counts()
        values: dict[str, Any] = {}
        raw: dict[str, bytes] = {}
        for _ in range(count):
            key = self._text().decode()
            start = self._at
            if key in values:
                raise ValueError(f"the metadata has `{key}` twice")
            values[key] = self._value(*self._take("I"))
            raw[key] = self._data[start : self._at]
        table = [self._tensor() for _ in range(tensors)]
        return values, raw, table, self._at

    def _counts(self) -> tuple[int, int]:
        """Return the number of tensors and of values."""
        magic, version, tensors, count = self._take("4sIQQ")
        if magic != b"GGUF":
            raise ValueError("not a GGUF file")
        if version not in (2, 3):
            raise ValueError(f"GGUF version {version} is not supported (2 and 3 are)")
        return tensors, count

    def _tensor(self) -> tuple[str, tuple[int, ...], int, int]:
        name = self._text().decode()
        (dimensions,) = self._take("I")
        if dimensions > MOST_DIMENSIONS:
            raise ValueError(f"the tensor `{name[:80]}` has {dimensions} dimensions")
        shape = self._take(f"{dimensions}Q")
        kind, offset = self._take("IQ")
        return name, shape, kind, offset

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

    def _skip(self, kind: int) -> None:
        """Pass over a value. A vocabulary takes long to make texts of."""
        if kind == _TEXT:
            (length,) = self._take("Q")
            self._at += length
        elif kind == _LIST:
            inner, count = self._take("IQ")
            if inner in SCALARS:
                self._at += count * struct.calcsize(f"<{SCALARS[inner]}")
            else:
                self._skip_all(inner, count)
        elif kind in SCALARS:
            self._take(SCALARS[kind])
        else:
            raise ValueError(f"a GGUF file has no values of the kind {kind}")

    def _skip_all(self, kind: int, count: int) -> None:
        if kind != _TEXT:
            for _ in range(count):
                self._skip(kind)
            return
        data, at, length = self._data, self._at, struct.Struct("<Q").unpack_from
        for _ in range(count):
            at += 8 + length(data, at)[0]
        self._at = at

    def _value(self, kind: int) -> Any:
        if kind == _TEXT:
            return self._text()
        if kind == _LIST:
            inner, count = self._take("IQ")
            if inner in SCALARS:
                return self._take(f"{count}{SCALARS[inner]}")
            if inner != _TEXT:
                raise ValueError(f"a GGUF file has no lists of the kind {inner}")
            return self._texts(count)
        if kind not in SCALARS:
            raise ValueError(f"a GGUF file has no values of the kind {kind}")
        return self._take(SCALARS[kind])[0]
