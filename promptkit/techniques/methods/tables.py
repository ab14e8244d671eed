"""Tables as models read them, operations on them, and the arguments that a model writes for these."""

from __future__ import annotations

import json
import re
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from math import exp
from typing import Any, Final, TypeVar

from promptkit.errors import InputError
from promptkit.techniques.context import Exchange
from promptkit.techniques.task import Task
from promptkit.tools.tables import Table

ROW_ID: Final = "row_id"
LONGEST_CELL: Final = 200
EXAMPLE_ROWS: Final = 3
"""The number of rows shown with a schema."""

_PLAIN_NAME: Final = re.compile(r"[A-Za-z_]\w*", re.ASCII)
_KEYWORD: Final = re.compile(  # Keywords that SQLite does not accept as names.
    r"add|all|alter|and|as|autoincrement|between|case|cast|check|collate|commit|constraint|create|"
    r"current_date|current_time|current_timestamp|default|deferrable|delete|distinct|drop|else|escape|"
    r"except|exists|foreign|from|group|having|in|index|insert|intersect|into|is|isnull|join|limit|"
    r"not|nothing|notnull|null|on|or|order|primary|raise|references|returning|select|set|table|then|"
    r"to|transaction|union|unique|update|using|values|when|where",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True)
class SourceTable:
    """The table of a step. `keys` are its columns' names in the step's prompt; in a `ragged` table rows lack cells."""

    table: Table
    keys: Mapping[str, str]
    ragged: bool


def table_of(task: Task) -> SourceTable:
    """Return the table that plays the role `table`, without a column `row_id`. Raises InputError for another value."""
    value = task.role("table")
    try:
        table = Table.of(value)
    except ValueError as error:
        raise InputError(f"the input that plays the role `table` is not a table: {error}") from None
    columns = Table.of([[ROW_ID, *table.columns]]).columns[1:]
    mappings = all(isinstance(row, Mapping) for row in value)
    names = dict.fromkeys(name for row in value for name in row) if mappings else table.columns
    ragged = mappings and any(len(row) < len(names) for row in value)
    return SourceTable(Table(columns, table.rows), dict(zip(columns, names, strict=True)), ragged)


def with_table(task: Task, source: SourceTable, table: Table) -> Task:
    """Return the task with another table, in the user's sections and in each call.

    If the prompt names columns that the table does not have, they are added as blank ones.
    """
    rows = [
        {
            source.keys.get(name, name): cell
            for name, cell in zip(table.columns, row, strict=True)
            if cell is not None or not source.ragged
        }
        for row in table.rows
    ]
    shown = task.replacing(table=rows)
    try:
        for name in ("context", "input"):
            shown.section(name)
    except InputError:
        blank = dict.fromkeys(source.keys.values(), "")
        return task.replacing(table=[{**blank, **row} for row in rows])
    return shown


def table_lines(
    table: Table, *, most: int | None = None, numbers: Sequence[int] | None = None, longest: int = LONGEST_CELL
) -> dict[str, Any]:
    """Return a table for the macro `lines` of `_table.j2`: at most `most` rows, and cells of at most `longest`
    characters.

    Rows are numbered from 1 unless `numbers` are given.
    """
    numbered = zip(numbers or range(1, len(table.rows) + 1), table.rows[:most], strict=False)
    rows = [{"number": number, "cells": [shown_cell(cell, longest) for cell in row]} for number, row in numbered]
    return {"columns": list(table.columns), "rows": rows, "more": len(table.rows) - len(rows)}


def rows_shown(task: Task, table: Table, most: int) -> dict[str, Any]:
    """Return the numbers of rows of a table that the macro `left_out` of `_table.j2` says are `shown`, and `more` there
    are. Warns where there are more.
    """
    shown = min(most, len(table.rows))
    if shown < len(table.rows):
        task.warn("rows_left_out")
    return {"shown": shown, "more": len(table.rows) - shown}


async def table_schema(task: Task, table: Table) -> dict[str, Any]:
    """Return a table for the macro `schema` of `_table.j2`: names, types and the first rows."""
    names = [sql_name(column) for column in table.columns]
    first = await task.sql(table, f"SELECT * FROM w ORDER BY row_id LIMIT {EXAMPLE_ROWS}")
    smallest = ", ".join(["row_id", *(f"typeof(min({name}))" for name in names)])
    types = [kind for row in (await task.sql(table, f"SELECT {smallest} FROM w")).rows for kind in row[1:]]
    columns = [
        {"name": name, "type": kind.upper() if kind in ("integer", "real") else "TEXT"}
        for name, kind in zip(names, types, strict=True)
    ]
    shown = [[shown_cell(cell) for cell in row] for row in first.rows]
    return {"columns": columns, "rows": shown, "more": len(table.rows) - len(shown)}


def sql_name(column: str) -> str:
    """Return a column's name for a query, in backticks unless it is a plain word."""
    if _PLAIN_NAME.fullmatch(column) and not _KEYWORD.fullmatch(column):
        return column
    return "`" + column.replace("\0", "").replace("`", "``") + "`"


def cell_text(cell: Any, longest: int = LONGEST_CELL) -> str:
    """Return a cell on one line, shortened if it is long, empty for null."""
    match cell:
        case None:
            return ""
        case bool():
            return "true" if cell else "false"
        case Mapping() | list() | tuple():
            cell = json.dumps(cell, ensure_ascii=False, default=str)
    text = " ".join(str(cell).split())
    return text if len(text) <= longest else f"{text[:longest]}…"


def shown_cell(cell: Any, longest: int = LONGEST_CELL) -> str:
    """Return a cell as a prompt shows it: it cannot end the comment in which its table stands."""
    return cell_text(cell, longest).replace("*/", "* /")


def sql_literal(value: Any) -> str:
    """Return a value as an SQL literal."""
    if value is None:
        return "NULL"
    if isinstance(value, bool | int | float):
        return str(float(value) if isinstance(value, float) else int(value))
    return "'" + str(value).replace("\0", "").replace("'", "''") + "'"


Selected = TypeVar("Selected", bound=Hashable)

_ALL: Final = re.compile(r"[\s\[({'\"]*\*")
_RANGE: Final = re.compile(
    r"(\d{1,9})\s*(?:to|through|until|bis|\.\.\.?|[-–—…])\s*(?:rows?\s*)?(\d{1,9})", re.IGNORECASE
)


@dataclass(frozen=True, slots=True)
class WorkingTable:
    """A table during operations: rows keep their first numbers; `counts` is a view of one column's values."""

    table: Table
    numbers: tuple[int, ...]
    counts: Table | None = None

    @classmethod
    def of(cls, table: Table) -> WorkingTable:
        return cls(table, tuple(range(1, len(table.rows) + 1)))

    def select_rows(self, numbers: Iterable[int]) -> WorkingTable:
        """Return the table with the rows of these numbers, in its order."""
        chosen = set(numbers)
        places = [place for place, number in enumerate(self.numbers) if number in chosen]
        return self._with_rows(places)

    def select_columns(self, columns: Iterable[str]) -> WorkingTable:
        """Return the table with these columns, in its order."""
        chosen = set(columns)
        return replace(self, table=self.table.select([name for name in self.table.columns if name in chosen]))

    def add_column(self, name: str, values: Sequence[Any]) -> WorkingTable:
        """Return the table with a further column, a value for each row."""
        rows = tuple((*row, value) for row, value in zip(self.table.rows, values, strict=True))
        return replace(self, table=Table((*self.table.columns, name), rows))

    def sort(self, keys: Sequence[Any], *, descending: bool) -> WorkingTable:
        """Return the table sorted by a key for each row; rows without one come last."""
        filled = [place for place, key in enumerate(keys) if key is not None]
        filled.sort(key=lambda place: keys[place], reverse=descending)
        return self._with_rows([*filled, *(place for place, key in enumerate(keys) if key is None)])

    def group(self, column: str) -> WorkingTable:
        """Return the table with counts of a column's values, the most frequent first; its rows stay."""
        counted: dict[str, int] = {}
        for cell in self.column(column):
            counted[cell_text(cell)] = counted.get(cell_text(cell), 0) + 1
        rows = sorted(counted.items(), key=lambda item: -item[1])
        return replace(self, counts=Table.of([[column, "count"], *rows]))

    def column(self, name: str) -> list[Any]:
        """Return the cells of a column."""
        place = self.table.columns.index(name)
        return [row[place] for row in self.table.rows]

    def _with_rows(self, places: Sequence[int]) -> WorkingTable:
        table = self.table.select(rows=places)
        return replace(self, table=table, numbers=tuple(self.numbers[place] for place in places))


def read_columns(text: str, columns: Sequence[str]) -> list[str]:
    """Return the columns that a text names, in any case; of overlapping names the longest."""
    known = {name.casefold(): name for name in columns}
    names = "|".join(re.escape(name) for name in sorted(known, key=len, reverse=True))
    found = re.findall(rf"(?<!\w)(?:{names})(?!\w)", text.casefold()) if names else []
    return list(dict.fromkeys(known[name] for name in found))


def read_rows(text: str, numbers: Sequence[int]) -> list[int]:
    """Return the existing rows named in `f_row([…])`, or else in the text, in order.

    `*` means all, and `row 7 to row 9` those between too.
    """
    text = text.rpartition("f_row")[2]
    if _ALL.match(text):
        return list(numbers)
    ranges = [range(int(first), int(last) + 1) for first, last in _RANGE.findall(text)]
    named = {int(number) for number in re.findall(r"\d{1,9}", text)}
    return [number for number in numbers if number in named or any(number in between for between in ranges)]


def union_of_best(chosen: Sequence[tuple[Exchange, Sequence[Selected]]], most: int) -> set[Selected]:
    """Return the union of the best of several selections; equal ones add up.

    A selection is weighted by the likelihood of its reply, if the runtime gives that. Empty ones do not count.
    """
    weights: dict[frozenset[Selected], float] = {}
    for exchange, selection in chosen:
        if selection:
            key = frozenset(selection)
            weights[key] = weights.get(key, 0.0) + likelihood(exchange)
    best = sorted(weights, key=lambda key: -weights[key])[:most]
    return set().union(*best)


def likelihood(exchange: Exchange) -> float:
    """Return the geometric mean of the probabilities of a reply's tokens, 1 if the runtime does not give them."""
    return 1.0 if exchange.confidence is None else exp(exchange.confidence)
