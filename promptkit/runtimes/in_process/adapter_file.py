"""Low-rank adapters in GGUF files: what they hold, and whether they fit a model."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Final

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from promptkit.errors import InputError, Problem, place
from promptkit.runtimes.in_process.gguf_contents import GgufContents, read_contents
from promptkit.runtimes.in_process.weights import file_digest
from promptkit.storage.files import Stamp, check_there, file_stamp, unreadable

TRAINING_KEY: Final = "promptkit.training"
"""The key of the metadata under which `promptkit train` keeps what it trained on."""

MOST_BYTES: Final = 2**31
MOST_RANK: Final = 512
TRAIN_HINT: Final = "promptkit train TARGET --adapter writes one for the model that answers"
_FIRST, _SECOND = ".lora_a", ".lora_b"
_EMBEDDING = "token_embd.weight"
"""The one matrix whose adapter is transposed in llama.cpp."""


class TrainingNote(BaseModel):
    """What `promptkit train` wrote of an adapter: the digest of its base's weights, and the hashes of all its rows."""

    model_config = ConfigDict(frozen=True, extra="allow")

    base: str = Field(min_length=1)
    architecture: str = ""
    step: str = ""
    rows: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class AdapterFile:
    """A checked adapter: its model's architecture, its rank, and the matrices it changes with their shapes.

    `training` is None for an adapter that was made elsewhere, whose base is not known.
    """

    path: Path
    architecture: str
    rank: int
    matrices: Mapping[str, tuple[int, int]]
    training: TrainingNote | None


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
    rank, matrices = _matrices(contents)
    return AdapterFile(path, contents.architecture, rank, matrices, _training(contents))


def check_fits(adapter: AdapterFile, model: Path, reference: str) -> None:
    """Raise InputError unless an adapter fits a model's file: the weights it was trained on, architecture and shapes.

    `reference` names the model in the message. Raises OSError for a model that cannot be read.
    """
    try:
        contents = read_contents(model)
    except InputError:
        return  # llama.cpp says what is wrong with the model when it loads it
    architecture, tensors = contents.architecture, contents.tensors
    if adapter.architecture != architecture:
        raise _wrong(
            adapter.path, f"an adapter for the architecture `{adapter.architecture}`; {reference} is `{architecture}`"
        )
    for name, shape in adapter.matrices.items():
        found = tensors[name].shape if name in tensors else None
        if found != shape:
            size = "does not have it" if found is None else f"has it as {_size(found)}"
            raise _wrong(adapter.path, f"this adapter changes `{name}` of {_size(shape)}; {reference} {size}")
    if adapter.training is not None and adapter.training.base != file_digest(model):
        raise _wrong(adapter.path, f"this adapter was trained on other weights than those of {reference}")


def _wrong(path: Path, message: str) -> InputError:
    return InputError(Problem(message, place(path), hint=TRAIN_HINT))


def _size(shape: tuple[int, ...]) -> str:
    return " × ".join(map(str, shape))


def _matrices(contents: GgufContents) -> tuple[int, dict[str, tuple[int, int]]]:
    """Return the highest rank, and the shape of each matrix that the adapter changes."""
    path, tensors = contents.path, contents.tensors
    ranks, matrices = [], {}
    for name, first in tensors.items():
        matrix = name.removesuffix(_FIRST)
        if matrix == name:
            if not name.endswith(_SECOND) or name.removesuffix(_SECOND) + _FIRST not in tensors:
                raise _wrong(path, f"this adapter has a tensor without its pair: `{name:.100}`")
            continue
        second = tensors.get(matrix + _SECOND)
        if second is None:
            raise _wrong(path, f"this adapter has a tensor without its pair: `{name:.100}`")
        if matrix == _EMBEDDING:
            if len(first.shape) != 2 or len(second.shape) != 2:
                raise _wrong(path, f"the two tensors of `{matrix}` are not matrices")
            rank, shape = first.shape[1], (first.shape[0], second.shape[0])
        elif len(first.shape) != 2 or len(second.shape) != 2 or first.shape[0] != second.shape[1]:
            raise _wrong(path, f"the two tensors of `{matrix:.100}` do not fit together")
        else:
            rank, shape = first.shape[0], (second.shape[0], first.shape[1])
        ranks.append(rank)
        matrices[matrix] = shape
    if not matrices:
        raise _wrong(path, "this adapter changes no matrix")
    if max(ranks) > MOST_RANK or min(ranks) < 1:
        raise _wrong(path, f"an adapter of rank {max(ranks)}; 1 to {MOST_RANK} is taken")
    return max(ranks), matrices


def _training(contents: GgufContents) -> TrainingNote | None:
    if TRAINING_KEY not in contents.metadata:
        return None
    try:
        return TrainingNote.model_validate_json(contents.metadata[TRAINING_KEY])
    except (ValidationError, TypeError) as error:
        raise _wrong(contents.path, f"`{TRAINING_KEY}` in its metadata is not what promptkit writes there") from error
