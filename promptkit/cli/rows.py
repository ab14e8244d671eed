"""`promptkit run --input`: a run a row, several at once, results in the order of the rows."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING, Any

from promptkit.cli.options import Asking
from promptkit.cli.order import in_order
from promptkit.errors import InputError, Problem, PromptkitError, UnexpectedError, place

if TYPE_CHECKING:
    from promptkit.engine import Pipeline, Result


MAX_PROBLEMS = 20


class RowsFailed(PromptkitError):
    """Some rows have no answer."""


async def run_rows(pipeline: Pipeline, path: Path, asking: Asking, *, json: bool = False, trace: bool = False) -> None:
    """Run a target on each row of a file and print each answer in one line. Raises RowsFailed at the end."""
    from promptkit import engine
    from promptkit.cli.results import json_line, show_models, show_result, spent_text
    from promptkit.cli.session import open_session
    from promptkit.reports import Progress, counted, emit, note, row_text

    filled = read_filled(pipeline, path)
    if not filled:
        note(f"{place(path)} has no rows")
    progress = Progress()
    failed, answered, totals, started = 0, None, [], monotonic()
    async with open_session(pipeline, asking, progress) as session:

        async def answer(numbered: tuple[int, Any]) -> Result:
            number, values = numbered
            listener = progress.listener(prefix=f"{number}/", steps=False)
            return await engine.run(
                pipeline,
                values,
                models=session.models,
                settings=session.settings,
                on_event=listener,
                store=session.store,
            )

        results = in_order(answer, enumerate(filled, start=1))
        with progress.showing(rows=len(filled)):
            number = 0
            async for result in results:
                number += 1
                with progress.row():
                    text = row_text(result.output) if result.error is None else ""
                    emit(json_line(result, session) if json else text)
                    if result.error:
                        failed += 1
                        defect = isinstance(result.error, UnexpectedError)
                        where = f"; `promptkit runs show {result.run}` has the traceback" if defect else ""
                        note(f"error: row {number}: {result.error}{where}")
                    if trace:
                        show_result(result, session, progress, trace=trace)
                totals.append(result.totals)
                answered = result if result.totals.calls else answered
        if totals:
            note(f"{counted(len(totals), 'row')} · {spent_text(totals, monotonic() - started)}")
        if answered:
            show_models(answered, session, progress)
    if failed:
        told = f"{failed} of {counted(len(filled), 'row')} {'has' if failed == 1 else 'have'} no answer"
        raise RowsFailed(told, hint="the same command asks only what is missing")


def read_filled(pipeline: Pipeline, path: Path) -> list[Mapping[str, Any]]:
    """Return the inputs of each row of a file. Raises InputError with the number of each row that does not fit."""
    from promptkit import engine
    from promptkit.cli.values import read_inputs

    filled: list[Mapping[str, Any]] = []
    problems: list[Problem] = []
    try:
        for number, row in enumerate(read_inputs(path), start=1):
            try:
                filled.append(engine.fill(pipeline, row).values)
            except InputError as error:
                problems += (_in_row(problem, number, path) for problem in error.problems)
                if len(problems) >= MAX_PROBLEMS:
                    break
    except InputError as error:
        problems += error.problems
    if problems:
        raise InputError(problems)
    return filled


def _in_row(problem: Problem, number: int, path: Path) -> Problem:
    hint = None if problem.hint and "=VALUE" in problem.hint else problem.hint  # that is for a command line
    return Problem(f"row {number}: {problem.message}", place(path), hint=hint)
