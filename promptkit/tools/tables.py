"""Tables: the rows of an input, with names for the columns and a cell in each place."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from promptkit.tools.database import serialize


@dataclass(frozen=True)
class Table:
    """Names of columns, all different also in lower case, and rows with one cell for each, as they were given."""

    columns: tuple[str, ...]
    rows: tuple[tuple[Any, ...], ...]

    @classmethod
    def of(cls, value: Any) -> Table:
        """Return the table of a list of mappings, or of a list of lists, the first of which names the columns.

        Missing cells are None. A blank name becomes `column_2`, one that is there already `name_2`. Raises ValueError
        for another value.
        """
        if isinstance(value, Table):
            return value
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
        """Return the table of these columns and rows (counted from 0), in their order; None means all.

        Raises KeyError for an unknown column, IndexError for a row that is not there.
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
        """The table as the SQLite database that queries read: the table `w`, with a `row_id` that counts from 0."""
        return serialize(distinct_names(["row_id", *self.columns]), self.rows)

    @cached_property
    def longest(self) -> int:
        """The most bytes that a cell's text can have."""
        return max((4 * len(cell) for row in self.rows for cell in row if isinstance(cell, str)), default=0)


def distinct_names(names: Iterable[Any]) -> list[str]:
    """Return names on one line each, none blank and no two the same in lower case."""
    texts = ["" if name is None else " ".join(str(name).split()) for name in names]
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
