"""The values that the page of an evaluation shows beside those of its record."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, NamedTuple

from promptkit.evaluation.cells.cell import RunView
from promptkit.evaluation.metrics.judge_validity import JUDGED
from promptkit.evaluation.record import DifferenceRecord, EvalRecord, FamilyDifference, MetricRecord, VariantRecord
from promptkit.evaluation.verdicts import margin_ends
from promptkit.reports.evaluation.comparisons import asked_apart_notes, margin_notes
from promptkit.reports.evaluation.figures import verdict_of
from promptkit.reports.evaluation.judges import JUDGE_KINDS, judge_facts
from promptkit.reports.evaluation.main_effects import effect_name, main_effect_notes, main_effects_title
from promptkit.reports.evaluation.serving import serving_table
from promptkit.reports.evaluation.turns import part_values, simulated_user_notes
from promptkit.reports.evaluation.variants import fallback_notes, row_note, unrecorded_notes, warning_counts
from promptkit.reports.page.html import BarPlaces, Ends, bar_places, figure, scale, thousands
from promptkit.techniques.warnings import merged_sources, warning_text

MOST_CLASSES = 30
MOST_PAIRS = 20
SHADES = 9
"""The darkest shade of a cell in a confusion matrix, that of a whole row."""

_UNPARSED = "(unparsed)"
_FAILED = {"incomplete", "interrupted", "failed"}
_SO_FAR = {"running", "interrupted"}
_Confusion = Mapping[str, Mapping[str, int]]


def page_values(view: RunView, record: EvalRecord) -> dict[str, Any]:
    """Return the values of the page's template, but for its style, script and rows."""
    names = {variant.name: variant.name for variant in record.variants}
    return {
        "view": view,
        "record": record,
        "started": datetime.fromtimestamp(view.started, UTC),
        "status_chips": list(_chips(view, record)),
        "run_notes": [*record.notes, *fallback_notes(record)],
        "row_notes": {variant.name: row_note(variant, {}) for variant in record.variants},
        "metrics": [_metric_head(name, record.variants) for name in view.metrics],
        "warnings": _warnings(record.variants),
        "metric_notes": [
            *_metric_notes(record.variants, view.metrics),
            *simulated_user_notes(record.variants, names),
            *unrecorded_notes(record.variants, names),
        ],
        "metric_parts": list(_metric_parts(record.variants, view.metrics)),
        "judges": list(judge_facts(record.variants)),
        "corrected": [name for name in view.metrics if _is_corrected(name, record.variants)],
        "has_costs": any(variant.cost is not None for variant in record.variants),
        "comparisons": _differences(record),
        "main_effects": [*_main_effects(record)],
        "main_effects_title": main_effects_title(record) if record.main_effects else "",
        "main_effect_notes": list(main_effect_notes(record)),
        "comparison_notes": list(_comparison_notes(record)),
        "classes": list(_classes(record.variants, view.metrics)),
        "serving": serving_table(record.serving) if record.serving else None,
    }


def _is_corrected(metric: str, variants: Sequence[VariantRecord]) -> bool:
    """Tell whether labels correct a judge's mean of some variant."""
    return any(metric in variant.metrics and JUDGED in variant.metrics[metric].parts for variant in variants)


def _chips(view: RunView, record: EvalRecord) -> Iterator[tuple[str, str]]:
    """Yield the marks under the heading: the kind of each, and its word."""
    yield "bad" if view.status in _FAILED else "good" if view.status == "done" else "warn", view.status
    if view.status in _SO_FAR:
        yield "warn", "so far"
    if missing := sum(variant.missing for variant in record.variants):
        yield "bad", f"{thousands(missing)} missing"
    if record.limited:
        yield "warn", "limited: thresholds are off"
    if failed := sum(threshold.passed is False for threshold in record.thresholds):
        yield "bad", f"{failed} of {len(record.thresholds)} thresholds fell short"


class MetricHead(NamedTuple):
    """A metric as the head of a column, with the ends of the scale on which its means are drawn."""

    name: str
    scale: Ends
    lower_is_better: bool


def _metric_head(name: str, variants: Sequence[VariantRecord]) -> MetricHead:
    found = [variant.metrics[name] for variant in variants if name in variant.metrics]
    least, most = scale(value for metric in found for value in (metric.mean, metric.low, metric.high))
    low, high = (found[0].bounds if found else None) or (least, most)
    return MetricHead(name, (max(least, low), min(most, high)), bool(found) and not found[0].higher_is_better)


class WarningTable(NamedTuple):
    """The number of answers with each warning that occurred, by variant."""

    variants: tuple[str, ...]
    rows: list[tuple[str, list[str]]]


def _warnings(variants: Sequence[VariantRecord]) -> WarningTable | None:
    counts = warning_counts(variants)
    if not counts:
        return None
    warned_by = merged_sources(variant.warned_by for variant in variants)
    return WarningTable(
        tuple(variant.name for variant in variants),
        [(warning_text(name, warned_by), list(found)) for name, found in counts.items()],
    )


def _metric_notes(variants: Sequence[VariantRecord], metrics: Sequence[str]) -> Iterator[str]:
    """Yield each note once, with its metric and, unless it is of all, its variants."""
    for name in metrics:
        of: dict[str, list[str]] = {}
        for variant in variants:
            for line in variant.metrics[name].notes if name in variant.metrics else ():
                of.setdefault(line, []).append(variant.name)
        for line, names in of.items():
            of_some = "" if len(names) == len(variants) else f" ({', '.join(names)})"
            yield f"{name}{of_some}: {line}"


def _metric_parts(variants: Sequence[VariantRecord], metrics: Sequence[str]) -> Iterator[tuple[str, str, str, Any]]:
    """Yield the parts of metrics that are single numbers or words: a 95th percentile, the mean of a turn."""
    for variant in variants:
        for name in metrics:
            parts = variant.metrics[name].parts if name in variant.metrics else {}
            if parts and variant.metrics[name].kind in JUDGE_KINDS:
                continue  # These stand in the table of judges.
            for key, part in parts.items():
                if isinstance(part, int | float | str):
                    yield variant.name, name, key, part
            for key, part in part_values(variant.metrics[name]) if name in variant.metrics else ():
                yield variant.name, name, key, part


class ShownDifference(NamedTuple):
    """A difference with its name, value, interval and drawing."""

    name: str
    record: FamilyDifference
    value: str
    interval: str
    verdict: str | None
    places: BarPlaces | None


def _differences(record: EvalRecord) -> list[ShownDifference]:
    return _shown([(found.a, found) for found in record.comparisons], record)


def _main_effects(record: EvalRecord) -> list[ShownDifference]:
    return _shown([(effect_name(found), found) for found in record.main_effects], record)


def _shown(named: Sequence[tuple[str, FamilyDifference]], record: EvalRecord) -> list[ShownDifference]:
    """Return named differences with their drawings, those of one metric on one scale, which its margin lies on too."""
    scales = {
        name: scale(
            (value for _, found in named if found.metric == name for value in (*_from_null(found), *_margins(found))),
            around=0.0,
        )
        for name in {found.metric for _, found in named}
    }
    metrics = record.variants[0].metrics if record.variants else {}
    return [_difference(name, found, metrics.get(found.metric), scales[found.metric]) for name, found in named]


def _margins(found: FamilyDifference) -> tuple[float, ...]:
    """Return the ends of a margin as distances from the value that means no difference; nothing without one."""
    if found.margin is None:
        return ()
    null = 1.0 if found.is_ratio else 0.0
    return tuple(end - null for end in margin_ends(float(found.margin), is_ratio=found.is_ratio))


def _difference(name: str, found: FamilyDifference, metric: MetricRecord | None, ends: Ends) -> ShownDifference:
    value = _signed(found, found.difference) + (" ×" if found.is_ratio else "")
    known = found.low is not None and found.high is not None
    interval = f"[{_signed(found, found.low)}, {_signed(found, found.high)}]" if known else ""
    verdict = verdict_of(metric or MetricRecord(), found)
    places = bar_places(*_from_null(found), ends, marks=_margins(found))
    return ShownDifference(name, found, value, interval, verdict, places)


def _from_null(found: DifferenceRecord) -> tuple[float | None, float | None, float | None]:
    """Return a difference and its ends as distances from the value that means no difference."""
    null = 1.0 if found.is_ratio else 0.0
    value, low, high = (
        None if number is None else number - null for number in (found.difference, found.low, found.high)
    )
    return value, low, high


def _signed(found: DifferenceRecord, value: float | None) -> str:
    sign = "+" if value is not None and value > 0 and not found.is_ratio else ""
    return sign + str(figure(value)).replace("-", "−")


def _comparison_notes(record: EvalRecord) -> Iterator[str]:
    comparisons = record.comparisons
    yield from asked_apart_notes(comparisons)
    for comparison in comparisons:
        yield from (f"{comparison.a} against {comparison.b}, {comparison.metric}: {line}" for line in comparison.notes)
    several = max((comparison.comparisons for comparison in comparisons), default=1)
    if several > 1:
        yield f"{several} comparisons: intervals hold at 95 % for all of them together, p is adjusted (Holm)"
    if comparisons:
        named = [(f"{found.a} against {found.b}", found) for found in comparisons]
        yield from margin_notes(named, record.variants[0].metrics)
    smallest = comparisons[0].smallest if comparisons else 0
    if smallest:
        yield f"rows that would tell: a difference of {smallest:.0%} of the metric's range, four times in five"
    methods = {comparison.method for comparison in comparisons if comparison.method}
    yield from (f"method: {method}" for method in sorted(methods))


class MatrixCell(NamedTuple):
    """Rows of one expected and one predicted class; `level` is the shade, by their share of the expected class."""

    rows: int
    level: int
    is_right: bool


class Classes(NamedTuple):
    """The classes of a variant by a metric: a confusion matrix, or of many classes the pairs most often confused."""

    variant: str
    metric: str
    predicted: Sequence[str]
    matrix: Sequence[tuple[str, Sequence[MatrixCell], int]]
    pairs: Sequence[tuple[int, str, str]]
    classes: Mapping[str, Mapping[str, Any]]


def _classes(variants: Sequence[VariantRecord], metrics: Sequence[str]) -> Iterator[Classes]:
    for variant in variants:
        for name in metrics:
            parts = variant.metrics[name].parts if name in variant.metrics else {}
            confusion: _Confusion = parts.get("confusion") or {}
            classes = parts.get("classes") or {}
            if not confusion and not classes:
                continue
            predicted = _predicted(confusion)
            is_small = len(predicted) <= MOST_CLASSES
            matrix = [_matrix_row(expected, row, predicted) for expected, row in confusion.items()] if is_small else []
            yield Classes(variant.name, name, predicted, matrix, [] if is_small else _pairs(confusion), classes)


def _predicted(confusion: _Confusion) -> list[str]:
    """Return the classes of a matrix's columns: those expected, others that were predicted, and unparsed answers."""
    others = {label for row in confusion.values() for label in row} - set(confusion) - {_UNPARSED}
    unparsed = [_UNPARSED] if any(_UNPARSED in row for row in confusion.values()) else []
    return list(dict.fromkeys([*confusion, *sorted(others), *unparsed]))


def _matrix_row(
    expected: str, row: Mapping[str, int], predicted: Sequence[str]
) -> tuple[str, Sequence[MatrixCell], int]:
    whole = sum(row.values())
    counts = {label: row.get(label, 0) for label in predicted}
    cells = [
        MatrixCell(count, round(SHADES * count / whole) if whole else 0, label == expected)
        for label, count in counts.items()
    ]
    return expected, cells, whole


def _pairs(confusion: _Confusion) -> list[tuple[int, str, str]]:
    found = [
        (count, expected, label)
        for expected, row in confusion.items()
        for label, count in row.items()
        if label != expected and count
    ]
    return sorted(found, key=lambda pair: (-pair[0], pair[1], pair[2]))[:MOST_PAIRS]
