"""A model as a judge of one answer, by a rubric and levels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from math import nan
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator

from promptkit.answers.calibration import probabilities
from promptkit.engine.spec import ClosedModel
from promptkit.evaluation.metrics.base import Clients, Difference, Estimate, MetricContext, MetricInput, Sample
from promptkit.evaluation.metrics.estimation import (
    Graded,
    bounded_estimate,
    finite,
    graded_difference,
    metric_difference,
)
from promptkit.evaluation.metrics.judge_labels import JudgeLabels, LabelSetting
from promptkit.evaluation.metrics.judge_prompt import SAME_MODEL, JudgePrompt, NoVerdict, fields_read, question_of
from promptkit.evaluation.metrics.score import JUDGE_DETAIL, Score
from promptkit.evaluation.metrics.values import shown_value, text_of
from promptkit.evaluation.statistics.agreement import (
    agreement_with_labels,
    corrected_difference,
    corrected_mean,
    length_correlation,
)
from promptkit.evaluation.statistics.interval import CONFIDENCE
from promptkit.project_code.reference import CodeReference

MOST_LEVELS = 11
WANTED_LABELS = 50
GIVES = frozenset({"rubric", "levels", "question", "answer", "expected"})
LABEL_DETAIL = ("label", "random")
"""The keys of a score's detail under which a person's label stands, and whether its answer was drawn at random."""
_HARD = "the model gives no log-probabilities: a score is the level that it named, not a weighted mean of levels"


class JudgeParameters(ClosedModel):
    """`levels` go from the worst to the best: words, or words with their meanings; or `scale` is two whole numbers.

    `question` is what was asked: an expression or a field of the row; by default the row's fields without the expected
    answer. Persons' labels of answers are read from the suite's label file (`promptkit label`); `labels: false` leaves
    them out. Labels in the rows are named by an expression that reads `output`, or by two fields: `{level: FIELD, of:
    FIELD}`, of which the second has the answer that the label is of.
    """

    rubric: str = Field(min_length=1)
    levels: list[str] | dict[str, str] | None = None
    scale: list[int] | None = Field(default=None, min_length=2, max_length=2)
    model: str | None = None
    prompt: str = "judge"
    question: str | None = None
    labels: LabelSetting = None

    @model_validator(mode="after")
    def _check_levels(self) -> JudgeParameters:
        if (self.levels is None) == (self.scale is None):
            raise ValueError("a judge needs one of `levels: [poor, fair, good]` and `scale: [1, 5]`")
        count = len(self.names)
        if not 2 <= count <= MOST_LEVELS:
            raise ValueError(f"a judge distinguishes 2 to {MOST_LEVELS} levels, not {count}")
        if len({name.strip().casefold() for name in self.names}) < count or not all(map(str.strip, self.names)):
            raise ValueError("`levels` must be different words")
        return self

    @property
    def names(self) -> list[str]:
        """The levels as the judge writes them, from the worst to the best."""
        if self.scale is not None:
            low, high = self.scale
            return [str(level) for level in range(low, min(high, low + MOST_LEVELS) + 1)]
        return list(self.levels or ())


class Judge(Graded):
    """The level that a model gives by a rubric: a number on `scale`, or a word scored from 0 (worst) to 1 (best).

    Where the runtime gives log-probabilities, the score is the mean of the levels weighted by them, else it is the
    level that was named. A reply that is not a level is the judge's failure and not the answer's: the score is missing.

    With `labels`, `parts` says how far the judge agrees with them, and mean and difference are corrected by them
    (prediction-powered inference), so that they estimate those of the labels however bad the judge is.
    """

    kind = "judge"
    about = "a model's judgement of the answer, by a rubric and levels"
    Parameters = JudgeParameters
    parameters: JudgeParameters
    needs_expected = False
    asks = True
    costly = True
    columns = ("score", "level", "label", "random", "tokens", "weighed", "same_model")

    def __init__(self, name: str, parameters: JudgeParameters, context: MetricContext) -> None:
        super().__init__(name, parameters, context)
        self._names = parameters.names
        if parameters.scale is not None:
            self.bounds = (float(parameters.scale[0]), float(parameters.scale[-1]))
        self._labels_read = JudgeLabels(name, self._names, parameters.labels, context.labels)
        self.setting_notes = tuple(self._labels_read.notes)
        # A few labels correct the mean, and a missing cell may be one of them.
        self.is_mean = not self._labels_read.any
        low, high = self._bounds
        step = (high - low) / (len(self._names) - 1)
        self._values = {name: low + step * place for place, name in enumerate(self._names)}
        list(fields_read(parameters.question))
        self._prompt = JudgePrompt(parameters.prompt, parameters.model, context, GIVES)
        self.model = self._prompt.model

    @property
    def key(self) -> str:
        # Labels are no part of a score, but for the fields that the judge does not see since they hold labels.
        unlabelled = self.parameters.model_copy(update={"labels": None})
        hidden = f":{sorted(self._labels_read.hidden)}" if self._labels_read.hidden else ""
        return f"{self.kind}:{unlabelled.model_dump_json()}:{self._prompt.key}{hidden}"

    @property
    def code(self) -> tuple[CodeReference, ...]:
        return self._prompt.code

    async def measure_async(self, given: MetricInput, clients: Clients) -> Score:
        parameters = self.parameters
        values = {
            "rubric": parameters.rubric,
            "levels": parameters.levels if isinstance(parameters.levels, dict) else self._names,
            "question": question_of(given, parameters.question, self._labels_read.hidden),
            "answer": text_of(given.got),
            "expected": text_of(given.expected),
        }
        try:
            verdict = await self._prompt.ask(values, clients)
        except NoVerdict as babble:
            return Score(None, why=str(babble))
        if verdict.value not in self._names:
            return Score(None, why=f"the judge's verdict {shown_value(verdict.value)} is not one of the levels")
        detail: dict[str, Any] = {"level": verdict.value, "tokens": given.cell.tokens_out}
        value = self._values[verdict.value]
        if verdict.logprobs:
            shares = probabilities(verdict.logprobs)
            detail["probabilities"] = {name: round(share, 4) for name, share in shares.items()}
            value = sum(shares[name] * level for name, level in self._values.items())
        if await self._prompt.is_judged(clients):
            detail["same_model"] = True
        low, high = self._bounds
        return Score(min(max(value, low), high), {**detail, JUDGE_DETAIL: [verdict.exchange]})

    def with_label(self, score: Score, given: MetricInput) -> Score:
        unlabelled = self.without_label(score)
        label = self._labels_read.detail(given)
        return replace(unlabelled, detail={**unlabelled.detail, **label}) if label else unlabelled

    def without_label(self, score: Score) -> Score:
        return replace(score, detail={key: part for key, part in score.detail.items() if key not in LABEL_DETAIL})

    def numbers(self, score: Score) -> Sequence[float]:
        assert score.value is not None, "a missing score has no numbers"
        detail = score.detail
        level, label = (float(self._names.index(detail[key])) if key in detail else nan for key in ("level", "label"))
        weighed = float("probabilities" in detail) if "level" in detail else nan
        random = float(detail.get("random", True)) if "label" in detail else nan
        return (score.value, level, label, random, detail.get("tokens", nan), weighed, float("same_model" in detail))

    def estimate(self, sample: Sample) -> Estimate:
        found = super().estimate(sample)
        if not len(sample):
            return found
        _, level, label, _, tokens, weighed, same_model = sample.values.T
        judged, labelled = ~np.isnan(level), ~np.isnan(label)
        parts: dict[str, Any] = {}
        notes = list(found.notes)
        if judged.any():
            parts["score and tokens"] = _correlation(sample.scores[judged], tokens[judged])
        if labelled.any():
            parts["judged"] = {"mean": found.mean, "low": found.low, "high": found.high}
            found = self._corrected(sample, found)
            if (judged & labelled).any():
                parts["agreement with labels"] = self._agreement(level[judged & labelled], label[judged & labelled])
            if labelled.sum() < WANTED_LABELS:
                notes.append(f"only {labelled.sum()} answers have a label: at least {WANTED_LABELS} are needed")
        if same_model.any():
            notes.append(SAME_MODEL)
        if (weighed == 0).any():
            notes.append(_HARD)
        return replace(found, parts=parts, notes=tuple(notes))

    def difference(self, a: Sample, b: Sample, *, level: float = CONFIDENCE) -> Difference | None:

        if not len(a):
            return None
        labels = self._labels(a) - self._labels(b)
        apart, of_labels = _by_cluster(a.clusters, self._scaled(a) - self._scaled(b), labels)
        labelled = ~np.isnan(of_labels)
        if not labelled.any():
            return super().difference(a, b, level=level)
        if (~labelled).sum() < 2:
            known = ~np.isnan(labels)
            return graded_difference(self._labelled(a, known), self._labelled(b, known), self._bounds, True, level)
        found = corrected_difference(apart[~labelled], apart[labelled], of_labels[labelled], level=level)
        return metric_difference(found, True, scale=self._width)

    def _corrected(self, sample: Sample, judged: Estimate) -> Estimate:
        """Return the mean that labels would give; where nearly all answers have a label, the mean of the labels."""

        labels = self._labels(sample)
        scores, of_labels = _by_cluster(sample.clusters, self._scaled(sample), labels)
        labelled = ~np.isnan(of_labels)
        if (~labelled).sum() < 2:
            return bounded_estimate(self._labelled(sample, ~np.isnan(labels)), self._bounds, binary=False)
        found = corrected_mean(scores[~labelled], scores[labelled], of_labels[labelled])
        low, width = self._bounds[0], self._width
        return replace(
            judged, mean=low + width * found.mean, low=low + width * found.low, high=low + width * found.high
        )

    def _agreement(self, level: NDArray[np.float64], label: NDArray[np.float64]) -> dict[str, Any]:
        classes = len(self._names)
        found = agreement_with_labels(level.astype(int), label.astype(int), ordinal=classes > 2, classes=classes)
        return {
            "n": len(level),
            "equal": {"mean": found.raw.mean, "low": found.raw.low, "high": found.raw.high},
            "method": found.method,
            "value": finite(found.value),
            "low": finite(found.low),
            "high": finite(found.high),
        }

    def _labels(self, sample: Sample) -> NDArray[np.float64]:
        """Return the labels scaled to 0 to 1, NaN where there is none."""
        labels: NDArray[np.float64] = sample.values[:, 2] / (len(self._names) - 1)
        return labels

    def _labelled(self, sample: Sample, chosen: NDArray[np.bool_]) -> Sample:
        """Return the chosen cells with their labels as scores."""
        scores = self._bounds[0] + self._width * self._labels(sample)[chosen]
        return Sample(scores[:, None], sample.rows[chosen], sample.clusters[chosen])

    def _scaled(self, sample: Sample) -> NDArray[np.float64]:
        scaled: NDArray[np.float64] = (sample.scores - self._bounds[0]) / self._width
        return scaled

    @property
    def _bounds(self) -> tuple[float, float]:
        assert self.bounds is not None, "a judge's levels are bounds"
        return self.bounds

    @property
    def _width(self) -> float:
        return self._bounds[1] - self._bounds[0]


def _correlation(scores: NDArray[np.float64], tokens: NDArray[np.float64]) -> float | None:

    return finite(length_correlation(scores, tokens))


def _by_cluster(
    clusters: NDArray[np.int64], judged: NDArray[np.float64], labels: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the means of judged scores and of labels (NaN: none) of each cluster.

    In a cluster with labels both means are over the cells that have one.
    """
    known = ~np.isnan(labels)
    _, places = np.unique(clusters, return_inverse=True)
    labelled = np.bincount(places, weights=known) > 0
    weights = np.where(labelled[places], known, True).astype(float)
    totals = np.bincount(places, weights=weights)
    of_judged = np.bincount(places, weights=weights * judged) / totals
    of_labels = np.bincount(places, weights=weights * np.nan_to_num(labels)) / totals
    return of_judged, np.where(labelled, of_labels, np.nan)
