"""What a metric is: what it says of one cell, and what is said of many.

A metric gives each cell a `Score`. From scores it takes plain numbers, one small vector a cell, which a run keeps in
arrays: all that is said of a variant, and of two variants on the same rows, comes from these.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Final, Literal, Protocol

from promptkit.engine.spec import ClosedModel

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from promptkit.answers.base import AnswerType
    from promptkit.errors import PromptkitError
    from promptkit.project import Project
    from promptkit.project_code.reference import CodeReference
    from promptkit.runtimes.client import Client

Flag = Literal["", "unparsed", "truncated"]
JUDGE_DETAIL: Final = "judge"
"""The part of a score's detail that holds what judges were asked and replied, and what it took."""
DEFECT: Final = "defect"
"""The part of a missing score's detail that holds the type and place of an exception that nothing foresaw."""


@dataclass(frozen=True, slots=True)
class Score:
    """What a metric says of one cell. `value` None is missing (the metric or its judge failed, `why` says how).

    `detail` is JSON: what a person wants to see of it, and what the numbers are made of (labels, counts). `error` is
    the unexpected exception behind a missing score; it is not stored.
    """

    value: float | None
    detail: Mapping[str, Any] = field(default_factory=dict)
    why: str = ""
    error: PromptkitError | None = field(default=None, compare=False, repr=False)


def judge_usage(score: Score) -> tuple[int, int]:
    """Return the calls and the tokens that judges took for a score."""
    said = score.detail.get(JUDGE_DETAIL, ())
    return sum(each.get("calls", 0) for each in said), sum(each.get("tokens", 0) for each in said)


@dataclass(frozen=True, slots=True, kw_only=True)
class AnsweredCell:
    """One finished cell as metrics see it: its row, what came out, what it took, and, when asked for, its trace.

    An unparsed answer has no output; a truncated one may have what was there. `steps` holds the value of each step,
    `seconds` is the model's own time for all its requests, a kept reply counting with what it once took; `trace()` is
    the record of `engine.trace_record`. `answer` is the type of what is compared: of the output where it is one
    step's, None where `of` reads something else.
    """

    row: Mapping[str, Any]
    output: Any
    flag: Flag = ""
    steps: Mapping[str, Any] = field(default_factory=dict)
    calls: int = 0
    tokens_in: int = 0
    tokens_out: int = 0
    seconds: float = 0.0
    answer: AnswerType | None = None
    trace: Callable[[], Mapping[str, Any]] = dict


@dataclass(frozen=True, slots=True)
class MetricInput:
    """What a metric compares: its `of` (left out: the output), its `expect` (None: none), and the cell itself."""

    got: Any
    expected: Any
    cell: AnsweredCell


@dataclass(frozen=True, slots=True)
class Sample:
    """The scored cells of one variant. `values` is (cells, columns), `rows` and `clusters` are (cells,).

    The cells of one row are its repeats; rows of one cluster (a document) are not independent of each other. Where no
    clusters are given each row is one.
    """

    values: NDArray[np.float64]
    rows: NDArray[np.int64]
    clusters: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def scores(self) -> NDArray[np.float64]:
        """The first column."""
        return self.values[:, 0]


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """What a sample says of a metric: `mean` with its 95 % interval (None: undefined, `notes` say why).

    `n` counts cells, `clusters` what is independent of each other. `parts` is JSON for people: per class values, a
    confusion matrix, a 95th percentile.
    """

    mean: float | None
    low: float | None = None
    high: float | None = None
    n: int = 0
    clusters: int = 0
    parts: Mapping[str, Any] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """What two samples on the same rows say of `a` against `b`: a minus b, or, with `is_ratio`, a over b.

    The interval is the verdict; `p` is for Holm's order. `better` and `worse` count rows. `spread` is what the number
    of rows that would tell is reckoned from: the discordant share of 0/1 pairs, the standard deviation of others.
    """

    difference: float | None
    low: float | None = None
    high: float | None = None
    p: float | None = None
    n: int = 0
    better: int = 0
    worse: int = 0
    is_ratio: bool = False
    spread: float | None = None
    method: str = ""
    notes: tuple[str, ...] = ()


class NoParameters(ClosedModel):
    """A metric that takes none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MetricContext:
    """Where a metric stands: paths in its parameters are relative to the suite's `folder`.

    `answer` is the type of what is compared, as in `Answered`; `metrics` are those built before it, by name.
    """

    project: Project
    folder: Path
    answer: AnswerType | None = None
    metrics: Mapping[str, Metric] = field(default_factory=dict)


class Clients(Protocol):
    """Where a metric that asks a model takes it from: `runtimes.Models`."""

    async def get(self, reference: str | None = None) -> Client: ...


class Metric:
    """A metric of a suite, ready to score. One class a kind; `kind` is the word that a suite names it by.

    `bounds` are those of a score (None: unbounded, as tokens are). `is_mean` tells that a variant's value is the mean
    of its cells' scores, so that a missing one can be counted against it by its share. Where `pairs` is true,
    `judge_pair` scores, else where `asks` is true, `judge`, else `measure`: what asks waits for a model, a sandbox or a
    function. `model` is the reference that a metric asks instead of the run's default: its digest belongs to the key of
    its scores. Scores of a metric that is `costly` are kept by cell and `key`. `needs_expected` metrics have nothing to
    say of a row without an expected answer: that is an error of the data, told before the run. `declared` are the
    labels that the answer's type has, where the metric tells them apart.
    """

    kind: ClassVar[str]
    about: ClassVar[str]
    Parameters: ClassVar[type[ClosedModel]] = NoParameters
    release: ClassVar[str] = ""  # name and version of the package that brings it, empty for a shipped one
    short: ClassVar[str | None] = None  # the parameter that a value alone is (`python: FILE.py:FUNCTION`)
    bounds: tuple[float, float] | None = (0.0, 1.0)
    higher_is_better: bool = True
    is_mean: bool = True
    needs_expected: bool = True
    asks: bool = False
    pairs: bool = False
    model: str | None = None
    costly: bool = False
    columns: tuple[str, ...] = ("score",)
    declared: tuple[str, ...] = ()

    def __init__(self, name: str, parameters: Any, around: MetricContext) -> None:
        """Raises InputError, placed by the suite's reader, where parameters cannot be used here."""
        self.name = name
        self.parameters = parameters
        self.around = around

    @property
    def key(self) -> str:
        """What tells this metric's scores from others' for the same cell: changes when its code's result may."""
        key = f"{self.kind}:{self.parameters.model_dump_json()}"
        return f"{key}:{self.release}" if self.release else key

    @property
    def code(self) -> tuple[CodeReference, ...]:
        """The project's own Python that scoring runs."""
        return ()

    def measure(self, given: MetricInput) -> Score:
        """Score one cell that has an output. Raises ValueError with what is wrong where it cannot be scored."""
        raise NotImplementedError

    async def judge(self, given: MetricInput, askers: Clients) -> Score:
        """Score one cell by asking a model (`asks`). Raises what asking raises."""
        raise NotImplementedError

    async def judge_pair(self, given: MetricInput, baseline: MetricInput, askers: Clients) -> Score:
        """Score one cell against the baseline variant's of the same row and repeat (`pairs`), flagged or not.

        The baseline's own cells are scored against themselves, which asks nothing. Raises what asking raises.
        """
        raise NotImplementedError

    def wrong_expected(self, expected: Any) -> str | None:
        """Return what is wrong with an expected answer, None where it will do. Told of the row before the run."""
        return None

    def unanswered(self, given: MetricInput) -> Score:
        """Score an unparsed or cut-off answer: it is wrong, which is the worse end of the bounds."""
        worst = (self.bounds[0] if self.higher_is_better else self.bounds[1]) if self.bounds else 0.0
        return Score(worst, {"flag": given.cell.flag})

    def numbers(self, score: Score) -> Sequence[float]:
        """Return a score that has a value as the vector that the run keeps, one number a column."""
        assert score.value is not None, "a missing score has no numbers"
        return (score.value,)

    def estimate(self, sample: Sample) -> Estimate:
        """Return what is said of a variant."""
        raise NotImplementedError

    def difference(self, a: Sample, b: Sample, *, level: float = 0.95) -> Difference | None:
        """Return what is said of two variants on the same cells, in the same order; None where nothing can be."""
        raise NotImplementedError
