"""Limits of a template's cost: its steps, and the length of a text. Every operation that can grow is charged here."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sized
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, Final

from jinja2 import TemplateRuntimeError, Undefined

MAX_STEPS: Final = 1_000_000
MAX_TEXT: Final = 5_000_000
MAX_BITS: Final = 4_096
CHARACTERS_A_STEP: Final = 64


class LimitExceeded(TemplateRuntimeError):
    """A template would take too many steps or write too much."""


class Budget:
    """The steps that one rendering may still take."""

    __slots__ = ("left",)

    def __init__(self, steps: int = MAX_STEPS) -> None:
        self.left = steps

    def spend(self, steps: int) -> None:
        """Subtract steps. Raises LimitExceeded when none are left."""
        self.left -= steps
        if self.left < 0:
            raise LimitExceeded(f"the template takes more than {MAX_STEPS:,} steps")


_budget: ContextVar[Budget] = ContextVar("promptkit_template_budget")


@contextmanager
def budget() -> Iterator[None]:
    """Give everything rendered inside a budget of its own."""
    token = _budget.set(Budget())
    try:
        yield
    finally:
        _budget.reset(token)


def charge(value: Any) -> Any:
    """Charge for the size of a value before it is worked on, and return it. An iterator is charged as it advances.

    Outside a rendering this raises LookupError, which stops Jinja from evaluating it at compile time.
    """
    spender = _budget.get()
    if isinstance(value, str):
        spender.spend(1 + len(value) // CHARACTERS_A_STEP)
    elif isinstance(value, dict | list | tuple):  # before what is slow to tell
        spender.spend(1 + len(value))
    elif isinstance(value, Iterator):
        return _counted(value, spender)
    elif isinstance(value, Sized) and not isinstance(value, Undefined):
        spender.spend(1 + len(value))
    else:
        spender.spend(1)
    return value


def _counted(items: Iterator[Any], spender: Budget) -> Iterator[Any]:
    for item in items:
        spender.spend(1)
        yield item


def weigh(value: Any) -> Any:
    """Charge for everything inside a list or mapping, each time it is reached, and return the value.

    A list that holds another one twice, which holds another one twice, is small in memory and huge in print.
    """
    spender = _budget.get()
    pending = [value]
    while pending:
        inner = pending.pop()
        charge(inner)
        if isinstance(inner, dict):
            pending.extend(inner.keys())
            pending.extend(inner.values())
        elif isinstance(inner, list | tuple | set | frozenset):
            pending.extend(inner)
        if len(pending) > spender.left:
            spender.spend(len(pending))
    return value


def check_length(length: int) -> None:
    """Raise LimitExceeded for a text or list longer than a prompt can be."""
    if length > MAX_TEXT:
        raise LimitExceeded(f"the template writes more than {MAX_TEXT:,} characters")


def joined(pieces: Iterable[str]) -> str:
    """Join texts. Raises LimitExceeded where the result is too long."""
    kept = []
    length = 0
    for piece in pieces:
        length += len(piece)
        if length > MAX_TEXT:
            check_length(length)
        kept.append(piece)
    return "".join(kept)
