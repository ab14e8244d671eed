"""The settings of a training, and what it reports while it runs and at its end."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final, Literal

Ending = Literal["finished", "stopped early", "time limit", "interrupted", "loss not finite"]
"""The reason why a training ended."""

BATCH: Final = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class FitSettings:
    """The settings that decide the result: AdamW (Loshchilov & Hutter 2019) at `rate`, which rises linearly over the
    first `warmup` of the steps and falls as a cosine to a tenth.

    Training stops after `patience` evaluations, two an epoch, without a lower validation loss. `clip` bounds the norm
    of the gradient.
    """

    seed: int = 0
    batch: int = BATCH
    epochs: int = 6
    rate: float = 1e-3
    warmup: float = 0.1
    decay: float = 0.01
    clip: float = 1.0
    patience: int = 4


@dataclass(frozen=True, slots=True)
class Evaluation:
    """The validation rows after a step: the mean loss of a reply's token, and the rows that are `right`."""

    step: int
    loss: float
    right: tuple[bool, ...]

    @property
    def accuracy(self) -> float:
        return sum(self.right) / len(self.right)


@dataclass(frozen=True, slots=True)
class FitProgress:
    """The state of a running training. `loss` is the mean of the last steps, None before the first.

    `seconds_left` is at most that, None where it is not known yet; `memory` is the resident memory in bytes.
    """

    stage: str
    step: int = 0
    steps: int = 0
    loss: float | None = None
    evaluation: Evaluation | None = None
    seconds_left: float | None = None
    memory: int | None = None


@dataclass(frozen=True, slots=True)
class Fitted:
    """The result of a training: the `parameters` of the best evaluation, a pytree.

    `evaluations` begin with that of the base, at step 0. `seconds` are those of all runs that a checkpoint joins.
    """

    parameters: Any
    best: Evaluation
    evaluations: tuple[Evaluation, ...]
    losses: tuple[float, ...]
    steps: int
    ending: Ending
    seconds: float
    peak_memory: int | None

    @property
    def base(self) -> Evaluation:
        return self.evaluations[0]
