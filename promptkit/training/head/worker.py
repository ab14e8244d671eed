"""The fit of a head as a worker process runs it: plain data in, JSON out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class FitInput:
    """`vectors` maps layer and pooling to numbers, (rows, numbers); texts, label codes and clusters are by row."""

    vectors: Mapping[tuple[int | None, Any], Any]
    texts: Sequence[str]
    codes: Sequence[int]
    clusters: Sequence[int]
    classes: int
    risk: float
    seed: int


def fit_as_json(given: FitInput) -> dict[str, Any]:
    """Return the fields of a head that the fit gives."""
    import numpy as np

    from promptkit.answers.head import numbers_text
    from promptkit.runtimes.base import HiddenState
    from promptkit.training.head.fit import fit_head

    fitted = fit_head(
        {HiddenState(*key): np.asarray(vectors, dtype=np.float64) for key, vectors in given.vectors.items()},
        given.texts,
        np.asarray(given.codes, dtype=np.int64),
        np.asarray(given.clusters, dtype=np.int64),
        classes=given.classes,
        risk=given.risk,
        seed=given.seed,
    )
    return {
        "layer": fitted.state.layer,
        "pooling": fitted.state.pooling,
        "coefficients": numbers_text(fitted.weights.coefficients),
        "intercepts": numbers_text(fitted.weights.intercepts),
        "temperature": fitted.temperature,
        "penalty": fitted.penalty,
        "threshold": fitted.threshold,
        **{name: getattr(fitted, name).model_dump() for name in ("accuracy", "tfidf", "majority", "cascade")},
    }
