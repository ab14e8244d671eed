"""Comparisons of an evaluation: variants with the baseline, the run with an earlier one, and thresholds."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby
from typing import TYPE_CHECKING, Any

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
from promptkit.reports.text import one_line, visible

if TYPE_CHECKING:
    from rich.text import Text

Comparison = Mapping[str, Any]
MOST_COMPARISONS = 12
MOST_POWER_NOTES = 3
"""How often it is said how many rows would tell."""

_COLOURS = {"better": "bold green", "worse": "bold red", "not shown": "dim"}


def comparison_lines(record: Mapping[str, Any], width: int) -> Iterator[Text]:
    """Yield the differences on the same rows with interval, p, rows that moved and a verdict; nothing where none is.

    A family is what one metric compares: its p values are adjusted by Holm, its intervals by Bonferroni. Of many
    comparisons those by other metrics than the aim are left out where they show nothing.
    """
    from rich.text import Text

    said: Sequence[Comparison] = record["comparisons"]
    if not said:
        return
    metrics = record["variants"][0]["metrics"]
    tags = variant_tags(record["variants"], width)
    others = list(dict.fromkeys(each["a"] for each in said))
    who = f"{tags[others[0]]} against " if len(others) == 1 else "against "
    yield Text(shortened(f"{visible(who + tags[said[0]['b']])} on the same rows", width), style="bold")
    shown = notable_comparisons(said, metrics)
    yield from comparison_grid([{**each, "a": tags[each["a"]]} for each in shown], metrics, width)
    if left := len(said) - len(shown):
        yield Text(f"  and {left} by other metrics that show nothing", style="dim")


def notable_comparisons(said: Sequence[Comparison], metrics: Mapping[str, Any]) -> Sequence[Comparison]:
    """Return the comparisons that are told: all of a few, else those by the aim and those that show something."""
    if len(said) <= MOST_COMPARISONS:
        return said
    aim = next(iter(metrics))
    return [
        each
        for each in said
        if each["metric"] == aim or verdict_of(metrics[each["metric"]], each) in ("better", "worse")
    ]


def comparison_grid(said: Sequence[Comparison], metrics: Mapping[str, Any], width: int) -> list[Text]:
    """Return comparisons as a table, under each metric those that are made by it; of one each in one line."""
    if not said:
        return []
    several = len({each["a"] for each in said}) > 1
    head = [
        "",
        "difference",
        "",
        "p, Holm" if any(_family_size(each) > 1 for each in said) else "p",
        "better",
        "worse",
        "",
    ]
    rows: list[list[TableCell]] = [[(each, "dim") for each in head]]
    for name, group in groupby(said, key=lambda each: each["metric"]):
        some = list(group)
        unit = difference_unit(metrics[name], some[0])
        title = f"{name}, {unit}" if unit else name
        rows += [[(title, "bold")]] if several else []
        decimals = difference_decimals(metrics[name], some)
        rows += [
            _comparison_row(f"  {each['a']}" if several else title, metrics[name], each, decimals) for each in some
        ]
    return grid(rows, right=(1, 3, 4, 5), width=width, indent=2)


def _family_size(each: Comparison) -> int:
    return int(each.get("comparisons") or 1)


def _comparison_row(title: str, metric: Mapping[str, Any], each: Comparison, decimals: int) -> list[TableCell]:
    verdict = verdict_of(metric, each)
    value, interval = difference_parts(metric, each, decimals)
    chance = each["p"] if _family_size(each) == 1 else each["adjusted"]
    better, worse = f"{each['better']:,}", f"{each['worse']:,}"
    return [
        title,
        (value, "bold"),
        interval,
        p_text(chance),
        better,
        worse,
        (verdict or "", _COLOURS.get(verdict or "", "")),
    ]


def comparison_notes(record: Mapping[str, Any], tags: Mapping[str, str] | None = None) -> Iterator[str]:
    """Yield how many rows would tell, by the aim, what the comparisons note, and how several are judged.

    `tags` are what variants are called, left out their names.
    """
    said: Sequence[Comparison] = record["comparisons"]
    if not said:
        return
    metrics = record["variants"][0]["metrics"]
    aim = next(iter(metrics))
    tags = tags or {each["a"]: each["a"] for each in said}
    undecided = [each for each in said if each["metric"] == aim and verdict_of(metrics[aim], each) == "not shown"]
    others = len({each["a"] for each in said})
    of: dict[str, list[str]] = {}
    for each in undecided:
        of.setdefault(power_text(metrics[aim], each), []).append(tags[each["a"]])
    for told, names in [(told, names) for told, names in of.items() if told][:MOST_POWER_NOTES]:
        yield f"{aim}: {told}" if len(names) == others else f"{aim} ({', '.join(names)}): {told}"
    if any(_p_disagrees(metrics[each["metric"]], each) for each in said):
        yield "the interval decides; p, of another test, may lie a little above 0.05 beside it"
    yield from _notes_by_metric(notable_comparisons(said, metrics), tags)
    family = max(map(_family_size, said))
    if family > 1:
        yield f"each metric's p values are adjusted for {family} comparisons (Holm), its intervals too (Bonferroni)"
    if len({each["metric"] for each in said}) > 1:
        yield f"{aim} is the aim; that another metric differs is worth a look, and no more"


def _p_disagrees(metric: Mapping[str, Any], each: Comparison) -> bool:
    """Tell whether an interval shows a difference at a p that a reader would take for none."""
    chance = each["p"] if _family_size(each) == 1 else each["adjusted"]
    return verdict_of(metric, each) in ("better", "worse") and chance is not None and chance >= 0.05


def _notes_by_metric(said: Sequence[Comparison], tags: Mapping[str, str]) -> Iterator[str]:
    """Yield each note of the comparisons once, with the variants where it is not of all."""
    of: dict[tuple[str, str], list[str]] = {}
    for each in said:
        for line in each["notes"]:
            of.setdefault((each["metric"], line), []).append(tags[each["a"]])
    for (metric, line), names in of.items():
        of_all = len(names) == sum(each["metric"] == metric for each in said)
        yield f"{metric}: {line}" if of_all else f"{metric} ({', '.join(names)}): {line}"


def power_text(metric: Mapping[str, Any], each: Comparison) -> str:
    """Return how many rows would show the smallest difference worth telling, and what those that are there show.

    `about 20 % of rows flip; 626 rows would show a difference of 5 points four times in five; the 100 here show 12 or
    more`. Nothing where it is not known.
    """
    needed, shown, n = each.get("rows_needed"), each.get("smallest_shown"), each["n"]
    if not n or each.get("is_ratio"):
        return ""
    moved = each["better"] + each["worse"]
    if not moved:
        return "no row differs"
    smallest = difference_size_text(metric, each["smallest"])
    here = (
        ""
        if shown is None or shown > 1
        else f"; the {n:,} here show {difference_size_text(metric, shown, bare=True)} or more"
    )
    flipping = f"about {100 * moved / n:.0f} %" if moved >= n / 100 else "less than 1 %"
    if needed:
        told = f"{needed:,} rows would show a difference of {smallest} four times in five"
        return f"{flipping} of rows {_flip_or_differ(metric)}; {told}{here}"
    return (
        f"{flipping} of rows {_flip_or_differ(metric)}, too few for a difference of {smallest}{here}" if shown else ""
    )


def _flip_or_differ(metric: Mapping[str, Any]) -> str:
    return "flip" if is_percentage(metric) else "differ"


def difference_size_text(metric: Mapping[str, Any], share: float, *, bare: bool = False) -> str:
    """Return the size of a difference that is a share of a metric's range, to two digits: `5 points`, `0.2`."""
    low, high = metric.get("bounds") or (0, 1)
    size = float(f"{share * (high - low) * (100 if is_percentage(metric) else 1):.2g}")
    return f"{size:g}" if bare or not is_percentage(metric) else f"{size:g} points"


def threshold_lines(record: Mapping[str, Any], width: int) -> Iterator[Text]:
    """Yield each threshold with whether it holds."""
    from rich.text import Text

    marks = {True: ("✓ ", "green"), False: ("✗ ", "bold red"), None: ("– ", "yellow")}
    for each in record["thresholds"]:
        mark, style = marks[each.get("passed")]
        for at, line in enumerate(paragraph(visible(str(each["says"])), width=width - 2)):
            yield Text.assemble(("  " if at else mark, style), line)


MOST_REGRESSIONS = 12


def baseline_lines(record: Mapping[str, Any], width: int) -> Iterator[Text]:
    """Yield the differences to what the run was compared with, and the rows that are right no longer."""
    from rich.text import Text

    for found in _baselines(record):
        both = found["rows"]["both"]
        of = f"{found['variant']} against " if len(record["variants"]) > 1 else "against "
        yield Text(one_line(f"{of}{found['reference']} on the {both:,} rows of both", width), style="bold")
        metrics = record["variants"][0]["metrics"]
        yield from comparison_grid([{**each, "a": ""} for each in found["comparisons"]], metrics, width)
        for each in found["comparisons"]:
            if each["regressions"]:
                told = f"{each['metric']}: right there, wrong here: {_row_numbers(each['regressions'])}"
                yield from _wrapped(told, width, "red")
        for line in found["notes"]:
            yield from _wrapped(line, width, "dim")


def _baselines(record: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    found = record.get("against") or ()
    yield from (found,) if isinstance(found, Mapping) else found


def _row_numbers(numbers: list[int]) -> str:
    more = f" and {len(numbers) - MOST_REGRESSIONS:,} more" if len(numbers) > MOST_REGRESSIONS else ""
    return f"row{'s'[: len(numbers) != 1]} {', '.join(map(str, numbers[:MOST_REGRESSIONS]))}{more}"


def _wrapped(told: str, width: int, style: str) -> Iterator[Text]:
    from rich.text import Text

    for line in paragraph(visible(told), width=width - 2, first="  ", rest="  "):
        yield Text(line, style=style)
