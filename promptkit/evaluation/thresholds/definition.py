"""Thresholds before a run: mistakes in them, and the baselines that they compare with."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

from promptkit.errors import DamagedRecord, InputError, Problem, place
from promptkit.evaluation.comparison.baseline import find_baseline, names_run
from promptkit.evaluation.comparison.differences import models_text, same_model
from promptkit.evaluation.comparison.run_rows import RunRows
from promptkit.evaluation.stored_run import KIND
from promptkit.evaluation.suite.suite import Measure, Suite
from promptkit.storage.models import Problems
from promptkit.storage.store import Store

ENDS = ("at_least", "at_most")
AMOUNTS = ("tokens", "latency", "cost")
"""Totals that are not shares of the answers, as `unparsed` and each warning are."""


def threshold_problems(
    name: str, bounds: Mapping[str, Any], measure: Measure | None
) -> Iterator[tuple[str, str, str | None]]:
    """Yield the keys of a threshold that are wrong, each with a message and a hint.

    `measure` is None for a threshold on a total, such as `cost`.
    """
    metric = measure.metric if measure else None
    limits = metric.bounds if metric else None if name in AMOUNTS else (0.0, 1.0)
    for key in ENDS:
        value = bounds.get(key)
        if value is not None and limits is not None and not limits[0] <= value <= limits[1]:
            yield key, f"`{name}` is never {value:g}: it lies between {limits[0]:g} and {limits[1]:g}", None
    if metric is not None and metric.pairs:
        yield "", f"`{name}` compares variants, and thresholds apply to the first one alone", None
    if "per_case" in bounds and (metric is None or metric.bounds is None):
        yield "per_case", f"`{name}` does not say which answers are right", "a metric with bounded scores does"
    if ("against" in bounds) != ("drop_at_most" in bounds):
        lacking = "drop_at_most" if "against" in bounds else "against"
        hint = "{against: FILE, drop_at_most: 0.02}: the largest drop below the run or baseline that is accepted"
        yield "", f"`{lacking}` is missing", hint
    elif "share" in bounds and "against" not in bounds:
        yield "share", "`share` is of the rows that are compared, and nothing is", "it belongs to `against`"
    elif "against" in bounds and metric is None:
        yield "against", f"`{name}` is not measured for each row", "the metric `format` can be compared"


def threshold_baselines(suite: Suite, store: Store, model: Mapping[str, Any]) -> dict[str, RunRows | str | None]:
    """Return the baselines that a suite's thresholds name, by the text that names them; None for a run still to come.

    Variants of the suite itself, which its own run will have, are left out.

    A text in place of a baseline says why it cannot be used: it does not exist, is of another suite, or was made on
    another model, which would pass for an effect of the prompt. Raises InputError for a file that is not a baseline.
    """
    problems = Problems()
    found: dict[str, RunRows | str | None] = {}
    others = {variant.name for variant in suite.variants[1:]}
    for threshold in suite.thresholds:
        text = str(threshold.bounds.get("against", ""))
        if text and text not in found and (names_run(text) or text not in others):
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
        baseline = find_baseline(text, suite.name, store, folder=suite.file.parent)
    except DamagedRecord as error:
        return str(error)
    if baseline is None:
        return None
    if baseline.suite != suite.name:
        return f"{baseline.name} is of the suite `{baseline.suite}`"
    if not same_model(baseline.model, model):
        models = models_text("this run", model, baseline.name, baseline.model)
        return f"{models} (--against {text if names_run(text) else place(file)} still shows the difference)"
    return baseline
