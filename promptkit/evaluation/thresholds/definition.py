"""Thresholds before a run, what is wrong with them and which baselines they compare with."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from promptkit.errors import DamagedRecord, InputError, Problem, place
from promptkit.evaluation.comparison.run_rows import KIND, RunRows, find_baseline, model_names, names_run
from promptkit.evaluation.suite.suite import Measure, Suite
from promptkit.storage.models import Problems

if TYPE_CHECKING:
    from promptkit.storage.store import Store

ENDS = ("at_least", "at_most")


def threshold_problems(
    name: str, bounds: Mapping[str, Any], measure: Measure | None
) -> Iterator[tuple[str, str, str | None]]:
    """Yield the keys of a threshold that cannot be, with what is wrong and a hint. `measure` None: it is on a total."""
    metric = measure.metric if measure else None
    limits = metric.bounds if metric else (0.0, 1.0) if name == "unparsed" else None
    for key in ENDS:
        value = bounds.get(key)
        if value is not None and limits is not None and not limits[0] <= value <= limits[1]:
            yield key, f"`{name}` is never {value:g}: it lies between {limits[0]:g} and {limits[1]:g}", None
    if metric is not None and metric.pairs:
        yield "", f"`{name}` compares variants, and thresholds are on the first of them", None
    if "per_case" in bounds and (metric is None or metric.bounds is None):
        yield "per_case", f"`{name}` does not tell what is right", "a metric with scores within bounds does"
    if ("against" in bounds) != ("drop_at_most" in bounds):
        lacking = "drop_at_most" if "against" in bounds else "against"
        hint = "{against: FILE, drop_at_most: 0.02}: how far below the run or baseline the difference may reach"
        yield "", f"`{lacking}` is missing", hint
    elif "against" in bounds and metric is None:
        yield "against", f"`{name}` is not known of each row", "the metric `format` can be compared"


def threshold_baselines(suite: Suite, store: Store, model: Mapping[str, Any]) -> dict[str, RunRows | str | None]:
    """Return what a suite's thresholds compare with, by the text that names it; None where there is no such run yet.

    A text says why nothing may be compared: what is named is not there, is of another suite, or was made on another
    model, and nobody would see that a difference is the models'. Raises InputError for a file that is no baseline.
    """
    problems = Problems()
    found: dict[str, RunRows | str | None] = {}
    for threshold in suite.thresholds:
        text = str(threshold.bounds.get("against", ""))
        if text and text not in found:
            with problems.gather():
                found[text] = _threshold_baseline(text, suite, store, model, threshold.where)
    problems.check()
    return found


def _threshold_baseline(
    text: str, suite: Suite, store: Store, model: Mapping[str, Any], where: Problem
) -> RunRows | str | None:
    file = suite.file.parent / text
    if not names_run(text):
        if not suite.project.inside(file):
            raise InputError(replace(where, message=f"the path `{text}` leaves the project"))
        if not os.path.lexists(file):
            return f"there is no baseline {place(file)} yet"
    try:
        if text.isdigit() and ((run := store.run(text, kind=KIND)) is None or run.status != "done"):
            return f"there is no run {text} of a suite" if run is None else f"run {text} is {run.status}"
        reference = find_baseline(text, suite.name, store, folder=suite.file.parent)
    except DamagedRecord as error:
        return str(error)
    if reference is None:
        return None
    if reference.suite != suite.name:
        return f"{reference.name} is of the suite `{reference.suite}`"
    if not reference.is_of(model):
        there, here = model_names(reference.model, model)
        told = f"{reference.name} was made on {there}, this run on {here}"
        named = text if names_run(text) else place(file)
        return f"{told} (--against {named} shows the difference all the same)"
    return reference
