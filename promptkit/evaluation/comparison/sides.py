"""Runs of the store side by side: one variant of each, and what is not the same of the two."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import groupby
from typing import TYPE_CHECKING, Any, NamedTuple

from promptkit.errors import InputError, nearest
from promptkit.evaluation.comparison.matching import way_text

if TYPE_CHECKING:
    from promptkit.evaluation.cells.cell import Cell, RunView
    from promptkit.evaluation.stored_run import StoredRun


@dataclass(frozen=True, slots=True)
class Side:
    """One variant of a run. `name` is what messages call it."""

    view: StoredRun
    variant: str
    name: str

    @property
    def sets(self) -> Mapping[str, Any]:
        return self.view.settings[self.variant]

    @property
    def model(self) -> Mapping[str, Any]:
        """What answers steps that name no model; of one that the variant sets no digest is kept."""
        own = self.sets.get("model")
        return self.view.model if own is None else {"reference": own, "digest": None}

    @property
    def way(self) -> tuple[bool, int | None]:
        """Whether it was asked one at a time to repeat, and how many requests at once (None: not known)."""
        record = self.view.record
        if record is not None:
            return record.exact, record.in_flight
        return self.view.how["exact"], self.view.how["in_flight"]


class RunDifference(NamedTuple):
    """What is not the same of two sides; `says` is a sentence."""

    what: str
    a: Any
    b: Any
    says: str


def named_variant(view: RunView, variant: str | None) -> str:
    """Return a variant of a run, the baseline where none is named. Raises InputError with the nearest name."""
    if variant is None:
        return view.variants[0]
    if variant not in view.variants:
        raise InputError(f"run {view.number} has no variant `{variant}`", hint=nearest(variant, view.variants))
    return variant


def row_cells(view: StoredRun, row: int, variant: str | None = None) -> list[Cell]:
    """Return the cells of one row, by variant and repeat."""
    number, cells = next(groupby(view.cells(variant, first=row), key=lambda cell: cell.row), (0, iter(())))
    return list(cells) if number == row else []


def run_differences(a: Side, b: Side) -> Iterator[RunDifference]:
    """Yield all that is not the same but the rows and the answers, so that no difference is taken for the prompt's."""
    one, other = a.view, b.view
    if one.suite != other.suite:
        yield RunDifference(
            "suite", one.suite, other.suite, f"{a.name} is of `{one.suite}`, {b.name} of `{other.suite}`"
        )
    if one.how["target"] != other.how["target"]:
        targets = one.how["target"], other.how["target"]
        yield RunDifference("target", *targets, f"{a.name} asked `{targets[0]}`, {b.name} `{targets[1]}`")
    if dict(a.sets) != dict(b.sets):
        yield RunDifference(
            "sets", dict(a.sets), dict(b.sets), f"{a.name} sets {_set(a.sets)}, {b.name} {_set(b.sets)}"
        )
    if one.how["set"] != other.how["set"]:
        given = [" ".join(f"--set {each}" for each in view.how["set"]) or "no --set" for view in (one, other)]
        yield RunDifference(
            "set", one.how["set"], other.how["set"], f"{a.name} was made with {given[0]}, {b.name} with {given[1]}"
        )
    elif dict(a.sets) == dict(b.sets) and _content(a) != _content(b):
        told = "the target's files are not the same: a prompt, or what belongs to it, was edited"
        yield RunDifference("files", _content(a), _content(b), told)
    if not _same_model(a.model, b.model):
        told = f"{a.name} was made on {a.model['reference']}, {b.name} on {b.model['reference']}"
        yield RunDifference("model", dict(a.model), dict(b.model), f"{told}: the difference is the models' too")
    if one.how["data"] != other.how["data"]:
        told = "the data are not the same: rows that are in both are compared"
        yield RunDifference("data", one.how["data"], other.how["data"], told)
    if a.way != b.way:
        told = f"{a.name} was asked {way_text(*a.way)}, {b.name} {way_text(*b.way)}: that alone changes some answers"
        yield RunDifference("asked", _asked(a), _asked(b), told)
    if one.how["repeat"] != other.how["repeat"]:
        repeats = one.how["repeat"], other.how["repeat"]
        told = f"{a.name} has {repeats[0]} repeats, {b.name} {repeats[1]}: the first {min(repeats)} are compared"
        yield RunDifference("repeat", *repeats, told)
    for view in (one,) if one.number == other.number else (one, other):
        if view.status != "done":
            told = f"run {view.number} is {view.status}: it may lack answers"
            yield RunDifference("status", one.status, other.status, told)


def _content(side: Side) -> str:
    return str(side.view.how["contents"][side.variant])


def _same_model(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    known = "digest" if one["digest"] and other["digest"] else "reference"
    return bool(one[known] == other[known])


def _asked(side: Side) -> dict[str, Any]:
    exact, in_flight = side.way
    return {"exact": exact, "in_flight": in_flight}


def _set(sets: Mapping[str, Any]) -> str:
    return ", ".join(f"{key}={value}" for key, value in sets.items()) or "nothing"


def side_record(side: Side) -> dict[str, Any]:
    """Return what a side is as JSON."""
    view = side.view
    return {
        "name": side.name,
        "run": view.number,
        "suite": view.suite,
        "variant": side.variant,
        "sets": dict(side.sets),
        "status": view.status,
        "model": dict(side.model),
        **_asked(side),
        "repeat": view.how["repeat"],
        "started": view.started,
    }
