"""All mistakes in pipelines, prompts, suites and techniques, found without asking a model or running their Python."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from itertools import chain
from pathlib import Path
from typing import Any

from promptkit.api.session import find_project
from promptkit.engine.adapters import misfit_adapters
from promptkit.engine.dependencies import ToolUse, code_of, tool_uses
from promptkit.engine.load import load_target
from promptkit.engine.pipeline import Edge
from promptkit.engine.requirements import technique_problems, unmet_requirements, unused_tools
from promptkit.engine.tune_keys import tune_problems
from promptkit.errors import InputError, Problem, place
from promptkit.project import Project, is_artifact, is_suite
from promptkit.project_code.reference import CodeUse
from promptkit.storage.files import read_bytes, resolved
from promptkit.techniques.definition import definition_problems, own_techniques

_STEPS = re.compile(rb"^steps\s*:", re.MULTILINE)
_SCRIPT = re.compile(rb"^(rules|replies|otherwise)\s*:", re.MULTILINE)
"""Keys of a scripted model, which a pipeline does not have."""
_NOT_PROMPTS = {"layouts", "answers", "techniques"}


@dataclass(frozen=True, slots=True)
class CheckTarget:
    """A target or a suite named on the command line, or found in a `folder` that is.

    With `techniques` it is the techniques that are defined in a file or folder.
    """

    target: str
    folder: Path | None = None
    techniques: bool = False

    def project(self) -> Project:
        """Return its project. Without a `promptkit.yaml` its root is the folder, or the one that `run` would take."""
        return Project.find(Path(self.target), otherwise=self.folder) if self.folder else find_project(self.target)


@dataclass(slots=True)
class CheckResult:
    """The result of a check: the files, their problems without repeats, the edges of the correct pipelines, the Python
    that they would run, the tools that their steps may call, and notes on what was not checked."""

    files: list[str] = field(default_factory=list)
    problems: dict[Problem, None] = field(default_factory=dict)
    edges: dict[str, tuple[Edge, ...]] = field(default_factory=dict)
    code: dict[tuple[str, str], CodeUse] = field(default_factory=dict)
    tools: dict[ToolUse, None] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    def add_problems(self, *problems: Iterable[Problem]) -> None:
        """Add problems, without repeats."""
        self.problems.update(dict.fromkeys(chain.from_iterable(problems)))

    def add_code(self, uses: Iterable[CodeUse]) -> None:
        """Add the Python that a target would run."""
        self.code.update({(use.code.shown, use.named_by): use for use in uses})

    def to_dict(self, *, graph: bool = False) -> dict[str, Any]:
        """Return the object that `promptkit check --json` prints, with the edges of the pipelines for a `graph`."""
        return {
            "files": self.files,
            "problems": [asdict(problem) for problem in self.problems],
            "code": [use.record() for use in self.code.values()],
            "tools": [asdict(use) for use in self.tools],
            **(
                {"graph": {file: [asdict(edge) for edge in found] for file, found in self.edges.items()}}
                if graph
                else {}
            ),
        }


def check_all(targets: Iterable[CheckTarget]) -> CheckResult:
    """Check targets and suites."""
    checked = CheckResult()
    for named in targets:
        try:
            project = named.project()
            if named.techniques:
                check_techniques(Path(named.target), project, checked)
                continue
            suite = find_suite(named, project)
            if suite is not None:
                checked.files.append(place(suite) or named.target)
                check_suite(suite, project, checked)
                continue
            name = place(project.target(named.target)) or named.target
            checked.files.append(name)
            pipeline = load_target(named.target, project)
            checked.edges[name] = pipeline.edges
            checked.add_problems(unmet_requirements(pipeline), tune_problems(pipeline), technique_problems(pipeline))
            checked.add_problems(misfit_adapters(pipeline))
            checked.add_code(code_of(pipeline))
            checked.tools.update(dict.fromkeys(tool_uses(pipeline)))
            checked.notes += unused_tools(pipeline)
        except InputError as error:
            checked.add_problems(error.problems)
    return checked


def check_techniques(path: Path, project: Project, checked: CheckResult) -> None:
    """Check the project's techniques that are defined in a file or folder, whether a step uses them or not."""
    for name, files in techniques_at(path, project).items():
        checked.files.append(place(files[0]) or name)
        checked.add_problems(definition_problems(name, project))


def techniques_at(path: Path, project: Project) -> dict[str, tuple[Path, ...]]:
    """Return the project's techniques of which a part lies in a folder, or that a file is part of."""
    at = resolved(path)
    return {
        name: files
        for name, files in own_techniques(project).items()
        if any(at.is_relative_to(resolved(file)) or resolved(file).is_relative_to(at) for file in files)
    }


def find_suite(named: CheckTarget, project: Project) -> Path | None:
    """Return the suite's file; None where the name is that of a pipeline or prompt, or of nothing."""
    path = Path(named.target)
    if os.path.isfile(path):
        return resolved(path) if is_suite(path) else None
    try:
        project.target(named.target)
    except InputError:
        with suppress(InputError):
            return project.suite(named.target)
    return None


def check_suite(path: Path, project: Project, checked: CheckResult) -> None:
    """Check a suite, its target and its rows, but not rows that a function makes: it is not run.

    Raises InputError with everything that is wrong.
    """
    # Here, so that a check of prompts alone does not load numpy.
    from promptkit.evaluation.suite.binding import row_problems
    from promptkit.evaluation.suite.reader import load_suite
    from promptkit.evaluation.suite.suite import suite_code

    suite = load_suite(path, project, run_code=False)
    checked.add_problems(*(technique_problems(variant.pipeline) for variant in suite.variants))
    checked.add_code(suite_code(suite))
    if suite.data.function is not None:
        checked.notes.append(f"{place(path)}: its rows are not checked, as {suite.data.function.code.shown} makes them")
        return
    suite.data.count()
    problems = [problem for part in (suite, *suite.steps) for problem in row_problems(part)]
    if problems:
        raise InputError(problems)


def find_targets(paths: Iterable[str]) -> Iterator[CheckTarget]:
    """Yield the targets that are named, those in folders that are named, and the techniques of both."""
    for name in paths:
        folder = Path(name)
        if os.path.isdir(folder):
            found = sorted(path for path in folder.rglob("*") if _is_target(path, folder))
            yield from (CheckTarget(str(path), folder) for path in found)
            yield CheckTarget(name, folder, techniques=True)
        elif os.path.isfile(name) and techniques_at(folder, find_project(name)):
            yield CheckTarget(name, techniques=True)
        else:
            yield CheckTarget(name)


def _is_target(path: Path, folder: Path) -> bool:
    """Tell whether a file is a pipeline, a prompt or a suite."""
    folders = path.relative_to(folder).parts[:-1]
    if any(part.startswith(".") for part in folders) or not path.is_file():
        return False
    if path.suffix == ".j2":
        return not _NOT_PROMPTS & {*folders, *folder.resolve().parts[-1:]} and path.name != "sections.j2"
    if path.suffix not in {".yaml", ".yml"} or is_artifact(path):
        return False
    try:
        text = read_bytes(path)
    except InputError:  # The check of the file reports it.
        return True
    return is_suite(path) or bool(_STEPS.search(text)) or ("pipelines" in folders and not _SCRIPT.search(text))
