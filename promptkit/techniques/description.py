"""Descriptions of techniques for people and programs, as `techniques list`, `show` and the docs print them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from inspect import getdoc
from typing import Annotated, Any, Literal, get_args, get_origin

from promptkit.errors import InputError, Problem
from promptkit.project import Project
from promptkit.prompts.sections import SECTIONS
from promptkit.storage.models import Problems
from promptkit.storage.strict_json import plain
from promptkit.techniques.calls import CallSpec, Card, read_call
from promptkit.techniques.cost import Cost, cost
from promptkit.techniques.definition import configured_problems
from promptkit.techniques.registry import Technique, annotations_of, find_technique, parameters_of, technique_names
from promptkit.techniques.roles import SECTION
from promptkit.techniques.spec import FOLDER, ConfiguredTechnique, configure, searches_documents


@dataclass(frozen=True, slots=True, kw_only=True)
class Parameter:
    """A parameter that a step may set: its default, its choices if these are a closed set, and the paper's value."""

    name: str
    default: Any
    choices: tuple[Any, ...] = ()
    paper: Any = None


def find_all(project: Project, *, task: str | None = None) -> tuple[list[Technique], list[Problem]]:
    """Return the techniques that a step may use here, by name, and the problems of those that are broken.

    With `task` they are only those whose cards name it.
    """
    usable: list[Technique] = []
    problems = Problems()
    for name in technique_names(project):
        with problems.gather():
            technique = find_technique(name, project)
            if technique is None:
                raise InputError(Problem(f"technique `{name}` has no template", hint=f"templates/techniques/{name}/"))
            if task is not None and task not in technique.card.tasks:
                continue
            call_specs(technique)
            if wrong := list(configured_problems(configure(name, project), project)):
                raise InputError(wrong)
            usable.append(technique)
    return usable, problems.found


def step_parameters(technique: Technique) -> tuple[Parameter, ...]:
    """Return the parameters that a step may set, each with the paper's value where the card has one of its name."""
    return _parameters(technique.function, technique.card)


def preparation_parameters(technique: Technique) -> tuple[Parameter, ...]:
    """Return the parameters of a technique's preparation, as `step_parameters` does; none where nothing is prepared."""
    return _parameters(technique.prepare, technique.card) if technique.prepare else ()


def paper_facts(technique: Technique) -> dict[str, Any]:
    """Return the paper's settings that are parameters neither of the technique nor of its preparation."""
    known = {parameter.name for parameter in (*step_parameters(technique), *preparation_parameters(technique))}
    return {name: value for name, value in technique.card.paper.items() if name not in known}


def parameter_notes(function: Callable[..., Any]) -> tuple[str, ...]:
    """Return the paragraphs after the first line of a function's docstring, which explain its parameters."""
    rest = (getdoc(function) or "").partition("\n")[2].strip()
    return tuple(" ".join(part.split()) for part in rest.split("\n\n") if part)


def usage(technique: Technique) -> str:
    """Return the `technique:` of a step, with the roles that a step may have to bind and the documents."""
    given = {role.name: "INPUT" for role in technique.roles if not role.optional and role.name != SECTION}
    if searches_documents(technique) and "documents" in technique.needs:
        given[FOLDER] = "PATH"
    settings = ", ".join(f"{name}: {value}" for name, value in given.items())
    return f"technique: {{{technique.name}: {{{settings}}}}}" if given else f"technique: {technique.name}"


def call_specs(technique: Technique) -> tuple[CallSpec, ...]:
    """Return the kinds of call that a technique makes."""
    return tuple(read_call(file) for file in technique.call_files)


def hidden_sections(call: CallSpec) -> tuple[str, ...]:
    """Return the user's sections that are not in a call, including those that it replaces.

    A modifier lies beneath the calls of others and hides nothing.
    """
    if call.modifier:
        return ()
    return tuple(name for name in SECTIONS if not call.keeps(name) or name in call.replaces)


def default_cost(technique: Technique, project: Project, *, decide: str = "constrain") -> Cost:
    """Return the most that a technique asks for one row at its defaults."""
    return cost(ConfiguredTechnique(technique), project, decide=decide)


def technique_record(technique: Technique) -> dict[str, Any]:
    """Return a technique as the documented JSON object."""
    card = technique.card
    return {
        "name": technique.name,
        "title": card.title or technique.name,
        "citation": str(card.citation) if card.citation else None,
        "family": card.family,
        "about": card.about or technique.about,
        "algorithm": list(card.algorithm),
        "calls": technique.calls,
        "requests": technique.requests,
        "depth": card.depth,
        "growth": card.growth,
        "needs": sorted(technique.needs),
        "helps": list(card.soft),
        "roles": [f"{role.name}?" if role.optional else role.name for role in technique.roles],
        "tasks": list(card.tasks),
        "parameters": {parameter.name: plain(parameter.default) for parameter in step_parameters(technique)},
        "paper": dict(card.paper),
        "searches": searches_documents(technique),
        "prepares": technique.prepare is not None,
        "kinds_of_call": [
            {"name": call.name, "about": call.about, "produces": call.product, "hides": list(hidden_sections(call))}
            for call in call_specs(technique)
        ],
    }


def _parameters(function: Callable[..., Any], card: Card) -> tuple[Parameter, ...]:
    hints = annotations_of(function)
    return tuple(
        Parameter(name=name, default=found.default, choices=_choices(hints.get(name)), paper=card.paper.get(name))
        for name, found in parameters_of(function).items()
    )


def _choices(hint: Any) -> tuple[Any, ...]:
    """Return the values of a `Literal`."""
    if get_origin(hint) is Annotated:
        return _choices(get_args(hint)[0])
    return get_args(hint) if get_origin(hint) is Literal else ()
