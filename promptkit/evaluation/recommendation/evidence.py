"""Measurements of techniques, kept in a project for recommending one."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from promptkit.engine.dependencies import files_of, hashed_files
from promptkit.engine.pipeline import Pipeline, Step
from promptkit.errors import InputError, StoreFailed
from promptkit.project import Project
from promptkit.storage.files import append_line, read_uncached

EVIDENCE_FILE = "techniques.jsonl"


class MeasuredModel(BaseModel):
    """The model that a technique was measured on."""

    model_config = ConfigDict(frozen=True)

    reference: str
    digest: str


class MeasuredData(BaseModel):
    """The rows that a technique was measured on: their file's name and their hash."""

    model_config = ConfigDict(frozen=True)

    file: str
    rows: str


class Evidence(BaseModel):
    """One technique measured on one step: a line of `.promptkit/techniques.jsonl`.

    `technique` is its spec as a step writes it. `right` of `n` answers were right; `low` and `high` are the ends of
    Wilson's 95 % interval. `files` is the hash of the step's files, to recognize later changes. `requests` and `tokens`
    (in and out) are per row. `date` is UTC, ISO 8601.
    """

    model_config = ConfigDict(frozen=True)

    pipeline: str
    step: str
    files: str = ""
    technique: str | dict[str, Any]
    model: MeasuredModel
    data: MeasuredData
    n: int = Field(ge=1)
    right: int = Field(ge=0)
    low: float
    high: float
    unparsed: int = 0
    requests: float
    tokens: float
    date: str


def files_hash(pipeline: Pipeline, step: Step) -> str:
    """Return the hash of all files that a step is made of."""
    digest = hashlib.sha256()
    steps = files_of(pipeline)
    for path, content in sorted(hashed_files(pipeline).items()):
        if step.name in steps.get(path, {step.name}):
            digest.update(content)
    return digest.hexdigest()[:16]


def now() -> str:
    """Return the current date and time of a measurement."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def keep_evidence(project: Project, measurements: Iterable[Evidence]) -> None:
    """Add measurements to those of a project, unless it has no store or that is read-only.

    Raises StoreFailed if the disk fails.
    """
    if not project.store_folder.is_dir():
        return
    try:
        for measurement in measurements:
            append_line(project.store_folder / EVIDENCE_FILE, measurement.model_dump_json())
    except StoreFailed as error:
        if not error.read_only:
            raise


def read_evidence(project: Project) -> list[Evidence]:
    """Return the measurements of a project, oldest first; of repeated ones the last.

    Lines that cannot be read (of a killed process, or a later version) are left out.
    """
    try:
        lines = read_uncached(project.store_folder / EVIDENCE_FILE).decode("utf-8", errors="replace").split("\n")
    except InputError:
        return []
    found: dict[str, Evidence] = {}
    for line in lines:
        try:
            evidence = Evidence.model_validate_json(line)
        except ValidationError:
            continue
        key = evidence.model_dump_json(include={"pipeline", "step", "files", "technique", "model", "data"})
        found.pop(key, None)
        found[key] = evidence
    return list(found.values())
