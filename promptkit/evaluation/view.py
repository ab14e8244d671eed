"""A run as reports see it: what was said of each variant, and each cell with its scores, read from the store."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

from promptkit.evaluation.metrics import Score

CellFlag = Literal["", "unparsed", "truncated", "error"]


@dataclass(frozen=True, slots=True, kw_only=True)
class CellView:
    """One cell of a run. `row` counts from 1, `repeat` from 0; `error` is missing, and `problem` says why.

    `cell` is what `RunView.trace` takes. `expect` is what the suite expects of the row, None where it says nothing.
    `defect` is the type and place of an exception that nothing foresaw.
    """

    variant: str
    row: int
    repeat: int
    fields: Mapping[str, Any]
    output: Any
    expect: Any
    flag: CellFlag = ""
    problem: str = ""
    defect: str = ""
    scores: Mapping[str, Score] = field(default_factory=dict)
    steps: Mapping[str, Any] = field(default_factory=dict)
    calls: int = 0
    cached: int = 0
    tokens_in: int = 0
    tokens_out: int = 0
    seconds: float = 0.0
    cell: int = 0


def compared(cell: CellView, metric: str) -> tuple[Any, Any]:
    """Return what was expected of a cell and what it gave, as a metric compared them.

    Where it compared the output with what the suite expects of the row, these are the two.
    """
    detail = cell.scores[metric].detail if metric in cell.scores else {}
    got = next((detail[key] for key in ("predicted", "got") if key in detail), cell.output)
    return detail.get("expected", cell.expect), got


class RunView(Protocol):
    """A run in the store.

    `record` is what `promptkit eval --json` prints. `variants` are in the suite's order, the first is the baseline;
    `metrics` in the suite's order, the first is the aim; `settings` maps a variant to what it sets (`{"mood.layout":
    "prefix"}`).
    """

    @property
    def number(self) -> int: ...

    @property
    def suite(self) -> str: ...

    @property
    def status(self) -> str: ...

    @property
    def started(self) -> float: ...

    @property
    def record(self) -> Mapping[str, Any]: ...

    @property
    def variants(self) -> tuple[str, ...]: ...

    @property
    def metrics(self) -> tuple[str, ...]: ...

    @property
    def settings(self) -> Mapping[str, Mapping[str, Any]]: ...

    def cells(self, variant: str | None = None) -> Iterator[CellView]:
        """Yield the cells in the order of rows, then variants, then repeats; of one variant where it is named."""
        ...

    def trace(self, cell: int) -> Mapping[str, Any] | None:
        """Return a cell's trace record, None where it has none."""
        ...
