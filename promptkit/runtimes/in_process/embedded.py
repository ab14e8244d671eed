"""The embedded runtime: a model in this process, run by llama.cpp's server from the package `xllamacpp`.

Every request becomes one raw text (`prompt_text`), so chat, begun turns, grammars, schemas and log-probabilities
all take one path, and the text that is sent can be shown. A request with tools goes to llama.cpp as messages
(`tool_query`), because llama.cpp knows how each chat template writes calls, holds their arguments to their schemas,
and reads them.
"""

from __future__ import annotations

import asyncio
import re
import struct
import threading
import time
import weakref
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
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
    sample_seed,
)
from promptkit.runtimes.control_tokens import with_texts
from promptkit.runtimes.function_calls import CallReader, openai_turn, tool_fields
from promptkit.runtimes.in_process.adapter_file import check_fits, read_adapter
from promptkit.runtimes.in_process.cut_model import count_layers
from promptkit.runtimes.in_process.embedding_model import EmbeddingModel
from promptkit.runtimes.in_process.gguf import read_kind
from promptkit.runtimes.in_process.llama_cpp import Llama, load_library, resident_bytes
from promptkit.runtimes.in_process.runtime import InProcessRuntime
from promptkit.runtimes.reply_reader import ASCII_GRAMMAR, ReplyReader
from promptkit.runtimes.server_timings import llama_timings
from promptkit.runtimes.thoughts import THINK_CLOSE, THINK_OPEN, ThoughtSplitter
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
        """Return a request and a reply to it as token ids: as llama.cpp reads the one and writes the other."""
        return await self._run(lambda: _encoded(self._loaded(), request, reply))

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
        numbers = struct.unpack(f"<{len(vector)}f", struct.pack(f"<{len(vector)}f", *vector))
        return Reply(text="", vector=numbers, tokens_in=tokens, tokens_out=0, seconds=seconds)

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
            ask, query, splitter = llama.complete, _query(llama, request, prompt), _splitter(request, prompt.text)
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


def _splitter(request: Request, text: str) -> ThoughtSplitter:
    off = request.prompt is not None or bool(request.begun or request.constrained)
    return ThoughtSplitter(opened=not off and text.rstrip().endswith(THINK_OPEN), off=off)


def _query(llama: Llama, request: Request, prompt: PromptText) -> dict[str, Any]:
    scored = {"logprobs": request.alternatives} if request.alternatives else {}
    # They have a soft prompt's vectors, which a tied output would write.
    barred = {"logit_bias": [[token, False] for token in llama.soft_prompt]} if llama.soft_prompt else {}
    return {"prompt": prompt.sent, **scored, **barred, **_options(request)}


def tool_query(llama: Llama, request: Request) -> dict[str, Any]:
    """Return the body of a request with tools in OpenAI's protocol."""
    request = _escaped(llama, request)
    return {
        "messages": [openai_turn(turn) for turn in request.messages],
        "tools": tool_fields(request.tools),
        "tool_choice": request.tool_choice,
        "parallel_tool_calls": True,
        "chat_template_kwargs": _template_options(request),
        **_options(request),
    }


def _options(request: Request) -> dict[str, Any]:
    options = {
        "max_tokens": request.most_tokens,
        "temperature": request.temperature,
        "top_p": request.top_p,
        "seed": sample_seed(request),
        "stop": None if request.thought_tokens else list(request.stop) or None,
        "grammar": request.grammar,
        "json_schema": request.schema,
        "cache_prompt": None if request.reuse_prefix else False,
    }
    return {key: value for key, value in options.items() if value is not None}


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


def _encoded(llama: Llama, request: Request, reply: str) -> EncodedReply:
    sent = prompt_text(llama, request).sent
    before = llama.token_ids(sent)
    after: tuple[int, ...] = ()
    if isinstance(sent, str) and llama.control_tokens.search(reply) is None:
        whole = llama.token_ids(sent + reply)
        after = whole[len(before) :] if whole[: len(before)] == before else ()
    if not after:  # A token would cross the border, or the reply holds a control token as text.
        after = llama.token_ids(reply, begins=False, obeys=False)
    end = llama.end_token
    return EncodedReply(before, after if end is None else (*after, end))


PRIVATE: Final = range(0xF0000, 0xFFFFE)
"""Private-use characters. Those that no message uses stand for control tokens in data."""


@dataclass(frozen=True, slots=True)
class PromptText:
    """A request's raw text, and its form for llama.cpp: the text, or texts with the tokens of letters between them."""

    text: str
    sent: str | list[str | int]


def prompt_text(llama: Llama, request: Request) -> PromptText:
    """Return the raw text that llama.cpp continues. Where the template opens thoughts, a begun answer closes them.

    llama.cpp obeys control tokens anywhere in a text. One that a message holds is replaced by an unused character for
    the chat template, and llama.cpp then gets the tokens of its letters. A raw text keeps its control tokens. In a
    request with tools, which llama.cpp gets as messages, they have a backslash. The tokens of a soft prompt come first.
    """
    prompt = _without_soft_prompt(llama, request)
    soft = "".join(llama.soft_prompt.values())
    if not soft:
        return prompt
    sent = soft + prompt.sent if isinstance(prompt.sent, str) else [f"{soft}{prompt.sent[0]}", *prompt.sent[1:]]
    return PromptText(soft + prompt.text, sent)


def _without_soft_prompt(llama: Llama, request: Request) -> PromptText:
    if request.prompt is not None:
        text = request.prompt + request.begun
        return PromptText(text, text)
    if request.tools:
        text = _templated(llama, _escaped(llama, request))
        return PromptText(text, text)
    texts = _texts(request)
    letters = _control_tokens_in(llama, texts)
    if not letters:
        text = _templated(llama, request)
        return PromptText(text, text)
    marks = dict(zip(letters, _unused_characters((*texts, llama.template)), strict=False))
    pattern = re.compile("|".join(map(re.escape, sorted(marks, key=len, reverse=True))))
    marked = with_texts(request, lambda text, _: pattern.sub(lambda found: marks[found[0]], text))
    return _unmarked(_templated(llama, marked), {mark: token for token, mark in marks.items()}, letters)


def _escaped(llama: Llama, request: Request) -> Request:
    """Return a request with a backslash in each of the model's control tokens that its texts hold."""
    letters = _control_tokens_in(llama, _texts(request))

    def escaped(text: str, _: bool) -> str:
        return llama.control_tokens.sub(
            lambda found: f"{found[0][:1]}\\{found[0][1:]}" if found[0] in letters else found[0], text
        )

    return with_texts(request, escaped) if letters else request


def _texts(request: Request) -> list[str]:
    """Return all texts of a request's messages, begun turn and tools."""
    texts: list[str] = []

    def seen(text: str, _: bool) -> str:
        texts.append(text)
        return text

    with_texts(request, seen)
    return texts


def answers_without_thoughts(request: Request) -> bool:
    """Tell whether the reply to a request is the answer, without thoughts before it."""
    return bool(request.begun or request.constrained) or request.think is False


def _control_tokens_in(llama: Llama, texts: Sequence[str]) -> dict[str, tuple[int, ...]]:
    """Return the control tokens in texts, each with the tokens of its letters."""
    found = {token for text in texts for token in llama.control_tokens.findall(text)}
    return {token: letters for token in sorted(found) if (letters := llama.letters(token))}


def _templated(llama: Llama, request: Request) -> str:
    messages = [openai_turn(turn) for turn in request.messages]
    text = llama.apply_template(messages, tool_fields(request.tools), **_template_options(request))
    if answers_without_thoughts(request) and text.rstrip().endswith(THINK_OPEN):
        text = f"{text.rstrip()}\n\n{THINK_CLOSE}\n\n"
    return text + request.begun


def _template_options(request: Request) -> dict[str, Any]:
    return {} if request.think is None else {"enable_thinking": bool(request.think)}


def _unused_characters(texts: Sequence[str]) -> Iterator[str]:
    """Yield private-use characters that no text holds."""
    used = set().union(*texts)
    return (chr(code) for code in PRIVATE if chr(code) not in used)


def _unmarked(text: str, tokens: Mapping[str, str], letters: Mapping[str, tuple[int, ...]]) -> PromptText:
    pieces = re.split(f"([{''.join(tokens)}])", text)
    # The first item is a text, even an empty one: llama.cpp puts the beginning of a sequence before it.
    sent: list[str | int] = [pieces[0]]
    for mark, piece in zip(pieces[1::2], pieces[2::2], strict=True):
        sent += letters[tokens[mark]]
        sent += [piece] if piece else []
    shown = "".join(tokens.get(piece, piece) for piece in pieces)
    return PromptText(shown, sent if len(sent) > 1 else shown)
