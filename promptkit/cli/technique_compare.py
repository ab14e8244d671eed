"""`promptkit techniques compare`: several techniques on one step, over the same rows."""

from __future__ import annotations

from time import monotonic
from typing import TYPE_CHECKING, Annotated, Any

import typer

from promptkit.api.session import ModelOptions
from promptkit.cli.options import Json, Model, NoCache, Record, Sets, Strict, Target, Timeout
from promptkit.cli.technique_prepare import Data, Expect, Limit, Step
from promptkit.errors import PromptkitError, Unsupported

if TYPE_CHECKING:
    from collections.abc import Sequence

    from promptkit.api.session import Session
    from promptkit.engine.pipeline import Pipeline
    from promptkit.engine.pipeline import Step as PipelineStep
    from promptkit.engine.step_rows import StepRows
    from promptkit.evaluation.recommendation.technique_comparison import Contender, TechniqueComparison, TechniqueResult


class RowsMissing(PromptkitError):
    """Some rows have no answer, as a server or tool failed on them."""


def compare(
    target: Target,
    techniques: Annotated[
        str,
        typer.Option(
            "--techniques", metavar="A,B,…", help="Names, or {NAME: {PARAMETER: VALUE}}, with commas between."
        ),
    ],
    data: Data,
    step: Step = None,
    expect: Expect = None,
    limit: Limit = None,
    allow_seen: Annotated[
        bool, typer.Option("--allow-seen", help="Measure on rows that a preparation saw, and mark the result.")
    ] = False,
    model: Model = None,
    sets: Sets = None,
    json: Json = False,
    record: Record = None,
    no_cache: NoCache = False,
    strict: Strict = False,
    timeout: Timeout = None,
) -> None:
    """Compare techniques on a step of a pipeline, over rows with expected answers.

    All else stays the same. Each technique gets its share of right answers with a 95 % interval, and what it cost.
    """
    from promptkit.api.session import load
    from promptkit.cli.session import run_to_end
    from promptkit.engine.step_rows import find_prompt_step, read_step_rows
    from promptkit.evaluation.recommendation.technique_comparison import contenders as choosing_contenders
    from promptkit.evaluation.recommendation.technique_comparison import parse_specs

    asking = ModelOptions(
        model=model, sets=tuple(sets or ()), record=record, no_cache=no_cache, strict=strict, timeout=timeout
    )
    pipeline = load(target, sets=asking.sets)
    own = find_prompt_step(pipeline, step)
    specs = parse_specs(techniques)
    rows = read_step_rows(pipeline, own, data, expect=expect, labelled=True, limit=limit)
    contenders = choosing_contenders(pipeline, own, specs, rows, allow_seen=allow_seen)
    run_to_end(compare_techniques(pipeline, own, contenders, rows, asking, json=json))


async def compare_techniques(
    pipeline: Pipeline,
    step: PipelineStep,
    contenders: Sequence[Contender],
    rows: StepRows,
    asking: ModelOptions,
    *,
    json: bool,
) -> None:
    """Measure the techniques and print the table. Raises RowsMissing, or Unsupported where none could be measured."""
    from promptkit.api.session import open_session
    from promptkit.cli.results import show_models, spent_text
    from promptkit.evaluation.recommendation.evidence import keep_evidence
    from promptkit.evaluation.recommendation.technique_comparison import compare as choosing_compare
    from promptkit.reports.output import emit, emit_folded, note, terminal_width
    from promptkit.reports.progress import Progress
    from promptkit.reports.techniques import comparison_text, measured_text
    from promptkit.reports.text import counted, json_text

    progress, started = Progress(), monotonic()
    note(f"{counted(len(rows.rows), 'row')}, the expected answer in `{rows.expect}`")
    async with open_session(pipeline, asking, progress) as session:
        with progress.showing(rows=len(rows.rows) * sum(each.step is not None for each in contenders)):
            comparison = await choosing_compare(
                pipeline,
                step,
                contenders,
                rows,
                models=session.models,
                settings=session.settings,
                on_event=progress.listener(steps=False),
                on_row=progress.row_finished,
                on_measured=lambda each: progress.notice(measured_text(each)),
            )
        if not asking.sets:  # What was set for this time alone says nothing of the step as its files say it.
            keep_evidence(pipeline.project, comparison.evidence())
        note(spent_text([comparison.totals], monotonic() - started))
        show_models(session.models_of(comparison), comparison.totals, progress)
        if json:
            emit(json_text(json_record(comparison, session)))
        else:
            emit_folded(comparison_text(comparison, width=terminal_width()))
    check_whole(comparison)


def check_whole(comparison: TechniqueComparison) -> None:
    """Raise Unsupported where no technique could be measured, RowsMissing where one was not on all rows."""
    states = {each.state for each in comparison.measured}
    if states == {"unavailable"}:
        raise Unsupported("none of the techniques could be measured")
    if comparison.incomplete:
        lacking = [each for each in comparison.measured if each.state == "incomplete"]
        told = ", ".join(f"{each.missing} of {each.rows} rows of {each.name}" for each in lacking)
        raise RowsMissing(
            f"{told} have no answer: {lacking[0].reason}", hint="the same command asks only what is missing"
        )


def json_record(comparison: TechniqueComparison, session: Session) -> dict[str, Any]:
    """Return a comparison as the documented JSON object."""
    rows = comparison.rows
    return {
        "pipeline": comparison.pipeline.name,
        "step": comparison.step.name,
        "model": session.models_of(comparison)[0].record(),
        "data": {"file": str(rows.file), "rows": len(rows.rows), "hash": rows.hash, "expect": rows.expect},
        "techniques": [technique_record(each) for each in comparison.measured],
    }


def technique_record(each: TechniqueResult) -> dict[str, Any]:
    """Return a measured technique as JSON-able data: sums under `spent`, means under `per_row`."""
    amounts = ("calls", "requests", "tokens_in", "tokens_out", "seconds")
    measured = each.n > 0 and each.state != "unavailable"
    accuracy = {"mean": each.accuracy, "low": each.interval.low, "high": each.interval.high, "n": each.n}
    return {
        "technique": each.spec,
        "state": each.state,
        "reason": each.reason or None,
        "rows": each.rows,
        "right": each.right,
        "accuracy": accuracy if measured else None,
        "unparsed": each.unparsed,
        "truncated": each.truncated,
        "missing": each.missing,
        "seen": each.seen,
        "dominated_by": each.dominated_by,
        "spent": {"cached": each.spent.cached, **{name: getattr(each.spent, name) for name in amounts}},
        "per_row": {name: each.per_row(name) for name in amounts} if measured else None,
    }
