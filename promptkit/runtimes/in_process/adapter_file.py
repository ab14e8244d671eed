"""Low-rank adapters in GGUF files: what they hold, and whether they fit a model."""

from __future__ import annotations

import math
import os
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Final

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from promptkit.errors import InputError
from promptkit.runtimes.in_process.gguf_contents import EMBEDDING, GgufContents, Tensor, read_contents, wrong_gguf
from promptkit.runtimes.in_process.weights import file_digest
from promptkit.storage.files import Stamp, check_there, file_stamp, unreadable

TRAINING_KEY: Final = "promptkit.training"
"""The key of the metadata under which `promptkit train` keeps what it trained on."""

MOST_BYTES: Final = 2**31
MOST_RANK: Final = 512
TRAIN_HINT: Final = "promptkit train TARGET --adapter writes one for the model that answers"
_FIRST, _SECOND = ".lora_a", ".lora_b"
_OUTPUT: Final = "output.weight"
_ALPHA: Final = "adapter.lora.alpha"
_FLOAT32: Final = struct.pack("<I", 6)


class TrainingNote(BaseModel):
    """The record of an adapter's training: the digest of its base's weights, and the hashes of all its rows."""

    model_config = ConfigDict(frozen=True, extra="allow")

    base: str = Field(min_length=1)
    architecture: str = ""
    step: str = ""
    rows: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class LowRankPair:
    """The factors of one matrix's change in the file, their rank, and the shape [out, in] of the matrix.

    The change is b · a, with `a` [rank, in] and `b` [out, rank]; for the token embedding it is a · bᵀ, with `a`
    [tokens, rank] and `b` [width, rank].
    """

    a: Tensor
    b: Tensor
    rank: int
    shape: tuple[int, int]


@dataclass(frozen=True, slots=True)
class AdapterFile:
    """A checked adapter: its file, and the pairs of factors by the name of the matrix that they change.

    `alpha` is 0 where the file names none. `training` is None for an adapter that was made elsewhere, whose base is not
    known.
    """

    contents: GgufContents
    alpha: float
    matrices: Mapping[str, LowRankPair]
    training: TrainingNote | None

    @property
    def rank(self) -> int:
        """The highest rank of its changes."""
        return max(pair.rank for pair in self.matrices.values())

    def scale(self, pair: LowRankPair) -> float:
        """Return the number by which a pair's change is multiplied: alpha / rank, or 1 without alpha."""
        return self.alpha / pair.rank if self.alpha else 1.0


def read_adapter(path: Path) -> AdapterFile:
    """Return the adapter in a file. Reads its metadata alone. Raises InputError for a file that is none, or is cut."""
    return _read(path, file_stamp(path))


@lru_cache(maxsize=100)
def _read(path: Path, _stamp: Stamp | None) -> AdapterFile:
    check_there(path)
    try:
        size = os.stat(path).st_size
        if size > MOST_BYTES:
            raise _wrong(path, f"an adapter of {size:,} bytes; the most is {MOST_BYTES:,}")
    except OSError as error:
        raise unreadable(path, error) from error
    contents = read_contents(path)
    if contents.text("general.type") != "adapter" or contents.text("adapter.type") != "lora":
        raise _wrong(path, "this GGUF file holds no low-rank adapter (LoRA)")
    return AdapterFile(contents, _alpha(contents), _matrices(contents), _training(contents))


def check_fits(adapter: AdapterFile, model: Path, reference: str) -> None:
    """Raise InputError unless an adapter fits a model's file: the weights it was trained on, architecture and shapes.

    `reference` names the model in the message. Raises OSError for a model that cannot be read.
    """
    try:
        contents = read_contents(model)
    except InputError:
        return  # llama.cpp says what is wrong with the model when it loads it
    path, named, architecture = adapter.contents.path, adapter.contents.architecture, contents.architecture
    if named != architecture:
        raise _wrong(path, f"an adapter for the architecture `{named}`; {reference} is `{architecture}`")
    if EMBEDDING in adapter.matrices and _OUTPUT not in contents.tensors:
        message = (
            f"this adapter changes `{EMBEDDING}`, which is also the output of {reference}: llama.cpp cannot do that"
        )
        raise _wrong(path, message)
    for name, pair in adapter.matrices.items():
        found = contents.tensors[name].shape if name in contents.tensors else None
        if found != pair.shape:
            size = "does not have it" if found is None else f"has it as {_size(found)}"
            raise _wrong(path, f"this adapter changes `{name:.100}` of {_size(pair.shape)}; {reference} {size}")
    if adapter.training is not None and adapter.training.base != file_digest(model):
        raise _wrong(path, f"this adapter was trained on other weights than those of {reference}")


def _wrong(path: Path, message: str) -> InputError:
    return wrong_gguf(path, message, hint=TRAIN_HINT)


def _size(shape: tuple[int, ...]) -> str:
    return " × ".join(map(str, shape))


def _alpha(contents: GgufContents) -> float:
    """Return the adapter's alpha. llama.cpp ends the process for one that is not a 32-bit number."""
    if _ALPHA not in contents.metadata:
        return 0.0
    alpha = contents.metadata[_ALPHA]
    if not contents.raw[_ALPHA].startswith(_FLOAT32) or not math.isfinite(alpha):
        raise _wrong(contents.path, f"the metadata `{_ALPHA}` is not a finite number of 32 bits")
    return float(alpha)


def _matrices(contents: GgufContents) -> dict[str, LowRankPair]:
    """Return the pair of each matrix that the adapter changes."""
    path, tensors = contents.path, contents.tensors
    matrices = {}
    for name, first in tensors.items():
        matrix = name.removesuffix(_FIRST)
        if matrix == name:
            if not name.endswith(_SECOND) or name.removesuffix(_SECOND) + _FIRST not in tensors:
                raise _wrong(path, f"this adapter has a tensor without its pair: `{name:.100}`")
            continue
        second = tensors.get(matrix + _SECOND)
        if second is None:
            raise _wrong(path, f"this adapter has a tensor without its pair: `{name:.100}`")
        if len(first.shape) != 2 or len(second.shape) != 2:
            raise _wrong(path, f"the two tensors of `{matrix:.100}` are not matrices")
        inner, rank = first.shape if matrix == EMBEDDING else first.shape[::-1]
        if rank != second.shape[1]:
            raise _wrong(path, f"the two tensors of `{matrix:.100}` do not fit together")
        shape = (inner, second.shape[0]) if matrix == EMBEDDING else (second.shape[0], inner)
        matrices[matrix] = LowRankPair(first, second, rank, shape)
    if not matrices:
        raise _wrong(path, "this adapter changes no matrix")
    ranks = [pair.rank for pair in matrices.values()]
    if max(ranks) > MOST_RANK or min(ranks) < 1:
        raise _wrong(path, f"an adapter of rank {max(ranks)}; 1 to {MOST_RANK} is taken")
    return matrices


def _training(contents: GgufContents) -> TrainingNote | None:
    if TRAINING_KEY not in contents.metadata:
        return None
    try:
        return TrainingNote.model_validate_json(contents.metadata[TRAINING_KEY])
    except (ValidationError, TypeError) as error:
        raise _wrong(contents.path, f"`{TRAINING_KEY}` in its metadata is not what promptkit writes there") from error
