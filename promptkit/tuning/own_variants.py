"""A person's own variants of the target: those of the suite, and those that `--try` names."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from promptkit.engine.load import YAML_SUFFIXES, load_target
from promptkit.engine.overrides import read_set_options
from promptkit.engine.pipeline import Pipeline
from promptkit.engine.spec import labels_as_written
from promptkit.errors import InputError, Problem, nearest, place
from promptkit.evaluation.suite.reader import load_suite
from promptkit.evaluation.suite.suite import MODEL, Suite, read_variant
from promptkit.storage.files import resolved
from promptkit.storage.yaml import Document, load_file
from promptkit.storage.yaml_edit import REMOVED, differing
from promptkit.tuning.search_space.candidate import Candidate, Choice, Parameter
from promptkit.tuning.search_space.space import KIND_OF

MOST_VARIANTS: Final = 12
PROMPT_SUFFIX: Final = ".j2"
ABOUT: Final = "a variant of your own"
_OUTSIDE_STEPS: Final = ("output", "defaults", "model", "tools")
"""The keys of a pipeline file, besides its steps, that decide what it sends."""


@dataclass(frozen=True, slots=True)
class OwnVariant:
    """A variant of the target: its name, and its changes as in `--set`."""

    name: str
    changes: Mapping[str, Any]


def own_variants(suite: Suite, tried: Sequence[str]) -> tuple[list[OwnVariant], list[str]]:
    """Return the variants of a tuning's target that a person names, and notes on those that are not tried.

    These are the `variants:` and `matrix:` of the suite's file, if they are of this target, and the values of `--try`:
    a prompt or pipeline file, or `STEP.KEY=VALUE`. Raises InputError for each value of `--try` that is no variant of
    the target.
    """
    variants, notes = _suite_variants(suite)
    problems: list[Problem] = []
    for text in tried:
        try:
            variants.append(_tried_variant(text, suite))
        except InputError as error:
            problems += error.problems
    if problems:
        raise InputError(problems)
    return variants, notes


def own_candidates(variants: Sequence[OwnVariant], parameters: Sequence[Parameter]) -> list[Candidate]:
    """Return variants as candidates: each change is a choice of the parameter that varies such a setting.

    A change that no parameter varies is a choice of a parameter of its own, named by its key.
    """
    return [
        Candidate({name: _known_choice(name, choice, parameters) for name, choice in _choices(variant, parameters)})
        for variant in variants
    ]


def with_own_choices(
    parameters: Sequence[Parameter], variants: Sequence[OwnVariant], suite: Suite
) -> tuple[Parameter, ...]:
    """Return parameters with the changes of variants as further choices, so that they are tried with others too."""
    extended = {parameter.name: parameter for parameter in parameters}
    for variant in variants:
        for name, choice in _choices(variant, parameters):
            parameter = extended.get(name)
            if parameter is not None and _known_choice(name, choice, [parameter]) is choice and _fits(choice, suite):
                extended[name] = replace(parameter, choices=(*parameter.choices, choice))
    return tuple(extended.values())


def _choices(variant: OwnVariant, parameters: Sequence[Parameter]) -> Iterator[tuple[str, Choice]]:
    """Yield the choices that make a variant, each with its parameter's name."""
    grouped: dict[str, dict[str, Any]] = {}
    for key, value in variant.changes.items():
        grouped.setdefault(_parameter_name(key, parameters), {})[key] = value
    for name, changes in grouped.items():
        yield name, Choice(variant.name, changes, ABOUT)


def _parameter_name(key: str, parameters: Sequence[Parameter]) -> str:
    step, _, below = key.partition(".")
    kind = KIND_OF.get(below.partition(".")[0])
    names = {parameter.name for parameter in parameters}
    return next((name for name in (key, f"{step}.{kind}") if name in names), key)


def _known_choice(name: str, choice: Choice, parameters: Sequence[Parameter]) -> Choice:
    """Return the choice of a parameter that changes the same; otherwise the choice itself."""
    known = [other for parameter in parameters if parameter.name == name for other in parameter.choices]
    return next((other for other in known if dict(other.changes) == dict(choice.changes)), choice)


def _fits(choice: Choice, suite: Suite) -> bool:
    """Tell whether the target can take a part of a variant by itself."""
    try:
        read_variant(choice.name, choice.changes, suite.source, Problem)
    except InputError:
        return False
    return True


def _suite_variants(suite: Suite) -> tuple[list[OwnVariant], list[str]]:
    try:
        whole = load_suite(suite.file, suite.project, run_code=False)
    except InputError as error:
        return [], [f"the variants of `{suite.name}` are not tried: {error.problems[0].message}"]
    if whole.source.target != suite.source.target or whole.source.step != suite.source.step:
        return [], []
    variants: list[OwnVariant] = []
    notes: list[str] = []
    for variant in whole.variants:
        name = f"variant {variant.name}"
        if names_model(variant.sets):
            notes.append(f"{name} is not tried: it names another model")
        elif variant.sets:
            variants.append(OwnVariant(name, variant.sets))
    if len(variants) > MOST_VARIANTS:
        notes.append(f"only the first {MOST_VARIANTS} of {len(variants)} variants of `{suite.name}` are tried")
    return variants[:MOST_VARIANTS], notes


def names_model(changes: Mapping[str, Any]) -> bool:
    """Tell whether changes name a model, which a tuning keeps."""
    return any(key.rpartition(".")[2] == MODEL for key in changes)


def _tried_variant(text: str, suite: Suite) -> OwnVariant:
    file = Path(text)
    is_file = os.path.exists(text) or "=" not in text
    changes = _file_changes(file, text, suite) if is_file else _set_changes(text)
    name = file.name if is_file else text
    if names_model(changes):
        raise InputError(f"--try {text}: it names another model", hint="tune on each model: --model")
    try:
        pipeline = read_variant(name, changes, suite.source, Problem).pipeline
    except InputError as error:
        prefix = f"variant `{name}`: "
        raise InputError(
            Problem(f"--try {text}: {problem.message.removeprefix(prefix)}", hint=problem.hint)
            for problem in error.problems
        ) from None
    start = suite.baseline.pipeline
    if pipeline.inputs.keys() != start.inputs.keys():
        raise InputError(f"--try {text}: {_other_inputs(pipeline, start)}", hint="the rows must fit all variants")
    return OwnVariant(name, changes)


def _other_inputs(pipeline: Pipeline, start: Pipeline) -> str:
    names = [", ".join(f"`{name}`" for name in each.inputs) or "none" for each in (pipeline, start)]
    return f"it has other inputs ({names[0]}) than `{start.name}` ({names[1]})"


def _set_changes(text: str) -> dict[str, Any]:
    """Return the change of `STEP.KEY=VALUE`. A value is text unless it is a number, a list or the like."""
    key, _, raw = (part.strip() for part in text.partition("="))
    if "." not in key:
        raise InputError(f"--try {text}: it is no file and no STEP.KEY=VALUE")
    value: Any = read_set_options([text])
    for part in key.split("."):
        value = value[part]
    # `Value:` is a mapping to YAML, and a cue to a person.
    return {key: raw if isinstance(value, Mapping) and not raw.startswith("{") else value}


def _file_changes(file: Path, text: str, suite: Suite) -> dict[str, Any]:
    """Return the changes that make the target what another file is. Raises InputError if there are none."""
    path = _file(file, text, suite)
    target, start = suite.source.target, suite.baseline.pipeline
    if path == target:
        raise InputError(f"--try {text}: it is the target itself")
    if path.suffix not in YAML_SUFFIXES:
        asking = [step.name for step in start.steps.values() if step.prompt_call is not None]
        if len(asking) != 1:
            raise InputError(
                f"--try {text}: `{start.name}` has {len(asking)} steps with a prompt, and a file replaces that of one",
                hint=f"--try '{asking[0] if asking else 'STEP'}.prompt={path.stem}'",
            )
        return {f"{asking[0]}.prompt": Path(os.path.relpath(path, target.parent)).as_posix()}
    if target.suffix not in YAML_SUFFIXES:
        raise InputError(f"--try {text}: it is a pipeline, and the target is a prompt", hint="tune a pipeline with it")
    return _pipeline_changes(path, text, suite)


def _file(file: Path, text: str, suite: Suite) -> Path:
    """Return the file that a path or a name stands for."""
    try:
        path = resolved(file) if file.is_file() else suite.project.target(text)
    except InputError:
        hint = "a prompt or pipeline file, a name of one, or STEP.KEY=VALUE"
        raise InputError(f"--try {text}: there is no such file", hint=hint) from None
    if path.suffix not in (PROMPT_SUFFIX, *YAML_SUFFIXES):
        raise InputError(f"--try {text}: it is no prompt (`.j2`) and no pipeline (`.yaml`)")
    return path


def _pipeline_changes(path: Path, text: str, suite: Suite) -> dict[str, Any]:
    target, other = suite.source.target, load_target(path, suite.project)
    start = load_target(target, suite.project)
    if other.steps.keys() != start.steps.keys():
        new = next((name for name in other.steps if name not in start.steps), None)
        what = f"it has a step `{new}`" if new else "it lacks steps"
        hint = nearest(new, start.steps) if new else None
        raise InputError(f"--try {text}: {what} that {place(target)} has not", hint=hint)
    documents = [load_file(file) for file in (target, path)]
    for key in _OUTSIDE_STEPS:
        if documents[0].value.get(key) != documents[1].value.get(key):
            raise InputError(f"--try {text}: its `{key}` differs from that of {place(target)}: only steps may")
    changes: dict[str, Any] = {}
    for step in start.steps:
        before, after = (_written_step(document, step) for document in documents)
        for below, value in differing(before, after, ()):
            key = below[0] if below[0] == "answer" else ".".join(below)
            changes[f"{step}.{key}"] = after[key] if key == below[0] and key in after else _or_null(value)
    if not changes:
        raise InputError(f"--try {text}: it is the same as {place(target)}")
    variant = load_target(target, suite.project, changes=changes)
    prompts = [[step.prompt.file if step.prompt else None for step in each.steps.values()] for each in (variant, other)]
    if prompts[0] != prompts[1]:
        raise InputError(f"--try {text}: its paths lead elsewhere from {place(target.parent)}", hint="put it there")
    return changes


def _written_step(document: Document, step: str) -> dict[str, Any]:
    """Return a step as its file has it, with labels as they are written."""
    values = dict(document.value["steps"][step])
    if "answer" in values:
        path = ("steps", step, "answer")
        values["answer"] = labels_as_written(values["answer"], lambda below: document.text((*path, *below)))
    return values


def _or_null(value: Any) -> Any:
    """Return a value as `--set` takes it: null removes a key."""
    return None if value is REMOVED else value
