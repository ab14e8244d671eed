"""Training adapters and soft prompts: from a target and labelled rows to a file beside it for each step."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from promptkit.api.session import ModelOptions, load, notify, open_session, showing
from promptkit.engine.pipeline import Pipeline
from promptkit.errors import InputError, Problem, place
from promptkit.reports.progress import Progress
from promptkit.reports.training import TrainingScreen
from promptkit.runtimes.in_process.gguf_contents import read_contents
from promptkit.storage.files import read_text, write_atomic
from promptkit.storage.yaml_edit import set_value
from promptkit.training.fitting.settings import BATCH, FitProgress, FitSettings
from promptkit.training.kinds import Kind
from promptkit.training.labelled_rows import LabelledRows, read_labelled_file, read_labelled_suite
from promptkit.training.records import StepRecord, TrainRecord
from promptkit.training.step_training import (
    StepExamples,
    check_trainable,
    choose_storage,
    read_examples,
    train_step,
)
from promptkit.tuning.tuned_suite import load_tuning_suite

if TYPE_CHECKING:
    from promptkit.training.transformer.weights import Stored

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
    plans = [await asyncio.to_thread(_plan, step, settings) for step in examples]
    records: list[StepRecord] = []
    for step, (stored, estimated) in zip(examples, plans, strict=True):
        screen = TrainingScreen(progress, step)
        screen.begin(stored, estimated)
        work = partial(_read_and_train, step, stored, settings, root=pipeline.project.root, minutes=options.minutes)
        record = await _in_thread(work, screen, progress)
        if options.apply and record.file is not None:
            _apply(pipeline, step)
            record = record.model_copy(update={"applied": True})
        records.append(record)
        if record.ending == "interrupted":
            break
    return TrainRecord(kind=kind.name, pipeline=pipeline.name, steps=tuple(records))


def _plan(examples: StepExamples, settings: FitSettings) -> tuple[Stored, int]:
    """Return the type in which the weights are kept, and the memory in bytes. Raises InputError where it is short."""
    from promptkit.training.fitting.memory import available_memory
    from promptkit.training.transformer.architectures import read_config

    return choose_storage(examples, read_config(read_contents(examples.weights)), settings, available_memory())


async def _in_thread(
    work: Callable[[threading.Event, Callable[[FitProgress], None]], StepRecord],
    screen: TrainingScreen,
    progress: Progress | None,
) -> StepRecord:
    """Train one step in a thread. A cancellation is passed on to it, and its best so far returned."""
    loop, stop = asyncio.get_running_loop(), threading.Event()

    def show(state: FitProgress) -> None:
        loop.call_soon_threadsafe(screen.update, state)

    with screen.showing():
        training = loop.run_in_executor(None, work, stop, show)
        try:
            return await asyncio.shield(training)
        except asyncio.CancelledError:
            stop.set()
            notify(progress, "ending after this step of training; the best so far is kept")
            return await training


def _read_and_train(
    examples: StepExamples,
    stored: Stored,
    settings: FitSettings,
    stop: threading.Event,
    show: Callable[[FitProgress], None],
    *,
    root: Path,
    minutes: float | None,
) -> StepRecord:
    from promptkit.training.transformer.weights import Transformer

    model = Transformer.read(examples.weights, dtype=stored)
    return train_step(examples, model, stored, settings, root=root, minutes=minutes, stop=stop, on_progress=show)


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
