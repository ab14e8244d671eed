"""`promptkit techniques compare`: several techniques on one step, over the same rows."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING, Annotated, Any

import typer

from promptkit.api.session import ModelOptions, Session, load, open_session
from promptkit.cli.options import Json, Model, NoCache, Record, Sets, Strict, Target, Timeout
from promptkit.cli.technique_prepare import Data, Expect, Limit, Step
from promptkit.errors import PromptkitError, Unsupported

if TYPE_CHECKING:
    from promptkit.evaluation.evaluate import Evaluation
    from promptkit.evaluation.recommendation.technique_comparison import (
        TechniqueComparison,
        TechniqueResult,
        TechniqueSuite,
    )
    from promptkit.evaluation.record import EvalRecord
    from promptkit.reports.progress import Progress


class RowsMissing(PromptkitError):
    """Some rows have no answer, because a server or tool failed on them."""


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
    html: Annotated[Path | None, typer.Option("--html", metavar="FILE", help="Write the run as one page.")] = None,
    json: Json = False,
    record: Record = None,
    no_cache: NoCache = False,
    strict: Strict = False,
    timeout: Timeout = None,
) -> None:
    """Compare techniques on a step of a pipeline, over rows with expected answers.

    All else stays the same. Each technique gets its share of right answers with a 95 % interval and its cost, and is
    tested against the first one on the same rows. The run is kept, and the same command resumes it.
    """
    from promptkit.cli.session import run_to_end
    from promptkit.engine.step_rows import find_prompt_step
    from promptkit.evaluation.recommendation.technique_comparison import parse_specs, technique_suite
    from promptkit.storage.files import check_destination, frozen_files

    asking = ModelOptions(
        model=model, sets=tuple(sets or ()), record=record, no_cache=no_cache, strict=strict, timeout=timeout
    )
    if html is not None:
        check_destination(html, f"--html {html}", instead="--json prints the numbers")
    with frozen_files():
        pipeline = load(target, sets=asking.sets)
        suite = technique_suite(
            pipeline,
            find_prompt_step(pipeline, step),
            parse_specs(techniques),
            data,
            expect=expect,
            limit=limit,
            sets=asking.sets,
            allow_seen=allow_seen,
        )
        run_to_end(run_comparison(suite, asking, html=html, json=json))


async def run_comparison(suite: TechniqueSuite, asking: ModelOptions, *, html: Path | None, json: bool) -> None:
    """Measure the techniques and print the table. Raises RowsMissing, or Unsupported where none could be measured."""
    from promptkit.cli.results import show_models, spent_text
    from promptkit.evaluation.cells.progress import EvalOptions
    from promptkit.evaluation.cells.saver import ReplyCache
    from promptkit.evaluation.recommendation.evidence import keep_evidence
    from promptkit.evaluation.recommendation.technique_comparison import compare_techniques
    from promptkit.reports.output import emit, emit_folded, note, terminal_width
    from promptkit.reports.progress import Progress
    from promptkit.reports.techniques import technique_comparison_text
    from promptkit.reports.text import json_text

    progress, started = Progress(), monotonic()
    note(f"the expected answer is in `{suite.expect}`")
    options = EvalOptions(fresh=asking.no_cache or asking.record is not None, retry_errors=True, strict=asking.strict)
    replies = partial(ReplyCache, exact=False)
    async with open_session(suite.pipeline, asking, progress, replies=replies) as session:
        comparison = await compare_techniques(
            suite,
            models=session.models,
            store=session.store,
            options=options,
            watch=lambda available, evaluation: watching(available, evaluation, session, progress),
        )
        if not asking.sets:  # With --set the step was not as its files say.
            keep_evidence(suite.pipeline.project, comparison.evidence())
        note(spent_text([comparison.totals], monotonic() - started))
        show_models(session.models_of(comparison), comparison.totals, progress)
        if json:
            emit(json_text(json_record(comparison, session)))
        else:
            emit_folded(technique_comparison_text(comparison, width=terminal_width()))
        if comparison.record:
            show_run(comparison.record, session, html)
    check_complete(comparison)


@contextmanager
def watching(suite: TechniqueSuite, evaluation: Evaluation, session: Session, progress: Progress) -> Iterator[None]:
    """Show the progress of the run; where it is interrupted, print the table of what is finished."""
    from promptkit.evaluation.recommendation.technique_comparison import comparison_of
    from promptkit.reports.evaluation.screen import EvaluationScreen
    from promptkit.reports.output import note, terminal_width
    from promptkit.reports.techniques import technique_comparison_text

    try:
        with EvaluationScreen(evaluation, progress).showing():
            yield
        for message in evaluation.execution.notices:
            progress.notice(message)
    except asyncio.CancelledError:
        if evaluation.number:
            comparison = comparison_of(suite, evaluation, session.store)
            note(technique_comparison_text(comparison, width=terminal_width(stderr=True)))
        raise


def show_run(record: EvalRecord, session: Session, html: Path | None) -> None:
    """Print the number of the kept run and its defects, and write its page if one is asked for."""
    from promptkit.evaluation.stored_run import StoredRun
    from promptkit.reports.evaluation.report import defects_text
    from promptkit.reports.output import note
    from promptkit.reports.page.write import write_page

    if defects := defects_text(record.defects, record.run):
        note(defects)
    if record.run is not None:
        note(f"kept as run {record.run}: promptkit runs show {record.run}")
    if html is not None:
        # A run that is not kept is the last one in a store of its own.
        run = session.store.run("last" if record.run is None else str(record.run))
        assert run is not None, "a run that ended is in the store"
        write_page(StoredRun(session.store, run), record, html)


def check_complete(comparison: TechniqueComparison) -> None:
    """Raise Unsupported where no technique could be measured, RowsMissing where one was not on all rows."""
    incomplete = [result for result in comparison.results if result.state == "incomplete"]
    if all(result.state == "unavailable" for result in comparison.results):
        raise Unsupported("none of the techniques could be measured")
    if incomplete:
        missing = ", ".join(f"{result.missing} of {result.rows} rows of {result.name}" for result in incomplete)
        hint = "the same command asks only what is missing"
        raise RowsMissing(f"{missing} have no answer: {incomplete[0].reason}", hint=hint)


def json_record(comparison: TechniqueComparison, session: Session) -> dict[str, Any]:
    """Return a comparison as the documented JSON object."""
    techniques = comparison.techniques
    return {
        "pipeline": techniques.pipeline.name,
        "step": techniques.step.name,
        "run": comparison.record.run if comparison.record else None,
        "model": session.models_of(comparison)[0].record(),
        "data": {
            "file": str(techniques.file),
            "rows": comparison.rows,
            "hash": comparison.rows_hash,
            "expect": techniques.expect,
        },
        "techniques": [result_record(result) for result in comparison.results],
        "comparisons": [found.to_json() for found in comparison.record.comparisons] if comparison.record else [],
    }


def result_record(result: TechniqueResult) -> dict[str, Any]:
    """Return a measured technique as JSON-able data: sums under `spent`, means under `per_row`."""
    amounts = ("calls", "requests", "tokens_in", "tokens_out", "seconds")
    measured = result.n > 0 and result.state != "unavailable"
    accuracy = {"mean": result.accuracy, "low": result.interval.low, "high": result.interval.high, "n": result.n}
    return {
        "technique": result.spec,
        "state": result.state,
        "reason": result.reason or None,
        "rows": result.rows,
        "right": result.right,
        "accuracy": accuracy if measured else None,
        "unparsed": result.unparsed,
        "truncated": result.truncated,
        "warnings": dict(result.warnings),
        "warned_by": dict(result.warned_by),
        "missing": result.missing,
        "seen": result.seen,
        "dominated_by": result.dominated_by,
        "spent": {"cached": result.spent.cached, **{name: getattr(result.spent, name) for name in amounts}},
        "per_row": {name: result.per_row(name) for name in amounts} if measured else None,
    }
