"""Differences between two runs other than rows and answers: suite, settings, files, models, data, requests."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from pydantic import BaseModel, ConfigDict

from promptkit.evaluation.comparison.run_rows import RunRows
from promptkit.evaluation.record import shortened_digest

NOTED = frozenset({"model", "asked", "repeat"})
"""Differences that are noted beside a comparison of a run with its baseline: its files are what is being tested."""


class RunDifference(BaseModel):
    """Something other than rows and answers that differs between two runs; `says` is a sentence."""

    model_config = ConfigDict(frozen=True)

    what: str
    a: Any
    b: Any
    says: str


def run_differences(a: RunRows, b: RunRows) -> Iterator[RunDifference]:
    """Yield the differences between two runs other than rows and answers, each of which may explain a result.

    A baseline file records only some of them, and so does a run that an earlier promptkit made.
    """
    how_a, how_b = (run.run.how if run.run is not None else {} for run in (a, b))
    if how_a and how_b:
        yield from _setup_differences(a, b, how_a, how_b)
    if not same_model(a.model, b.model):
        says = f"{models_text(a.name, a.model, b.name, b.model)}: part of the difference may be the model's"
        yield RunDifference(what="model", a=dict(a.model), b=dict(b.model), says=says)
    if _differ(how_a, how_b, "data"):
        says = "the data differ: only rows that are in both are compared"
        yield RunDifference(what="data", a=how_a["data"], b=how_b["data"], says=says)
    if a.requests != b.requests:
        says = f"{a.name} sent requests {a.requests}, {b.name} {b.requests}: this alone changes some answers"
        yield RunDifference(what="asked", a=_requests_record(a), b=_requests_record(b), says=says)
    if a.repeat != b.repeat:
        counts = f"{a.repeat} in {a.name}, {b.repeat} in {b.name}"
        says = f"repeats per row: {counts}; the first {min(a.repeat, b.repeat)} are compared"
        yield RunDifference(what="repeat", a=a.repeat, b=b.repeat, says=says)
    yield from _status_differences(a, b)


def _setup_differences(
    a: RunRows, b: RunRows, how_a: Mapping[str, Any], how_b: Mapping[str, Any]
) -> Iterator[RunDifference]:
    """Yield differences of suite, target, settings and files."""
    if a.suite != b.suite:
        says = f"{a.name} is of the suite `{a.suite}`, {b.name} of `{b.suite}`"
        yield RunDifference(what="suite", a=a.suite, b=b.suite, says=says)
    if _differ(how_a, how_b, "target"):
        says = f"{a.name} has the target `{how_a['target']}`, {b.name} `{how_b['target']}`"
        yield RunDifference(what="target", a=how_a["target"], b=how_b["target"], says=says)
    if dict(a.sets) != dict(b.sets):
        says = f"{a.name} sets {_sets_text(a.sets)}, {b.name} {_sets_text(b.sets)}"
        yield RunDifference(what="sets", a=dict(a.sets), b=dict(b.sets), says=says)
    content_a, content_b = (how.get("contents", {}).get(run.variant) for run, how in ((a, how_a), (b, how_b)))
    if _differ(how_a, how_b, "set"):
        options = [" ".join(f"--set {option}" for option in how["set"]) or "no --set" for how in (how_a, how_b)]
        says = f"{a.name} was made with {options[0]}, {b.name} with {options[1]}"
        yield RunDifference(what="set", a=how_a["set"], b=how_b["set"], says=says)
    elif dict(a.sets) == dict(b.sets) and content_a and content_b and content_a != content_b:
        says = "the target's files differ: a prompt, or a file that it uses, was edited"
        yield RunDifference(what="files", a=content_a, b=content_b, says=says)


def _differ(how_a: Mapping[str, Any], how_b: Mapping[str, Any], key: str) -> bool:
    """Tell whether both runs record something, and not the same."""
    return key in how_a and key in how_b and bool(how_a[key] != how_b[key])


def _status_differences(a: RunRows, b: RunRows) -> Iterator[RunDifference]:
    runs = {side.run.number: side.run for side in (a, b) if side.run is not None}
    if a.run is None or b.run is None:
        return
    for run in runs.values():
        if run.status != "done":
            says = f"run {run.number} is {run.status}: answers may be missing"
            yield RunDifference(what="status", a=a.run.status, b=b.run.status, says=says)


def _sets_text(sets: Mapping[str, Any]) -> str:
    return ", ".join(f"{key}={value}" for key, value in sets.items()) or "nothing"


def _requests_record(run: RunRows) -> dict[str, Any]:
    return {"exact": run.exact, "in_flight": run.in_flight}


def same_model(a: Mapping[str, Any], b: Mapping[str, Any]) -> bool:
    """Tell whether two models are the same, whatever their names, with the others that both runs name.

    References decide where a digest is unknown.
    """
    known = "digest" if a["digest"] and b["digest"] else "reference"
    others = b.get("others", {})
    return bool(a[known] == b[known]) and all(
        others.get(name, digest) == digest for name, digest in a.get("others", {}).items()
    )


def models_text(a: str, of_a: Mapping[str, Any], b: str, of_b: Mapping[str, Any]) -> str:
    """Return the sentence that two runs, named `a` and `b`, used different models."""
    name_a, name_b = model_names(of_a, of_b)
    return f"{a} used {name_a}, {b} used {name_b}"


def model_names(a: Mapping[str, Any], b: Mapping[str, Any]) -> tuple[str, str]:
    """Return the names of two models that differ; models of one name with the beginnings of their digests.

    Where the default models are the same, the names are of the first other model that differs.
    """
    if a["reference"] != b["reference"]:
        return a["reference"], b["reference"]
    name, digests = a["reference"], (a["digest"], b["digest"])
    if not all(digests) or digests[0] == digests[1]:
        of_a, of_b = a.get("others", {}), b.get("others", {})
        name = next(other for other in of_b if of_a.get(other, of_b[other]) != of_b[other])
        digests = of_a[name], of_b[name]
    one, other = (f"{name} {shortened_digest(digest)}" for digest in digests)
    return one, other
