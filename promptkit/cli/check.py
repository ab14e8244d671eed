"""`promptkit check`: all mistakes in pipelines, prompts and suites, in one go."""

from __future__ import annotations

from typing import Annotated

import typer

from promptkit.api.check import check_all, find_targets
from promptkit.cli.options import Json, complete_target
from promptkit.cli.results import code_lines, tool_lines
from promptkit.reports.output import emit, emit_folded, note
from promptkit.reports.text import counted, json_text, visible

app = typer.Typer(add_completion=False, rich_markup_mode=None)


@app.command()
def check(
    targets: Annotated[
        list[str] | None,
        typer.Argument(metavar="PATH", help="Files, folders or names; default: all.", autocompletion=complete_target),
    ] = None,
    graph: Annotated[bool, typer.Option("--graph", help="Print which step needs which, and why.")] = False,
    json: Json = False,
) -> None:
    """Find all mistakes in pipelines, prompts and suites; no model is asked, none of your Python is run.

    The Python that they would run, and the tools that steps may call, are listed on stderr.
    """
    checked = check_all(find_targets(targets or ["."]))
    problems = list(checked.problems)
    if json:
        emit(json_text(checked.to_dict(graph=graph)))
    else:
        for problem in problems:
            emit_folded(visible(str(problem)))
        for file, found in checked.edges.items() if graph else ():
            emit_folded("\n".join([file, *(f"  {edge.needs} → {edge.step}: {edge.reason}" for edge in found)]))
        for line in [*code_lines(list(checked.code.values())), *tool_lines(checked.tools)]:
            note(line)
    for line in checked.notes:
        note(line)
    note(f"{counted(len(checked.files), 'file')}, {counted(len(problems), 'problem') if problems else 'no problems'}")
    if problems:
        raise typer.Exit(1)
