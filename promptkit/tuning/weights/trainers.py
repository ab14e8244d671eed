"""The trainers of weights in a tuning: heads on the vectors of the model that answers, and adapters of it."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import replace
from math import isfinite
from pathlib import Path
from time import monotonic
from typing import Any, Final, Literal

from promptkit.answers.base import AnswerType
from promptkit.engine.session import RunSettings
from promptkit.engine.step_rows import StepRow, StepRows
from promptkit.errors import InputError, Interrupted, MissingExtra, PromptkitError
from promptkit.runtimes.model_size import billions
from promptkit.runtimes.models import Models
from promptkit.runtimes.references import ReferenceKind, parse_reference
from promptkit.training.fitting.settings import FitSettings
from promptkit.training.head.train import head_states, plan_head, train_head
from promptkit.training.kinds import AdapterKind
from promptkit.training.labelled_rows import RIGHT_ANSWER, LabelledRows, check_rows
from promptkit.training.step_training import plan_memory, read_examples, require_packages, train_in_thread
from promptkit.tuning.search_space.settings import answer_of
from promptkit.tuning.weights.trainer import Trainer, TrainingCost, TrainingResult, TrainingTask, Validation

RISK: Final = 0.1
"""The share of all rows that a head may be expected to answer wrongly; the others go on to the prompt."""
IN_PROCESS: Final[tuple[ReferenceKind, ...]] = ("embedded", "gguf", "hf")
"""The kinds of models whose weights are in this process."""
ADAPTER_SECONDS, ADAPTER_SECONDS_A_ROW = 20.0, 0.5
"""The least time of an adapter of a model of `MEASURED_BILLIONS` on two cores: compiling it, and three epochs a row."""
MEASURED_BILLIONS: Final = 0.135


def open_trainers(models: Models) -> Sequence[Trainer]:
    """Return the trainers whose requests go through these models, those that take least first."""
    return (HeadTrainer(models), AdapterTrainer(models))


def _labelled(task: TrainingTask) -> LabelledRows:
    """Return the rows of a task as training takes them. Raises InputError."""
    step = task.pipeline.steps[task.step]
    assert step.prompt_call is not None, "only a step that asks is trained"
    is_fixed = isinstance(step.prompt_call.answer, AnswerType)
    rows = tuple(
        StepRow(
            inputs=row.inputs,
            given=row.given,
            expect=row.answer,
            answer=None if is_fixed else answer_of(step, row.inputs, row.scope),
            number=number,
            scope=row.scope,
        )
        for number, row in enumerate(task.rows, start=1)
    )
    found = StepRows(file=task.pipeline.file, rows=rows, expect=RIGHT_ANSWER)
    hashes = tuple(sorted({row.hash for row in rows}))
    return LabelledRows(pipeline=task.pipeline, step=step, rows=found, hashes=hashes)


class HeadTrainer:
    """Trains heads. What a head abstains from is decided as the prompt decides it."""

    kind: Literal["head"] = "head"
    ending = ".head.json"

    def __init__(self, models: Models) -> None:
        self._models = models

    def problem(self, task: TrainingTask) -> str | None:
        """Return the reason why there can be no head; None if there can."""
        try:
            head_states(task.model)
            plan_head(_labelled(task), risk=RISK, seed=task.seed, overwrite=True)
        except PromptkitError as error:
            return _reason(error)
        return None

    def cost(self, task: TrainingTask) -> TrainingCost:
        """Return the requests: each row's prompt is read once for each layer and pooling that is compared."""
        return TrainingCost(calls=len(head_states(task.model)) * len(task.rows))

    def changes(self, task: TrainingTask, reference: str) -> Mapping[str, Any]:
        """Return the settings of a step that the head decides."""
        call, step = task.pipeline.steps[task.step].prompt_call, task.step
        assert call is not None, "only a step that asks is trained"
        return {f"{step}.decide": "head", f"{step}.otherwise": call.decide, f"{step}.head": reference}

    async def train(self, task: TrainingTask, file: Path, *, seconds: float) -> TrainingResult:
        """Train a head and write its file. Vectors are kept in the store, so a killed training resumes."""
        began = monotonic()
        plan = replace(plan_head(_labelled(task), risk=RISK, seed=task.seed, overwrite=True), file=file)
        head = await train_head(plan, models=self._models, settings=RunSettings())
        accuracy = head.accuracy
        return TrainingResult(
            cost=TrainingCost(seconds=monotonic() - began),
            validation=Validation(accuracy=accuracy.mean, low=accuracy.low, high=accuracy.high, rows=len(task.rows)),
        )


class AdapterTrainer:
    """Trains low-rank adapters of models in this process, by the extra `train`."""

    kind: Literal["adapter"] = "adapter"
    ending = AdapterKind().suffix

    def __init__(self, models: Models) -> None:
        self._models = models

    def problem(self, task: TrainingTask) -> str | None:
        """Return the reason why there can be no adapter; None if there can."""
        try:
            if parse_reference(task.model.reference).kind not in IN_PROCESS:
                return f"the weights of {task.model.reference} are not in this process"
            require_packages()
            check_rows(_labelled(task))
        except PromptkitError as error:
            return _reason(error)
        return None

    def cost(self, task: TrainingTask) -> TrainingCost:
        """Return the least time of a training, by the size of the model. Where the prompt decides it asks nothing."""
        times = max(1.0, (billions(task.model) or MEASURED_BILLIONS) / MEASURED_BILLIONS)
        return TrainingCost(seconds=times * (ADAPTER_SECONDS + ADAPTER_SECONDS_A_ROW * len(task.rows)))

    def changes(self, task: TrainingTask, reference: str) -> Mapping[str, Any]:
        """Return the setting of a step that answers with the adapter."""
        return {f"{task.step}.adapter": reference}

    async def train(self, task: TrainingTask, file: Path, *, seconds: float) -> TrainingResult:
        """Train an adapter in a thread and write its file; after a kill it goes on from its checkpoint.

        Raises InputError where the memory does not suffice and where no evaluation was better than that of the model
        as it is.
        """
        began, kind = monotonic(), AdapterKind()
        settings = FitSettings(seed=task.seed, rate=kind.rate)
        examples = await read_examples(_labelled(task), kind, models=self._models, settings=RunSettings())
        stored, _ = await asyncio.to_thread(plan_memory, examples, settings)
        # The training's thread ends in its own time, and keeps its checkpoint: the cancellation goes on after it.
        cancelled = _cancellations()
        try:
            record = await train_in_thread(
                replace(examples, file=file),
                stored,
                settings,
                root=task.pipeline.project.root,
                minutes=(seconds - (monotonic() - began)) / 60 if isfinite(seconds) else None,
            )
        except Interrupted:
            raise asyncio.CancelledError from None
        if _cancellations() > cancelled:
            raise asyncio.CancelledError
        if record.file is None:
            late = "the time was up: " if record.ending == "time limit" else ""
            raise InputError(f"{late}no evaluation of the adapter was better than that of the model as it is")
        after = record.after
        return TrainingResult(
            cost=TrainingCost(seconds=monotonic() - began),
            validation=Validation(accuracy=after.accuracy, low=after.low, high=after.high, rows=record.rows.validation),
        )


def _reason(error: PromptkitError) -> str:
    """Return an error in one clause, with the command that installs what is missing."""
    if isinstance(error, MissingExtra):
        return f"{error.message}: {error.hint}"
    return error.problems[0].message if isinstance(error, InputError) else error.message


def _cancellations() -> int:
    """Return the number of times that the running task was asked to end."""
    task = asyncio.current_task()
    return task.cancelling() if task is not None else 0
