"""The command reference, made from the commands themselves: `python -m tests.docs.refresh` writes it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, get_args

import typer

from promptkit.cli.main import VERBS, app
from tests.docs.pages import ROOT

PAGE = ROOT / "docs" / "commands.md"
HEAD = """\
# Commands

Made from the commands by `python -m tests.docs.refresh`. What they have in common, exit codes and `--json` are in
[The command line](command-line.md).
"""


def found_commands() -> Iterator[tuple[str, Any]]:
    """Yield each command with its name as it is typed; verbs with subcommands give those."""
    group: Any = typer.main.get_command(app)
    for verb in VERBS:
        command = group.get_command(None, verb)
        for name, inner in getattr(command, "commands", {"": command}).items():
            yield f"promptkit {verb} {name}".strip(), inner


def parameters(command: Any) -> Iterator[tuple[str, str]]:
    """Yield the arguments and options of a command as they are written, each with its help."""
    for parameter in command.params:
        written = ", ".join(parameter.opts) if parameter.param_type_name == "option" else _argument(parameter)
        takes = parameter.param_type_name == "option" and not parameter.is_flag
        yield f"{written} {parameter.metavar}" if takes else written, parameter.help or ""


def _argument(parameter: Any) -> str:
    choices = get_args(parameter.type_descriptor.annotation)
    name = parameter.metavar or "/".join(map(str, choices or [parameter.name]))
    return f"{name}{'…' if parameter.nargs == -1 else ''}"


def reference() -> str:
    """Return the page."""
    return "\n".join([HEAD, *(line for name, command in found_commands() for line in _lines(name, command))])


def _lines(name: str, command: Any) -> Iterator[str]:
    arguments = [
        argument if parameter.required else f"[{argument}]"
        for parameter in command.params
        if parameter.param_type_name == "argument" and (argument := _argument(parameter))
    ]
    options = ["[OPTIONS]"] if any(each.param_type_name == "option" for each in command.params) else []
    yield from (f"## {name}", "", "```text", " ".join([name, *options, *arguments]), "```", "")
    yield from (str(command.help), "")
    if command.params:
        yield from ("| argument or option | |", "| --- | --- |")
        yield from (f"| `{written}` | {text} |" for written, text in parameters(command))
        yield ""
