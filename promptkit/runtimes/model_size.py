"""The size of a model in parameters, read from its name, otherwise estimated from the bytes of its weights."""

from __future__ import annotations

import re
from typing import Final

from promptkit.runtimes.base import Model

USUAL_BYTES: Final = 0.7
"""Bytes of weights per parameter as models are usually quantized: four to five bits."""
MOST_BYTES, LEAST_BYTES = 2.0, 0.5
"""Bytes of weights per parameter at sixteen and at four bits."""
_SIZE: Final = re.compile(r"(?<![a-z0-9.])(?:\d+x)?(\d+(?:\.\d+)?)([bm])(?![a-z0-9])", re.IGNORECASE)


def named_parameters(reference: str) -> float | None:
    """Return the parameters that a model's reference names (`qwen2.5:7b`, `llama3_8b`), None if it names none.

    The largest of several sizes counts, and of a mixture (`mixtral:8x7b`) the size of one expert.
    """
    sizes = [float(size) * (1e9 if unit in "bB" else 1e6) for size, unit in _SIZE.findall(reference)]
    return max(sizes, default=None)


def parameter_bounds(model: Model) -> tuple[float, float] | None:
    """Return the least and the most parameters that a model can have, None if nothing shows its size."""
    if (named := named_parameters(model.reference)) is not None:
        return named, named
    return (model.size / MOST_BYTES, model.size / LEAST_BYTES) if model.size else None


def billions(model: Model) -> float | None:
    """Return a model's parameters in billions, as named or as its weights suggest; None if nothing shows its size."""
    if (named := named_parameters(model.reference)) is not None:
        return named / 1e9
    return round(model.size / USUAL_BYTES / 1e9, 2) if model.size else None
