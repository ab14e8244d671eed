"""The base class of metrics, with the types that go in and come out.

A metric gives each cell a `Score`. From a score it takes plain numbers, one small vector a cell, which a run keeps in
arrays. Estimates of a variant, and differences between two variants on the same rows, are made of these arrays alone.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from promptkit.answers.base import AnswerType
from promptkit.engine.spec import ClosedModel
from promptkit.evaluation.answer_labels import AnswerLabels
from promptkit.evaluation.cells.cell import Cell
from promptkit.evaluation.metrics.score import JUDGE_DETAIL, Score
from promptkit.evaluation.statistics.interval import CONFIDENCE
from promptkit.project import Project
from promptkit.project_code.reference import CodeReference
from promptkit.runtimes.client import Client

Flag = Literal["", "unparsed", "truncated"]


def judge_usage(score: Score) -> tuple[int, int]:
    """Return the calls and the tokens that judges used for a score."""
    replies = score.detail.get(JUDGE_DETAIL, ())
    return sum(reply.get("calls", 0) for reply in replies), sum(reply.get("tokens", 0) for reply in replies)


@dataclass(frozen=True, slots=True)
class MetricInput:
    """The values that a metric compares: its `of` (left out: the output), its `expect` (None: none), and the cell.

    `answer` is the type of the compared value: of the output where it is one step's, None where `of` reads another.
    `inputs` are the target's, None where a run of the store is read.
    """

    got: Any
    expected: Any
    cell: Cell
    answer: AnswerType | None = None
    inputs: Mapping[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class Sample:
    """The scored cells of one variant. `values` is (cells, columns), `rows` and `clusters` are (cells,).

    The cells of one row are its repeats. Rows of one cluster (a document) depend on each other; without a cluster field
    each row is a cluster.
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
    """The estimate of a metric from a sample: `mean` with its interval (None: undefined, for the reason in `notes`).

    `n` counts cells, `clusters` independent groups of cells. `parts` is JSON for people: values by class, a confusion
    matrix, a 95th percentile.
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
    """The difference of two samples on the same rows: a minus b or, with `is_ratio`, a over b.

    The interval is the verdict; `p` is for Holm's order. `better` and `worse` count rows. `spread`, from which the
    necessary number of rows is computed, is the discordant share of 0/1 pairs and the standard deviation of others.
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
    """A metric without parameters."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MetricContext:
    """The context that a metric is built in. Paths in its parameters are relative to the suite's `folder`.

    `answer` is the type of the compared value, as in `MetricInput`; `metrics` are those built before it, by name.
    `labels` are those of the suite's label file, `cluster` the field of the suite's clusters.
    """

    project: Project
    folder: Path
    answer: AnswerType | None = None
    metrics: Mapping[str, Metric] = field(default_factory=dict)
    labels: AnswerLabels | None = None
    cluster: str | None = None


class Clients(Protocol):
    """A source of model clients for metrics that ask a model, such as `runtimes.models.Models`."""

    async def get(self, reference: str | None = None) -> Client: ...


class Metric:
    """A metric of a suite. There is one class for each kind; `kind` is the word by which a suite names it.

    `bounds` are those of a score (None: unbounded, as for tokens). With `is_mean` a variant's value is the mean of its
    cells' scores, so that a missing score can be counted against it by its share. The scores of a `timed` metric depend
    on how busy the machine is, so that it compares only cells that one run asked. A cell is scored by `measure_pair`
    where `pairs` is true, else by `measure_async` where `asks` is true (it waits for a model, a sandbox or a function),
    else by `measure`. `model` is a model that is asked in place of the run's default; its digest belongs to the key of
    the scores. The scores of a `costly` metric are stored by cell and `key`; one that `reads_row` scores again where
    any field of the row has changed, another only where the expected answer has. A metric that `needs_expected` cannot
    score a row without an expected answer; that is reported as an error of the data before the run. A `field` of the
    row replaces the suite's expected answer, and the metric is only for rows that have it. `declared` are the
    labels of the answer's type, where the metric distinguishes labels. `short` is the parameter that a single value
    stands for (`python: FILE.py:FUNCTION`). The parameters `added` came later: at their default they are not in the
    key, so that older baselines can be compared.
    `exempt_note` says of the cells to which the metric does not apply why that is.
    `default_of` is the `of` where a suite gives none (None: the output). `release` is the name and version of the
    package that brings the metric, empty for a shipped one. `setting_notes` are on its settings, and stand beside each
    of its estimates. With `all_pairs` each two variants are compared, to rank them.
    """

    kind: str
    about: ClassVar[str]
    Parameters: ClassVar[type[ClosedModel]] = NoParameters
    release: ClassVar[str] = ""
    short: ClassVar[str | None] = None
    default_of: ClassVar[str | None] = None
    added: ClassVar[frozenset[str]] = frozenset()
    exempt_note: ClassVar[str] = "it does not apply to the others"
    bounds: tuple[float, float] | None = (0.0, 1.0)
    higher_is_better: bool = True
    is_mean: bool = True
    timed: bool = False
    needs_expected: bool = True
    asks: bool = False
    pairs: bool = False
    field: str | None = None
    all_pairs: bool = False
    model: str | None = None
    costly: bool = False
    reads_row: bool = True
    columns: tuple[str, ...] = ("score",)
    declared: tuple[str, ...] = ()
    setting_notes: tuple[str, ...] = ()

    def __init__(self, name: str, parameters: Any, context: MetricContext) -> None:
        """Raises InputError for parameters that cannot be used here; the suite's reader adds the place."""
        self.name = name
        self.parameters = parameters
        self.context = context

    @property
    def key(self) -> str:
        """The identity of this metric's scores of a cell; it changes whenever the scores might."""
        fields = type(self.parameters).model_fields
        unset = {name for name in self.added if getattr(self.parameters, name) == fields[name].default}
        key = f"{self.kind}:{self.parameters.model_dump_json(exclude=unset)}"
        return f"{key}:{self.release}" if self.release else key

    @property
    def models(self) -> tuple[str | None, ...]:
        """The models that are asked, None standing for the run's default."""
        return (self.model,)

    @property
    def code(self) -> tuple[CodeReference, ...]:
        """The Python of the project that scoring runs."""
        return ()

    def measure(self, given: MetricInput) -> Score:
        """Score a cell that has an output. Raises ValueError, with the reason, where it cannot be scored."""
        raise NotImplementedError

    async def measure_async(self, given: MetricInput, clients: Clients) -> Score:
        """Score a cell by asking a model, a sandbox or a function (`asks`). Raises what asking raises."""
        raise NotImplementedError

    async def measure_pair(self, given: MetricInput, baseline: MetricInput, clients: Clients) -> Score:
        """Score a cell against the baseline's cell of the same row and repeat (`pairs`), flagged or not.

        Cells of the baseline are scored against themselves, which sends no request. Raises what asking raises.
        """
        raise NotImplementedError

    def wrong_expected(self, expected: Any) -> str | None:
        """Return the fault of an expected answer, None for a good one. It is reported before the run."""
        return None

    def unanswered(self, given: MetricInput) -> Score:
        """Score an unparsed or cut-off answer. It is wrong: the score is the worse end of the bounds."""
        worst = (self.bounds[0] if self.higher_is_better else self.bounds[1]) if self.bounds else 0.0
        return Score(worst, {"flag": given.cell.flag})

    def with_label(self, score: Score, given: MetricInput) -> Score:
        """Return a score with a person's label of the answer, where the metric reads labels.

        The label is kept with the cell of a run, and not with the score that other runs take. Raises what reading it
        raises.
        """
        return score

    def without_label(self, score: Score) -> Score:
        """Return a score without the label of `with_label`, as it is kept for other runs."""
        return score

    def numbers(self, score: Score) -> Sequence[float]:
        """Return a score with a value as the vector that the run keeps, a number for each column."""
        assert score.value is not None, "a missing score has no numbers"
        return (score.value,)

    def estimate(self, sample: Sample) -> Estimate:
        """Return the estimate of a variant."""
        raise NotImplementedError

    def difference(self, a: Sample, b: Sample, *, level: float = CONFIDENCE) -> Difference | None:
        """Return the difference of two variants on the same cells, in the same order; None where there is none."""
        raise NotImplementedError
