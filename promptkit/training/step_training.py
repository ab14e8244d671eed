"""The training of one step: from labelled rows to the file of an adapter or a soft prompt beside the pipeline."""

from __future__ import annotations

import asyncio
import hashlib
import json
import threading
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from importlib.util import find_spec
from math import isfinite
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from promptkit.engine.session import RunSettings
from promptkit.errors import InputError, MissingExtra, Problem, Unsupported, place
from promptkit.evaluation.statistics.interval import wilson
from promptkit.evaluation.statistics.paired import paired_binary
from promptkit.evaluation.suite.generated import is_generated
from promptkit.runtimes.in_process.gguf_contents import read_contents
from promptkit.runtimes.in_process.runtime import InProcessRuntime
from promptkit.runtimes.in_process.weights import file_digest
from promptkit.runtimes.models import Models
from promptkit.storage.files import check_destination
from promptkit.training.fitting.settings import Evaluation, FitProgress, FitSettings, Fitted
from promptkit.training.kinds import ALPHA, RANK, Kind, begins_texts
from promptkit.training.labelled_rows import LabelledRows, check_rows, split_rows
from promptkit.training.records import (
    AccuracyRecord,
    DifferenceRecord,
    EvaluationRecord,
    RowsRecord,
    SettingsRecord,
    StepRecord,
)
from promptkit.training.step_requests import TrainingExample, encode_requests, step_requests

if TYPE_CHECKING:
    from promptkit.training.transformer.architectures import TransformerConfig
    from promptkit.training.transformer.weights import Stored, Transformer

VERSION: Final = 1
"""Raised where the same data and settings give another adapter, so that no older checkpoint is gone on from."""
_BYTES: Final[dict[Stored, float]] = {"float16": 2.0, "int8": 1.125}
_PACKAGES: Final = ("jax", "optax", "gguf")


@dataclass(frozen=True, slots=True, kw_only=True)
class StepExamples:
    """The examples of one step as token ids, split, and the weights that they are tokens of.

    `too_long` are the numbers of rows that were left out as longer than the window.
    """

    labelled: LabelledRows
    kind: Kind
    file: Path
    model: str
    weights: Path
    training: tuple[TrainingExample, ...]
    validation: tuple[TrainingExample, ...]
    too_long: tuple[int, ...] = ()


def require_packages() -> None:
    """Raise MissingExtra where a package that training needs is not installed, without loading any."""
    if any(find_spec(name) is None for name in _PACKAGES):
        raise MissingExtra("training a model", "train")


def trained_file(labelled: LabelledRows, kind: Kind) -> Path:
    """Return the path of what is trained for a step, `PIPELINE.STEP.lora.gguf` or `….soft.gguf` beside the pipeline."""
    call = labelled.step.prompt_call
    assert call is not None, "only a step that asks is trained"
    return labelled.pipeline.file.parent / f"{call.home}{kind.suffix}"


def check_trainable(steps: Sequence[LabelledRows], kind: Kind, *, overwrite: bool) -> None:
    """Raise InputError with all that keeps the steps from being trained, and MissingExtra. Loads no model."""
    require_packages()
    problems: list[Problem] = []
    for labelled in steps:
        file = trained_file(labelled, kind)
        try:
            check_rows(labelled)
            split_rows(labelled)
        except InputError as error:
            problems += error.problems
        if file.exists() and not overwrite:
            article = "an" if kind.name == "adapter" else "a"
            problems.append(
                Problem(f"there is {article} {kind.name} already", place(file), hint="--force overwrites it")
            )
        else:
            check_destination(file, str(place(file)))
    if problems:
        raise InputError(problems)


async def read_examples(
    labelled: LabelledRows,
    kind: Kind,
    *,
    models: Models,
    settings: RunSettings,
    on_row: Callable[[], None] = lambda: None,
) -> StepExamples:
    """Make the requests of a step's rows and encode them with the model's own tokenizer.

    Raises InputError for a step or weights that cannot be trained and where all rows are longer than the window,
    Unsupported for a model that is not in this process, and the errors of the runtime.
    """
    from promptkit.training.transformer.architectures import read_config

    client = await models.get(labelled.step.model)
    model, runtime = await client.model(), client.runtime
    if not isinstance(runtime, InProcessRuntime):
        hint = "name its weights by --model gguf:PATH, or train embedded/smollm2"
        raise Unsupported(f"{model.reference} cannot be trained: its weights are not in this process", hint=hint)
    contents = await asyncio.to_thread(read_contents, runtime.weights)
    config, begins = read_config(contents), int(begins_texts(contents))
    virtual = await asyncio.to_thread(kind.tokens, runtime.weights)
    requests = await step_requests(labelled, models=models, settings=settings, on_row=on_row)
    examples = [
        replace(example, prompt=(*example.prompt[:begins], *virtual, *example.prompt[begins:]))
        for example in await encode_requests(requests, runtime)
    ]
    window = model.context or config.context
    long = {example.row for example in examples if len(example) > window}
    split = await asyncio.to_thread(split_rows, labelled)
    kept = [example for example in examples if example.row not in long]
    validation: dict[int, TrainingExample] = {}
    for example in kept:
        if example.row in split.validation and not example.thoughts:
            validation.setdefault(example.row, example)
    training = tuple(example for example in kept if example.row not in split.validation)
    if not training or not validation:
        message = f"all rows of the step `{labelled.step.name}` are longer than the window of {window:,} tokens"
        raise InputError(Problem(message, place(labelled.rows.file), hint="set the option `context` higher"))
    return StepExamples(
        labelled=labelled,
        kind=kind,
        file=trained_file(labelled, kind),
        model=model.reference,
        weights=runtime.weights,
        training=training,
        validation=tuple(validation.values()),
        too_long=tuple(labelled.rows.rows[at].number for at in sorted(long)),
    )


def plan_memory(examples: StepExamples, settings: FitSettings) -> tuple[Stored, int]:
    """Return the type in which the weights are kept, and the estimated peak of the memory in bytes.

    Raises InputError where the memory that is free does not suffice, with what would.
    """
    from promptkit.training.fitting.memory import available_memory
    from promptkit.training.transformer.architectures import read_config

    return choose_storage(examples, read_config(read_contents(examples.weights)), settings, available_memory())


def choose_storage(
    examples: StepExamples, config: TransformerConfig, settings: FitSettings, available: int | None
) -> tuple[Stored, int]:
    """Return the type in which the weights are kept, and the estimated peak of the memory in bytes.

    Raises InputError where no type fits the available memory, with what would.
    """
    estimates = {kind: _estimate(examples, config, settings, kind) for kind in _BYTES}
    for kind, size in estimates.items():
        if available is None or size <= available:
            return kind, size
    assert available is not None, "without a bound everything fits"
    least = estimates["int8"]
    smaller = next(
        (
            size
            for size in (settings.batch // 2, settings.batch // 4, 1)
            if size and _estimate(examples, config, replace(settings, batch=size), "int8") <= available
        ),
        None,
    )
    message = (
        f"training the step `{examples.labelled.step.name}` takes some {_gigabytes(least)}, "
        f"with the weights as int8, and {_gigabytes(available)} are free"
    )
    hint = f"--batch {smaller} would do" if smaller else "take a smaller model, or shorter rows"
    longest = max(map(len, (*examples.training, *examples.validation)))
    raise InputError(message, hint=f"{hint}; the longest row has {longest:,} tokens")


def _estimate(examples: StepExamples, config: TransformerConfig, settings: FitSettings, kind: Stored) -> int:
    from promptkit.training.fitting.batches import choose_layout
    from promptkit.training.fitting.memory import estimate_memory

    every = (*examples.training, *examples.validation)
    return estimate_memory(
        config,
        choose_layout(every, config, size=settings.batch, epochs=settings.epochs),
        first_layer=examples.kind.first_layer(config),
        parameters=examples.kind.count(config),
        tokens=sum(map(len, every)),
        weight_bytes=_BYTES[kind],
    )


async def train_in_thread(
    examples: StepExamples,
    stored: Stored,
    settings: FitSettings,
    *,
    root: Path,
    minutes: float | None = None,
    on_progress: Callable[[FitProgress], None] = lambda progress: None,
    on_stop: Callable[[], None] = lambda: None,
) -> StepRecord:
    """Read the weights and train a step in a thread, as `train_step` does, and return its record.

    Cancelled, it calls `on_stop`, and returns the record of the best so far after the running step of training.
    `on_progress` is called in the event loop.
    """

    def work(stop: threading.Event, show: Callable[[FitProgress], None]) -> StepRecord:
        from promptkit.training.transformer.weights import Transformer

        model = Transformer.read(examples.weights, dtype=stored)
        return train_step(examples, model, stored, settings, root=root, minutes=minutes, stop=stop, on_progress=show)

    return await _in_thread(work, on_progress, on_stop)


async def _in_thread(
    work: Callable[[threading.Event, Callable[[FitProgress], None]], StepRecord],
    on_progress: Callable[[FitProgress], None],
    on_stop: Callable[[], None],
) -> StepRecord:
    loop, stop = asyncio.get_running_loop(), threading.Event()

    def show(state: FitProgress) -> None:
        loop.call_soon_threadsafe(on_progress, state)

    training = loop.run_in_executor(None, work, stop, show)
    try:
        return await asyncio.shield(training)
    except asyncio.CancelledError:
        stop.set()
        on_stop()
        return await training


def train_step(
    examples: StepExamples,
    model: Transformer,
    stored: Stored,
    settings: FitSettings,
    *,
    root: Path,
    minutes: float | None = None,
    stop: threading.Event | None = None,
    on_progress: Callable[[FitProgress], None] = lambda progress: None,
) -> StepRecord:
    """Train a step, or go on from its checkpoint under `root`, and write its file. Blocks.

    No file is written where no evaluation was better than that of the base. Raises StoreFailed where a file cannot be
    written, and Interrupted where `stop` is set before the first evaluation.
    """
    from promptkit.training.fitting.checkpoints import Checkpoint
    from promptkit.training.fitting.fit import Fit

    digest, kind = file_digest(examples.weights), examples.kind
    method = kind.method(model.config, examples.weights)
    checkpoint = Checkpoint(root, _training_key(examples, digest, [repr(method), asdict(settings), stored]))
    fitted = Fit(
        model=model,
        method=method,
        training=examples.training,
        validation=examples.validation,
        settings=settings,
        checkpoint=checkpoint,
        minutes=minutes,
        stop=stop or threading.Event(),
        on_progress=on_progress,
    ).run()
    is_adapter = kind.name == "adapter"
    record = StepRecord(
        step=examples.labelled.step.name,
        file=str(place(examples.file)) if fitted.best.step else None,
        model=examples.model,
        base=digest,
        architecture=model.config.name,
        rows=_rows_record(examples),
        settings=SettingsRecord(
            seed=settings.seed,
            rank=RANK if is_adapter else None,
            alpha=ALPHA if is_adapter else None,
            vectors=None if is_adapter else len(kind.tokens(examples.weights)),
            first_layer=kind.first_layer(model.config),
            layers=model.config.layers,
            batch=settings.batch,
            epochs=settings.epochs,
            rate=settings.rate,
            weights=stored,
        ),
        **_measured(examples, fitted),
    )
    if fitted.best.step:
        kind.write(examples.file, examples.weights, model.config, fitted.parameters, _description(examples, record))
    if fitted.ending not in ("interrupted", "time limit"):
        checkpoint.remove()
    return record


def _gigabytes(size: int) -> str:
    return f"{size / 2**30:.1f} GB"


def _training_key(examples: StepExamples, digest: str, settings: Sequence[Any]) -> str:
    """Return a hash of all that decides the result of a training."""
    content = hashlib.sha256(json.dumps([VERSION, digest, *settings]).encode())
    for part in (examples.training, examples.validation):
        for example in part:
            content.update(json.dumps([len(example.prompt), *example.prompt, *example.reply]).encode())
        content.update(b"|")
    return content.hexdigest()[:32]


def _rows_record(examples: StepExamples) -> RowsRecord:
    rows = examples.labelled.rows.rows
    validation = [rows[example.row] for example in examples.validation]
    return RowsRecord(
        training=len({example.row for example in examples.training}),
        validation=len(validation),
        too_long=examples.too_long,
        generated=examples.labelled.generated,
        generated_validation=sum(is_generated(row.scope) for row in validation),
        hash=examples.labelled.rows.hash,
    )


def _measured(examples: StepExamples, fitted: Fitted) -> dict[str, Any]:
    paired = paired_binary(fitted.best.right, fitted.base.right)
    return {
        "measure": "constrained" if all(example.allowed for example in examples.validation) else "exact",
        "before": _accuracy(fitted.base),
        "after": _accuracy(fitted.best),
        "difference": DifferenceRecord(
            difference=paired.difference,
            low=paired.low,
            high=paired.high,
            p=paired.p,
            better=paired.better,
            worse=paired.worse,
            method=paired.method,
        ),
        "evaluations": tuple(
            EvaluationRecord(step=found.step, loss=_finite(found.loss), accuracy=found.accuracy)
            for found in fitted.evaluations
        ),
        "steps": fitted.steps,
        "best_step": fitted.best.step,
        "ending": fitted.ending,
        "seconds": round(fitted.seconds, 1),
        "peak_memory": fitted.peak_memory,
    }


def _accuracy(evaluation: Evaluation) -> AccuracyRecord:
    low, high = wilson(sum(evaluation.right), len(evaluation.right))
    return AccuracyRecord(accuracy=evaluation.accuracy, low=low, high=high, loss=_finite(evaluation.loss))


def _finite(loss: float) -> float | None:
    return loss if isfinite(loss) else None


def _description(examples: StepExamples, record: StepRecord) -> dict[str, Any]:
    """Return the record of the training for the file's metadata. It has no path and no date."""
    return {
        "base": record.base,
        "architecture": record.architecture,
        "model": record.model if not record.model.startswith("gguf:") else "gguf",
        "pipeline": examples.labelled.pipeline.name,
        "step": record.step,
        "rows": list(examples.labelled.hashes),
        "data": record.rows.hash,
        "generated": record.rows.generated,
        "seed": record.settings.seed,
        "settings": record.settings.model_dump(mode="json"),
        "validation": {
            "rows": record.rows.validation,
            "measure": record.measure,
            "before": record.before.model_dump(),
            "after": record.after.model_dump(),
            "difference": record.difference.model_dump(),
        },
        "steps": record.best_step,
    }
