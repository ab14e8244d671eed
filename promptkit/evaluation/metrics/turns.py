"""The metric of each turn: another metric, measured on every turn of a conversation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from math import nan
from typing import Any, Final

import numpy as np

from promptkit.errors import InputError
from promptkit.evaluation.metrics.base import Difference, Estimate, Metric, MetricInput, Sample
from promptkit.evaluation.metrics.estimation import (
    NOTHING_SCORED,
    bounded_estimate,
    graded_difference,
    median_estimate,
    ratio_difference,
)
from promptkit.evaluation.metrics.score import JUDGE_DETAIL, Score, not_applicable
from promptkit.evaluation.statistics.interval import CONFIDENCE
from promptkit.project_code.reference import CodeReference

TURN: Final = "turn"
TURNS: Final = "turns"
"""The key of a score's detail, and of an estimate's parts, under which the turns stand."""
MOST_TURNS: Final = 10
"""The first turns of a conversation, which an estimate shows one by one."""
_NOT_OF_TURNS: Final = frozenset({"agreement", "pass_at", "pass_all"})
"""Kinds that compare the repeats of a row, which turns are not."""


class EachTurn(Metric):
    """The mean of a metric's scores over the turns of a conversation. The row is the unit of all intervals: its turns
    depend on each other. Every conversation counts alike, however many turns it has.

    `parts` has the estimate of each of the first turns, over the conversations that reach it. The notes are those of
    the metric on the first turn that it scores, whose numbers stand in the last columns.
    """

    about = "the mean of a metric over the turns of a conversation"
    needs_expected = False

    def __init__(self, inner: Metric) -> None:
        """Raises InputError for a metric that cannot be of single turns."""
        if inner.kind == "human":
            hint = f"`{inner.name}: human` is of the whole conversation"
            raise InputError("a person's label is of one answer, not of each turn", hint=hint)
        if inner.pairs or not inner.is_mean or inner.kind in _NOT_OF_TURNS:
            raise InputError(f"`{inner.kind}` is not the mean of single scores, so it has none of each turn")
        super().__init__(inner.name, inner.parameters, inner.context)
        self.inner = inner
        self.kind = inner.kind
        self.bounds, self.higher_is_better = inner.bounds, inner.higher_is_better
        self.asks, self.costly, self.timed = inner.asks, inner.costly, inner.timed
        self.declared, self.setting_notes = inner.declared, inner.setting_notes
        self.columns = ("score", *(f"{TURN} {number}" for number in range(1, MOST_TURNS + 1)), *inner.columns)

    @property
    def key(self) -> str:
        return f"each {TURN}:{self.inner.key}"

    @property
    def models(self) -> tuple[str | None, ...]:
        return self.inner.models

    @property
    def code(self) -> tuple[CodeReference, ...]:
        return self.inner.code

    def score(self, turns: Mapping[int, Score]) -> Score:
        """Return the score of a conversation from those of its turns, by their numbers from 1.

        A turn to which the metric does not apply is left out.
        """
        if not turns:
            return Score(None, why="no turn has an expected answer")
        exempt = {number for number, score in turns.items() if not score.applies}
        if len(exempt) == len(turns):
            return not_applicable(next(iter(turns.values())).why)
        turns = {number: score for number, score in turns.items() if number not in exempt}
        failed = next(((number, score) for number, score in turns.items() if score.value is None), None)
        if failed is not None:
            number, score = failed
            return Score(None, score.detail, f"turn {number}: {score.why}", score.error)
        values = {number: score.value for number, score in turns.items() if score.value is not None}
        worst = (min if self.higher_is_better else max)(values, key=lambda number: values[number])
        compared = {
            key: f"turn {worst}: {turns[worst].detail[key]}"
            for key in ("got", "expected")
            if key in turns[worst].detail
        }
        detail: dict[str, Any] = {**compared, TURNS: [_turn_detail(*turn) for turn in turns.items()]}
        judged = [exchange for score in turns.values() for exchange in score.detail.get(JUDGE_DETAIL, ())]
        if judged:
            detail[JUDGE_DETAIL] = judged
        return Score(sum(values.values()) / len(values), detail)

    def unanswered(self, given: MetricInput) -> Score:
        assert self.bounds is not None, "turns of a conversation without bounds are scored as far as it went"
        return super().unanswered(given)

    def numbers(self, score: Score) -> Sequence[float]:
        assert score.value is not None, "a missing score has no numbers"
        turns = score.detail.get(TURNS, ())
        by_turn = {turn[TURN]: turn["score"] for turn in turns}
        first = [nan] * len(self.inner.columns)
        if turns:
            first = list(self.inner.numbers(Score(turns[0]["score"], turns[0].get("detail", {}))))
        return (score.value, *(by_turn.get(number, nan) for number in range(1, MOST_TURNS + 1)), *first)

    def estimate(self, sample: Sample) -> Estimate:
        if not len(sample):
            return NOTHING_SCORED
        found = self._estimate(sample)
        turns = [_turn_part(number, self._estimate(reached)) for number, reached in _by_turn(sample)]
        notes = dict.fromkeys([*found.notes, *self._notes_of_first(sample)])
        return replace(found, parts={**found.parts, TURNS: turns}, notes=tuple(notes))

    def _notes_of_first(self, sample: Sample) -> Sequence[str]:
        """Return the notes of the metric on the first turns, such as that a judge is the model under test."""
        numbers = sample.values[:, 1 + MOST_TURNS :]
        scored = ~np.isnan(numbers[:, 0])
        first = Sample(numbers[scored], sample.rows[scored], sample.clusters[scored])
        return self.inner.estimate(first).notes if scored.any() else ()

    def difference(self, a: Sample, b: Sample, *, level: float = CONFIDENCE) -> Difference | None:
        if self.bounds is None:
            return ratio_difference(a, b, self.higher_is_better, level)
        return graded_difference(a, b, self.bounds, self.higher_is_better, level)

    def _estimate(self, sample: Sample) -> Estimate:
        if self.bounds is None:
            return median_estimate(sample)
        is_binary = self.bounds == (0.0, 1.0) and bool(np.isin(sample.scores, (0.0, 1.0)).all())
        return bounded_estimate(sample, self.bounds, binary=is_binary)


def _turn_detail(number: int, score: Score) -> dict[str, Any]:
    detail = {key: value for key, value in score.detail.items() if key != JUDGE_DETAIL}
    return {TURN: number, "score": score.value, **({"detail": detail} if detail else {})}


def _by_turn(sample: Sample) -> list[tuple[int, Sample]]:
    """Return the numbers of the first turns, each with the scores of the conversations that reach it."""
    found = []
    for number in range(1, MOST_TURNS + 1):
        reached = ~np.isnan(sample.values[:, number])
        if reached.any():
            scores = sample.values[reached, number][:, None]
            found.append((number, Sample(scores, sample.rows[reached], sample.clusters[reached])))
    return found


def _turn_part(number: int, found: Estimate) -> dict[str, Any]:
    return {TURN: number, "mean": found.mean, "low": found.low, "high": found.high, "n": found.n}
