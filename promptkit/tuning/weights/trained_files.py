"""Trained files of a search, kept in the project's store: the same tuning finds them again and trains nothing twice."""

from __future__ import annotations

import json
import os
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Final

from promptkit.errors import InputError
from promptkit.runtimes.budget import Budget
from promptkit.storage.files import make_folder, read_bytes, write_atomic
from promptkit.tuning.weights.trainer import Trainer, TrainingCost, TrainingResult, TrainingTask, Validation

FOLDER: Final = Path("tuning") / "weights"
"""The folder of trained files in the project's store."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainedFile:
    """A trained file, its path as the pipeline names it, and its training; `kept`: it is of an earlier run."""

    file: Path
    reference: str
    training: TrainingResult
    kept: bool


async def trained_file(
    trainer: Trainer, task: TrainingTask, content: bytes, budget: Budget, *, seconds: float
) -> TrainedFile:
    """Return the file of a task, trained now or kept from an earlier run.

    `content` is the key of the pipeline's files and settings. A kept file counts in the budget as its requests did, so
    that a resumed tuning decides the same. Raises what the trainer raises, BudgetSpent and StoreFailed.
    """
    key = task.key(trainer.kind, content)
    file = task.pipeline.project.store_folder / FOLDER / f"{task.step}.{key}{trainer.ending}"
    record = file.with_name(f"{file.name}.json")
    reference = Path(os.path.relpath(file.resolve(), task.pipeline.file.resolve().parent)).as_posix()
    if (known := _read(record)) is not None and file.is_file():
        budget.charge(known.cost.calls, known.cost.tokens)
        return TrainedFile(file=file, reference=reference, training=known, kept=True)
    make_folder(file.parent)
    calls, tokens = budget.spent, budget.spent_tokens
    training = await trainer.train(task, file, seconds=seconds)
    spent = replace(training.cost, calls=budget.spent - calls, tokens=budget.spent_tokens - tokens)
    training = replace(training, cost=spent)
    write_atomic(record, json.dumps(asdict(training)).encode())
    return TrainedFile(file=file, reference=reference, training=training, kept=False)


def _read(record: Path) -> TrainingResult | None:
    """Return a kept training; None if there is none or it is damaged, for then it is trained again."""
    if not record.is_file():
        return None
    with suppress(ValueError, InputError, KeyError, TypeError):
        found: dict[str, Any] = json.loads(read_bytes(record))
        validation = found["validation"]
        return TrainingResult(
            cost=TrainingCost(**found["cost"]),
            validation=Validation(**validation) if validation else None,
        )
    return None
