"""The operations of a chain over a table: each asks the model for its arguments, and code carries it out."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from promptkit.techniques.methods.sort_keys import sort_keys
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
