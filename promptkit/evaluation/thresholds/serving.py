"""Thresholds on serving: `serving.first_token_p95@16` is a figure's 95th percentile at 16 concurrent requests."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from promptkit.errors import nearest
from promptkit.evaluation.record import ServingFigure, ServingRecord, ThresholdRecord
from promptkit.evaluation.serving.figures import FIGURES
from promptkit.evaluation.serving.spec import ServingSpec
from promptkit.evaluation.suite.suite import Suite, Threshold
from promptkit.evaluation.thresholds.check import LIMITED, ThresholdResult

PREFIX = "serving."
P95 = "_p95"
ENDS = ("at_least", "at_most")
_NAME = re.compile(r"serving\.(?P<figure>\w+?)(?P<p95>_p95)?(?:@(?P<concurrency>[1-9]\d{0,3}))?")


class BoundFigure(NamedTuple):
    """The figure that a threshold is on; `concurrency` is None for the first that is measured."""

    figure: str
    is_p95: bool
    concurrency: int | None


def of_serving(name: str) -> bool:
    """Tell whether a threshold's name means a figure of serving."""
    return name.startswith(PREFIX)


def bound_figure(name: str) -> BoundFigure | None:
    """Return the figure that a threshold's name means, None where there is none."""
    found = _NAME.fullmatch(name)
    if found is None or found["figure"] not in FIGURES or (found["p95"] and not FIGURES[found["figure"]].has_p95):
        return None
    concurrency = found["concurrency"]
    return BoundFigure(found["figure"], bool(found["p95"]), int(concurrency) if concurrency else None)


def serving_problems(
    name: str, bounds: Mapping[str, Any], serving: ServingSpec | None
) -> Iterator[tuple[str, str, str | None]]:
    """Yield the keys of a threshold on serving that are wrong, each with a message and a hint.

    `serving` says how the suite measures it, None: it does not.
    """
    bound = bound_figure(name)
    if bound is None:
        known = [PREFIX + figure for figure in FIGURES]
        known += [PREFIX + figure + P95 for figure, kind in FIGURES.items() if kind.has_p95]
        yield "", f"`{name}` is not a figure of serving", nearest(name.partition("@")[0], known)
    for key in bounds:
        if key not in ENDS:
            yield key, f"`{key}` cannot be on serving, which is measured anew in each run", "at_least or at_most"
    if serving is None:
        yield "", f"`{name}` is not measured: the suite has no `serving:`", "serving: [1]"
    elif bound is not None and bound.concurrency not in (None, *serving.concurrency):
        measured = ", ".join(map(str, serving.concurrency))
        yield "", f"`{name}` is not measured: `serving` has {measured} concurrent requests", None


def check_serving_thresholds(suite: Suite, serving: ServingRecord | None, *, limited: bool) -> list[ThresholdRecord]:
    """Return the results of a suite's thresholds on serving, which apply to its first variant."""
    variant = suite.baseline.name
    return [
        ThresholdRecord(
            metric=threshold.name,
            variant=variant,
            kind=kind,
            wanted=threshold.bounds[kind],
            shown=result.shown,
            passed=result.passed,
            missing=0,
            says=f"{threshold.name}: {result.says}",
            rows=[],
        )
        for threshold in suite.serving_thresholds
        for kind in ENDS
        if kind in threshold.bounds
        for result in [_result(threshold, kind, variant, serving, limited=limited)]
    ]


def _result(
    threshold: Threshold, kind: str, variant: str, serving: ServingRecord | None, *, limited: bool
) -> ThresholdResult:
    bound = bound_figure(threshold.name)
    assert bound is not None, "the reader allows figures alone"
    if limited:
        return ThresholdResult(passed=None, says=LIMITED)
    if serving is None:
        return ThresholdResult(passed=None, says="not judged, since serving was not measured")
    concurrency = bound.concurrency or serving.concurrency[0]
    level = serving.level(variant, concurrency)
    if level is None:
        return ThresholdResult(
            passed=None, says=f"not judged, since {concurrency} concurrent requests were not measured"
        )
    limit = float(threshold.bounds[kind])
    demand = f"{kind.replace('_', ' ')} {limit:g} is required at {concurrency} concurrent"
    if level.errors:
        return ThresholdResult(passed=False, says=f"{demand}, but {level.errors} of {level.rows} rows failed")
    value, end = _measured(level.figures[bound.figure], bound, kind)
    if value is None:
        return ThresholdResult(passed=False, says=f"{demand}, but {level.figures[bound.figure].lack}")
    if end is None:
        return ThresholdResult(passed=False, says=f"{demand}, but there are too few rows for a limit of {value:.4g}")
    passed = end >= limit if kind == "at_least" else end <= limit
    sign = "≥" if kind == "at_least" else "≤"
    shown = f"{serving.rounds} rounds {'show' if passed else 'only show'} {sign} {end:.4g} ({value:.4g} observed)"
    return ThresholdResult(passed=passed, shown=end, says=f"{demand}{';' if passed else ', but'} {shown}")


def _measured(figure: ServingFigure, bound: BoundFigure, kind: str) -> tuple[float | None, float | None]:
    """Return a figure's value, and the end of its interval on the side of the limit."""
    if bound.is_p95:
        return figure.p95, figure.p95_low if kind == "at_least" else figure.p95_high
    return figure.value, figure.low if kind == "at_least" else figure.high
