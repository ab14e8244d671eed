"""What trains weights in a tuning: heads on the model's vectors, and low-rank adapters."""

from __future__ import annotations

from collections.abc import Sequence

from promptkit.runtimes.models import Models
from promptkit.tuning.weights.trainer import Trainer


def open_trainers(models: Models) -> Sequence[Trainer]:
    """Return the trainers whose requests go through these models, those that take least first."""
    return ()
