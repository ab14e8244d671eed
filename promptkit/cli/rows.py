"""`promptkit run --input`: a run a row, several at once, results in the order of the rows."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from promptkit.cli.options import Asking
from promptkit.cli.order import in_order
from promptkit.errors import PromptkitError

if TYPE_CHECKING:
    from promptkit.engine import Pipeline, Result


class RowsFailed(PromptkitError):
    """Some rows have no answer."""


async def run_rows(pipeline: Pipeline, path: Path, asking: Asking, *, json: bool = False, trace: bool = False) -> None:
    """Run a target on each row of a file and print each answer in one line. Raises RowsFailed at the end."""
    from promptkit import engine
    from promptkit.cli.run import json_line, show_result
    from promptkit.cli.session import open_session
    from promptkit.cli.values import read_inputs
    from promptkit.reports import Progress, emit, note, row_text

    filled = [engine.fill(pipeline, row).values for row in read_inputs(path)]
    progress = Progress()
    failed = 0
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
        with progress.showing(live=not sys.stdout.isatty()):
            async for result in results:
                emit(json_line(result, session) if json else row_text(result.output) if result.error is None else "")
                if result.error:
                    failed += 1
                    note(f"error: {result.error}")
                if trace:
                    show_result(result, session, progress, trace=trace)
    if failed:
        raise RowsFailed(
            f"{failed} of {len(filled)} rows have no answer", hint="the same command asks only those again"
        )
