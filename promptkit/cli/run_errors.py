"""`promptkit runs errors`: the errors of an evaluation in groups, and a draft of rules against them."""

from __future__ import annotations

import os
from pathlib import Path
from shlex import join
from typing import Annotated

import typer

from promptkit.api.runs import find_view, open_project_store
from promptkit.cli.options import Json
from promptkit.cli.run_find import OneVariant, RunName
from promptkit.cli.session import refuse_shipped
from promptkit.engine.preparation import uses_technique, write_artifact
from promptkit.errors import InputError, Problem, place
from promptkit.evaluation.error_analysis.groups import ErrorAnalysis, errors_record, find_errors
from promptkit.evaluation.error_analysis.guideline_draft import GuidelinePlan, draft_guideline, plan_guideline
from promptkit.evaluation.stored_run import StoredRun
from promptkit.reports.evaluation.error_analysis import print_errors
from promptkit.reports.output import emit, note
from promptkit.reports.text import counted, json_text
from promptkit.storage.records import reading_record
from promptkit.techniques.artifacts import read_artifact

AUTO = "auto"
GUIDELINE_INPUT = "guideline"
"""The prompt's input that the drafted rules refine."""


def errors(
    run: RunName,
    variant: OneVariant = None,
    metric: Annotated[
        str | None,
        typer.Option("--metric", metavar="M", help="The metric that marks answers as wrong; default: the first one."),
    ] = None,
    by: Annotated[
        str | None, typer.Option("--by", metavar="FIELD", help="Failures by the values of a field of the data.")
    ] = None,
    rows: Annotated[
        int,
        typer.Option("--rows", metavar="N", min=1, help="Typical rows of each group (default 3).", show_default=False),
    ] = 3,
    write: Annotated[
        str | None,
        typer.Option("--write", metavar="FILE", help="Write a draft of rules; `auto`: where the technique reads it."),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Overwrite an existing draft or artifact.")] = False,
    json: Json = False,
) -> None:
    """Group the errors of an evaluation, the largest group first, each with typical rows.

    Groups are unparsed and cut-off answers, label pairs (expected → got), values of data fields where clearly more rows
    fail, and rows with similar texts. --write turns the pairs into a draft for the technique annotation_guideline: a
    rule for each, with the typical rows as its cases. No model is asked.
    """
    with open_project_store() as kept, reading_record(f"run {run}"):
        view = find_view(kept, run)
        name = variant or view.default_variant
        found = find_errors(view, kept.record(view), variant=name, metric=metric, by=by, most=rows)
        plan = file = None
        if write is not None:
            plan = plan_guideline(view, found.variant, kept.project)
            file = plan.file if write == AUTO else Path(write)
            options = {"--variant": variant, "--metric": metric, "--by": by, "--rows": None if rows == 3 else str(rows)}
            typed = [part for name, value in options.items() if value is not None for part in (name, value)]
            command = join(["promptkit", "runs", "errors", str(view.number), *typed, "--write", write])
            write_draft(found, view, plan, file, command=command, force=force, automatic=write == AUTO)
        if json:
            emit(json_text({**errors_record(found, view), "file": None if file is None else str(file)}))
            return
        print_errors(found, view)
        if plan is not None and file is not None:
            show_written(plan, file)
        else:
            show_next(found)


def write_draft(
    found: ErrorAnalysis,
    view: StoredRun,
    plan: GuidelinePlan,
    file: Path,
    *,
    command: str,
    force: bool,
    automatic: bool,
) -> None:
    """Write the draft. Raises InputError for an existing file without `force`, and beside a shipped pipeline."""
    if automatic:
        refuse_shipped(plan.pipeline, "no draft can be written beside it", "write it there")
    if os.path.exists(file) and not force:
        message = "this artifact exists, and a person may have edited it"
        raise InputError(Problem(message, place(file), hint="--force overwrites it, edits included"))
    write_artifact(draft_guideline(found, view, plan), file, command)


def show_written(plan: GuidelinePlan, file: Path) -> None:
    """Print the place of the draft, and the next steps."""
    name, step = "annotation_guideline", plan.step.name
    artifact = read_artifact(file)
    assert artifact is not None, "it was just written"
    note(f"{counted(len(artifact.items), 'rule')} from {counted(len(artifact.rows), 'row')} in {place(file)}")
    if file.resolve() != plan.file.resolve():
        note(f"the step `{step}` would read them in {place(plan.file)}")
    note("next:")
    note(f"  edit {place(file)}    # check it: its cases are texts of the data; add the reasons")
    if not uses_technique(plan.pipeline.steps[step], name):
        note(f"  technique: {name}    # in the step `{step}`, whose prompt needs an input `{GUIDELINE_INPUT}`")
    # Without the input, `prepare` would refuse.
    if plan.step.prompt_call is not None and GUIDELINE_INPUT in plan.step.prompt_call.inputs:
        typed = ["promptkit", "techniques", "prepare", name, plan.pipeline.name, "--step", step, "--data", "FILE"]
        note(f"  {join(typed)} --force    # or let a model write rules and keep the ones that help")
    note(f"  promptkit eval {plan.suite.file.stem}    # on other rows: the draft has seen these")


def show_next(found: ErrorAnalysis) -> None:
    """Print the commands to type next."""
    if not found.failed:
        return
    note("next:")
    first = next(row for group in found.groups for row in group.rows)
    note(f"  promptkit runs show {found.run} --row {first.cell.row}    # a row with its requests")
    if found.pairs:
        note(f"  promptkit runs errors {found.run} --write auto    # a rule for each pair, to edit and try")
