"""Variants of a target: those that a suite names, times the products of its matrix."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain, count, product
from pathlib import Path
from typing import Any

from promptkit.engine import Pipeline, find_step, load_target, model_named, one_step, up_to_step
from promptkit.errors import InputError, Problem
from promptkit.evaluation.outcome import content_hash
from promptkit.evaluation.suite import Variant
from promptkit.project import Project
from promptkit.storage import Problems

BASELINE = "baseline"
MODEL = "model"
MOST_VARIANTS = 1_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """A target before its variants: `step` is the one that is measured, `recorded` tells that the steps before it run,
    and `given` are the names that the data gives it. Paths of models in variants are relative to `folder`, the suite's.
    """

    target: Path
    folder: Path
    project: Project
    sets: Sequence[str] = ()
    step: str | None = None
    recorded: bool = False
    given: frozenset[str] = frozenset()


def combined(
    named: Mapping[str, Mapping[str, Any]], matrix: Mapping[str, Sequence[Any]]
) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield each variant's name with what it sets: named ones times all products of the matrix, in order.

    A variant of the matrix alone is called by its values: `layout=xml decide=score`. Of two with one name the second
    has a number.
    """
    keys = _short_keys(matrix)
    taken: set[str] = set()
    for name, sets in (named or {"": {}}).items():
        for values in product(*matrix.values()):
            own = dict(zip(matrix, values, strict=True))
            told = " ".join(f"{short}={_shown(value)}" for short, value in zip(keys, values, strict=True))
            full = " ".join(part for part in (name, told) if part) or BASELINE
            numbered = (f"{full} #{number}" for number in count(2))
            free = next(each for each in chain([full], numbered) if each not in taken)
            taken.add(free)
            yield free, {**sets, **own}


def read_variant(name: str, sets: Mapping[str, Any], wanted: Wanted, where: Callable[[str], Problem]) -> Variant:
    """Return the target as a variant changes it. `where` gives the place of a key. Raises InputError with all problems.

    A variant's keys are those of `--set`, and `model`, the model of all steps that name none.
    """
    sets = dict(sets)
    changes = {key: value for key, value in sets.items() if key != MODEL}
    problems = Problems()
    model = sets.get(MODEL)
    if model is not None:
        try:
            model = model_named(str(model), wanted.folder, wanted.project)
        except InputError as error:
            problems.add(replace(where(MODEL), message=each.message, hint=each.hint) for each in error.problems)
    pipeline: Pipeline | None = None
    try:
        before = load_target(wanted.target, wanted.project, sets=wanted.sets)
        pipeline = load_target(wanted.target, wanted.project, sets=wanted.sets, changes=changes) if changes else before
        if wanted.step is not None:
            find_step(pipeline, wanted.step)
            if wanted.recorded:
                # The model is that of the step alone: what it is given must be the same in all variants.
                pipeline, model = up_to_step(_asking(pipeline, wanted.step, model), wanted.step, before), None
            else:
                pipeline = one_step(pipeline, wanted.step, wanted.given)
    except InputError as error:
        problems.add(_in_variant(each, name, changes, where) for each in error.problems)
    problems.check()
    assert pipeline is not None, "a target without problems is a pipeline"
    counted = wanted.step if wanted.recorded else None
    typed = [text for text in wanted.sets if not text.partition("=")[0].endswith(".options.timeout")]
    content = content_hash(pipeline, typed, wanted.step, wanted.recorded)
    return Variant(name=name, sets=sets, pipeline=pipeline, content=content, model=model, counted=counted)


def _asking(pipeline: Pipeline, step: str, model: str | None) -> Pipeline:
    """Return the pipeline with what answers one of its steps, where that names none."""
    changed = replace(pipeline.steps[step], model=pipeline.steps[step].model or model)
    return replace(pipeline, steps={**pipeline.steps, step: changed})


def _in_variant(problem: Problem, name: str, changes: Mapping[str, Any], where: Callable[[str], Problem]) -> Problem:
    """Return a problem of what a variant sets at its place in the suite; one in another file stays there."""
    if problem.file is not None:
        return problem
    message = problem.message.removeprefix("--set ")
    key = next((key for key in changes if message.startswith((f"{key}:", f"`{key}`"))), "")
    return replace(where(key), message=f"variant `{name}`: {message}", hint=problem.hint)


def _short_keys(matrix: Mapping[str, Sequence[Any]]) -> list[str]:
    """Return the keys without their steps where that tells them apart."""
    last = [key.rpartition(".")[2] for key in matrix]
    return last if len(set(last)) == len(last) else list(matrix)


def _shown(value: Any) -> str:
    if isinstance(value, Mapping) and len(value) == 1:
        name, parameters = next(iter(value.items()))
        if isinstance(parameters, Mapping):
            return f"{name}({','.join(f'{key}={_shown(each)}' for key, each in parameters.items())})"
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    return text if len(text) <= 40 else f"{text[:39]}…"
