"""The command `promptkit`: the table of verbs, the boundary for errors, and stdout.

A verb's module is imported only when the verb is used, so that `promptkit --help` loads next to nothing. Inside a
verb's module imports stand at the top.
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
    exception_text,
    foreign_frame,
    nearest,
)

VERBS = {
    "run": "Run a pipeline or a prompt.",
    "render": "Show the exact messages of each step; no model is asked.",
    "try": "Run the pinned cases and compare each answer with the previous one.",
    "eval": "Measure a target on data, with intervals and paired comparisons.",
    "generate": "Write rows for a target that has none: by a model, or from runs that were right.",
    "label": "Label answers in the terminal, to correct judges and to score by people.",
    "tune": "Improve a target for a stated budget, and show the gain on rows the search never saw.",
    "train": "Train adapters, soft prompts or heads for the steps of a target, on labelled rows.",
    "check": "Find all mistakes in pipelines, prompts and suites.",
    "serve": "Serve pipelines to other programs, as models of the OpenAI protocol.",
    "export": "Write a pipeline or its model for use elsewhere: a folder, a container, a Modelfile, a GGUF file.",
    "techniques": "List, describe, recommend, compare and prepare prompting techniques.",
    "tools": "List the tools that models and steps may call, and call one.",
    "models": "List, fetch and describe models.",
    "runs": "List, show, compare and export runs; repair the store.",
    "start": "Make a project from one sentence that says what is wanted.",
    "init": "Create a small working project.",
    "schema": "Print the JSON Schema of a pipeline, a prompt or a suite, for editors.",
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


def print_version(is_given: bool) -> None:
    """Print the installed version and exit."""
    if is_given:
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
        bool, typer.Option("--version", callback=print_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    """Structured prompts, YAML pipelines and measured prompting techniques on local language models."""


def main() -> None:
    """Run the command line. A mistake in the input becomes a message and an exit code, never a traceback."""
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
        cause = exception_text(error, Path(frame.tb_frame.f_code.co_filename))
        fail(CodeFailed(f"Python of the project ended the process: {cause}"))


def fail(error: PromptkitError) -> None:
    """Print an error to stderr, with the traceback of an unexpected one, and exit with its code."""
    from promptkit.reports.output import note, print_error

    if isinstance(error, UnexpectedError):
        note(error.traceback)
    print_error(error)
    sys.exit(error.exit_code)


EXIT_UNWRITABLE = 3
EXIT_CLOSED_PIPE = 141
"""The code that shells report for a program ended by SIGPIPE; 0 would claim that thresholds were met."""


class Stdout(TextIOWrapper):
    """Stdout that ends the command where it cannot be written: quietly when the reader has gone (`| head`), else with a
    line on stderr and the exit code of a failure outside promptkit.

    Characters that the terminal's encoding lacks are escaped.
    """

    def __init__(self, like: TextIOWrapper) -> None:
        buffer = BufferedWriter(FileIO(like.fileno(), "w", closefd=False))
        super().__init__(buffer, like.encoding, "backslashreplace", line_buffering=like.line_buffering)

    def write(self, text: str, /) -> int:
        """Write text. Raises SystemExit."""
        with self._ending():
            return super().write(text)

    def flush(self) -> None:
        """Write out the buffer. Raises SystemExit."""
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
    """Replace the process's own stdout by a `Stdout`; a stream that a caller has put there stays.

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
    """Send what a stream has buffered, and all that follows, nowhere: it must not fail again at exit."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, stream.fileno())
    os.close(nowhere)


def fail_unwritable(why: str) -> NoReturn:
    """Print that the result cannot be written, and exit."""
    from promptkit.reports.output import note

    note(f"error: stdout cannot be written: {why}")
    raise SystemExit(EXIT_UNWRITABLE)
