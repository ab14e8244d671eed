"""`promptkit label`: a person labels the answers of an evaluation."""

from __future__ import annotations

import json as json_module
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from shlex import join
from typing import Annotated

import typer

from promptkit.api.evaluate import find_suite
from promptkit.api.runs import ProjectStore, find_evaluation, open_project_store
from promptkit.cli.label_keys import keys_of_stdin
from promptkit.cli.label_session import LabelSession, LabelWriter, Queue, kept_text
from promptkit.cli.options import Json, command_options, complete_suite
from promptkit.errors import InputError, Interrupted, place
from promptkit.evaluation.answer_labels import AnswerLabel, AnswerLabels, label_file
from promptkit.evaluation.labelling.exchange import import_labels, labelled_rows, without_known
from promptkit.evaluation.labelling.items import LabelItems, find_items
from promptkit.evaluation.labelling.levels import LabelLevels, label_levels, labelled_measure
from promptkit.evaluation.labelling.queue import LabelQueue, SecondQueue
from promptkit.evaluation.labelling.summary import announced_widths, summarize_labels
from promptkit.evaluation.metrics.judge import Judge
from promptkit.evaluation.stored_run import KIND, StoredRun
from promptkit.evaluation.suite.reader import load_suite
from promptkit.evaluation.suite.suite import Measure, Suite
from promptkit.reports.evaluation.labels import (
    disagreement_lines,
    second_start_lines,
    start_lines,
    summary_lines,
)
from promptkit.reports.output import emit, note, print_report
from promptkit.reports.text import counted, json_text
from promptkit.storage.files import check_destination, write_atomic
from promptkit.storage.records import reading_record

FIRST, SECOND = "first", "second"
"""The names of people who give none."""
LAST = "last"
MOST_LABELS = 50
HALF = 0.5
JSON_LINES = ".jsonl"

app = typer.Typer(add_completion=False, rich_markup_mode=None)


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelTask:
    """The answers of a run that are labelled under one metric of a suite, and the suite's labels.

    `named` is the suite as it was typed.
    """

    named: str
    suite: Suite
    view: StoredRun
    measure: Measure
    levels: LabelLevels
    found: LabelItems
    labels: AnswerLabels

    @property
    def metric(self) -> str:
        return self.measure.name

    def command(self, *words: str) -> str:
        """Return a further command on the same metric, as it is typed."""
        metric = [] if self.measure is labelled_measure(self.suite, None) else ["--metric", self.metric]
        return join(["promptkit", "label", self.named, *metric, *words])


@app.command()
def label(
    suite: Annotated[str, typer.Argument(metavar="SUITE", help="By name or path.", autocompletion=complete_suite)],
    metric: Annotated[
        str | None,
        typer.Option("--metric", metavar="NAME", help="The metric to label by; default: the first judge or `human`."),
    ] = None,
    run: Annotated[
        str, typer.Option("--run", metavar="N", help="The run with the answers (default last).", show_default=False)
    ] = LAST,
    variants: Annotated[
        list[str] | None, typer.Option("--variant", metavar="NAME", help="Only answers of this variant; repeatable.")
    ] = None,
    person: Annotated[
        str | None, typer.Option("--person", metavar="NAME", help="Who labels (default: first, or second).")
    ] = None,
    second: Annotated[
        bool, typer.Option("--second", help="Label what another person has labelled, without seeing those labels.")
    ] = False,
    agreement: Annotated[
        bool, typer.Option("--agreement", help="Print what the labels say and how people agree; ask nothing.")
    ] = False,
    limit: Annotated[
        int, typer.Option("--limit", metavar="N", min=1, help="Labels to give now (default 50).", show_default=False)
    ] = MOST_LABELS,
    random_share: Annotated[
        float | None,
        typer.Option(
            "--random-share",
            metavar="SHARE",
            min=0,
            max=1,
            help="Drawn at random; the others where a label helps most (default 0.5, without a judge 1).",
        ),
    ] = None,
    import_field: Annotated[
        str | None,
        typer.Option("--import", metavar="FIELD", help="Take the rows' levels in this field, for one --variant."),
    ] = None,
    export: Annotated[
        Path | None, typer.Option("--export", metavar="FILE", help="Write the labelled answers as rows, .jsonl.")
    ] = None,
    json: Json = False,
) -> None:
    """Label answers of an evaluation, one at a time, blind to their variants.

    Labels correct a judge, are the scores of the metric `human`, and give expected answers. Each is kept at once in
    NAME.labels.jsonl beside the suite; the same command goes on where it ended. Where stdin is not a terminal it holds
    a command a line: `y`, `n`, a level, `v ANSWER`, `w REASON`, `s`, `u`, `b`, `q`.

    Begin with `promptkit label replies`; then another person: `promptkit label replies --second --person ben`.
    """
    if sum((second, agreement, import_field is not None, export is not None)) > 1:
        raise InputError("--second, --agreement, --import and --export are different tasks: give one of them")
    if export is not None:
        check_export(export)
    with open_task(suite, metric, run, variants or ()) as task:
        if export is not None:
            write_rows(task, export)
        elif import_field is not None:
            check_label_file(task)
            take_labels(task, import_field, person or FIRST, variants or ())
        elif agreement:
            show_summary(task, json=json, people=True)
        else:
            check_label_file(task)
            who = person or (SECOND if second else FIRST)
            queue = open_queue(task, who, random_share, second=second)
            ask(task, queue, who, limit, second=second)
            show_summary(task, json=json, people=second)
            show_next(task)


@contextmanager
def open_task(named: str, metric: str | None, run: str, variants: Sequence[str]) -> Iterator[LabelTask]:
    """Open the store of a suite's project, and find what is labelled. Raises InputError."""
    path, project = find_suite(named)
    suite = load_suite(path, project, run_code=False)
    measure = labelled_measure(suite, metric)
    labels = AnswerLabels.read(label_file(path))
    with open_project_store(project.root) as kept, reading_record(f"run {run}"):
        view = find_labelled_run(kept, suite, run, named)
        levels = label_levels(measure)
        found = find_items(view, suite, measure, levels, only=variants)
        if not found.items:
            raise InputError(f"run {view.number} has no answer to label", hint=f"promptkit runs show {view.number}")
        if found.unreadable:
            note(
                f"{counted(found.unreadable, 'row')} of run {view.number} left out: the suite cannot take them any more"
            )
        yield LabelTask(named=named, suite=suite, view=view, measure=measure, levels=levels, found=found, labels=labels)


def find_labelled_run(kept: ProjectStore, suite: Suite, run: str, named: str) -> StoredRun:
    """Return the suite's newest run, or the run of a number. Raises InputError for none, and for another suite's."""
    if run == LAST:
        latest = kept.store.run(LAST, kind=KIND, target=suite.name)
        if latest is None:
            hint = join(["promptkit", "eval", named])
            raise InputError(f"`{suite.name}` has no run yet, and so no answers to label", hint=hint)
        return kept.view(latest)
    view = find_evaluation(kept, run)
    if view.suite != suite.name:
        raise InputError(f"run {view.number} is of the suite `{view.suite}`, not `{suite.name}`")
    return view


def check_label_file(task: LabelTask) -> None:
    """Raise InputError where labels could not be written."""
    file = task.labels.path
    if not task.suite.project.owns(file):
        hint = f"copy {place(task.suite.file)} and its data into `evals/` of a project"
        raise InputError(f"`{task.suite.name}` is shipped with promptkit; no labels can be kept beside it", hint=hint)
    check_destination(file, str(place(file)))


def open_queue(task: LabelTask, person: str, random_share: float | None, *, second: bool) -> Queue:
    """Return the order of the answers. Raises InputError where a second person has nothing to label."""
    items = task.found.items
    if not second:
        share = random_share if random_share is not None else HALF if isinstance(task.measure.metric, Judge) else 1.0
        return LabelQueue(items, task.labels, task.metric, person, random_share=share)
    if random_share is not None:
        raise InputError("--random-share is for the first person: a second one labels the same answers")
    others = {label.person for label in task.labels if label.metric == task.metric} - {person}
    if not others:
        hint = task.command() if not len(task.labels) else "--person NAME names the one who labels now"
        raise InputError(f"nobody else has labelled answers by `{task.metric}` yet", hint=hint)
    return SecondQueue(items, task.labels, task.metric, person)


def ask(task: LabelTask, queue: Queue, person: str, limit: int, *, second: bool) -> None:
    """Ask for labels. Raises Interrupted on ctrl-C; what was given is kept."""
    left = queue.left()
    if not left:
        note(f"`{task.metric}`: all answers that can be asked have a label by `{person}`")
        return
    for line in _start(task, queue, min(limit, left), second=second):
        note(line)
    writer = LabelWriter(task.labels, task.metric, person)
    session = LabelSession(queue, writer, task.levels, keys_of_stdin(), task.found.by_key, limit)
    file = str(place(task.labels.path))
    try:
        session.run()
    except KeyboardInterrupt:
        hint = "the same command goes on"
        raise Interrupted(f"\ninterrupted; {kept_text(session.given, file)}", hint=hint) from None
    note(kept_text(session.given, file))


def _start(task: LabelTask, queue: Queue, asked: int, *, second: bool) -> Iterator[str]:
    if second:
        return second_start_lines(task.metric, task.view.number, len(queue), asked)
    answers, variants = len(queue), len(task.found.variants)
    labelled, widths = answers - queue.left(), announced_widths(answers, variants)
    return start_lines(task.metric, task.view.number, answers, labelled, asked, variants, widths)


def take_labels(task: LabelTask, field: str, person: str, variants: Sequence[str]) -> None:
    """Write the labels that the rows have in a field. Raises InputError."""
    if len(variants) != 1:
        hint = f"--variant {task.view.variants[0]}"
        raise InputError("--import needs the one --variant whose answers the labels are of", hint=hint)
    template = AnswerLabel(
        metric=task.metric,
        key="",
        answer=None,
        level="",
        drawn="random",
        person=person,
        at=datetime.now(UTC).isoformat(timespec="seconds"),
    )
    made = import_labels(task.view, task.suite, task.found, field, template, task.levels)
    new = without_known(made, task.labels)
    for found in new.labels:
        task.labels.add(found)
    emit(f"{counted(len(new.labels), 'label')} of `{field}` taken for the answers of `{variants[0]}`")
    left_out = {
        f"had a label by `{person}` before": new.known,
        "of rows without an answer": made.unanswered,
        "of rows whose repeats gave different answers": made.several,
    }
    for why, count in left_out.items():
        if count:
            note(f"{counted(count, 'label')} {why}: left out")
    note("they count as drawn at random: the rows with a label must not be chosen by their answers")
    show_next(task)


def check_export(file: Path) -> None:
    """Raise InputError for a file that cannot be written or has another form."""
    if file.suffix != JSON_LINES:
        raise InputError(f"--export writes rows of JSON: name the file {file.stem}{JSON_LINES}")
    check_destination(file, f"--export {file}")


def write_rows(task: LabelTask, file: Path) -> None:
    """Write the labelled answers as rows."""
    rows = list(labelled_rows(task.found, task.labels, task.metric, task.levels))
    if not rows:
        raise InputError(f"no answer of run {task.view.number} has a label by `{task.metric}`", hint=task.command())
    write_atomic(file, "".join(f"{json_module.dumps(row, default=str)}\n" for row in rows))
    known = sum("expect" in row or "label_expect" in row for row in rows)
    note(f"{counted(len(rows), 'row')} in {place(file)}, {known} of them with a right answer in `expect`")


def show_summary(task: LabelTask, *, json: bool, people: bool) -> None:
    """Print the findings of the labels; with `people` also the differences between them."""
    summary = summarize_labels(task.found, task.labels, task.metric, task.levels)
    if json:
        emit(json_text({"run": task.view.number, **summary.record()}))
        return
    print_report(lambda width: summary_lines(summary, width))
    if people:
        if not summary.people:
            note("no two people have labelled the same answer yet")
        print_report(lambda width: disagreement_lines(summary, width))


def show_next(task: LabelTask) -> None:
    """Print the commands to type next."""
    note("next:")
    if task.metric in task.view.metrics and task.measure.metric.kind == Judge.kind:
        note(f"  {join(['promptkit', 'eval', task.named])}  # the judge corrected by the labels; it is not asked again")
    elif task.measure.metric.kind == "human":
        note(f"  {join(['promptkit', 'eval', task.named])}  # the labels as scores; no model is asked again")
    note(f"  {task.command()}  # more labels")
    note(f"  {task.command(*command_options(second=True))}  # another person labels the same answers")
