"""stdout as every verb writes it: where it cannot be written, one line says so and the command ends."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from io import BufferedWriter, FileIO, TextIOWrapper
from typing import IO, NoReturn

FAILED = 3
CLOSED_PIPE = 141
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
            forget(self)
            raise SystemExit(CLOSED_PIPE) from None
        except OSError as error:
            forget(self)
            end(str(error.strerror))


def open_streams() -> None:
    """Put a `Stdout` in the place of the process's own stdout, not of what a caller put there.

    A closed stderr becomes a sink, a closed stdout ends the command.
    """
    if sys.stderr is None:
        sys.stderr = open(os.devnull, "w")  # noqa: SIM115
    if sys.stdout is None:
        sys.stdout = open(os.devnull, "w")  # noqa: SIM115
        end("it is closed")
    if sys.stdout is sys.__stdout__ and isinstance(sys.stdout, TextIOWrapper):
        sys.stdout = Stdout(sys.stdout)


def forget(stream: IO[str]) -> None:
    """Let what Python still holds for a stream, and all that follows, go nowhere: it must not fail again at exit."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, stream.fileno())
    os.close(nowhere)


def end(why: str) -> NoReturn:
    """Say that the result cannot be written, and leave."""
    from promptkit.reports import note

    note(f"error: stdout cannot be written: {why}")
    raise SystemExit(FAILED)
