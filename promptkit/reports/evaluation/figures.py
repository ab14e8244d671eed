"""A metric's value, a difference and a chance in no more digits than their intervals support."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from decimal import ROUND_HALF_UP, Decimal
from math import ceil, log10
from typing import Any, Literal

NONE = "–"
MOST_DECIMALS = 6
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
        "length",
        "format",
        "pass_at",
        "pass_all",
        "pairwise",
    ]
)
"""The kinds whose scores, where they lie between 0 and 1, are a share of something, and are shown in percent."""

Verdict = Literal["better", "worse", "not shown"]


def metric_text(metric: Mapping[str, Any], decimals: int | None = None) -> str:
    """Return a metric of a run's record with its interval: `84 % [78, 88]`, `0.431 s [0.420, 0.450]`, `–`.

    `decimals` are those that its neighbours have too; left out, as many as its own interval supports.
    """
    return " ".join(filter(None, metric_parts(metric, decimals)))


def metric_parts(metric: Mapping[str, Any], decimals: int | None = None) -> tuple[str, str]:
    """Return a metric's value and its interval apart."""
    mean, low, high = (metric.get(key) for key in ("mean", "low", "high"))
    if mean is None:
        return NONE, ""
    times, unit = _scale(metric)
    places = metric_decimals([metric]) if decimals is None else decimals
    value = number_text(mean * times, places) + unit
    return value, "" if low is None and high is None else _interval(low, high, times, places)


def metric_decimals(metrics: Iterable[Mapping[str, Any]]) -> int:
    """Return how many decimals the narrowest interval of some metrics supports, in the unit that is shown."""
    found = [
        decimals_of(*(None if metric.get(key) is None else metric[key] * _scale(metric)[0] for key in _KEYS))
        for metric in metrics
        if metric.get("mean") is not None
    ]
    return max(found, default=0)


_KEYS = ("mean", "low", "high")


def decimals_of(value: float | None, low: float | None, high: float | None) -> int:
    """Return how many decimals an interval supports: its half is at least two units of the last one."""
    known = [each for each in (value, low, high) if each is not None]
    if all(each == int(each) for each in known):
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
    if p < 0.001:
        return "<0.001"
    return f"{p:.3f}" if p < 0.1 else f"{p:.2f}"


def is_percentage(metric: Mapping[str, Any]) -> bool:
    """Tell whether a metric is shown in percent, and its differences in points."""
    return metric.get("kind") in PERCENTAGE_KINDS and list(metric.get("bounds") or ()) == [0, 1]


def difference_unit(metric: Mapping[str, Any], difference: Mapping[str, Any]) -> str:
    """Return what a difference of a metric is in: `points`, `ratio`, or nothing."""
    if difference.get("is_ratio"):
        return "ratio"
    return "points" if is_percentage(metric) else "seconds" if metric.get("kind") == "latency" else ""


def difference_parts(
    metric: Mapping[str, Any], difference: Mapping[str, Any], decimals: int | None = None
) -> tuple[str, str]:
    """Return a difference and its interval: `+2` and `[−3, +7]` points, `×1.31` and `[1.28, 1.34]`."""
    value, low, high = _scaled(metric, difference)
    if value is None:
        return NONE, ""
    ratio = bool(difference.get("is_ratio"))
    places = difference_decimals(metric, [difference]) if decimals is None else decimals
    said = ("×" if ratio else "") + number_text(value, places, sign=not ratio)
    return said, "" if low is None and high is None else _interval(low, high, 1, places, sign=not ratio)


def difference_decimals(metric: Mapping[str, Any], differences: Iterable[Mapping[str, Any]]) -> int:
    """Return how many decimals the narrowest interval of some differences by a metric supports; of ratios 2 or 3.

    They are more where an interval that leaves out "no difference" would else seem to end there.
    """
    found = [_decimals(metric, each) for each in differences if each.get("difference") is not None]
    return max(found, default=0)


def _decimals(metric: Mapping[str, Any], difference: Mapping[str, Any]) -> int:
    value, low, high = _scaled(metric, difference)
    ratio = bool(difference.get("is_ratio"))
    decimals = decimals_of(value, low, high)
    decimals = min(max(2, decimals), 3) if ratio else decimals
    none = number_text(1.0 if ratio else 0.0, 0)
    for end in (low, high):
        while end is not None and end != float(none) and decimals < MOST_DECIMALS and _rounds_to(end, decimals, none):
            decimals += 1
    return decimals


def _rounds_to(end: float, decimals: int, none: str) -> bool:
    return float(number_text(end, decimals).replace("−", "-")) == float(none)


def _scaled(metric: Mapping[str, Any], difference: Mapping[str, Any]) -> list[float | None]:
    times = 100 if is_percentage(metric) and not difference.get("is_ratio") else 1
    ends = (difference.get(key) for key in ("difference", "low", "high"))
    return [None if each is None else each * times for each in ends]


def verdict_of(metric: Mapping[str, Any], difference: Mapping[str, Any]) -> Verdict | None:
    """Return what an interval says of `a` against `b`; None where there is none."""
    low, high = difference.get("low"), difference.get("high")
    if low is None or high is None:
        return None
    none = 1.0 if difference.get("is_ratio") else 0.0
    if low <= none <= high:
        return "not shown"
    return "better" if (low > none) == bool(metric.get("higher_is_better", True)) else "worse"


def _interval(low: float | None, high: float | None, times: float, decimals: int, *, sign: bool = False) -> str:
    ends = (number_text(None if end is None else end * times, decimals, sign=sign) for end in (low, high))
    return f"[{', '.join(ends)}]"


def _scale(metric: Mapping[str, Any]) -> tuple[float, str]:
    if is_percentage(metric):
        return 100.0, " %"
    return 1.0, " s" if metric.get("kind") == "latency" else ""
