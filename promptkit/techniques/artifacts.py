"""Artifacts: plain files beside a pipeline that hold what a technique prepared for a step. People may edit them."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict

from promptkit.answers.base import AnswerType
from promptkit.storage.files import Stamp, file_stamp
from promptkit.storage.models import read_model
from promptkit.storage.yaml import load_file


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """A row of data as a preparation sees it: the prompt's inputs, the expected answer and its rationale.

    `expect` is None and `rationale` empty where the data has none. `answer` is the type of the answer where it differs
    by row. `given` are the inputs that the row's fields give (left out: all of them); only these are hashed, so that
    editing a default does not make it another row.
    """

    inputs: Mapping[str, Any]
    given: Mapping[str, Any] | None = None
    expect: Any = None
    rationale: str = ""
    answer: AnswerType | None = None

    @property
    def hash(self) -> str:
        return row_hash(self.inputs if self.given is None else self.given)


def row_hash(inputs: Mapping[str, Any]) -> str:
    """Return the key of a row: 16 hexadecimal digits over its inputs, whatever their order."""
    text = json.dumps(inputs, sort_keys=True, ensure_ascii=False, separators=(",", ":"), default=str)
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:16]


@dataclass(frozen=True, slots=True, kw_only=True)
class Prepared:
    """The result of a preparation: `items` for the step to use, `uncertain` ones for a person to check."""

    items: Sequence[Mapping[str, Any]]
    uncertain: Sequence[Mapping[str, Any]] = field(default=())


class Artifact(BaseModel):
    """A prepared file, `PIPELINE.STEP.TECHNIQUE.yaml`. `rows` are the hashes of the rows that the preparation saw.

    `items` are used by the step: for most techniques examples (`input`, `thoughts`, `output`), for others as the
    catalog describes. `model` and `digest` are those of the model that answered in the preparation, empty without one.
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
    """Return the path of a technique's artifact for a step; `home` is `PIPELINE.STEP`."""
    return folder / f"{home}.{technique}.yaml"


def read_artifact(file: Path) -> Artifact | None:
    """Return the artifact in a file, None without a file. Raises InputError with everything that is wrong in it."""
    stamp = file_stamp(file)
    return _read(file, stamp) if stamp is not None or os.path.lexists(file) else None


@lru_cache(maxsize=100)
def _read(file: Path, _stamp: Stamp | None) -> Artifact:
    return read_model(load_file(file), Artifact)
