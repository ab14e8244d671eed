"""The validity of a judge, beside its estimate: bias against labels, agreement within a jury, repeatability."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from promptkit.evaluation.metrics.base import Estimate, Sample
from promptkit.evaluation.metrics.estimation import finite
from promptkit.evaluation.statistics.agreement import alpha_with_interval
from promptkit.evaluation.statistics.interval import CONFIDENCE, normal_quantile, wilson
from promptkit.evaluation.statistics.paired import paired_graded

LEAST_AGREEMENT: Final = 0.4
"""The coefficient of agreement below which a judge and the labels fall apart ("fair" by Landis and Koch 1977)."""
ENOUGH_LABELS: Final = 20
"""Labels from which on such a note is given: fewer say too little."""
AGREEMENT: Final = "agreement with labels"
JUDGED: Final = "judged"
BIAS: Final = "bias against labels"


class JudgeColumns(NamedTuple):
    """The numbers of judged cells, (cells,): places of levels, tokens, NaN for none; `verdicts` are (cells, judges)."""

    level: NDArray[np.float64]
    label: NDArray[np.float64]
    tokens: NDArray[np.float64]
    again: NDArray[np.float64]
    verdicts: NDArray[np.float64]


def with_validity(
    found: Estimate,
    sample: Sample,
    columns: JudgeColumns,
    *,
    names: Sequence[str],
    bounds: tuple[float, float],
    jury: str,
) -> Estimate:
    """Return a judge's estimate with the parts and notes of its validity.

    `names` are the levels, `bounds` the scores of the worst and the best; `jury` names the verdicts of an answer
    (`judges`, `samples`).
    """
    parts, notes = dict(found.parts), list(found.notes)
    labelled = ~np.isnan(columns.label) & ~np.isnan(columns.level)
    if labelled.any():
        parts[BIAS] = _bias(sample, columns, labelled, names, bounds)
    if labelled.sum() >= ENOUGH_LABELS:
        notes += _doubts(found)
    if columns.verdicts.shape[1]:
        given = ~np.isnan(columns.verdicts)
        parts[f"agreement of {jury}"] = _jury_agreement(columns.verdicts, ordinal=len(names) > 2)
        if lacking := int((given.any(axis=1) & ~given.all(axis=1)).sum()):
            notes.append(f"in {lacking} answers not all {jury} gave a verdict: the score is the mean of the others")
    repeated = ~np.isnan(columns.again)
    if repeated.any():
        same = int((columns.again[repeated] == columns.level[repeated]).sum())
        parts["repeatability"] = _share(same, int(repeated.sum()))
    return replace(found, parts=parts, notes=tuple(notes))


def _bias(
    sample: Sample,
    columns: JudgeColumns,
    labelled: NDArray[np.bool_],
    names: Sequence[str],
    bounds: tuple[float, float],
) -> dict[str, Any]:
    """Return the mean of score minus label, of all labelled answers, by the label, and by the answer's length."""
    low, width = bounds[0], bounds[1] - bounds[0]
    scores, labels = (sample.scores - low) / width, columns.label / (len(names) - 1)

    def apart(chosen: NDArray[np.bool_]) -> dict[str, Any]:
        found = paired_graded(scores[chosen], labels[chosen], sample.clusters[chosen], seed=0)
        ends = (finite(end, width) for end in (found.difference, found.low, found.high))
        return {"n": int(chosen.sum()), **dict(zip(("mean", "low", "high"), ends, strict=True))}

    by_level = {name: labelled & (columns.label == place) for place, name in enumerate(names)}
    bias = {**apart(labelled), "by level": {name: apart(some) for name, some in by_level.items() if some.any()}}
    measured = labelled & ~np.isnan(columns.tokens)
    if measured.any():
        middle = np.median(columns.tokens[measured])
        is_long = columns.tokens > middle
        if not (measured & is_long).any():  # Most answers are of the largest length.
            is_long = columns.tokens >= middle
        halves = {"short": measured & ~is_long, "long": measured & is_long}
        if halves["short"].any():
            bias["by length"] = {name: apart(half) for name, half in halves.items()}
            bias["median tokens"] = float(middle)
    return bias


def _doubts(found: Estimate) -> list[str]:
    """Return the notes on a judge whose verdicts and labels fall apart."""
    notes = []
    agreement, judged = found.parts.get(AGREEMENT, {}), found.parts.get(JUDGED, {}).get("mean")
    value = agreement.get("value")
    if value is not None and value < LEAST_AGREEMENT:
        labels = f"{agreement['n']} labels"
        notes.append(f"the judge and the labels fall apart: {agreement['method']} {value:.2f} over {labels}")
    if None not in (judged, found.low, found.high) and not found.low <= judged <= found.high:
        notes.append(
            f"the judge's own mean {judged:.2f} lies outside the interval that labels give: "
            "do not trust its scores of single answers"
        )
    return notes


def _jury_agreement(verdicts: NDArray[np.float64], *, ordinal: bool) -> dict[str, Any]:
    """Return Krippendorff's alpha of a jury's levels with its bootstrap interval over answers, and the share of answers
    on which all agree.
    """
    several = verdicts[(~np.isnan(verdicts)).sum(axis=1) > 1]
    if not len(several):
        return {"n": 0}
    # The bootstrap draws answers by position: sorting makes it independent of their order.
    several = several[np.lexsort(several.T)]
    value, low, high = alpha_with_interval(several, ordinal=ordinal)
    unanimous = int((np.nanmin(several, axis=1) == np.nanmax(several, axis=1)).sum())
    return {
        **_share(unanimous, len(several)),
        "method": "Krippendorff's alpha",
        "value": finite(value),
        "low": finite(low),
        "high": finite(high),
    }


def _share(equal: int, n: int) -> dict[str, Any]:
    low, high = wilson(equal, n, z=normal_quantile(CONFIDENCE))
    return {"n": n, "equal": {"mean": equal / n, "low": low, "high": high}}
