"""`promptkit eval`: measure targets on data, print the report, and fail where a threshold is missed."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import islice
from pathlib import Path
from shlex import join
from typing import Annotated, Any

import typer

from promptkit.api.evaluate import SuiteOptions, evaluate_suite, find_suite, read_options
from promptkit.api.session import ModelOptions
from promptkit.cli.better_model import suggest_better_model
from promptkit.cli.options import (
    Json,
    Model,
    NoCache,
    Record,
    Sets,
    Strict,
    StrictOn,
    Timeout,
    command_options,
    complete_suite,
    complete_target,
)
from promptkit.cli.session import run_to_end
from promptkit.errors import InputError, PromptkitError, place
from promptkit.evaluation.evaluate import EvalResult
from promptkit.evaluation.record import VariantRecord
from promptkit.evaluation.stored_run import StoredRun
from promptkit.evaluation.suite.reader import load_suite
from promptkit.evaluation.suite.suite import Suite
from promptkit.project import Project
from promptkit.reports.evaluation.report import defects_text, print_evaluation
from promptkit.reports.output import emit, note
from promptkit.reports.page.write import write_page
from promptkit.reports.progress import Progress
from promptkit.reports.text import json_text
from promptkit.storage.files import check_destination, frozen_files, read_bytes, resolved

_LIST = re.compile(rb"(\s*(#[^\n]*|---[ \t]*)?\n)*- ")

app = typer.Typer(add_completion=False, rich_markup_mode=None)


@app.command(name="eval")
def evaluate(
    suites: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="SUITE", help="By name or path; default: all of the project.", autocompletion=complete_suite
        ),
    ] = None,
    target: Annotated[
        str | None,
        typer.Option(
            "--target",
            metavar="TARGET",
            help="Measure this pipeline or prompt in place of the suite's.",
            autocompletion=complete_target,
        ),
    ] = None,
    model: Model = None,
    sets: Sets = None,
    in_flight: Annotated[
        int | None, typer.Option("-j", "--in-flight", metavar="N", min=1, help="Concurrent requests.")
    ] = None,
    repeat: Annotated[
        int | None, typer.Option("--repeat", metavar="N", min=1, max=1000, help="Samples of each row.")
    ] = None,
    limit: Annotated[
        int | None, typer.Option("--limit", metavar="N", min=1, help="The first rows only; no thresholds.")
    ] = None,
    filters: Annotated[
        list[str] | None, typer.Option("--filter", metavar="KEY=VALUE", help="Rows with this field; repeatable.")
    ] = None,
    retry_errors: Annotated[bool, typer.Option("--retry-errors", help="Ask only failed cells again.")] = False,
    fresh: Annotated[bool, typer.Option("--fresh", help="Ask everything again.")] = False,
    exact: Annotated[bool, typer.Option("--exact", help="Send one request at a time, so that answers repeat.")] = False,
    allow_missing: Annotated[
        bool, typer.Option("--allow-missing", help="Compare with up to 2 % of cells missing, each counted against.")
    ] = False,
    allow_seen: Annotated[
        bool, typer.Option("--allow-seen", help="Measure on rows that a preparation saw, and mark it.")
    ] = False,
    unseen: Annotated[bool, typer.Option("--unseen", help="Leave out rows that preparation or training saw.")] = False,
    against: Annotated[
        str | None, typer.Option("--against", metavar="RUN|FILE", help="Compare with a run or a baseline file.")
    ] = None,
    smallest: Annotated[
        float | None, typer.Option("--smallest", metavar="POINTS", help="The smallest relevant difference (5).")
    ] = None,
    margin: Annotated[
        list[str] | None,
        typer.Option("--margin", metavar="[METRIC=]SIZE", help="The largest loss that does not matter; repeatable."),
    ] = None,
    all_pairs: Annotated[
        bool, typer.Option("--all-pairs", help="Compare each variant with each other one, not with the first alone.")
    ] = False,
    serving: Annotated[
        str | None,
        typer.Option("--serving", metavar="N,…|none", help="Measure serving at so many concurrent requests."),
    ] = None,
    html: Annotated[Path | None, typer.Option("--html", metavar="FILE", help="Write the run as one page.")] = None,
    json: Json = False,
    record: Record = None,
    no_cache: NoCache = False,
    strict: Strict = False,
    strict_on: StrictOn = None,
    timeout: Timeout = None,
) -> None:
    """Measure a target on data: each metric with its 95 % interval, each variant against the first.

    Finished cells are kept: the same command asks only for the rest. With --target the suite's variants and thresholds
    are left out, as they are of its own target.
    """
    options = read_options(
        model=model,
        sets=sets or (),
        in_flight=in_flight,
        retry_errors=retry_errors,
        fresh=fresh,
        exact=exact,
        allow_missing=allow_missing,
        allow_seen=allow_seen,
        unseen=unseen,
        against=against,
        smallest=smallest,
        margin=margin or (),
        all_pairs=all_pairs,
        serving=serving,
        record=record,
        no_cache=no_cache,
        strict=strict,
        strict_on=strict_on or (),
        timeout=timeout,
    )
    if html is not None:
        check_destination(html, f"--html {html}", instead="--json prints the run")
    # The files are measured as they are now: an edit during the run counts for the next one.
    with frozen_files():
        how = {"only": read_filters(filters or ()), "limit": limit, "repeat": repeat}
        found = list(load_suites(suites or (), options.model.sets, target=target, **how))
        options = replace(options, alone=len(found) == 1)
        if html is not None and not options.alone:
            raise InputError("--html takes one suite")
        report = partial(print_result, html=html, json=json, alone=options.alone)
        ended = run_to_end(run_all(found, options, report, apart=not json))
    if options.alone and not json:
        typed = TypedCommand(
            named=suites[0] if suites else found[0].file.stem,
            how=command_options(target=target, repeat=repeat, exact=exact, allow_seen=allow_seen, serving=serving),
            rows=command_options(limit=limit, filter=filters, unseen=unseen),
        )
        suggest_better_model([ended[0].record.model.reference])
        show_next(ended[0], typed, options.model, html=html is not None)
    raise_failures(ended)


def read_filters(texts: Sequence[str]) -> list[tuple[str, str]]:
    """Return `KEY=VALUE` texts as pairs. Raises InputError."""
    pairs = []
    for text in texts:
        key, equals, value = text.partition("=")
        if not equals or not key:
            raise InputError(f"`--filter {text}` must be KEY=VALUE")
        pairs.append((key, value))
    return pairs


def load_suites(names: Sequence[str], sets: Sequence[str], *, target: str | None = None, **how: Any) -> Iterator[Suite]:
    """Yield each suite, followed by the suites of its steps with labels of their own. Raises InputError.

    `target` is measured in place of the targets of the suites; it is looked for in the project of each.
    """
    for path, project in find_suites(names):
        start = None if target is None else project.target(target)
        suite = load_suite(path, project, sets=sets, start=start, **how)
        yield suite
        yield from suite.steps


def find_suites(names: Sequence[str]) -> Iterator[tuple[Path, Project]]:
    """Yield the file and project of each suite: those that are named, of a folder, or of the project's `evals/`.

    A path belongs to the project that it lies in, a name to that of the working folder. Raises InputError.
    """
    here = Project.find(Path.cwd())
    for name in names or [str(here.root / "evals")]:
        if names and not os.path.isdir(name):
            yield find_suite(name)
            continue
        files = (path for path in Path(name).glob("*") if path.suffix in (".yaml", ".yml"))
        found = sorted(resolved(path) for path in files if not _is_list(path))
        if not found:
            raise InputError(f"there are no suites in {place(Path(name))}", hint="promptkit eval FILE.yaml")
        yield from ((path, Project.find(path, otherwise=here.root)) for path in found)


def _is_list(path: Path) -> bool:
    """Tell whether a YAML file is a list, such as the rows of a suite."""
    return bool(_LIST.match(read_bytes(path)))


async def run_all(
    suites: Sequence[Suite], options: SuiteOptions, report: Callable[[EvalResult, StoredRun], None], *, apart: bool
) -> list[EvalResult]:
    """Run the suites one after the other and report each; `apart` puts an empty line between two reports."""
    ended: list[EvalResult] = []
    for suite in suites:
        if ended and apart:
            emit("")
        ended.append(await evaluate_suite(suite, options, Progress(), report))
    return ended


def print_result(result: EvalResult, view: StoredRun, *, html: Path | None, json: bool, alone: bool) -> None:
    """Print a run's report, and write its page where that is asked for."""
    if html is not None:  # First: the reader of stdout may go away.
        write_page(view, result.record, html)
    if json:
        emit(json_text(result.record.to_json(), indent=2 if alone else None))
    else:
        print_evaluation(result.record, view)
    if defects := defects_text(result.record.defects, result.record.run):
        note(defects)


class RunIncomplete(PromptkitError):
    """Some cells have no answer or score, because a model, server or tool failed."""


class ThresholdsMissed(PromptkitError):
    """A threshold was not met."""

    exit_code = 1


def raise_failures(ended: Sequence[EvalResult]) -> None:
    """Raise RunIncomplete where missing cells leave a question open, and ThresholdsMissed where one was not met."""
    for result in ended:
        if (failure := incomplete_error(result)) is not None:
            raise failure
    missed = [
        f"{result.record.suite}: {threshold.says}" if len(ended) > 1 else threshold.says
        for result in ended
        for threshold in result.record.thresholds
        if threshold.passed is False
    ]
    if missed:
        raise ThresholdsMissed("\n".join(missed))


def unscored_metrics(variant: VariantRecord) -> list[str]:
    """Return the metrics that have no score for some answers of a variant."""
    return [name for name, metric in variant.metrics.items() if metric.unscored]


def incomplete_error(ended: EvalResult) -> RunIncomplete | None:
    """Return the error of a run in which missing cells or scores leave a question open."""
    record = ended.record
    undecided = [threshold.says for threshold in record.thresholds if threshold.missing]
    if ended.status == "incomplete" and (undecided or not record.missing_allowed):
        missing = sum(variant.missing for variant in record.variants)
        total = sum(variant.cases for variant in record.variants)
        hint = "the same command asks only for the rest" if ended.gave_up else "--retry-errors asks again what failed"
        message = f"{missing} of {total} cells have no answer: {ended.failure}"
        if missing and missing == ended.wrong:
            hint = "correct the rows; the others are measured and kept"
        if not missing:
            unscored = sorted({name for variant in record.variants for name in unscored_metrics(variant)})
            message = f"some answers have no score by {', '.join(f'`{name}`' for name in unscored)}: {ended.failure}"
            hint = "the same command scores again what has no score"
        return RunIncomplete(message, hint=None if record.model.replayed else hint)
    if undecided:
        return RunIncomplete("\n".join(undecided), hint="the same command scores again what has no score")
    return None


MAX_NEXT_LINES = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class TypedCommand:
    """The words of a command that decide the cells of a run: the suite's name, options that say `how` rows are asked,
    and options that select `rows`."""

    named: str
    how: Sequence[str] = ()
    rows: Sequence[str] = ()


def show_next(ended: EvalResult, typed: TypedCommand, model: ModelOptions, *, html: bool) -> None:
    """Print up to three commands to type next, with the options that decide the answers.

    With `html` a page has been written already.
    """
    note("next:")
    for command, effect in islice(_next_lines(ended, typed, model, html=html), MAX_NEXT_LINES):
        note(f"  {command}  # {effect}")


def _next_lines(
    ended: EvalResult, typed: TypedCommand, model: ModelOptions, *, html: bool
) -> Iterator[tuple[str, str]]:
    options = command_options(model=model.model or None, set=model.sets)
    whole = ["promptkit", "eval", typed.named, *options, *typed.how]
    record = ended.record
    missing = sum(variant.missing for variant in record.variants)
    if ended.status == "incomplete" and missing > ended.wrong:
        retry = [] if ended.gave_up else ["--retry-errors"]
        yield join([*whole, *typed.rows, *retry]), "asks only cells without an answer"
    is_kept = record.run is not None
    if record.before is not None and is_kept:
        yield f"promptkit runs compare {record.before} {ended.number}", f"what changed since run {record.before}"
    if is_kept and _has_failures(record.variants[0]):
        yield f"promptkit runs show {ended.number} --failures", "the failing rows, with their messages"
    if record.limited:
        yield join(whole), "all rows; these are not asked again" if is_kept else "all rows"
    if not html:
        yield join([*whole, *typed.rows, "--html", f"{record.suite}.html"]), "as one page"
    if is_kept:
        yield f"promptkit runs show {ended.number}", "this again"


def _has_failures(variant: VariantRecord) -> bool:
    """Tell whether some cells of a variant have no parsed answer, or less than the best score of the first metric."""
    metric = next(iter(variant.metrics.values()))
    best = metric.bounds and metric.bounds[1 if metric.higher_is_better else 0]
    # Against itself a baseline can only tie.
    is_below = best is not None and metric.kind != "pairwise" and metric.mean not in (best, None)
    return bool(is_below or variant.missing or variant.unparsed or variant.truncated)
