"""Offsets that correct `score` for a model's bias towards labels, and their estimation.

Offsets belong to a model. `model: REFERENCE` beside them names the model they were estimated on, as the last line of a
run shows it (`embedded/smollm2`). On any other model they are not applied, and a notice says so. Without `model` they
are always applied.

Labels are compared by s(y|x) = log p(y|x) + offset(y), with offset(y) = log π(y) - log b(y): b is the model's mean
probability of a label, π the label's share. All functions are pure. A *row* holds the log-probability of each label for
one input, as `score_answer` returns it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from promptkit.answers.closed_sets import check_known
from promptkit.errors import InputError, nearest
from promptkit.runtimes.references import parse_reference

LabelScores: TypeAlias = Mapping[str, float]
_SMALLEST = 1e-12
_KEYS = ("method", "model", "offsets")


METHODS = ("batch", "quantile", "labelled")
"""How offsets were estimated: batch calibration with the labels' shares (Zhou et al. 2024), the threshold of two labels
at the quantile of the first one's share, or the offsets of the best accuracy on labelled rows."""

NEVER_ESTIMATED = ("contextual", "domain_context")
"""Methods that earlier versions accepted, and that nothing estimated offsets by."""


@dataclass(frozen=True, slots=True)
class Calibration:
    """Fixed offsets by written alternative; a label without one has 0. `model` is the model they belong to, None for
    any.
    """

    method: str
    offsets: Mapping[str, float] = field(default_factory=dict)
    model: str | None = None

    def holds_for(self, reference: str) -> bool:
        """Return True where the offsets belong to the model of this reference."""
        return self.model is None or self.model == reference

    def corrected(self, row: LabelScores) -> dict[str, float]:
        """Return the row's log-probabilities with the offsets added."""
        return {label: value + self.offsets.get(label, 0.0) for label, value in row.items()}


def read_calibration(spec: Any, alternatives: Sequence[str]) -> Calibration:
    """Return the calibration of a file's `calibrate:`. Raises InputError with everything that is wrong.

    Missing offsets are an error: offsets estimated in a run would make an answer depend on the other rows.
    """
    faults = check_calibration(spec, alternatives)
    if not faults and not spec.get("offsets"):
        faults = [f"calibrate: the method `{spec.get('method')}` has no offsets yet; `tune` writes them"]
    if faults:
        raise InputError("\n".join(faults))
    offsets = {str(label): float(value) for label, value in spec["offsets"].items()}
    return Calibration(spec["method"], offsets, spec.get("model"))


def check_calibration(spec: Any, alternatives: Sequence[str] = ()) -> list[str]:
    """Return the problems of a `calibrate:`. Labels are checked where the alternatives are known."""
    if not isinstance(spec, Mapping):
        return ["calibrate must be a mapping with `method` and `offsets`"]
    faults = []
    for key in spec.keys() - set(_KEYS):
        hint = nearest(str(key), _KEYS)
        faults.append(f"calibrate: unknown key `{key}`; {hint}")
    method = spec.get("method")
    if method in NEVER_ESTIMATED:
        faults.append(
            f"calibrate: the method `{method}` is gone; `promptkit tune` finds offsets by {', '.join(METHODS)}"
        )
    elif method not in METHODS:
        faults.append(f"calibrate: no method `{method}`; {nearest(str(method), METHODS)}")
    faults.extend(_reference_faults(spec.get("model")))
    offsets = spec.get("offsets") or {}
    if not isinstance(offsets, Mapping):
        return [*faults, "calibrate: `offsets` must be a mapping of label to number"]
    for label, value in offsets.items():
        if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
            faults.append(f"calibrate: the offset of `{label}` must be a number, not {value!r}")
        if alternatives:
            try:
                check_known(str(label), alternatives, "label")
            except ValueError as error:
                faults.append(f"calibrate: {error}")
    return faults


def _reference_faults(reference: Any) -> list[str]:
    """Return the problems of the model reference of offsets."""
    if reference is None:
        return []
    try:
        parse_reference(str(reference))
    except InputError as error:
        return [f"calibrate: {problem.message}" for problem in error.problems]
    return []


def probabilities(row: LabelScores) -> dict[str, float]:
    """Return the softmax over the labels of a row."""
    highest = max(row.values())
    weights = {label: math.exp(value - highest) for label, value in row.items()}
    total = sum(weights.values())
    return {label: weight / total for label, weight in weights.items()}


def best_label(row: LabelScores) -> str:
    """Return the label with the highest value, the first of equal ones."""
    return max(row, key=lambda label: row[label])


def label_shares(labels: Sequence[str], alternatives: Sequence[str]) -> dict[str, float]:
    """Return the share of each alternative among the labels, with one added to each count."""
    counts = {label: 1 + sum(1 for other in labels if other == label) for label in alternatives}
    total = sum(counts.values())
    return {label: count / total for label, count in counts.items()}


def mean_offsets(rows: Sequence[LabelScores], shares: Mapping[str, float] | None = None) -> dict[str, float]:
    """Return log π(y) - log b(y), where b is the mean of p(y|x) over the rows and π the shares, uniform by default.

    Over the rows of the task this is batch calibration (Zhou et al. 2024). The offsets have mean 0, which changes no
    answer.
    """
    shares_by_row = [probabilities(row) for row in rows]
    raw = {}
    for label in shares_by_row[0]:
        bias = sum(row[label] for row in shares_by_row) / len(rows)
        share = shares[label] if shares else 1.0
        raw[label] = math.log(max(share, _SMALLEST)) - math.log(max(bias, _SMALLEST))
    return _centred(raw)


def quantile_offsets(rows: Sequence[LabelScores], share: float = 0.5) -> dict[str, float]:
    """Return offsets of two labels with which the first one wins on `share` of the rows."""
    first, second = rows[0]
    odds = sorted((row[first] - row[second] for row in rows), reverse=True)
    place = min(max(round(share * len(odds)), 0), len(odds))
    above = odds[place - 1] if place else odds[0] + 2.0
    below = odds[place] if place < len(odds) else odds[-1] - 2.0
    threshold = (above + below) / 2
    return {first: -threshold / 2, second: threshold / 2}


def labelled_offsets(rows: Sequence[LabelScores], labels: Sequence[str], *, rounds: int = 3) -> dict[str, float]:
    """Return the offsets with the best accuracy on labelled rows, by coordinate ascent over the labels.

    Of equally good thresholds it takes the middle of the widest gap. It overfits under 50 rows.
    """
    offsets = dict.fromkeys(rows[0], 0.0)
    for _ in range(rounds):
        before = dict(offsets)
        for label in list(offsets)[1:]:
            offsets[label] = _best_offset(rows, labels, offsets, label)
        if offsets == before:
            break
    return _centred(offsets)


def _best_offset(rows: Sequence[LabelScores], labels: Sequence[str], offsets: LabelScores, label: str) -> float:
    """Return the offset of one label that gives the most right answers, with the others fixed."""
    # A row is given `label` above its margin, so right answers change only there.
    gains: list[tuple[float, int]] = []
    for row, gold in zip(rows, labels, strict=True):
        others = {other: row[other] + offsets[other] for other in offsets if other != label}
        rival = best_label(others)
        margin = others[rival] - row[label]
        gains.append((margin, (gold == label) - (gold == rival)))
    gains.sort()
    right, most = 0, 0
    places = [(-math.inf, gains[0][0])]
    for number, (margin, gain) in enumerate(gains):
        right += gain
        above = gains[number + 1][0] if number + 1 < len(gains) else math.inf
        if above == margin:
            continue
        if right > most:
            most, places = right, []
        if right == most:
            places.append((margin, above))
    low, high = max(places, key=lambda gap: min(gap[1] - gap[0], 2.0))
    if math.isinf(low):
        return high - 1.0
    return low + 1.0 if math.isinf(high) else (low + high) / 2


def _centred(offsets: Mapping[str, float]) -> dict[str, float]:
    mean = sum(offsets.values()) / len(offsets)
    return {label: round(value - mean, 6) for label, value in offsets.items()}
