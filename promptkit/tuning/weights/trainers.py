"""What trains weights in a tuning: heads on the vectors of the model that answers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from time import monotonic
from typing import Any, Final, Literal

from promptkit.answers.base import AnswerType
from promptkit.engine.session import RunSettings
from promptkit.engine.step_rows import StepRow, StepRows
from promptkit.errors import InputError, PromptkitError
from promptkit.runtimes.models import Models
from promptkit.training.head.train import head_states, plan_head, train_head
from promptkit.training.labelled_rows import LabelledRows
from promptkit.tuning.search_space.settings import answer_of
from promptkit.tuning.weights.trainer import Trainer, Training, TrainingCost, TrainingTask, Validation

RISK: Final = 0.1
"""The share of all rows that a head may be expected to answer wrongly; the others go on to the prompt."""
_ANSWER: Final = "the right answer"
"""The field of the right answer. No input has this name, as it has blanks."""


def open_trainers(models: Models) -> Sequence[Trainer]:
    """Return the trainers whose requests go through these models, those that take least first."""
    return (HeadTrainer(models),)


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
    found = StepRows(file=task.pipeline.file, rows=rows, expect=_ANSWER)
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
            return error.problems[0].message if isinstance(error, InputError) else error.message
        return None

    def cost(self, task: TrainingTask) -> TrainingCost:
        """Return the requests: each row's prompt is read once for each layer and pooling that is compared."""
        return TrainingCost(calls=len(head_states(task.model)) * len(task.rows))

    def changes(self, task: TrainingTask, reference: str) -> Mapping[str, Any]:
        """Return the settings of a step that the head decides."""
        call, step = task.pipeline.steps[task.step].prompt_call, task.step
        assert call is not None, "only a step that asks is trained"
        return {f"{step}.decide": "head", f"{step}.otherwise": call.decide, f"{step}.head": reference}

    async def train(self, task: TrainingTask, file: Path, *, seconds: float) -> Training:
        """Train a head and write its file. Vectors are kept in the store, so a killed training resumes."""
        began = monotonic()
        plan = replace(plan_head(_labelled(task), risk=RISK, seed=task.seed, overwrite=True), file=file)
        head = await train_head(plan, models=self._models, settings=RunSettings())
        accuracy = head.accuracy
        return Training(
            cost=TrainingCost(seconds=monotonic() - began),
            validation=Validation(accuracy=accuracy.mean, low=accuracy.low, high=accuracy.high, rows=len(task.rows)),
        )
