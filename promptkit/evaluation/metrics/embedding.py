"""How near the answer is in meaning to the expected text, by the angle between their embeddings."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from math import hypot
from typing import Any

from promptkit.engine import Closed, model_named
from promptkit.evaluation.metrics.base import Around, Askers, Estimate, Given, Sample, Score
from promptkit.evaluation.metrics.families import Graded
from promptkit.evaluation.metrics.values import text_of
from promptkit.prompts import word_vectors


class EmbeddingParameters(Closed):
    """`model` makes the embeddings; left out, the run's model where it can."""

    model: str | None = None


class Embedding(Graded):
    """Cosine similarity, 1 for the same direction; what points away counts as 0.

    Where the model has no embeddings the words of both texts stand for them (TF-IDF over the two), which the estimate
    says: a chat model's own vectors hardly tell texts apart.
    """

    kind = "embedding"
    about = "similarity of meaning, by a model's embeddings, else by shared words"
    Parameters = EmbeddingParameters
    parameters: EmbeddingParameters
    asks = True
    costly = True
    columns = ("score", "by_words")

    def __init__(self, name: str, parameters: EmbeddingParameters, around: Around) -> None:
        super().__init__(name, parameters, around)
        if parameters.model is not None:
            self.model = model_named(parameters.model, around.folder, around.project)

    async def judge(self, given: Given, askers: Askers) -> Score:
        texts = [text_of(given.got), text_of(given.expected)]
        asker = await askers.get(self.model)
        model = await asker.model()
        if "embeddings" not in model.capabilities:
            return self._scored(word_vectors(texts), {"by": "words", "lacking": model.reference})
        return self._scored(await asker.embed(texts), {"by": model.reference})

    def numbers(self, score: Score) -> Sequence[float]:
        assert score.value is not None, "a missing score has no numbers"
        return (score.value, float(score.detail.get("by") == "words"))

    def estimate(self, sample: Sample) -> Estimate:
        found = super().estimate(sample)
        if not len(sample) or not sample.values[:, 1].any():
            return found
        told = "the model has no embeddings: similarity is that of the words (TF-IDF); name one that has by `model`"
        return replace(found, notes=(*found.notes, told))

    def _scored(self, vectors: Sequence[Sequence[float]], detail: dict[str, Any]) -> Score:
        a, b = vectors
        length = hypot(*a) * hypot(*b)
        cosine = sum(x * y for x, y in zip(a, b, strict=True)) / length if length else 0.0
        return Score(min(max(cosine, 0.0), 1.0), {**detail, "cosine": cosine})
