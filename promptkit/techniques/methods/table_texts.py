"""Tables as models read them: cells on one line each, and no more rows than a prompt can hold."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from promptkit.errors import InputError
from promptkit.tools import Table

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
class Source:
    """The table of a step. `keys` are its columns' names as the step's prompt knows them; in a `ragged` table rows
    lack cells."""

    table: Table
    keys: Mapping[str, str]
    ragged: bool


def table_of(task: Task) -> Source:
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
    return Source(Table(columns, table.rows), dict(zip(columns, names, strict=True)), ragged)


def showing(task: Task, source: Source, table: Table) -> Task:
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


def lines(
    table: Table, *, most: int | None = None, numbers: Sequence[int] | None = None, longest: int = LONGEST_CELL
) -> dict[str, Any]:
    """Return a table as the macro `lines` of `_table.j2` writes it, at most so many rows and such long cells of it.

    Rows are numbered from 1, unless `numbers` gives their own.
    """
    numbered = zip(numbers or range(1, len(table.rows) + 1), table.rows[:most], strict=False)
    rows = [{"number": number, "cells": [cell_text(cell, longest) for cell in row]} for number, row in numbered]
    return {"columns": list(table.columns), "rows": rows, "more": len(table.rows) - len(rows)}


async def schema(task: Task, table: Table) -> dict[str, Any]:
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


def literal(value: Any) -> str:
    """Return a value as SQL writes it."""
    if value is None:
        return "NULL"
    if isinstance(value, bool | int | float):
        return str(float(value) if isinstance(value, float) else int(value))
    return "'" + str(value).replace("\0", "").replace("'", "''") + "'"
