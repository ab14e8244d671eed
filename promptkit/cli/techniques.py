"""`promptkit techniques`: the catalog, recommendations, comparisons and preparations."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from promptkit.cli.options import Json
from promptkit.cli.technique_compare import compare
from promptkit.cli.technique_prepare import prepare
from promptkit.cli.technique_programs import programs
from promptkit.cli.technique_recommend import recommend
from promptkit.errors import InputError, PromptkitError, nearest

if TYPE_CHECKING:
    from promptkit.project import Project
    from promptkit.techniques.registry import Technique


def complete_technique(incomplete: str) -> list[str]:
    """Return the names of techniques that begin so; none if the project is broken."""
    from promptkit.project import Project
    from promptkit.techniques.registry import technique_names

    try:
        return [name for name in technique_names(Project.find(Path.cwd())) if name.startswith(incomplete)]
    except PromptkitError:
        return []


Name = Annotated[
    str, typer.Argument(metavar="NAME", help="A technique of the catalog.", autocompletion=complete_technique)
]

app = typer.Typer(
    add_completion=False,
    rich_markup_mode=None,
    no_args_is_help=True,
    help="List, describe, recommend, compare and prepare techniques.",
)


app.command()(recommend)
app.command()(compare)
app.command()(prepare)
app.command()(programs)


@app.command("list")
def list_(
    family: Annotated[
        str | None, typer.Option("--family", metavar="FAMILY", help="Only techniques of this family.")
    ] = None,
    task: Annotated[str | None, typer.Option("--task", metavar="TASK", help="Only techniques for this task.")] = None,
    json: Json = False,
) -> None:
    """List the techniques that a step may use here, then the problems of the project's broken ones."""
    from promptkit.evaluation.recommendation.recommend import find_task
    from promptkit.project import Project
    from promptkit.reports.output import emit, emit_folded, terminal_width
    from promptkit.reports.techniques import catalog_text
    from promptkit.reports.text import json_text
    from promptkit.techniques.description import find_all, technique_record

    project = Project.find(Path.cwd())
    every, problems = find_all(project)
    families = {technique.card.family for technique in every if technique.card.family}
    if family is not None and family not in families:
        raise InputError(f"there is no family `{family}`", hint=nearest(family, families))
    of_cards = {task for technique in every for task in technique.card.tasks}
    if task is not None and task not in of_cards:
        task, _ = find_task(task, others=of_cards)
    chosen = [
        technique
        for technique in every
        if family in (None, technique.card.family) and (task is None or task in technique.card.tasks)
    ]
    if json:
        emit(json_text([technique_record(technique) for technique in chosen]))
    else:
        emit_folded(catalog_text(chosen, project, width=terminal_width()))
    if problems:
        raise InputError(problems)


@app.command()
def show(name: Name, json: Json = False) -> None:
    """Describe a technique: its steps, its cost, and each prompt that it sends on its example."""
    from promptkit.cli.session import run_to_end
    from promptkit.engine.render import run_example
    from promptkit.engine.results import trace_record
    from promptkit.project import Project
    from promptkit.reports.output import emit, emit_folded, terminal_width
    from promptkit.reports.techniques import technique_text
    from promptkit.reports.text import json_text
    from promptkit.techniques.description import technique_record

    project = Project.find(Path.cwd())
    technique = _found(name, project)
    example = run_to_end(run_example(technique, project))
    if json:
        trace = trace_record(example.trace)["parts"] if example else None
        emit(json_text({**technique_record(technique), "example": trace}))
    else:
        emit_folded(technique_text(technique, project, example, width=terminal_width()))


def _found(name: str, project: Project) -> Technique:
    from promptkit.techniques.registry import find_technique, technique_names

    found = find_technique(name, project)
    if found is None:
        raise InputError(f"there is no technique `{name}`", hint=nearest(name, technique_names(project)))
    return found
