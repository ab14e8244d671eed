"""Repeatability of a model's answers: the start asked twice on the same rows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import sqrt
from typing import Any, Final

import numpy as np

from promptkit.evaluation.statistics.interval import NORMAL_QUANTILE
from promptkit.tuning.costs import Amounts, RowCost
from promptkit.tuning.data_split import DataSplit
from promptkit.tuning.evaluator import Evaluator
from promptkit.tuning.search_space.candidate import AGAIN, Candidate

MOST_SHARE: Final = 0.1
"""The start is asked twice if that takes at most this share of what the confirmation leaves of each limit."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Repeatability:
    """How far the start's answers to `rows` rows differ when they are asked again.

    `changed` counts rows with another answer. `margin`: the score of one prompt on the held-out rows differs between
    two runs by at most this in 19 of 20 cases, in the metric's own units; None if no score changed, or the metric is
    not a mean. `start_kept` and `incumbent_kept` count held-out rows whose answers are those of an earlier run, 0 if no
    answer changed.
    """

    rows: int
    changed: int
    margin: float | None
    start_kept: int = 0
    incumbent_kept: int = 0

    def record(self) -> dict[str, Any]:
        """Return it as JSON has it."""
        return {
            "rows": self.rows,
            "changed": self.changed,
            "margin": self.margin,
            "start_kept": self.start_kept,
            "incumbent_kept": self.incumbent_kept,
        }


def is_asked_again(split: DataSplit, cost: RowCost, limits: Amounts, *, rows: int) -> bool:
    """Tell whether the start is to be asked twice on `rows` rows, which cost it so much.

    `limits` are the most calls, tokens and seconds of the budget, (3,). A suite with repeats asks each row several
    times anyway.
    """
    searching = limits - 2 * len(split.holdout) * cost.amounts
    return split.suite.repeat == 1 and bool((rows * cost.amounts <= MOST_SHARE * searching).all())


def repeatability(evaluator: Evaluator, split: DataSplit, incumbent: Candidate) -> Repeatability | None:
    """Compare the start's repeated answers. None if no row was asked twice. Sends no request."""
    pairs = [
        [result for candidate in (Candidate(), AGAIN) if (result := evaluator.result(candidate, row))]
        for row in split.search
    ]
    repeats = [
        [values for result in results for values in result.values]
        for results in pairs
        if len(results) > 1 or evaluator.suite.repeat > 1
    ]
    rows = [scores for scores in repeats if len(scores) > 1]
    if not rows:
        return None
    by_output = sum(len(results) > 1 and results[0].output != results[1].output for results in pairs)
    by_score = sum(len(set(scores)) > 1 for scores in rows)
    changed = max(by_output, by_score)
    if not changed:
        return Repeatability(rows=len(rows), changed=0, margin=None)
    kept = [sum(result.kept for result in evaluator.results(side, split.holdout)) for side in (Candidate(), incumbent)]
    confirmed = len(list(evaluator.results(incumbent, split.holdout)))
    return Repeatability(
        rows=len(rows),
        changed=changed,
        margin=_margin(evaluator, rows, confirmed),
        start_kept=kept[0],
        incumbent_kept=kept[1],
    )


def _margin(evaluator: Evaluator, rows: Sequence[Sequence[Sequence[float]]], confirmed: int) -> float | None:
    """Return by how much two means over the held-out rows that were asked differ at most in 19 of 20 cases.

    Each mean has the variance within rows over the number of rows, and their difference twice that.
    """
    if not evaluator.metric.is_mean or not confirmed:
        return None
    within = float(np.mean([np.var([values[0] for values in scores], ddof=1) for scores in rows]))
    # A mean over the repeats of a suite varies less than a single answer.
    return NORMAL_QUANTILE * sqrt(2 * within / (confirmed * evaluator.suite.repeat)) or None
