"""`promptkit check`: everything that is wrong, at once."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Annotated, Any

import typer

from promptkit.api.session import find_project
from promptkit.cli.options import Json, complete_target
from promptkit.cli.results import code_lines
from promptkit.engine.dependencies import code_of
from promptkit.engine.load import load_target
from promptkit.engine.pipeline import Edge
from promptkit.engine.requirements import unmet_requirements
from promptkit.engine.tune_keys import tune_problems
from promptkit.errors import InputError, Problem, place
from promptkit.project import Project, is_artifact, is_suite
from promptkit.project_code.reference import CodeUse
from promptkit.reports.output import emit, emit_folded, note
from promptkit.reports.text import counted, json_text, visible
from promptkit.storage.files import read_bytes, resolved

app = typer.Typer(add_completion=False, rich_markup_mode=None)

_STEPS = re.compile(rb"^steps\s*:", re.MULTILINE)
# What a script of answers has and a pipeline has not.
_SCRIPT = re.compile(rb"^(rules|replies|otherwise)\s*:", re.MULTILINE)
_NOT_PROMPTS = {"layouts", "answers", "techniques"}


@dataclass(frozen=True, slots=True)
class CheckTarget:
    """A target or a suite as the command line names it, or as it lies in a `folder` that is named."""

    target: str
    folder: Path | None = None

    def project(self) -> Project:
        """Return its project. Without `promptkit.yaml` the root is the folder named, for a target what `run` takes."""
        return Project.find(Path(self.target), otherwise=self.folder) if self.folder else find_project(self.target)


@dataclass(slots=True)
class CheckResult:
    """What was found in targets and suites: the files, every problem (each once), the edges of the pipelines that are
    right, the Python that they would run, and what was not looked at."""

    files: list[str] = field(default_factory=list)
    problems: dict[Problem, None] = field(default_factory=dict)
    edges: dict[str, tuple[Edge, ...]] = field(default_factory=dict)
    code: dict[tuple[str, str], CodeUse] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    def add_code(self, uses: Iterable[CodeUse]) -> None:
        """Add the Python that a target would run."""
        self.code.update({(each.code.shown, each.named_by): each for each in uses})


@app.command()
def check(
    targets: Annotated[
        list[str] | None,
        typer.Argument(metavar="PATH", help="Files, folders or names; left out: all.", autocompletion=complete_target),
    ] = None,
    graph: Annotated[bool, typer.Option("--graph", help="Print which step needs which, and why.")] = False,
    json: Json = False,
) -> None:
    """Find everything that is wrong in pipelines, prompts and suites; no model is called, no Python of yours is run.

    The Python files that they would run are named on stderr.
    """
    checked = check_all(find_targets(targets or ["."]))
    problems = list(checked.problems)
    if json:
        edges = {file: [record(edge) for edge in found] for file, found in checked.edges.items()}
        told = {"files": checked.files, "problems": [record(problem) for problem in problems]}
        code = [each.record() for each in checked.code.values()]
        emit(json_text({**told, "code": code, **({"graph": edges} if graph else {})}))
    else:
        for problem in problems:
            emit_folded(visible(str(problem)))
        for file, found in checked.edges.items() if graph else ():
            emit_folded("\n".join([file, *(f"  {edge.needs} → {edge.step}: {edge.reason}" for edge in found)]))
        for line in code_lines(list(checked.code.values())):
            note(line)
    for line in checked.notes:
        note(line)
    note(f"{counted(len(checked.files), 'file')}, {counted(len(problems), 'problem') if problems else 'no problems'}")
    if problems:
        raise typer.Exit(1)


def check_all(targets: Iterable[CheckTarget]) -> CheckResult:
    """Return what is found in targets and suites."""
    checked = CheckResult()
    for named in targets:
        try:
            project = named.project()
            suite = find_suite(named, project)
            if suite is not None:
                checked.files.append(place(suite) or named.target)
                check_suite(suite, project, checked)
                continue
            name = place(project.target(named.target)) or named.target
            checked.files.append(name)
            pipeline = load_target(named.target, project)
            checked.edges[name] = pipeline.edges
            checked.problems.update(dict.fromkeys((*unmet_requirements(pipeline), *tune_problems(pipeline))))
            checked.add_code(code_of(pipeline))
        except InputError as error:
            checked.problems.update(dict.fromkeys(error.problems))
    return checked


def find_suite(named: CheckTarget, project: Project) -> Path | None:
    """Return the file of the suite that is named; None where a pipeline or prompt is, or nothing."""
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
    """Check a suite, its target and its rows; those of a data function, which is not run, are left out.

    Raises InputError with everything that is wrong.
    """
    from promptkit.evaluation.suite.binding import row_problems
    from promptkit.evaluation.suite.reader import load_suite
    from promptkit.evaluation.suite.suite import suite_code

    suite = load_suite(path, project, run_code=False)
    checked.add_code(suite_code(suite))
    if suite.data.function is not None:
        checked.notes.append(f"{place(path)}: its rows are not checked, as {suite.data.function.code.shown} makes them")
        return
    suite.data.count()
    problems = [problem for each in (suite, *suite.steps) for problem in row_problems(each)]
    if problems:
        raise InputError(problems)


def find_targets(paths: Iterable[str]) -> Iterator[CheckTarget]:
    """Yield each target named, and each that lies in a folder named."""
    for name in paths:
        folder = Path(name)
        if os.path.isdir(folder):
            found = sorted(path for path in folder.rglob("*") if _is_target(path, folder))
            yield from (CheckTarget(str(path), folder) for path in found)
        else:
            yield CheckTarget(name)


def _is_target(path: Path, folder: Path) -> bool:
    """Tell pipelines, prompts and suites from what else lies in a project."""
    folders = path.relative_to(folder).parts[:-1]
    if any(part.startswith(".") for part in folders) or not path.is_file():
        return False
    if path.suffix == ".j2":
        return not _NOT_PROMPTS & {*folders, *folder.resolve().parts[-1:]} and path.name != "sections.j2"
    if path.suffix not in {".yaml", ".yml"} or is_artifact(path):
        return False
    try:
        text = read_bytes(path)
    except InputError:  # It is named where it is checked.
        return True
    return is_suite(path) or bool(_STEPS.search(text)) or ("pipelines" in folders and not _SCRIPT.search(text))


def record(of: Problem | Edge) -> dict[str, Any]:
    """Return a problem or an edge as a JSON object."""
    return asdict(of)
