"""`promptkit.compare`: two evaluations, or two variants of them, on the rows of both."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from promptkit.api.runs import ProjectStore, find_view, open_project_store
from promptkit.api.session import as_list
from promptkit.errors import InputError
from promptkit.evaluation.comparison.compare import Comparison, compare_runs
from promptkit.evaluation.comparison.records import CompareRecord, compare_record
from promptkit.evaluation.comparison.run_rows import RunRows, named_variant, run_rows
from promptkit.evaluation.suite.comparison_settings import read_margins
from promptkit.evaluation.summary import SMALLEST_DIFFERENCE
from promptkit.reports.output import PIPE_WIDTH
from promptkit.reports.run_comparison import ChangedCells, changed_row_record, comparison_lines, find_changed_rows
from promptkit.reports.text import counted, json_text
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
    b: str | int | None = None,
    *,
    metric: str | None = None,
    variant: str | None = None,
    rows: int = 1,
    margin: str | Sequence[str] = (),
    folder: str | Path | None = None,
) -> CompareResult:
    """Compare two evaluations on the rows of both, paired by their content.

    `a` and `b` are "RUN" or "RUN:VARIANT"; a run is its number, "last" or "last~1". Without `b`, `a` is a run of two
    variants, or a tuning, whose incumbent is compared with its start. `metric` compares by one metric
    alone, `rows` is how many rows of each change are shown in full, `margin` is the largest loss that does not matter,
    as `METRIC=0.02` (default: the suite's), and `folder` lies in the project (default: the working folder). Raises
    InputError.
    """
    margins = as_list(margin)
    with comparing(
        str(a), None if b is None else str(b), metric=metric, variant=variant, rows=rows, margins=margins, folder=folder
    ) as found:
        lines = comparison_lines(found.comparison, found.record, found.changed, rows, PIPE_WIDTH)
        return CompareResult(
            record=found.record, rows_shown=found.rows_shown, text="\n".join(line.plain for line in lines)
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredComparison:
    """A comparison of two stored runs, with the `changed` rows to list. It reads their prompts from the open store."""

    comparison: Comparison
    record: CompareRecord
    changed: Sequence[ChangedCells]

    @property
    def rows_shown(self) -> list[dict[str, Any]]:
        """The changed rows as JSON."""
        return [changed_row_record(self.comparison, row) for row in self.changed]


@contextmanager
def comparing(
    a: str,
    b: str | None,
    *,
    metric: str | None,
    variant: str | None,
    rows: int,
    margins: Sequence[str] = (),
    folder: str | Path | None = None,
) -> Iterator[StoredComparison]:
    """Compare two stored evaluations, with the project's store open within the block. Arguments are as of `compare`."""
    with (
        open_project_store(None if folder is None else Path(folder)) as kept,
        reading_record(f"run {a}" if b is None else f"run {a} or {b}"),
    ):
        comparison = compare_runs(*find_sides(kept, a, b, variant), kept.project, metric=metric)
        sizes = read_margins(margins, [found.metric for found in comparison.metrics.values()])
        yield StoredComparison(
            comparison=comparison,
            record=compare_record(comparison, smallest=SMALLEST_DIFFERENCE, margins=sizes),
            changed=find_changed_rows(comparison, rows),
        )


def find_sides(kept: ProjectStore, a: str, b: str | None, variant: str | None) -> tuple[RunRows, RunRows]:
    """Return the runs that two `RUN:VARIANT` texts name, or the two variants of the run that one names.

    Raises InputError for what does not exist, and where both name the same variant of one run.
    """
    if b is None:
        a, b = _variants_of(kept, a, variant)
    (run_a, variant_a), (run_b, variant_b) = (
        (run := find_view(kept, number), named_variant(run, (name if colon else variant) or run.default_variant))
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


def _variants_of(kept: ProjectStore, text: str, variant: str | None) -> tuple[str, str]:
    """Return the two variants of the run that a text names, the one that it names or the later one first."""
    number, colon, name = text.partition(":")
    run = find_view(kept, number)
    if len(run.variants) != 2:
        hint = f"promptkit runs compare {number}:{run.variants[-1]} {number}:{run.variants[0]}"
        message = f"run {run.number} has {counted(len(run.variants), 'variant')}: name two runs or variants to compare"
        raise InputError(message, hint=hint if len(run.variants) > 2 else None)
    chosen = named_variant(run, (name if colon else variant) or run.variants[1])
    other = next(one for one in run.variants if one != chosen)
    return f"{run.number}:{chosen}", f"{run.number}:{other}"
