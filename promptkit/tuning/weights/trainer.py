"""The interface between a tuning and what trains weights: a task with its rows, its cost, and the trained file."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal, Protocol

from promptkit.engine.pipeline import Pipeline
from promptkit.runtimes.base import Model
from promptkit.storage.hashes import content_key
from promptkit.techniques.artifacts import row_hash

WeightsKind = Literal["head", "adapter"]

KEY_BYTES: Final = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingRow:
    """A row to train on: its inputs of the target and of the step's prompt, and the right answer of the step.

    `given` are those of the step's inputs that the row gives: an evaluation tells rows apart by these.
    """

    scope: Mapping[str, Any]
    inputs: Mapping[str, Any]
    given: Mapping[str, Any]
    answer: Any


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingTask:
    """A training to do: a step of a pipeline, as it asks the model, and its rows.

    `pipeline` is the candidate that the weights are for: its prompt, layout, examples and cue make the requests.
    """

    pipeline: Pipeline
    step: str
    model: Model
    rows: tuple[TrainingRow, ...]
    seed: int = 0

    def key(self, kind: WeightsKind, content: bytes) -> str:
        """Return the key of the result: equal tasks give equal weights. `content` is that of the pipeline's files."""
        rows = [[row_hash(row.given), row.answer] for row in self.rows]
        text = json.dumps([kind, content.hex(), self.model.digest, self.step, rows, self.seed], default=str)
        return content_key(text, KEY_BYTES).hex()


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingCost:
    """The cost of a training: requests, their tokens, and seconds of wall-clock time."""

    calls: int = 0
    tokens: int = 0
    seconds: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Validation:
    """The accuracy of trained weights on rows that their trainer held out of its own, with a 95 % interval."""

    accuracy: float
    low: float | None = None
    high: float | None = None
    rows: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingResult:
    """A finished training and its validation. The requests and tokens of its cost are those that the budget counts."""

    cost: TrainingCost
    validation: Validation | None = None


class Trainer(Protocol):
    """Trains weights of one kind. Requests go through the models that it was made with, which count them."""

    @property
    def kind(self) -> WeightsKind:
        """The kind of weights, which names the choice."""

    @property
    def ending(self) -> str:
        """The ending of the file, such as `.head.json`."""

    def problem(self, task: TrainingTask) -> str | None:
        """Return the reason why a task cannot be trained; None if it can. Sends no request."""

    def cost(self, task: TrainingTask) -> TrainingCost:
        """Return the least that a training is expected to take."""

    def changes(self, task: TrainingTask, reference: str) -> Mapping[str, Any]:
        """Return the settings, as in `--set`, with which the step uses the file that the pipeline names so."""

    async def train(self, task: TrainingTask, file: Path, *, seconds: float) -> TrainingResult:
        """Train, write the file, and return the result; it ends with the best so far after so many seconds.

        Begun again after a kill, it resumes. Raises InputError for rows on which nothing can be trained, BudgetSpent,
        and what the models raise.
        """
