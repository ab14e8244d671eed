"""`promptkit check`: everything that is wrong, at once."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from promptkit.cli.options import Json, complete_target
from promptkit.errors import InputError, Problem, place

if TYPE_CHECKING:
    from promptkit.engine import Edge

app = typer.Typer(add_completion=False, rich_markup_mode=None)

_STEPS = re.compile(rb"^steps\s*:", re.MULTILINE)
_NOT_PROMPTS = {"layouts", "answers", "techniques"}


@app.command()
def check(
    targets: Annotated[
        list[str] | None,
        typer.Argument(metavar="PATH", help="Files, folders or names; left out: all.", autocompletion=complete_target),
    ] = None,
    graph: Annotated[bool, typer.Option("--graph", help="Print which step needs which, and why.")] = False,
    json: Json = False,
) -> None:
    """Find everything that is wrong in pipelines and prompts; no model is called."""
    from promptkit.reports import emit, json_text, note, visible

    files, problems, edges = check_all(list(find_targets(targets or ["."])))
    if json:
        graphs = {"graph": {file: [record(edge) for edge in found] for file, found in edges.items()}} if graph else {}
        emit(json_text({"files": files, "problems": [record(problem) for problem in problems], **graphs}))
    else:
        for problem in problems:
            emit(visible(str(problem)))
        for file, found in edges.items() if graph else ():
            emit("\n".join([file, *(f"  {edge.needs} → {edge.step}: {edge.reason}" for edge in found)]))
    note(f"{len(files)} {'file' if len(files) == 1 else 'files'}, {len(problems) or 'no'} problems")
    if problems:
        raise typer.Exit(1)


def check_all(targets: list[str]) -> tuple[list[str], list[Problem], dict[str, tuple[Edge, ...]]]:
    """Return the files, every problem in them (each once), and the edges of those that are right."""
    from promptkit.cli.session import find_project
    from promptkit.engine import load_target

    files: list[str] = []
    problems: dict[Problem, None] = {}
    edges: dict[str, tuple[Edge, ...]] = {}
    for target in targets:
        try:
            project = find_project(target)
            name = place(project.target(target)) or target
            files.append(name)
            edges[name] = load_target(target, project).edges
        except InputError as error:
            problems.update(dict.fromkeys(error.problems))
    return files, list(problems), edges


def find_targets(paths: Iterable[str]) -> Iterator[str]:
    """Yield each target named, and each that lies in a folder named."""
    for name in paths:
        if Path(name).is_dir():
            yield from map(str, sorted(path for path in Path(name).rglob("*") if _is_target(path, Path(name))))
        else:
            yield name


def _is_target(path: Path, folder: Path) -> bool:
    """Tell pipelines and prompts from what else lies in a project."""
    folders = path.relative_to(folder).parts[:-1]
    if any(part.startswith(".") for part in folders) or not path.is_file():
        return False
    if path.suffix == ".j2":
        return not _NOT_PROMPTS & {*folders, *folder.resolve().parts[-1:]} and path.name != "sections.j2"
    return path.suffix in {".yaml", ".yml"} and ("pipelines" in folders or bool(_STEPS.search(path.read_bytes())))


def record(of: Problem | Edge) -> dict[str, Any]:
    """Return a problem or an edge as a JSON object."""
    from dataclasses import asdict

    return asdict(of)
