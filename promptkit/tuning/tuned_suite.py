"""The suite of a tuning: the one that measures the target, the code that it runs, and the models besides the tuned."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from promptkit.engine.dependencies import model_code
from promptkit.errors import InputError, MissingExtra
from promptkit.evaluation.suite.reader import load_suite
from promptkit.evaluation.suite.suite import Suite, suite_code
from promptkit.project import Project, is_suite
from promptkit.project_code.reference import CodeUse
from promptkit.tuning.proposals.teacher import NO_TEACHER, named_teacher


def load_tuning_suite(target: str, suite: str | None, *, sets: Sequence[str] = (), run_code: bool = True) -> Suite:
    """Return the suite that measures a target, with the target, changed by `sets`, as its start.

    Both are names or paths; `suite` may be None if one suite of the project names the target. Without `run_code` a data
    function of the suite is not run. Raises InputError.
    """
    if is_suite(Path(target)):
        raise InputError(f"`{target}` is a suite, not a target", hint=f"promptkit tune TARGET --suite {target}")
    here = Project.find(Path.cwd())
    project = Project.find(Path(target), otherwise=here.root) if os.path.exists(target) else here
    file = project.target(target)
    path = project.suite(suite) if suite is not None else only_suite(file, project)
    return load_suite(path, project, sets=sets, start=file, run_code=run_code)


def only_suite(target: Path, project: Project) -> Path:
    """Return the one suite of a project that names a target. Raises InputError for none and for several."""
    of_target: list[tuple[str, Path]] = []
    of_steps: list[tuple[str, Path]] = []
    for name in project.names("evals"):
        path = project.suite(name)
        try:
            suite = load_suite(path, project, run_code=False)
        except (InputError, MissingExtra):
            continue  # `check` reports what is wrong in it; it is not the suite that is meant.
        if suite.source.target == target:
            (of_target if suite.source.step is None else of_steps).append((name, path))
    if not of_target:
        hint = "name one with --suite"
        if of_steps:
            hint = f"`{of_steps[0][0]}` measures one of its steps: {hint}"
        raise InputError(f"no suite measures `{target.stem}`", hint=hint)
    if len(of_target) > 1:
        raise InputError(
            f"several suites measure `{target.stem}`", hint=f"--suite {of_target[0][0]}, or {of_target[1][0]}"
        )
    return of_target[0][1]


def tuning_code(suite: Suite, model: str | None, teacher: str | None) -> list[CodeUse]:
    """Return the Python code that a tuning would load, each use once; nothing is loaded for that.

    `model` and `teacher` are those of the command line. Raises InputError for a wrong teacher of `promptkit.yaml`.
    """
    named, uses = named_teacher(teacher, suite.project), suite_code(suite, model=model)
    if named is None or named == NO_TEACHER:
        return uses
    folder = Path.cwd() if teacher is not None else suite.project.root
    return list(dict.fromkeys([*uses, *model_code(named, folder, "the teacher")]))


def separate_models(suite: Suite, teacher: str | None) -> list[str]:
    """Return the models besides the tuned one: those of judges and a simulated user, and the teacher.

    `teacher` is the one of `--teacher`, None for that of `promptkit.yaml`. Raises InputError.
    """
    named = named_teacher(teacher, suite.project)
    return [*suite.other_models, *([named] if named not in (None, NO_TEACHER) else [])]
