"""`promptkit runs compare`: two evaluations, or two variants, on the rows of both."""

from __future__ import annotations

from typing import Annotated

import typer

from promptkit.cli.options import Json
from promptkit.cli.run_find import complete_run

_HELP = "RUN or RUN:VARIANT; a run is its number, `last` or `last~1`."


def compare(
    a: Annotated[str, typer.Argument(metavar="A", help=f"The run to compare: {_HELP}", autocompletion=complete_run)],
    b: Annotated[str, typer.Argument(metavar="B", help="The run to compare it with.", autocompletion=complete_run)],
    metric: Annotated[str | None, typer.Option("--metric", metavar="M", help="Compare only by this metric.")] = None,
    variant: Annotated[
        str | None, typer.Option("--variant", metavar="V", help="The variant of both, where none is named.")
    ] = None,
    rows: Annotated[
        int,
        typer.Option(
            "--rows",
            metavar="N",
            min=0,
            help="Show N worse and N better rows in full (default 1).",
            show_default=False,
        ),
    ] = 1,
    json: Json = False,
) -> None:
    """Compare two evaluations on the rows of both: the difference with its interval, and the rows that changed.

    Rows are paired by their content. `last` is the newest evaluation. The exit code is 0 whatever the result: use a
    threshold of the suite to fail a build.
    """
    from promptkit.api.compare import find_sides
    from promptkit.api.runs import open_project_store
    from promptkit.evaluation.comparison.compare import compare_runs
    from promptkit.evaluation.comparison.records import compare_record
    from promptkit.evaluation.summary import SMALLEST_DIFFERENCE
    from promptkit.reports.output import emit
    from promptkit.reports.run_comparison import changed_row_record, find_changed_rows, print_comparison
    from promptkit.reports.text import json_text
    from promptkit.storage.records import reading_record

    with open_project_store() as kept, reading_record(f"run {a} or {b}"):
        comparison = compare_runs(*find_sides(kept, a, b, variant), kept.project, metric=metric)
        record = compare_record(comparison, smallest=SMALLEST_DIFFERENCE)
        shown = find_changed_rows(comparison, rows)
        if json:
            shown_records = [changed_row_record(comparison, row) for row in shown]
            emit(json_text({**record.to_json(), "rows_shown": shown_records}))
        else:
            print_comparison(comparison, record, shown, rows)
