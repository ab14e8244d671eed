"""YAML 1.2 core, read with the place of each value."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from promptkit.errors import Problem

Key = str | int
Place = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Document:
    """A YAML text as plain values, and the place of each."""

    value: Any
    file: str

    def at(self, path: Sequence[Key], *, key: bool = False) -> Place:
        """Return line and column of the value (or of its key) at `path`, else of its nearest parent."""
        raise NotImplementedError

    def text(self, path: Sequence[Key]) -> str:
        """Return the scalar at `path` as it is written. Raises KeyError where there is none."""
        raise NotImplementedError

    def get(self, path: Sequence[Key]) -> Any:
        """Return the value at `path`. Raises KeyError where there is none."""
        raise NotImplementedError

    def problem(self, path: Sequence[Key], message: str, *, hint: str | None = None, key: bool = False) -> Problem:
        """Return a problem with the value (or the key) at `path`."""
        raise NotImplementedError


def load(text: str | bytes, *, file: str, first_line: int = 1) -> Document:
    """Read one document; `first_line` is the line of the file that `text` begins on. Raises InputError."""
    raise NotImplementedError


def load_file(path: Path) -> Document:
    """Read the document in a file. Raises InputError."""
    raise NotImplementedError
