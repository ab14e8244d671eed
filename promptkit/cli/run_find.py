"""The arguments and options by which verbs name a run."""

from __future__ import annotations

from typing import Annotated, TypeAlias

import typer

from promptkit.api.runs import open_project_store
from promptkit.errors import PromptkitError


def complete_run(incomplete: str) -> list[tuple[str, str]]:
    """Complete the number of a run, with its description. Completion never fails: a mistake gives nothing."""
    try:
        with open_project_store() as kept:
            runs = kept.store.runs()
    except PromptkitError:
        return []
    found = [(str(run.number), f"{run.kind} of {run.target}, {run.status}") for run in runs]
    return (
        [("last", "the newest"), *found]
        if not incomplete
        else [(number, about) for number, about in found if number.startswith(incomplete)]
    )


RunName: TypeAlias = Annotated[
    str, typer.Argument(metavar="RUN", help="Its number, `last` or `last~1`.", autocompletion=complete_run)
]
OneVariant: TypeAlias = Annotated[str | None, typer.Option("--variant", metavar="V", help="One variant of it.")]
