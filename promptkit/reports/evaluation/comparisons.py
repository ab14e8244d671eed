"""Comparisons of an evaluation: variants with the baseline, the run with an earlier one, and thresholds."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby

from rich.text import Text

from promptkit.evaluation.record import (
    ComparisonRecord,
    DifferenceRecord,
    EvalRecord,
    FamilyDifference,
    MetricDifference,
    MetricRecord,
)
from promptkit.reports.evaluation.figures import (
    difference_decimals,
    difference_parts,
    difference_unit,
    excludes_null,
    is_percentage,
    p_text,
    verdict_of,
)
from promptkit.reports.evaluation.variants import variant_tags
from promptkit.reports.layout import GAP, TableCell, column_width, grid, paragraph, shortened
from promptkit.reports.text import counted, one_line, visible, when_text

MOST_COMPARISONS = 12
"""Comparisons that are all shown; of more, those by other metrics than the primary one where they show something."""

MOST_POWER_NOTES = 3
"""How often it is said how many rows would show a difference."""

MOST_REGRESSIONS = 12
INDENT = 2
SIGNIFICANCE = 0.05
"""The p value from which a reader would see no difference."""

Metrics = Mapping[str, MetricRecord]
_COLUMNS = ((0, 1, 2, 3, 4, 5, 6), (0, 1, 2, 3, 6), (0, 1, 2, 6))
"""The columns of a comparison: name, difference, interval, p, better, worse, verdict; fewer in narrow terminals."""

VERDICT_STYLES = {
    "better": "bold green",
    "worse": "bold red",
    "equivalent": "green",
    "no worse": "green",
    "not shown": "dim",
}


def comparison_lines(record: EvalRecord, width: int) -> Iterator[Text]:
    """Yield each difference on the same rows with interval, p, rows that moved and verdict; nothing without any.

    One metric's comparisons are a family: its p values are adjusted by Holm, its intervals by Bonferroni. Of many
    comparisons, those by other metrics than the primary one are left out where they show nothing.
    """
    comparisons = record.comparisons
    if not comparisons:
        return
    metrics = record.variants[0].metrics
    names = pair_names(comparisons, variant_tags(record.variants, width))
    yield Text(shortened(f"{visible(comparisons_title(record, width))} on the same rows", width), style="bold")
    shown = notable_comparisons(comparisons, metrics)
    named = [(names[found.a, found.b] if len(names) > 1 else "", found) for found in shown]
    yield from comparison_grid(named, metrics, width)
    if left := len(comparisons) - len(shown):
        by_others = "" if any(found.b != comparisons[0].b for found in comparisons) else " by other metrics"
        yield Text(f"  and {left}{by_others} that show nothing", style="dim")


def comparisons_title(record: EvalRecord, width: int) -> str:
    """Return the title of comparisons: `prefix against shipped`, `against shipped`, or each pair."""
    tags = variant_tags(record.variants, width)
    first, *more = dict.fromkeys((found.a, found.b) for found in record.comparisons)
    if any(b != first[1] for _, b in more):
        return "each pair"
    return f"against {tags[first[1]]}" if more else f"{tags[first[0]]} against {tags[first[1]]}"


def pair_names(comparisons: Sequence[ComparisonRecord], tags: Mapping[str, str]) -> dict[tuple[str, str], str]:
    """Return the name of each comparison: its variant's, and of variants of several baselines `prefix vs shipped`."""
    several = len({found.b for found in comparisons}) > 1
    return {
        (found.a, found.b): f"{tags[found.a]} vs {tags[found.b]}" if several else tags[found.a] for found in comparisons
    }


def notable_comparisons(comparisons: Sequence[ComparisonRecord], metrics: Metrics) -> Sequence[ComparisonRecord]:
    """Return the comparisons to show: all of a few, otherwise those by the primary metric and those with a result.

    Of many by the primary metric, as of all pairs, only those with a result.
    """
    if len(comparisons) <= MOST_COMPARISONS:
        return comparisons
    primary = next(iter(metrics))
    all_pairs = len({found.b for found in comparisons}) > 1
    return [
        comparison
        for comparison in comparisons
        if (comparison.metric == primary and not all_pairs)
        or verdict_of(metrics[comparison.metric], comparison) != "not shown"
    ]


def comparison_grid(comparisons: Sequence[tuple[str, MetricDifference]], metrics: Metrics, width: int) -> list[Text]:
    """Return differences as a table; those with names stand under their metric, which several have.

    In a narrow terminal rows that moved are left out, and p where the verdict still does not fit.
    """
    if not comparisons:
        return []
    several = any(name for name, _ in comparisons)
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
    kept = next((some for some in _COLUMNS if _width_of(rows, some) <= width), _COLUMNS[-1])
    shown = [[row[at] for at in kept] if len(row) > 1 else row for row in rows]
    right = [place for place, at in enumerate(kept) if at in (1, 3, 4, 5)]
    return grid(shown, right=right, width=width, indent=INDENT)


def _width_of(rows: Sequence[Sequence[TableCell]], kept: Sequence[int]) -> int:
    """Return the width of a table with some of its columns."""
    whole = [row for row in rows if len(row) > 1]
    return INDENT + sum(column_width(row[at] for row in whole) for at in kept) + GAP * (len(kept) - 1)


def _family_size(difference: DifferenceRecord) -> int:
    return (difference.comparisons if isinstance(difference, FamilyDifference) else 0) or 1


def _p(difference: DifferenceRecord) -> float | None:
    """Return the p value that counts: adjusted where the difference is one of a family."""
    if isinstance(difference, FamilyDifference) and difference.comparisons > 1:
        return difference.adjusted
    return difference.p


def _comparison_row(title: str, metric: MetricRecord, difference: DifferenceRecord, decimals: int) -> list[TableCell]:
    verdict = verdict_of(metric, difference) or ("not compared" if difference.difference is None else "")
    value, interval = difference_parts(metric, difference, decimals)
    return [
        title,
        (value, "bold"),
        interval,
        p_text(_p(difference)),
        *(("", "") if difference.difference is None else (f"{difference.better:,}", f"{difference.worse:,}")),
        (verdict, VERDICT_STYLES.get(verdict, "")),
    ]


def comparison_notes(record: EvalRecord, tags: Mapping[str, str] | None = None) -> Iterator[str]:
    """Yield the number of rows that would show a difference, the comparisons' own notes, and how several are adjusted.

    `tags` map variants to the names that tables give them; left out, their own.
    """
    comparisons = record.comparisons
    if not comparisons:
        return
    metrics = record.variants[0].metrics
    names = pair_names(comparisons, tags or {name: name for found in comparisons for name in (found.a, found.b)})
    yield from asked_apart_notes(comparisons, tags)
    yield from _power_notes(comparisons, metrics, names)
    yield from margin_notes([(names[found.a, found.b], found) for found in comparisons], metrics)
    if any(_p_disagrees(metrics[comparison.metric], comparison) for comparison in comparisons):
        yield f"the interval decides; p, of another test, may lie a little above {SIGNIFICANCE} beside it"
    yield from _notes_by_metric(notable_comparisons(comparisons, metrics), names)
    family = max(map(_family_size, comparisons))
    if family > 1:
        yield f"each metric's p values are adjusted for {family} comparisons (Holm), its intervals too (Bonferroni)"
    if len({comparison.metric for comparison in comparisons}) > 1:
        yield f"{next(iter(metrics))} is the primary metric; differences in other metrics are exploratory"


PairNames = Mapping[tuple[str, str], str]


def asked_apart_notes(comparisons: Sequence[ComparisonRecord], tags: Mapping[str, str] | None = None) -> Iterator[str]:
    """Yield when the two variants of a comparison were asked, where that was at different times."""
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


def _power_notes(comparisons: Sequence[ComparisonRecord], metrics: Metrics, names: PairNames) -> Iterator[str]:
    """Yield, for the primary metric, how many rows would show a difference, with the variants that it holds for."""
    primary = next(iter(metrics))
    of: dict[str, list[str]] = {}
    for comparison in comparisons:
        if comparison.metric == primary and verdict_of(metrics[primary], comparison) == "not shown":
            of.setdefault(power_text(metrics[primary], comparison), []).append(names[comparison.a, comparison.b])
    for text, some in [(text, some) for text, some in of.items() if text][:MOST_POWER_NOTES]:
        yield f"{primary}: {text}" if len(some) == len(names) else f"{primary} ({', '.join(some)}): {text}"


def margin_notes(comparisons: Sequence[tuple[str, MetricDifference]], metrics: Metrics) -> Iterator[str]:
    """Yield the margins, how many rows would show no larger loss, and verdicts that may surprise.

    `comparisons` are differences with the names of what is compared, empty where there is one.
    """
    sizes = {found.metric: margin_text(metrics[found.metric], found) for _, found in comparisons if found.margin}
    if not sizes:
        return
    margins = ", ".join(f"{metric} {size}" for metric, size in sizes.items())
    yield f"margin: {margins}; equivalent lies within it on both sides, no worse is not a larger loss"
    for name, found in comparisons:
        if found.margin is not None and (text := _margin_text_of(metrics[found.metric], found)):
            yield f"{found.metric} ({name}): {text}" if name else f"{found.metric}: {text}"


def _margin_text_of(metric: MetricRecord, found: MetricDifference) -> str:
    verdict, needed = verdict_of(metric, found), found.rows_for_margin
    if verdict == "equivalent" and excludes_null(found):
        return "the difference is shown, and it is smaller than the margin"
    if verdict != "not shown" or not needed:
        return ""
    if needed <= found.n:
        return f"{found.n:,} rows show no worse more than four times in five where the two are equal, but not here"
    return f"{needed:,} rows would show no worse four times in five, if the two are equal"


def margin_text(metric: MetricRecord, difference: DifferenceRecord) -> str:
    """Return a margin in the unit of its difference: `2 points`, `5 %` of an amount, `0.2`."""
    margin = float(difference.margin or 0)
    if difference.is_ratio:
        return f"{100 * margin:g} %"
    return f"{100 * margin:g} points" if is_percentage(metric) else f"{margin:g}"


def _p_disagrees(metric: MetricRecord, difference: DifferenceRecord) -> bool:
    """Tell whether an interval shows a difference at a p value from which a reader would see none."""
    p = _p(difference)
    return verdict_of(metric, difference) in ("better", "worse") and p is not None and p >= SIGNIFICANCE


def _notes_by_metric(comparisons: Sequence[ComparisonRecord], pairs: PairNames) -> Iterator[str]:
    """Yield each note of the comparisons once, with its metrics and, unless all variants have it, its variants."""
    of: dict[tuple[str, str], list[str]] = {}
    for comparison in comparisons:
        for line in comparison.notes:
            of.setdefault((line, comparison.metric), []).append(pairs[comparison.a, comparison.b])
    metrics: dict[tuple[str, str], list[str]] = {}
    for (line, metric), names in of.items():
        is_of_all = len(names) == sum(comparison.metric == metric for comparison in comparisons)
        metrics.setdefault((line, "" if is_of_all else f" ({', '.join(names)})"), []).append(metric)
    for (line, of_some), named in metrics.items():
        yield f"{', '.join(named)}{of_some}: {line}"


def power_text(metric: MetricRecord, difference: DifferenceRecord) -> str:
    """Return the number of rows that would show the smallest relevant difference, and the smallest that these show.

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
    margins = margin_notes([("", comparison) for comparison in against.comparisons], record.variants[0].metrics)
    for line in [*against.notes, *margins]:
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
