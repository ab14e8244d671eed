"""Tables and model-written SQL over them.

A query reads a copy in a SQLite database in memory, in a worker process that is killed when its time is up.
"""

from __future__ import annotations

import asyncio
import json
import math
import re
import sqlite3
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final

from promptkit.workers.process import WorkFailed, run_in_worker
from promptkit.workers.sql_reader import quoted, read_table


@dataclass(frozen=True)
class Table:
    """Column names, all different even in lower case, and rows with one cell for each, as they were given."""

    columns: tuple[str, ...]
    rows: tuple[tuple[Any, ...], ...]

    @classmethod
    def of(cls, value: Any) -> Table:
        """Return the table of a list of mappings, of a list of lists whose first names the columns, or of a mapping of
        `columns` and `rows` (or `data`, as pandas writes it).

        Missing cells are None. A blank name becomes `column_2`, a repeated one `name_2`. Raises ValueError for other
        values.
        """
        if isinstance(value, Table):
            return value
        if isinstance(value, Mapping):
            columns, rows = value.get("columns"), value.get("rows", value.get("data"))
            if not isinstance(columns, list | tuple) or not isinstance(rows, list | tuple):
                raise ValueError("a table in a mapping must have the lists `columns` and `rows`")
            value = [columns, *rows]
        if not isinstance(value, Sequence) or isinstance(value, str | bytes):
            raise ValueError("a table must be a list of rows")
        if all(isinstance(row, Mapping) for row in value):
            names = list(dict.fromkeys(name for row in value for name in row))
            return cls(tuple(distinct_names(names)), tuple(tuple(row.get(name) for name in names) for row in value))
        if all(isinstance(row, Sequence) and not isinstance(row, str | bytes) for row in value):
            header, *rows = value
            width = max(len(row) for row in value)
            columns = distinct_names([*header, *[""] * (width - len(header))])
            return cls(tuple(columns), tuple((*row, *[None] * (width - len(row))) for row in rows))
        raise ValueError("a table's rows must be all mappings, or all lists")

    def select(self, columns: Iterable[str] | None = None, rows: Iterable[int] | None = None) -> Table:
        """Return the table of these columns and rows (from 0), in their order; None means all.

        Raises KeyError for an unknown column, IndexError for an unknown row.
        """
        if columns is None:
            places = list(range(len(self.columns)))
        else:
            known = {name: place for place, name in enumerate(self.columns)}
            places = list(dict.fromkeys(known[name] for name in columns))
        kept = self.rows if rows is None else [self._row(number) for number in rows]
        return Table(tuple(self.columns[place] for place in places), tuple(_cells(row, places) for row in kept))

    def _row(self, number: int) -> tuple[Any, ...]:
        if not 0 <= number < len(self.rows):
            raise IndexError(f"the table has no row {number}")
        return self.rows[number]

    @cached_property
    def database(self) -> bytes:
        """The table as an SQLite database: the table `w` with a `row_id` that counts from 0."""
        return serialize(distinct_names(["row_id", *self.columns]), self.rows)

    @cached_property
    def longest(self) -> int:
        """The largest possible size of a cell's text in bytes."""
        return max((4 * len(cell) for row in self.rows for cell in row if isinstance(cell, str)), default=0)


def distinct_names(names: Iterable[Any]) -> list[str]:
    """Return names on one line each, without control characters, none blank and all different in lower case."""
    texts = ["" if name is None else " ".join(_UNPRINTED.sub(" ", str(name)).split()) for name in names]
    given = {text.lower() for text in texts}
    taken: set[str] = set()
    found = []
    for number, text in enumerate(texts, start=1):
        name = text or f"column_{number}"
        count = 1
        while name.lower() in taken or ((count > 1 or not text) and name.lower() in given):
            count += 1
            name = f"{text or f'column_{number}'}_{count}"
        taken.add(name.lower())
        found.append(name)
    return found


def _cells(row: tuple[Any, ...], places: Sequence[int]) -> tuple[Any, ...]:
    return tuple(row[place] for place in places)


_UNPRINTED = re.compile(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff]")
_NUMBER = re.compile(
    r"(?P<sign>[-+−–]?)\s?(?P<currency>[$€£¥]?)\s?"
    r"(?P<whole>[0-9]{1,3}(?:,[0-9]{3})+|[0-9]{1,3}(?:[ \u00a0\u202f][0-9]{3})+|[0-9]{1,18})"
    r"(?P<decimals>\.[0-9]{1,30})?\s?(?P<percent>%?)"
)
_SEPARATORS = str.maketrans("", "", ", \u00a0\u202f")
_BLANK = frozenset({"", "-", "–", "—", "n/a"})
_LARGEST = 2**63


def serialize(names: Sequence[str], rows: Sequence[Sequence[Any]]) -> bytes:
    """Return a database with the table `w`: its first column counts the rows from 0, the others are `names[1:]`.

    A column whose cells are all numbers, including such as `1,234`, `1 234`, `$5` and `45%`, is numeric, and its blank
    cells are NULL; any other is text that compares without regard to case.
    """
    columns = list(zip(*rows, strict=True)) or [()] * (len(names) - 1)
    typed = [typed_column(column) for column in columns]
    declared = ", ".join(f"{quoted(name)} {kind}" for name, (kind, _) in zip(names[1:], typed, strict=True))
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as connection:
        connection.execute(f"CREATE TABLE w ({quoted(names[0])} INTEGER PRIMARY KEY{declared and ', '}{declared})")
        if rows:
            places = ", ".join("?" * len(names))
            cells = zip(range(len(rows)), *(column for _, column in typed), strict=True)
            connection.execute("BEGIN")
            connection.executemany(f"INSERT INTO w VALUES ({places})", cells)
            connection.execute("COMMIT")
        return connection.serialize()


def typed_column(column: Iterable[Any]) -> tuple[str, list[Any]]:
    """Return a column's declaration in SQL and its cells as SQLite takes them."""
    cells = [stored_cell(cell) for cell in column]
    numbers = list(_numbers(cells))
    if len(numbers) < len(cells) or all(number is None for number in numbers):
        return "TEXT COLLATE NOCASE", cells
    if all(number is None or isinstance(number, int) for number in numbers):
        return "INTEGER", numbers
    return "REAL", numbers


def _numbers(cells: Iterable[Any]) -> Iterator[int | float | None]:
    """Yield the numbers of a column, up to the first cell that is not one."""
    for cell in cells:
        number = numeric_cell(cell)
        if isinstance(number, str):
            return
        yield number


def numeric_cell(cell: int | float | str | None) -> int | float | str | None:
    """Return a cell of a column of numbers: a text that is one as a number, a blank as None, another as it is."""
    if not isinstance(cell, str):
        return cell
    text = cell.strip()
    if text.isascii() and text.isdigit() and len(text) < 19 and (text[0] != "0" or text == "0"):
        return int(text)
    if text.lower() in _BLANK:
        return None
    number = number_of(text)
    return cell if number is None else number


def number_of(text: str) -> int | float | None:
    """Return the number that a cell's text is (`1,234`, `$5`, `45%`) as a query reads it; None for another text."""
    match = _NUMBER.fullmatch(text)
    # A leading zero means a code or a telephone number.
    if match is None or (len(match["whole"]) > 1 and match["whole"].startswith("0")):
        return None
    whole = int(match["whole"].translate(_SEPARATORS))
    sign = -1 if match["sign"] in ("-", "−", "–") else 1
    if match["decimals"] or match["currency"] or match["percent"]:
        return sign * float(f"{whole}{match['decimals'] or ''}")
    return sign * whole


def stored_cell(cell: Any) -> int | float | str | None:
    """Return a cell as SQLite takes it: nested values as JSON."""
    match cell:
        case str():  # first: most cells of large files are texts
            return _text(cell)
        case None:
            return None
        case bool():
            return int(cell)
        case int():
            return cell if -_LARGEST <= cell < _LARGEST else str(cell)
        case float():
            return cell if math.isfinite(cell) else None
        case Mapping() | list() | tuple():
            return _text(json.dumps(cell, ensure_ascii=False, default=str))
    return _text(str(cell))


def _text(text: str) -> str:
    """Return a text without lone surrogates, which UTF-8 cannot encode."""
    return text if text.isascii() else text.encode("utf-8", "replace").decode()


QUERY_SECONDS: Final = 5.0
MOST_ROWS: Final = 10_000
MOST_CHARACTERS: Final = 10_000_000
"""The most text in a query's result."""


class QueryFailed(ValueError):
    """A query that is wrong, forbidden or too expensive; the message is one line."""


@dataclass(frozen=True, slots=True)
class Selection:
    """The result of a query: its columns as the query names them, and its rows of nulls, numbers and texts."""

    columns: tuple[str, ...]
    rows: tuple[tuple[Any, ...], ...]


async def run_query(table: Table, sql: str, *, seconds: float = QUERY_SECONDS) -> Selection:
    """Run one SELECT over a table, called `w`, with a `row_id` that counts its rows from 0.

    Names may be in double quotes, backticks or brackets; names and texts compare without regard to ASCII case. A column
    whose cells are all numbers compares as numbers. Raises QueryFailed, also if the query takes longer than `seconds`
    after a worker process starts it.
    """
    database, longest = await asyncio.to_thread(lambda: (table.database, table.longest))
    try:
        found = await run_in_worker(
            read_table, database, sql, longest, len(table.columns), MOST_ROWS, MOST_CHARACTERS, seconds=seconds
        )
    except ValueError as error:
        raise QueryFailed(str(error)) from None
    except WorkFailed as failed:
        raise QueryFailed(f"the query {failed}") from None
    return Selection(tuple(found["columns"]), tuple(tuple(row) for row in found["rows"]))
