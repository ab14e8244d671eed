"""`promptkit runs show`: what a run said, and its rows with every request."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from heapq import nsmallest
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from promptkit.cli.options import Json
from promptkit.cli.run_find import OneVariant, RunName
from promptkit.errors import InputError

if TYPE_CHECKING:
    from promptkit.cli.run_find import Kept
    from promptkit.evaluation import CellView, StoredRun
    from promptkit.storage import Run

MOST_SHOWN = 10
TUNE = "tune"


def show(
    run: RunName,
    variant: OneVariant = None,
    failures: Annotated[
        bool, typer.Option("--failures", help=f"The {MOST_SHOWN} worst rows, each with its requests.")
    ] = False,
    row: Annotated[
        int | None, typer.Option("--row", metavar="N", min=1, max=2**31, help="One row in full, with its requests.")
    ] = None,
    html: Annotated[
        Path | None, typer.Option("--html", metavar="FILE", help="Write an evaluation or a tuning as one page.")
    ] = None,
    json: Json = False,
) -> None:
    """Show a run: of an evaluation or a tuning what it said, of a run of a target its steps and requests.

    Of `run --input` it shows the rows that failed. `last` is the newest run; with an option of evaluations it is the
    newest evaluation, with --row and --failures also the newest run of rows.
    """
    from promptkit.cli.run_find import find_batch, find_evaluation, find_run, open_kept
    from promptkit.evaluation import KIND, named_variant
    from promptkit.storage import check_destination, reading_record

    if failures and row is not None:
        raise InputError("--failures and --row are two views: give one of them")
    if html is not None:
        check_destination(html, f"--html {html}", instead="--json prints the run")
    of_evaluation = failures or any(each is not None for each in (variant, row, html))
    with open_kept() as kept, reading_record(f"run {run}"):
        batch = None if variant is not None or html is not None else find_batch(kept, run, rows=of_evaluation)
        if batch is not None:
            return show_batch(kept, batch, row, failures=failures, json=json)
        found = None if of_evaluation else find_run(kept, run)
        tuning = kept.tuning(run) if found is None else found
        if tuning is not None and tuning.kind == TUNE:
            refuse_rows(tuning, rows=failures or row is not None or variant is not None)
            return show_tuning(tuning, html, json=json)
        if found is not None and found.kind != KIND:
            return show_run(kept, found, json=json)
        view = find_evaluation(kept, run) if found is None else kept.view(found)
        if variant is not None:
            named_variant(view, variant)
        if html is not None:
            write_html(kept, view, html)
        if row is not None:
            show_row(view, row, variant, json=json)
        elif failures:
            show_failures(kept, view, named_variant(view, variant), json=json)
        else:
            show_evaluation(kept, view, variant, json=json)


def refuse_rows(run: Run, *, rows: bool) -> None:
    """Raise InputError where rows of a tuning are asked for."""
    if rows:
        told = f"run {run.number} is a tuning of `{run.target}`, of which no single rows are shown"
        raise InputError(told, hint=f"promptkit runs show {run.number}")


def show_tuning(run: Run, html: Path | None, *, json: bool) -> None:
    """Print what a tuning found, or write it as a page."""
    from promptkit.reports import emit, json_text, note, print_tuning, write_tuning_page

    record = dict(run.record)
    if not record:
        raise InputError(f"run {run.number}, a tuning of `{run.target}`, was ended before it kept anything")
    if html is not None:
        write_tuning_page({**record, "status": run.status}, html)
        note(f"the page is {html}")
    if json:
        emit(json_text({**record, "status": run.status}))
    else:
        print_tuning({**record, "status": run.status})


def show_batch(kept: Kept, run: Run, row: int | None, *, failures: bool, json: bool) -> None:
    """Print a run of rows: what it came to with the rows that failed, one row in full, or the first that failed so."""
    from promptkit.engine import batch_record
    from promptkit.reports import batch_row_text, batch_text, emit, emit_folded, json_text, run_record, terminal_width

    rows = kept.store.batches
    if row is None and not failures:
        record, failed = batch_record(run, kept.store), rows.rows(run.number, failed=True)
        if json:
            told = [{"row": number, "fields": each["fields"], "error": each["error"]} for number, each in failed]
            emit(json_text({**run_record(run), **record, "file": run.inputs["file"], "rows_failed": told}))
        else:
            emit_folded(batch_text(run, record, failed, terminal_width()))
        return
    if row is None:
        found = list(islice(rows.rows(run.number, failed=True), MOST_SHOWN))
    elif (one := rows.row(run.number, row)) is None:
        raise InputError(f"run {run.number} has no row {row}", hint=f"promptkit runs show {run.number}")
    else:
        found = [(row, one)]
    if json:
        emit(json_text({"run": run.number, "rows": [{"row": number, **each} for number, each in found]}))
    else:
        emit_folded("\n\n".join(batch_row_text(number, each) for number, each in found) or "no row failed")


def show_run(kept: Kept, run: Run, *, json: bool) -> None:
    """Print a run of a target."""
    from promptkit.reports import emit, emit_folded, json_text, run_record, run_text

    calls = kept.store.calls(run.number)
    if json:
        told = {key: value for key, value in run_record(run).items() if key != "metric"}
        emit(json_text({**told, "inputs": run.inputs, **run.record, "calls": calls}))
    else:
        emit_folded(run_text(run, calls))


def show_evaluation(kept: Kept, view: StoredRun, variant: str | None, *, json: bool) -> None:
    """Print what an evaluation said, of one variant where it is named."""
    from promptkit.reports import emit, json_text, note, print_evaluation

    record = of_variant(kept.record(view), variant)
    if json:
        emit(json_text(record))
        return
    print_evaluation(record, view)
    if not view.record:
        for told in record["notes"]:
            note(told)


def of_variant(record: Mapping[str, Any], variant: str | None) -> Mapping[str, Any]:
    """Return a run's record with one variant alone; what is said of others, or of two, is left out."""
    if variant is None:
        return record
    alone = {"variants": [each for each in record["variants"] if each["name"] == variant], "comparisons": []}
    is_baseline = record["variants"][0]["name"] == variant
    return {**record, **alone, "known": 0, **({} if is_baseline else {"thresholds": [], "against": None})}


def write_html(kept: Kept, view: StoredRun, path: Path) -> None:
    """Write an evaluation as a page; of one that was killed, what its cells say."""
    from promptkit.reports import note, write_page

    view.record = kept.record(view)
    write_page(view, path)
    note(f"the page is {path}")


def show_row(view: StoredRun, row: int, variant: str | None, *, json: bool) -> None:
    """Print a row with its cells. Raises InputError for one that the run has not."""
    from promptkit.evaluation import row_cells
    from promptkit.reports import cell_record, cells_text, emit, emit_folded, json_text

    cells = row_cells(view, row, variant)
    if not cells:
        following = next(view.cells(variant, first=row), None)
        hint = f"the next that it has is {following.row}" if following else "its last row comes before that"
        raise InputError(f"run {view.number} has no row {row}", hint=hint)
    if json:
        told = [{**cell_record(cell), "trace": view.trace(cell.cell)} for cell in cells]
        emit(json_text({"run": view.number, "row": row, "cells": told}))
    else:
        emit_folded(cells_text(view, cells))


def show_failures(kept: Kept, view: StoredRun, variant: str, *, json: bool) -> None:
    """Print the rows of a variant that fail: those without an answer first, then the worst by the first metric."""
    from promptkit.reports import cell_record, cells_text, emit, emit_folded, json_text, note

    said = next(each for each in kept.record(view)["variants"] if each["name"] == variant)
    metrics = said["metrics"]
    if json:
        cells = [cell_record(cell) for cell in failing(view, variant, metrics)]
        return emit(json_text({"run": view.number, "variant": variant, "failing": len(cells), "cells": cells}))
    count = 0

    def counted() -> Iterator[CellView]:
        nonlocal count
        for cell in failing(view, variant, metrics):
            count += 1
            yield cell

    worst = nsmallest(MOST_SHOWN, counted(), key=lambda cell: badness(cell, metrics))
    for at, cell in enumerate(worst):
        emit_folded(("\n" if at else "") + cells_text(view, [cell]))
    told = f"{count} of {said['cases']} cells of `{variant}` fail"
    note(f"{told}; the {len(worst)} worst are shown, `runs export` has all" if count > len(worst) else told)


def failing(view: StoredRun, variant: str, metrics: Mapping[str, Any]) -> Iterator[CellView]:
    """Yield the cells of a variant that have no answer, or less than the best score of the first metric."""
    from promptkit.reports import is_right

    return (cell for cell in view.cells(variant) if not is_right(cell, metrics))


def badness(cell: CellView, metrics: Mapping[str, Any]) -> tuple[bool, float]:
    """Return what orders failing cells: those without an answer come first, then the lowest score."""
    from promptkit.reports import goodness_of

    return not cell.flag, goodness_of(cell, metrics)
