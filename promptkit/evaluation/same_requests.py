"""Variants that differ by name alone: whether the stored cells of two say that the same requests were sent."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import islice
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from promptkit.evaluation.view import RunView

MOST_CELLS = 200
"""Cells of each variant that are compared: most pairs differ in the first one."""
_SENT = ("messages", "prompt", "begun", "grammar", "schema", "options")


def sent_the_same(view: RunView, a: str, b: str) -> bool:
    """Tell whether two variants of a run sent the same requests on each row, of which the first MOST_CELLS are read.

    Cells without a trace have no answer and say nothing; where there are no others, it is False.
    """
    compared = False
    for one, other in islice(zip(view.cells(a), view.cells(b), strict=False), MOST_CELLS):
        if (one.row, one.repeat) != (other.row, other.repeat):
            return False
        left, right = view.trace(one.cell), view.trace(other.cell)
        if left is None or right is None:
            continue
        if list(_requests(left)) != list(_requests(right)):
            return False
        compared = True
    return compared


def _requests(trace: Mapping[str, Any]) -> Iterator[list[Any]]:
    for call in trace.get("calls", ()):
        yield [call.get(name) for name in _SENT]
    for part in trace.get("parts", ()):
        yield from _requests(part)
