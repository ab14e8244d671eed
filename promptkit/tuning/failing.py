"""What fails of a candidate on search rows, grouped as the errors of a run are."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from promptkit.evaluation import CellView, Errors, Score, find_errors

if TYPE_CHECKING:
    from promptkit.evaluation import BoundRow
    from promptkit.tuning.candidate import Candidate
    from promptkit.tuning.field import Cell, Field

MOST_CASES: Final = 3
"""How many rows of a group are typical of it."""
_HALF: Final = 0.5


@dataclass(frozen=True, slots=True)
class _Asked:
    """The cells of one candidate as the view of a run of its own."""

    found: Sequence[CellView]
    record: Mapping[str, Any]
    variants: tuple[str, ...]
    metrics: tuple[str, ...]
    settings: Mapping[str, Mapping[str, Any]]
    number: int = 0
    suite: str = ""
    status: str = "done"
    started: float = 0.0
    traces: Mapping[int, Mapping[str, Any]] = field(default_factory=dict)

    def cells(self, variant: str | None = None) -> Iterator[CellView]:
        return iter(self.found)

    def trace(self, cell: int) -> Mapping[str, Any] | None:
        return self.traces.get(cell)


def find_failures(field: Field, candidate: Candidate, rows: Sequence[int]) -> Errors:
    """Return how a candidate fails by the aim on those of `rows` that it was asked, in groups and slices.

    The row of a failure's cell is its number in the data; the scores are in [0, 1], the higher the better.
    """
    aim, variant = field.metric.name, candidate.name
    cells = [(row, cell) for row in rows if (cell := field.cell(candidate, row)) is not None]
    bounded = {"bounds": (0.0, 1.0), "higher_is_better": True, "kind": field.metric.kind}
    view = _Asked(
        found=[_view(field.rows[row], cell, aim, variant) for row, cell in cells],
        record={"variants": [{"name": variant, "cases": len(cells), "metrics": {aim: bounded}}]},
        variants=(variant,),
        metrics=(aim,),
        settings={variant: candidate.changes},
    )
    return find_errors(view, view.record, most=MOST_CASES)


def _view(row: BoundRow, cell: Cell, aim: str, variant: str) -> CellView:
    unparsed = cell.unparsed >= _HALF
    return CellView(
        variant=variant,
        row=row.row.number,
        repeat=0,
        fields=row.row.fields,
        output=cell.output,
        expect=row.expected[0],
        flag="error" if cell.score is None else "unparsed" if unparsed else "",
        problem=cell.problem,
        scores={aim: Score(cell.score)},
        steps=cell.steps,
        cell=cell.numbers[0],
    )
