"""The requests of a tuning by the numbers of their rows, and its cells from the store."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from promptkit.evaluation.stored_run import StoredRun
from promptkit.runtimes.base import Request
from promptkit.runtimes.scripted import request_text
from promptkit.storage.store import Store
from promptkit.tuning.data_split import read_data_split
from tests.tuning.tunings import TuneBench


@dataclass(frozen=True)
class Sides:
    """The rows of a split by the numbers that stand in their texts; `order` is the one order of the search."""

    order: Sequence[int]
    pool: Sequence[int]
    confirm: frozenset[int]


def sides(bench: TuneBench, *, seed: int = 0) -> Sides:
    """Return how the rows of a bench are split, found without a tuning."""
    split = read_data_split(bench.start(), seed=seed)
    numbers = [number_in(row.row.fields["text"]) for row in split.rows]
    return Sides(
        [numbers[at] for at in split.search],
        [numbers[at] for at in split.demo_pool],
        frozenset(numbers[at] for at in split.holdout),
    )


def number_in(text: str) -> int:
    """Return the number of the row of a text."""
    return numbers_in(text)[-1]


def numbers_in(text: str) -> list[int]:
    """Return the numbers of all rows that a text shows; the last is the one that is asked."""
    return [int(entry) for entry in re.findall(r"(?i)row (\d+) was", text)]


def shown_in(request: Request) -> list[int]:
    """Return the numbers of the rows that a request shows beside the one that it asks."""
    return numbers_in(request_text(request))[:-1]


def stored(bench: TuneBench, number: int) -> Mapping[str, Any]:
    """Return the record of a run as another process would read it now."""
    with Store.open(bench.store_folder) as store:
        run = store.run(str(number))
        assert run is not None
        return run.record


def cells(bench: TuneBench, number: int) -> dict[str, list[tuple[int, float]]]:
    """Return the cells of a run by variant: the number of the row, and what the aim says."""
    found: dict[str, list[tuple[int, float]]] = {}
    with Store.open(bench.store_folder) as store:
        run = store.run(str(number))
        assert run is not None
        for cell in StoredRun(store, run).cells():
            value = cell.scores["accuracy"].value
            assert value is not None, "no cell is missing"
            found.setdefault(cell.variant, []).append((number_in(cell.fields["text"]), value))
    return found
