"""The options that verbs share, and what completes them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, TypeAlias

import typer


def complete_target(incomplete: str) -> list[str]:
    """Return the names of pipelines and prompts, and the files, that begin so; nothing where something is wrong."""
    from promptkit.errors import PromptkitError
    from promptkit.project import Project

    try:
        project = Project.find(Path.cwd())
        names = {*project.names("pipelines"), *project.names("prompts")}
    except PromptkitError:
        names = set()
    folder = Path(incomplete) if incomplete.endswith("/") else Path(incomplete).parent
    files = {f"{path}/" if path.is_dir() else str(path) for path in folder.glob("[!.]*") if _may_lead_to_target(path)}
    return sorted(name for name in names | files if name.startswith(incomplete))


def complete_model(incomplete: str) -> list[str]:
    """Return the beginnings of model references that begin so."""
    from promptkit.runtimes.references import REFERENCE_FORMS

    return [form for form in REFERENCE_FORMS.values() if form.startswith(incomplete)]


def _may_lead_to_target(path: Path) -> bool:
    return path.is_dir() or path.suffix in {".yaml", ".yml", ".j2"}


Target: TypeAlias = Annotated[
    str,
    typer.Argument(metavar="TARGET", help="A pipeline or a prompt, by name or path.", autocompletion=complete_target),
]
Values: TypeAlias = Annotated[
    list[str] | None,
    typer.Argument(metavar="NAME=VALUE", help="Inputs; NAME=- reads stdin, NAME=@FILE a file."),
]
Model: TypeAlias = Annotated[
    str | None,
    typer.Option("--model", metavar="REF", help="What answers: ollama/NAME, …", autocompletion=complete_model),
]
Sets: TypeAlias = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="STEP.KEY=VALUE", help="Change a setting for this time; repeatable."),
]
Record: TypeAlias = Annotated[
    Path | None, typer.Option("--record", metavar="FILE", help="Keep every request and reply, for --model replay:FILE.")
]
NoCache: TypeAlias = Annotated[bool, typer.Option("--no-cache", help="Ask again what was answered before.")]
Strict: TypeAlias = Annotated[
    bool, typer.Option("--strict", help="What the model cannot enforce is an error, not a notice.")
]
Timeout: TypeAlias = Annotated[
    float | None,
    typer.Option("--timeout", metavar="SECONDS", help="For a request, all attempts included (600)."),
]
Json: TypeAlias = Annotated[bool, typer.Option("--json", help="Print JSON for programs.")]
