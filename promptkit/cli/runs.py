"""`promptkit runs`: list, show and export the runs in the project's store."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from heapq import nsmallest
from itertools import islice
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from promptkit.api.runs import ProjectStore, find_batch, find_run, find_view, open_project_store, refuse_target
from promptkit.cli.options import Json
from promptkit.cli.run_compare import compare
from promptkit.cli.run_errors import errors
from promptkit.cli.run_find import OneVariant, RunName
from promptkit.cli.run_repair import repair
from promptkit.engine.run import batch_record
from promptkit.errors import InputError
from promptkit.evaluation.cells.cell import Cell
from promptkit.evaluation.comparison.baseline import baseline_lines
from promptkit.evaluation.comparison.run_rows import named_variant, row_cells
from promptkit.evaluation.provenance import provenance_of
from promptkit.evaluation.record import EvalRecord, MetricRecord
from promptkit.evaluation.stored_run import KIND, StoredRun
from promptkit.reports.batch import AnswerTable, answer_lines, batch_row_text, batch_text
from promptkit.reports.evaluation.failing_rows import normalized_score
from promptkit.reports.evaluation.report import print_evaluation
from promptkit.reports.export import cell_record, csv_parts, is_right, jsonl_parts, junit_parts
from promptkit.reports.output import emit, emit_folded, note, result_stream, terminal_width
from promptkit.reports.page.write import write_page
from promptkit.reports.runs import cells_text, run_record, run_text, runs_text
from promptkit.reports.text import json_text
from promptkit.reports.tuning.page import write_tuning_page
from promptkit.reports.tuning.report import print_tuning
from promptkit.storage.file_digests import CurrentDigests
from promptkit.storage.files import check_destination, write_private
from promptkit.storage.records import reading_record
from promptkit.storage.store import Run
from promptkit.tuning.tune_record import TUNE, stored_tune_record

MAX_ROWS_SHOWN = 10
STDOUT = Path("-")


app = typer.Typer(
    add_completion=False,
    rich_markup_mode=None,
    no_args_is_help=True,
    help="List, show, compare and export runs, group what fails, and repair the store.",
)


@app.command("list")
def list_(
    kind: Annotated[
        Literal["run", "batch", "eval", "tune"] | None,
        typer.Option("--kind", metavar="KIND", help="run, batch, eval or tune."),
    ] = None,
    target: Annotated[
        str | None, typer.Option("--target", metavar="NAME", help="Only runs of a target or a suite.")
    ] = None,
    limit: Annotated[
        int,
        typer.Option(
            "--limit", metavar="N", min=1, max=1_000_000, help="How many runs (default 20).", show_default=False
        ),
    ] = 20,
    json: Json = False,
) -> None:
    """List the latest runs, newest first: the target, the status and the result.

    The result of an evaluation is the first metric of its first variant.
    """
    with open_project_store() as kept:
        runs = [run for run in kept.store.runs(kind=kind, target=target, limit=limit) if kept.lists(run)]
        if target is not None and not runs:
            refuse_target(kept, target, kind)
    if json:
        emit(json_text([run_record(run) for run in runs]))
    elif runs:
        emit(runs_text(runs, width=terminal_width()))
    else:
        note("there are no runs here yet")


@app.command()
def show(
    run: RunName,
    variant: OneVariant = None,
    failures: Annotated[
        bool, typer.Option("--failures", help=f"The {MAX_ROWS_SHOWN} worst rows, each with its requests.")
    ] = False,
    row: Annotated[
        int | None, typer.Option("--row", metavar="N", min=1, max=2**31, help="One row in full, with its requests.")
    ] = None,
    html: Annotated[
        Path | None, typer.Option("--html", metavar="FILE", help="Write an evaluation or a tuning as one page.")
    ] = None,
    json: Json = False,
) -> None:
    """Show a run: the report of an evaluation or a tuning, the steps and requests of a run of a target.

    For `run --input` these are the rows that failed. `last` is the newest run; with an option for evaluations it is the
    newest evaluation, with --row and --failures also the newest run of rows. With them a tuning, named by its number,
    shows its confirm rows: `--variant start`, or its incumbent.
    """
    if failures and row is not None:
        raise InputError("--failures and --row are two views: give one of them")
    if html is not None:
        check_destination(html, f"--html {html}", instead="--json prints the run")
    of_evaluation = failures or any(option is not None for option in (variant, row, html))
    with open_project_store() as kept, reading_record(f"run {run}"):
        batch = None if variant is not None or html is not None else find_batch(kept, run, rows=of_evaluation)
        if batch is not None:
            return show_batch(kept, batch, row, failures=failures, json=json)
        found = None if of_evaluation else find_run(kept, run)
        tuning = kept.tuning(run) if found is None else found
        if tuning is not None and tuning.kind == TUNE and not (failures or row or variant):
            return show_tuning(tuning, html, json=json)
        if found is not None and found.kind != KIND:
            return show_run(kept, found, json=json)
        view = find_view(kept, run) if found is None else kept.view(found)
        if variant is not None:
            named_variant(view, variant)
        if html is not None:
            write_html(kept, view, html)
        if row is not None:
            show_row(kept, view, row, variant, json=json)
        elif failures:
            show_failures(kept, view, variant or view.default_variant, json=json)
        else:
            show_evaluation(kept, view, variant, json=json)


def show_tuning(run: Run, html: Path | None, *, json: bool) -> None:
    """Print the report of a tuning, or write it as a page."""
    if not run.record:
        raise InputError(f"run {run.number}, a tuning of `{run.target}`, ended before it had a result")
    record = stored_tune_record(run)
    if html is not None:
        write_tuning_page(record, html)
        note(f"the page is {html}")
    if json:
        emit(json_text(record.to_json()))
    else:
        print_tuning(record)


def show_batch(kept: ProjectStore, run: Run, row: int | None, *, failures: bool, json: bool) -> None:
    """Print a run of rows: its summary with the rows that failed, one row in full, or the first failed rows in full."""
    rows = kept.store.batches
    if row is None and not failures:
        record, failed = batch_record(run, kept.store), rows.rows(run.number, failed=True)
        if json:
            rows_failed = [
                {"row": number, "fields": stored["fields"], "error": stored["error"]} for number, stored in failed
            ]
            emit(json_text({**run_record(run), **record, "file": run.inputs["file"], "rows_failed": rows_failed}))
        else:
            emit_folded(batch_text(run, record, failed, terminal_width()))
        return
    if row is None:
        found = list(islice(rows.rows(run.number, failed=True), MAX_ROWS_SHOWN))
    elif (one := rows.row(run.number, row)) is None:
        raise InputError(f"run {run.number} has no row {row}", hint=f"promptkit runs show {run.number}")
    else:
        found = [(row, one)]
    if json:
        emit(json_text({"run": run.number, "rows": [{"row": number, **stored} for number, stored in found]}))
    else:
        emit_folded("\n\n".join(batch_row_text(number, stored) for number, stored in found) or "no row failed")


def show_run(kept: ProjectStore, run: Run, *, json: bool) -> None:
    """Print a run of a target."""
    calls = kept.store.calls(run.number)
    if json:
        head = {key: value for key, value in run_record(run).items() if key != "metric"}
        emit(json_text({**head, "inputs": run.inputs, **run.record, "calls": calls}))
    else:
        emit_folded(run_text(run, calls))


def show_evaluation(kept: ProjectStore, view: StoredRun, variant: str | None, *, json: bool) -> None:
    """Print the report of an evaluation, or of one variant of it."""
    record = only_variant(kept.record(view), variant)
    if json:
        emit(json_text(record.to_json()))
        return
    print_evaluation(record, view)
    if view.record is None:
        for text in record.notes:
            note(text)


def only_variant(record: EvalRecord, variant: str | None) -> EvalRecord:
    """Return a run's record with one variant alone, without others and comparisons."""
    if variant is None:
        return record
    alone = {"variants": [one for one in record.variants if one.name == variant], "comparisons": [], "known": 0}
    is_baseline = record.variants[0].name == variant
    return record.model_copy(update={**alone, **({} if is_baseline else {"thresholds": [], "against": None})})


def write_html(kept: ProjectStore, view: StoredRun, path: Path) -> None:
    """Write an evaluation as a page; one that was killed is recomputed from its cells."""
    write_page(view, kept.record(view), path)
    note(f"the page is {path}")


def show_row(kept: ProjectStore, view: StoredRun, row: int, variant: str | None, *, json: bool) -> None:
    """Print a row with its cells and their origin. Raises InputError for a row that the run does not have."""
    cells = row_cells(view, row, variant)
    if not cells:
        following = next(view.cells(variant, first=row), None)
        hint = f"its next row is {following.row}" if following else "its last row comes before that"
        raise InputError(f"run {view.number} has no row {row}", hint=hint)
    current = CurrentDigests(kept.project.root)
    origins = {cell.number: provenance_of(view, cell, current) for cell in cells}
    if json:
        records = [
            {**cell_record(cell), "origin": origins[cell.number].record(), "trace": view.trace(cell.number)}
            for cell in cells
        ]
        emit(json_text({"run": view.number, "row": row, "cells": records}))
    else:
        emit_folded(cells_text(view, cells, origins))


def show_failures(kept: ProjectStore, view: StoredRun, variant: str, *, json: bool) -> None:
    """Print the failing rows of a variant: those without an answer first, then the lowest by the first metric."""
    variants = kept.record(view).variants
    summary = next(one for one in variants if one.name == variant)
    metrics = summary.metrics
    if json:
        cells = [cell_record(cell) for cell in failing_cells(view, variant, metrics)]
        return emit(json_text({"run": view.number, "variant": variant, "failing": len(cells), "cells": cells}))
    count = 0

    def counted() -> Iterator[Cell]:
        nonlocal count
        for cell in failing_cells(view, variant, metrics):
            count += 1
            yield cell

    worst = nsmallest(MAX_ROWS_SHOWN, counted(), key=lambda cell: failure_rank(cell, metrics))
    for at, cell in enumerate(worst):
        emit_folded(("\n" if at else "") + cells_text(view, [cell]))
    share = f"{count} of {summary.cases} cells of `{variant}` fail"
    note(f"{share}; the {len(worst)} worst are shown, `runs export` has all" if count > len(worst) else share)
    for other in variants:
        for name, metric in other.metrics.items() if other.name != variant else ():
            if metric.unscored:
                note(f"{metric.unscored} answers of `{other.name}` have no score by `{name}`: --variant {other.name}")


def failing_cells(view: StoredRun, variant: str, metrics: Mapping[str, MetricRecord]) -> Iterator[Cell]:
    """Yield the cells of a variant without an answer, without a score, or below the best one of the first metric."""
    return (cell for cell in view.cells(variant) if not is_right(cell, metrics) or _is_unscored(cell))


def failure_rank(cell: Cell, metrics: Mapping[str, MetricRecord]) -> tuple[bool, bool, float]:
    """Return the sort key of failing cells: those without an answer, then those without a score, then the lowest."""
    return not cell.flag, not _is_unscored(cell), normalized_score(cell, metrics)


def _is_unscored(cell: Cell) -> bool:
    return any(score.is_missing for score in cell.scores.values())


app.command()(compare)
app.command()(errors)


@app.command()
def export(
    run: RunName,
    jsonl: Annotated[Path | None, typer.Option("--jsonl", metavar="FILE", help="One cell a line, in full.")] = None,
    csv: Annotated[Path | None, typer.Option("--csv", metavar="FILE", help="A table for spreadsheets.")] = None,
    junit: Annotated[
        Path | None, typer.Option("--junit", metavar="FILE", help="Test cases for CI in XML, one for each row.")
    ] = None,
    baseline: Annotated[
        Path | None, typer.Option("--baseline", metavar="FILE", help="A baseline for `eval --against`.")
    ] = None,
    variant: OneVariant = None,
) -> None:
    """Write an evaluation to files; `-` is stdout. `last` is the newest evaluation.

    Without --variant, JSONL and CSV hold all variants, JUnit and the baseline the first one. The JSONL and CSV of a run
    of rows, named by its number, are those of `run --out`. A tuning, named by its number, is written as an evaluation
    of its start and incumbent on its confirm rows, JUnit with those of the incumbent.
    """
    for option, path in {"--jsonl": jsonl, "--csv": csv, "--junit": junit, "--baseline": baseline}.items():
        if path is not None and path != STDOUT:
            check_destination(path, f"{option} {path}", instead="`-` is stdout")
    with open_project_store() as kept, reading_record(f"run {run}"):
        batch = find_batch(kept, run, rows=True) if run.isdigit() else None
        if batch is not None:
            if junit or baseline or variant:
                raise InputError(f"run {run} has rows without scores: write it as --csv or --jsonl")
            return write_batch(kept, batch, jsonl=jsonl, csv=csv)
        view = find_view(kept, run)
        chosen = named_variant(view, variant or view.default_variant)
        if baseline is not None and variant not in (None, view.variants[0]):
            raise InputError(f"a baseline is of the first variant, `{view.variants[0]}`", hint="leave out --variant")
        makers: list[tuple[Path | None, Callable[[], Iterable[str]]]] = [
            (jsonl, lambda: jsonl_parts(view.cells(variant))),
            (csv, lambda: csv_parts(view, variant)),
            (junit, lambda: junit_parts(view, kept.record(view), chosen)),
            (baseline, lambda: baseline_lines(view)),
        ]
        write_all(makers)


def write_batch(kept: ProjectStore, run: Run, *, jsonl: Path | None, csv: Path | None) -> None:
    """Write the rows of a batch with their answers. Raises InputError."""

    def rows() -> Iterator[Mapping[str, Any]]:
        return (record for _, record in kept.store.batches.rows(run.number))

    def lines(csv: bool) -> Iterator[str]:
        return answer_lines(rows(), AnswerTable((row["fields"] for row in rows()), run.inputs["output_keys"], csv=csv))

    write_all([(jsonl, lambda: lines(False)), (csv, lambda: lines(True))])


def write_all(makers: Iterable[tuple[Path | None, Callable[[], Iterable[str]]]]) -> None:
    """Write each file that is named. Raises InputError where none is, and for two to stdout."""
    targets = [(path, make) for path, make in makers if path is not None]
    if not targets:
        raise InputError("nothing to write", hint="--jsonl FILE, --csv FILE, --junit FILE or --baseline FILE")
    if sum(path == STDOUT for path, _ in targets) > 1:
        raise InputError("only one file can go to stdout")
    for path, make in targets:
        write(path, make())


def write(path: Path, parts: Iterable[str]) -> None:
    """Write text part by part to a file or to stdout. Raises StoreFailed where a file cannot be written."""
    if path == STDOUT:
        out = result_stream()
        for part in parts:
            out.write(part)
        out.flush()
        return
    write_private(path, _utf8(parts))
    note(f"written: {path}")


def _utf8(parts: Iterable[str]) -> Iterator[bytes]:
    return (part.encode("utf-8") for part in parts)


app.command()(repair)
