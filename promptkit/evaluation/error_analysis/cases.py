"""Error cases: cells of a run whose answer is wrong or missing."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from promptkit.evaluation.cells.cell import Cell
from promptkit.evaluation.metrics.score import DEFECT, Score
from promptkit.evaluation.metrics.values import scalar_text

ErrorKind = Literal["missing", "unscored", "unparsed", "truncated", "wrong"]
LONGEST_LABEL = 60
"""The most characters of an answer that can be a label."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ErrorCase:
    """A wrong or missing cell. `expected` and `got` are as the metric compared them; `goodness` is from 0 to 1."""

    cell: Cell
    fails: ErrorKind
    expected: Any
    got: Any
    score: Score | None = None
    why: str = ""
    goodness: float = 0.0

    @property
    def defect(self) -> str:
        """The type and place of an unexpected exception, in the cell or in its score."""
        score = self.score
        return self.cell.defect or (str(score.detail.get(DEFECT, "")) if score else "")

    @property
    def pair(self) -> tuple[str, str] | None:
        """The expected and the given answer, where both can be labels."""
        expected, got = label_text(self.expected), label_text(self.got)
        return None if expected is None or got is None or expected == got else (expected, got)


def label_text(value: Any) -> str | None:
    """Return a value as the text of a label; None if it cannot be one."""
    text = (scalar_text(value) or "").strip()
    return text if text and len(text) <= LONGEST_LABEL and "\n" not in text else None
