"""A run of a suite in the terminal: how far it is, and what it says."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from promptkit.reports.output import note

if TYPE_CHECKING:
    from promptkit.evaluation import Evaluated, Evaluation, RunView
    from promptkit.reports.progress import Progress


class EvaluationScreen:
    """Shows how far an evaluation is."""

    def __init__(self, evaluation: Evaluation, progress: Progress) -> None:
        self._evaluation = evaluation
        self._progress = progress

    @contextmanager
    def showing(self) -> Iterator[None]:
        yield

    def interrupted(self) -> None:
        note(evaluation_text(self._evaluation.so_far()))

    def ended(self, ended: Evaluated) -> None:
        """Say what is told after a run, beside its result."""


def evaluation_text(record: Mapping[str, Any], view: RunView | None = None) -> str:
    """Return what a run says."""
    lines = [f"{record['suite']}  {record['status']}  {record['rows']} rows"]
    for variant in record["variants"]:
        said = [f"{name} {_share(each)}" for name, each in variant["metrics"].items()]
        lines.append(f"  {variant['name']}: {'  '.join(said)}")
    return "\n".join(lines)


def _share(estimate: Mapping[str, Any]) -> str:
    if estimate["mean"] is None:
        return "–"
    return f"{estimate['mean']:.3f} [{estimate['low']:.3f}, {estimate['high']:.3f}] n={estimate['n']}"
