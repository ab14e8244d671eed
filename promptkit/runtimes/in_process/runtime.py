"""The base of runtimes of models in this process: worker threads, closing, and vectors of texts."""

from __future__ import annotations

import asyncio
import threading
import weakref
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

from promptkit.errors import ServerFailed
from promptkit.runtimes.base import LLAMA_VERSION, HiddenState, Runtime
from promptkit.runtimes.in_process.cut_model import cut_model, delete_cuts
from promptkit.runtimes.in_process.llama_cpp import Embedder, library_version
from promptkit.runtimes.in_process.weights import file_digest

Result = TypeVar("Result")

_ALL_LAYERS = HiddenState()
MOST_EMBEDDERS = 3
"""Layers and poolings that are loaded together: each has buffers of its own."""
EMBEDDING_WINDOW = 2048
"""The longest text to embed in tokens. A longer window would need gigabytes where the vocabulary is large."""


class InProcessRuntime(Runtime):
    """A model in this process. llama.cpp blocks, so each call runs on one of `threads` threads.

    The model that embeds is loaded when the first text is embedded. `close`, the last reference to the runtime, or the
    program's end unloads it.
    """

    def __init__(self, path: Path, *, reference: str, workers: int, threads: int | None) -> None:
        self._path = path
        self._reference = reference
        self._threads = threads
        self._embedders: dict[HiddenState, Embedder] = {}  # empty until loaded, the least recently used first
        self._loading_embedder = threading.Lock()
        self._closing = threading.Event()
        self._workers = ThreadPoolExecutor(workers, thread_name_prefix="llama")
        # A model must be unloaded before the interpreter shuts down.
        weakref.finalize(self, self._embedders.clear)

    @property
    def weights(self) -> Path:
        """The GGUF file of the model."""
        return self._path

    async def embed(self, texts: Sequence[str]) -> list[list[float]]:
        """Return a unit vector for each text. Cancelling ends it before the next text.

        Raises ContextOverflow for a text that does not fit the window, RequestRefused, ModelLoadFailed.
        """
        ended = threading.Event()
        try:
            return await self._run(lambda: self._embed(texts, ended)) if texts else []
        finally:
            ended.set()

    async def forget_layers(self, *, but: int | None) -> None:
        """Unload the models of hidden states, and delete the copies of the file that end after other layers."""

        def forget() -> None:
            with self._loading_embedder:
                self._embedders.clear()
            delete_cuts(self._path, but=but)

        await self._run(forget)

    async def close(self) -> None:
        """End the running requests and unload the model. Safe to call twice."""
        self._closing.set()
        await asyncio.to_thread(self._workers.shutdown, cancel_futures=True)
        await asyncio.to_thread(self._embedders.clear)

    @property
    def _digest(self) -> str:
        return f"{file_digest(self._path)}{LLAMA_VERSION}{library_version()}"

    async def _run(self, job: Callable[[], Result]) -> Result:
        if self._closing.is_set():
            raise ServerFailed(f"{self._reference} was closed")
        return await asyncio.get_running_loop().run_in_executor(self._workers, job)

    def _embedder(self, state: HiddenState = _ALL_LAYERS) -> Embedder:
        """Return the loaded model of a hidden state; the last layer's where it names none."""
        with self._loading_embedder:
            embedder = self._embedders.pop(state, None)
            if embedder is None:
                path = self._path if state.layer is None else cut_model(self._path, state.layer)
                embedder = Embedder(path, context=EMBEDDING_WINDOW, threads=self._threads, pooling=state.pooling)
            while len(self._embedders) >= MOST_EMBEDDERS:
                del self._embedders[next(iter(self._embedders))]
            self._embedders[state] = embedder
            return embedder

    def _embed(self, texts: Sequence[str], ended: threading.Event) -> list[list[float]]:
        vectors = []
        for text in texts:
            if ended.is_set() or self._closing.is_set():
                raise ServerFailed(f"{self._reference} was closed before all texts were embedded")
            vectors.append(self._embedder().embed(text))
        return vectors
