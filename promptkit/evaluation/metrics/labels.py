"""One label a row: accuracy, balanced accuracy and F1, each with what holds for each class and a confusion matrix."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import BeforeValidator

from promptkit.answers import AnswerType
from promptkit.engine import Closed
from promptkit.errors import InputError, nearest
from promptkit.evaluation.metrics.base import Around, Difference, Estimate, Given, Metric, Sample, Score
from promptkit.evaluation.metrics.families import (
    FEW,
    NOTHING_SCORED,
    Proportion,
    binary_difference,
    bounded,
    from_mean,
    told,
)
from promptkit.evaluation.metrics.values import (
    declared_labels,
    expected_of,
    fault,
    label_of,
    scalar_text,
    shown,
    shown_label,
)

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from promptkit.evaluation.statistics import Mean

_FLAGS = {"unparsed": -1, "truncated": -2}
MOST_CLASSES = 100
MOST_OTHERS = 20
OTHERS = "(other labels)"


@dataclass(frozen=True, slots=True)
class Codes:
    """The labels of a sample as codes, (cells,): classes are numbered from 0 in the order of `classes`.

    `classes` are the labels that some row expects. Of `predicted`, labels that are no class follow in `others`; an
    unparsed answer is -1, a cut-off one -2.
    """

    expected: NDArray[np.int64]
    predicted: NDArray[np.int64]
    classes: tuple[str, ...]
    others: tuple[str, ...]

    @property
    def read(self) -> NDArray[np.int64]:
        """Predicted codes as statistics take them: -1 for all that is no label."""
        import numpy as np

        return np.maximum(self.predicted, -1)


class Labelled(Metric):
    """What metrics of one label a row share: a score of 0 or 1, the codes of both labels, and what is said by class.

    A predicted label that no row expects is wrong, and is shown.
    """

    columns = ("score", "expected", "predicted")

    def __init__(self, name: str, parameters: Any, around: Around) -> None:
        super().__init__(name, parameters, around)
        self.declared = declared_labels(around.answer)
        self._numbers: dict[str, int] = {}

    def measure(self, given: Given) -> Score:
        expected = expected_label(given.cell.answer, given.expected)
        return _scored(expected, shown_label(given.got))

    def unanswered(self, given: Given) -> Score:
        return _scored(expected_label(given.cell.answer, given.expected), f"({given.cell.flag})")

    def wrong_expected(self, expected: Any) -> str | None:
        return fault(lambda: expected_label(self.around.answer, expected))

    def numbers(self, score: Score) -> Sequence[float]:
        assert score.value is not None, "a missing score has no numbers"
        predicted = score.detail["predicted"]
        code = next((code for flag, code in _FLAGS.items() if predicted == f"({flag})"), None)
        return (score.value, self._number(score.detail["expected"]), self._number(predicted) if code is None else code)

    def codes(self, sample: Sample) -> Codes:
        """Return the labels of a sample, its classes in the order of the answer's type, then of the alphabet."""
        import numpy as np

        expected, predicted = (sample.values[:, column].astype(np.int64) for column in (1, 2))
        names = list(self._numbers)
        present = {names[number] for number in np.unique(expected)}
        seen = {names[number] for number in np.unique(predicted[predicted >= 0])}
        classes = (*(name for name in self.declared if name in present), *sorted(present - set(self.declared)))
        others = tuple(sorted(seen - present))
        # The two last places are what -1 and -2 stand for.
        places = np.full(len(names) + 2, -1)
        places[-2] = -2
        for code, name in enumerate((*classes, *others)):
            places[self._numbers[name]] = code
        return Codes(places[expected], places[predicted], classes, others)

    def by_class(self, sample: Sample, codes: Codes) -> dict[str, Any]:
        """Return precision, recall and F1 of each class with intervals, and the confusion matrix."""
        import numpy as np

        from promptkit.evaluation.statistics import precision_recall

        counts = np.bincount(codes.expected, minlength=len(codes.classes))
        most = np.sort(np.argsort(-counts, kind="stable")[:MOST_CLASSES])
        classes: dict[str, dict[str, Any]] = {}
        for code in most:
            found = precision_recall(codes.expected, codes.read, int(code), sample.clusters)
            parts = {"precision": found.precision, "recall": found.recall, "f1": found.f1}
            classes[codes.classes[code]] = {"n": int(counts[code])} | _flat(parts)
        return {"classes": classes, "confusion": _confusion(codes, most)}

    def notes(self, codes: Codes) -> tuple[str, ...]:
        """Return which labels no row expects."""
        absent = [name for name in self.declared if name not in codes.classes]
        return (f"no row expects {', '.join(absent)}: left out",) if absent else ()

    def _number(self, label: str) -> int:
        return self._numbers.setdefault(label, len(self._numbers))


class Label(Labelled, Proportion):
    """The share of rows with the expected label."""

    kind = "label"
    about = "accuracy over labels, with precision and recall of each and a confusion matrix"

    def estimate(self, sample: Sample) -> Estimate:
        found = bounded(sample, (0.0, 1.0), binary=True)
        return replace(found, parts=self.by_class(sample, self.codes(sample))) if len(sample) else found


class BalancedAccuracy(Labelled):
    """The mean of the classes' recall: each class counts the same, however many rows it has."""

    kind = "balanced_accuracy"
    about = "the mean of each class's recall"
    is_mean = False

    def estimate(self, sample: Sample) -> Estimate:
        from promptkit.evaluation.statistics import balanced_accuracy

        if not len(sample):
            return NOTHING_SCORED
        codes = self.codes(sample)
        found = balanced_accuracy(codes.expected, codes.read, sample.clusters)
        notes = self.notes(codes) + _few(codes)
        return from_mean(found, parts=self.by_class(sample, codes), notes=notes)

    def difference(self, a: Sample, b: Sample, *, level: float = 0.95) -> Difference | None:
        from promptkit.evaluation.statistics import balanced_accuracy_difference

        if not len(a):
            return None
        mine, theirs = self.codes(a), self.codes(b)
        found = balanced_accuracy_difference(mine.expected, mine.read, theirs.read, a.clusters, level=level, seed=0)
        return told(found, self.higher_is_better, notes=_few(mine))


def _averaged(value: Any) -> Any:
    text = scalar_text(value)
    return value if text is None else text


class F1Parameters(Closed):
    """`macro`, the mean of the classes' F1; `micro`, which is accuracy with one label a row; or one class."""

    average: Annotated[str, BeforeValidator(_averaged)] = "macro"


class F1(Labelled):
    """F1 over labels: of all classes, each counting the same, or of one class."""

    kind = "f1"
    about = "F1 over labels: macro, micro, or of one class"
    Parameters = F1Parameters
    short = "average"
    parameters: F1Parameters

    def __init__(self, name: str, parameters: F1Parameters, around: Around) -> None:
        super().__init__(name, parameters, around)
        self.is_mean = parameters.average == "micro"
        known = ("macro", "micro", *self.declared)
        if self.declared and parameters.average not in known:
            raise InputError(
                f"`average` is macro, micro or a label, not `{parameters.average}`",
                hint=nearest(parameters.average, known),
            )

    def estimate(self, sample: Sample) -> Estimate:
        from promptkit.evaluation.statistics import f1, macro_f1

        if not len(sample):
            return NOTHING_SCORED
        codes, average = self.codes(sample), self.parameters.average
        parts = self.by_class(sample, codes)
        if average == "micro":
            return replace(bounded(sample, (0.0, 1.0), binary=True), parts=parts)
        if average == "macro":
            found: Mean | None = macro_f1(codes.expected, codes.read, sample.clusters)
            return from_mean(found, parts=parts, notes=self.notes(codes) + _few(codes))
        right, extra, missing = self._counts(codes).T
        found = f1(right, extra, missing, sample.clusters)
        notes = () if found else (f"no row expects {average}, and none has it as an answer: F1 is undefined",)
        return from_mean(found, parts=parts, notes=notes)

    def difference(self, a: Sample, b: Sample, *, level: float = 0.95) -> Difference | None:
        from promptkit.evaluation.statistics import f1_difference, macro_f1_difference

        if not len(a):
            return None
        mine, theirs, average = self.codes(a), self.codes(b), self.parameters.average
        if average == "micro":
            return binary_difference(a, b, self.higher_is_better, level)
        if average == "macro":
            found = macro_f1_difference(mine.expected, mine.read, theirs.read, a.clusters, level=level, seed=0)
            return told(found, self.higher_is_better, notes=_few(mine))
        of_class = f1_difference(self._counts(mine), self._counts(theirs), a.clusters, level=level, seed=0)
        return told(of_class, self.higher_is_better) if of_class else None

    def _counts(self, codes: Codes) -> NDArray[np.float64]:
        """Return whether each cell has the class rightly, wrongly, and wrongly not: (cells, 3)."""
        import numpy as np

        names = (*codes.classes, *codes.others)
        code = names.index(self.parameters.average) if self.parameters.average in names else len(names)
        wanted, got = codes.expected == code, codes.predicted == code
        return np.stack([wanted & got, got & ~wanted, wanted & ~got], axis=1).astype(np.float64)


def expected_label(answer: AnswerType | None, expected: Any) -> str:
    """Return an expected label as metrics compare it. Raises ValueError for what can be none."""
    label = label_of(expected_of(answer, expected))
    if label is None:
        raise ValueError(f"{shown(expected)} is no label")
    return label


def _scored(expected: str, predicted: str) -> Score:
    return Score(float(expected == predicted), {"expected": expected, "predicted": predicted})


def _few(codes: Codes) -> tuple[str, ...]:
    """Return which classes have too few rows for an interval that holds what it says."""
    import numpy as np

    counts = np.bincount(codes.expected, minlength=len(codes.classes))
    few = [f"{name} {count}" for name, count in zip(codes.classes, counts, strict=True) if count < FEW]
    told = ", ".join(few[:MOST_OTHERS]) + (", …" if len(few) > MOST_OTHERS else "")
    return (f"few rows of a class make the interval too narrow: {told}",) if few else ()


def _flat(parts: dict[str, Mean | None]) -> dict[str, float | None]:
    """Return each part with its limits beside it: `recall`, `recall_low`, `recall_high`."""
    flat: dict[str, float | None] = {}
    for name, mean in parts.items():
        low, high = (mean.low, mean.high) if mean else (None, None)
        flat |= {name: mean.mean if mean else None, f"{name}_low": low, f"{name}_high": high}
    return flat


def _confusion(codes: Codes, most: NDArray[np.int64]) -> dict[str, dict[str, int]]:
    """Return how often each expected label got each predicted one; rare labels that are no class count together."""
    import numpy as np

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
