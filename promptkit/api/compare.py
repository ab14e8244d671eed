"""`promptkit.compare`: two evaluations, or two variants of them, on the rows of both."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from promptkit.api.runs import ProjectStore, find_evaluation, open_project_store
from promptkit.errors import InputError
from promptkit.evaluation.comparison.compare import compare_runs
from promptkit.evaluation.comparison.records import CompareRecord, compare_record
from promptkit.evaluation.comparison.run_rows import RunRows, named_variant, run_rows
from promptkit.evaluation.summary import SMALLEST_DIFFERENCE
from promptkit.reports.output import PIPE_WIDTH, plain_text
from promptkit.reports.run_comparison import changed_row_record, comparison_lines, find_changed_rows
from promptkit.reports.text import json_text
from promptkit.storage.records import reading_record


@dataclass(frozen=True, slots=True, kw_only=True)
class CompareResult:
    """A comparison of two evaluations. As text it is the report, 80 columns wide."""

    record: CompareRecord
    rows_shown: Sequence[Mapping[str, Any]]
    text: str

    def to_dict(self) -> dict[str, Any]:
        """Return the object that `promptkit runs compare --json` prints."""
        return {**self.record.to_json(), "rows_shown": list(self.rows_shown)}

    def to_json(self, *, indent: int | None = 2) -> str:
        """Return `to_dict()` as JSON."""
        return json_text(self.to_dict(), indent=indent)

    def __str__(self) -> str:
        return self.text


def compare(
    a: str | int,
    b: str | int,
    *,
    metric: str | None = None,
    variant: str | None = None,
    rows: int = 1,
    folder: str | Path | None = None,
) -> CompareResult:
    """Compare two evaluations on the rows of both, paired by their content.

    `a` and `b` are "RUN" or "RUN:VARIANT"; a run is its number, "last" or "last~1". `metric` compares by one metric
    alone, `rows` is how many rows of each change are shown in full, and `folder` lies in the project (default: the
    working folder). Raises InputError.
    """
    with open_project_store(None if folder is None else Path(folder)) as kept, reading_record(f"run {a} or {b}"):
        comparison = compare_runs(*find_sides(kept, f"{a}", f"{b}", variant), kept.project, metric=metric)
        record = compare_record(comparison, smallest=SMALLEST_DIFFERENCE)
        shown = find_changed_rows(comparison, rows)
        lines = comparison_lines(comparison, record, shown, rows, PIPE_WIDTH)
        return CompareResult(
            record=record,
            rows_shown=[changed_row_record(comparison, row) for row in shown],
            text=plain_text(lines),
        )


def find_sides(kept: ProjectStore, a: str, b: str, variant: str | None) -> tuple[RunRows, RunRows]:
    """Return the runs that two `RUN:VARIANT` texts name.

    Raises InputError for what does not exist, and where both name the same variant of one run.
    """
    (run_a, variant_a), (run_b, variant_b) = (
        (run := find_evaluation(kept, number), named_variant(run, name if colon else variant))
        for number, colon, name in (text.partition(":") for text in (a, b))
    )
    if run_a.number != run_b.number:
        is_named = variant_a != variant_b or variant_a != run_a.variants[0]
        return (
            run_rows(run_a, variant_a, f"run {run_a.number} ({variant_a})" if is_named else f"run {run_a.number}"),
            run_rows(run_b, variant_b, f"run {run_b.number} ({variant_b})" if is_named else f"run {run_b.number}"),
        )
    if variant_a == variant_b:
        others = [name for name in run_a.variants if name != variant_a]
        hint = f"promptkit runs compare {run_a.number}:{others[0]} {run_a.number}:{variant_a}" if others else None
        raise InputError(f"both are `{variant_a}` of run {run_a.number}", hint=hint or "name another run")
    return run_rows(run_a, variant_a, variant_a), run_rows(run_b, variant_b, variant_b)
