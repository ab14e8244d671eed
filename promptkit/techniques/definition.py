"""The check of techniques' definitions: what a run would meet late, or not at all, such as a formula of the cost."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from promptkit.errors import Problem, place
from promptkit.project import Project
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
    """Return everything that is wrong with a technique at its defaults: its declaration, templates, card, formulas."""
    problems = Problems()
    with problems.gather():
        problems.add(check_spec(name, project))
        if not problems.found:
            problems.add(formula_problems(configure(name, project), project))
    return problems.found


def formula_problems(chosen: ConfiguredTechnique, project: Project) -> Iterator[Problem]:
    """Yield the formulas that cannot be evaluated, of a technique with its settings and of those beneath it."""
    for nested in with_nested(chosen, project):
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
