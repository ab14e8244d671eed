"""The arguments and options by which verbs name a run."""

from __future__ import annotations

from typing import Annotated, TypeAlias

import typer

from promptkit.api.runs import open_project_store
from promptkit.errors import PromptkitError


def complete_run(incomplete: str) -> list[tuple[str, str]]:
    """Return the numbers of runs that begin so, each with what it is; nothing where something is wrong."""
    try:
        with open_project_store() as kept:
            runs = kept.store.runs()
    except PromptkitError:
        return []
    found = [(str(run.number), f"{run.kind} of {run.target}, {run.status}") for run in runs]
    return (
        [("last", "the newest"), *found]
        if not incomplete
        else [each for each in found if each[0].startswith(incomplete)]
    )


RunName: TypeAlias = Annotated[
    str, typer.Argument(metavar="RUN", help="Its number, `last` or `last~1`.", autocompletion=complete_run)
]
OneVariant: TypeAlias = Annotated[str | None, typer.Option("--variant", metavar="V", help="One variant of it.")]
