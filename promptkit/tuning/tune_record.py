"""The record of a tuning run: what `promptkit tune --json` prints, the store keeps and reports read.

A record of an older promptkit may lack keys: each has a default, and `to_json` writes the keys that were set.
"""

from __future__ import annotations

from typing import Any, Final, Literal

from pydantic import Field

from promptkit.evaluation.record import AnsweringModel, Defect, MetricRecord, Number, Record
from promptkit.evaluation.statistics.interval import CONFIDENCE
from promptkit.storage.records import check_shape
from promptkit.storage.store import Run

TUNE: Final = "tune"
"""The kind of a run in the store that is a tuning."""


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
    """The numbers of rows of the split: to search on, as examples, and to confirm on.

    `independent` counts clusters and the rows of none, None where an earlier promptkit did not record it; `generated`
    counts the rows to confirm on that a model wrote.
    """

    search: int = 0
    pool: int = 0
    confirm: int = 0
    wrong: int = 0
    duplicates: int = 0
    independent: int | None = None
    generated: int = 0
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


class GainRecord(Record):
    """The gain of a candidate over the start on the `n` search rows of both, in the metric's own units."""

    difference: Number = 0.0
    low: Number = 0.0
    high: Number = 0.0
    n: int = 0


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
    gain: GainRecord | None = None
    front: bool = False
    start: bool = False
    pick: bool = False


class SideRecord(Record):
    """The start or the incumbent, with its means on search rows and on confirm rows.

    `shared` is the mean on the search rows that start and incumbent both have. `variant` is the name of its cells in
    the store.
    """

    variant: str = ""
    choices: dict[str, str] = Field(default_factory=dict)
    changes: dict[str, Any] = Field(default_factory=dict)
    search: SplitMean | None = None
    shared: SplitMean | None = None
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


class ConfirmationRecord(Record):
    """The course of a confirmation.

    It asked `rows` rows in pairs and ended with look `look` of `looks`, which together would have `units` rows or
    clusters. The interval of the difference is one of `look_level`, so that those of all looks hold together at
    `level`.
    """

    rows: int = 0
    look: int = 0
    looks: int = 0
    units: int = 0
    level: Number = CONFIDENCE
    look_level: Number = CONFIDENCE


class TakenBackRecord(Record):
    """A change of the search's winner that the incumbent does without, and why.

    `difference` with its 95 % interval is the contribution that the search expected of it, after `rows` search rows
    without it; null for one that no request showed.
    """

    axis: str
    level: str
    why: Literal["not sent", "same answers", "no gain", "preferred"]
    difference: Number | None = None
    low: Number | None = None
    high: Number | None = None
    rows: int = 0


class ConstantRecord(Record):
    """The best constant answer, and the incumbent's difference to it on confirm rows.

    `beaten`: the interval of the difference lies above 0.
    """

    answer: str
    search: SplitMean | None = None
    confirm: SplitMean | None = None
    difference: ConfirmedDifference | None = None
    beaten: bool = False


class RepeatabilityRecord(Record):
    """The number of `rows` rows that the start answered otherwise when asked again.

    `margin`: by how much a score on the confirm rows differs at most between two runs, in 19 of 20 cases. `start_kept`
    and `incumbent_kept` count confirm rows whose answers are those of an earlier run.
    """

    rows: int
    changed: int = 0
    margin: Number | None = None
    start_kept: int = 0
    incumbent_kept: int = 0


class AblationRecord(Record):
    """The contribution of one change: the incumbent against itself with that change taken back.

    `on` says which rows it was measured on; on `search` rows it is an estimate from all that is known.
    """

    axis: str
    level: str
    about: str = ""
    difference: Number | None = None
    low: Number | None = None
    high: Number | None = None
    on: Literal["confirm", "search"] | None = None
    skipped: str | None = None


class TrainingRecord(Record):
    """A training of the weights of a step on `rows` search rows, and what it took; `skipped`: why there is none.

    `validation` is the accuracy on rows that the trainer held out of its own. `kept`: it is of an earlier run.
    """

    step: str
    kind: str
    rows: int = 0
    skipped: str | None = None
    calls: int = 0
    tokens: int = 0
    seconds: Number = 0.0
    validation: SplitMean | None = None
    kept: bool = False


class WeightsRecord(Record):
    """The gain of trained weights over the best prompt.

    `trained` on search rows that do not score; `compared` other search rows chose among them and the `prompt`, the best
    candidate without weights. `difference`: the incumbent minus that prompt on the confirm rows, null if the incumbent
    has no weights. `shown`: it lies above 0, after the gain over the start is shown.
    """

    compared: int = 0
    trained: list[TrainingRecord] = Field(default_factory=list)
    prompt: SideRecord = SideRecord()
    difference: ConfirmedDifference | None = None
    shown: bool = False


class KeepRecord(Record):
    """The start and the incumbent on a second suite, on `rows` of its `of` rows.

    `left_out` rows are among the search rows or have problems. `difference`: the incumbent minus the start, above 0 if
    it is better, at 95 %; its `worse` rows are what is lost. `verdict`: as in an evaluation, with the `margin`.
    """

    suite: str
    metric: ObjectiveRecord = ObjectiveRecord()
    rows: int = 0
    of: int = 0
    left_out: int = 0
    start: SplitMean | None = None
    incumbent: SplitMean | None = None
    difference: ConfirmedDifference | None = None
    margin: Number | None = None
    verdict: str | None = None


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


class TurnedAnswer(Record):
    """An answer as the metric compared it, with its score in the metric's own units; `flag` as of a cell."""

    value: Any = None
    flag: str = ""
    score: Number | None = None


class TurnedRow(Record):
    """A confirm row that the incumbent scores differently from the start; long texts are cut."""

    row: int
    change: Literal["better", "worse"]
    fields: dict[str, Any] = Field(default_factory=dict)
    expected: Any = None
    before: TurnedAnswer = TurnedAnswer()
    after: TurnedAnswer = TurnedAnswer()


class TurnedRecord(Record):
    """The confirm rows that turned: how many, and the first of them in full."""

    better: int = 0
    worse: int = 0
    rows: list[TurnedRow] = Field(default_factory=list)


class CurvePoint(EstimateRecord):
    """The leader of the search after a number of calls, on its `n` search rows; `start`: the start on the same rows."""

    calls: int
    name: str = ""
    n: int = 0
    start: Number | None = None


class TuneRecord(Record):
    """A tuning run.

    `rows_needed` confirm rows would show a gain of 5 points four times in five, `rows_for_gain` the measured gain.
    `left_out` candidates were not raced for want of calls; about `calls_for_all` would race them too.
    """

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
    confirmation: ConfirmationRecord | None = None
    difference: ConfirmedDifference | None = None
    constant: ConstantRecord | None = None
    repeatability: RepeatabilityRecord | None = None
    verdict: str = "not shown"
    why: str = ""
    ordinal: int = 0
    rows_needed: int | None = None
    rows_for_gain: int | None = None
    smallest_shown: Number | None = None
    ablation: list[AblationRecord] = Field(default_factory=list)
    taken_back: list[TakenBackRecord] = Field(default_factory=list)
    weights: WeightsRecord | None = None
    keep: KeepRecord | None = None
    prior: PriorRecord | None = None
    turned: TurnedRecord = TurnedRecord()
    curve: list[CurvePoint] = Field(default_factory=list)
    left_out: int = 0
    calls_for_all: int | None = None
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

    @property
    def verdict_limit(self) -> str:
        """The limit of an `improved` that is not shown to beat the best constant answer; empty if there is none."""
        if self.verdict != "improved" or self.constant is None or self.constant.beaten:
            return ""
        return f", but not shown to be better than always answering `{self.constant.answer}`"

    def with_note(self, text: str) -> TuneRecord:
        """Return the record with a further note."""
        return self.model_copy(update={"notes": [*self.notes, text]})


def stored_tune_record(run: Run) -> TuneRecord:
    """Return the record of a run of the store, with the status that the store has. Raises DamagedRecord."""
    return check_shape({**run.record, "status": run.status}, TuneRecord, f"runs {run.number}, `record`")
