"""Models as text: a list of them, and the facts of one."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

from promptkit.reports.layout import columns
from promptkit.reports.text import size_text, visible

if TYPE_CHECKING:
    from promptkit.runtimes.base import Model
    from promptkit.runtimes.models import LocalModel

SHOWN_CAPABILITIES = ("tools", "thinking", "vision", "audio", "embedding")
"""Capabilities that a list of models shows, in a server's words. All but embedding models complete a text."""
DAY = 24 * 3600


def models_text(models: Sequence[LocalModel]) -> str:
    """Return a line a model: reference, size, parameters, window, capabilities, licence, and whether it is ready or
    loaded. The models of a server have more to show, and columns of their own.
    """
    served = [model for model in models if model.reference.startswith("ollama/")]
    others = [model for model in models if not model.reference.startswith("ollama/")]
    absent = [] if all(model.ready for model in models) else ["fetch one: promptkit models pull NAME"]
    return "\n".join([*_lines(others), *_lines(served), *absent])


def _lines(models: Sequence[LocalModel]) -> list[str]:
    """Return models as lines of aligned columns, without those that would be blank."""
    rows = [
        (
            model.reference,
            size_text(model.size) if model.size else "",
            " ".join(filter(None, (model.parameters, model.quantization))),
            f"{model.context} tokens" if model.context else "",
            " ".join(name for name in SHOWN_CAPABILITIES if name in model.reported),
            model.licence or "",
            _state_text(model),
        )
        for model in models
    ]
    used = [any(column) for column in zip(*rows, strict=True)]
    return columns(tuple(cell for cell, is_used in zip(row, used, strict=True) if is_used) for row in rows)


def _state_text(model: LocalModel) -> str:
    """Return the state of a model: ready to answer or not, and until when a server keeps it loaded, in local time."""
    if not model.ready:
        return "not here"
    if model.loaded_until is None:
        return "ready"
    text = "loaded"
    left = model.loaded_until - time.time()
    if left > DAY:
        text += " for good"
    elif left > 0:
        text += time.strftime(" until %H:%M", time.localtime(model.loaded_until))
    return f"{text}, {model.loaded_context} tokens" if model.loaded_context else text


def absent_model_text(model: LocalModel) -> str:
    """Return the facts of a model whose weights are not on this machine, and the command that fetches them."""
    facts = {
        "reference": model.reference,
        "digest": model.digest,
        "size": size_text(model.size) if model.size else None,
        "licence": model.licence,
        "source": model.source,
        "capabilities": " ".join(sorted(model.capabilities)),
    }
    lines = [f"{name:<13} {visible(fact)}" for name, fact in facts.items() if fact]
    return "\n".join([*lines, f"not on this machine; promptkit models pull {model.reference} fetches it"])


def model_text(model: Model) -> str:
    """Return the facts of a model, one a line."""
    facts = {
        "reference": model.reference,
        "digest": model.digest,
        "size": size_text(model.size) if model.size else "unknown",
        "context": f"{model.context} tokens" if model.context else "unknown",
        "capabilities": " ".join(sorted(model.capabilities)),
        "concurrency": f"{model.parallel} requests",
    }
    lines = [f"{name:<13} {visible(fact)}" for name, fact in facts.items()]
    return "\n".join([*lines, *(visible(text) for text in model.notes)])
