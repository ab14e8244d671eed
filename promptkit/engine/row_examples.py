"""The examples that one row is shown, where a model's embeddings say which are the nearest."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final
from weakref import WeakKeyDictionary

from promptkit.prompts.examples import Examples
from promptkit.prompts.nearest_examples import NearestExamples
from promptkit.prompts.prompt import Example
from promptkit.runtimes.client import Client

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

NO_EMBEDDINGS: Final = (
    "{} has no good embeddings: the nearest examples are found by their words (TF-IDF); "
    "`model: embedded/bge-small` beside `nearest` names a model that has"
)
_LOCKS: Final[WeakKeyDictionary[asyncio.AbstractEventLoop, asyncio.Lock]] = WeakKeyDictionary()
"""A lock for each event loop, so that rows that run concurrently embed a pool once."""


async def row_examples(
    examples: Examples,
    values: Mapping[str, Any],
    client: Client,
    *,
    client_of: Callable[[str], Awaitable[Client]],
    notice: Callable[[str], None],
) -> tuple[Example, ...]:
    """Return the examples for a row with these inputs.

    `client` is that of the step's own model, `client_of` gives another's. The nearest are found by embeddings where
    `by` asks for them or a model with good ones is at hand, otherwise by words; `notice` gets a line if `by: embed`
    cannot be met. Raises RuntimeFailure if a model cannot be reached.
    """
    nearest = examples.nearest
    if nearest is None or nearest.by == "words":
        return examples.shown(values)
    embedder = client if nearest.model is None else await client_of(nearest.model)
    model = await embedder.model()
    # A model that is named is meant, even if its vectors hardly tell texts apart.
    if not (model.embeds_well or (nearest.model is not None and "embeddings" in model.capabilities)):
        if nearest.by == "embed" or nearest.model is not None:
            notice(NO_EMBEDDINGS.format(model.reference))
        return nearest.by_words(values)
    vectors = await _pool_vectors(nearest, embedder, model.digest)
    (vector,) = _unit_vectors(await embedder.embed([nearest.text_of_row(values)]))
    return nearest.by_similarity(values, (vectors @ vector).tolist())


async def _pool_vectors(nearest: NearestExamples, embedder: Client, digest: str) -> NDArray[np.float64]:
    """Return the unit vector of each example of a pool, (examples, dimensions)."""
    async with _LOCKS.setdefault(asyncio.get_running_loop(), asyncio.Lock()):
        if digest not in nearest.vectors:
            nearest.vectors[digest] = _unit_vectors(await embedder.embed(nearest.texts))
    vectors: NDArray[np.float64] = nearest.vectors[digest]
    return vectors


def _unit_vectors(vectors: Sequence[Sequence[float]]) -> NDArray[np.float64]:
    import numpy as np  # loaded where embeddings are used: the start of each command would pay for it

    array = np.asarray(vectors, dtype=np.float64)
    lengths = np.linalg.norm(array, axis=1, keepdims=True)
    return array / np.where(lengths > 0, lengths, 1.0)
