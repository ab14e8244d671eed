"""`promptkit runs repair`: find damaged records of the store and remove them."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Annotated

import typer

from promptkit.api.runs import ProjectStore, open_project_store
from promptkit.engine.run import BATCH, batch_record
from promptkit.errors import DamagedRecord, InputError, StoreFailed, place
from promptkit.evaluation.stored_run import KIND
from promptkit.reports.batch import batch_text
from promptkit.reports.evaluation.report import evaluation_text
from promptkit.reports.output import ask_person, emit, note, terminal_width
from promptkit.reports.runs import run_record, run_text, runs_text
from promptkit.reports.text import counted
from promptkit.reports.tuning.report import tuning_text
from promptkit.storage.records import reading_record
from promptkit.storage.repair import Finding, damaged_run, find_damage
from promptkit.storage.repair import repair as repair_store
from promptkit.storage.store import Run
from promptkit.tuning.tune_record import stored_tune_record

MAX_FINDINGS_SHOWN = 50


def repair(
    yes: Annotated[bool, typer.Option("--yes", help="Repair without asking.")] = False,
) -> None:
    """Find damaged records in the store and, once you confirm, remove or empty them. The file is copied first.

    Removed answers are asked again when they are needed. The exit code is 0 when the store is sound.
    """
    with open_project_store() as kept:
        found = list(damaged_records(kept))
        if not found:
            emit("the store is sound: no record is damaged")
            return
        kept.store.damage.forget()  # all of it is printed here
        for finding in found[:MAX_FINDINGS_SHOWN]:
            emit(str(finding))
        if len(found) > MAX_FINDINGS_SHOWN:
            emit(f"and {len(found) - MAX_FINDINGS_SHOWN} more")
        if not yes and not confirmed(len(found)):
            raise StoreFailed("nothing was changed", hint="promptkit runs repair --yes")
        backup = repair_store(kept.store.path, found)
        note(f"the original file is {place(backup)}")
        left = list(damaged_records(kept))
        kept.store.damage.forget()
        if left:
            raise StoreFailed(f"{counted(len(left), 'record')} could not be repaired, first {left[0]}")
        emit(f"{counted(len(found), 'record')} repaired: the store is sound")


def damaged_records(kept: ProjectStore) -> Iterator[Finding]:
    """Yield records that cannot be read, and runs that cannot be shown. Raises StoreFailed."""
    found: set[str] = set()
    for finding in find_damage(kept.store.path):
        if finding.table == "runs":
            found.add(finding.key)
        yield finding
    for run in kept.store.runs(limit=sys.maxsize):
        if str(run.number) in found:
            continue
        try:
            check_reports(kept, run)
        except DamagedRecord as error:
            yield damaged_run(run.number, error.why, part="record" if run.record else "run")


def check_reports(kept: ProjectStore, run: Run) -> None:
    """Build the reports of a run that `runs list` and `runs show` print. Raises DamagedRecord."""
    with reading_record(f"runs {run.number}"):
        run_record(run)
        runs_text([run], width=terminal_width())
        if run.kind == KIND:
            view = kept.view(run)
            try:
                evaluation_text(kept.record(view), view)
            except InputError:
                return  # its metrics cannot be built any more, as `runs show` reports
        elif run.kind == "tune":
            if run.record:
                tuning_text(stored_tune_record(run))
        elif run.kind == BATCH:
            failed = kept.store.batches.rows(run.number, failed=True)
            batch_text(run, batch_record(run, kept.store), failed, terminal_width())
        else:
            run_text(run, kept.store.calls(run.number))


def confirmed(count: int) -> bool:
    """Ask a person whether to repair. Without a terminal the answer is no."""
    return bool(ask_person(f"repair {counted(count, 'record')}?"))
