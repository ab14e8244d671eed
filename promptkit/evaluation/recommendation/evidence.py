"""Measurements of techniques for recommending one: those kept in a project, and those shipped for whole tasks."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from promptkit.engine.dependencies import files_of, hashed_files
from promptkit.engine.pipeline import Pipeline, Step
from promptkit.errors import InputError, StoreFailed
from promptkit.project import Project
from promptkit.runtimes.base import Model
from promptkit.storage.files import append_line, read_uncached

BASELINE: Final = "vanilla"
EVIDENCE_FILE = "techniques.jsonl"
MEASURED_FILE = Path(__file__).with_name("measured.jsonl")
"""The shipped measurements; `benchmarks/techniques_measured.py` makes them."""


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
    Wilson's 95 % interval; `gain` is the difference from the baseline on the same rows with the ends of its interval.
    `files` is the hash of the step's files, to recognize later changes. `calls`, `requests`, `tokens` (in and out),
    `tokens_out` and `seconds` are per row. `warnings` counts rows by the name of a warning. `date` is UTC, ISO 8601.

    `task` is that of a shipped measurement (a key of `tasks.yaml`), which is about the task and not about a step.
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
    gain: tuple[float, float, float] | None = None
    unparsed: int = 0
    truncated: int = 0
    warnings: dict[str, int] = {}
    calls: float = 0.0
    requests: float
    tokens: float
    tokens_out: float = 0.0
    seconds: float = 0.0
    date: str
    task: str = ""


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
    found: dict[str, Evidence] = {}
    for evidence in _read_lines(project.store_folder / EVIDENCE_FILE):
        key = evidence.model_dump_json(include={"pipeline", "step", "files", "technique", "model", "data"})
        found.pop(key, None)
        found[key] = evidence
    return list(found.values())


def measured_on(model: Model, task: str, file: Path = MEASURED_FILE) -> Sequence[Evidence]:
    """Return the shipped measurements of a task on a model, known by its digest or its reference."""
    return [
        evidence
        for evidence in read_measured(file)
        if evidence.task == task
        and (evidence.model.digest == model.digest or evidence.model.reference == model.reference)
    ]


def read_measured(file: Path = MEASURED_FILE) -> list[Evidence]:
    """Return the shipped measurements, in the order of the file."""
    return list(_read_lines(file))


def _read_lines(file: Path) -> Iterator[Evidence]:
    """Yield the measurements in a file that can be read; none where there is no file."""
    try:
        lines = read_uncached(file).decode("utf-8", errors="replace").split("\n")
    except InputError:
        return
    for line in lines:
        with suppress(ValidationError):
            yield Evidence.model_validate_json(line)
