"""Calibration of candidates that score labels: offsets estimated on search rows, from results that are there.

The offsets are then frozen as numbers: estimated on the rows at hand, an answer would depend on which rows are run
together.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from promptkit.answers.base import AnswerType
from promptkit.answers.calibration import label_shares, labelled_offsets, mean_offsets, quantile_offsets
from promptkit.answers.decide import MAX_OUTSIDE_SHARE
from promptkit.evaluation.cells.cell import Cell
from promptkit.evaluation.cells.scoring import measure_cell
from promptkit.evaluation.suite.suite import answer_type
from promptkit.tuning.evaluator import Evaluator, RowResult, partition_valid
from promptkit.tuning.search_space.candidate import Candidate, Choice

NONE, BATCH = "none", "batch"
WITHIN = 0.01
"""The usual method is kept if another is at most one point better on the search rows, as these chose it."""
LEAST_ROWS = 50
"""With fewer labelled rows, offsets that maximize accuracy would be fitted to chance."""

Row = Mapping[str, float]


@dataclass(frozen=True, slots=True)
class ScoredLabels:
    """A result by label: `logprobs` before any offset, `scores` the metric's score of each label as the answer."""

    logprobs: Row
    scores: Row
    outside: bool

    def with_offsets(self, offsets: Mapping[str, float]) -> float:
        """Return the score of the label that wins with offsets."""
        return self.scores[max(self.logprobs, key=lambda label: self.logprobs[label] + offsets.get(label, 0.0))]


class CandidateCalibration:
    """Scores of an evaluator's candidates, each that scores labels calibrated on the rows that it is asked for.

    `labels` are the expected answers by row if they are classes.
    """

    def __init__(self, evaluator: Evaluator, labels: Sequence[Any] | None) -> None:
        self._evaluator = evaluator
        self._labels = labels
        self._scored: dict[tuple[str, int], ScoredLabels | None] = {}

    def step(self, candidate: Candidate) -> str | None:
        """Return the step whose label scores a candidate's calibration would correct; None if it scores no labels.

        That is the step whose answer is measured. A step that is written with offsets keeps them.
        """
        pipeline, metric = self._evaluator.variant(candidate).pipeline, self._evaluator.metric
        if answer_type(pipeline) is None or metric.asks or metric.costly:
            return None
        name = next(iter(pipeline.output.names))
        asking = pipeline.steps[name].prompt_call
        is_scored = asking is not None and asking.decide == "score" and asking.head is None
        return name if is_scored and asking is not None and asking.calibrate is None else None

    def scores(self, candidate: Candidate, rows: Sequence[int]) -> NDArray[np.float64]:
        """Return a candidate's scores on rows, calibrated by the usual method if it scores labels."""
        scored = self._rows(candidate, rows)
        plain = self._evaluator.scores(candidate, rows)
        if len(scored) < 2:
            return plain
        offsets = self._offsets(scored, BATCH)
        for place, row_scores in scored.items():
            plain[place] = row_scores.with_offsets(offsets)
        return plain

    def best(self, candidate: Candidate, rows: Sequence[int], model: str) -> Choice | None:
        """Return the calibration to freeze; None if there is none to add or it gains nothing.

        The usual method (batch, Zhou et al. 2024, with the labels' shares) is kept unless another is more than one
        point better on the search rows. `model` is the reference of the model that answered.
        """
        step = self.step(candidate)
        scored = self._rows(candidate, rows)
        if step is None or len(scored) < 2:
            return None
        offsets_by_method = {method: self._offsets(scored, method) for method in self._methods(scored)}
        means = {
            method: sum(row_scores.with_offsets(offsets) for row_scores in scored.values()) / len(scored)
            for method, offsets in offsets_by_method.items()
        }
        method = max(means, key=lambda text: means[text])
        if means[method] <= means[BATCH] + WITHIN:
            method = BATCH
        if method == NONE:
            return None
        value = {"method": method, "model": model, "offsets": dict(offsets_by_method[method])}
        return Choice(method, {f"{step}.calibrate": value}, about=f"offsets of {len(scored)} search rows, frozen")

    async def freeze(self, candidate: Candidate, rows: Sequence[int]) -> Candidate:
        """Return a candidate that scores labels with its calibration as numbers, estimated from its results on rows.

        The candidate is unchanged if there is no calibration, or if offsets cannot be tied to the model that answers.
        """
        step = self.step(candidate)
        if step is None:
            return candidate
        model = await self._evaluator.model(candidate, step)
        calibration = self.best(candidate, rows, model.reference)
        if calibration is None:
            return candidate
        parameter = f"{step}.decide"
        if (way := candidate.choices.get(parameter)) is None:
            calibrated = candidate.with_choice(f"{step}.calibrate", calibration)
        else:
            name, about = f"{way.name}, calibrated ({calibration.name})", f"{way.about}; {calibration.about}"
            changes = {**way.changes, **calibration.changes}
            calibrated = candidate.with_choice(parameter, replace(way, name=name, changes=changes, about=about))
        return calibrated if partition_valid(self._evaluator, [calibrated])[0] else candidate

    def outside(self, candidate: Candidate, rows: Sequence[int]) -> bool:
        """Tell whether labels lie outside the runtime's log-probabilities in too many rows for their scores to
        count.
        """
        scored = self._rows(candidate, rows)
        return sum(row_scores.outside for row_scores in scored.values()) > MAX_OUTSIDE_SHARE * len(scored)

    def _methods(self, scored: Mapping[int, ScoredLabels]) -> list[str]:
        alternatives = next(iter(scored.values())).logprobs
        two = ["quantile"] if len(alternatives) == 2 else []
        fitted = ["labelled"] if self._labels is not None and len(scored) >= LEAST_ROWS else []
        return [NONE, BATCH, *two, *fitted]

    def _offsets(self, scored: Mapping[int, ScoredLabels], method: str) -> Mapping[str, float]:
        rows = [row_scores.logprobs for row_scores in scored.values()]
        if method == NONE:
            return {}
        alternatives = list(rows[0])
        labels = None if self._labels is None else [_best_label(row_scores) for row_scores in scored.values()]
        shares = label_shares(labels, alternatives) if labels else None
        if method == BATCH:
            return mean_offsets(rows, shares)
        if method == "quantile":
            return quantile_offsets(rows, shares[alternatives[0]] if shares else 0.5)
        assert labels is not None, "offsets of the best accuracy need labels"
        return labelled_offsets(rows, labels)

    def _rows(self, candidate: Candidate, rows: Sequence[int]) -> dict[int, ScoredLabels]:
        """Return the scored labels of rows by their place in `rows`.

        Empty if the metric scores every label the same, as it does if it reads something else.
        """
        step = self.step(candidate)
        if step is None:
            return {}
        by_place: dict[int, ScoredLabels] = {}
        for place, row in enumerate(rows):
            if row in candidate.shows:
                continue
            key = candidate.key, row
            if key not in self._scored:
                result = self._evaluator.result(candidate, row)
                if result is None or result.score is None:
                    continue
                self._scored[key] = self._read(candidate, step, result, row)
            if (scored := self._scored[key]) is not None:
                by_place[place] = scored
        return by_place if any(len(set(scored.scores.values())) > 1 for scored in by_place.values()) else {}

    def _read(self, candidate: Candidate, step: str, result: RowResult, row: int) -> ScoredLabels | None:
        answer = answer_type(self._evaluator.variant(candidate).pipeline)
        trace = self._evaluator.trace(result)
        extras = (part.get("extra", {}) for part in trace.get("parts", ()) if part["name"] == step)
        extra: Mapping[str, Any] = next(extras, {})
        if answer is None or not (logprobs := extra.get("scores")):
            return None
        scores = {label: self._label_score(answer, label, result, row, trace) for label in logprobs}
        return ScoredLabels(logprobs, scores, bool(extra.get("outside")))

    def _label_score(
        self, answer: AnswerType, label: str, result: RowResult, row: int, trace: Mapping[str, Any]
    ) -> float:
        """Return the metric's score of a label as the answer to a row, in [0, 1]."""
        evaluator = self._evaluator
        bound = evaluator.rows[row]
        answered = Cell(
            variant="",
            row=bound.row.number,
            repeat=0,
            fields=bound.row.fields,
            output=answer.parse(label),
            steps=result.steps,
            calls=result.calls,
            tokens_in=result.tokens,
            seconds=result.seconds,
            read_trace=lambda: trace,
        )
        score = measure_cell(evaluator.suite.measures[0], answered, bound.expected[0], answer)
        return 0.0 if score.value is None else evaluator.normalized(score.value)


def _best_label(scored: ScoredLabels) -> str:
    """Return the right label: the one with the highest score."""
    return max(scored.scores, key=lambda label: scored.scores[label])
