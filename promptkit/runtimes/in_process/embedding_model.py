"""An embedding model in this process, such as one of the BERT family: it makes vectors of texts and answers nothing."""

from __future__ import annotations

from pathlib import Path

from promptkit.errors import Unsupported
from promptkit.runtimes.base import Capability, Model, OnText, Reply, Request
from promptkit.runtimes.in_process.runtime import InProcessRuntime

EMBEDDING_CAPABILITIES: tuple[Capability, ...] = ("embeddings", "tokenize")


class EmbeddingModel(InProcessRuntime):
    """A GGUF file of an embedding model, loaded at its first use."""

    def __init__(self, path: Path, *, reference: str, threads: int | None = None) -> None:
        """Set up the runtime without reading the file. `threads` is by default the number of usable cores."""
        super().__init__(path, reference=reference, workers=2, threads=threads)

    async def model(self) -> Model:
        """Describe the model, loading it once. Raises ModelLoadFailed."""
        return await self._run(self._describe)

    async def answer(self, request: Request, on_text: OnText | None = None) -> Reply:
        """Raise Unsupported: an embedding model answers nothing."""
        raise Unsupported(f"{self._reference} is an embedding model and answers nothing")

    async def tokenize(self, text: str) -> tuple[bytes, ...]:
        """Return the text's tokens as byte pieces."""
        return await self._run(lambda: self._embedder().tokenize(text))

    def _describe(self) -> Model:
        return Model(
            reference=self._reference,
            digest=self._digest,
            capabilities=frozenset(EMBEDDING_CAPABILITIES),
            context=self._embedder().context,
            size=self._path.stat().st_size,
        )
