"""A table of rows whose answers changed between two sides: expected, before, after and input of each."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, NamedTuple

from promptkit.reports.layout import GAP, TableCell, column_width, fitted, grid

if TYPE_CHECKING:
    from rich.text import Text

CHANGE_STYLES = {"worse": "red", "better": "green"}
"""The changes of a row, in the order in which they are listed."""
INDENT = 2


class ChangedTexts(NamedTuple):
    """A changed row as texts. `change` is a key of CHANGE_STYLES, which `label` says, with scores where graded."""

    change: str
    label: str
    number: str
    expected: str
    before: str
    after: str
    input: str


def changed_row_lines(
    rows: Sequence[ChangedTexts], before: str, after: str, width: int, *, indent: int = INDENT
) -> Iterator[Text]:
    """Yield the table, its texts cut to the width around the place where they differ; heads name both sides."""
    first = [("", "row"), *((row.label, row.number) for row in rows)]
    texts = [
        ["expected", before, after, "input"],
        *([row.expected, row.before, row.after, row.input] for row in rows),
    ]
    room = width - indent - sum(column_width(column) + GAP for column in zip(*first, strict=True))
    head, *cut = fitted(texts, room, alike=3)
    table: list[list[TableCell]] = [[(text, "dim") for text in (*first[0], *head)]]
    for row, (expected, old, new, given) in zip(rows, cut, strict=True):
        style = CHANGE_STYLES[row.change]
        table.append([(row.label, style), row.number, expected, old, (new, style), given])
    yield from grid(table, right=(1,), width=width, indent=indent)


def change_label(change: str, scores: Sequence[float | None]) -> str:
    """Return a change, with the scores before and after where they are graded: `better 0.2 → 0.9`."""
    values = [score for score in scores if score is not None]
    if len(values) < len(scores) or all(value in (0, 1) for value in values):
        return change
    return f"{change} {' → '.join(f'{value:.2g}' for value in values)}"
