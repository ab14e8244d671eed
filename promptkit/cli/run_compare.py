"""`promptkit runs compare`: two evaluations, or two variants, on the rows of both."""

from __future__ import annotations

from typing import Annotated

import typer

from promptkit.cli.options import Json
from promptkit.cli.run_find import complete_run

_HELP = "RUN or RUN:VARIANT; a run is its number, `last` or `last~1`."


def compare(
    a: Annotated[str, typer.Argument(metavar="A", help=f"What is judged: {_HELP}", autocompletion=complete_run)],
    b: Annotated[str, typer.Argument(metavar="B", help="What it is judged against.", autocompletion=complete_run)],
    metric: Annotated[
        str | None, typer.Option("--metric", metavar="M", help="One metric alone; rows flip by it.")
    ] = None,
    variant: Annotated[
        str | None, typer.Option("--variant", metavar="V", help="The variant of both, where none is named.")
    ] = None,
    rows: Annotated[
        int, typer.Option("--rows", metavar="N", min=0, help="How many rows of each change to show in full (1).")
    ] = 1,
    json: Json = False,
) -> None:
    """Compare two evaluations on the rows of both: the difference with its interval, and the rows that flipped.

    Rows are paired by what they hold. `last` is the newest evaluation. It ends with 0 whatever it finds: what must
    stop a build is a threshold of the suite.
    """
    from promptkit.api.compare import find_sides
    from promptkit.api.runs import open_project_store
    from promptkit.evaluation.comparison.compare import compare_runs
    from promptkit.evaluation.summary import SMALLEST_DIFFERENCE
    from promptkit.reports.output import emit
    from promptkit.reports.run_comparison import find_flips, flip_record, print_comparison
    from promptkit.reports.text import json_text
    from promptkit.storage.records import reading_record

    with open_project_store() as kept, reading_record(f"run {a} or {b}"):
        versus = compare_runs(*find_sides(kept, a, b, variant), kept.project, aim=metric)
        record, found = versus.record(smallest=SMALLEST_DIFFERENCE), find_flips(versus, rows)
        if json:
            emit(json_text({**record, "rows_shown": [flip_record(versus, each) for each in found]}))
        else:
            print_comparison(versus, record, found, rows)
