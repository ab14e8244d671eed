"""Training adapters and soft prompts: from a target and labelled rows to a file beside it for each step."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from promptkit.api.session import ModelOptions, load, notify, open_session, showing
from promptkit.engine.pipeline import Pipeline
from promptkit.errors import InputError, Problem, place
from promptkit.reports.progress import Progress
from promptkit.reports.training import TrainingScreen
from promptkit.storage.files import read_text, write_atomic
from promptkit.storage.yaml_edit import set_value
from promptkit.training.fitting.settings import BATCH, FitSettings
from promptkit.training.kinds import Kind
from promptkit.training.labelled_rows import LabelledRows, read_labelled_file, read_labelled_suite
from promptkit.training.records import StepRecord, TrainRecord
from promptkit.training.step_training import (
    StepExamples,
    check_trainable,
    plan_memory,
    read_examples,
    train_in_thread,
)
from promptkit.tuning.tuned_suite import load_tuning_suite

YAML = (".yaml", ".yml")


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainOptions:
    """The options of a training.

    `steps` are those to train, all whose answers are known where there are none. Rows come from the file `data`, their
    answers from its field `expect`, or both from `suite`; `limit` takes the first. `minutes` bounds the time of each
    step's training. `overwrite` replaces earlier adapters, `apply` names the new ones in the pipeline's YAML.
    """

    steps: Sequence[str] = ()
    data: Path | None = None
    expect: str | None = None
    suite: str | None = None
    limit: int | None = None
    seed: int = 0
    batch: int = BATCH
    minutes: float | None = None
    overwrite: bool = False
    apply: bool = False
    model: ModelOptions = field(default_factory=ModelOptions)


def load_labelled(target: str, options: TrainOptions) -> tuple[Pipeline, list[LabelledRows]]:
    """Return a target and the labelled rows of each step that is to be trained. Raises InputError."""
    if options.data is not None and options.suite is not None:
        raise InputError("--data and --suite both name the rows", hint="leave one of them out")
    if options.data is not None:
        pipeline = load(target, sets=options.model.sets)
        return pipeline, [
            read_labelled_file(pipeline, options.steps, options.data, expect=options.expect, limit=options.limit)
        ]
    if options.expect is not None:
        raise InputError("--expect names a field of --data", hint="a suite names the answers by its own `expect:`")
    try:
        suite = load_tuning_suite(target, options.suite, sets=options.model.sets)
    except InputError as error:
        if options.suite is None and error.problems[0].file is None:
            raise InputError(error.problems[0].message, hint="--suite SUITE, or --data FILE --expect FIELD") from None
        raise
    return load(target, sets=options.model.sets), read_labelled_suite(suite, options.steps, limit=options.limit)


async def train_weights(
    pipeline: Pipeline,
    labelled: Sequence[LabelledRows],
    kind: Kind,
    options: TrainOptions,
    progress: Progress | None = None,
) -> TrainRecord:
    """Train an adapter or a soft prompt for each step, one after the other, and write the files.

    Cancelled, it ends after the running step of training, and the best so far is written and recorded. Raises
    InputError with all that is wrong before a model is loaded or memory does not suffice, MissingExtra, Unsupported,
    StoreFailed, and the errors of the runtime.
    """
    await asyncio.to_thread(check_trainable, labelled, kind, overwrite=options.overwrite)
    if options.apply:
        _check_appliable(pipeline)
    async with open_session(pipeline, options.model, progress) as session:
        with showing(progress, rows=sum(len(step.rows.rows) for step in labelled)):
            examples = [
                await read_examples(
                    step,
                    kind,
                    models=session.models,
                    settings=session.settings,
                    on_row=progress.row_finished if progress else lambda: None,
                )
                for step in labelled
            ]
        settings = FitSettings(seed=options.seed, batch=options.batch, rate=kind.rate)
    # The session has ended, so that the memory of the model that answered is free.
    plans = [await asyncio.to_thread(plan_memory, step, settings) for step in examples]
    records: list[StepRecord] = []
    for step, (stored, estimated) in zip(examples, plans, strict=True):
        screen = TrainingScreen(progress, step)
        screen.begin(stored, estimated)
        with screen.showing():
            record = await train_in_thread(
                step,
                stored,
                settings,
                root=pipeline.project.root,
                minutes=options.minutes,
                on_progress=screen.update,
                on_stop=partial(notify, progress, "ending after this step of training; the best so far is kept"),
            )
        if options.apply and record.file is not None:
            _apply(pipeline, step)
            record = record.model_copy(update={"applied": True})
        records.append(record)
        if record.ending == "interrupted":
            break
    return TrainRecord(kind=kind.name, pipeline=pipeline.name, steps=tuple(records))


def _check_appliable(pipeline: Pipeline) -> None:
    """Raise InputError for a target in which no step can name what was trained."""
    if pipeline.file.suffix not in YAML:
        hint = "write a pipeline of one step: `steps: {NAME: {prompt: NAME}}`"
        raise InputError(
            Problem("--apply writes into a pipeline, and this is a prompt", place(pipeline.file), hint=hint)
        )


def _apply(pipeline: Pipeline, examples: StepExamples) -> None:
    """Name what was trained in the pipeline's file, its other text unchanged."""
    file, name = pipeline.file, examples.file.name
    key, value = ("adapter", name) if examples.kind.name == "adapter" else ("model", f"gguf:{name}")
    path = ("steps", examples.labelled.step.name, key)
    write_atomic(file, set_value(read_text(file), path, value, file=str(place(file))))
