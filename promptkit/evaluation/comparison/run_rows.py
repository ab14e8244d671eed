"""The rows of a run with their scores, as comparisons read them, and the runs and files that a name stands for."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import groupby, islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from promptkit.errors import InputError
from promptkit.evaluation.metrics.base import Score
from promptkit.evaluation.stored_run import StoredRun
from promptkit.evaluation.suite.data import row_key
from promptkit.storage.records import reading_record

if TYPE_CHECKING:
    from promptkit.storage.store import Run, Store

KIND = "eval"
LATEST = 200
"""How many runs of a suite `last` is looked for among."""

RowKey = tuple[bytes, int]
"""A row by what it holds; of equal rows the second is 1."""

_RUN = re.compile(r"last(?:~([0-9]{1,9}))?|[0-9]{1,18}")


@dataclass(frozen=True, slots=True)
class RowScores:
    """A row's scores, by repeat; `number` is the row's in its data (0: not known), `cluster` what it belongs to."""

    number: int
    repeats: tuple[Mapping[str, Score], ...]
    cluster: Any = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RunRows:
    """What is compared with. `name` is what messages call it, `keys` say how each metric measured (`Measure.key`).

    `in_flight` is how many requests were made at once (None: not known); `read_rows` gives the scores of its first
    variant. `model` has the `reference` and `digest` of the default model, and of `others` that answered by reference.
    Its data had `rows` rows: a run that gave up did not come to all of them.
    """

    name: str
    suite: str
    model: Mapping[str, Any]
    exact: bool
    in_flight: int | None
    repeat: int
    rows: int
    made: str
    keys: Mapping[str, str]
    read_rows: Callable[[], Mapping[RowKey, RowScores]]

    def is_of(self, model: Mapping[str, Any]) -> bool:
        """Tell whether it was made on this model, whatever its name, and on the others that both name."""
        others = self.model.get("others", {})
        same = all(others.get(name, digest) == digest for name, digest in model.get("others", {}).items())
        return same and self.model["digest"] == model["digest"]


def model_names(first: Mapping[str, Any], second: Mapping[str, Any]) -> tuple[str, str]:
    """Return what two models are called, with the beginnings of their digests where the names are the same.

    Where the models are the same, it is the first of the others that is not.
    """
    if first["reference"] != second["reference"]:
        return first["reference"], second["reference"]
    name, digests = first["reference"], (first["digest"], second["digest"])
    if digests[0] == digests[1]:
        there, here = first.get("others", {}), second.get("others", {})
        name = next(each for each in here if there.get(each, here[each]) != here[each])
        digests = there[name], here[name]
    one, other = (f"{name} {digest.removeprefix('sha256:')[:12]}" for digest in digests)
    return one, other


def names_run(text: str) -> bool:
    """Tell whether a text names a run, and no file."""
    return _RUN.fullmatch(text) is not None


def find_baseline(text: str, suite: str, store: Store, *, folder: Path) -> RunRows | None:
    """Return the run or baseline that `text` names: a number, `last`, `last~1`, or a file, relative to `folder`.

    `last` is the newest run of the suite that is done and had all rows; None where there is none. Raises InputError for
    a number that no run has, and for a file that is no baseline; DamagedRecord for the number of a damaged run.
    """
    from promptkit.evaluation.comparison.baseline import read_baseline

    named = _RUN.fullmatch(text)
    if named is None:
        return read_baseline(folder / text)
    if not text.isdigit():
        return _last(store, suite, int(named[1] or 0))
    run = store.run(text, kind=KIND)
    if run is None:
        raise InputError(f"there is no run {text} of a suite", hint=_latest_hint(store, suite))
    return stored_baseline(store, run)


def stored_baseline(store: Store, run: Run) -> RunRows:
    """Return a run of the store as a reference. Raises InputError for one that did not end, and DamagedRecord."""
    if run.status not in ("done", "incomplete"):
        raise InputError(f"run {run.number} is {run.status}: there is nothing yet to compare with")
    view = StoredRun(store, run)
    with reading_record(f"runs {run.number}, `record`"):
        return reference_of(view, name=f"run {run.number}")


def reference_of(view: StoredRun, *, name: str) -> RunRows:
    """Return a run that ended as a reference."""
    record = view.record
    assert record is not None, "a run that ended has a record"
    return RunRows(
        name=name,
        suite=view.suite,
        model=record.model.model_dump(include={"reference", "digest", "others"}, exclude_unset=True),
        exact=record.exact,
        in_flight=record.in_flight,
        repeat=record.repeat,
        rows=record.rows,
        made=time.strftime("%Y-%m-%d", time.gmtime(view.started)),
        keys=view.how["keys"],
        read_rows=lambda: scored_rows(view),
    )


def scored_rows(view: StoredRun, cluster: str | None = None) -> dict[RowKey, RowScores]:
    """Return the scores of a run's first variant, by row in the data's order; `cluster` is a field of the rows."""
    return numbered(_rows(view, cluster))


def numbered(rows: Iterable[tuple[bytes, RowScores]]) -> dict[RowKey, RowScores]:
    """Return rows by what they hold, equal ones apart."""
    seen: dict[bytes, int] = {}
    found = {}
    for key, row in rows:
        seen[key] = seen.get(key, -1) + 1
        found[key, seen[key]] = row
    return found


def _rows(view: StoredRun, cluster: str | None) -> Iterator[tuple[bytes, RowScores]]:
    repeat = view.how["repeat"]
    for number, cells in groupby(view.cells(view.variants[0]), key=lambda cell: cell.row):
        found = {cell.repeat: cell for cell in cells}
        fields = next(iter(found.values())).fields
        scores = tuple(found[at].scores if at in found else {} for at in range(repeat))
        yield row_key(fields), RowScores(number, scores, fields.get(cluster) if cluster else None)


def _last(store: Store, suite: str, back: int) -> RunRows | None:
    runs = store.runs(kind=KIND, target=suite, limit=LATEST)
    suitable = (run for run in runs if run.status == "done" and not run.record.get("limited"))
    for run in islice(suitable, back, None):
        with store.damage.skipping():
            return stored_baseline(store, run)
    return None


def _latest_hint(store: Store, suite: str) -> str:
    numbers = [str(run.number) for run in store.runs(kind=KIND, target=suite, limit=5)]
    return f"the latest of `{suite}` are {', '.join(numbers)}" if numbers else f"`{suite}` has no runs yet"
