"""A model with scripted vectors, and heads for it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from promptkit.answers.head import Head, numbers_text
from promptkit.runtimes.base import Model, Reply, Request
from promptkit.runtimes.scripted import CAPABILITIES, Scripted

LAYERS = 4
Vector = Callable[[Request], tuple[float, ...]]


class Vectors(Scripted):
    """A scripted model of four layers whose vectors a function of the request gives."""

    def __init__(self, answers: Any, vector: Vector, *, digest: str = "weights+llama.cpp-1", **options: Any) -> None:
        self.encoded: list[Request] = []
        self._vector = vector
        kinds = options.pop("capabilities", {*CAPABILITIES, "hidden_states"})
        super().__init__(answers, capabilities=kinds, digest=digest, **options)

    async def model(self) -> Model:
        return replace(await super().model(), layers=LAYERS)

    async def answer(self, request: Request, on_text: Any = None) -> Reply:
        if request.hidden_state is None:
            return await super().answer(request, on_text)
        self.encoded.append(request)
        return Reply(text="", vector=self._vector(request), tokens_in=7, tokens_out=0)


def written_head(**changes: Any) -> Head:
    """Return a head of two labels whose logit for `good` is the vector's first number."""
    share = {"mean": 0.8, "low": 0.7, "high": 0.9}
    fields: dict[str, Any] = {
        "pipeline": "test",
        "step": "sort",
        "model": "scripted",
        "weights": "weights",
        "layer": 3,
        "pooling": "mean",
        "prompt": "0" * 16,
        "labels": ("bad", "good"),
        "coefficients": numbers_text(np.array([[0.0, 0.0], [1.0, 0.0]])),
        "intercepts": numbers_text(np.zeros(2)),
        "temperature": 1.0,
        "penalty": 1.0,
        "risk": 0.1,
        "threshold": 0.75,
        **dict.fromkeys(("accuracy", "tfidf", "majority"), share),
        "cascade": {"answers": 0.5, "wrongly": 0.05, "among_answered": 0.9},
        "data": "0" * 16,
        "seed": 0,
        "rows": (),
        **changes,
    }
    return Head.model_validate(fields)
