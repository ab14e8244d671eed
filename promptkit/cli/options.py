"""Arguments and options that verbs share, and their shell completion."""

from __future__ import annotations

from collections.abc import Container, Sequence
from pathlib import Path
from typing import Annotated, TypeAlias

import typer

from promptkit.errors import PromptkitError
from promptkit.project import FileKind, Project
from promptkit.runtimes.references import REFERENCE_FORMS


def complete_target(incomplete: str) -> list[str]:
    """Complete the name of a pipeline or a prompt, or a path. Completion never fails: a mistake gives fewer names."""
    return _complete(incomplete, ("pipelines", "prompts"), {".yaml", ".yml", ".j2"})


def complete_suite(incomplete: str) -> list[str]:
    """Complete the name of a suite, or a path, as `complete_target` does."""
    return _complete(incomplete, ("evals",), {".yaml", ".yml"})


def _complete(incomplete: str, kinds: Sequence[FileKind], suffixes: Container[str]) -> list[str]:
    try:
        project = Project.find(Path.cwd())
        names = {name for kind in kinds for name in project.names(kind)}
    except PromptkitError:
        names = set()
    folder = Path(incomplete) if incomplete.endswith("/") else Path(incomplete).parent
    paths = (path for path in folder.glob("[!.]*") if path.is_dir() or path.suffix in suffixes)
    files = {f"{path}/" if path.is_dir() else str(path) for path in paths}
    return sorted(name for name in names | files if name.startswith(incomplete))


def complete_model(incomplete: str) -> list[str]:
    """Complete the form of a model reference, and the name of an embedded model."""
    from promptkit.runtimes.in_process.embedded_models import embedded_models

    known = [model.reference for model in embedded_models().values()]
    return [form for form in (*REFERENCE_FORMS.values(), *known) if form.startswith(incomplete)]


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
    typer.Option("--model", metavar="REF", help="The model: ollama/NAME, …", autocompletion=complete_model),
]
Sets: TypeAlias = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="STEP.KEY=VALUE", help="Change a setting for this call; repeatable."),
]
Record: TypeAlias = Annotated[
    Path | None,
    typer.Option("--record", metavar="FILE", help="Record requests and replies, for --model replay:FILE."),
]
NoCache: TypeAlias = Annotated[bool, typer.Option("--no-cache", help="Ask again instead of using cached replies.")]
Strict: TypeAlias = Annotated[
    bool, typer.Option("--strict", help="Fail where the model cannot enforce something, instead of noting it.")
]
StrictOn: TypeAlias = Annotated[
    list[str] | None,
    typer.Option("--strict-on", metavar="WARNING", help="Fail on answers with this warning; repeatable."),
]
Timeout: TypeAlias = Annotated[
    float | None,
    typer.Option("--timeout", metavar="SECONDS", help="Time limit of a request, all attempts included (default 600)."),
]
Json: TypeAlias = Annotated[bool, typer.Option("--json", help="Print JSON for programs.")]


def command_options(**values: str | int | bool | Sequence[str] | None) -> list[str]:
    """Return options as a person types them: `exact=True` is `--exact`, a list repeats its option."""
    words: list[str] = []
    for name, value in values.items():
        option = f"--{name.replace('_', '-')}"
        if value is True:
            words.append(option)
        elif isinstance(value, list | tuple):
            words += [word for part in value for word in (option, str(part))]
        elif value is not None and value is not False:
            words += [option, str(value)]
    return words
