"""Whether a model's probabilities of labels can be believed: Brier's score, and the expected calibration error."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from math import nan
from typing import TYPE_CHECKING, Any

from promptkit.answers import AnswerType, probabilities
from promptkit.engine import Closed
from promptkit.evaluation.metrics.base import Estimate, Given, Sample, Score
from promptkit.evaluation.metrics.families import Graded
from promptkit.evaluation.metrics.values import answer_type, expected_of, fault, scalar_text, shown

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

BINS = 15
MOST_OUTSIDE = 0.05
_NO_GATE = "the calibration error of few rows is too high by itself: hold thresholds against the Brier score"


class CalibrationParameters(Closed):
    """`step` names the step whose probabilities are meant, where several have some."""

    step: str | None = None


class Calibration(Graded):
    """Brier's score of the labels' probabilities (Brier 1950), halved so that two labels give (p − y)²: 0 is best.

    `parts` have the expected calibration error in 15 bins of equal size (Naeini et al. 2015), without an interval:
    binned, it is too high for few rows (Kumar et al. 2019). Probabilities are those that `decide: score` decides by,
    `calibrate` included; a cell without any is missing.
    """

    kind = "calibration"
    about = "Brier score of the labels' probabilities (lower is better), with the calibration error"
    Parameters = CalibrationParameters
    parameters: CalibrationParameters
    higher_is_better = False
    columns = ("score", "confidence", "right", "outside")

    def measure(self, given: Given) -> Score:
        said = _said(given, self.parameters.step)
        offsets = said.get("offsets", {})
        shares = probabilities({label: value + offsets.get(label, 0.0) for label, value in said["scores"].items()})
        expected = _written(answer_type(given), given.expected, shares)
        brier = sum((share - (label == expected)) ** 2 for label, share in shares.items()) / 2
        predicted = max(shares, key=lambda label: shares[label])
        told = {
            "probabilities": {label: round(share, 6) for label, share in shares.items()},
            "confidence": shares[predicted],
            "right": predicted == expected,
            "outside": list(said.get("outside", ())),
        }
        return Score(min(brier, 1.0), told)

    def wrong_expected(self, expected: Any) -> str | None:
        answer = self.around.answer
        return None if answer is None else fault(lambda: answer.write(expected_of(answer, expected)))

    def numbers(self, score: Score) -> Sequence[float]:
        assert score.value is not None, "a missing score has no numbers"
        told = score.detail
        return (score.value, told.get("confidence", nan), told.get("right", nan), float(bool(told.get("outside"))))

    def estimate(self, sample: Sample) -> Estimate:
        import numpy as np

        found = super().estimate(sample)
        known = ~np.isnan(sample.values[:, 1])
        if not known.any():
            return found
        confidence, right = sample.values[known, 1], sample.values[known, 2]
        bins = list(_bins(confidence, right))
        error = sum(each["n"] * abs(each["confidence"] - each["accuracy"]) for each in bins) / len(confidence)
        outside = float(sample.values[known, 3].mean())
        notes = [*found.notes, _NO_GATE]
        if outside > MOST_OUTSIDE:
            notes.append(f"in {outside:.0%} of the cells the model did not show all labels: those count as its last")
        return replace(found, parts={"ece": error, "bins": bins}, notes=tuple(notes))


def _bins(confidence: NDArray[np.float64], right: NDArray[np.float64]) -> Iterator[dict[str, float]]:
    """Yield bins of equally many cells, from the least confident to the most."""
    import numpy as np

    order = np.argsort(confidence, kind="stable")
    for chosen in np.array_split(order, min(BINS, len(order))):
        yield {
            "confidence": float(confidence[chosen].mean()),
            "accuracy": float(right[chosen].mean()),
            "n": len(chosen),
        }


def _said(given: Given, step: str | None) -> Mapping[str, Any]:
    """Return what the step that scored labels says beside its answer. Raises ValueError where it is not one step."""
    found = {name: extra for name, extra in _scored(given.cell.trace(), "") if step is None or name == step}
    if len(found) == 1:
        return next(iter(found.values()))
    if found:
        raise ValueError(f"several steps have probabilities ({', '.join(found)}): name one by `step`")
    of = f"the step `{step}`" if step else "the trace"
    raise ValueError(f"{of} has no probabilities of labels: they come from `decide: score`")


def _scored(node: Mapping[str, Any], path: str) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Yield the path of each node below that decided by its labels' probabilities, with what it says.

    A vote has those of one sample, by which it did not decide.
    """
    for part in node.get("parts", ()):
        name = part["name"] if part["kind"] != "step" else f"{path}.{part['name']}".lstrip(".")
        extra = part.get("extra", {})
        if "scores" in extra and "votes" not in extra:
            yield name, extra
        yield from _scored(part, path if part["kind"] == "pipeline" else name)


def _written(answer: AnswerType | None, expected: Any, shares: Mapping[str, float]) -> str:
    """Return the expected answer as the scored alternatives are written. Raises ValueError for one that is none."""
    text = scalar_text(expected) if answer is None else answer.write(expected_of(answer, expected))
    folded = "" if text is None else text.strip().casefold()
    alike = [label for label in shares if label == text] or [label for label in shares if label.casefold() == folded]
    if len(alike) != 1:
        raise ValueError(f"the expected answer {shown(expected)} is none of the labels {', '.join(shares)}")
    return alike[0]
