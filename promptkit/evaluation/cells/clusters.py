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
        self._first: dict[int, int] = {}
        self._parents = array("q")
        self._blank = 0
        self._equal = 0

    def add_bound(self, row: BoundRow) -> None:
        """Add the next row of a suite."""
        different = {id(inputs): (place, inputs) for place, inputs in reversed([*enumerate(row.inputs)])}
        contents = (json_bytes([*found], allow_nan=True, default=str) for found in different.values())
        self.add(row.row.fields, [int.from_bytes(content_key(content, KEY_BYTES), "big") for content in contents])

    def add(self, fields: Mapping[str, Any], cells: Iterable[int]) -> None:
        """Add the next row. Rows that share one of the numbers `cells` have equal inputs."""
        row = len(self._parents)
        self._parents.append(row)
        if self._field is not None:
            value = cluster_value(fields, self._field)
            if value is None:
                self._blank += 1
            else:
                self._join(row, int.from_bytes(content_key(value, KEY_BYTES), "big"))
        self._equal += any([self._join(row, cell) for cell in cells])

    def array(self) -> NDArray[np.int64] | None:
        """Return each row's cluster, None where all rows stand alone."""
        roots = np.array(self._parents, dtype=np.int64)
        while ((above := roots[roots]) != roots).any():
            roots = above
        return None if (roots == np.arange(len(roots))).all() else roots

    def notes(self) -> list[str]:
        """Return notes on the rows that count otherwise than they stand in the data."""
        rows = len(self._parents)
        notes = []
        if self._equal:
            notes.append(
                f"{rows - self._equal:,} different rows among {rows:,}: rows with equal inputs are one cluster"
            )
        if self._blank:
            notes.append(f"`{self._field}` is blank in {self._blank:,} rows: each of them is a cluster of its own")
        return notes

    def _join(self, row: int, key: int) -> bool:
        """Join a row with the first one that has a key, and tell whether they were apart."""
        one, other = self._root(self._first.setdefault(key, row)), self._root(row)
        self._parents[max(one, other)] = min(one, other)
        return one != other

    def _root(self, row: int) -> int:
        while (above := self._parents[row]) != row:
            self._parents[row] = above = self._parents[above]
            row = above
        return row
