"""Models as people read them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from promptkit.reports.layout import columns
from promptkit.reports.text import size_text, visible

if TYPE_CHECKING:
    from promptkit.runtimes.base import Model
    from promptkit.runtimes.models import LocalModel


def models_text(models: Sequence[LocalModel]) -> str:
    """Return one line a model: its reference, size, window, and whether it can answer at once."""
    rows = [
        (
            model.reference,
            size_text(model.size) if model.size else "",
            f"{model.context} tokens" if model.context else "",
            "ready" if model.ready else f"promptkit models pull {model.reference}",
        )
        for model in models
    ]
    return "\n".join(columns(rows))


def model_text(model: Model) -> str:
    """Return what a model says about itself, one fact a line."""
    facts = {
        "reference": model.reference,
        "digest": model.digest,
        "size": size_text(model.size) if model.size else "unknown",
        "context": f"{model.context} tokens" if model.context else "unknown",
        "capabilities": " ".join(sorted(model.capabilities)),
        "at once": f"{model.parallel} requests",
    }
    lines = [f"{name:<13} {visible(fact)}" for name, fact in facts.items()]
    return "\n".join([*lines, *(visible(text) for text in model.notes)])
