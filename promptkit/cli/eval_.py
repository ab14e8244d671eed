"""`promptkit eval`: measure, and believe the number."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from promptkit.cli.eval_ended import check_ended
from promptkit.cli.options import Asking, Json, Model, NoCache, Record, Sets, Strict, Timeout
from promptkit.errors import InputError, PromptkitError, place

if TYPE_CHECKING:
    from promptkit.evaluation import Evaluated, Judging, Options, Reference, Suite
    from promptkit.project import Project
    from promptkit.reports import Progress
    from promptkit.storage import Store

app = typer.Typer(add_completion=False, rich_markup_mode=None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What the command line asks of all suites; `alone` where there is one."""

    options: Options
    judging: Judging
    allow_seen: bool = False
    against: str | None = None
    alone: bool = True
    html: Path | None = None
    json: bool = False


def complete_suite(incomplete: str) -> list[str]:
    """Return the names of suites, and the files, that begin so; nothing where something is wrong."""
    from promptkit.project import Project

    try:
        names = set(Project.find(Path.cwd()).names("evals"))
    except PromptkitError:
        names = set()
    folder = Path(incomplete) if incomplete.endswith("/") else Path(incomplete).parent
    files = {f"{path}/" if path.is_dir() else str(path) for path in folder.glob("[!.]*") if _may_lead(path)}
    return sorted(name for name in names | files if name.startswith(incomplete))


def _may_lead(path: Path) -> bool:
    return path.is_dir() or path.suffix in {".yaml", ".yml"}


@app.command(name="eval")
def evaluate(
    suites: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="SUITE", help="By name or path; left out: all of the project.", autocompletion=complete_suite
        ),
    ] = None,
    model: Model = None,
    sets: Sets = None,
    in_flight: Annotated[
        int | None, typer.Option("-j", "--in-flight", metavar="N", min=1, help="Requests at once.")
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
    retry_errors: Annotated[bool, typer.Option("--retry-errors", help="Ask again what failed, and only that.")] = False,
    fresh: Annotated[bool, typer.Option("--fresh", help="Ask everything anew.")] = False,
    exact: Annotated[bool, typer.Option("--exact", help="One request at a time, so that answers repeat.")] = False,
    allow_missing: Annotated[
        bool, typer.Option("--allow-missing", help="Compare though up to 2 % are missing, each counted against.")
    ] = False,
    allow_seen: Annotated[
        bool, typer.Option("--allow-seen", help="Measure on rows that a preparation saw; marked.")
    ] = False,
    against: Annotated[
        str | None, typer.Option("--against", metavar="RUN|FILE", help="Compare with a run or a baseline's file.")
    ] = None,
    smallest: Annotated[
        float | None, typer.Option("--smallest", metavar="POINTS", help="The difference worth telling (5).")
    ] = None,
    html: Annotated[Path | None, typer.Option("--html", metavar="FILE", help="Write the run as one page.")] = None,
    json: Json = False,
    record: Record = None,
    no_cache: NoCache = False,
    strict: Strict = False,
    timeout: Timeout = None,
) -> None:
    """Measure a target on data: each metric with its 95 % interval, each variant against the first.

    What is finished is kept: the same command asks only for the rest.
    """
    from promptkit.cli.eval_next import Typed, show_next, typed_options
    from promptkit.cli.session import run_to_end
    from promptkit.evaluation import Judging, Options
    from promptkit.storage import check_destination, holding_files

    if smallest is not None and not 0 < smallest <= 100:
        raise InputError(f"--smallest is a number of points above 0 and up to 100, not {smallest:g}")
    asking = Asking(
        model=model, sets=tuple(sets or ()), record=record, no_cache=no_cache or fresh, strict=strict, timeout=timeout
    )
    # A recording must hold every request, those of known cells too: kept replies answer them.
    anew = fresh or record is not None
    options = Options(in_flight=in_flight, exact=exact, fresh=anew, retry_errors=retry_errors, strict=strict)
    judging = Judging(allow_missing=allow_missing)
    wanted = Wanted(
        options=options,
        judging=judging if smallest is None else replace(judging, smallest=smallest / 100),
        allow_seen=allow_seen,
        against=against,
        html=html,
        json=json,
    )
    if html is not None:
        check_destination(html, f"--html {html}", instead="--json prints the run")
    # What is measured is the files as they are now: an edit meanwhile is for the next run.
    with holding_files():
        found = list(load_suites(suites or (), asking, only=read_filters(filters or ()), limit=limit, repeat=repeat))
        wanted = replace(wanted, alone=len(found) == 1)
        if html is not None and not wanted.alone:
            raise InputError("--html takes one suite")
        ended = run_to_end(run_all(found, asking, wanted))
    if wanted.alone and not json:
        typed = Typed(
            named=suites[0] if suites else found[0].file.stem,
            how=typed_options(repeat=repeat, exact=exact, allow_seen=allow_seen),
            rows=typed_options(limit=limit, filter=filters),
        )
        show_next(ended[0], typed, asking, html=html is not None)
    check_ended(ended)


def read_filters(texts: Sequence[str]) -> list[tuple[str, str]]:
    """Return `KEY=VALUE` texts as pairs. Raises InputError."""
    pairs = []
    for text in texts:
        key, equals, value = text.partition("=")
        if not equals or not key:
            raise InputError(f"`--filter {text}` must be KEY=VALUE")
        pairs.append((key, value))
    return pairs


def load_suites(names: Sequence[str], asking: Asking, **how: Any) -> Iterator[Suite]:
    """Yield each suite, and after it those of its steps that have labels of their own. Raises InputError."""
    from promptkit.evaluation import load_suite

    for path, project in find_suites(names):
        suite = load_suite(path, project, sets=asking.sets, **how)
        yield suite
        yield from suite.steps


def find_suites(names: Sequence[str]) -> Iterator[tuple[Path, Project]]:
    """Yield each suite's file with its project: those named, all of a folder, or all of the project's `evals/`.

    A path belongs to the project it lies in, a name to that of the working folder. Raises InputError.
    """
    from promptkit.project import Project
    from promptkit.storage import resolved

    here = Project.find(Path.cwd())
    for name in names or [str(here.root / "evals")]:
        if names and not os.path.isdir(name):
            path = here.suite(name)
            yield path, Project.find(path, otherwise=here.root) if os.path.isfile(name) else here
            continue
        found = sorted(resolved(path) for path in Path(name).glob("*") if path.suffix in (".yaml", ".yml"))
        if not found:
            raise InputError(f"there are no suites in {place(Path(name))}", hint="promptkit eval FILE.yaml")
        yield from ((path, Project.find(path, otherwise=here.root)) for path in found)


async def run_all(suites: Sequence[Suite], asking: Asking, wanted: Wanted) -> list[Evaluated]:
    """Run the suites, one after the other, and print what each says."""
    from promptkit.reports import emit

    ended: list[Evaluated] = []
    for suite in suites:
        if ended and not wanted.json:
            emit("")
        ended.append(await run_suite(suite, asking, wanted))
    return ended


async def run_suite(suite: Suite, asking: Asking, wanted: Wanted) -> Evaluated:
    """Run one suite, show how far it is, and print what it says. Raises what ends it."""
    from promptkit.cli.session import open_session
    from promptkit.evaluation import Evaluation, Replies, StoredRun, refuse_seen
    from promptkit.reports import (
        EvaluationScreen,
        Progress,
        defects_text,
        emit,
        json_text,
        note,
        print_evaluation,
        write_page,
    )

    seen = refuse_seen(suite, allow=wanted.allow_seen)
    if asking.no_cache and any(variant.counted for variant in suite.variants):
        hint = "measure without --no-cache and --fresh, or let `feed: data` take the step's inputs from the rows"
        raise InputError("`feed: recorded` needs the kept answers of the steps before", hint=hint)
    progress = Progress()
    options = replace(wanted.options, in_flight=wanted.options.in_flight or suite.concurrency)
    judges = [each.metric.model for each in suite.measures if each.metric.model]
    async with open_session(
        suite.baseline.pipeline,
        asking,
        progress,
        concurrency=1 if options.exact else options.in_flight,
        replies=partial(Replies, exact=options.exact),
        apart=[*(each.model for each in suite.variants if each.model), *judges],
    ) as session:
        evaluation = Evaluation(
            suite,
            models=session.models,
            store=session.store,
            options=options,
            judging=wanted.judging,
            against=find_against(wanted, suite, session.store, progress),
            notes=seen,
        )
        with progress.showing():
            await evaluation.open()
        screen = EvaluationScreen(evaluation, progress)
        try:
            with screen.showing():
                ended = await evaluation.run()
        except asyncio.CancelledError:
            screen.interrupted()
            raise
        for message in ended.notices:
            progress.notice(message)
        run = session.store.run(str(ended.number))
        assert run is not None, "a run that ended is in the store"
        view = StoredRun(session.store, run)
        if wanted.json:
            emit(json_text(ended.record, indent=2 if wanted.alone else None))
        else:
            print_evaluation(ended.record, view)
        if defects := defects_text(ended.record):
            note(defects)
        if wanted.html is not None:
            write_page(view, wanted.html)
    return ended


def find_against(wanted: Wanted, suite: Suite, store: Store, progress: Progress) -> Reference | None:
    """Return what `--against` names for a suite. None, with a notice, where there is no earlier run of it, and where a
    run or file is of another one of several suites. Raises InputError.
    """
    from promptkit.evaluation import find_reference

    if wanted.against is None:
        return None
    found = find_reference(wanted.against, suite.name, store, folder=Path.cwd())
    if found is None:
        progress.notice(f"`{suite.name}` has no earlier run that is done and had all rows: nothing is compared")
        return None
    if found.suite == suite.name:
        return found
    told = f"{found.name} is of the suite `{found.suite}`, not `{suite.name}`"
    if wanted.alone:
        raise InputError(told)
    progress.notice(f"{told}: nothing is compared")
    return None
