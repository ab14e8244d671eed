"""`promptkit check`: everything that is wrong, at once."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from promptkit.cli.options import Json, complete_target
from promptkit.errors import InputError, Problem, place

if TYPE_CHECKING:
    from promptkit.engine import Edge
    from promptkit.project import Project

app = typer.Typer(add_completion=False, rich_markup_mode=None)

_STEPS = re.compile(rb"^steps\s*:", re.MULTILINE)
# What a script of answers has and a pipeline has not.
_SCRIPT = re.compile(rb"^(rules|replies|otherwise)\s*:", re.MULTILINE)
_NOT_PROMPTS = {"layouts", "answers", "techniques"}


@dataclass(frozen=True, slots=True)
class Named:
    """A target or a suite as the command line names it, or as it lies in a `folder` that is named."""

    target: str
    folder: Path | None = None

    def project(self) -> Project:
        """Return its project. Without `promptkit.yaml` the root is the folder named, for a target what `run` takes."""
        from promptkit.cli.session import find_project
        from promptkit.project import Project

        return Project.find(Path(self.target), otherwise=self.folder) if self.folder else find_project(self.target)


@app.command()
def check(
    targets: Annotated[
        list[str] | None,
        typer.Argument(metavar="PATH", help="Files, folders or names; left out: all.", autocompletion=complete_target),
    ] = None,
    graph: Annotated[bool, typer.Option("--graph", help="Print which step needs which, and why.")] = False,
    json: Json = False,
) -> None:
    """Find everything that is wrong in pipelines, prompts and suites; no model is called."""
    from promptkit.reports import counted, emit, emit_folded, json_text, note, visible

    files, problems, edges = check_all(find_targets(targets or ["."]))
    if json:
        graphs = {"graph": {file: [record(edge) for edge in found] for file, found in edges.items()}} if graph else {}
        emit(json_text({"files": files, "problems": [record(problem) for problem in problems], **graphs}))
    else:
        for problem in problems:
            emit_folded(visible(str(problem)))
        for file, found in edges.items() if graph else ():
            emit_folded("\n".join([file, *(f"  {edge.needs} → {edge.step}: {edge.reason}" for edge in found)]))
    note(f"{counted(len(files), 'file')}, {counted(len(problems), 'problem') if problems else 'no problems'}")
    if problems:
        raise typer.Exit(1)


def check_all(targets: Iterable[Named]) -> tuple[list[str], list[Problem], dict[str, tuple[Edge, ...]]]:
    """Return the files, every problem in them (each once), and the edges of those that are right."""
    from promptkit.engine import load_target, tune_problems, unmet

    files: list[str] = []
    problems: dict[Problem, None] = {}
    edges: dict[str, tuple[Edge, ...]] = {}
    for named in targets:
        try:
            project = named.project()
            suite = find_suite(named, project)
            if suite is not None:
                files.append(place(suite) or named.target)
                check_suite(suite, project)
                continue
            name = place(project.target(named.target)) or named.target
            files.append(name)
            pipeline = load_target(named.target, project)
            edges[name] = pipeline.edges
            problems.update(dict.fromkeys((*unmet(pipeline), *tune_problems(pipeline))))
        except InputError as error:
            problems.update(dict.fromkeys(error.problems))
    return files, list(problems), edges


def find_suite(named: Named, project: Project) -> Path | None:
    """Return the file of the suite that is named; None where a pipeline or prompt is, or nothing."""
    from promptkit.project import is_suite

    path = Path(named.target)
    if path.is_file():
        return path.resolve() if is_suite(path) else None
    try:
        project.target(named.target)
    except InputError:
        with suppress(InputError):
            return project.suite(named.target)
    return None


def check_suite(path: Path, project: Project) -> None:
    """Raise InputError with everything that is wrong in a suite, its target and its rows."""
    from promptkit.evaluation import load_suite, wrong_rows

    suite = load_suite(path, project)
    suite.data.count()
    problems = [problem for each in (suite, *suite.steps) for problem in wrong_rows(each)]
    if problems:
        raise InputError(problems)


def find_targets(paths: Iterable[str]) -> Iterator[Named]:
    """Yield each target named, and each that lies in a folder named."""
    for name in paths:
        folder = Path(name)
        if folder.is_dir():
            found = sorted(path for path in folder.rglob("*") if _is_target(path, folder))
            yield from (Named(str(path), folder) for path in found)
        else:
            yield Named(name)


def _is_target(path: Path, folder: Path) -> bool:
    """Tell pipelines, prompts and suites from what else lies in a project."""
    from promptkit.project import is_artifact, is_suite

    folders = path.relative_to(folder).parts[:-1]
    if any(part.startswith(".") for part in folders) or not path.is_file():
        return False
    if path.suffix == ".j2":
        return not _NOT_PROMPTS & {*folders, *folder.resolve().parts[-1:]} and path.name != "sections.j2"
    if path.suffix not in {".yaml", ".yml"} or is_artifact(path):
        return False
    text = path.read_bytes()
    return is_suite(path) or bool(_STEPS.search(text)) or ("pipelines" in folders and not _SCRIPT.search(text))


def record(of: Problem | Edge) -> dict[str, Any]:
    """Return a problem or an edge as a JSON object."""
    return asdict(of)
