"""The record of a training: what `promptkit train --json` prints."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from promptkit.training.fitting.settings import Ending


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class RowsRecord(_Record):
    """The rows: how many were trained on and validated on, left out as too long, and written by a model."""

    training: int
    validation: int
    too_long: tuple[int, ...] = Field(default=(), description="the numbers of the rows that are longer than the window")
    generated: int = 0
    generated_validation: int = 0
    hash: str


class AccuracyRecord(_Record):
    """The validation rows under one model: share that is right with its interval, and mean loss of a reply's token."""

    accuracy: float
    low: float
    high: float
    loss: float | None = Field(description="null where it is not a finite number")


class DifferenceRecord(_Record):
    """Accuracy after the training minus that of the base on the same rows."""

    difference: float
    low: float
    high: float
    p: float
    better: int
    worse: int
    method: str


class EvaluationRecord(_Record):
    """The validation rows after a step of training."""

    step: int
    loss: float | None
    accuracy: float


class SettingsRecord(_Record):
    """The settings of a training: `rank` and `alpha` of an adapter, or the `vectors` of a soft prompt."""

    seed: int
    rank: int | None
    alpha: float | None
    vectors: int | None
    first_layer: int
    layers: int
    batch: int
    epochs: int
    rate: float
    weights: str = Field(description="the type in which the frozen weights were kept while training")


class StepRecord(_Record):
    """The training of one step. `file` is null where nothing was better than the base."""

    step: str
    file: str | None
    model: str
    base: str = Field(description="the SHA-256 of the weights")
    architecture: str
    rows: RowsRecord
    settings: SettingsRecord
    measure: Literal["constrained", "exact"] = Field(
        description="greedy decoding gives the right answer: among the allowed ones (constrained), or its text (exact)"
    )
    before: AccuracyRecord
    after: AccuracyRecord
    difference: DifferenceRecord
    evaluations: tuple[EvaluationRecord, ...]
    steps: int
    best_step: int
    ending: Ending
    seconds: float
    peak_memory: int | None
    applied: bool = False


class TrainRecord(_Record):
    """A training of adapters or of soft prompts, one for each step."""

    kind: Literal["adapter", "soft prompt"]
    pipeline: str
    steps: tuple[StepRecord, ...]
