"""Metrics of the repeats of a row: their agreement, pass@k and pass^k."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from math import comb, isnan, nan
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from promptkit.engine.spec import ClosedModel
from promptkit.errors import InputError, nearest
from promptkit.evaluation.metrics.base import (
    Clients,
    Difference,
    Estimate,
    Metric,
    MetricContext,
    MetricInput,
    NoParameters,
    Sample,
)
from promptkit.evaluation.metrics.estimation import (
    FEW_CLUSTERS,
    NO_BOOTSTRAP,
    NOTHING_SCORED,
    bounded_estimate,
    finite,
    graded_difference,
)
from promptkit.evaluation.metrics.matches import Exact
from promptkit.evaluation.metrics.score import Score
from promptkit.evaluation.metrics.values import TOO_DEEP, answer_type, frozen
from promptkit.evaluation.statistics.bootstrap import percentile_interval
from promptkit.evaluation.statistics.interval import CONFIDENCE

BEST = 1e-9
"""A score nearer than this to the best one is the best one."""
_NO_REPEATS = "no row has two answers: agreement needs `repeat: 2` or more, and a temperature above 0"
_ALL_ONE = "all answers are the same: alpha, which is agreement beyond chance, is not defined"


class Agreement(Metric):
    """Krippendorff's alpha (nominal) with the repeats of a row as its raters: 1 is full agreement, 0 is chance.

    Answers are equal if they would count as the same vote of their type. All unparsed and cut-off answers are equal.
    The score of a single cell means nothing, since a cell agrees with itself. Interval: percentile bootstrap over rows.
    """

    kind = "agreement"
    about = "agreement of the repeats of a row (Krippendorff's alpha)"
    bounds = (-1.0, 1.0)
    is_mean = False
    needs_expected = False
    columns = ("score", "answer")

    def measure(self, given: MetricInput) -> Score:
        answer = answer_type(given)
        try:
            key = frozen(given.got) if answer is None else answer.vote_key(given.got)
        except (TypeError, KeyError, AttributeError):  # a step's `on_error` default may be of another type
            key = frozen(given.got)
        return Score(1.0, {"same": _code(key)})

    def unanswered(self, given: MetricInput) -> Score:
        return Score(1.0, {"same": 0, "flag": given.cell.flag})

    def numbers(self, score: Score) -> Sequence[float]:
        assert score.value is not None, "a missing score has no numbers"
        return (score.value, float(score.detail["same"]))

    def estimate(self, sample: Sample) -> Estimate:
        if not len(sample):
            return NOTHING_SCORED
        alpha, clusters, rows = _alpha_of(sample)
        unknown = Estimate(mean=None, n=len(sample), clusters=clusters, parts={"rows with repeats": rows})
        if not rows:
            return replace(unknown, notes=(_NO_REPEATS,))
        value = alpha(None)
        if isnan(value):
            return replace(unknown, notes=(_ALL_ONE,))
        if clusters < FEW_CLUSTERS:
            return replace(unknown, mean=value, notes=(NO_BOOTSTRAP,))
        try:
            low, high = percentile_interval(alpha, clusters, seed=0)
        except ValueError:  # no resample has two different answers
            low = high = nan
        return replace(unknown, mean=value, low=finite(low), high=finite(high))

    def difference(self, a: Sample, b: Sample, *, level: float = CONFIDENCE) -> Difference | None:
        return None


def _code(key: Any) -> int:
    """Return a number from 1 to 2**48 - 1 for a vote key, the same in every process; 0 stands for no answer.

    Raises ValueError for a value that is nested too deep.
    """
    try:
        text = json.dumps(_ordered(key), default=repr)
    except RecursionError:
        raise ValueError(TOO_DEEP) from None
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:6], "big") or 1


def _ordered(key: Any) -> Any:
    """Return a vote key as JSON in which sets are sorted and 26.0 is 26."""
    if isinstance(key, frozenset):
        return ["set", *sorted(map(_ordered, key), key=json.dumps)]
    if isinstance(key, list | tuple):
        return list(map(_ordered, key))
    return int(key) if isinstance(key, float) and key.is_integer() else key


def _alpha_of(sample: Sample) -> tuple[Callable[[NDArray[np.int64] | None], float], int, int]:
    """Return nominal alpha as a function of resampled clusters (None: all), and the numbers of clusters and rows.

    1 - (N - 1) Σ_u D_u / (N² - Σ_c n_c²), D_u = (m_u² - Σ_c n_uc²) / (m_u - 1) of a row u with m_u > 1 answers, n_c
    of them alike (Krippendorff 2004, Content Analysis, chapter 11). Sums over rows need no table of answers.
    """
    names, clusters = np.unique(sample.clusters, return_inverse=True)
    _, rows = np.unique(sample.rows, return_inverse=True)
    sizes = np.bincount(rows)
    used = sizes[rows] > 1
    if not used.any():
        return (lambda chosen: nan), len(names), 0
    rows, clusters = rows[used], clusters[used]
    _, answers = np.unique(sample.values[used, 1], return_inverse=True)
    first = np.unique(rows, return_index=True)[1]
    of_row = clusters[first]
    pairs = np.unique(np.stack([rows, answers]), axis=1, return_counts=True)
    alike = np.bincount(pairs[0][0], weights=pairs[1].astype(float) ** 2, minlength=len(sizes))
    kept = sizes[rows[first]].astype(float)
    disagreement = (kept**2 - alike[rows[first]]) / (kept - 1)

    def alpha(chosen: NDArray[np.int64] | None) -> float:
        weights = np.ones(len(names)) if chosen is None else np.bincount(chosen, minlength=len(names)).astype(float)
        total = float(weights[of_row] @ kept)
        of_answers = np.bincount(answers, weights=weights[clusters])
        expected = total**2 - float(of_answers @ of_answers)
        return 1 - (total - 1) * float(weights[of_row] @ disagreement) / expected if expected else nan

    return alpha, len(names), len(first)


class PassParameters(ClosedModel):
    """`k` is the number of answers drawn; `metric` names an earlier metric that says which are right (else `exact`)."""

    k: int = Field(ge=1)
    metric: str | None = None


class Passes(Metric):
    """The base class of pass@k and pass^k. A cell scores 1 where its metric gives it the best score, else 0.

    The score of a row is the mean over all ways to draw k of its answers; rows are compared, never cells.
    """

    Parameters = PassParameters
    is_mean = False
    parameters: PassParameters

    def __init__(self, name: str, parameters: PassParameters, context: MetricContext) -> None:
        super().__init__(name, parameters, context)
        self._right = self._metric(parameters.metric)
        self.needs_expected, self.asks = self._right.needs_expected, self._right.asks
        self.costly, self.setting_notes = self._right.costly, self._right.setting_notes

    @property
    def key(self) -> str:
        return f"{super().key}:{self._right.key}"

    @property
    def models(self) -> tuple[str | None, ...]:
        return self._right.models

    def wrong_expected(self, expected: Any) -> str | None:
        return self._right.wrong_expected(expected)

    def measure(self, given: MetricInput) -> Score:
        return self._passed(self._right.measure(given))

    async def measure_async(self, given: MetricInput, clients: Clients) -> Score:
        return self._passed(await self._right.measure_async(given, clients))

    def unanswered(self, given: MetricInput) -> Score:
        return self._passed(self._right.unanswered(given))

    def estimate(self, sample: Sample) -> Estimate:
        if not len(sample):
            return NOTHING_SCORED
        k = self.parameters.k
        rows = self._rows(sample)
        lacking = len(np.unique(sample.rows)) - len(rows)
        cells = int(np.isin(sample.rows, rows.rows).sum())
        if not len(rows):
            note = f"no row has {k} answers: set `repeat: {k}` or more, and a temperature above 0"
            return Estimate(mean=None, notes=(note,))
        found = bounded_estimate(rows, (0.0, 1.0), binary=False)
        notes = (f"{lacking} rows with fewer than {k} answers are left out",) if lacking else ()
        return replace(found, n=cells, parts={"rows": len(rows), "k": k}, notes=(*found.notes, *notes))

    def difference(self, a: Sample, b: Sample, *, level: float = CONFIDENCE) -> Difference | None:
        return graded_difference(self._rows(a), self._rows(b), (0.0, 1.0), True, level)

    def _rows(self, sample: Sample) -> Sample:
        """Return the rows with at least k answers as a sample, one score a row."""
        names, first, places, sizes = np.unique(sample.rows, return_index=True, return_inverse=True, return_counts=True)
        right = np.bincount(places, weights=sample.scores, minlength=len(names)).astype(int)
        kept = np.flatnonzero(sizes >= self.parameters.k)
        made = [self._row_score(int(sizes[at]), int(right[at]), self.parameters.k) for at in kept]
        return Sample(np.array(made, dtype=float)[:, None], names[kept], sample.clusters[first[kept]])

    def _row_score(self, n: int, c: int, k: int) -> float:
        """Return the score of a row with c of n answers right."""
        raise NotImplementedError

    def _passed(self, score: Score) -> Score:
        if score.value is None:
            return score
        assert self._right.bounds is not None, "checked when it was named"
        best = self._right.bounds[1 if self._right.higher_is_better else 0]
        return replace(score, value=float(abs(score.value - best) < BEST))

    def _metric(self, named: str | None) -> Metric:
        """Return the metric that says which answers are right. Raises InputError for one that cannot."""
        if named is None:
            return Exact(self.name, NoParameters(), self.context)
        if named not in self.context.metrics:
            raise InputError(
                f"no metric `{named}` comes before `{self.name}`", hint=nearest(named, self.context.metrics)
            )
        found = self.context.metrics[named]
        if found.bounds is None or found.pairs or isinstance(found, Agreement | Passes):
            raise InputError(f"the metric `{named}` does not say whether an answer is right")
        return found


class PassAt(Passes):
    """pass@k: the probability that at least one of k answers is right, without bias (Chen et al. 2021)."""

    kind = "pass_at"
    about = "at least one of k answers is right (needs `repeat`)"

    def _row_score(self, n: int, c: int, k: int) -> float:
        return pass_at(n, c, k)


class PassAll(Passes):
    """pass^k: the probability that all of k answers are right, without bias (Yao et al. 2024)."""

    kind = "pass_all"
    about = "all of k answers are right (needs `repeat`)"

    def _row_score(self, n: int, c: int, k: int) -> float:
        return pass_all(n, c, k)


def pass_at(n: int, c: int, k: int) -> float:
    """Return an unbiased pass@k: the probability that k of these `n` samples, `c` of them right, include a right one.

    1 - C(n-c, k)/C(n, k) (Chen et al. 2021, arXiv 2107.03374). It is the score of one row; rows are averaged. Raises
    ValueError for impossible counts and for fewer than k samples.
    """
    _check_draws(n, c, k)
    return 1 - comb(n - c, k) / comb(n, k)


def pass_all(n: int, c: int, k: int) -> float:
    """Return an unbiased pass^k: the probability that k of these `n` samples, `c` of them right, are all right.

    C(c, k)/C(n, k) (Yao et al. 2024, arXiv 2406.12045). It is the score of one row; rows are averaged. Raises
    ValueError for impossible counts and for fewer than k samples.
    """
    _check_draws(n, c, k)
    return comb(c, k) / comb(n, k)


def _check_draws(n: int, c: int, k: int) -> None:
    if not 0 <= c <= n:
        raise ValueError(f"{c} of {n} samples cannot be right")
    if not 1 <= k <= n:
        raise ValueError(f"{k} of {n} samples cannot be drawn")
