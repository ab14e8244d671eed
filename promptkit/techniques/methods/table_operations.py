"""What can be done to a table, and the arguments that a model writes for it: columns, rows, an order."""

from __future__ import annotations

import re
from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass, replace
from math import exp
from typing import Any, Final, TypeVar

from promptkit.techniques.context import Exchange
from promptkit.techniques.methods.table_texts import cell_text
from promptkit.tools import Table

Chosen = TypeVar("Chosen", bound=Hashable)

_NUMBER: Final = re.compile(r"([-−–]?)[^\d.]{0,2}(\d[\d,]*(?:\.\d+)?|\.\d+)")
_ALL: Final = re.compile(r"[\s\[({'\"]*\*")


@dataclass(frozen=True, slots=True)
class Working:
    """A table at work: each row has the number that it had at first; `counts` is a view of one column's values."""

    table: Table
    numbers: tuple[int, ...]
    counts: Table | None = None

    @classmethod
    def of(cls, table: Table) -> Working:
        return cls(table, tuple(range(1, len(table.rows) + 1)))

    def select_rows(self, numbers: Iterable[int]) -> Working:
        """Return it with the rows of these numbers, in its own order."""
        wanted = set(numbers)
        places = [place for place, number in enumerate(self.numbers) if number in wanted]
        return self._with_rows(places)

    def select_columns(self, columns: Iterable[str]) -> Working:
        """Return it with these columns, in its own order."""
        wanted = set(columns)
        return replace(self, table=self.table.select([name for name in self.table.columns if name in wanted]))

    def add_column(self, name: str, values: Sequence[Any]) -> Working:
        """Return it with a further column, a value for each row."""
        rows = tuple((*row, value) for row, value in zip(self.table.rows, values, strict=True))
        return replace(self, table=Table((*self.table.columns, name), rows))

    def sort(self, column: str, *, descending: bool, numeric: bool) -> Working:
        """Return it in the order of a column: by the numbers in its cells or by their texts, blank ones last."""
        cells = self.column(column)
        keys = [number_in(cell) if numeric else cell_text(cell).casefold() or None for cell in cells]
        filled = [place for place, key in enumerate(keys) if key is not None]
        filled.sort(key=lambda place: keys[place], reverse=descending)  # type: ignore[arg-type, return-value]
        return self._with_rows([*filled, *(place for place, key in enumerate(keys) if key is None)])

    def group(self, column: str) -> Working:
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

    def _with_rows(self, places: Sequence[int]) -> Working:
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


def union_of_best(chosen: Sequence[tuple[Exchange, Sequence[Chosen]]], most: int) -> set[Chosen]:
    """Return the union of the best of several selections; equal ones count together.

    Each counts by how likely its reply was, where the runtime tells. Empty ones count for nothing.
    """
    weights: dict[frozenset[Chosen], float] = {}
    for exchange, selection in chosen:
        if selection:
            key = frozenset(selection)
            weights[key] = weights.get(key, 0.0) + likelihood(exchange)
    best = sorted(weights, key=lambda key: -weights[key])[:most]
    return set().union(*best)


def likelihood(exchange: Exchange) -> float:
    """Return how likely a token of a reply was, in the geometric mean; 1 where the runtime does not tell."""
    return 1.0 if exchange.confidence is None else exp(exchange.confidence)
