"""What a person names, opened for a tuning: the suite with the target as its start, and the models that stand apart."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from promptkit.errors import InputError, MissingExtra
from promptkit.evaluation import Suite, load_suite
from promptkit.project import Project, is_suite


def load_tuned(target: str, suite: str | None, *, sets: Sequence[str] = (), run_code: bool = True) -> Suite:
    """Return the suite that measures a target, with the target as its start, changed by `sets`.

    Without `run_code` its data function, if it has one, is not run.
    Both are named or paths; a suite is left out where one of the project names the target. Raises InputError.
    """
    if is_suite(Path(target)):
        raise InputError(f"`{target}` is a suite, which is measured", hint=f"promptkit tune TARGET --suite {target}")
    here = Project.find(Path.cwd())
    project = Project.find(Path(target), otherwise=here.root) if os.path.exists(target) else here
    file = project.target(target)
    path = project.suite(suite) if suite is not None else _only_suite(file, project)
    return load_suite(path, project, sets=sets, start=file, run_code=run_code)


def _only_suite(target: Path, project: Project) -> Path:
    """Return the one suite of a project that names a target. Raises InputError where none does, or several do."""
    found: list[tuple[str, Path]] = []
    of_steps: list[tuple[str, Path]] = []
    for name in project.names("evals"):
        path = project.suite(name)
        try:
            suite = load_suite(path, project, run_code=False)
        except (InputError, MissingExtra):
            continue  # What is wrong in it is told by `check`; it is not the one that is meant.
        if suite.wanted.target == target:
            (found if suite.wanted.step is None else of_steps).append((name, path))
    if not found:
        hint = "name the one that is meant by --suite"
        if of_steps:
            hint = f"`{of_steps[0][0]}` measures one of its steps: {hint}"
        raise InputError(f"no suite measures `{target.stem}`", hint=hint)
    if len(found) > 1:
        raise InputError(f"several suites measure `{target.stem}`", hint=f"--suite {found[0][0]}, or {found[1][0]}")
    return found[0][1]


def models_apart(suite: Suite, teacher: str | None) -> list[str]:
    """Return the models that the one which is tuned on does not stand for: those that judge, and the teacher."""
    judges = [each.metric.model for each in suite.measures if each.metric.model]
    return [*judges, *([teacher] if teacher else [])]
