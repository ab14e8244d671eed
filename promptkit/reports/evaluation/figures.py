"""Values of metrics, differences and p values, in no more digits than their intervals support."""

from __future__ import annotations

from collections.abc import Iterable
from decimal import ROUND_HALF_UP, Decimal
from math import ceil, log10

from promptkit.evaluation.record import DifferenceRecord, MetricRecord
from promptkit.evaluation.verdicts import Verdict
from promptkit.evaluation.verdicts import verdict_of as interval_verdict

NONE = "–"
MOST_DECIMALS = 6
LEAST_P = 0.001
"""The smallest p value that is written as a number."""

PERCENTAGE_KINDS = frozenset(
    [
        "exact",
        "normalized",
        "regex",
        "contains",
        "number",
        "label",
        "balanced_accuracy",
        "json",
        "schema",
        "code",
        "table",
        "tool_calls",
        "length",
        "format",
        "pass_at",
        "pass_all",
        "pairwise",
        "human",
        "assert",
    ]
)
"""Kinds of metrics whose scores, where they lie between 0 and 1, are shares and shown in percent."""

SECONDS_KINDS = ("latency", "first_token")


def metric_text(metric: MetricRecord, decimals: int | None = None) -> str:
    """Return a mean with its interval: `84 % [78, 88]`, `0.431 s [0.420, 0.450]`, `–`.

    `decimals` are those of its neighbours; left out, as many as its own interval supports.
    """
    return " ".join(filter(None, metric_parts(metric, decimals)))


def metric_parts(metric: MetricRecord, decimals: int | None = None) -> tuple[str, str]:
    """Return a mean and its interval as two texts."""
    if metric.mean is None:
        return NONE, ""
    factor, unit = _scale(metric)
    places = metric_decimals([metric]) if decimals is None else decimals
    value = number_text(metric.mean * factor, places) + unit
    known = metric.low is not None or metric.high is not None
    return value, _interval(metric.low, metric.high, factor, places) if known else ""


def metric_decimals(metrics: Iterable[MetricRecord]) -> int:
    """Return the number of decimals that the narrowest interval of the metrics supports, in the unit that is shown."""
    found = [
        decimals_of(*_scaled((metric.mean, metric.low, metric.high), _scale(metric)[0]))
        for metric in metrics
        if metric.mean is not None
    ]
    return max(found, default=0)


def decimals_of(value: float | None, low: float | None, high: float | None) -> int:
    """Return the number of decimals that an interval supports: its half is at least two units of the last one."""
    known = [number for number in (value, low, high) if number is not None]
    if all(number == int(number) for number in known):
        return 0
    half = abs(high - low) / 2 if low is not None and high is not None else 0.0
    unit = half / 2 or abs(known[0]) / 100 or 1.0
    return min(MOST_DECIMALS, max(0, ceil(-log10(unit))))


def number_text(value: float | None, decimals: int, *, sign: bool = False) -> str:
    """Return a number with a true minus; what rounds to 0 has no sign."""
    if value is None:
        return NONE
    text = f"{Decimal(repr(abs(float(value)))).quantize(Decimal(1).scaleb(-decimals), ROUND_HALF_UP):f}"
    if not float(text):
        return text
    return ("−" if value < 0 else "+" if sign else "") + text


def p_text(p: float | None) -> str:
    """Return a p value: two digits, `<0.001` below."""
    if p is None:
        return NONE
    if p < LEAST_P:
        return f"<{LEAST_P}"
    return f"{p:.3f}" if p < 0.1 else f"{p:.2f}"


def is_percentage(metric: MetricRecord) -> bool:
    """Tell whether a metric is shown in percent, and its differences in points."""
    return metric.kind in PERCENTAGE_KINDS and list(metric.bounds or ()) == [0, 1]


def difference_unit(metric: MetricRecord, difference: DifferenceRecord | None = None) -> str:
    """Return the unit of a metric's difference: `points`, `ratio`, `seconds`, or nothing."""
    if difference is not None and difference.is_ratio:
        return "ratio"
    return "points" if is_percentage(metric) else "seconds" if metric.kind in SECONDS_KINDS else ""


def difference_parts(
    metric: MetricRecord, difference: DifferenceRecord, decimals: int | None = None
) -> tuple[str, str]:
    """Return a difference and its interval: `+2` and `[−3, +7]` points, `×1.31` and `[1.28, 1.34]`."""
    value, low, high = _scaled_difference(metric, difference)
    if value is None:
        return NONE, ""
    ratio = difference.is_ratio
    places = difference_decimals(metric, [difference]) if decimals is None else decimals
    text = ("×" if ratio else "") + number_text(value, places, sign=not ratio)
    return text, "" if low is None and high is None else _interval(low, high, 1, places, sign=not ratio)


def difference_decimals(metric: MetricRecord, differences: Iterable[DifferenceRecord]) -> int:
    """Return the number of decimals that the narrowest interval of the differences supports; of ratios 2 or 3.

    There are more where an interval that excludes "no difference" would otherwise seem to end there.
    """
    found = [_decimals(metric, difference) for difference in differences if difference.difference is not None]
    return max(found, default=0)


def _decimals(metric: MetricRecord, difference: DifferenceRecord) -> int:
    value, low, high = _scaled_difference(metric, difference)
    decimals = decimals_of(value, low, high)
    decimals = min(max(2, decimals), 3) if difference.is_ratio else decimals
    null = _null(difference)
    for end in (low, high):
        while end is not None and end != null and decimals < MOST_DECIMALS and _rounds_to(end, decimals, null):
            decimals += 1
    return decimals


def _rounds_to(end: float, decimals: int, value: float) -> bool:
    return float(number_text(end, decimals).replace("−", "-")) == value


def _null(difference: DifferenceRecord) -> float:
    """Return the value that means no difference."""
    return 1.0 if difference.is_ratio else 0.0


def verdict_of(metric: MetricRecord, difference: DifferenceRecord) -> Verdict | None:
    """Return the verdict of an interval on `a` against `b`; None without an interval."""
    return interval_verdict(
        difference.low,
        difference.high,
        higher_is_better=metric.higher_is_better,
        is_ratio=difference.is_ratio,
        margin=difference.margin,
    )


def excludes_null(difference: DifferenceRecord) -> bool:
    """Tell whether an interval excludes the value that means no difference."""
    low, high = difference.low, difference.high
    return low is not None and high is not None and not low <= _null(difference) <= high


def _scaled_difference(
    metric: MetricRecord, difference: DifferenceRecord
) -> tuple[float | None, float | None, float | None]:
    factor = 100 if is_percentage(metric) and not difference.is_ratio else 1
    return _scaled((difference.difference, difference.low, difference.high), factor)


def _scaled(
    values: tuple[float | None, float | None, float | None], factor: float
) -> tuple[float | None, float | None, float | None]:
    value, low, high = (None if number is None else number * factor for number in values)
    return value, low, high


def _interval(low: float | None, high: float | None, factor: float, decimals: int, *, sign: bool = False) -> str:
    ends = (number_text(None if end is None else end * factor, decimals, sign=sign) for end in (low, high))
    return f"[{', '.join(ends)}]"


def _scale(metric: MetricRecord) -> tuple[float, str]:
    if is_percentage(metric):
        return 100.0, " %"
    return 1.0, " s" if metric.kind in SECONDS_KINDS else ""
