"""Rows generated for a suite, a pipeline or a prompt, written to a file of JSON lines as they are kept."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from promptkit.api.session import ModelOptions, Session, find_project, open_session, showing
from promptkit.engine.render import Rendered, render
from promptkit.engine.results import Totals
from promptkit.engine.step_settings import resolve_model
from promptkit.errors import InputError, Problem, place
from promptkit.evaluation.suite.generated import GENERATED, is_generated
from promptkit.project import Project
from promptkit.reports.progress import Progress
from promptkit.runtimes.base import Model
from promptkit.runtimes.budget import Budget
from promptkit.storage.files import append_line, check_destination, make_folder
from promptkit.storage.hashes import content_key
from promptkit.storage.rows import read_rows
from promptkit.storage.strict_json import compact, json_bytes
from promptkit.synthetic_data.attributes import Combinations, read_attributes
from promptkit.synthetic_data.generator import (
    CHECK_TEMPERATURE,
    Ended,
    GenerationCounts,
    Plan,
    RowGenerator,
    label_shares,
    requests_for,
    without_sampling,
)
from promptkit.synthetic_data.spread import comparison_record, labelled_rows, spread_record
from promptkit.synthetic_data.task import MOST_REAL, GenerationTask, LabelledInputs, find_target, load_task

MOST_ROWS = 100_000
MOST_SEEDS = 100_000
PLAN_KEY_BYTES = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class GenerateOptions:
    """The options of a generation, as those of `promptkit generate`."""

    model: ModelOptions = field(default_factory=ModelOptions)
    rows: int = 100
    out: Path | None = None
    step: str | None = None
    labels: str | None = None
    fixed: Sequence[str] = ()
    seeds: Path | None = None
    label_only: bool = False
    attributes: Path | None = None
    samples: int = 3
    judge: str | None = None
    technique: str | None = None
    compare: Path | None = None
    budget: int | None = None
    seed: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class GenerationResult:
    """The result of a generation. `before` rows were in the file already; `spread` is that of all rows in it.

    `comparison` is None without real rows. `ended` is the reason of the end, `gave_up` are the labels without rows.
    """

    file: Path
    rows: int
    before: int
    ended: Ended
    counts: GenerationCounts
    gave_up: tuple[str, ...]
    notes: tuple[str, ...]
    spread: Mapping[str, Any]
    comparison: Mapping[str, Any] | None
    totals: Totals
    answered: Mapping[str | None, Model]

    def record(self) -> dict[str, Any]:
        """Return the result as the documented JSON object, without its models."""
        totals = self.totals
        return {
            "file": str(place(self.file)),
            "rows": self.rows,
            "before": self.before,
            "ended": self.ended,
            **self.counts.record(),
            "gave_up": list(self.gave_up),
            "notes": list(self.notes),
            "spread": dict(self.spread),
            "comparison": self.comparison,
            "calls": totals.calls,
            "cached": totals.cached,
            "tokens_in": totals.tokens_in,
            "tokens_out": totals.tokens_out,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedGeneration:
    """A generation that was checked and not begun: its task, its plan, its file, and what is in that already."""

    task: GenerationTask
    plan: Plan
    file: Path
    key: str
    known: Sequence[Mapping[str, Any]]
    options: GenerateOptions
    judge: str | None

    @property
    def requests(self) -> int:
        """The number of requests if every input is kept."""
        return requests_for(replace(self.plan, rows=self.missing), self.task) if self.missing else 0

    @property
    def missing(self) -> int:
        """The number of rows that are not in the file yet."""
        return max(0, self.plan.rows - len(self.known))


def plan_generation(target: str, options: GenerateOptions) -> PlannedGeneration:
    """Read everything that a generation is made of. Sends no request. Raises InputError with what is wrong."""
    project = find_project(target)
    file = find_target(target, project)
    project = Project.find(file, otherwise=project.root) if os.path.isfile(target) else project
    if not 0 < options.rows <= MOST_ROWS:
        raise InputError(f"--rows is a number from 1 to {MOST_ROWS:,}")
    task = load_task(file, project, step=options.step, sets=options.model.sets)
    if options.technique is not None:
        load_task(file, project, step=options.step, sets=options.model.sets, changes={"technique": options.technique})
    attributes = {} if options.label_only else read_attributes(options.attributes, project)
    fixed = _read_fixed(options.fixed, task)
    seeds = _unlabelled(task) if options.label_only and not options.seeds else _read_seeds(options.seeds, task, fixed)
    plan = Plan(
        rows=min(options.rows, len(seeds)) if options.label_only else options.rows,
        seed=options.seed,
        samples=options.samples,
        shares=label_shares(options.labels, task),
        fixed=fixed,
        attributes={name: values for name, values in attributes.items() if name not in fixed},
        seeds=seeds,
        label_only=options.label_only,
    )
    judge = None if options.judge is None else resolve_model(options.judge, Path.cwd(), project)
    key = _plan_key(task, plan, options, judge)
    out = options.out or default_file(task, project)
    check_destination(out, str(place(out)))
    return PlannedGeneration(
        task=task, plan=plan, file=out, key=key, known=_known_rows(out, key), options=options, judge=judge
    )


def default_file(task: GenerationTask, project: Project) -> Path:
    """Return the file of generated rows: beside the suite, else in the project's `evals/`."""
    folder = task.file.parent
    is_beside = project.owns(task.file) and folder.name == "evals"
    return (folder if is_beside else project.root / "evals") / f"{task.name}.generated.jsonl"


def _plan_key(task: GenerationTask, plan: Plan, options: GenerateOptions, judge: str | None) -> str:
    """Return a hash of what was asked for, but for the number of rows: by it a file is continued."""
    asked = {
        "task": [task.name, task.about, task.instructions, dict(task.fields), task.expect, options.step],
        "labels": [[label.text, label.definition] for label in task.labels],
        "plan": [plan.seed, plan.samples, plan.shares, plan.fixed, plan.attributes, plan.label_only],
        "seeds": [[dict(row.inputs), row.label] for row in plan.seeds],
        "models": [options.model.model, judge, options.technique, list(options.model.sets)],
    }
    return content_key(json_bytes(asked, sort_keys=True, allow_nan=True, default=str), PLAN_KEY_BYTES).hex()


def _read_fixed(texts: Sequence[str], task: GenerationTask) -> dict[str, list[Any]]:
    """Return the values of `NAME=VALUE,…`. Raises InputError with all problems."""
    from promptkit.engine.inputs import read_text_value

    inputs = {spec.name: spec for spec in task.inputs}
    reserved = {task.expect, GENERATED, *task.fields.values()} - inputs.keys()
    found: dict[str, list[Any]] = {}
    problems: list[Problem] = []
    for text in texts:
        name, equals, values = text.partition("=")
        name = name.strip()
        parts = [part.strip() for part in values.split(",") if part.strip()]
        if not equals or not name or not parts:
            problems.append(Problem(f"`--for {text}` must be NAME=VALUE,VALUE"))
        elif name in reserved:
            problems.append(Problem(f"`--for {text}`: `{name}` is the field of the answer or an input"))
        elif name in inputs:
            try:
                found[name] = [read_text_value(inputs[name], part) for part in parts]
            except InputError as error:
                problems += error.problems
        else:
            found[name] = list(parts)
    if problems:
        raise InputError(problems)
    return found


def _read_seeds(file: Path | None, task: GenerationTask, fixed: Mapping[str, Any]) -> list[LabelledInputs]:
    """Return the rows of a file as inputs. A file of lines gives the only input. Raises InputError."""
    if file is None:
        return []
    found: list[LabelledInputs] = []
    for number, row in enumerate(read_rows(file), start=1):
        if number > MOST_SEEDS:
            raise InputError(Problem(f"more than {MOST_SEEDS:,} rows", place(file)))
        inputs: dict[str, Any] = {}
        for name, named in task.fields.items():
            if named in row:
                inputs[name] = row[named]
            elif len(task.fields) == 1 and file.suffix == ".txt":
                inputs[name] = row["text"]
            elif name not in fixed:
                known = ", ".join(f"`{other}`" for other in row) or "none"
                message = f"row {number}: there is no field `{named}` for the input `{name}`"
                raise InputError(Problem(message, place(file), hint=f"the row's fields are {known}"))
        found.append(LabelledInputs(inputs=inputs))
    if not found:
        raise InputError(Problem("there are no rows", place(file)))
    return found


def _unlabelled(task: GenerationTask) -> list[LabelledInputs]:
    """Return the suite's real rows that have no right answer yet. Raises InputError where there are none."""
    found = [row for row in task.real if row.label is None]
    if not found:
        hint = "--seeds FILE has the texts to label"
        raise InputError(Problem("there are no real rows without a right answer", place(task.file), hint=hint))
    return found


def _known_rows(file: Path, key: str) -> list[Mapping[str, Any]]:
    """Return the rows that a file has of the same plan. Raises InputError for a file of anything else."""
    if not os.path.lexists(file):
        return []
    rows: list[Mapping[str, Any]] = list(read_rows(file))
    if any(not is_generated(row) or row[GENERATED].get("plan") != key for row in rows):
        message = "there is a file already, and it is not of this command, which would continue it"
        raise InputError(Problem(message, place(file), hint="--out names another file"))
    for number, row in enumerate(rows, start=1):
        made = row[GENERATED]
        if not isinstance(made.get("number"), int) or not isinstance(made.get("for"), Mapping):
            message = f"row {number}: `generated` must have a whole `number` and a mapping `for`"
            raise InputError(Problem(message, place(file)))
    return rows


async def generate(planned: PlannedGeneration, progress: Progress | None = None) -> GenerationResult:
    """Generate the rows of a plan, and write each to its file as it is kept.

    Raises the errors of models that are not there, and StoreFailed where the file cannot be written. A budget that is
    spent, and a model that gives nothing usable, end it with the rows that there are: `ended` says so.
    """
    plan, task, options = planned.plan, planned.task, planned.options
    make_folder(planned.file.parent)
    apart = [planned.judge] if planned.judge else []
    async with open_session(task.pipeline, options.model, progress, apart=apart) as session:
        models = session.models if options.budget is None else session.models.within(Budget(options.budget))
        model = await (await models.get(None)).model()
        judging = await (await models.get(planned.judge)).model()
        plan = without_sampling(plan, judging)
        rows = list(planned.known)

        def keep(row: Mapping[str, Any]) -> None:
            append_line(planned.file, compact(row))
            rows.append(row)

        generator = RowGenerator(
            task,
            plan,
            models=models,
            model=model,
            checking=_checking(planned, plan, judging).pipeline,
            judge_name=planned.judge,
            judge=judging,
            plan_key=planned.key,
            known=planned.known,
            keep=keep,
        )
        on_row: Callable[[], None] = progress.row_finished if progress else (lambda: None)
        with showing(progress, rows=planned.missing):
            ended = await generator.run(on_row)
        for notice in (*generator.notes,):
            if progress:
                progress.notice(notice)
    made = labelled_rows(rows, task)
    real = _real_rows(planned)
    return GenerationResult(
        file=planned.file,
        rows=len(rows),
        before=len(planned.known),
        ended=ended,
        counts=generator.counts,
        gave_up=tuple(sorted(generator.gave_up)),
        notes=tuple(generator.notes),
        spread=await asyncio.to_thread(spread_record, made),
        comparison=await asyncio.to_thread(comparison_record, made, real) if real and made else None,
        totals=generator.totals,
        answered=generator.answered,
    )


def _checking(planned: PlannedGeneration, plan: Plan, model: Model) -> GenerationTask:
    """Return the task whose target is asked for the answers: with samples, and by the technique that was chosen."""
    options, task = planned.options, planned.task
    changes: dict[str, Any] = {"technique": options.technique} if options.technique else {}
    changes |= {"options.temperature": CHECK_TEMPERATURE} if plan.samples > 1 else {}
    return load_task(task.file, task.pipeline.project, step=options.step, sets=options.model.sets, changes=changes)


def _real_rows(planned: PlannedGeneration) -> Sequence[LabelledInputs]:
    task, file = planned.task, planned.options.compare
    if file is None:
        return () if planned.plan.label_only else task.real
    rows = [row for row in read_rows(file) if not is_generated(row)][:MOST_REAL]
    return labelled_rows(rows, task)


async def first_requests(planned: PlannedGeneration, count: int = 2) -> list[Rendered]:
    """Return the requests that a generation would begin with: an attribute's values, inputs, and an answer.

    Attributes whose values the model has yet to list have their description.
    """
    plan, task = planned.plan, planned.task
    async with open_session(task.pipeline, planned.options.model) as session:
        return await _rendered(planned, plan, task, session, count)


async def _rendered(
    planned: PlannedGeneration, plan: Plan, task: GenerationTask, session: Session, count: int
) -> list[Rendered]:
    model = await (await session.models.get(None)).model()
    generator = RowGenerator(
        task, plan, models=session.models, model=model, checking=task.pipeline, keep=lambda row: None
    )
    found: list[Rendered] = []
    described = {name: values for name, values in plan.attributes.items() if isinstance(values, str)}
    if described:
        name, description = next(iter(described.items()))
        values = generator.writer.pipeline("values", plan.seed)
        given = generator.writer.values_of_attribute(name, description, values)
        found += await render(values, given, models=session.models)
    generator.combinations = Combinations(
        {name: [f"({values})"] if isinstance(values, str) else values for name, values in plan.attributes.items()},
        plan.seed,
    )
    writing = generator.writer.writing(plan.seed)
    for _ in range(0 if plan.label_only else count):
        request = generator.next_request()
        found += await render(writing, generator.writer.values(request, writing), models=session.models)
    return found
