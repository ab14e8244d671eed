"""The embedded runtime: a model in this process, run by llama.cpp's server from the package `xllamacpp`.

Every request becomes one raw text (`prompt_text`), so chat, begun turns, grammars, schemas and log-probabilities
all take one path, and the text that is sent can be shown. A request with tools goes to llama.cpp as messages
(`tool_query`), because llama.cpp knows how each chat template writes calls, holds their arguments to their schemas,
and reads them.
"""

from __future__ import annotations

import asyncio
import threading
import time
import weakref
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any, Final

from promptkit.errors import ContextOverflow, InputError, Problem, RequestRefused, ServerFailed, place
from promptkit.runtimes.answer_end import AnswerEnd
from promptkit.runtimes.base import (
    Adapter,
    Capability,
    EncodedReply,
    HiddenState,
    Memory,
    Message,
    Model,
    OnText,
    Reply,
    Request,
    Runtime,
    ToolDefinition,
    vector_reply,
)
from promptkit.runtimes.function_calls import CallReader
from promptkit.runtimes.in_process.adapter_file import check_fits, read_adapter
from promptkit.runtimes.in_process.cut_model import count_layers
from promptkit.runtimes.in_process.embedding_model import EmbeddingModel
from promptkit.runtimes.in_process.gguf import read_kind
from promptkit.runtimes.in_process.llama_cpp import Llama, load_library, resident_bytes
from promptkit.runtimes.in_process.llama_requests import (
    encoded_reply,
    prompt_query,
    prompt_text,
    thought_splitter,
    tool_query,
)
from promptkit.runtimes.in_process.runtime import InProcessRuntime
from promptkit.runtimes.reply_reader import ASCII_GRAMMAR, ReplyReader
from promptkit.runtimes.server_timings import llama_timings
from promptkit.runtimes.thoughts import THINK_CLOSE, ThoughtSplitter
from promptkit.storage.file_digests import file_digest

CAPABILITIES: tuple[Capability, ...] = (
    "chat",
    "complete",
    "continue",
    "grammar",
    "schema",
    "guidance",
    "logprobs",
    "sampling",
    "stop",
    "seed",
    "tokenize",
    "template",
    "embeddings",
    "adapters",
)
MOST_ADAPTERS: Final = 16
"""Adapters that are loaded together. Those that were named longest ago make room."""
REQUESTS_PER_SLOT = 2
"""One is answered while the next waits in llama.cpp's queue, so that no slot idles while a request is prepared. A step
of llama.cpp with an idle slot costs hardly less CPU than one without."""


def open_embedded(path: Path, reference: str) -> Runtime:
    """Return the runtime of a GGUF file by what it is: a model that answers, or an embedding model."""
    if read_kind(path).pooling is not None:
        return EmbeddingModel(path, reference=reference)
    return Embedded(path, reference=reference)


class Embedded(InProcessRuntime):
    """A GGUF file run by llama.cpp in this process, loaded at its first use.

    Requests in flight are decoded together in `slots`. The model is unloaded by `close`, with the last reference to it,
    or at the program's end. Its vectors are the means over the tokens of a text; they need the weights a second time.
    """

    def __init__(
        self, path: Path, *, reference: str, context: int = 4096, slots: int = 4, threads: int | None = None
    ) -> None:
        """Set up the runtime without reading the file.

        `context` is the window of each slot in tokens; a request that asks for more reloads the model. `threads` is by
        default the number of usable cores.
        """
        # One thread more than requests in flight, so that tokens can be counted meanwhile.
        super().__init__(path, reference=reference, workers=REQUESTS_PER_SLOT * slots + 1, threads=threads)
        self._context = context
        self._slots = slots
        self._llamas: list[Llama] = []  # empty until loaded
        self._adapters: dict[str, Adapter] = {}  # by digest; those that were named last come last
        self._resident: int | None = None
        self._loading = threading.Lock()
        self._reading = threading.Lock()
        weakref.finalize(self, self._llamas.clear)

    async def model(self) -> Model:
        """Describe the model, loading it once. Raises ModelLoadFailed."""
        return await self._run(self._describe)

    async def answer(self, request: Request, on_text: OnText | None = None) -> Reply:
        """Answer one request. Cancelling ends it at the next batch of the prompt or the next token.

        Where a character spans several tokens, llama.cpp reports only the log-probability of the last.
        Raises ContextOverflow, RequestRefused, ModelLoadFailed.
        """
        ended = threading.Event()
        deliver = _threadsafe_listener(on_text, ended) if on_text else None
        try:
            return await self._run(lambda: self._answer(request, deliver, ended))
        finally:
            ended.set()

    async def add_adapter(self, adapter: Adapter) -> None:
        """Load an adapter with the model, or with its next load. Raises InputError for one that does not fit."""
        await self._run(lambda: self._add_adapter(adapter))

    def _add_adapter(self, adapter: Adapter) -> None:
        check_fits(read_adapter(adapter.path), self._path, self._reference)
        with self._loading:
            self._note_adapter(adapter)

    def _note_adapter(self, adapter: Adapter) -> None:
        self._adapters.pop(adapter.digest, None)
        self._adapters[adapter.digest] = adapter
        for digest in list(self._adapters)[:-MOST_ADAPTERS]:
            del self._adapters[digest]

    async def tokenize(self, text: str) -> tuple[bytes, ...]:
        """Return the text's tokens as byte pieces."""
        return await self._run(lambda: self._loaded().tokenize(text))

    async def encode(self, request: Request, reply: str) -> EncodedReply:
        """Return a request and a reply to it as token ids. Raises ModelLoadFailed."""
        return await self._run(lambda: encoded_reply(self._loaded(), request, reply))

    async def template(self, messages: Sequence[Message], begun: str = "", tools: Sequence[ToolDefinition] = ()) -> str:
        """Return the text that messages and tools become under the model's own chat template."""
        request = Request(messages=tuple(messages), begun=begun, tools=tuple(tools))
        return await self._run(lambda: prompt_text(self._loaded(), request).text)

    async def count(self, messages: Sequence[Message], begun: str = "", tools: Sequence[ToolDefinition] = ()) -> int:
        """Return the number of tokens of messages and tools. Control tokens in them count as what is sent for them."""
        request = Request(messages=tuple(messages), begun=begun, tools=tuple(tools))
        return await self._run(lambda: len(self._loaded().tokenize(prompt_text(self._loaded(), request).sent)))

    async def memory(self) -> Memory | None:
        """Return the memory that loading the model added: weights that were read, windows of all slots, buffers."""
        grown = self._resident
        return Memory(grown, "resident memory that loading it added to the process") if grown and grown > 0 else None

    async def close(self) -> None:
        """End the running requests and unload the model. Safe to call twice."""
        await super().close()
        await asyncio.to_thread(self._llamas.clear)

    def _loaded(self, context: int | None = None, adapter: Adapter | None = None) -> Llama:
        """Return the loaded model. A larger window than it has, or an adapter that it lacks, reloads it.

        Requests in the old model finish there before it is unloaded.
        """
        with self._loading:
            if self._llamas and (context or 0) > self._llamas[0].trained:
                raise ContextOverflow(
                    f"{self._reference} was trained on windows of {self._llamas[0].trained} tokens; "
                    f"the option `context` asks for {context}"
                )
            lacks_adapter = (
                bool(self._llamas) and adapter is not None and adapter.digest not in self._llamas[0].adapters
            )
            if adapter is not None and (lacks_adapter or not self._llamas):
                self._note_adapter(adapter)
            if not self._llamas or lacks_adapter or (context or 0) > self._context:
                self._context = max(context or 0, self._context)
                load_library()  # its own memory is not the model's
                before = resident_bytes()
                llama = Llama(
                    self._path,
                    context=self._context,
                    slots=self._slots,
                    threads=self._threads,
                    adapters=self._present_adapters(adapter),
                )
                after = resident_bytes()
                self._resident = None if before is None or after is None else after - before
                self._llamas[:] = [llama]
            return self._llamas[0]

    @cached_property
    def _layers(self) -> int | None:
        return count_layers(self._path)

    def _present_adapters(self, adapter: Adapter | None) -> list[Adapter]:
        """Return the adapters to load: those whose files are as they were when they were named.

        Raises InputError where that of the request has changed.
        """
        present = [known for known in self._adapters.values() if file_digest(known.path) == known.digest]
        if adapter is not None and adapter not in present:
            raise InputError(
                Problem("this adapter was changed while requests with it ran", place(adapter.path), hint="run it again")
            )
        return present

    def _describe(self) -> Model:
        llama = self._loaded()
        capabilities: set[Capability] = set(CAPABILITIES)
        if self._layers:
            capabilities.add("hidden_states")
        if llama.system_role:
            capabilities.add("system")
        if not llama.soft_prompt and llama.calls_functions:  # llama.cpp itself makes the prompt of a request with tools
            capabilities.add("function_calls")
        if "enable_thinking" in llama.template:
            capabilities |= {"think", "thinks"}
        elif THINK_CLOSE in llama.template:
            capabilities.add("thinks")
        return Model(
            reference=self._reference,
            digest=self._digest,
            capabilities=frozenset(capabilities),
            context=llama.context,
            size=self._path.stat().st_size,
            parallel=REQUESTS_PER_SLOT * self._slots,
            slots=self._slots,
            weak_embeddings=True,
            layers=self._layers,
        )

    def _hidden_state(self, request: Request, state: HiddenState) -> Reply:
        """Return the vector of the text that a request becomes. Raises ContextOverflow beyond the embedding window."""
        prompt = prompt_text(self._loaded(), request)
        state = replace(state, layer=None) if state.layer == self._layers else state
        embedder = self._embedder(state)
        with self._reading:  # one text at a time, so that the wait for others does not count
            started = time.perf_counter()
            vector, tokens = embedder.embed_prompt(prompt.sent)
            seconds = time.perf_counter() - started
        return vector_reply(vector, seconds=seconds, tokens_in=tokens)

    def _answer(self, request: Request, deliver: OnText | None, ended: threading.Event) -> Reply:
        if request.hidden_state is not None:
            return self._hidden_state(request, request.hidden_state)
        started = time.perf_counter()
        llama = self._loaded(request.context, request.adapter)
        if request.tools:
            ask, query, splitter = llama.chat, tool_query(llama, request), ThoughtSplitter()
        else:
            prompt = prompt_text(llama, request)
            if not prompt.text:
                raise RequestRefused("the prompt is empty")
            ask, query = llama.complete, prompt_query(llama, request, prompt)
            splitter = thought_splitter(request, prompt.text)
        reader = ReplyReader(
            self._reference, splitter=splitter, answer_end=AnswerEnd.of(request), calls=CallReader.of(request)
        )
        collector = _Collector(reader, deliver)

        def is_given_up() -> bool:
            return ended.is_set() or self._closing.is_set() or reader.ended_early

        query |= llama.scales(request.adapter)
        ask(query, collector.add, is_given_up)
        if request.alternatives and request.max_tokens == 1 and not collector.reader.tokens:
            ask({**query, "grammar": ASCII_GRAMMAR}, collector.add_tokens, is_given_up)
        if not reader.finish:
            raise ServerFailed(f"{self._reference} was closed before the answer ended")
        return collector.reply(time.perf_counter() - started)


class _Collector:
    """Passes llama.cpp's chunks to the reply reader, and their text to the listener."""

    def __init__(self, reader: ReplyReader, deliver: OnText | None) -> None:
        self.reader = reader
        self._deliver = deliver
        self._timings: dict[str, Any] = {}

    def add(self, chunk: dict[str, Any]) -> None:
        if self.reader.ended_early:
            return
        choice = chunk["choices"][0]
        delta = choice.get("delta") or {"content": choice.get("text")}
        shown = self.reader.add(delta.get("content"), delta.get("reasoning_content"), _listed_tokens(chunk))
        # llama.cpp makes up another id each time.
        self.reader.add_calls([{**call, "id": None} for call in delta.get("tool_calls") or ()])
        self._show(self.reader.new_thoughts())
        self._show(shown)
        if choice["finish_reason"]:
            self.reader.end(choice["finish_reason"])
        self._timings = chunk.get("timings", self._timings)

    def add_tokens(self, chunk: dict[str, Any]) -> None:
        self.reader.add_tokens(_listed_tokens(chunk))

    def reply(self, seconds: float) -> Reply:
        """Return the whole answer; `seconds` is its time where llama.cpp gives none."""
        self._show(self.reader.end_text())
        timings = self._timings
        if timings:  # without the wait in llama.cpp's queue
            seconds = (timings["prompt_ms"] + timings["predicted_ms"]) / 1000
        return self.reader.reply(
            tokens_in=timings["cache_n"] + timings["prompt_n"] if timings else None,
            tokens_out=timings.get("predicted_n"),
            tokens_thought=None,
            seconds=seconds,
            timings=llama_timings(timings),
        )

    def _show(self, piece: str) -> None:
        if piece and self._deliver:
            self._deliver(piece)


def _listed_tokens(chunk: dict[str, Any]) -> Any:
    return (chunk["choices"][0].get("logprobs") or {}).get("content")


def _threadsafe_listener(on_text: OnText, ended: threading.Event) -> OnText:
    """Return a listener for a worker thread. It passes pieces to the event loop until the request has ended."""
    loop = asyncio.get_running_loop()

    def show(piece: str) -> None:
        if not ended.is_set():
            on_text(piece)

    def deliver(piece: str) -> None:
        with suppress(RuntimeError):  # the loop is closed
            loop.call_soon_threadsafe(show, piece)

    return deliver
