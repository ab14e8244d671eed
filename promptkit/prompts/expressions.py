"""Expressions in YAML: a value that is exactly one `{{ expression }}` keeps its type; any other string is text."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from promptkit.errors import Problem
    from promptkit.storage import Document

Path = Sequence[str | int]


@dataclass(frozen=True, slots=True)
class Expression:
    """A compiled expression or text template. `names` are its free variables."""

    text: str
    names: frozenset[str]

    @classmethod
    def parse(cls, text: str, *, bare: bool = False) -> Expression:
        """Compile a string of YAML. With `bare` (`when`, `until`, `for_each`) the braces may be left out.

        Raises InputError with a Problem that has no place; `check` gives it one.
        """
        raise NotImplementedError

    def evaluate(self, scope: Mapping[str, Any]) -> Any:
        """Return the value; a generator as a list. Raises InputError (no place) for undefined names and the like."""
        raise NotImplementedError


def evaluate(value: Any, scope: Mapping[str, Any], *, document: Document | None = None, path: Path = ()) -> Any:
    """Return a YAML value with every string in it evaluated; keys stay. Raises InputError at its place in `document`."""
    raise NotImplementedError


def names(value: Any, *, bare: bool = False) -> frozenset[str]:
    """Return the free variables of all strings in a YAML value, without Jinja's own; broken ones count as none."""
    raise NotImplementedError


def check(value: Any, *, document: Document, path: Path = (), bare: bool = False) -> list[Problem]:
    """Return every syntax problem of the strings in a YAML value, at their places."""
    raise NotImplementedError
