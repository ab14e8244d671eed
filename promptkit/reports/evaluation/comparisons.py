"""What a run says of its variants against the baseline, and how many rows would tell."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import groupby
from typing import TYPE_CHECKING, Any

from promptkit.reports.columns import paragraph
from promptkit.reports.evaluation.figures import (
    chance_text,
    difference_parts,
    difference_unit,
    is_share,
    verdict_of,
)
from promptkit.reports.evaluation.grid import Cell, grid
from promptkit.reports.text import visible

if TYPE_CHECKING:
    from rich.text import Text

Comparison = Mapping[str, Any]
MOST_TOLD = 3
"""Of how many comparisons it is said how many rows would tell."""

_COLOURS = {"better": "bold green", "worse": "bold red", "not shown": "dim"}


def comparison_lines(record: Mapping[str, Any], width: int) -> Iterator[Text]:
    """Yield the differences on the same rows with interval, p, rows that moved and a verdict; nothing where none is.

    A family is what one metric compares: its p values are adjusted by Holm, its intervals by Bonferroni.
    """
    from rich.text import Text

    said: Sequence[Comparison] = record["comparisons"]
    if not said:
        return
    metrics = record["variants"][0]["metrics"]
    others = list(dict.fromkeys(each["a"] for each in said))
    who = f"{others[0]} against {said[0]['b']}" if len(others) == 1 else f"against {said[0]['b']}"
    yield Text.assemble((who, "bold"), (" on the same rows", "bold"))
    yield from comparison_grid(said, metrics, width)


def comparison_grid(said: Sequence[Comparison], metrics: Mapping[str, Any], width: int) -> list[Text]:
    """Return comparisons as a table, under each metric those that are made of it; of one each in one line."""
    if not said:
        return []
    several = len({each["a"] for each in said}) > 1
    head = ["", "difference", "", "p, Holm" if any(_family(each) > 1 for each in said) else "p", "better", "worse", ""]
    rows: list[list[Cell]] = [[(each, "dim") for each in head]]
    for name, group in groupby(said, key=lambda each: each["metric"]):
        some = list(group)
        unit = difference_unit(metrics[name], some[0])
        title = f"{name}, {unit}" if unit else name
        rows += [[(title, "bold")]] if several else []
        rows += [_row(f"  {each['a']}" if several else title, metrics[name], each) for each in some]
    return grid(rows, right=(1, 3, 4, 5), width=width, indent=2)


def _family(each: Comparison) -> int:
    return int(each.get("comparisons") or 1)


def _row(title: str, metric: Mapping[str, Any], each: Comparison) -> list[Cell]:
    verdict = verdict_of(metric, each)
    value, interval = difference_parts(metric, each)
    chance = each["p"] if _family(each) == 1 else each["adjusted"]
    better, worse = f"{each['better']:,}", f"{each['worse']:,}"
    return [
        title,
        (value, "bold"),
        interval,
        chance_text(chance),
        better,
        worse,
        (verdict or "", _COLOURS.get(verdict or "", "")),
    ]


def comparison_notes(record: Mapping[str, Any]) -> Iterator[str]:
    """Yield how many rows would tell, of the aim, what the comparisons note, and how several are judged."""
    said: Sequence[Comparison] = record["comparisons"]
    if not said:
        return
    metrics = record["variants"][0]["metrics"]
    aim = next(iter(metrics))
    undecided = [each for each in said if each["metric"] == aim and verdict_of(metrics[aim], each) == "not shown"]
    several = len({each["a"] for each in said}) > 1
    for each in undecided[:MOST_TOLD]:
        told = rows_text(metrics[aim], each)
        if told:
            yield f"{each['a']}: {told}" if several else told
    yield from _own_notes(said)
    family = max(map(_family, said))
    if family > 1:
        yield f"each metric's p values are adjusted for {family} comparisons (Holm), its intervals too (Bonferroni)"
    if len({each["metric"] for each in said}) > 1:
        yield f"{aim} is the aim; that another metric differs is worth a look, and no more"


def _own_notes(said: Iterable[Comparison]) -> Iterator[str]:
    of: dict[tuple[str, str], list[str]] = {}
    for each in said:
        for line in each["notes"]:
            of.setdefault((each["metric"], line), []).append(each["a"])
    for (metric, line), names in of.items():
        yield f"{metric} ({', '.join(names)}): {line}"


def rows_text(metric: Mapping[str, Any], each: Comparison) -> str:
    """Return how many rows would show the smallest difference worth telling, and what those that are there show.

    `about 20 % of rows flip; 626 rows would show a difference of 5 points four times in five; the 100 here show 12 or
    more`. Nothing where it is not known.
    """
    needed, shown = each.get("rows_needed"), each.get("smallest_shown")
    parts = []
    if each["n"] and is_share(metric) and each["better"] + each["worse"]:
        flipping = (each["better"] + each["worse"]) / each["n"]
        parts.append(f"about {100 * flipping:.0f} % of rows flip" if flipping >= 0.01 else "under 1 % of rows flip")
    if needed:
        smallest = size_text(metric, each["smallest"])
        parts.append(f"{needed:,} rows would show a difference of {smallest} four times in five")
        if shown is not None:
            parts.append(f"the {each['n']:,} here show {size_text(metric, shown, bare=True)} or more")
    return "; ".join(parts) if needed else ""


def size_text(metric: Mapping[str, Any], share: float, *, bare: bool = False) -> str:
    """Return the size of a difference that is a share of a metric's range, to two digits: `5 points`, `0.2`."""
    low, high = metric.get("bounds") or (0, 1)
    size = float(f"{share * (high - low) * (100 if is_share(metric) else 1):.2g}")
    return f"{size:g}" if bare or not is_share(metric) else f"{size:g} points"


def threshold_lines(record: Mapping[str, Any], width: int) -> Iterator[Text]:
    """Yield each threshold with whether it holds."""
    from rich.text import Text

    marks = {True: ("✓ ", "green"), False: ("✗ ", "bold red"), None: ("– ", "yellow")}
    for each in record["thresholds"]:
        mark, style = marks[each.get("passed")]
        for at, line in enumerate(paragraph(visible(str(each["says"])), width=width - 2)):
            yield Text.assemble(("  " if at else mark, style), line)
