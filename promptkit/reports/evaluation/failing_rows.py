"""Failing rows of an evaluation: those without a readable answer first, then those with the lowest scores."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from heapq import nsmallest
from itertools import islice
from typing import Any, NamedTuple

from rich.text import Text

from promptkit.evaluation.cells.cell import Cell, RunView, compared_values
from promptkit.evaluation.metrics.score import REASON_DETAIL
from promptkit.evaluation.record import EvalRecord, MetricRecord
from promptkit.evaluation.suite.generated import real_fields
from promptkit.reports.layout import GAP, TableCell, column_width, fitted, grid, shortened, value_line
from promptkit.reports.text import one_line

MOST_SHOWN = 10
MOST_FLAGGED = 5
"""Rows without a readable answer that are shown where others have low scores."""

MOST_READ = 10_000
"""Cells that are looked through: a run of a million rows is not read again to show ten of them."""

INDENT = 2
FLAG_TEXTS = {"unparsed": "unparsed", "truncated": "cut off", "error": "missing"}


@dataclass(slots=True)
class FailingRow:
    """A failing row of the baseline: its worst cell, that cell's score from 0 to 1, and how many cells failed."""

    cell: Cell
    score: float
    cells: int = 1


def find_failing_rows(view: RunView, record: EvalRecord) -> list[FailingRow]:
    """Return at most MOST_SHOWN failing rows of the baseline: those without an answer, then the worst by score.

    Of equal ones the first come. No more cells are read than are needed, and never more than MOST_READ.
    """
    variant = record.variants[0]
    unanswered = min(MOST_FLAGGED, variant.missing + variant.unparsed + variant.truncated)
    rows: dict[int, FailingRow] = {}
    flagged = hopeless = 0
    for cell in islice(view.cells(variant.name), MOST_READ):
        score = -1.0 if cell.flag else normalized_score(cell, variant.metrics)
        if score >= 1:
            continue
        if flagged >= unanswered and hopeless >= MOST_SHOWN and cell.row not in rows:
            break
        flagged += bool(cell.flag)
        hopeless += score == 0
        row = rows.get(cell.row)
        if row is None:
            rows[cell.row] = FailingRow(cell, score)
            continue
        row.cells += 1
        if score < row.score:
            row.cell, row.score = cell, score
    first = [row for row in rows.values() if row.cell.flag]
    worst = nsmallest(MOST_SHOWN, (row for row in rows.values() if not row.cell.flag), key=lambda row: row.score)
    first = first[: max(MOST_FLAGGED, MOST_SHOWN - len(worst))]
    return [*first, *worst[: MOST_SHOWN - len(first)]]


def normalized_score(cell: Cell, metrics: Mapping[str, MetricRecord]) -> float:
    """Return a cell's score by the primary metric, from 0 to 1; 0 without a score.

    It is 1 where the metric has no bounds or does not apply.
    """
    name, metric = next(iter(metrics.items()), ("", MetricRecord()))
    if not metric.bounds or (score := cell.scores.get(name)) is None or not score.applies:
        return 1.0
    return 0.0 if score.value is None else metric.goodness(score.value)


def failing_row_lines(view: RunView, record: EvalRecord, width: int) -> Iterator[Text]:
    """Yield failing rows of the baseline, a line each: expected answer, answer or what is wrong, and inputs."""
    failing = find_failing_rows(view, record)
    if not failing:
        return
    variant = record.variants[0]
    of = f" of {shortened(one_line(variant.name), width // 2)}" if len(record.variants) > 1 else ""
    yield Text(f"failing rows{of}", style="bold")
    metric = next(iter(variant.metrics))
    numbers = ["row", *map(_number, failing)]
    answers = [_answer_texts(row.cell, metric) for row in failing]
    compared = any(answer.expected for answer in answers)
    reasoned = any(answer.reason for answer in answers)
    texts = [[*(["expected"] if compared else []), "answer", "input", *(["reason"] if reasoned else [])]]
    for answer, row in zip(answers, failing, strict=True):
        inputs = inputs_line(row.cell.fields, compared_values(row.cell, metric)[0])
        expected, reason = [answer.expected] if compared else [], [answer.reason] if reasoned else []
        texts.append([*expected, answer.got, inputs, *reason])
    alike = 1 + compared
    head, *cut = fitted(texts, width - INDENT - column_width(numbers) - GAP, alike=alike)
    styles = [[*["green"] * compared, answer.style, "", *[""] * reasoned] for answer in answers]
    rows: list[list[TableCell]] = [[(text, "dim") for text in (numbers[0], *head)]]
    rows += [
        [number, *zip(line, style, strict=True)] for number, line, style in zip(numbers[1:], cut, styles, strict=True)
    ]
    yield from grid(rows, right=(0,), width=width, indent=INDENT)


def _number(row: FailingRow) -> str:
    """Return a row's number, after the count of its failing cells where there are several."""
    return f"{row.cells} × {row.cell.row}" if row.cells > 1 else str(row.cell.row)


class _AnswerTexts(NamedTuple):
    """The expected answer of a cell, its answer or why there is none, the style of that, and a judge's reason."""

    expected: str
    got: str
    style: str
    reason: str = ""


def _answer_texts(cell: Cell, metric: str) -> _AnswerTexts:
    expected, got = compared_values(cell, metric)
    expected_text = value_line(expected)
    if cell.flag:
        why = re.sub(r"^step `[^`]*`: ", "", cell.problem)
        return _AnswerTexts(expected_text, ": ".join(filter(None, (FLAG_TEXTS[cell.flag], one_line(why)))), "yellow")
    score = cell.scores.get(metric)
    if score is not None and score.is_missing:
        return _AnswerTexts(expected_text, f"no score: {one_line(score.why)}", "yellow")
    reason = "" if score is None else one_line(score.detail.get(REASON_DETAIL, ""))
    return _AnswerTexts(expected_text, "null" if got is None else value_line(got), "red", reason)


def _is_records(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(isinstance(item, Mapping) for item in value)


def inputs_line(fields: Mapping[str, Any], expected: Any) -> str:
    """Return a row's fields in one line, without what is expected; the longest comes first and has no name.

    Records, such as a table or a row's own assertions, come first only where there is nothing else.
    """
    fields = real_fields(fields)
    texts = {name: one_line(value) for name, value in fields.items() if value is None or value != expected}
    if not texts:
        return ""
    longest = max(texts, key=lambda name: (not _is_records(fields[name]), len(texts[name])))
    first = texts.pop(longest)
    return " · ".join([first, *(f"{name}: {value}" for name, value in texts.items())])
