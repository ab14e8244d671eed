"""`promptkit tune`: a better target for a stated budget, and the proof that it is better."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from os.path import relpath
from pathlib import Path
from shlex import join
from typing import Annotated, Any

import typer

from promptkit.api.tune import load_tunable, read_options, tune_suite
from promptkit.cli.options import (
    Json,
    Model,
    NoCache,
    Record,
    Sets,
    Strict,
    Target,
    Timeout,
    command_options,
    complete_model,
    complete_suite,
)
from promptkit.cli.results import code_lines
from promptkit.cli.session import run_to_end
from promptkit.engine.load import load_target
from promptkit.errors import InputError
from promptkit.evaluation.suite.suite import Suite
from promptkit.reports.evaluation.report import defects_text
from promptkit.reports.output import ask_person, emit, note
from promptkit.reports.progress import Progress
from promptkit.reports.text import counted, json_text
from promptkit.reports.tuning.advice import rounded_up
from promptkit.reports.tuning.page import write_tuning_page
from promptkit.reports.tuning.plan import detectable_gain_text, print_plan
from promptkit.reports.tuning.report import print_tuning
from promptkit.storage.files import check_destination
from promptkit.tuning.budget import Plan
from promptkit.tuning.options import Mode
from promptkit.tuning.run import TuningResult
from promptkit.tuning.tune_record import TuneRecord
from promptkit.tuning.tuned_suite import tuning_code

app = typer.Typer(add_completion=False, rich_markup_mode=None)


@app.command()
def tune(
    target: Target,
    suite: Annotated[
        str | None,
        typer.Option(
            "--suite",
            metavar="SUITE",
            help="The suite that measures it; optional if only one names the target.",
            autocompletion=complete_suite,
        ),
    ] = None,
    budget: Annotated[
        str | None,
        typer.Option("--budget", metavar="LIMITS", help="The most to spend: any of calls=300,tokens=50000,minutes=10."),
    ] = None,
    optimizer: Annotated[
        str,
        typer.Option("--optimizer", metavar="NAME", help="race (promptkit's own), or one of DSPy's: miprov2, gepa, …"),
    ] = "race",
    only: Annotated[
        str | None, typer.Option("--only", metavar="A,B,…", help="Vary only these: examples, layout, STEP, STEP.KIND …")
    ] = None,
    teacher: Annotated[
        str | None,
        typer.Option(
            "--teacher",
            metavar="REF",
            help="The model that proposes instructions; none: no teacher.",
            autocompletion=complete_model,
        ),
    ] = None,
    stepwise: Annotated[bool, typer.Option("--stepwise", help="Tune each step alone, not the steps together.")] = False,
    joint: Annotated[bool, typer.Option("--joint", help="Tune the steps together, not each alone.")] = False,
    prefer: Annotated[
        str,
        typer.Option(
            "--prefer",
            metavar="WHICH",
            help="Score or cost: best, balanced, cheap, or a formula: `score - 0.0005 * tokens`.",
        ),
    ] = "best",
    metric: Annotated[
        str | None, typer.Option("--metric", metavar="NAME", help="The metric to improve; default: the suite's first.")
    ] = None,
    seed: Annotated[int, typer.Option("--seed", metavar="N", help="Draw other examples and candidates.")] = 0,
    tried: Annotated[
        list[str] | None,
        typer.Option(
            "--try", metavar="VARIANT", help="Race a variant of yours too: a file or STEP.KEY=VALUE; repeatable."
        ),
    ] = None,
    weights: Annotated[
        bool, typer.Option("--weights", help="Train heads and adapters for the best prompt, and show what they bring.")
    ] = False,
    keep: Annotated[
        str | None,
        typer.Option(
            "--keep",
            metavar="SUITE",
            help="A second suite: what is lost on it, start against result.",
            autocompletion=complete_suite,
        ),
    ] = None,
    margin: Annotated[
        list[str] | None,
        typer.Option("--margin", metavar="[METRIC=]SIZE", help="The largest loss on --keep that does not matter."),
    ] = None,
    cold: Annotated[bool, typer.Option("--cold", help="Ignore what earlier tunings on this model found.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show what would be tried and what it can cost.")] = False,
    yes: Annotated[
        bool, typer.Option("--yes", help="Start without asking, even if only a large gain could be detected.")
    ] = False,
    apply: Annotated[bool, typer.Option("--apply", help="Replace the original if the verdict is `improved`.")] = False,
    html: Annotated[Path | None, typer.Option("--html", metavar="FILE", help="Write the result as one page.")] = None,
    json: Json = False,
    model: Model = None,
    sets: Sets = None,
    record: Record = None,
    no_cache: NoCache = False,
    strict: Strict = False,
    timeout: Timeout = None,
) -> None:
    """Improve a target on a suite: search on some rows, and show the gain on rows that the search never saw.

    The exit code is 0 whatever the verdict. Answers are kept: the same command resumes.
    """
    settings = read_options(
        budget=budget,
        optimizer=optimizer,  # type: ignore[arg-type]  # checked there
        only=only if only is not None else (),
        teacher=teacher,
        mode=mode_of(stepwise=stepwise, joint=joint),
        prefer=prefer,
        metric=metric,
        seed=seed,
        cold=cold,
        tried=tuple(tried or ()),
        weights=weights,
        keep=keep,
        margins=tuple(margin or ()),
        apply=apply,
        model=model,
        sets=tuple(sets or ()),
        record=record,
        no_cache=no_cache,
        strict=strict,
        timeout=timeout,
    )
    if html is not None:
        check_destination(html, f"--html {html}", instead="--json prints the result")
    found = load_tunable(target, suite, settings, run_code=not dry_run)
    if dry_run and not show_code(found, model, teacher, json=json):
        return
    approve = (
        partial(show_plan, code=code_record(found, model, teacher), json=json)
        if dry_run
        else partial(approve_plan, yes=yes)
    )
    report = partial(print_tuned, html=html, json=json)
    ended = run_to_end(tune_suite(found, settings, Progress(), approve=approve, report=report))
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
            cold=cold,
            **{"try": tried or ()},
            weights=weights,
            keep=keep,
            margin=margin or (),
            model=model,
            set=settings.model.sets,
            yes=yes,
            no_cache=no_cache,
            strict=strict,
        )
        words, named = ("promptkit", "tune", target, *how), suite or found.file.stem
        show_next(ended, TypedTuning(words=words, suite=named, model=model, applying=apply), found)
    if ended.failure is not None:
        raise ended.failure


def show_code(suite: Suite, model: str | None, teacher: str | None, *, json: bool) -> bool:
    """Show which Python a tuning would run. Return whether it can be planned without running any."""
    for line in code_lines(tuning_code(suite, model, teacher)):
        note(line)
    if suite.data.function is None:
        return True
    note(f"nothing is planned, as {suite.data.function.code.shown} makes the rows and is not run")
    if json:
        emit(json_text({"target": suite.target, "suite": suite.name, **code_record(suite, model, teacher)}))
    return False


def code_record(suite: Suite, model: str | None, teacher: str | None) -> dict[str, Any]:
    """Return the Python that a tuning would run as a part of `--dry-run --json`."""
    return {"code": [use.record() for use in tuning_code(suite, model, teacher)]}


def mode_of(*, stepwise: bool, joint: bool) -> Mode:
    """Return the mode in which steps are tuned: both ways where both or none is asked for."""
    return "both" if stepwise == joint else "stepwise" if stepwise else "joint"


def show_plan(plan: Plan, *, code: Mapping[str, Any], json: bool) -> bool:
    """Print the plan of a dry run, which ends there."""
    if json:
        emit(json_text({**plan.record(), **code}))
    else:
        print_plan(plan, stderr=False)
    return False


def approve_plan(plan: Plan, *, yes: bool) -> bool:
    """Show the plan. Return whether to start, which a person decides where only a large gain is detectable."""
    print_plan(plan)
    if plan.needs_consent and not yes and not confirmed(plan):
        note("nothing was asked")
        return False
    return True


def confirmed(plan: Plan) -> bool:
    """Ask a person whether to start. Raises InputError where there is no terminal."""
    answer = ask_person("start anyway?")
    if answer is None:
        less = "; most changes bring less than that" if plan.smallest_gain is not None else ""
        hint = "add rows to the suite, or start anyway with --yes"
        raise InputError(f"{detectable_gain_text(plan)}{less}", hint=hint)
    return answer


def print_tuned(result: TuningResult, *, html: Path | None, json: bool) -> None:
    """Print a result, and write it as a page where that is asked for."""
    if html is not None:  # First: the reader of stdout may go away.
        write_tuning_page(result.record, html)
    if json:
        emit(json_text(result.record.to_json()))
    else:
        print_tuning(result.record)
    if defects := defects_text(result.record.defects, result.number):
        note(defects)
    if html is not None:
        note(f"the page is {html}")


@dataclass(frozen=True, slots=True, kw_only=True)
class TypedTuning:
    """A command as it was typed: its `words` without options for its output, and the name of its suite."""

    words: Sequence[str]
    suite: str
    model: str | None
    applying: bool

    def with_calls(self, calls: int) -> list[str] | None:
        """Return the words with a budget of calls in place of theirs; None where they limit anything else."""
        words = list(self.words)
        if "--budget" in words:
            at = words.index("--budget")
            if not re.fullmatch(r"calls=\d+", words[at + 1]):
                return None
            del words[at : at + 2]
        return [*words, "--budget", f"calls={calls}"]


def show_next(result: TuningResult, typed: TypedTuning, suite: Suite) -> None:
    """Print the commands to type next."""
    note("next:")
    for words, effect in _next_lines(result, typed, suite):
        note(f"  {join(words)}  # {effect}")


def _next_lines(result: TuningResult, typed: TypedTuning, suite: Suite) -> Iterator[tuple[Sequence[str], str]]:
    record = result.record
    if result.status != "done":
        yield [*typed.words, *(["--apply"] if typed.applying else [])], "resumes; answers are kept"
    elif record.written:
        yield from _written_lines(record, typed, suite)
    if record.turned.rows:
        yield ["promptkit", "runs", "compare", str(result.number)], "the rows that turned, with their prompts"
    if result.status == "done" and record.calls_for_all is not None:
        more = typed.with_calls(rounded_up(record.calls_for_all))
        if more is not None:
            yield more, f"also races the {counted(record.left_out, 'candidate')} that were left out"
    yield ["promptkit", "runs", "show", str(result.number)], "this again"


def _written_lines(record: TuneRecord, typed: TypedTuning, suite: Suite) -> Iterator[tuple[Sequence[str], str]]:
    """Yield the commands that run, apply and measure the tuned pipeline."""
    file = relpath(suite.project.root / record.written[-1])
    # The suite may be of one step, whose inputs are not the file's.
    inputs = load_target(file, suite.project).inputs.items()
    values = [f"{name}=TEXT" for name, spec in inputs if not spec.has_example and not spec.has_default]
    options = command_options(model=typed.model)
    yield ["promptkit", "run", file, *values, *options], f"the result{'' if values else ', on its example'}"
    target = suite.source.target
    may_apply = suite.project.owns(target) and (target.suffix != ".j2" or len(record.written) == 1)
    if record.verdict == "improved" and not typed.applying and may_apply:
        yield [*typed.words, "--apply"], "the same again, to replace the original"
    of_file = [] if record.applied else ["--target", file]
    yield ["promptkit", "eval", typed.suite, *of_file, *options], "measures it: first give the suite new rows"
