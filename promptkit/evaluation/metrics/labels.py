"""Metrics of one label a row: accuracy, balanced accuracy, F1, and the calibration of label probabilities."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from math import nan
from typing import Annotated, Any

import numpy as np
from numpy.typing import NDArray
from pydantic import BeforeValidator

from promptkit.answers.base import AnswerType
from promptkit.answers.calibration import probabilities
from promptkit.engine.spec import ClosedModel
from promptkit.errors import InputError, nearest
from promptkit.evaluation.metrics.base import Difference, Estimate, Metric, MetricContext, MetricInput, Sample
from promptkit.evaluation.metrics.estimation import (
    FEW_CLUSTERS,
    NOTHING_SCORED,
    Graded,
    Proportion,
    binary_difference,
    bounded_estimate,
    mean_estimate,
    metric_difference,
)
from promptkit.evaluation.metrics.score import Score
from promptkit.evaluation.metrics.values import (
    answer_type,
    declared_labels,
    expected_of,
    label_of,
    reading_fault,
    scalar_text,
    shown_label,
    shown_value,
)
from promptkit.evaluation.statistics.interval import CONFIDENCE, Mean
from promptkit.evaluation.statistics.ratio import (
    balanced_accuracy,
    balanced_accuracy_difference,
    f1,
    f1_difference,
    macro_f1,
    macro_f1_difference,
    precision_recall,
)

_FLAGS = {"unparsed": -1, "truncated": -2}
MOST_CLASSES = 100
MOST_OTHERS = 20
OTHERS = "(other labels)"


@dataclass(frozen=True, slots=True)
class SampleLabels:
    """The labels of a sample as codes, (cells,): classes are numbered from 0 in the order of `classes`.

    `classes` are the labels that some row expects. Predicted labels that no row expects follow in `others`; an unparsed
    answer is -1, a cut-off one -2.
    """

    expected: NDArray[np.int64]
    predicted: NDArray[np.int64]
    classes: tuple[str, ...]
    others: tuple[str, ...]

    @property
    def read(self) -> NDArray[np.int64]:
        """Predicted codes as statistics take them: -1 for any answer that is not a label."""
        return np.maximum(self.predicted, -1)


class Labelled(Metric):
    """The base class of metrics of one label a row: scores of 0 or 1, the codes of both labels, and values by class.

    A predicted label that no row expects is wrong, and is shown.
    """

    columns = ("score", "expected", "predicted")

    def __init__(self, name: str, parameters: Any, context: MetricContext) -> None:
        super().__init__(name, parameters, context)
        self.declared = declared_labels(context.answer)
        self._numbers: dict[str, int] = {}

    def measure(self, given: MetricInput) -> Score:
        expected = expected_label(given.answer, given.expected)
        return _label_score(expected, shown_label(given.got))

    def unanswered(self, given: MetricInput) -> Score:
        return _label_score(expected_label(given.answer, given.expected), f"({given.cell.flag})")

    def wrong_expected(self, expected: Any) -> str | None:
        return reading_fault(lambda: expected_label(self.context.answer, expected))

    def numbers(self, score: Score) -> Sequence[float]:
        assert score.value is not None, "a missing score has no numbers"
        predicted = score.detail["predicted"]
        code = next((code for flag, code in _FLAGS.items() if predicted == f"({flag})"), None)
        return (score.value, self._number(score.detail["expected"]), self._number(predicted) if code is None else code)

    def codes(self, sample: Sample) -> SampleLabels:
        """Return the labels of a sample, its classes in the order of the answer's type, then of the alphabet."""
        expected, predicted = (sample.values[:, column].astype(np.int64) for column in (1, 2))
        names = list(self._numbers)
        present = {names[number] for number in np.unique(expected)}
        seen = {names[number] for number in np.unique(predicted[predicted >= 0])}
        classes = (*(name for name in self.declared if name in present), *sorted(present - set(self.declared)))
        others = tuple(sorted(seen - present))
        # The codes -1 and -2 index the last two places.
        places = np.full(len(names) + 2, -1)
        places[-2] = -2
        for code, name in enumerate((*classes, *others)):
            places[self._numbers[name]] = code
        return SampleLabels(places[expected], places[predicted], classes, others)

    def by_class(self, sample: Sample, codes: SampleLabels) -> dict[str, Any]:
        """Return precision, recall and F1 of each class with intervals, and the confusion matrix."""

        counts = np.bincount(codes.expected, minlength=len(codes.classes))
        most = np.sort(np.argsort(-counts, kind="stable")[:MOST_CLASSES])
        classes: dict[str, dict[str, Any]] = {}
        for code in most:
            found = precision_recall(codes.expected, codes.read, int(code), sample.clusters)
            parts = {"precision": found.precision, "recall": found.recall, "f1": found.f1}
            classes[codes.classes[code]] = {"n": int(counts[code])} | _flat(parts)
        return {"classes": classes, "confusion": _confusion(codes, most)}

    def notes(self, codes: SampleLabels) -> tuple[str, ...]:
        """Return a note that names the labels that no row expects."""
        absent = [name for name in self.declared if name not in codes.classes]
        return (f"no row expects {', '.join(absent)}: left out",) if absent else ()

    def _number(self, label: str) -> int:
        return self._numbers.setdefault(label, len(self._numbers))


class Label(Labelled, Proportion):
    """The share of rows with the expected label."""

    kind = "label"
    about = "accuracy over labels, with precision and recall of each and a confusion matrix"

    def estimate(self, sample: Sample) -> Estimate:
        found = bounded_estimate(sample, (0.0, 1.0), binary=True)
        return replace(found, parts=self.by_class(sample, self.codes(sample))) if len(sample) else found


class BalancedAccuracy(Labelled):
    """The mean of the classes' recall: each class counts the same, however many rows it has."""

    kind = "balanced_accuracy"
    about = "the mean of each class's recall"
    is_mean = False

    def estimate(self, sample: Sample) -> Estimate:
        if not len(sample):
            return NOTHING_SCORED
        codes = self.codes(sample)
        found = balanced_accuracy(codes.expected, codes.read, sample.clusters)
        notes = self.notes(codes) + _few_notes(codes)
        return mean_estimate(found, parts=self.by_class(sample, codes), notes=notes)

    def difference(self, a: Sample, b: Sample, *, level: float = CONFIDENCE) -> Difference | None:
        if not len(a):
            return None
        mine, theirs = self.codes(a), self.codes(b)
        found = balanced_accuracy_difference(mine.expected, mine.read, theirs.read, a.clusters, level=level, seed=0)
        return metric_difference(found, self.higher_is_better, notes=_few_notes(mine))


def _average_text(value: Any) -> Any:
    text = scalar_text(value)
    return value if text is None else text


class F1Parameters(ClosedModel):
    """`macro`, the mean of the classes' F1; `micro`, which is accuracy with one label a row; or one class."""

    average: Annotated[str, BeforeValidator(_average_text)] = "macro"


class F1(Labelled):
    """F1 over labels: of all classes, each counting the same, or of one class."""

    kind = "f1"
    about = "F1 over labels: macro, micro, or of one class"
    Parameters = F1Parameters
    short = "average"
    parameters: F1Parameters

    def __init__(self, name: str, parameters: F1Parameters, context: MetricContext) -> None:
        super().__init__(name, parameters, context)
        self.is_mean = parameters.average == "micro"
        known = ("macro", "micro", *self.declared)
        if self.declared and parameters.average not in known:
            raise InputError(
                f"`average` is macro, micro or a label, not `{parameters.average}`",
                hint=nearest(parameters.average, known),
            )

    def estimate(self, sample: Sample) -> Estimate:
        if not len(sample):
            return NOTHING_SCORED
        codes, average = self.codes(sample), self.parameters.average
        parts = self.by_class(sample, codes)
        if average == "micro":
            return replace(bounded_estimate(sample, (0.0, 1.0), binary=True), parts=parts)
        if average == "macro":
            found: Mean | None = macro_f1(codes.expected, codes.read, sample.clusters)
            return mean_estimate(found, parts=parts, notes=self.notes(codes) + _few_notes(codes))
        right, extra, missing = self._counts(codes).T
        found = f1(right, extra, missing, sample.clusters)
        notes = () if found else (f"no row expects {average}, and none has it as an answer: F1 is undefined",)
        return mean_estimate(found, parts=parts, notes=notes)

    def difference(self, a: Sample, b: Sample, *, level: float = CONFIDENCE) -> Difference | None:
        if not len(a):
            return None
        mine, theirs, average = self.codes(a), self.codes(b), self.parameters.average
        if average == "micro":
            return binary_difference(a, b, self.higher_is_better, level)
        if average == "macro":
            found = macro_f1_difference(mine.expected, mine.read, theirs.read, a.clusters, level=level, seed=0)
            return metric_difference(found, self.higher_is_better, notes=_few_notes(mine))
        of_class = f1_difference(self._counts(mine), self._counts(theirs), a.clusters, level=level, seed=0)
        return metric_difference(of_class, self.higher_is_better) if of_class else None

    def _counts(self, codes: SampleLabels) -> NDArray[np.float64]:
        """Return true positives, false positives and false negatives of the class by cell: (cells, 3)."""
        names = (*codes.classes, *codes.others)
        code = names.index(self.parameters.average) if self.parameters.average in names else len(names)
        is_expected, is_predicted = codes.expected == code, codes.predicted == code
        return np.stack(
            [is_expected & is_predicted, is_predicted & ~is_expected, is_expected & ~is_predicted], axis=1
        ).astype(np.float64)


def expected_label(answer: AnswerType | None, expected: Any) -> str:
    """Return an expected label as metrics compare it. Raises ValueError for what cannot be a label."""
    label = label_of(expected_of(answer, expected))
    if label is None:
        raise ValueError(f"{shown_value(expected)} is not a label")
    return label


def _label_score(expected: str, predicted: str) -> Score:
    return Score(float(expected == predicted), {"expected": expected, "predicted": predicted})


def _few_notes(codes: SampleLabels) -> tuple[str, ...]:
    """Return a note that names the classes with too few rows for a reliable interval."""
    counts = np.bincount(codes.expected, minlength=len(codes.classes))
    few = [f"{name} {count}" for name, count in zip(codes.classes, counts, strict=True) if count < FEW_CLUSTERS]
    names = ", ".join(few[:MOST_OTHERS]) + (", …" if len(few) > MOST_OTHERS else "")
    return (f"few rows of a class make the interval too narrow: {names}",) if few else ()


def _flat(parts: dict[str, Mean | None]) -> dict[str, float | None]:
    """Return each part with its interval beside it: `recall`, `recall_low`, `recall_high`."""
    flat: dict[str, float | None] = {}
    for name, mean in parts.items():
        low, high = (mean.low, mean.high) if mean else (None, None)
        flat |= {name: mean.mean if mean else None, f"{name}_low": low, f"{name}_high": high}
    return flat


def _confusion(codes: SampleLabels, most: NDArray[np.int64]) -> dict[str, dict[str, int]]:
    """Return the counts of each predicted label by expected one; rare labels that no row expects count together."""
    names = (*codes.classes, *codes.others)
    of_others = np.bincount(codes.predicted[codes.predicted >= 0], minlength=len(names))[len(codes.classes) :]
    kept = set(np.argsort(-of_others, kind="stable")[:MOST_OTHERS] + len(codes.classes)) | set(most)
    shown_as = {code: names[code] if code in kept else OTHERS for code in range(len(names))}
    shown_as |= {code: f"({flag})" for flag, code in _FLAGS.items()}
    table: dict[str, dict[str, int]] = {names[code]: {} for code in most}
    pairs, counts = np.unique(np.stack([codes.expected, codes.predicted]), axis=1, return_counts=True)
    for (expected, predicted), count in zip(pairs.T.tolist(), counts.tolist(), strict=True):
        if names[expected] in table:
            row = table[names[expected]]
            row[shown_as[predicted]] = row.get(shown_as[predicted], 0) + count
    return table


BINS = 15
MOST_OUTSIDE = 0.05
_NO_THRESHOLD = "the calibration error is biased upwards for few rows: put thresholds on the Brier score"


class CalibrationParameters(ClosedModel):
    """`step` names the step whose probabilities are used, where several steps have some."""

    step: str | None = None


class Calibration(Graded):
    """Brier's score of the labels' probabilities (Brier 1950), halved so that two labels give (p − y)²: 0 is best.

    `parts` has the expected calibration error in 15 bins of equal size (Naeini et al. 2015), without an interval,
    because binned it is too high for few rows (Kumar et al. 2019). The probabilities are those by which `decide: score`
    decides, `calibrate` included. The score of a cell without probabilities is missing.
    """

    kind = "calibration"
    about = "Brier score of the labels' probabilities (lower is better), with the calibration error"
    Parameters = CalibrationParameters
    parameters: CalibrationParameters
    higher_is_better = False
    columns = ("score", "confidence", "right", "outside")

    def measure(self, given: MetricInput) -> Score:
        scored = _label_scores(given, self.parameters.step)
        offsets = scored.get("offsets", {})
        shares = probabilities({label: value + offsets.get(label, 0.0) for label, value in scored["scores"].items()})
        expected = _expected_alternative(answer_type(given), given.expected, shares)
        brier = sum((share - (label == expected)) ** 2 for label, share in shares.items()) / 2
        predicted = max(shares, key=lambda label: shares[label])
        detail = {
            "probabilities": {label: round(share, 6) for label, share in shares.items()},
            "confidence": shares[predicted],
            "right": predicted == expected,
            "outside": list(scored.get("outside", ())),
        }
        return Score(min(brier, 1.0), detail)

    def wrong_expected(self, expected: Any) -> str | None:
        answer = self.context.answer
        return None if answer is None else reading_fault(lambda: answer.write(expected_of(answer, expected)))

    def numbers(self, score: Score) -> Sequence[float]:
        assert score.value is not None, "a missing score has no numbers"
        detail = score.detail
        return (
            score.value,
            detail.get("confidence", nan),
            detail.get("right", nan),
            float(bool(detail.get("outside"))),
        )

    def estimate(self, sample: Sample) -> Estimate:
        found = super().estimate(sample)
        known = ~np.isnan(sample.values[:, 1])
        if not known.any():
            return found
        confidence, right = sample.values[known, 1], sample.values[known, 2]
        bins = list(_bins(confidence, right))
        error = sum(part["n"] * abs(part["confidence"] - part["accuracy"]) for part in bins) / len(confidence)
        outside = float(sample.values[known, 3].mean())
        notes = [*found.notes, _NO_THRESHOLD]
        if outside > MOST_OUTSIDE:
            notes.append(
                f"in {outside:.0%} of the cells some labels have no probability: they count as the least likely"
            )
        return replace(found, parts={"ece": error, "bins": bins}, notes=tuple(notes))


def _bins(confidence: NDArray[np.float64], right: NDArray[np.float64]) -> Iterator[dict[str, float]]:
    """Yield bins with equal numbers of cells, from the least confident to the most."""
    order = np.argsort(confidence, kind="stable")
    for chosen in np.array_split(order, min(BINS, len(order))):
        yield {
            "confidence": float(confidence[chosen].mean()),
            "accuracy": float(right[chosen].mean()),
            "n": len(chosen),
        }


def _label_scores(given: MetricInput, step: str | None) -> Mapping[str, Any]:
    """Return the scores of the step that scored labels. Raises ValueError unless there is exactly one."""
    found = {name: extra for name, extra in _scored_nodes(given.cell.trace, "") if step is None or name == step}
    if len(found) == 1:
        return next(iter(found.values()))
    if found:
        raise ValueError(f"several steps have probabilities ({', '.join(found)}): choose one by `step`")
    of = f"the step `{step}`" if step else "the trace"
    raise ValueError(f"{of} has no probabilities of labels: they come from `decide: score`")


def _scored_nodes(node: Mapping[str, Any], path: str) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Yield the path of each node below that decided by its labels' probabilities, with its trace extras.

    A vote is left out: it has probabilities of one sample, but did not decide by them.
    """
    for part in node.get("parts", ()):
        name = part["name"] if part["kind"] != "step" else f"{path}.{part['name']}".lstrip(".")
        extra = part.get("extra", {})
        if "scores" in extra and "votes" not in extra:
            yield name, extra
        yield from _scored_nodes(part, path if part["kind"] == "pipeline" else name)


def _expected_alternative(answer: AnswerType | None, expected: Any, shares: Mapping[str, float]) -> str:
    """Return the scored alternative that is the expected answer. Raises ValueError where none is."""
    text = scalar_text(expected) if answer is None else answer.write(expected_of(answer, expected))
    folded = "" if text is None else text.strip().casefold()
    alike = [label for label in shares if label == text] or [label for label in shares if label.casefold() == folded]
    if len(alike) != 1:
        raise ValueError(f"the expected answer {shown_value(expected)} is not one of the labels {', '.join(shares)}")
    return alike[0]
