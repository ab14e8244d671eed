"""The record of a tuning run: what `promptkit tune --json` prints, the store keeps and reports read.

A record of an older promptkit may lack keys: each has a default, and `to_json` writes the keys that were set.
"""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from promptkit.evaluation.record import AnsweringModel, Defect, MetricRecord, Number, Record
from promptkit.evaluation.statistics.interval import CONFIDENCE
from promptkit.storage.records import check_shape
from promptkit.storage.store import Run


class EstimateRecord(Record):
    """A mean of the objective with its interval."""

    mean: Number | None = None
    low: Number | None = None
    high: Number | None = None


class ObjectiveRecord(Record):
    """The metric that was optimised."""

    name: str = ""
    kind: str = ""
    bounds: list[Number] = Field(default_factory=list)
    higher_is_better: bool = True

    def as_metric(self) -> MetricRecord:
        """Return the metric without a mean."""
        return MetricRecord(kind=self.kind, bounds=self.bounds or None, higher_is_better=self.higher_is_better)

    def with_mean(self, estimate: EstimateRecord) -> MetricRecord:
        """Return the metric with a mean and its interval."""
        return self.as_metric().model_copy(update={"mean": estimate.mean, "low": estimate.low, "high": estimate.high})


class SplitMean(EstimateRecord):
    """A mean over the rows of one side of the split.

    `warnings` counts their answers by the name of a warning, and `warned_by` maps those of techniques to these.
    """

    n: int = 0
    warnings: dict[str, int] = Field(default_factory=dict)
    warned_by: dict[str, list[str]] = Field(default_factory=dict)


class BudgetRecord(Record):
    """The limits of a run; None: not limited."""

    calls: Number | None = None
    tokens: Number | None = None
    minutes: Number | None = None


class SplitRecord(Record):
    """How many rows the split has: to search on, as examples, and to confirm on."""

    search: int = 0
    pool: int = 0
    confirm: int = 0
    wrong: int = 0
    duplicates: int = 0
    salt: int = 0
    share: Number = 0.0


class StageRecord(Record):
    """A part of the search; `rows` is how many the candidate that came furthest was asked."""

    name: str
    step: str | None = None
    candidates: int = 0
    rows: int = 0
    calls: int = 0
    notes: list[str] = Field(default_factory=list)


class Drop(Record):
    """Why a candidate was dropped, and after how many rows."""

    at: int
    why: str


class _CandidateName(Record):
    name: str
    choices: dict[str, str] = Field(default_factory=dict)
    changes: dict[str, Any] = Field(default_factory=dict)
    stage: str = ""
    rows: int = 0


class CandidateRecord(EstimateRecord, _CandidateName):
    """A candidate: the objective's mean on `rows` search rows, and what one row costs."""

    tokens: Number | None = None
    latency: Number | None = None
    unparsed: Number | None = None
    calls: Number | None = None
    dropped: Drop | None = None
    front: bool = False
    start: bool = False
    pick: bool = False


class SideRecord(Record):
    """The start or the incumbent, with its means on search and confirm rows."""

    choices: dict[str, str] = Field(default_factory=dict)
    changes: dict[str, Any] = Field(default_factory=dict)
    search: SplitMean | None = None
    confirm: SplitMean | None = None


class ConfirmedDifference(Record):
    """The incumbent against the start on confirm rows; `n`, `better` and `worse` count rows or clusters: the `unit`."""

    mean: Number = 0.0
    low: Number = 0.0
    high: Number = 0.0
    level: Number = CONFIDENCE
    better: int = 0
    worse: int = 0
    n: int = 0
    unit: str = "row"


class AblationRecord(Record):
    """The contribution of one change: the incumbent against itself with that change taken back."""

    axis: str
    level: str
    about: str = ""
    difference: Number | None = None
    low: Number | None = None
    high: Number | None = None
    on: Literal["confirm", "search"] | None = None
    skipped: str | None = None


class PriorEffect(Record):
    """The expected effect of a choice by earlier tunings, relative to the mean choice, and its standard deviation.

    Both are shares of the metric's range.
    """

    axis: str
    level: str
    effect: Number = 0.0
    sd: Number = 0.0


class PriorRecord(Record):
    """The prior of a search: the effects that `tunings` earlier tunings on the same model found.

    `moved`: by parameter the choice that the screen ranked first by its own answers, and the one with the prior.
    """

    tunings: int = 0
    effects: list[PriorEffect] = Field(default_factory=list)
    moved: dict[str, list[str]] = Field(default_factory=dict)


class TuneRecord(Record):
    """A tuning run."""

    run: int = 0
    target: str = ""
    suite: str = ""
    metric: ObjectiveRecord = ObjectiveRecord()
    status: str = ""
    model: AnsweringModel = AnsweringModel()
    optimizer: str = ""
    mode: str = ""
    seed: int = 0
    prefer: str = ""
    budget: BudgetRecord = BudgetRecord()
    rows: SplitRecord = SplitRecord()
    stages: list[StageRecord] = Field(default_factory=list)
    candidates: list[CandidateRecord] = Field(default_factory=list)
    baseline: SideRecord = SideRecord()
    best: SideRecord = SideRecord()
    difference: ConfirmedDifference | None = None
    verdict: str = "not shown"
    why: str = ""
    ordinal: int = 0
    rows_needed: int | None = None
    smallest_shown: Number | None = None
    ablation: list[AblationRecord] = Field(default_factory=list)
    prior: PriorRecord | None = None
    calls: int = 0
    cached: int = 0
    tokens: int = 0
    seconds: Number = 0.0
    stopped_by: str = "done"
    diff: str = ""
    written: list[str] = Field(default_factory=list)
    applied: bool = False
    notes: list[str] = Field(default_factory=list)
    defects: list[Defect] = Field(default_factory=list)

    def with_note(self, text: str) -> TuneRecord:
        """Return the record with a further note."""
        return self.model_copy(update={"notes": [*self.notes, text]})


def stored_tune_record(run: Run) -> TuneRecord:
    """Return the record of a run of the store, with the status that the store has. Raises DamagedRecord."""
    return check_shape({**run.record, "status": run.status}, TuneRecord, f"runs {run.number}, `record`")
