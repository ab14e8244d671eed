"""The clusters of a run's rows: rows that depend on each other count as one."""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from promptkit.evaluation.suite.data import BoundRow, cluster_value
from promptkit.storage.hashes import content_key
from promptkit.storage.strict_json import json_bytes

KEY_BYTES = 8


class Clusters:
    """The cluster of each row. Rows with one value in a field are in one cluster, and so are rows with equal inputs.

    Equal inputs give one cell, so that a row that is written ten times would count as ten. A blank value of the field
    says nothing: the row is a cluster of its own.
    """

    def __init__(self, field: str | None) -> None:
        self._field = field
        self._rows = 0
        self._blank = 0
        # Pairs of a row with a key, in arrays: a million rows fit.
        self._by_field = _RowKeys()
        self._by_cell = _RowKeys()

    def add_bound(self, row: BoundRow) -> None:
        """Add the next row of a suite."""
        different = {id(inputs): [place, inputs] for place, inputs in reversed([*enumerate(row.inputs)])}
        contents = (json_bytes(found, allow_nan=True, default=str) for found in different.values())
        self.add(row.row.fields, [_number(content) for content in contents])

    def add(self, fields: Mapping[str, Any], cells: Iterable[int]) -> None:
        """Add the next row. Rows that share one of the numbers `cells` have equal inputs."""
        if self._field is not None:
            value = cluster_value(fields, self._field)
            self._blank += value is None and self._field in fields
            if value is not None:
                self._by_field.add(self._rows, _number(value))
        for cell in cells:
            self._by_cell.add(self._rows, cell)
        self._rows += 1

    def array(self) -> NDArray[np.int64] | None:
        """Return each row's cluster, None where all rows stand alone."""
        if not (self._by_field.has_equal() or self._by_cell.has_equal()):
            return None
        return _connected(self._rows, self._by_field, self._by_cell)

    def notes(self) -> list[str]:
        """Return notes on the rows that count otherwise than they stand in the data."""
        notes = []
        if self._by_cell.has_equal():
            apart, joined = (
                int(_connected(self._rows, *keys).max()) + 1
                for keys in ([self._by_field], [self._by_field, self._by_cell])
            )
            different = self._rows - (apart - joined)
            if different < self._rows:
                among = f"{_rows_text(different, 'different ')} among {self._rows:,}"
                notes.append(f"{among}: rows with equal inputs are one cluster")
        if self._blank:
            notes.append(f"`{self._field}` is blank in {_rows_text(self._blank)}: a blank names no cluster")
        return notes


class _RowKeys:
    """Pairs of a row and a key; rows that share a key belong together."""

    def __init__(self) -> None:
        self.rows = array("q")
        self.keys = array("q")

    def add(self, row: int, key: int) -> None:
        self.rows.append(row)
        self.keys.append(key)

    def has_equal(self) -> bool:
        """Tell whether two pairs have one key."""
        return len(np.unique(np.array(self.keys, dtype=np.int64))) < len(self.keys)


def _rows_text(rows: int, word: str = "") -> str:
    return f"{rows:,} {word}row{'' if rows == 1 else 's'}"


def _number(content: bytes | str) -> int:
    """Return the hash of a content as a signed number of 64 bits."""
    return int.from_bytes(content_key(content, KEY_BYTES), "big", signed=True)


def _connected(rows: int, *pairs: _RowKeys) -> NDArray[np.int64]:
    """Return the number of each row's component, where rows that share a key are connected."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    of_rows = np.concatenate([np.array(found.rows, dtype=np.int64) for found in pairs])
    of_keys, first = [], rows
    for found in pairs:
        names, places = np.unique(np.array(found.keys, dtype=np.int64), return_inverse=True)
        of_keys.append(places + first)
        first += len(names)
    links = coo_array((np.ones(len(of_rows), dtype=np.int8), (of_rows, np.concatenate(of_keys))), shape=(first, first))
    _, components = connected_components(links, directed=False)
    return np.unique(components[:rows], return_inverse=True)[1].astype(np.int64)
