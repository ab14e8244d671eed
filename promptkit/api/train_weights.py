"""Training adapters and soft prompts: from a target and labelled rows to a file beside it for each step."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial

from promptkit.api.session import ModelOptions, notify, open_session, showing
from promptkit.api.train_target import apply_setting, check_appliable
from promptkit.engine.pipeline import Pipeline
from promptkit.reports.progress import Progress
from promptkit.reports.training import TrainingScreen
from promptkit.training.fitting.settings import BATCH, FitSettings
from promptkit.training.kinds import Kind
from promptkit.training.labelled_rows import LabelledRows
from promptkit.training.records import StepRecord, TrainRecord
from promptkit.training.step_training import (
    StepExamples,
    check_trainable,
    plan_memory,
    read_examples,
    train_in_thread,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainOptions:
    """The options of a training.

    `minutes` bounds the time of each step's training. `overwrite` replaces earlier results, `apply` names the new ones
    in the pipeline's YAML.
    """

    seed: int = 0
    batch: int = BATCH
    minutes: float | None = None
    overwrite: bool = False
    apply: bool = False
    model: ModelOptions = field(default_factory=ModelOptions)


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
        check_appliable(pipeline)
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


def _apply(pipeline: Pipeline, examples: StepExamples) -> None:
    """Name what was trained in the pipeline's file."""
    name = examples.file.name
    key, value = ("adapter", name) if examples.kind.name == "adapter" else ("model", f"gguf:{name}")
    apply_setting(pipeline, examples.labelled.step.name, key, value)
