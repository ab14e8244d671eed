"""The command `promptkit`: a table of verbs, each imported when it is used, and one boundary for errors.

A verb writes to a `Stdout`, which ends the command where it cannot be written.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from io import BufferedWriter, FileIO, TextIOWrapper
from pathlib import Path
from typing import IO, Annotated, Any, NoReturn

import typer
from typer.core import TyperGroup

from promptkit.errors import (
    CodeFailed,
    InputError,
    Interrupted,
    PromptkitError,
    UnexpectedError,
    foreign_frame,
    nearest,
)

VERBS = {
    "run": "Run a pipeline or a prompt.",
    "render": "Show the exact messages of each step; no model is asked.",
    "try": "Run the pinned cases and compare each answer with the one before.",
    "eval": "Measure a target on data, with intervals and paired comparisons.",
    "tune": "Improve a target for a stated budget, and show the gain on rows the search never saw.",
    "check": "Find everything that is wrong in pipelines, prompts and suites.",
    "techniques": "List, describe, recommend, compare and prepare prompting techniques.",
    "models": "List, fetch and describe what can answer here.",
    "runs": "List, show, compare and export what was run; repair the store.",
    "init": "Make a small working project.",
    "schema": "Print the JSON Schema of a pipeline, a prompt, a suite or a run's record.",
}
_MODULES = {"try": "try_", "eval": "eval_"}


class LazyVerbs(TyperGroup):
    """A group that imports a verb's module only when that verb is used or completed."""

    def list_commands(self, ctx: Any) -> list[str]:
        return list(VERBS)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        if cmd_name not in VERBS:
            raise InputError(f"there is no verb `{cmd_name}`", hint=nearest(cmd_name, VERBS))
        command = typer.main.get_command(import_module(f"promptkit.cli.{_MODULES.get(cmd_name, cmd_name)}").app)
        command.name = cmd_name
        return command

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        with formatter.section("Verbs"):
            formatter.write_dl(list(VERBS.items()))


def print_version(wanted: bool) -> None:
    """Print the installed version and leave."""
    if wanted:
        from importlib.metadata import version

        typer.echo(f"promptkit {version('promptkit')}")
        raise typer.Exit


app = typer.Typer(
    cls=LazyVerbs,
    rich_markup_mode=None,
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"]},
)


@app.callback()
def promptkit(
    version: Annotated[
        bool, typer.Option("--version", callback=print_version, is_eager=True, help="Print the version and leave.")
    ] = False,
) -> None:
    """Structured prompts, YAML pipelines and measured prompting techniques on local language models."""


def main() -> None:
    """Run the command line. A mistake in the input is a message and an exit code, never a traceback."""
    open_streams()
    try:
        typer.main.get_command(app)(prog_name="promptkit")
    except PromptkitError as error:
        fail(error)
    except KeyboardInterrupt:
        fail(Interrupted("interrupted"))
    except SystemExit as error:
        frame = foreign_frame(error)
        if frame is None:
            raise
        from promptkit.project_code.reference import exception_text

        told = exception_text(error, Path(frame.tb_frame.f_code.co_filename))
        fail(CodeFailed(f"Python of the project ended the process: {told}"))


def fail(error: PromptkitError) -> None:
    """Print an error to stderr, of an unexpected one its traceback too, and leave with its exit code."""
    from promptkit.reports.output import note, print_error

    if isinstance(error, UnexpectedError):
        note(error.traceback)
    print_error(error)
    sys.exit(error.exit_code)


EXIT_UNWRITABLE = 3
EXIT_CLOSED_PIPE = 141
"""As shells report a program that SIGPIPE ended: a threshold that nobody could read has not been met."""


class Stdout(TextIOWrapper):
    """Text to a file descriptor, written at once. Where that fails the command ends: quietly when nobody reads any
    more (`| head`), else with a line on stderr and the exit code of what failed outside.

    What an old terminal cannot show is escaped.
    """

    def __init__(self, like: TextIOWrapper) -> None:
        buffer = BufferedWriter(FileIO(like.fileno(), "w", closefd=False))
        super().__init__(buffer, like.encoding, "backslashreplace", line_buffering=like.line_buffering)

    def write(self, text: str, /) -> int:
        """Write text. Raises SystemExit."""
        with self._ending():
            return super().write(text)

    def flush(self) -> None:
        """Hand over what was written. Raises SystemExit."""
        with self._ending():
            super().flush()

    @contextmanager
    def _ending(self) -> Iterator[None]:
        try:
            yield
        except BrokenPipeError:
            discard_output(self)
            raise SystemExit(EXIT_CLOSED_PIPE) from None
        except OSError as error:
            discard_output(self)
            fail_unwritable(str(error.strerror))


def open_streams() -> None:
    """Put a `Stdout` in the place of the process's own stdout, not of what a caller put there.

    A closed stderr becomes a sink, a closed stdout ends the command.
    """
    if sys.stderr is None:
        sys.stderr = open(os.devnull, "w")  # noqa: SIM115
    if sys.stdout is None:
        sys.stdout = open(os.devnull, "w")  # noqa: SIM115
        fail_unwritable("it is closed")
    if sys.stdout is sys.__stdout__ and isinstance(sys.stdout, TextIOWrapper):
        sys.stdout = Stdout(sys.stdout)


def discard_output(stream: IO[str]) -> None:
    """Let what Python still holds for a stream, and all that follows, go nowhere: it must not fail again at exit."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, stream.fileno())
    os.close(nowhere)


def fail_unwritable(why: str) -> NoReturn:
    """Say that the result cannot be written, and leave."""
    from promptkit.reports.output import note

    note(f"error: stdout cannot be written: {why}")
    raise SystemExit(EXIT_UNWRITABLE)
