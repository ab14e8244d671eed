"""Models as text: a list of them, and the facts of one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from promptkit.reports.layout import columns
from promptkit.reports.text import size_text, visible

if TYPE_CHECKING:
    from promptkit.runtimes.base import Model
    from promptkit.runtimes.models import LocalModel


def models_text(models: Sequence[LocalModel]) -> str:
    """Return a line a model: reference, size, context window, licence, and whether it is ready to answer."""
    rows = [
        (
            model.reference,
            size_text(model.size) if model.size else "",
            f"{model.context} tokens" if model.context else "",
            model.licence or "",
            "ready" if model.ready else "not here",
        )
        for model in models
    ]
    absent = [] if all(model.ready for model in models) else ["fetch one: promptkit models pull NAME"]
    return "\n".join([*columns(rows), *absent])


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
