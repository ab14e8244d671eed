"""`promptkit tune`: a better target for a stated budget, and the proof that it is better."""

from __future__ import annotations

import asyncio
import signal
import sys
from dataclasses import dataclass
from os.path import relpath
from pathlib import Path
from shlex import join
from typing import TYPE_CHECKING, Annotated, Any

import typer

from promptkit.cli.eval_ import command_options, complete_suite
from promptkit.cli.options import (
    Json,
    Model,
    ModelOptions,
    NoCache,
    Record,
    Sets,
    Strict,
    Target,
    Timeout,
    complete_model,
)
from promptkit.errors import InputError, Interrupted

if TYPE_CHECKING:
    from collections.abc import Sequence

    from promptkit.cli.session import Session
    from promptkit.evaluation.suite.suite import Suite
    from promptkit.reports.progress import Progress
    from promptkit.tuning.budget import Plan
    from promptkit.tuning.options import Mode, TuneOptions
    from promptkit.tuning.run import TuningResult
    from promptkit.tuning.tune import Tuning

app = typer.Typer(add_completion=False, rich_markup_mode=None)


@dataclass(frozen=True, slots=True, kw_only=True)
class TuneArguments:
    """What the command line asks besides the wishes of the tuning itself."""

    wishes: TuneOptions
    dry_run: bool = False
    yes: bool = False
    in_place: bool = False
    html: Path | None = None
    json: bool = False


@app.command()
def tune(
    target: Target,
    suite: Annotated[
        str | None,
        typer.Option(
            "--suite",
            metavar="SUITE",
            help="What measures it; left out where one suite names it.",
            autocompletion=complete_suite,
        ),
    ] = None,
    budget: Annotated[
        str | None, typer.Option("--budget", metavar="LIMITS", help="calls=300,tokens=50000,minutes=10: any of them.")
    ] = None,
    optimizer: Annotated[
        str, typer.Option("--optimizer", metavar="NAME", help="race (ours), or one of DSPy's: miprov2, gepa, …")
    ] = "race",
    only: Annotated[
        str | None, typer.Option("--only", metavar="A,B,…", help="What may vary: examples, layout, STEP, STEP.KIND …")
    ] = None,
    teacher: Annotated[
        str | None,
        typer.Option(
            "--teacher", metavar="REF", help="A model that proposes instructions.", autocompletion=complete_model
        ),
    ] = None,
    stepwise: Annotated[bool, typer.Option("--stepwise", help="Each step alone, not the steps together.")] = False,
    joint: Annotated[bool, typer.Option("--joint", help="The steps together, not each alone.")] = False,
    prefer: Annotated[
        str, typer.Option("--prefer", metavar="WHICH", help="cheap, balanced, best, or as `score - 0.0005 * tokens`.")
    ] = "best",
    metric: Annotated[
        str | None, typer.Option("--metric", metavar="NAME", help="The aim; left out, the suite's first metric.")
    ] = None,
    seed: Annotated[int, typer.Option("--seed", metavar="N", help="Another draw of examples and candidates.")] = 0,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be tried and what it can cost.")] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Begin though only a large gain could be shown.")] = False,
    apply: Annotated[bool, typer.Option("--apply", help="Replace the original, if it is improved.")] = False,
    html: Annotated[Path | None, typer.Option("--html", metavar="FILE", help="Write what was found as a page.")] = None,
    json: Json = False,
    model: Model = None,
    sets: Sets = None,
    record: Record = None,
    no_cache: NoCache = False,
    strict: Strict = False,
    timeout: Timeout = None,
) -> None:
    """Improve a target on a suite: search on some rows, and show the gain on rows that the search never saw.

    It ends with 0 whatever the verdict. What is answered is kept: the same command goes on where it was ended.
    """
    from promptkit.cli.session import run_to_end
    from promptkit.storage.files import check_destination, frozen_files
    from promptkit.tuning.options import Limits, TuneOptions, read_budget, read_only
    from promptkit.tuning.output.write import check_replaceable
    from promptkit.tuning.tune import load_tuning_suite

    wishes = TuneOptions(
        limits=read_budget(budget) if budget is not None else Limits(),
        optimizer=optimizer,  # type: ignore[arg-type]  # checked there
        only=read_only(only) if only is not None else (),
        teacher=teacher,
        mode=mode_of(stepwise=stepwise, joint=joint),
        prefer=prefer,
        metric=metric,
        seed=seed,
    )
    asking = ModelOptions(
        model=model, sets=tuple(sets or ()), record=record, no_cache=no_cache, strict=strict, timeout=timeout
    )
    wanted = TuneArguments(wishes=wishes, dry_run=dry_run, yes=yes, in_place=apply, html=html, json=json)
    if html is not None:
        check_destination(html, f"--html {html}", instead="--json prints what was found")
    with frozen_files():
        found = load_tuning_suite(target, suite, sets=asking.sets, run_code=not dry_run)
    if apply:
        check_replaceable(found.wanted.target, found.project)
    if dry_run and not show_code(found, asking, json=json):
        return
    ended = run_to_end(run_tuning(found, asking, wanted))
    if ended is None:
        return
    if not json:
        how = command_options(
            suite=suite,
            budget=budget,
            optimizer=None if optimizer == "race" else optimizer,
            only=only,
            teacher=teacher,
            stepwise=stepwise,
            joint=joint,
            prefer=None if prefer == "best" else prefer,
            metric=metric,
            seed=seed or None,
            model=model,
            set=asking.sets,
            yes=yes,
            no_cache=no_cache,
            strict=strict,
        )
        show_next(ended, ["promptkit", "tune", target, *how], found, model=model, applying=apply)
    if ended.failure is not None:
        raise ended.failure


def show_code(suite: Suite, asking: ModelOptions, *, json: bool) -> bool:
    """Say which Python a tuning would run, and tell whether it can be planned without running any."""
    from promptkit.cli.run import code_lines
    from promptkit.evaluation.suite.suite import suite_code
    from promptkit.reports.output import emit, note
    from promptkit.reports.text import json_text

    for line in code_lines(suite_code(suite, model=asking.model)):
        note(line)
    if suite.data.function is None:
        return True
    note(f"nothing is planned, as {suite.data.function.code.shown} makes the rows and is not run")
    if json:
        emit(json_text({"target": suite.target, "suite": suite.name, **code_record(suite, asking)}))
    return False


def code_record(suite: Suite, asking: ModelOptions) -> dict[str, Any]:
    """Return the Python that a tuning would run as a part of `--dry-run --json`."""
    from promptkit.evaluation.suite.suite import suite_code

    return {"code": [each.record() for each in suite_code(suite, model=asking.model)]}


def mode_of(*, stepwise: bool, joint: bool) -> Mode:
    """Return how steps are tuned; both ways where both are asked for."""
    return "both" if stepwise == joint else "stepwise" if stepwise else "joint"


async def run_tuning(suite: Suite, asking: ModelOptions, wanted: TuneArguments) -> TuningResult | None:
    """Plan, ask where a person must agree, tune, and print what was found; None where nothing was to be done."""
    from promptkit.cli.session import open_session
    from promptkit.evaluation.cells.progress import EvalOptions
    from promptkit.evaluation.cells.saver import ReplyCache
    from promptkit.reports.output import emit, note
    from promptkit.reports.progress import Progress
    from promptkit.reports.text import json_text
    from promptkit.reports.tuning.report import print_plan
    from promptkit.tuning.tune import Tuning, separate_models

    progress = Progress()
    apart = separate_models(suite, wanted.wishes.teacher)
    async with open_session(
        suite.baseline.pipeline, asking, progress, concurrency=suite.concurrency, replies=ReplyCache, apart=apart
    ) as session:
        # A recording must hold every request, those of known cells too: kept replies answer them.
        options = EvalOptions(fresh=asking.no_cache or asking.record is not None, strict=asking.strict)
        tuning = Tuning(suite, models=session.models, store=session.store, wishes=wanted.wishes, options=options)
        with progress.showing():
            plan = await tuning.plan()
        if wanted.dry_run:
            if wanted.json:
                emit(json_text({**plan.record(), **code_record(suite, asking)}))
            else:
                print_plan(plan, stderr=False)
            return None
        print_plan(plan)
        if plan.asks and not wanted.yes and not confirmed(plan):
            note("nothing was asked")
            return None
        return await run_shown(tuning, session, progress, wanted)


def confirmed(plan: Plan) -> bool:
    """Ask a person whether to begin; off a terminal it is an InputError."""
    from promptkit.reports.tuning.report import detectable_gain_text

    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        less = "; most changes bring less than that" if plan.smallest is not None else ""
        hint = "give the suite more rows, or begin all the same by --yes"
        raise InputError(f"{detectable_gain_text(plan)}{less}", hint=hint)
    # Ctrl-C would wait for the answer: the event loop takes it, and that waits too.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        return typer.confirm("begin all the same?", err=True)
    except typer.Abort:
        raise Interrupted("\ninterrupted; nothing was asked") from None
    finally:
        signal.signal(signal.SIGINT, before)


async def run_shown(tuning: Tuning, session: Session, progress: Progress, wanted: TuneArguments) -> TuningResult:
    """Tune with the search on the screen, write what was found and print it; interrupted, the best so far."""
    from promptkit.reports.tuning.screen import TuningScreen
    from promptkit.tuning.output.write import write_result
    from promptkit.tuning.record import metric_record

    screen = TuningScreen(tuning.standing, progress, metric_record(tuning.suite.measures[0].metric))
    try:
        with screen.showing():
            tuned = await tuning.run()
    except asyncio.CancelledError:
        if tuning.tuned is not None:
            print_tuned(write_result(tuning.tuned, tuning.suite, session.store), wanted)
        raise
    for message in tuned.notices:
        progress.notice(message)
    tuned = write_result(tuned, tuning.suite, session.store, in_place=wanted.in_place)
    print_tuned(tuned, wanted)
    return tuned


def print_tuned(tuned: TuningResult, wanted: TuneArguments) -> None:
    """Print what was found, and write it as a page where that is wanted."""
    from promptkit.reports.evaluation.report import defects_text
    from promptkit.reports.output import emit, note
    from promptkit.reports.text import json_text
    from promptkit.reports.tuning.page import write_tuning_page
    from promptkit.reports.tuning.report import print_tuning

    if wanted.json:
        emit(json_text(tuned.record.to_json()))
    else:
        print_tuning(tuned.record)
    if defects := defects_text(tuned.record.defects, tuned.number):
        note(defects)
    if wanted.html is not None:
        write_tuning_page(tuned.record, wanted.html)
        note(f"the page is {wanted.html}")


def show_next(tuned: TuningResult, typed: Sequence[str], suite: Suite, *, model: str | None, applying: bool) -> None:
    """Show the two or three lines that go on from a tuning. `typed` is the command but for what it prints."""
    from promptkit.engine.load import load_target
    from promptkit.reports.output import note

    record, apply = tuned.record, ["--apply"] if applying else []
    note("next:")
    if tuned.status != "done":
        note(f"  {join([*typed, *apply])}  # goes on; what was answered is not asked again")
    elif record.written:
        file = relpath(suite.project.root / record.written[-1])
        # The suite may be of one step, whose inputs are not the file's.
        inputs = load_target(file, suite.project).inputs.items()
        values = [f"{name}=TEXT" for name, each in inputs if not each.has_example and not each.has_default]
        typed_run = join(["promptkit", "run", file, *values, *command_options(model=model)])
        note(f"  {typed_run}  # what was found{'' if values else ', on its example'}")
        target = suite.wanted.target
        may_apply = suite.project.owns(target) and (target.suffix != ".j2" or len(record.written) == 1)
        if record.verdict == "improved" and not applying and may_apply:
            note(f"  {join([*typed, '--apply'])}  # the same again, to replace the original")
    note(f"  promptkit runs show {tuned.number}  # this again")
