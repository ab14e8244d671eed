"""The record of an evaluation: what `promptkit eval --json` prints, the store keeps and reports read.

A record of an older promptkit may lack keys: each has a default, and `to_json` writes the keys that were set.
"""

from __future__ import annotations

from typing import Any, TypeAlias

from pydantic import BaseModel, ConfigDict

from promptkit.engine.requirements import Fallback

Number: TypeAlias = int | float
"""A number as JSON wrote it: an integer stays one."""
TIE = 0.5
"""The share of its range at which a pairwise judge finds two answers equally good."""


class Record(BaseModel):
    """Data that `--json` prints. Keys that this version does not know are kept."""

    model_config = ConfigDict(frozen=True, extra="allow")

    def to_json(self) -> dict[str, Any]:
        """Return the record as JSON data, with the keys that were set, in the order of the fields."""
        return self.model_dump(exclude_unset=True)


class AnsweringModel(Record):
    """The default model. `others` maps further models that answered to their digests; `why` says what named it."""

    reference: str = ""
    digest: str | None = ""
    others: dict[str, str | None] = {}
    why: str = ""
    replayed: str | None = None

    @property
    def short_digest(self) -> str:
        """The beginning of the digest, as reports show it; empty where it is unknown."""
        return shortened_digest(self.digest or "")


def shortened_digest(digest: str) -> str:
    """Return the first 12 digits of a model's digest, without the name of a hash before it."""
    return digest.removeprefix("sha256:")[:12]


class Defect(Record):
    """An exception that nothing foresaw, by type and place, and how many cells it failed."""

    defect: str
    cells: int
    traceback: str = ""


class MetricRecord(Record):
    """A metric of a variant: its mean with a 95 % interval, over `n` cells in `clusters` clusters.

    `of_parsed` is the mean of the answers that parse, None where all do; `unscored` counts answers without a score.
    """

    kind: str = ""
    mean: Number | None = None
    low: Number | None = None
    high: Number | None = None
    n: int = 0
    clusters: int = 0
    bounds: list[Number] | None = None
    higher_is_better: bool = True
    parts: dict[str, Any] = {}
    notes: list[str] = []
    of_parsed: Number | None = None
    unscored: int = 0

    def goodness(self, value: float) -> float:
        """Return a cell's score as a share of the metric's range, which has bounds: 0 is the worst, 1 the best.

        Of a pairwise judge only a loss is bad: the baseline's own answers are all ties with themselves.
        """
        assert self.bounds is not None, "a metric without bounds has no best score"
        low, high = self.bounds
        share = float((value - low) / (high - low))
        if self.kind == "pairwise":
            return float(share >= TIE)
        return share if self.higher_is_better else 1 - share


class VariantRecord(Record):
    """A variant: its metrics, the first being the primary one, and what its answers cost.

    `warnings` counts answers by the name of a warning, `step_warnings` does so for each step where several have some,
    and `warned_by` maps the warnings that techniques gave to these. An earlier promptkit did not record the warnings of
    `unrecorded` answers.
    """

    name: str
    sets: dict[str, Any] = {}
    cases: int = 0
    missing: int = 0
    metrics: dict[str, MetricRecord] = {}
    unparsed: int = 0
    truncated: int = 0
    warnings: dict[str, int] = {}
    step_warnings: dict[str, dict[str, int]] = {}
    warned_by: dict[str, list[str]] = {}
    unrecorded: int = 0
    calls: int = 0
    cached: int = 0
    tokens_in: int = 0
    tokens_out: int = 0
    seconds: Number = 0.0
    cost: Number | None = None
    fallbacks: list[Fallback] = []

    @property
    def answers(self) -> int:
        """The number of cells that are not missing."""
        return self.cases - self.missing

    @property
    def recorded(self) -> int:
        """The number of answers whose warnings were recorded; 0 in the record of an earlier promptkit."""
        return self.answers - self.unrecorded if "warnings" in self.model_fields_set else 0


class DifferenceRecord(Record):
    """A difference by one metric on the same rows, with its interval and how many rows were better and worse.

    `rows_needed` rows would show a difference of `smallest` with a power of 80 %, and the rows of the run one of
    `smallest_shown`; both are shares of the metric's range.
    """

    difference: Number | None = None
    low: Number | None = None
    high: Number | None = None
    p: Number | None = None
    n: int = 0
    better: int = 0
    worse: int = 0
    is_ratio: bool = False
    method: str = ""
    spread: Number | None = None
    smallest: Number = 0.0
    rows_needed: int | None = None
    smallest_shown: Number | None = None
    notes: list[str] = []


class _Metric(Record):
    metric: str


class MetricDifference(DifferenceRecord, _Metric):
    """A difference with the name of its metric."""


class _Variants(Record):
    a: str
    b: str


class ComparisonRecord(MetricDifference, _Variants):
    """Variant `a` against the baseline `b`. `adjusted` is p by Holm's procedure among `comparisons` comparisons."""

    adjusted: Number | None = None
    comparisons: int = 1
    same_requests: bool = False


class RankedVariant(Record):
    """A variant of a ranking, over `n` comparisons.

    `strength` is the logarithm of its odds against an average variant, `wins` the probability that it is preferred to
    another variant, a tie counting as half. An end of an interval is None where the comparisons set no limit.
    """

    variant: str
    strength: Number
    low: Number | None = None
    high: Number | None = None
    wins: Number
    wins_low: Number
    wins_high: Number
    n: int = 0


class RankedPair(Record):
    """Variant `a` against `b` in a ranking: the probability that `a` is preferred, a tie counting as half.

    Intervals hold for all pairs of the ranking together; `adjusted` is p by Holm's procedure among them.
    """

    a: str
    b: str
    wins: Number
    low: Number
    high: Number
    p: Number
    adjusted: Number


class RankingRecord(Record):
    """A ranking of all variants by a metric that compares two answers at a time, the strongest first.

    `clusters` are independent rows; `unscored` counts pairs of answers without a verdict.
    """

    metric: str
    variants: list[RankedVariant] = []
    pairs: list[RankedPair] = []
    clusters: int = 0
    unscored: int = 0
    notes: list[str] = []


class BaselineMetric(MetricDifference):
    """One metric against the baseline run. `regressions` are rows that were right there and are wrong here."""

    missing: int = 0
    regressions: list[int] = []


class SharedRows(Record):
    """How many rows are in both runs, only in this one, and only in the baseline."""

    both: int
    new: int = 0
    gone: int = 0


class BaselineRecord(Record):
    """The first variant against an earlier run or the file of a baseline."""

    reference: str
    model: dict[str, Any] = {}
    made: str = ""
    variant: str = ""
    rows: SharedRows
    notes: list[str] = []
    comparisons: list[BaselineMetric] = []


class ThresholdRecord(Record):
    """A threshold of the suite: `passed` is None where it is undecided."""

    metric: str
    variant: str | None = ""
    kind: str = ""
    wanted: Any = None
    against: Any = None
    shown: Number | None = None
    passed: bool | None = None
    missing: int = 0
    says: str = ""
    rows: list[int] = []


class EvalRecord(Record):
    """An evaluation."""

    run: int | None = None
    suite: str = ""
    about: str | None = ""
    target: str = ""
    status: str = ""
    model: AnsweringModel = AnsweringModel()
    exact: bool = False
    in_flight: int | None = None
    limited: bool = False
    data: str | None = None
    known: int = 0
    seconds: Number = 0.0
    before: int | None = None
    notes: list[str] = []
    defects: list[Defect] = []
    rows: int = 0
    repeat: int = 1
    variants: list[VariantRecord] = []
    comparisons: list[ComparisonRecord] = []
    rankings: list[RankingRecord] = []
    missing_allowed: bool = False
    thresholds: list[ThresholdRecord] = []
    against: BaselineRecord | None = None
