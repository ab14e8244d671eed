"""The command line run inside the tests' process: a command costs no new interpreter."""

from __future__ import annotations

import gc
import io
import json
import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, chdir, contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any, TextIO
from unittest.mock import patch

from promptkit.cli.main import main

COMMAND = (sys.executable, "-c", "from promptkit.cli.main import main; main()")
"""The command as a process of its own, for what a process alone can show: start-up, pipes, signals, terminals."""
FOREIGN = ("PROMPTKIT", "OLLAMA", "OPENAI", "HF_", "COLUMNS")
"""Prefixes of the variables by which a tester's own machine would decide what is printed."""
DATA = "PROMPTKIT_DATA"
"""The folder of what tunings find, which the fixture of each test sets."""


@dataclass(frozen=True, slots=True)
class Done:
    """What a command printed, and its exit code."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """What was printed to stdout, as JSON."""
        return json.loads(self.out)


def environment(**variables: str) -> dict[str, str]:
    """Return an environment in which nothing of the tester's own decides."""
    kept = {name: value for name, value in os.environ.items() if name == DATA or not name.startswith(FOREIGN)}
    return {**kept, "NO_COLOR": "1", "TERM": "dumb", **variables}


def run_command(
    *arguments: str,
    folder: Path,
    stdin: str | bytes | TextIO = b"",
    variables: Mapping[str, str] | None = None,
    stdout: Path | None = None,
    stderr_to_stdout: bool = False,
) -> Done:
    """Run `promptkit` in a folder to its end. Raises what a process would end on with a traceback.

    Its streams are files, so that they are encoded, and are no terminal. `stdout` is a file in the place of the
    process's own; with `stderr_to_stdout` both streams are in `out`.
    """
    with ExitStack() as stack:
        out = stack.enter_context(_text_file() if stdout is None else stdout.open("w", encoding="utf-8"))
        err = out if stderr_to_stdout else stack.enter_context(_text_file())
        if stdout is not None:
            stack.enter_context(patch.object(sys, "__stdout__", out))
        with (
            patch.dict(os.environ, environment(**(variables or {})), clear=True),
            patch.object(sys, "argv", ["promptkit", *arguments]),
            patch.object(sys, "stdin", _readable(stdin)),
            chdir(folder),
            redirect_stdout(out),
            redirect_stderr(err),
            _process_settings(),
        ):
            code = _exit_code()
            if sys.stdout is not out:  # a `Stdout`, which would write what it holds when it is collected
                sys.stdout.close()
        return Done(code, "" if stdout else _content(out), "" if stderr_to_stdout else _content(err))


def _exit_code() -> int:
    try:
        main()
    except SystemExit as left:
        assert isinstance(left.code, int | None), left.code
        return left.code or 0
    return 0


def _readable(stdin: str | bytes | TextIO) -> TextIO:
    if not isinstance(stdin, str | bytes):
        return stdin
    return io.TextIOWrapper(io.BytesIO(stdin.encode() if isinstance(stdin, str) else stdin), "utf-8")


def _text_file() -> io.TextIOWrapper:
    return io.TextIOWrapper(TemporaryFile("wb+", buffering=0), "utf-8", "backslashreplace", "", write_through=True)


def _content(file: io.TextIOWrapper) -> str:
    file.seek(0)
    return file.read()


@contextmanager
def _process_settings() -> Iterator[None]:
    """Restore what a command changes of its process, since it expects to be alone in it."""
    path, threshold = list(sys.path), gc.get_threshold()
    try:
        yield
    finally:
        sys.path[:] = path
        gc.set_threshold(*threshold)
        gc.unfreeze()
