"""The runs in the store of a project, by the names that a person gives them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

from promptkit.api.stores import open_store_of_runs
from promptkit.engine.run import BATCH
from promptkit.errors import InputError, nearest
from promptkit.evaluation.record import EvalRecord
from promptkit.evaluation.stored_run import KIND, StoredRun, recomputed_record
from promptkit.project import Project
from promptkit.reports.output import note, terminal_width
from promptkit.reports.runs import run_record, runs_text
from promptkit.storage.records import reading_record
from promptkit.storage.store import Run, Store
from promptkit.tuning.confirmed_run import ConfirmedRun
from promptkit.tuning.tune_record import TUNE

RUNS_IN_HINT = 5


@dataclass(frozen=True, slots=True)
class ProjectStore:
    """A project with its open store."""

    project: Project
    store: Store

    def view(self, run: Run) -> StoredRun:
        """Return an evaluation for reports, or the confirm rows of a tuning. Raises InputError for a tuning without."""
        return ConfirmedRun(self.store, run) if run.kind == TUNE else StoredRun(self.store, run)

    def tuning(self, text: str) -> Run | None:
        """Return the tuning of that number; None where the run is of another kind, or the text is not a number."""
        run = self.store.run(text) if text.isdigit() else None
        return run if run is not None and run.kind == TUNE else None

    def lists(self, run: Run) -> bool:
        """Tell whether a run can be listed; a damaged record is noted."""
        with self.store.damage.skipping(), reading_record(f"runs {run.number}, `record`"):
            run_record(run)
            runs_text([run], width=terminal_width())
            return True
        return False

    def record(self, view: StoredRun) -> EvalRecord:
        """Return the record of a run; of one that was killed or still runs, recompute it from its cells."""
        return view.record or recomputed_record(view, self.project)


@contextmanager
def open_project_store(folder: Path | None = None) -> Iterator[ProjectStore]:
    """Open the store of the project of a folder, or of the working folder, and end the runs whose process is gone.

    Creates no store where there is none.
    """
    project = Project.find(folder or Path.cwd())
    with open_store_of_runs(project) as store:
        store.close_dead_runs()
        try:
            yield ProjectStore(project, store)
        finally:
            note_damage(store)


def note_damage(store: Store) -> None:
    """Note in one line which damaged records were left out."""
    if store.damage.notice:
        note(store.damage.notice)


def find_run(kept: ProjectStore, text: str) -> Run:
    """Return the run of a number, or `last` among all runs. Raises InputError."""
    run = kept.store.run(text)
    if run is None:
        raise InputError(f"there is no run `{text}`", hint=_latest(kept.store, None))
    return run


def find_batch(kept: ProjectStore, text: str, *, rows: bool) -> Run | None:
    """Return the run of rows of a number, or None where there is no such run of rows.

    With `rows`, `last` is the newest run that has rows.
    """
    run = kept.store.run(text, kind=(BATCH, KIND) if rows else None)
    return run if run is not None and run.kind == BATCH else None


def find_evaluation(kept: ProjectStore, text: str) -> StoredRun:
    """Return the evaluation of a number, or `last` among evaluations. Raises InputError."""
    run = kept.store.run(text, kind=KIND)
    if run is not None:
        return kept.view(run)
    other = kept.store.run(text) if text.isdigit() else None
    if other is not None:
        message = f"run {text} is not an evaluation: it is a `{other.kind}` of `{other.target}`"
        raise InputError(message, hint=_latest(kept.store, KIND))
    raise InputError(f"there is no evaluation `{text}`", hint=_latest(kept.store, KIND))


def find_view(kept: ProjectStore, text: str) -> StoredRun:
    """Return an evaluation, or by its number a tuning as an evaluation of its confirm rows. Raises InputError."""
    tuning = kept.tuning(text)
    return find_evaluation(kept, text) if tuning is None else kept.view(tuning)


def _latest(store: Store, kind: str | None) -> str:
    numbers = [str(run.number) for run in store.runs(kind=kind, limit=RUNS_IN_HINT)]
    if not numbers:
        return "nothing was run here yet" if kind is None else "promptkit eval SUITE"
    what = "runs" if kind is None else "evaluations"
    return f"the latest {what} are {', '.join(numbers)}; `promptkit runs list` shows more"


def refuse_target(kept: ProjectStore, target: str, kind: str | None) -> NoReturn:
    """Raise InputError, with the nearest name, for a target without runs."""
    known = {run.target for run in kept.store.runs(kind=kind, limit=1000)}
    raise InputError(f"there is no run of `{target}`", hint=nearest(target, known) or "nothing was run here yet")
