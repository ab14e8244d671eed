"""The commands of a person who labels: single keys on a terminal, a command a line elsewhere."""

from __future__ import annotations

import sys
from io import TextIOWrapper
from typing import NamedTuple, Protocol

import typer

from promptkit.reports.output import note


class Typed(NamedTuple):
    """A key or the first word of a line, with the rest of that line (None: a terminal asks for it when it is due)."""

    word: str
    rest: str | None = None


class Keys(Protocol):
    """A source of commands. Both methods raise EOFError at the end of the input, KeyboardInterrupt on ctrl-C."""

    def read(self) -> Typed: ...

    def text(self, name: str) -> str:
        """Return a line of text, for a command that needs one."""
        ...


class TerminalKeys:
    """Single keys of a terminal. Of several keys pressed at once the first counts: the rest would be for an answer that
    nobody has seen.
    """

    def read(self) -> Typed:
        """Return the next key; a key that is no character (an arrow) is an empty word."""
        pressed = typer.getchar()
        if not pressed:
            raise EOFError
        return Typed("" if pressed.startswith("\x1b") else pressed[0])

    def text(self, name: str) -> str:
        """Ask for a line of text by its name."""
        print(f"{name}: ", end="", file=sys.stderr, flush=True)
        return _line().strip()


class LineKeys:
    """Commands of a stream that is not a terminal: one a line, a text after its command (`w it names no action`)."""

    def read(self) -> Typed:
        """Return the next command; empty lines are passed over."""
        while not (line := _line().strip()):
            pass
        word, _, rest = line.partition(" ")
        return Typed(word, rest.strip())

    def text(self, name: str) -> str:
        """Return nothing: a command's text stands on its line."""
        return ""


def keys_of_stdin() -> Keys:
    """Return the keys of a terminal where stdin is one, else commands by lines."""
    if isinstance(sys.stdin, TextIOWrapper):
        # Bytes that are not text, as a terminal may send, must neither end a session nor reach the label file.
        sys.stdin.reconfigure(errors="replace")
    return TerminalKeys() if sys.stdin.isatty() else LineKeys()


def _line() -> str:
    line = sys.stdin.readline()
    if not line:
        raise EOFError
    return line


def echo(text: str) -> None:
    """Show the effect of a key."""
    note(f"→ {text}")
