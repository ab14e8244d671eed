"""Plain values into pydantic models, each error at its line and column."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import TypeVar

from pydantic import BaseModel

from promptkit.errors import InputError, Problem
from promptkit.storage.yaml import Document, Key

Model = TypeVar("Model", bound=BaseModel)


class Problems:
    """Problems gathered from several parts, raised together."""

    def __init__(self) -> None:
        self.found: list[Problem] = []

    def add(self, problem: Problem | Iterable[Problem]) -> None:
        """Add one problem, or several."""
        self.found.extend([problem] if isinstance(problem, Problem) else problem)

    @contextmanager
    def gather(self) -> Iterator[None]:
        """Take the problems of an InputError raised inside, and go on after the block."""
        try:
            yield
        except InputError as error:
            self.add(error.problems)

    def check(self) -> None:
        """Raise InputError with all that was found, in file order, each once."""
        unique = dict.fromkeys(self.found)
        if unique:
            raise InputError(sorted(unique, key=lambda one: (one.file or "", one.line or 0, one.column or 0)))


def read_model(document: Document, model: type[Model], *, at: Sequence[Key] = ()) -> Model:
    """Return the value at the path `at` as a `model`. Raises InputError with every problem at its place."""
    raise NotImplementedError
