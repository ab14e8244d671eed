"""What a technique prepared for a step: a plain file beside the pipeline, that a person may edit."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict

from promptkit.answers.base import AnswerType
from promptkit.storage.files import Stamp, file_stamp
from promptkit.storage.models import read_model
from promptkit.storage.yaml import load_file

Value = TypeVar("Value")


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """A row of data as a preparation sees it: the prompt's inputs, and what the data says of the answer.

    `expect` is None and `rationale` empty where the data has none. `answer` is the type of its answer where that
    differs by row. `own` are the inputs that the row's own fields give, left out all of them; `hash` tells the row
    apart by these alone, so that an edited default does not make it another.
    """

    inputs: Mapping[str, Any]
    own: Mapping[str, Any] | None = None
    expect: Any = None
    rationale: str = ""
    answer: AnswerType | None = None

    @property
    def hash(self) -> str:
        return row_hash(self.inputs if self.own is None else self.own)


def row_hash(inputs: Mapping[str, Any]) -> str:
    """Return what tells a row apart from others: 16 hexadecimal digits over its inputs, their order left aside."""
    text = json.dumps(inputs, sort_keys=True, ensure_ascii=False, separators=(",", ":"), default=str)
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:16]


@dataclass(frozen=True, slots=True, kw_only=True)
class Prepared:
    """What a preparation found: `items` for the step to use, and what was `uncertain`, for a person to look at."""

    items: Sequence[Mapping[str, Any]]
    uncertain: Sequence[Mapping[str, Any]] = field(default=())


class Artifact(BaseModel):
    """A prepared file, `PIPELINE.STEP.TECHNIQUE.yaml`. `rows` are the hashes of the rows that the preparation saw.

    `items` are what the step uses: for most techniques examples (`input`, `thoughts`, `output`), else what the
    technique's page says. `model` and `digest` are of what answered while it was prepared, empty where nothing did.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    technique: str
    pipeline: str = ""
    step: str = ""
    model: str = ""
    digest: str = ""
    seed: int = 0
    parameters: dict[str, Any] = {}
    rows: tuple[str, ...] = ()
    items: tuple[dict[str, Any], ...] = ()
    uncertain: tuple[dict[str, Any], ...] = ()


def artifact_file(folder: Path, home: str, technique: str) -> Path:
    """Return where the artifact of a technique lies for a step; `home` is `PIPELINE.STEP`."""
    return folder / f"{home}.{technique}.yaml"


def read_artifact(file: Path) -> Artifact | None:
    """Return the artifact in a file, None where there is none. Raises InputError with all that is wrong in it."""
    stamp = file_stamp(file)
    return _read(file, stamp) if stamp is not None or os.path.lexists(file) else None


@lru_cache(maxsize=100)
def _read(file: Path, _stamp: Stamp | None) -> Artifact:
    return read_model(load_file(file), Artifact)
