"""Tables as models read them, operations on them, and the arguments that a model writes for these."""

from __future__ import annotations

import json
import re
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from math import exp
from typing import TYPE_CHECKING, Any, Final, TypeVar

from promptkit.errors import InputError
from promptkit.techniques.context import Exchange
from promptkit.tools.tables import Table

if TYPE_CHECKING:
    from promptkit.techniques.task import Task

ROW_ID: Final = "row_id"
LONGEST_CELL: Final = 200
EXAMPLE_ROWS: Final = 3
"""How many rows stand beside a schema."""

_PLAIN_NAME: Final = re.compile(r"[A-Za-z_]\w*", re.ASCII)
_KEYWORD: Final = re.compile(  # Those of SQLite that it takes for no name.
    r"add|all|alter|and|as|autoincrement|between|case|cast|check|collate|commit|constraint|create|"
    r"current_date|current_time|current_timestamp|default|deferrable|delete|distinct|drop|else|escape|"
    r"except|exists|foreign|from|group|having|in|index|insert|intersect|into|is|isnull|join|limit|"
    r"not|nothing|notnull|null|on|or|order|primary|raise|references|returning|select|set|table|then|"
    r"to|transaction|union|unique|update|using|values|when|where",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True)
class SourceTable:
    """The table of a step. `keys` are its columns' names as the step's prompt knows them; in a `ragged` table rows
    lack cells."""

    table: Table
    keys: Mapping[str, str]
    ragged: bool


def table_of(task: Task) -> SourceTable:
    """Return what plays the role `table`; none of its columns is `row_id`. Raises InputError where it is no table."""
    value = task.role("table")
    try:
        table = Table.of(value)
    except ValueError as error:
        raise InputError(f"the input that plays the role `table` is none: {error}") from None
    columns = Table.of([[ROW_ID, *table.columns]]).columns[1:]
    mappings = all(isinstance(row, Mapping) for row in value)
    names = dict.fromkeys(name for row in value for name in row) if mappings else table.columns
    ragged = mappings and any(len(row) < len(names) for row in value)
    return SourceTable(Table(columns, table.rows), dict(zip(columns, names, strict=True)), ragged)


def with_table(task: Task, source: SourceTable, table: Table) -> Task:
    """Return the task with another table in place of its own, in the user's sections and in each call.

    Where the prompt names columns that are not in it, they are there, and blank.
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
    """Return a table as the macro `lines` of `_table.j2` writes it, at most so many rows and such long cells of it.

    Rows are numbered from 1, unless `numbers` gives their own.
    """
    numbered = zip(numbers or range(1, len(table.rows) + 1), table.rows[:most], strict=False)
    rows = [{"number": number, "cells": [cell_text(cell, longest) for cell in row]} for number, row in numbered]
    return {"columns": list(table.columns), "rows": rows, "more": len(table.rows) - len(rows)}


async def table_schema(task: Task, table: Table) -> dict[str, Any]:
    """Return a table as the macro `schema` of `_table.j2` writes it: names, types, and the first rows."""
    names = [sql_name(column) for column in table.columns]
    first = await task.sql(table, f"SELECT * FROM w ORDER BY row_id LIMIT {EXAMPLE_ROWS}")
    smallest = ", ".join(["row_id", *(f"typeof(min({name}))" for name in names)])
    types = [kind for row in (await task.sql(table, f"SELECT {smallest} FROM w")).rows for kind in row[1:]]
    columns = [
        {"name": name, "type": kind.upper() if kind in ("integer", "real") else "TEXT"}
        for name, kind in zip(names, types, strict=True)
    ]
    return {"columns": columns, "rows": [[cell_text(cell) for cell in row] for row in first.rows]}


def sql_name(column: str) -> str:
    """Return a column's name as a query writes it: in backticks unless it is a plain word."""
    if _PLAIN_NAME.fullmatch(column) and not _KEYWORD.fullmatch(column):
        return column
    return "`" + column.replace("\0", "").replace("`", "``") + "`"


def cell_text(cell: Any, longest: int = LONGEST_CELL) -> str:
    """Return a cell on one line, cut where it is long; empty where it is null."""
    match cell:
        case None:
            return ""
        case bool():
            return "true" if cell else "false"
        case Mapping() | list() | tuple():
            cell = json.dumps(cell, ensure_ascii=False, default=str)
    text = " ".join(str(cell).split())
    return text if len(text) <= longest else f"{text[:longest]}…"


def sql_literal(value: Any) -> str:
    """Return a value as SQL writes it."""
    if value is None:
        return "NULL"
    if isinstance(value, bool | int | float):
        return str(float(value) if isinstance(value, float) else int(value))
    return "'" + str(value).replace("\0", "").replace("'", "''") + "'"


Selected = TypeVar("Selected", bound=Hashable)

_NUMBER: Final = re.compile(r"([-−–]?)[^\d.]{0,2}(\d[\d,]*(?:\.\d+)?|\.\d+)")
_ALL: Final = re.compile(r"[\s\[({'\"]*\*")


@dataclass(frozen=True, slots=True)
class WorkingTable:
    """A table at work: each row has the number that it had at first; `counts` is a view of one column's values."""

    table: Table
    numbers: tuple[int, ...]
    counts: Table | None = None

    @classmethod
    def of(cls, table: Table) -> WorkingTable:
        return cls(table, tuple(range(1, len(table.rows) + 1)))

    def select_rows(self, numbers: Iterable[int]) -> WorkingTable:
        """Return it with the rows of these numbers, in its own order."""
        wanted = set(numbers)
        places = [place for place, number in enumerate(self.numbers) if number in wanted]
        return self._with_rows(places)

    def select_columns(self, columns: Iterable[str]) -> WorkingTable:
        """Return it with these columns, in its own order."""
        wanted = set(columns)
        return replace(self, table=self.table.select([name for name in self.table.columns if name in wanted]))

    def add_column(self, name: str, values: Sequence[Any]) -> WorkingTable:
        """Return it with a further column, a value for each row."""
        rows = tuple((*row, value) for row, value in zip(self.table.rows, values, strict=True))
        return replace(self, table=Table((*self.table.columns, name), rows))

    def sort(self, column: str, *, descending: bool, numeric: bool) -> WorkingTable:
        """Return it in the order of a column: by the numbers in its cells or by their texts, blank ones last."""
        cells = self.column(column)
        keys = [number_in(cell) if numeric else cell_text(cell).casefold() or None for cell in cells]
        filled = [place for place, key in enumerate(keys) if key is not None]
        filled.sort(key=lambda place: keys[place], reverse=descending)  # type: ignore[arg-type, return-value]
        return self._with_rows([*filled, *(place for place, key in enumerate(keys) if key is None)])

    def group(self, column: str) -> WorkingTable:
        """Return it with a view of how often each value of a column comes, the most frequent first; its rows stay."""
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


def number_in(cell: Any) -> float | None:
    """Return the first number in a cell, without what stands around it (`$1,234`, `about 5`); None without one."""
    found = _NUMBER.search(cell_text(cell))
    if found is None:
        return None
    number = float(found[2].replace(",", ""))
    return -number if found[1] else number


def read_columns(text: str, columns: Sequence[str]) -> list[str]:
    """Return the columns that `f_col([…])`, or else a text, names, in any case, the longest where they overlap."""
    known = {name.casefold(): name for name in columns}
    names = "|".join(re.escape(name) for name in sorted(known, key=len, reverse=True))
    found = re.findall(rf"(?<!\w)(?:{names})(?!\w)", text.rpartition("f_col")[2].casefold()) if names else []
    return list(dict.fromkeys(known[name] for name in found))


def read_rows(text: str, numbers: Sequence[int]) -> list[int]:
    """Return the rows that `f_row([…])`, or else a text, names, of those that there are, in order; `*` means all."""
    text = text.rpartition("f_row")[2]
    if _ALL.match(text):
        return list(numbers)
    named = {int(number) for number in re.findall(r"\d{1,9}", text)}
    return [number for number in numbers if number in named]


def union_of_best(chosen: Sequence[tuple[Exchange, Sequence[Selected]]], most: int) -> set[Selected]:
    """Return the union of the best of several selections; equal ones count together.

    Each counts by how likely its reply was, where the runtime tells. Empty ones count for nothing.
    """
    weights: dict[frozenset[Selected], float] = {}
    for exchange, selection in chosen:
        if selection:
            key = frozenset(selection)
            weights[key] = weights.get(key, 0.0) + likelihood(exchange)
    best = sorted(weights, key=lambda key: -weights[key])[:most]
    return set().union(*best)


def likelihood(exchange: Exchange) -> float:
    """Return how likely a token of a reply was, in the geometric mean; 1 where the runtime does not tell."""
    return 1.0 if exchange.confidence is None else exp(exchange.confidence)
