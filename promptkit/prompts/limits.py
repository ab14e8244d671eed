"""What a template may cost: steps, and the length of a text. Every operation that can grow is charged here."""

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
    """A template would take too long or write too much."""


class Budget:
    """The steps that one rendering may still take."""

    __slots__ = ("left",)

    def __init__(self, steps: int = MAX_STEPS) -> None:
        self.left = steps

    def spend(self, steps: int) -> None:
        """Take steps away. Raises LimitExceeded when none are left."""
        self.left -= steps
        if self.left < 0:
            raise LimitExceeded(f"the template takes more than {MAX_STEPS:,} steps")


_budget: ContextVar[Budget] = ContextVar("promptkit_template_budget")


@contextmanager
def budget() -> Iterator[None]:
    """Give what is rendered inside a budget of its own."""
    token = _budget.set(Budget())
    try:
        yield
    finally:
        _budget.reset(token)


def charge(value: Any) -> Any:
    """Charge for the size of a value about to be worked on, and return it; an iterator is charged as it goes.

    Outside a rendering this raises LookupError, which tells Jinja not to work it out while compiling.
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
    """Charge for everything inside a list or mapping, as often as it is reached, and return it.

    A list that holds another twice, which holds another twice, is small in memory and endless in print.
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
    """Refuse a text or list longer than a prompt can be. Raises LimitExceeded."""
    if length > MAX_TEXT:
        raise LimitExceeded(f"the template writes more than {MAX_TEXT:,} characters")


def joined(pieces: Iterable[str]) -> str:
    """Join texts that are together no longer than allowed."""
    kept = []
    length = 0
    for piece in pieces:
        length += len(piece)
        if length > MAX_TEXT:
            check_length(length)
        kept.append(piece)
    return "".join(kept)
