"""`promptkit runs compare`: two evaluations, or two variants, on the rows of both."""

from __future__ import annotations

from typing import Annotated

import typer

from promptkit.cli.options import Json
from promptkit.cli.run_find import complete_run

_HELP = "RUN or RUN:VARIANT; a run is its number, `last` or `last~1`."


def compare(
    a: Annotated[str, typer.Argument(metavar="A", help=f"The run to compare: {_HELP}", autocompletion=complete_run)],
    b: Annotated[
        str | None,
        typer.Argument(
            metavar="B",
            help="The run to compare it with; without it the other variant of A, of a tuning its start.",
            autocompletion=complete_run,
        ),
    ] = None,
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
    margin: Annotated[
        list[str] | None,
        typer.Option(
            "--margin", metavar="[METRIC=]SIZE", help="The largest loss that does not matter (default: the suite's)."
        ),
    ] = None,
    json: Json = False,
) -> None:
    """Compare two evaluations on the rows of both: the difference with its interval, and the rows that changed.

    `runs compare RUN` alone compares the two variants of a run, and of a tuning its incumbent with its start. Rows are
    paired by their content. `last` is the newest evaluation. The exit code is 0 whatever the result: use a threshold of
    the suite to fail a build.
    """
    from promptkit.api.compare import comparing
    from promptkit.reports.output import emit
    from promptkit.reports.run_comparison import print_comparison
    from promptkit.reports.text import json_text

    with comparing(a, b, metric=metric, variant=variant, rows=rows, margins=margin or ()) as found:
        if json:
            emit(json_text({**found.record.to_json(), "rows_shown": found.rows_shown}))
        else:
            print_comparison(found.comparison, found.record, found.changed, rows)
