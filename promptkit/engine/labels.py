"""Labels are always text: `012`, `yes`, `1.0` and `null` are the labels that they are written as."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from promptkit.engine.scope import Key

Text = Callable[[tuple[Key, ...]], str]

_LISTED = ("label", "labels", "choice")


def written_labels(answer: Any, text: Text) -> Any:
    """Return the value of `answer:` with its labels as they are written.

    `text` gives the scalar at a path below `answer:` as its file writes it.
    """
    if not isinstance(answer, Mapping):
        return answer
    return {kind: _options(kind, options, text) for kind, options in answer.items()}


def _options(kind: str, options: Any, text: Text) -> Any:
    if kind in _LISTED:
        return _texts(options, (kind,), text)
    if not isinstance(options, Mapping):
        return options
    if kind == "list" and "of" in options:
        return {**options, "of": written_labels(options["of"], lambda path: text((kind, "of", *path)))}
    if kind == "spans" and "classes" in options:
        return {**options, "classes": _texts(options["classes"], (kind, "classes"), text)}
    return options


def _texts(labels: Any, path: tuple[Key, ...], text: Text) -> Any:
    if not isinstance(labels, list):
        return labels
    return [
        label if isinstance(label, str | list | Mapping) else text((*path, number))
        for number, label in enumerate(labels)
    ]
