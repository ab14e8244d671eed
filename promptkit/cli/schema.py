"""`promptkit schema`: JSON Schemas with which editors complete and check pipelines, prompts and suites."""

from __future__ import annotations

from importlib import import_module
from typing import Annotated, Any, Literal, TypeAlias, get_args

import typer

from promptkit.errors import InputError, nearest

Format: TypeAlias = Literal["pipeline", "prompt", "suite"]
"""A format of files."""

RECORDS = {
    "eval-record": ("promptkit.evaluation.record", "EvalRecord"),
    "tune-record": ("promptkit.tuning.tune_record", "TuneRecord"),
    "train-record": ("promptkit.training.records", "TrainRecord"),
    "compare-record": ("promptkit.evaluation.comparison.records", "CompareRecord"),
}
"""Records by name, each with the module and the model that it is made from."""

app = typer.Typer(add_completion=False, rich_markup_mode=None)


@app.command()
def schema(
    of: Annotated[
        str,
        typer.Argument(
            metavar="{pipeline|prompt|suite|eval-record|tune-record|train-record|compare-record}",
            help="A file format (of a prompt its front matter), or what `--json` prints of a run or a comparison.",
        ),
    ] = "pipeline",
) -> None:
    """Print the JSON Schema of a file format, or of the JSON of an evaluation, a tuning, a training or a comparison."""
    from promptkit.reports.output import emit
    from promptkit.reports.text import json_text

    for known in get_args(Format):
        if of == known:
            return emit(json_text(json_schema(known)))
    if of not in RECORDS:
        raise InputError(f"there is no schema of `{of}`", hint=nearest(of, [*get_args(Format), *RECORDS]))
    module, name = RECORDS[of]
    emit(json_text(getattr(import_module(module), name).model_json_schema()))


def json_schema(of: Format) -> dict[str, Any]:
    """Return the JSON Schema of a file format, from the models that read it."""
    if of == "suite":
        from promptkit.evaluation.suite.spec import suite_schema

        return suite_schema()
    from promptkit.engine.spec import json_schema

    return json_schema(of)
