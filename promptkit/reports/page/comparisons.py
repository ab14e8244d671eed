"""What a run says of two variants on the same rows, and of its thresholds, as HTML."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from promptkit.reports.evaluation.figures import verdict_of
from promptkit.reports.page.markup import NONE, bar, chance, count, ends, figure, notes, table, text

_HEAD = (
    "Variant",
    "Against",
    "Metric",
    "Difference",
    "Verdict",
    "p",
    "p, adjusted",
    "Better",
    "Worse",
    "Rows that would tell",
)


def comparison_table(record: Mapping[str, Any]) -> str:
    """Return the comparisons with intervals, p values and rows, one table for all."""
    said = list(record.get("comparisons", ()))
    if not said:
        missing = any(variant.get("missing") for variant in record.get("variants", ()))
        why = "No comparison is given while answers are missing." if missing else "Nothing is compared in this run."
        return f'<p class="aside">{why}</p>'
    metrics = record["variants"][0]["metrics"]
    scales = {each["metric"]: _scale(said, each["metric"]) for each in said}
    rows = [
        [
            text(each["a"]),
            text(each["b"]),
            text(each["metric"]),
            _difference(each, scales[each["metric"]]),
            text(verdict_of(metrics.get(each["metric"], {}), each) or NONE),
            chance(each.get("p")),
            f"<b>{chance(each.get('adjusted'))}</b>",
            _rows(each, "better", "▲"),
            _rows(each, "worse", "▼"),
            _telling(each),
        ]
        for each in said
    ]
    methods = {each["method"] for each in said if each.get("method")}
    told = [
        f"{each['a']} against {each['b']}, {each['metric']}: {line}"
        for each in said
        for line in each.get("notes") or ()
    ]
    several = max((each.get("comparisons") or 1) for each in said)
    if several > 1:
        told.append(f"{several} comparisons: intervals hold at 95 % for all of them together, p is adjusted (Holm)")
    told += [_telling_note(each["smallest"]) for each in said[:1] if each.get("smallest")]
    told += [f"method: {method}" for method in sorted(methods)]
    return table("Differences on the same rows with their intervals", _HEAD, rows) + notes(told)


def _null(each: Mapping[str, Any]) -> float:
    """Return the difference that means none."""
    return 1.0 if each.get("is_ratio") else 0.0


def _scale(said: list[Mapping[str, Any]], metric: str) -> tuple[float, float]:
    of = [each for each in said if each["metric"] == metric]
    values = [each[key] - _null(each) for each in of for key in ("difference", "low", "high") if each[key] is not None]
    return ends(values, around=0.0)


def _difference(each: Mapping[str, Any], scale: tuple[float, float]) -> str:
    if each["difference"] is None:
        return NONE
    sign = "" if each.get("is_ratio") else "+"
    unit = " ×" if each.get("is_ratio") else ""
    low, high = each["low"], each["high"]
    shown = f"<b>{_signed(each['difference'], sign)}{unit}</b>"
    if low is not None and high is not None:
        shown += f' <span class="interval">[{_signed(low, sign)}, {_signed(high, sign)}]</span>'
    at = [None if value is None else value - _null(each) for value in (each["difference"], low, high)]
    return shown + bar(at[0], at[1], at[2], scale)


def _signed(value: float, sign: str) -> str:
    return (sign if value > 0 else "") + figure(value).replace("-", "−")


def _rows(each: Mapping[str, Any], key: str, mark: str) -> str:
    return f'<span aria-hidden="true">{mark}</span> {count(each.get(key))}'


def _telling_note(smallest: float) -> str:
    return f"rows that would tell: a difference of {smallest:.0%} of the metric's range, four times in five"


def _telling(each: Mapping[str, Any]) -> str:
    if each.get("rows_needed") is None:
        return f'{NONE} <span class="aside">{count(each.get("n"))} here</span>'
    return f'{count(each["rows_needed"])} <span class="aside">{count(each.get("n"))} here</span>'


def threshold_table(record: Mapping[str, Any]) -> str:
    """Return each threshold with what was wanted, what was shown and whether it holds; nothing without thresholds."""
    said = list(record.get("thresholds", ()))
    if not said:
        return ""
    rows = [
        [
            _verdict(each.get("passed")),
            text(each.get("metric", NONE)),
            text(each.get("variant") or NONE),
            f"{text(str(each.get('kind', '')).replace('_', ' '))} {_value(each.get('wanted'))}",
            _value(each.get("shown")),
            text(each.get("says") or ""),
        ]
        for each in said
    ]
    head = ["Verdict", "Metric", "Variant", "Wanted", "Shown", "What it means"]
    return "<h3>Thresholds</h3>" + table("Thresholds", head, rows, kind="thresholds")


def _verdict(passed: bool | None) -> str:
    if passed is None:
        return '<span class="chip warn">not judged</span>'
    return '<span class="chip good">passed</span>' if passed else '<span class="chip bad">fell short</span>'


def _value(value: Any) -> str:
    if value is None or (isinstance(value, int | float) and not isinstance(value, bool)):
        return figure(value)
    return text(value)
