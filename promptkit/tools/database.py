"""A table as a SQLite database in memory, its columns typed by what they hold."""

from __future__ import annotations

import json
import math
import re
import sqlite3
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from typing import Any

_NUMBER = re.compile(
    r"(?P<sign>[-+−–]?)\s?(?P<currency>[$€£¥]?)\s?(?P<whole>[0-9]{1,3}(?:,[0-9]{3})+|[0-9]{1,18})"
    r"(?P<decimals>\.[0-9]{1,30})?\s?(?P<percent>%?)"
)
_BLANK = frozenset({"", "-", "–", "—", "n/a"})
_LARGEST = 2**63


def serialize(names: Sequence[str], rows: Sequence[Sequence[Any]]) -> bytes:
    """Return a database with the table `w`: its first column counts the rows from 0, the others are `names[1:]`.

    A column whose cells are all numbers, also ones such as `1,234`, `$5` and `45%`, is numeric, and blank cells in it
    are NULL; any other is text that compares without regard to case.
    """
    columns = list(zip(*rows, strict=True)) or [()] * (len(names) - 1)
    typed = [_typed(column) for column in columns]
    declared = ", ".join(f"{_quoted(name)} {kind}" for name, (kind, _) in zip(names[1:], typed, strict=True))
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as connection:
        connection.execute(f"CREATE TABLE w ({_quoted(names[0])} INTEGER PRIMARY KEY{declared and ', '}{declared})")
        if rows:
            places = ", ".join("?" * len(names))
            cells = zip(range(len(rows)), *(column for _, column in typed), strict=True)
            connection.execute("BEGIN")
            connection.executemany(f"INSERT INTO w VALUES ({places})", cells)
            connection.execute("COMMIT")
        return connection.serialize()


def _quoted(name: str) -> str:
    return '"' + _text(name).replace('"', '""').replace("\0", "") + '"'


def _typed(column: Iterable[Any]) -> tuple[str, list[Any]]:
    """Return a column's declaration and its cells as SQLite takes them."""
    cells = [_cell(cell) for cell in column]
    numbers = list(_numbers(cells))
    if len(numbers) < len(cells) or all(number is None for number in numbers):
        return "TEXT COLLATE NOCASE", cells
    if all(number is None or isinstance(number, int) for number in numbers):
        return "INTEGER", numbers
    return "REAL", numbers


def _numbers(cells: Iterable[Any]) -> Iterator[int | float | None]:
    """Yield the numbers of a column, up to the first cell that is none."""
    for cell in cells:
        if isinstance(cell, str):
            text = cell.strip()
            if text.lower() in _BLANK:
                yield None
            elif (number := _number(text)) is not None:
                yield number
            else:
                return
        else:
            yield cell


def _number(text: str) -> int | float | None:
    match = _NUMBER.fullmatch(text)
    # A leading zero makes a code or a telephone number of it.
    if match is None or (len(match["whole"]) > 1 and match["whole"].startswith("0")):
        return None
    whole = int(match["whole"].replace(",", ""))
    sign = -1 if match["sign"] in ("-", "−", "–") else 1
    if match["decimals"] or match["currency"] or match["percent"]:
        return sign * float(f"{whole}{match['decimals'] or ''}")
    return sign * whole


def _cell(cell: Any) -> int | float | str | None:
    match cell:
        case None:
            return None
        case bool():
            return int(cell)
        case int():
            return cell if -_LARGEST <= cell < _LARGEST else str(cell)
        case float():
            return cell if math.isfinite(cell) else None
        case str():
            return _text(cell)
        case Mapping() | list() | tuple():
            return _text(json.dumps(cell, ensure_ascii=False, default=str))
    return _text(str(cell))


def _text(text: str) -> str:
    """Return a text without what UTF-8 cannot say, half characters."""
    return text if text.isascii() else text.encode("utf-8", "replace").decode()
