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
    `exempt` cells are not among the `n`, because the metric does not apply to them.
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
    exempt: int = 0

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
    `unrecorded` answers. `fallbacks` are settings that its steps could not run with, and `same_as` is the first variant
    before it that sent the same requests. `simulated_user` is what a user that a model plays took, besides the
    variant's own costs.
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
    simulated_user: dict[str, Any] = {}
    calls: int = 0
    cached: int = 0
    tokens_in: int = 0
    tokens_out: int = 0
    seconds: Number = 0.0
    cost: Number | None = None
    fallbacks: list[Fallback] = []
    same_as: str | None = None

    @property
    def answers(self) -> int:
        """The number of cells that are not missing."""
        return self.cases - self.missing

    @property
    def recorded(self) -> int:
        """The number of answers whose warnings were recorded; 0 in the record of an earlier promptkit."""
        return self.answers - self.unrecorded if "warnings" in self.model_fields_set else 0


class AskedApart(Record):
    """The times at which the cells of two variants were asked, where they are not those of one run.

    So many of the pairs were asked at different times. `a` and `b` are the first and the last time (Unix seconds) of
    these cells of each.
    """

    cells: int
    a: list[Number]
    b: list[Number]


class DifferenceRecord(Record):
    """A difference by one metric on the same rows, with its interval and how many rows were better and worse.

    `rows_needed` rows would show a difference of `smallest` with a power of 80 %, and the rows of the run one of
    `smallest_shown`; both are shares of the metric's range. `verdict` is that of the interval (None: there is none). A
    loss up to `margin` does not matter; where no verdict is shown, `rows_for_margin` rows would show that there is no
    larger one, if there is none at all.
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
    verdict: str | None = None
    margin: Number | None = None
    rows_for_margin: int | None = None
    notes: list[str] = []


class _Metric(Record):
    metric: str


class MetricDifference(DifferenceRecord, _Metric):
    """A difference with the name of its metric."""


class _Variants(Record):
    a: str
    b: str


class FamilyDifference(MetricDifference):
    """One difference of a family. `adjusted` is p by Holm's procedure among `comparisons` comparisons."""

    adjusted: Number | None = None
    comparisons: int = 1


class ComparisonRecord(FamilyDifference, _Variants):
    """Variant `a` against `b`, which is the baseline unless all pairs are compared.

    `asked_apart` is there where the two were asked at different times: another state of a server, other files.
    """

    same_requests: bool = False
    asked_apart: AskedApart | None = None


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


class InteractionRecord(Record):
    """The other settings of a matrix under which an effect is furthest from its average.

    There it is `difference`; `adjusted` is p of this deviation, times the number of such settings.
    """

    settings: dict[str, str] = {}
    difference: Number
    adjusted: Number | None = None


class MainEffectRecord(FamilyDifference):
    """The value `value` of a key of the matrix against its first value, `first`, averaged over the other keys.

    Each side is the mean of `variants` variants on each row.
    """

    key: str
    value: str
    first: str
    variants: int
    interaction: InteractionRecord | None = None


class BaselineMetric(MetricDifference):
    """One metric against the baseline run. `regressions` are rows that were right there and are wrong here."""

    missing: int = 0
    regressions: list[int] = []


class SharedRows(Record):
    """The numbers of rows in both runs, only in this one, and only in the baseline."""

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


class ServingFigure(Record):
    """A figure of serving: the geometric mean of the rounds' medians with its 95 % interval, from `n` measurements.

    `p95` is that of all measurements together, with limits by order statistics. `rounds` has each round's median.
    Without a value `lack` says why.
    """

    value: Number | None = None
    low: Number | None = None
    high: Number | None = None
    p95: Number | None = None
    p95_low: Number | None = None
    p95_high: Number | None = None
    n: int = 0
    rounds: list[Number] = []
    lack: str = ""


class ServingLevel(Record):
    """A variant at one number of concurrent requests; `figures` are those of `serving.figures`.

    `reused` is the share of prompt tokens that the server took from its prefix cache, None where it does not tell;
    `tokens_in` and `tokens_out` are of a request in the mean.
    """

    variant: str
    concurrency: int
    rows: int = 0
    requests: int = 0
    errors: int = 0
    failure: str = ""
    reused: Number | None = None
    tokens_in: Number | None = None
    tokens_out: Number | None = None
    figures: dict[str, ServingFigure] = {}


class ServingComparison(Record):
    """A figure of variant `a` over that of the baseline `b` in the same rounds: a ratio with its interval.

    `verdict` is `better`, `worse`, `not shown`, or empty without an interval.
    """

    a: str
    b: str
    concurrency: int
    figure: str
    ratio: Number
    low: Number | None = None
    high: Number | None = None
    n: int = 0
    verdict: str = ""


class ServedModel(Record):
    """The models of a variant. `slots` requests are decoded together; `memory` and its part on a GPU are in bytes."""

    variant: str
    references: list[str] = []
    slots: int | None = None
    memory: int | None = None
    gpu_memory: int | None = None
    memory_source: str = ""


class ServingRecord(Record):
    """Serving, measured in rounds. `spread` is the largest ratio between two rounds of one variant and concurrency."""

    concurrency: list[int] = []
    rounds: int = 0
    warmup: int = 0
    models: list[ServedModel] = []
    levels: list[ServingLevel] = []
    comparisons: list[ServingComparison] = []
    spread: Number | None = None
    notes: list[str] = []

    def level(self, variant: str, concurrency: int) -> ServingLevel | None:
        """Return the figures of a variant at a number of concurrent requests."""
        found = (level for level in self.levels if (level.variant, level.concurrency) == (variant, concurrency))
        return next(found, None)


class EvalRecord(Record):
    """An evaluation. `generated` counts the rows that a model wrote; `serving` is None where it was not measured."""

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
    generated: int = 0
    repeat: int = 1
    variants: list[VariantRecord] = []
    comparisons: list[ComparisonRecord] = []
    rankings: list[RankingRecord] = []
    main_effects: list[MainEffectRecord] = []
    missing_allowed: bool = False
    thresholds: list[ThresholdRecord] = []
    against: BaselineRecord | None = None
    serving: ServingRecord | None = None
