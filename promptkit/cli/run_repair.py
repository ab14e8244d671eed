"""`promptkit runs repair`: damaged records of the store, found and removed."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated

import typer

from promptkit.errors import DamagedRecord, InputError, Interrupted, StoreFailed

if TYPE_CHECKING:
    from promptkit.cli.run_find import Kept
    from promptkit.storage import Finding, Run

MOST_SHOWN = 50


def repair(
    yes: Annotated[bool, typer.Option("--yes", help="Repair without asking.")] = False,
) -> None:
    """Find damaged records in the store and, once you agree, remove or empty them; the file is copied before.

    What is removed of the answers is asked again where it is needed. It ends with 0 when the store is sound.
    """
    from promptkit.cli.run_find import open_kept
    from promptkit.errors import place
    from promptkit.reports import counted, emit, note
    from promptkit.storage import repair_store

    with open_kept() as kept:
        found = list(damage(kept))
        if not found:
            emit("the store is sound: no record is damaged")
            return
        kept.store.damage.forget()  # it is all told here
        for finding in found[:MOST_SHOWN]:
            emit(str(finding))
        if len(found) > MOST_SHOWN:
            emit(f"and {len(found) - MOST_SHOWN} more")
        if not yes and not agreed(len(found)):
            raise StoreFailed("nothing was changed", hint="promptkit runs repair --yes")
        backup = repair_store(kept.store.path, found)
        note(f"the file as it was is {place(backup)}")
        left = list(damage(kept))
        kept.store.damage.forget()
        if left:
            raise StoreFailed(f"{counted(len(left), 'record')} could not be repaired, first {left[0]}")
        emit(f"{counted(len(found), 'record')} repaired: the store is sound")


def damage(kept: Kept) -> Iterator[Finding]:
    """Yield what is damaged: records that cannot be read, and runs that cannot be shown. Raises StoreFailed."""
    from promptkit.storage import damaged_run, find_damage

    wrong: set[str] = set()
    for finding in find_damage(kept.store.path):
        if finding.table == "runs":
            wrong.add(finding.key)
        yield finding
    for run in kept.store.runs(limit=sys.maxsize):
        if str(run.number) in wrong:
            continue
        try:
            show_silently(kept, run)
        except DamagedRecord as error:
            yield damaged_run(run.number, error.why, part="record" if run.record else "run")


def show_silently(kept: Kept, run: Run) -> None:
    """Make what `runs list` and `runs show` print of a run. Raises DamagedRecord."""
    from promptkit.engine import BATCH, batch_record
    from promptkit.evaluation import KIND
    from promptkit.reports import (
        batch_text,
        evaluation_text,
        run_record,
        run_text,
        runs_text,
        terminal_width,
        tuning_text,
    )
    from promptkit.storage import reading_record

    with reading_record(f"runs {run.number}"):
        run_record(run)
        runs_text([run], width=terminal_width())
        if run.kind == KIND:
            view = kept.view(run)
            try:
                evaluation_text(kept.record(view), view)
            except InputError:
                return  # its metrics cannot be built any more, which is said where it is shown
        elif run.kind == "tune":
            if run.record:
                tuning_text({**run.record, "status": run.status})
        elif run.kind == BATCH:
            failed = kept.store.batches.rows(run.number, failed=True)
            batch_text(run, batch_record(run, kept.store), failed, terminal_width())
        else:
            run_text(run, kept.store.calls(run.number))


def agreed(count: int) -> bool:
    """Ask a person whether to repair; off a terminal nobody agrees."""
    from promptkit.reports import counted

    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        return False
    try:
        return typer.confirm(f"repair {counted(count, 'record')}?", err=True)
    except typer.Abort:
        raise Interrupted("\ninterrupted; nothing was changed") from None
