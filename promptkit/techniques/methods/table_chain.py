"""The operations of a chain over a table: each asks the model for its arguments, and code carries it out."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from promptkit.techniques.methods.tables import (
    WorkingTable,
    cell_text,
    read_columns,
    read_rows,
    table_lines,
    union_of_best,
)
from promptkit.techniques.task import Task
from promptkit.tools.tables import Table

DateKey = tuple[int, int, int, str]
"""Year, month, day and time of day; 0 and an empty text for what a cell does not say, so that it comes first."""

_MONTHS: Final = (
    "january",
    "february",
    "march",
    "april",
    "may",
    "june",
    "july",
    "august",
    "september",
    "october",
    "november",
    "december",
)
_MONTH: Final = rf"(?P<name>{'|'.join(_MONTHS)}|jan|feb|mar|apr|jun|jul|aug|sept?|oct|nov|dec)\b\.?"
_WEEKDAY: Final = r"(?:(?:mon|tues?|wed(?:nes)?|thu(?:rs)?|fri|sat(?:ur)?|sun)(?:day)?\.?,?\s+)?"
_DAY: Final = r"(?P<day>\d{1,2})(?!\d)(?:st|nd|rd|th)?"
_YEAR: Final = r"(?:,?\s+(?P<year>\d{3,4}))?"
_FORMS: Final = tuple(
    re.compile(form, re.IGNORECASE)
    for form in (
        rf"{_WEEKDAY}{_MONTH}\s+{_DAY}{_YEAR}",
        rf"{_WEEKDAY}(?:{_DAY}\s+(?:of\s+)?)?{_MONTH}{_YEAR}",
        r"(?P<year>\d{4})[-/](?P<month>\d{1,2})(?!\d)(?:[-/](?P<day>\d{1,2})(?!\d))?"
        r"(?:[T ](?P<time>\d\d:\d\d[:.\d]*))?",
        r"(?P<first>\d{1,2})[-/.](?P<second>\d{1,2})[-/.](?P<year>\d{4})(?!\d)",
        r"(?P<year>\d{3,4})$",
    )
)


def date_keys(cells: Sequence[str]) -> list[DateKey | None] | None:
    """Return a key for each cell of a column of dates, None for a blank one; None where a cell is not a date.

    Years alone are numbers, not dates. In `3/4/2021` the month comes first, unless a first number of the column is
    above 12 or its numbers stand between full stops.
    """
    parts: list[dict[str, str | None]] = []
    for cell in cells:
        match = _match(cell)
        if match is None and cell.strip():
            return None
        parts.append(match.groupdict() if match else {})
    if not any(part.get("name") or part.get("month") or part.get("first") for part in parts):
        return None
    numbered = [int(first) for part in parts if (first := part.get("first"))]
    day_first = any(number > 12 for number in numbered) or any("." in cell for cell in cells)
    keys = [_key(part, day_first) if part else None for part in parts]
    return keys if all(key is None or (key[1] <= 12 and key[2] <= 31) for key in keys) else None


def _match(cell: str) -> re.Match[str] | None:
    return next((match for form in _FORMS if (match := form.match(cell.strip()))), None)


def _key(part: dict[str, str | None], day_first: bool) -> DateKey:
    year, time = int(part.get("year") or 0), part.get("time") or ""
    if part.get("first"):
        first, second = int(part["first"] or 0), int(part["second"] or 0)
        return (year, second, first, time) if day_first else (year, first, second, time)
    name = (part.get("name") or "")[:3].lower()
    month = next((number for number, full in enumerate(_MONTHS, start=1) if name and full.startswith(name)), 0)
    return year, month or int(part.get("month") or 0), int(part.get("day") or 0), time


_WHOLE: Final = r"(?:\d{1,3}(?:[ \u00a0\u202f]\d{3})+(?!\d)|\d[\d,]*)"
_NUMBER: Final = re.compile(rf"([-−–]?)[^\d.]{{0,2}}({_WHOLE}(?:\.\d+)?|\.\d+)")
_PLAIN: Final = re.compile(rf"[-−–]?{_WHOLE}(?:\.\d+)?")
_SEPARATORS: Final = str.maketrans("", "", ", \u00a0\u202f")
_CLOCK: Final = re.compile(r"(?:(\d+):)?(\d{1,3}):(\d\d(?:\.\d+)?)(?!\d)")


def sort_keys(cells: Sequence[Any], datatype: str = "") -> list[Any] | None:
    """Return a key for each cell, None for one without a value; None where the cells cannot be sorted.

    A column of dates sorts in time and one of numbers by these, whatever `datatype` a model names for it. Else
    `numerical` sorts by the first number of each cell, `string` by the text, and no datatype by numbers if each cell
    has one. Other datatypes cannot be sorted, as in the paper's release.
    """
    texts = [cell_text(cell) for cell in cells]
    dates = date_keys(texts)
    if dates is not None:
        return dates
    numbers = [number_in(cell) for cell in cells]
    have_numbers = all(number is not None for number, text in zip(numbers, texts, strict=True) if text)
    are_numbers = all(_PLAIN.fullmatch(text) for text in texts if text)
    kind = datatype.casefold()
    if kind.startswith("num") or are_numbers or (not kind and have_numbers):
        return numbers if any(number is not None for number in numbers) else None
    return [text.casefold() or None for text in texts] if not kind or kind in ("string", "text") else None


def number_in(cell: Any) -> float | None:
    """Return the first number in a cell (`$1,234`, `about 5`), times (`1:02:03`) in seconds; None without one."""
    text = cell_text(cell)
    if clock := _CLOCK.match(text.strip()):
        return 3600 * float(clock[1] or 0) + 60 * float(clock[2]) + float(clock[3])
    found = _NUMBER.search(text)
    if found is None:
        return None
    number = float(found[2].translate(_SEPARATORS))
    return -number if found[1] else number


Changed = tuple[WorkingTable, list[str]] | None
"""The table after an operation and the operation's arguments; None if they did not fit."""

BEST_SELECTIONS: Final = 2
"""The number of selections that are united."""
ROWS_IN_ONE_CALL: Final = 20
"""The number of rows up to which one call adds a whole column."""
FIRST_CELLS: Final = 3
"""The number of cells that come with a column's name, if each further cell has a call of its own."""
MOST_DIFFERENT: Final = 0.8
"""The largest share of different values in a column that is grouped."""
TOKENS_A_ROW: Final = 16

_DERIVED: Final = re.compile(r"(?:(?<!\s)\s+)?derived from\s*:\s*", re.IGNORECASE)
_ROW: Final = re.compile(r"(?:(?<!\s)\s+)?row\s*\d{1,9}\s*[:|]\s*", re.IGNORECASE)
_ORDER: Final = re.compile(r"\bthe order is\b", re.IGNORECASE)
_DESCENDING: Final = re.compile(
    r"\b(?:large to small|(?:late|new)\w* to (?:early|earliest|old\w*)|descending)\b", re.IGNORECASE
)
_KIND: Final = re.compile(r"\bdatatype\s*(?:is|:)?\s*(\w+)", re.IGNORECASE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """An operation's input: the table, the task that shows it, and limits of its calls.

    `shown_rows` of the table are shown; a selection has `samples`; a further column may take `row_calls`, one a row.
    """

    task: Task
    work: WorkingTable
    samples: int
    temperature: float
    row_calls: int
    shown_rows: int

    @property
    def rows(self) -> dict[str, Any]:
        """The table as its calls show it."""
        return table_lines(self.work.table, most=self.shown_rows, numbers=self.work.numbers)

    @property
    def calls_a_row(self) -> bool:
        """True if each row after the first ones has a call for its cell of a further column."""
        return 0 < len(self.work.table.rows) - FIRST_CELLS <= self.row_calls

    @property
    def can_add_a_column(self) -> bool:
        """True if a column can be added: the table is small, or each row may have a call."""
        return self.calls_a_row or len(self.work.table.rows) <= min(ROWS_IN_ONE_CALL, self.shown_rows)


async def add_column(step: Operation) -> Changed:
    """Add a column whose cells are parts of those of another."""
    work = step.work
    count = FIRST_CELLS if step.calls_a_row else len(work.table.rows)
    reply = await step.task.ask(
        "add_column", rows=step.rows, wanted=count, max_tokens=TOKENS_A_ROW * (count + FIRST_CELLS)
    )
    name, derivation, values = read_added(reply.said)
    if name.casefold() in (column.casefold() for column in ("", *work.table.columns)) or len(values) != count:
        return None

    async def value(place: int) -> str:
        row = table_lines(work.table.select(rows=[place]), numbers=[work.numbers[place]])
        return (await step.task.ask("add_value", row=row, name=name, derivation=derivation)).said

    values += await step.task.each(value, range(count, len(work.table.rows)))
    return (work.add_column(name, values), [name]) if are_parts(values, work.table) else None


async def select_row(step: Operation) -> Changed:
    """Keep some rows: of several selections, those of the best."""
    chosen = await step.task.sample(
        "select_row", step.samples, temperature=step.temperature, logprobs=True, rows=step.rows
    )
    rows = union_of_best(
        [(exchange, read_rows(exchange.said, step.work.numbers)) for exchange in chosen], BEST_SELECTIONS
    )
    kept = step.work.select_rows(rows)
    shown = [str(number) for number in kept.numbers[: step.shown_rows]]
    return (kept, [*shown, "..."] if len(shown) < len(rows) else shown) if rows else None


async def select_column(step: Operation) -> Changed:
    """Keep some columns: of several selections, those of the best."""
    if not step.work.table.columns:
        return None
    chosen = await step.task.sample(
        "select_column", step.samples, temperature=step.temperature, logprobs=True, rows=step.rows
    )
    columns = union_of_best([(reply, reply.value or []) for reply in chosen], BEST_SELECTIONS)
    kept = step.work.select_columns(columns)
    return (kept, list(kept.table.columns)) if columns else None


async def group_column(step: Operation) -> Changed:
    """Count the values of a column, unless most of them differ."""
    if not step.work.table.columns:
        return None
    named = (await step.task.ask("group_column", rows=step.rows)).value
    if named is None:
        return None
    grouped = step.work.group(named)
    different = len(grouped.counts.rows) if grouped.counts else 0
    return (grouped, [named]) if different <= MOST_DIFFERENT * len(step.work.table.rows) else None


async def sort_column(step: Operation) -> Changed:
    """Sort by a column, unless its cells cannot be sorted or the rows are in that order already."""
    reply = (await step.task.ask("sort_column", rows=step.rows)).said
    named = read_columns(_ORDER.split(reply, maxsplit=1)[0], step.work.table.columns)
    if not named:
        return None
    kind = _KIND.search(reply)
    keys = sort_keys(step.work.column(named[0]), kind[1] if kind else "")
    if keys is None:
        return None
    ordered = step.work.sort(keys, descending=_DESCENDING.search(reply) is not None)
    return (ordered, named[:1]) if ordered.numbers != step.work.numbers else None


OPERATIONS: Final[dict[str, Callable[[Operation], Awaitable[Changed]]]] = {
    "add_column": add_column,
    "select_row": select_row,
    "select_column": select_column,
    "group_column": group_column,
    "sort_column": sort_column,
}
"""All operations in the order in which they may follow each other."""


def read_added(text: str) -> tuple[str, str, list[str]]:
    """Return the name of the column that a reply adds, its derivation and its cells."""
    first, *others = [line for line in text.splitlines() if line.strip()] or [""]
    name = first.partition("(")[2] if first.strip().startswith("f_add_column(") else first
    derivation = next((_DERIVED.sub("", line) for line in others if _DERIVED.match(line)), "")
    cells = [_ROW.sub("", line).strip() for line in others if not _DERIVED.match(line)]
    return " ".join(name.partition(")")[0].split()), derivation.strip(), cells


def are_parts(values: Sequence[str], table: Table) -> bool:
    """Tell whether values can be a further column: none is blank, not all are equal, each is part of one cell."""
    if not all(values) or (len(values) > 1 and len(set(values)) == 1):
        return False
    columns = [[cell_text(cell).casefold() for cell in column] for column in zip(*table.rows, strict=True)]
    return any(all(value.casefold() in cell for value, cell in zip(values, column, strict=True)) for column in columns)
