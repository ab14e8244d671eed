"""Calibration of candidates that score labels: offsets estimated on search rows, from results that are there.

The offsets are then frozen as numbers: estimated on the rows at hand, an answer would depend on which rows are run
together.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from promptkit.answers.base import AnswerType
from promptkit.answers.calibration import label_shares, labelled_offsets, mean_offsets, quantile_offsets
from promptkit.answers.decide import MAX_OUTSIDE_SHARE
from promptkit.evaluation.cells.cell import Outcome
from promptkit.evaluation.cells.scoring import measure_cell
from promptkit.evaluation.suite.suite import answer_type
from promptkit.tuning.evaluator import partition_valid
from promptkit.tuning.search_space.candidate import Choice

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from promptkit.tuning.evaluator import Evaluator, RowResult
    from promptkit.tuning.search_space.candidate import Candidate

NONE, BATCH = "none", "batch"
WITHIN = 0.01
"""The usual method is kept where another is no more than a point better on the search rows: these chose it."""
LEAST_ROWS = 50
"""Of fewer labelled rows offsets of the best accuracy are fitted to chance."""

Row = Mapping[str, float]


@dataclass(frozen=True, slots=True)
class ScoredLabels:
    """A cell by label: `logprobs` before any offset, `scores` what the aim would say of each label as the answer."""

    logprobs: Row
    scores: Row
    outside: bool

    def with_offsets(self, offsets: Mapping[str, float]) -> float:
        """Return the score of the label that wins with offsets."""
        return self.scores[max(self.logprobs, key=lambda label: self.logprobs[label] + offsets.get(label, 0.0))]


class CandidateCalibration:
    """Scores of candidates of one field, each that scores labels calibrated on the rows that it is asked for.

    `labels` are the expected answers by row, where they are classes.
    """

    def __init__(self, field: Evaluator, labels: Sequence[Any] | None) -> None:
        self._field = field
        self._labels = labels
        self._scored: dict[tuple[str, int], ScoredLabels | None] = {}

    def step(self, candidate: Candidate) -> str | None:
        """Return the step that a candidate's calibration would correct; None where it scores no labels.

        That is the step whose answer is what is measured. One that is written with offsets keeps them.
        """
        pipeline, aim = self._field.variant(candidate).pipeline, self._field.metric
        if answer_type(pipeline) is None or aim.asks or aim.costly:
            return None
        name = next(iter(pipeline.output.names))
        asking = pipeline.steps[name].prompt_call
        return name if asking is not None and asking.decide == "score" and asking.calibrate is None else None

    def scores(self, candidate: Candidate, rows: Sequence[int]) -> NDArray[np.float64]:
        """Return a candidate's scores on rows, calibrated by the usual method where it scores labels."""
        scored = self._rows(candidate, rows)
        plain = self._field.scores(candidate, rows)
        if len(scored) < 2:
            return plain
        offsets = self._offsets(scored, BATCH)
        for place, each in scored.items():
            plain[place] = each.with_offsets(offsets)
        return plain

    def best(self, candidate: Candidate, rows: Sequence[int], model: str) -> Choice | None:
        """Return the calibration to freeze, None where there is none to add or it brings nothing.

        The usual one (batch, Zhou et al. 2024, with the labels' shares) is kept where no other is more than a point
        better on the search rows. `model` is the reference of what answered.
        """
        step = self.step(candidate)
        scored = self._rows(candidate, rows)
        if step is None or len(scored) < 2:
            return None
        found = {method: self._offsets(scored, method) for method in self._methods(scored)}
        means = {
            method: sum(each.with_offsets(offsets) for each in scored.values()) / len(scored)
            for method, offsets in found.items()
        }
        method = max(means, key=lambda each: means[each])
        if means[method] <= means[BATCH] + WITHIN:
            method = BATCH
        if method == NONE:
            return None
        value = {"method": method, "model": model, "offsets": dict(found[method])}
        return Choice(method, {f"{step}.calibrate": value}, about=f"offsets of {len(scored)} search rows, frozen")

    async def frozen(self, candidate: Candidate, rows: Sequence[int]) -> Candidate:
        """Return a candidate that scores labels with the calibration that its cells on rows say, as numbers.

        It stays as it is where there is none, and where offsets cannot be bound to what answers.
        """
        step = self.step(candidate)
        if step is None:
            return candidate
        model = await self._field.model(candidate, step)
        found = self.best(candidate, rows, model.reference)
        if found is None:
            return candidate
        axis = f"{step}.decide"
        if (way := candidate.choices.get(axis)) is None:
            calibrated = candidate.taking(f"{step}.calibrate", found)
        else:
            name, about = f"{way.name}, calibrated ({found.name})", f"{way.about}; {found.about}"
            calibrated = candidate.taking(axis, Choice(name, {**way.changes, **found.changes}, about, way.requests))
        return calibrated if partition_valid(self._field, [calibrated])[0] else candidate

    def outside(self, candidate: Candidate, rows: Sequence[int]) -> bool:
        """Tell whether labels lay outside what the runtime shows in too many rows: their scores are no evidence."""
        scored = self._rows(candidate, rows)
        return sum(each.outside for each in scored.values()) > MAX_OUTSIDE_SHARE * len(scored)

    def _methods(self, scored: Mapping[int, ScoredLabels]) -> list[str]:
        alternatives = next(iter(scored.values())).logprobs
        two = ["quantile"] if len(alternatives) == 2 else []
        fitted = ["labelled"] if self._labels is not None and len(scored) >= LEAST_ROWS else []
        return [NONE, BATCH, *two, *fitted]

    def _offsets(self, scored: Mapping[int, ScoredLabels], method: str) -> Mapping[str, float]:
        rows = [each.logprobs for each in scored.values()]
        if method == NONE:
            return {}
        alternatives = list(rows[0])
        labels = None if self._labels is None else [_best_label(each) for each in scored.values()]
        shares = label_shares(labels, alternatives) if labels else None
        if method == BATCH:
            return mean_offsets(rows, shares)
        if method == "quantile":
            return quantile_offsets(rows, shares[alternatives[0]] if shares else 0.5)
        assert labels is not None, "offsets of the best accuracy need labels"
        return labelled_offsets(rows, labels)

    def _rows(self, candidate: Candidate, rows: Sequence[int]) -> dict[int, ScoredLabels]:
        """Return the scored labels of rows that have them, by their place in `rows`.

        There are none where the aim says the same of every label, as it does where it reads something else.
        """
        step = self.step(candidate)
        if step is None:
            return {}
        found: dict[int, ScoredLabels] = {}
        for place, row in enumerate(rows):
            key = candidate.key, row
            if key not in self._scored:
                cell = self._field.cell(candidate, row)
                if cell is None or cell.score is None:
                    continue
                self._scored[key] = self._read(candidate, step, cell, row)
            if (scored := self._scored[key]) is not None:
                found[place] = scored
        return found if any(len(set(each.scores.values())) > 1 for each in found.values()) else {}

    def _read(self, candidate: Candidate, step: str, cell: RowResult, row: int) -> ScoredLabels | None:
        answer = answer_type(self._field.variant(candidate).pipeline)
        trace = self._field.trace(cell)
        found = (each.get("extra", {}) for each in trace.get("parts", ()) if each["name"] == step)
        extra: Mapping[str, Any] = next(found, {})
        if answer is None or not (logprobs := extra.get("scores")):
            return None
        scores = {label: self._mark(answer, label, cell, row, trace) for label in logprobs}
        return ScoredLabels(logprobs, scores, bool(extra.get("outside")))

    def _mark(self, answer: AnswerType, label: str, cell: RowResult, row: int, trace: Mapping[str, Any]) -> float:
        """Return what the aim says of a label as the answer to a row, in [0, 1]."""
        field = self._field
        outcome = Outcome(
            output=answer.parse(label),
            steps=cell.steps,
            calls=cell.calls,
            tokens_in=cell.tokens,
            seconds=cell.seconds,
            read_trace=lambda: trace,
        )
        bound = field.rows[row]
        score = measure_cell(field.suite.measures[0], outcome, bound.row.fields, bound.expected[0], answer)
        return 0.0 if score.value is None else field.scaled(score.value)


def _best_label(scored: ScoredLabels) -> str:
    """Return the label that would be right: the one the aim gives most for."""
    return max(scored.scores, key=lambda label: scored.scores[label])
