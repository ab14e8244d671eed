"""`promptkit run --input`: one run over the rows of a file, several at once, results in the order of the rows."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import aclosing, contextmanager
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING, TypeAlias

from promptkit.cli.options import Asking
from promptkit.cli.order import in_order
from promptkit.cli.row_inputs import InputRow, further, read_filled, show_near_columns
from promptkit.errors import InputError, Problem, PromptkitError, UnexpectedError, place

if TYPE_CHECKING:
    from promptkit.engine import Batch, Pipeline, Result

TABLES = (".csv", ".jsonl")
"""Endings that `--out` takes."""
Write: TypeAlias = "Callable[[InputRow, Result], None]"
"""Writes a row with its result."""


class RowsFailed(PromptkitError):
    """Some rows have no answer."""


async def run_rows(
    pipeline: Pipeline, path: Path, asking: Asking, *, out: Path | None = None, json: bool = False, trace: bool = False
) -> None:
    """Run a target on each row of a file and print each answer in one line, or write all to `out`.

    Raises RowsFailed at the end.
    """
    from promptkit import engine
    from promptkit.cli.results import json_line, show_models, show_result, spent_text
    from promptkit.cli.session import open_session
    from promptkit.reports import Progress, counted, emit, note, row_text

    if out is not None:
        check_out(out, path)
    rows = read_filled(pipeline, path)
    if not rows:
        note(f"{place(path)} has no rows")
    show_near_columns(pipeline, rows)
    progress = Progress()
    answered, started = None, monotonic()
    async with open_session(pipeline, asking, progress) as session:
        runner = engine.Runner(
            pipeline, models=session.models, settings=session.settings, on_event=progress.listener(steps=False)
        )

        async def answer(row: InputRow) -> tuple[InputRow, Result]:
            return row, await batch.run(row.number, row.values, row.fields)

        # Left in this order however it ends: rows in work are cancelled, then the run is ended, then the store closed.
        async with (
            engine.Batch(runner, session.store, file=str(place(path)), rows=len(rows)) as batch,
            aclosing(in_order(answer, rows)) as results,
        ):
            with progress.showing(rows=len(rows)), writing(out, pipeline, rows) as write:
                async for row, result in results:
                    with progress.row():
                        write(row, result)
                        if json:
                            emit(json_line(result, session, number=row.number, row=further(pipeline, row)))
                        elif out is None:
                            emit(row_text(result.output) if result.error is None else "")
                        if result.error:
                            defect = isinstance(result.error, UnexpectedError)
                            show = f"promptkit runs show {batch.number} --row {row.number} --json"
                            note(f"error: row {row.number}: {result.error}{f'; {show} has the traceback' * defect}")
                        if trace:
                            show_result(result, session, progress, trace=trace)
                    answered = result if result.totals.calls else answered
            if rows:
                note(f"{counted(len(rows), 'row')} · {spent_text([batch.totals], monotonic() - started)}")
        if answered:
            show_models(answered, session, progress)
        if out is not None:
            note(f"written: {place(out)}")
    check_answered(batch)


def check_answered(batch: Batch) -> None:
    """Raise RowsFailed where rows have no answer."""
    from promptkit.reports import counted

    if batch.failed:
        told = f"{batch.failed} of {counted(batch.rows, 'row')} {'has' if batch.failed == 1 else 'have'} no answer"
        raise RowsFailed(told, hint=f"the same command asks only what is missing; promptkit runs show {batch.number}")


def check_out(out: Path, rows: Path) -> None:
    """Raise InputError for a file that `--out` cannot be: by its ending or place, or since the rows come from it."""
    from promptkit.storage import check_destination

    if out.suffix not in TABLES:
        raise InputError(Problem("--out writes .csv or .jsonl, by the ending", place(out)))
    check_destination(out, f"--out {out}")
    if out.exists() and rows.exists() and out.samefile(rows):
        raise InputError(Problem("--out would write over the rows of --input", place(out), hint="name another file"))


@contextmanager
def writing(out: Path | None, pipeline: Pipeline, rows: Iterable[InputRow]) -> Iterator[Write]:
    """Open the file of answers; the block gets what adds a row to it. Without a file that does nothing."""
    from promptkit.reports import AnswerTable
    from promptkit.storage import writing_text

    if out is None:
        yield lambda row, result: None
        return
    table = AnswerTable((row.fields for row in rows), pipeline.output_keys, csv=out.suffix == ".csv")
    with writing_text(out) as add:
        add(table.head)

        def write(row: InputRow, result: Result) -> None:
            add(table.line(row.fields, result.output, None if result.error is None else str(result.error)))

        yield write
