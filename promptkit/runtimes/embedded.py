"""A model in this process: llama.cpp's server, by the package `xllamacpp`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from promptkit.runtimes.base import Message, Model, OnText, Reply, Request


class Embedded:
    """A GGUF file run by llama.cpp in this process. Loaded at the first use."""

    def __init__(
        self,
        path: Path,
        *,
        reference: str,
        context: int = 4096,
        slots: int = 4,
        threads: int | None = None,
        embeddings: bool = False,
    ) -> None:
        """Name the file; nothing is read yet. `context` is the window of each of the `slots` requests at once."""
        raise NotImplementedError

    async def model(self) -> Model:
        """Describe the model, loading it once. Raises ModelLoadFailed."""
        raise NotImplementedError

    async def answer(self, request: Request, on_text: OnText | None = None) -> Reply:
        """Answer one request. Cancelling ends the generation. Raises RuntimeFailure, Unsupported."""
        raise NotImplementedError

    async def embed(self, texts: Sequence[str]) -> list[list[float]]:
        """Return a unit vector for each text. Raises Unsupported unless made with `embeddings`."""
        raise NotImplementedError

    async def tokenize(self, text: str) -> tuple[bytes, ...]:
        """Return the text's tokens as byte pieces."""
        raise NotImplementedError

    async def template(self, messages: Sequence[Message], begun: str = "") -> str:
        """Return the text that the messages become under the model's own chat template."""
        raise NotImplementedError

    async def close(self) -> None:
        """Unload the model. Safe to call twice."""
        raise NotImplementedError
