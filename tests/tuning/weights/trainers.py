"""A trainer of known effect: its weights are a cue, which a scripted model may read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from promptkit.runtimes.base import Message, Request
from promptkit.runtimes.models import Models
from promptkit.tuning.weights.trainer import TrainingCost, TrainingResult, TrainingTask, Validation, WeightsKind


@dataclass
class CueTrainer:
    """Asks the model once a training row, and writes a file whose candidate asks with the cue.

    `tasks` are those that it trained. `refused` is what it says of any task.
    """

    models: Models
    kind: WeightsKind = "head"
    cue: str = "Taught:"
    needs: TrainingCost = field(default_factory=TrainingCost)
    refused: str | None = None
    tasks: list[TrainingTask] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)

    @property
    def ending(self) -> str:
        return f".{self.kind}.json"

    def problem(self, task: TrainingTask) -> str | None:
        return self.refused

    def cost(self, task: TrainingTask) -> TrainingCost:
        return self.needs

    def changes(self, task: TrainingTask, reference: str) -> Mapping[str, Any]:
        return {f"{task.step}.cue": self.cue}

    async def train(self, task: TrainingTask, file: Path, *, seconds: float) -> TrainingResult:
        self.tasks.append(task)
        self.seconds.append(seconds)
        client = await self.models.get()
        for row in task.rows:
            await client.ask(Request(messages=(Message("user", f"train: {row.inputs['text']}"),)))
        file.write_text("weights", encoding="utf-8")
        cost = TrainingCost(seconds=self.needs.seconds)
        return TrainingResult(cost=cost, validation=Validation(accuracy=0.9, low=0.8, high=0.95, rows=10))


class CueTrainers:
    """Opens trainers with given settings, and keeps those that it opened last."""

    def __init__(self, *settings: Mapping[str, Any]) -> None:
        self._settings = settings or ({},)
        self.opened: Sequence[CueTrainer] = ()

    def __call__(self, models: Models) -> Sequence[CueTrainer]:
        self.opened = [CueTrainer(models, **settings) for settings in self._settings]
        return self.opened

    @property
    def tasks(self) -> list[TrainingTask]:
        return [task for trainer in self.opened for task in trainer.tasks]
