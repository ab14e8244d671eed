"""Failing rows of an evaluation: those without a readable answer first, then those with the lowest scores."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from heapq import nsmallest
from itertools import islice
from typing import TYPE_CHECKING, Any, NamedTuple

from promptkit.evaluation.cells.cell import compared_values
from promptkit.reports.layout import GAP, TableCell, column_width, fitted, grid, shortened, value_line
from promptkit.reports.text import one_line

if TYPE_CHECKING:
    from rich.text import Text

    from promptkit.evaluation.cells.cell import Cell, RunView

MOST_SHOWN = 10
MOST_FLAGGED = 5
"""How many of those shown may be ones without an answer, where others are wrong."""

MOST_READ = 10_000
"""Cells that are looked through: a run of a million rows is not read again to show ten of them."""

INDENT = 2
TIE = 0.5
FLAG_TEXTS = {"unparsed": "unparsed", "truncated": "cut off", "error": "missing"}


@dataclass(slots=True)
class FailingRow:
    """A failing row of the baseline: its worst cell, how good that is (0 to 1), and how many of its cells failed."""

    cell: Cell
    goodness: float
    cells: int = 1


def find_failing_rows(view: RunView, record: Mapping[str, Any]) -> list[FailingRow]:
    """Return at most MOST_SHOWN failing rows of the baseline: those without an answer, then by the aim the worst.

    Of equal ones the first come. No more cells are read than are needed, and never more than MOST_READ.
    """
    variant = record["variants"][0]
    unanswered = min(MOST_FLAGGED, variant["missing"] + variant["unparsed"] + variant["truncated"])
    failures: dict[int, FailingRow] = {}
    flagged = hopeless = 0
    for cell in islice(view.cells(variant["name"]), MOST_READ):
        goodness = -1.0 if cell.flag else normalized_score(cell, variant["metrics"])
        if goodness >= 1:
            continue
        if flagged >= unanswered and hopeless >= MOST_SHOWN and cell.row not in failures:
            break
        flagged += bool(cell.flag)
        hopeless += goodness == 0
        known = failures.get(cell.row)
        if known is None:
            failures[cell.row] = FailingRow(cell, goodness)
            continue
        known.cells += 1
        if goodness < known.goodness:
            known.cell, known.goodness = cell, goodness
    first = [each for each in failures.values() if each.cell.flag]
    worst = nsmallest(
        MOST_SHOWN, (each for each in failures.values() if not each.cell.flag), key=lambda each: each.goodness
    )
    first = first[: max(MOST_FLAGGED, MOST_SHOWN - len(worst))]
    return [*first, *worst[: MOST_SHOWN - len(first)]]


def normalized_score(cell: Cell, metrics: Mapping[str, Mapping[str, Any]]) -> float:
    """Return how good a cell's score of the aim is, from 0 to 1; 1 where the aim has no bounds, 0 without a score.

    Of a pairwise judge only a loss is not good: the baseline's own answers are all ties with themselves.
    """
    aim, metric = next(iter(metrics.items()), ("", {}))
    if not metric.get("bounds") or (score := cell.scores.get(aim)) is None:
        return 1.0
    if score.value is None:
        return 0.0
    if metric.get("kind") == "pairwise":
        return float(score.value >= TIE)
    low, high = metric["bounds"]
    share = float((score.value - low) / (high - low))
    return share if metric.get("higher_is_better", True) else 1 - share


def failing_row_lines(view: RunView, record: Mapping[str, Any], width: int) -> Iterator[Text]:
    """Yield failing rows of the baseline, each in one line: expected, answer or what is wrong, and the inputs."""
    from rich.text import Text

    failures = find_failing_rows(view, record)
    if not failures:
        return
    variant = record["variants"][0]
    of = f" of {shortened(one_line(variant['name']), width // 2)}" if len(record["variants"]) > 1 else ""
    yield Text(f"failing rows{of}", style="bold")
    aim = next(iter(variant["metrics"]))
    numbers = ["row", *(_number(each) for each in failures)]
    values = [_answer_texts(each.cell, aim) for each in failures]
    alike = 2 if any(each.expected for each in values) else 1
    texts = [["expected", "answer", "input"][-1 - alike :]]
    texts += [
        [each.expected, each.got, inputs_line(failure.cell, compared_values(failure.cell, aim)[0])][-1 - alike :]
        for each, failure in zip(values, failures, strict=True)
    ]
    head, *cut = fitted(texts, width - INDENT - column_width(numbers) - GAP, alike=alike)
    styles = [[*["green"] * (alike - 1), each.style, ""] for each in values]
    rows: list[list[TableCell]] = [[(text, "dim") for text in (numbers[0], *head)]]
    rows += [
        [number, *zip(line, look, strict=True)] for number, line, look in zip(numbers[1:], cut, styles, strict=True)
    ]
    yield from grid(rows, right=(0,), width=width, indent=INDENT)


def _number(failure: FailingRow) -> str:
    """Return a row's number, behind how many of its cells failed where it is more than one."""
    return f"{failure.cells} × {failure.cell.row}" if failure.cells > 1 else str(failure.cell.row)


class _AnswerTexts(NamedTuple):
    """What was expected of a cell, what came or why nothing did, and how that looks."""

    expected: str
    got: str
    style: str


def _answer_texts(cell: Cell, aim: str) -> _AnswerTexts:
    expected, got = compared_values(cell, aim)
    told = value_line(expected)
    if cell.flag:
        why = re.sub(r"^step `[^`]*`: ", "", cell.problem)
        return _AnswerTexts(told, ": ".join(filter(None, (FLAG_TEXTS[cell.flag], one_line(why)))), "yellow")
    score = cell.scores.get(aim)
    if score is not None and score.value is None:
        return _AnswerTexts(told, f"no score: {one_line(score.why)}", "yellow")
    return _AnswerTexts(told, "null" if got is None else value_line(got), "red")


def inputs_line(cell: Cell, expected: Any) -> str:
    """Return a row's fields in one line, the longest first and without its name, what is expected left out."""
    fields = {name: one_line(value) for name, value in cell.fields.items() if value is None or value != expected}
    if not fields:
        return ""
    longest = max(fields, key=lambda name: len(fields[name]))
    first = fields.pop(longest)
    return " · ".join([first, *(f"{name}: {value}" for name, value in fields.items())])
