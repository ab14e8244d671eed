"""A technique as a step names it: reading and checking its parameters, bound roles and demonstrations."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from pathlib import Path
from typing import Any, get_args

from promptkit.errors import InputError, Problem, nearest, place
from promptkit.project import Project
from promptkit.project_code.imported import imported_files
from promptkit.prompts.front_matter import PromptInput
from promptkit.prompts.load import Prompts
from promptkit.storage.files import Stamp, file_stamp
from promptkit.storage.models import Problems
from promptkit.storage.rows import read_rows
from promptkit.techniques.calls import read_call
from promptkit.techniques.parameters import ModelReference
from promptkit.techniques.registry import Technique, annotations_of, find_technique, parameters_of, technique_names
from promptkit.techniques.roles import KINDS, Role, bind

DEMOS = "demos"
FOLDER = "folder"
_PLAIN_SCALAR = re.compile(r"[A-Za-z_][\w./-]*")


@dataclass(frozen=True, slots=True)
class ConfiguredTechnique:
    """A technique with a step's settings for it.

    `roles` are the inputs that the step binds; `demos` the user's demonstrations by call (a file or a list);
    `documents` the folder of texts (`folder:`) for a technique that searches.
    """

    technique: Technique
    parameters: Mapping[str, Any] = field(default_factory=dict)
    roles: Mapping[str, str] = field(default_factory=dict)
    demos: Mapping[str, Any] = field(default_factory=dict)
    documents: str | None = None


def parse_spec(spec: Any) -> tuple[str, dict[str, Any]]:
    """Return name and settings of `technique: NAME` or `technique: {NAME: {parameter: value}}`. Raises ValueError."""
    if isinstance(spec, str):
        return spec, {}
    if isinstance(spec, Mapping) and len(spec) == 1:
        name, settings = next(iter(spec.items()))
        if isinstance(name, str) and isinstance(settings, Mapping | None):
            return name, dict(settings or {})
    raise ValueError("a technique is a name, or one name with its parameters: `{NAME: {parameter: value}}`")


def configure(spec: Any, project: Project) -> ConfiguredTechnique:
    """Return the technique that `spec` names with its settings, to be performed many times.

    Raises InputError for an unknown technique, and for a role that is bound to something other than a name.
    """
    try:
        name, settings = parse_spec(spec)
    except ValueError as error:
        raise InputError(str(error)) from None
    technique = find_known_technique(name, project)
    demos = settings.pop(DEMOS, {})
    documents = settings.pop(FOLDER, None) if searches_documents(technique) else None
    roles = {role.name: settings.pop(role.name) for role in technique.roles if role.name in settings}
    for role, bound in roles.items():
        if not isinstance(bound, str):
            raise InputError(f"the role `{role}` of technique `{name}` is the name of an input, not `{bound}`")
    return ConfiguredTechnique(technique, settings, roles, demos, documents)


def find_known_technique(name: str, project: Project) -> Technique:
    """Return the technique of that name. Raises InputError with the nearest name for an unknown one."""
    technique = find_technique(name, project)
    if technique is None:
        raise InputError(f"unknown technique `{name}`", hint=nearest(name, technique_names(project)))
    return technique


def searches_documents(technique: Technique) -> bool:
    """Tell whether a technique searches documents of an input or a folder."""
    return Role("documents", optional=True) in technique.roles


def with_nested(chosen: ConfiguredTechnique, project: Project) -> Iterator[ConfiguredTechnique]:
    """Yield a technique and those beneath it, named by the step or by default, outermost first.

    Raises InputError for an unknown one, and where defaults lead back to the same technique.
    """
    named: set[str] = set()
    while True:
        yield chosen
        parameter = chosen.technique.parameters.get("over")
        over = chosen.parameters.get("over", parameter.default if parameter else None)
        if not over:
            return
        if "over" in chosen.parameters:
            named.clear()
        elif chosen.technique.name in named:
            raise InputError(f"technique `{chosen.technique.name}` is put over itself by default, without an end")
        named.add(chosen.technique.name)
        chosen = configure(over, project)


def technique_files(spec: Any, project: Project, folder: Path) -> Iterator[Path]:
    """Yield the files of a step's technique: templates, modules, cards, demonstrations, documents."""
    prompts = Prompts(project)
    for chosen in with_nested(configure(spec, project), project):
        for file in chosen.technique.files:
            yield from imported_files(file, project.root) if file.suffix == ".py" else (file,)
        for template in chosen.technique.call_files:
            yield from prompts.layer_parts(template)
        yield from (folder / given for given in chosen.demos.values() if isinstance(given, str))
        if chosen.documents:
            yield from (path for path in sorted((folder / chosen.documents).rglob("*")) if path.is_file())


def read_demos(given: Any, folder: Path) -> tuple[Mapping[str, Any], ...]:
    """Return the demonstrations that a step gives as a list or a file of rows. Raises InputError."""
    if isinstance(given, str):
        return _demos_in(folder / given, file_stamp(folder / given))
    if isinstance(given, list | tuple) and all(isinstance(demo, Mapping) for demo in given):
        return tuple(given)
    raise InputError("demonstrations are a file of rows, or a list of mappings")


@lru_cache(maxsize=50)
def _demos_in(path: Path, _stamp: Stamp | None) -> tuple[Mapping[str, Any], ...]:
    """Return the demonstrations of a file, read again only when its `stamp` changes."""
    return tuple(read_rows(path))


def check_spec(
    spec: Any, project: Project, inputs: Mapping[str, PromptInput] | None = None, folder: Path | None = None
) -> list[Problem]:
    """Return the problems of a step's `technique:` and its templates; problems of `spec` itself have no place.

    `inputs` are the prompt's; without them roles are not checked. Paths are relative to `folder`.
    """
    problems = Problems()
    with problems.gather():
        chosen = configure(spec, project)
        found = chosen.technique
        for key, value in chosen.parameters.items():
            problems.add(_parameter_problems(found, key, value, project, inputs, folder))
        if inputs is not None:
            problems.add(_role_problems(chosen, inputs))
        problems.add(_demo_problems(chosen, project, folder))
        if chosen.documents is not None and folder is not None:
            problems.add(_folder_problems(chosen.documents, project, folder))
        prompts = Prompts(project)
        for template in found.call_files:
            with problems.gather():
                read_call(template)
                prompts.check_layer(template)
    return problems.found


def _parameter_problems(
    found: Technique,
    key: str,
    value: Any,
    project: Project,
    inputs: Mapping[str, PromptInput] | None,
    folder: Path | None,
) -> Iterator[Problem]:
    if key not in found.parameters:
        known = [
            *found.parameters,
            *(role.name for role in found.roles),
            DEMOS,
            *([FOLDER] if searches_documents(found) else []),
        ]
        yield Problem(f"technique `{found.name}` has no parameter `{key}`", hint=nearest(str(key), known))
    elif key == "over":
        if value is not None or found.parameters[key].default is not None:
            yield from check_spec(value, project, inputs, folder)
    else:
        yield from _value_problems(found, found.function, key, value)


def _role_problems(chosen: ConfiguredTechnique, inputs: Mapping[str, PromptInput]) -> Iterator[Problem]:
    """Yield the problems of the roles that a step binds, else the role that no input plays."""
    wrong = {role: name for role, name in chosen.roles.items() if name not in inputs}
    for role, name in wrong.items():
        message = f"the role `{role}` of technique `{chosen.technique.name}` is bound to `{name}`"
        yield Problem(f"{message}, which is not an input", hint=nearest(name, inputs))
    if not wrong:
        try:
            bound = bind(chosen.technique.roles, chosen.roles, inputs)
        except InputError as error:
            name = chosen.technique.name
            yield from (
                replace(problem, message=f"technique `{name}`: {problem.message}") for problem in error.problems
            )
            return
        yield from _kind_problems(chosen, bound, inputs)


def _kind_problems(
    chosen: ConfiguredTechnique, bound: Mapping[str, str | None], inputs: Mapping[str, PromptInput]
) -> Iterator[Problem]:
    """Yield each role that an input of a wrong type plays, where its type is known; JSON may be anything."""
    for role, name in bound.items():
        kind = inputs[name].type if name else None
        if kind and kind not in (*KINDS[role], "json") and not {kind, *KINDS[role]} <= {"list", "table", "json"}:
            message = f"the role `{role}` of technique `{chosen.technique.name}` takes a {' or '.join(KINDS[role])}"
            hint = f"`{role}: INPUT` with the technique binds another"
            yield Problem(f"{message}, and `{name}` is a {kind}", hint=hint)


def check_preparation(technique: Technique, parameters: Mapping[str, Any]) -> list[Problem]:
    """Return the problems of the parameters of a technique's preparation, without places."""
    assert technique.prepare is not None, "only what is prepared has a preparation"
    known = parameters_of(technique.prepare)
    problems: list[Problem] = []
    for key, value in parameters.items():
        if key in known:
            problems += _value_problems(technique, technique.prepare, key, value)
        else:
            message = f"the preparation of technique `{technique.name}` has no parameter `{key}`"
            problems.append(Problem(message, hint=nearest(key, known)))
    return problems


def _value_problems(found: Technique, function: Callable[..., Any], key: str, value: Any) -> Iterator[Problem]:
    """Yield the problem of a parameter's value by its annotation in `function`."""
    from pydantic import TypeAdapter, ValidationError

    annotation = annotations_of(function).get(key, Any)
    try:
        TypeAdapter(annotation).validate_python(value, strict=True)
    except ValidationError as error:
        message = error.errors()[0]["msg"].removeprefix("Value error, ")
        yield Problem(f"`{key}` of technique `{found.name}`: {message}")


def _folder_problems(given: Any, project: Project, folder: Path) -> Iterator[Problem]:
    if not isinstance(given, str) or not os.path.isdir(folder / given):
        where = place(folder / str(given))
        yield Problem(f"`{FOLDER}` is a folder of texts from the pipeline's file, and there is none {where}")
    elif not project.inside(folder / given):
        yield Problem(f"the path `{given}` leaves the project")


def _demo_problems(chosen: ConfiguredTechnique, project: Project, folder: Path | None) -> Iterator[Problem]:
    """Yield the problems of the user's demonstrations: their call, their file, their keys."""
    if not isinstance(chosen.demos, Mapping):
        yield Problem(f"`demos` of technique `{chosen.technique.name}` is `{{CALL: FILE}}`")
        return
    calls = {file.stem: file for file in chosen.technique.call_files}
    for call, given in chosen.demos.items():
        base = str(call).partition(".")[0]
        if base not in calls:
            message = f"technique `{chosen.technique.name}` has no call `{call}` to show demonstrations in"
            yield Problem(message, hint=nearest(str(call), calls))
            continue
        if isinstance(given, str) and folder and not project.inside(folder / given):
            yield Problem(f"the path `{given}` leaves the project")
            continue
        try:
            demos = read_demos(given, folder or Path())
        except InputError as error:
            yield from error.problems
            continue
        if not demos and isinstance(given, str):
            yield Problem(f"there are no demonstrations for `{call}` in {given}; `[]` shows none")
        shipped = read_call(calls[base]).demos
        for number, demo in enumerate(demos, start=1):
            yield from (
                Problem(f"demonstration {number} of `{call}` {text}") for text in _wrong_fields(demo, shipped[:1])
            )


def _wrong_fields(demo: Mapping[str, Any], shipped: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """Yield the shipped demonstrations' fields that one lacks, and those that are not texts or lists as theirs are."""
    usual = [pair for example in shipped for pair in example.items()]
    missing = [f"`{key}`" for key, _ in usual if key not in demo]
    if missing:
        yield f"lacks {', '.join(missing)}"
    no_texts = [key for key, value in usual if isinstance(value, str) and isinstance(demo.get(key), Mapping | list)]
    yield from (f"must have a text as `{key}`" for key in no_texts)
    no_lists = [key for key, value in usual if isinstance(value, list) and isinstance(demo.get(key), str)]
    yield from (f"must have a list as `{key}`" for key in no_lists)


def call_names(chosen: ConfiguredTechnique, project: Project) -> set[str]:
    """Return the names of the calls of a technique and of those beneath it, alone and as `TECHNIQUE.CALL`."""
    found = set[str]()
    for nested in with_nested(chosen, project):
        calls = nested.technique.calls_by_name
        found |= {*calls, *(f"{nested.technique.name}.{call}" for call in calls)}
    return found


def model_references(chosen: ConfiguredTechnique, project: Project) -> list[str]:
    """Return the models that parameters of the type ModelReference name, of a technique and of those beneath it."""
    found: list[str] = []
    for nested in with_nested(chosen, project):
        annotations = annotations_of(nested.technique.function)
        for name, parameter in nested.technique.parameters.items():
            if _names_models(annotations.get(name)):
                value = nested.parameters.get(name, parameter.default)
                found += value if isinstance(value, list | tuple) else [value]
    return [reference for reference in dict.fromkeys(found) if isinstance(reference, str)]


def _names_models(annotation: Any) -> bool:
    return annotation == ModelReference or any(map(_names_models, get_args(annotation)))


def spec_text(spec: Any) -> str:
    """Return a technique's spec in one line of YAML: `name`, or `{name: {parameter: value}}`."""
    if isinstance(spec, Mapping):
        return "{" + ", ".join(f"{key}: {spec_text(value)}" for key, value in spec.items()) + "}"
    if isinstance(spec, list | tuple):
        return "[" + ", ".join(map(spec_text, spec)) + "]"
    is_plain = isinstance(spec, str) and _PLAIN_SCALAR.fullmatch(spec)
    return str(spec) if is_plain else json.dumps(spec, ensure_ascii=False)
