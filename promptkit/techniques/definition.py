"""The check of techniques' definitions: what a run would meet late, or not at all, such as a formula of the cost."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from promptkit.errors import Problem, nearest, place
from promptkit.project import Project
from promptkit.project_code.source import parse_source
from promptkit.storage.models import Problems
from promptkit.storage.yaml import load_file
from promptkit.techniques.calls import CARD_FILE
from promptkit.techniques.cost import wrong_formulas
from promptkit.techniques.declarations import argument_line
from promptkit.techniques.registry import Technique
from promptkit.techniques.spec import ConfiguredTechnique, check_spec, configure, with_nested


def own_techniques(project: Project) -> dict[str, tuple[Path, ...]]:
    """Return the techniques that files of the project define, each with its module and its folder of templates."""
    folders = (path for path in sorted((project.root / "templates" / "techniques").glob("*")) if path.is_dir())
    files: dict[str, tuple[Path, ...]] = {}
    for path in (*sorted((project.root / "techniques").glob("*.py")), *folders):
        name = path.stem if path.suffix == ".py" else path.name
        if not name.startswith(("_", ".")):
            files[name] = (*files.get(name, ()), path)
    return files


def definition_problems(name: str, project: Project) -> list[Problem]:
    """Return the problems of a technique at its defaults: of its declaration, templates, card, formulas and calls."""
    problems = Problems()
    with problems.gather():
        problems.add(check_spec(name, project))
        if not problems.found:
            problems.add(configured_problems(configure(name, project), project))
    return problems.found


def configured_problems(chosen: ConfiguredTechnique, project: Project) -> Iterator[Problem]:
    """Yield the formulas that cannot be evaluated and the calls without a template, of a technique with its settings
    and of those beneath it.
    """
    for nested in with_nested(chosen, project):
        yield from _unknown_calls(nested.technique)
        for formula, problem in wrong_formulas(nested):
            yield _placed(problem, formula, nested.technique)


def _placed(problem: Problem, formula: str, technique: Technique) -> Problem:
    """Return the problem of a formula at the place where that is written."""
    card = next((file for file in technique.files if file.name == CARD_FILE), None)
    if formula == "depth" and card is not None:
        return load_file(card).problem(("depth",), problem.message, problem.hint)
    if technique.code is not None and technique.code.file is not None:
        line = argument_line(technique.name, technique.code.file, formula)
        return replace(problem, file=place(technique.code.file), line=line)
    code = technique.function.__code__
    return replace(problem, file=place(code.co_filename), line=code.co_firstlineno)


def _unknown_calls(technique: Technique) -> Iterator[Problem]:
    """Yield the calls that a project's technique asks by a name that none of its templates has."""
    if technique.code is None or technique.code.file is None:
        return
    known = technique.calls_by_name
    for node in ast.walk(parse_source(technique.code.file)):
        match node:
            case ast.Call(
                func=ast.Attribute(value=ast.Name(id="task"), attr="ask"),
                args=[ast.Constant(value=str() as call, lineno=line), *_],
            ) if call not in known:
                hint = nearest(call, known) or f"templates/techniques/{technique.name}/{call}.j2 would be its template"
                message = f"technique `{technique.name}` has no call `{call}`"
                yield Problem(message, place(technique.code.file), line, hint=hint)
