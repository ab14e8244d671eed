"""Comparisons of an evaluation: variants with the baseline, the run with an earlier one, and thresholds."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby

from rich.text import Text

from promptkit.evaluation.record import ComparisonRecord, DifferenceRecord, EvalRecord, MetricDifference, MetricRecord
from promptkit.reports.evaluation.figures import (
    difference_decimals,
    difference_parts,
    difference_unit,
    is_percentage,
    p_text,
    verdict_of,
)
from promptkit.reports.evaluation.variants import variant_tags
from promptkit.reports.layout import TableCell, grid, paragraph, shortened
from promptkit.reports.text import counted, one_line, visible, when_text

MOST_COMPARISONS = 12
"""Comparisons that are all shown; of more, those by other metrics than the primary one where they show something."""

MOST_POWER_NOTES = 3
"""How often it is said how many rows would show a difference."""

MOST_REGRESSIONS = 12
SIGNIFICANCE = 0.05
"""The p value from which a reader would see no difference."""

Metrics = Mapping[str, MetricRecord]
_COLOURS = {"better": "bold green", "worse": "bold red", "not shown": "dim"}


def comparison_lines(record: EvalRecord, width: int) -> Iterator[Text]:
    """Yield each difference on the same rows with interval, p, rows that moved and verdict; nothing without any.

    One metric's comparisons are a family: its p values are adjusted by Holm, its intervals by Bonferroni. Of many
    comparisons, those by other metrics than the primary one are left out where they show nothing.
    """
    comparisons = record.comparisons
    if not comparisons:
        return
    metrics = record.variants[0].metrics
    tags = variant_tags(record.variants, width)
    others = list(dict.fromkeys(comparison.a for comparison in comparisons))
    who = f"{tags[others[0]]} against " if len(others) == 1 else "against "
    yield Text(shortened(f"{visible(who + tags[comparisons[0].b])} on the same rows", width), style="bold")
    shown = notable_comparisons(comparisons, metrics)
    yield from comparison_grid([(tags[comparison.a], comparison) for comparison in shown], metrics, width)
    if left := len(comparisons) - len(shown):
        yield Text(f"  and {left} by other metrics that show nothing", style="dim")


def notable_comparisons(comparisons: Sequence[ComparisonRecord], metrics: Metrics) -> Sequence[ComparisonRecord]:
    """Return the comparisons to show: all of a few, otherwise those by the primary metric and those with a result."""
    if len(comparisons) <= MOST_COMPARISONS:
        return comparisons
    primary = next(iter(metrics))
    return [
        comparison
        for comparison in comparisons
        if comparison.metric == primary or _is_shown(metrics[comparison.metric], comparison)
    ]


def _is_shown(metric: MetricRecord, difference: DifferenceRecord) -> bool:
    return verdict_of(metric, difference) in ("better", "worse")


def comparison_grid(comparisons: Sequence[tuple[str, MetricDifference]], metrics: Metrics, width: int) -> list[Text]:
    """Return differences as a table; where several things are compared, each with its name, under its metric."""
    if not comparisons:
        return []
    several = len({name for name, _ in comparisons}) > 1
    is_family = any(_family_size(comparison) > 1 for _, comparison in comparisons)
    head = ["", "difference", "", "p, Holm" if is_family else "p", "better", "worse", ""]
    rows: list[list[TableCell]] = [[(name, "dim") for name in head]]
    for metric, group in groupby(comparisons, key=lambda pair: pair[1].metric):
        named = list(group)
        unit = difference_unit(metrics[metric], named[0][1])
        title = f"{metric}, {unit}" if unit else metric
        rows += [[(title, "bold")]] if several else []
        decimals = difference_decimals(metrics[metric], [comparison for _, comparison in named])
        rows += [
            _comparison_row(f"  {name}" if several else title, metrics[metric], comparison, decimals)
            for name, comparison in named
        ]
    return grid(rows, right=(1, 3, 4, 5), width=width, indent=2)


def _family_size(difference: DifferenceRecord) -> int:
    return (difference.comparisons if isinstance(difference, ComparisonRecord) else 0) or 1


def _p(difference: DifferenceRecord) -> float | None:
    """Return the p value that counts: adjusted where the difference is one of a family."""
    if isinstance(difference, ComparisonRecord) and difference.comparisons > 1:
        return difference.adjusted
    return difference.p


def _comparison_row(title: str, metric: MetricRecord, difference: DifferenceRecord, decimals: int) -> list[TableCell]:
    verdict = verdict_of(metric, difference) or ""
    value, interval = difference_parts(metric, difference, decimals)
    return [
        title,
        (value, "bold"),
        interval,
        p_text(_p(difference)),
        f"{difference.better:,}",
        f"{difference.worse:,}",
        (verdict, _COLOURS.get(verdict, "")),
    ]


def comparison_notes(record: EvalRecord, tags: Mapping[str, str] | None = None) -> Iterator[str]:
    """Yield how many rows would show a difference, the comparisons' own notes, and how several are adjusted.

    `tags` map variants to the names that tables give them; left out, their own.
    """
    comparisons = record.comparisons
    if not comparisons:
        return
    metrics = record.variants[0].metrics
    tags = tags or {comparison.a: comparison.a for comparison in comparisons}
    yield from asked_apart_notes(comparisons, tags)
    yield from _power_notes(comparisons, metrics, tags)
    if any(_p_disagrees(metrics[comparison.metric], comparison) for comparison in comparisons):
        yield f"the interval decides; p, of another test, may lie a little above {SIGNIFICANCE} beside it"
    yield from _notes_by_metric(notable_comparisons(comparisons, metrics), tags)
    family = max(map(_family_size, comparisons))
    if family > 1:
        yield f"each metric's p values are adjusted for {family} comparisons (Holm), its intervals too (Bonferroni)"
    if len({comparison.metric for comparison in comparisons}) > 1:
        yield f"{next(iter(metrics))} is the primary metric; differences in other metrics are exploratory"


def asked_apart_notes(comparisons: Sequence[ComparisonRecord], tags: Mapping[str, str] | None = None) -> Iterator[str]:
    """Yield when a variant and the baseline were asked, where that was at different times."""
    tags = tags or {}
    pairs = {(found.a, found.b): times for found in comparisons if (times := found.asked_apart)}
    for (a, b), times in pairs.items():
        yield (
            f"{tags.get(a, a)} was asked {_span_text(times.a)}, {tags.get(b, b)} {_span_text(times.b)} "
            f"({counted(times.cells, 'cell')} each): the difference holds what else changed in between; "
            "--fresh asks both again"
        )


def _span_text(ends: Sequence[float]) -> str:
    """Return two times in the local zone, one where they fall into one minute: `2026-11-25 01:16 to 01:20`."""
    first, last = (when_text(end) for end in ends)
    day, _, time_of_day = last.partition(" ")
    return first if first == last else f"{first} to {time_of_day if first.startswith(day) else last}"


def _power_notes(comparisons: Sequence[ComparisonRecord], metrics: Metrics, tags: Mapping[str, str]) -> Iterator[str]:
    """Yield, for the primary metric, how many rows would show a difference, with the variants that it holds for."""
    primary = next(iter(metrics))
    others = len({comparison.a for comparison in comparisons})
    of: dict[str, list[str]] = {}
    for comparison in comparisons:
        if comparison.metric == primary and verdict_of(metrics[primary], comparison) == "not shown":
            of.setdefault(power_text(metrics[primary], comparison), []).append(tags[comparison.a])
    for text, names in [(text, names) for text, names in of.items() if text][:MOST_POWER_NOTES]:
        yield f"{primary}: {text}" if len(names) == others else f"{primary} ({', '.join(names)}): {text}"


def _p_disagrees(metric: MetricRecord, difference: DifferenceRecord) -> bool:
    """Tell whether an interval shows a difference at a p value from which a reader would see none."""
    p = _p(difference)
    return _is_shown(metric, difference) and p is not None and p >= SIGNIFICANCE


def _notes_by_metric(comparisons: Sequence[ComparisonRecord], tags: Mapping[str, str]) -> Iterator[str]:
    """Yield each note of the comparisons once, with its metrics and, unless all variants have it, its variants."""
    of: dict[tuple[str, str], list[str]] = {}
    for comparison in comparisons:
        for line in comparison.notes:
            of.setdefault((line, comparison.metric), []).append(tags[comparison.a])
    metrics: dict[tuple[str, str], list[str]] = {}
    for (line, metric), names in of.items():
        is_of_all = len(names) == sum(comparison.metric == metric for comparison in comparisons)
        metrics.setdefault((line, "" if is_of_all else f" ({', '.join(names)})"), []).append(metric)
    for (line, of_some), named in metrics.items():
        yield f"{', '.join(named)}{of_some}: {line}"


def power_text(metric: MetricRecord, difference: DifferenceRecord) -> str:
    """Return how many rows would show the smallest relevant difference, and the smallest that these rows show.

    `about 20 % of rows flip; 626 rows would show a difference of 5 points four times in five; the 100 here show 12 or
    more`. Nothing where it is not known.
    """
    needed, shown, n = difference.rows_needed, difference.smallest_shown, difference.n
    if not n or difference.is_ratio:
        return ""
    moved = difference.better + difference.worse
    if not moved:
        return "no row differs"
    smallest = difference_size_text(metric, difference.smallest)
    here = (
        ""
        if shown is None or shown > 1
        else f"; the {n:,} here show {difference_size_text(metric, shown, bare=True)} or more"
    )
    share = f"about {100 * moved / n:.0f} %" if moved >= n / 100 else "less than 1 %"
    flipping = f"{share} of rows {'flip' if is_percentage(metric) else 'differ'}"
    if needed:
        return f"{flipping}; {needed:,} rows would show a difference of {smallest} four times in five{here}"
    return f"{flipping}, too few for a difference of {smallest}{here}" if shown else ""


def difference_size_text(metric: MetricRecord, share: float, *, bare: bool = False) -> str:
    """Return the size of a difference that is a share of a metric's range, to two digits: `5 points`, `0.2`."""
    low, high = metric.bounds or (0, 1)
    size = float(f"{share * (high - low) * (100 if is_percentage(metric) else 1):.2g}")
    return f"{size:g}" if bare or not is_percentage(metric) else f"{size:g} points"


def baseline_lines(record: EvalRecord, width: int) -> Iterator[Text]:
    """Yield the differences from the run or file that the run was compared with, and the rows that regressed."""
    against = record.against
    if against is None:
        return
    of = f"{against.variant} against " if len(record.variants) > 1 else "against "
    yield Text(one_line(f"{of}{against.reference} on the {against.rows.both:,} rows of both", width), style="bold")
    yield from comparison_grid(
        [("", comparison) for comparison in against.comparisons], record.variants[0].metrics, width
    )
    for comparison in against.comparisons:
        if comparison.regressions:
            text = f"{comparison.metric}: right there, wrong here: {_row_numbers(comparison.regressions)}"
            yield from _wrapped(text, width, "red")
    for line in against.notes:
        yield from _wrapped(line, width, "dim")


def _row_numbers(numbers: Sequence[int]) -> str:
    more = f" and {len(numbers) - MOST_REGRESSIONS:,} more" if len(numbers) > MOST_REGRESSIONS else ""
    return f"row{'s'[: len(numbers) != 1]} {', '.join(map(str, numbers[:MOST_REGRESSIONS]))}{more}"


def _wrapped(text: str, width: int, style: str) -> Iterator[Text]:
    for line in paragraph(visible(text), width=width - 2, first="  ", rest="  "):
        yield Text(line, style=style)


def threshold_lines(record: EvalRecord, width: int) -> Iterator[Text]:
    """Yield each threshold with whether it was met."""
    marks = {True: ("✓ ", "green"), False: ("✗ ", "bold red"), None: ("– ", "yellow")}
    for threshold in record.thresholds:
        mark, style = marks[threshold.passed]
        for at, line in enumerate(paragraph(visible(threshold.says), width=width - 2)):
            yield Text.assemble(("  " if at else mark, style), line)
