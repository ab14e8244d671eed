"""`promptkit generate --from-runs`: the right answers of evaluations as rows for training and as examples."""

from __future__ import annotations

import json as json_module
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

from promptkit.api.evaluate import find_suite
from promptkit.api.runs import ProjectStore, find_evaluation, open_project_store
from promptkit.errors import InputError, Problem, place
from promptkit.evaluation.stored_run import KIND, StoredRun
from promptkit.evaluation.suite.reader import load_suite
from promptkit.evaluation.suite.suite import Suite
from promptkit.reports.output import emit, note
from promptkit.reports.text import counted, json_text
from promptkit.storage.files import check_destination, write_atomic
from promptkit.storage.records import reading_record
from promptkit.synthetic_data.right_answers import RightAnswers, collect, conditions_of, read_condition

MOST_RUNS: Final = 1_000
ALL, LAST = "all", "last"


def take_rows(target: str, runs: str, where: Sequence[str], *, step: str | None, out: Path | None, json: bool) -> None:
    """Write the right answers of runs of a suite to a file for each step, and print what was taken.

    Raises InputError for runs and metrics that are not there, for files that are, and where no answer is right.
    """
    path, project = find_suite(target)
    suite = load_suite(path, project, run_code=False)
    given = [read_condition(text) for text in where]
    found = RightAnswers()
    with open_project_store(project.root) as kept, reading_record(f"runs {runs}"):
        for view in views(kept, suite, runs):
            collect(suite, view, conditions_of(view, suite, given), found, step)
    if not found.rows:
        asked = " and ".join(where) or "the first metric at its highest value"
        raise InputError(f"no answer is right among {found.read} ({asked})", hint="--where 'METRIC >= 0.8'")
    if out is not None and len(found.rows) > 1:
        message = f"--out is for one step, and there are {len(found.rows)}"
        raise InputError(message, hint=f"--step {next(iter(found.rows))}")
    folder = path.parent if project.owns(path) else project.root / "evals"
    files = {name: out or folder / f"{suite.name}.{name}.rows.jsonl" for name in found.rows}
    check_files(list(files.values()))
    for name, file in files.items():
        lines = (json_module.dumps(row, ensure_ascii=False, default=str) + "\n" for row in found.rows[name])
        write_atomic(file, "".join(lines).encode("utf-8", "replace"))
    steps = {
        name: {"file": str(place(file)), "rows": len(found.rows[name]), "repeated": found.repeated[name]}
        for name, file in files.items()
    }
    if json:
        emit(json_text({"read": found.read, "right": found.right, "steps": steps}, indent=2))
        return
    emit(f"{found.right} of {counted(found.read, 'answer')} are right")
    for name, file in files.items():
        repeated = f", {found.repeated[name]} repeated ones left out" if found.repeated[name] else ""
        emit(f"{name}: {counted(len(found.rows[name]), 'row')} in {place(file)}{repeated}")
    note("a model wrote these answers: an evaluation on them says so")


def check_files(files: Sequence[Path]) -> None:
    """Raise InputError for files that cannot be written, or that are there already."""
    for file in files:
        check_destination(file, str(place(file)))
    there = [file for file in files if os.path.lexists(file)]
    if there:
        raise InputError(
            Problem("the file is there already", place(file), hint="--out names another") for file in there
        )


def views(kept: ProjectStore, suite: Suite, runs: str) -> Iterator[StoredRun]:
    """Yield the runs of a suite that `last`, `all` or numbers name. Raises InputError."""
    if runs in (ALL, LAST):
        found = kept.store.runs(kind=KIND, target=suite.name, limit=MOST_RUNS if runs == ALL else 1)
        if not found:
            hint = f"promptkit eval {suite.file.stem}"
            raise InputError(f"`{suite.name}` has no run yet, and so no right answers", hint=hint)
        yield from map(kept.view, found)
        return
    for text in runs.split(","):
        view = find_evaluation(kept, text.strip())
        if view.suite != suite.name:
            raise InputError(f"run {view.number} is of the suite `{view.suite}`, not `{suite.name}`")
        yield view
