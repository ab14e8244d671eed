"""The runtime of a model on an Ollama server.

It speaks plain HTTP: the official client cannot send `truncate` and `shift`, without which Ollama silently cuts a
prompt that is too long, and it trusts every reply.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, aclosing, suppress
from dataclasses import replace
from time import perf_counter
from typing import Any

from promptkit.errors import BadReply, ContextOverflow, RequestRefused, RuntimeFailure, ServerFailed, Unsupported
from promptkit.runtimes.answer_end import AnswerEnd
from promptkit.runtimes.base import (
    Adapter,
    Capability,
    Memory,
    Message,
    Model,
    OnText,
    Reply,
    Request,
    Runtime,
    ToolDefinition,
    resuming_listeners,
    sample_seed,
)
from promptkit.runtimes.function_calls import CallReader, ollama_turn, tool_fields
from promptkit.runtimes.reply_reader import ReplyReader, finite_number, number_between, protocol_errors
from promptkit.runtimes.server_timings import NANOSECONDS, ollama_timings
from promptkit.runtimes.servers.context_window import ContextWindow
from promptkit.runtimes.servers.http import VECTOR_LIMIT, Server
from promptkit.runtimes.servers.ollama_server import (
    RunnerStopped,
    describe_model,
    listed_models,
    loaded_models,
    missing_model,
    open_server,
    server_version,
    stream_error,
    tagged_name,
    version_at_least,
)
from promptkit.runtimes.servers.ollama_slots import slots
from promptkit.runtimes.servers.probes import BEGUN_TURN, cached_probe, continues_turns
from promptkit.runtimes.thoughts import ThoughtSplitter
from promptkit.storage.strict_json import json_bytes

MOST_ALTERNATIVES = 20
NOT_IN_DIGEST: frozenset[Capability] = frozenset({"thinks", "after_thoughts", "function_calls"})
"""Capabilities that follow from the weights and the server's version, and so are not in a digest."""
REFUSES_OVERFLOW = (0, 12, 4)
EFFORTS: Mapping[str, str] = {"minimal": "low", "xhigh": "max"}
"""Efforts in Ollama's words where these differ."""
MOST_LOADING = 10**16
"""The largest loading time that is believed, in nanoseconds: 116 days."""


class Ollama(Runtime):
    """A model of an Ollama server at `host`, which is written as OLLAMA_HOST and overrides it.

    `context` fixes the window; without it the window follows the prompts' length, and `notice` gets a line where it
    grows. `keep_alive` is in seconds, or a duration with its unit.

    A chat with a begun turn or a schema is rendered by the server and sent as raw text, where that works. Ollama
    continues a begun turn and keeps to a schema from the first token only there: some templates close the turn, and
    chats through llama-server's own template sort a schema's properties and may put a fence around the answer.
    """

    def __init__(
        self,
        name: str,
        *,
        host: str | None = None,
        context: int | None = None,
        keep_alive: str | float | None = None,
        notice: Callable[[str], None] | None = None,
    ) -> None:
        self._name = name
        self._context = context
        self._keep_alive = _duration(keep_alive)
        self._server: Server = open_server(host)
        self._notice = notice
        self._describing = asyncio.Lock()
        self._loading = asyncio.Lock()
        self._loaded: int | None = None
        self._model: Model | None = None
        self._version = ""
        self._window = ContextWindow(None)
        self._stopped_runner: set[str] = set()

    async def model(self) -> Model:
        """Describe the model, after a probe whether it continues a begun turn."""
        async with self._describing:
            if self._model is None:
                self._model = await self._describe()
            return self._model

    async def _describe(self) -> Model:
        full_name = tagged_name(self._name)
        listed = next((model for model in await listed_models(self._server) if model.name == full_name), None)
        if listed is None:
            raise missing_model(self._name)
        self._version = await server_version(self._server)
        model = await describe_model(self._server, listed, self._version)
        self._window = ContextWindow(model.context)
        capabilities = model.capabilities
        parallel, found = 2, None
        if "chat" in capabilities:
            served = f"{model.digest} {self._version}"
            if await cached_probe("templates", served, self._renders):
                capabilities |= {"template"}
            goes_raw = "template" in capabilities and "think" not in capabilities
            if goes_raw or await cached_probe("continues", served, lambda: continues_turns(self._count)):
                capabilities |= {"continue"}
            # One request more than there are slots, so that the server need not wait for the next one.
            found = await slots(self._server, self._name, served, {"num_ctx": self._first_window})
            parallel = 1 + found
        return Model(
            reference=f"ollama/{self._name}",
            digest=f"{model.digest} ollama {self._version} {' '.join(sorted(capabilities - NOT_IN_DIGEST))}",
            capabilities=capabilities,
            context=model.context,
            size=model.size,
            parallel=parallel,
            slots=found,
            obeys_control_tokens=True,
        )

    @property
    def _first_window(self) -> int:
        return self._context or self._window.tokens

    async def _renders(self) -> bool:
        """Tell whether the server shows what messages become, and the raw text is read as the messages are."""
        messages = BEGUN_TURN[:1]
        try:
            text = await self._rendered(messages, self._first_window, frozenset())
            return text is not None and await self._count(messages) == await self._count_of(Request(prompt=text))
        except (RequestRefused, ServerFailed, Unsupported, BadReply):
            return False

    async def _count(self, messages: Sequence[Message]) -> int | None:
        """Return the number of tokens that the messages become."""
        return await self._count_of(Request(messages=tuple(messages)))

    async def _count_of(self, request: Request) -> int | None:
        request = replace(request, max_tokens=1)
        return (await self._collect(self._body(request, frozenset(), self._first_window), request, None)).tokens_in

    async def template(
        self, messages: Sequence[Message], begun: str = "", tools: Sequence[ToolDefinition] = ()
    ) -> str | None:
        """Return the text that messages and tools become, or None where the server does not show it."""
        capabilities = (await self.model()).capabilities
        if "template" not in capabilities:
            return None
        text = await self._rendered(messages, self._first_window, capabilities, tools)
        return None if text is None else text + begun

    async def _rendered(
        self,
        messages: Sequence[Message],
        window: int,
        capabilities: frozenset[Capability],
        tools: Sequence[ToolDefinition] = (),
    ) -> str | None:
        """Return the text that Ollama makes of messages and tools, None for a server before 0.11.5."""
        thought_tokens = int("thinks" in capabilities)  # the template of a model that thinks, as it does unasked
        request = Request(messages=tuple(messages), max_tokens=1, thought_tokens=thought_tokens, tools=tuple(tools))
        body = self._body(request, capabilities, window)
        async with aclosing(self._server.lines("/api/chat", {**body, "_debug_render_only": True})) as lines:
            first = self._part(await anext(lines, b"{}"))
        with self._understood():
            text = (first.get("_debug_info") or {}).get("rendered_template")
        return text if isinstance(text, str) else None

    async def add_adapter(self, adapter: Adapter) -> None:
        """Raise Unsupported: in Ollama an adapter is part of a model."""
        raise Unsupported(
            f"Ollama takes no adapter by request, so ollama/{self._name} cannot answer with {adapter.path.name}",
            hint="promptkit export ollama TARGET --name NAME makes a model with the adapter merged",
        )

    async def answer(self, request: Request, on_text: OnText | None = None) -> Reply:
        """Answer a request. A prompt that does not fit the window is sent again with a larger one."""
        model = await self.model()
        if request.grammar or request.choice or request.regex:
            raise Unsupported("Ollama enforces a JSON Schema, but not a grammar")
        size = _prompt_bytes(request)
        listen = resuming_listeners(on_text)
        fixed = request.context or self._context
        while True:
            window = fixed or self._window.fit(size, request.most_tokens)
            try:
                if not version_at_least(self._version, REFUSES_OVERFLOW) and self._window.outgrown(size, window):
                    raise ContextOverflow("the prompt is longer, and this old Ollama would cut it silently")
                body = await self._loaded_body(request, model.capabilities, window, chosen=not fixed)
                reply = await self._collect(body, request, listen())
                self._check_whole(reply, request, size, window, fixed=bool(fixed))
            except ContextOverflow as overflow:
                if fixed or not self._window.grow():
                    raise _overflow_error(overflow, self._name, window, fixed=bool(fixed)) from None
            except RunnerStopped as error:
                # A request that stops the runner twice would stop it every time.
                error.retry = repr(request) not in self._stopped_runner
                self._stopped_runner.add(repr(request))
                raise
            else:
                return replace(reply, context=window)

    async def _loaded_body(
        self, request: Request, capabilities: frozenset[Capability], window: int, *, chosen: bool
    ) -> dict[str, Any]:
        """Return the body to send for a request, once the model is loaded with this window."""
        await self._load(window, chosen=chosen)
        constrained = bool(request.begun) or request.schema is not None
        if request.prompt is None and constrained and "template" in capabilities and "think" not in capabilities:
            text = await self._rendered(request.messages, window, capabilities)
            request = request if text is None else replace(request, messages=(), prompt=text)
        return self._body(request, capabilities, window)

    async def _load(self, window: int, *, chosen: bool) -> None:
        """Load the model before the first request with a window, so that no reply's time includes it.

        A failure is the request's to raise.
        """
        async with self._loading:
            if self._loaded == window:
                return
            if chosen and self._notice and window > ContextWindow(self._window.limit).tokens:
                self._notice(f"ollama/{self._name}: context window of {window} tokens, for the length of the prompts")
            body = {"model": self._name, "stream": False, "shift": False, "options": {"num_ctx": window}}
            with suppress(RuntimeFailure):
                await self._server.post("/api/generate", self._kept_alive(body))
            self._loaded = window

    def _body(self, request: Request, capabilities: frozenset[Capability], window: int) -> dict[str, Any]:
        options = {
            "num_ctx": window,
            "temperature": request.temperature,
            "num_predict": request.most_tokens,
            "stop": None if request.thought_tokens else list(request.stop) or None,
            "seed": sample_seed(request),
            "top_p": request.top_p,
        }
        body: dict[str, Any] = {
            "model": self._name,
            "stream": True,
            "truncate": False,
            "shift": False,
            "options": {name: value for name, value in options.items() if value is not None},
        }
        if request.prompt is not None:
            body |= {"prompt": request.prompt + request.begun, "raw": True}
        else:
            begun = (Message("assistant", request.begun),) if request.begun else ()
            turns = (*request.messages, *begun)
            body["messages"] = [ollama_turn(turn) for turn in turns]
        if request.tools:
            body["tools"] = tool_fields(request.tools)
        if request.schema is not None or request.json_object:
            body["format"] = "json" if request.schema is None else dict(request.schema)
        if request.alternatives:
            body |= {"logprobs": True, "top_logprobs": min(request.alternatives, MOST_ALTERNATIVES)}
        if "think" in capabilities or request.think:
            # A reasoning model thinks where nothing is said.
            body["think"] = _think(request)
        return self._kept_alive(body)

    def _kept_alive(self, body: dict[str, Any]) -> dict[str, Any]:
        return body if self._keep_alive is None else {**body, "keep_alive": self._keep_alive}

    async def _collect(self, body: Mapping[str, Any], request: Request, on_text: OnText | None) -> Reply:
        path = "/api/chat" if "messages" in body else "/api/generate"
        reader = ReplyReader(
            self._name,
            limit=request.most_tokens,
            redactor=self._server.redactor,
            splitter=ThoughtSplitter(off=bool(request.begun)),
            answer_end=AnswerEnd.of(request),
            calls=CallReader.of(request),
        )
        last: Mapping[str, Any] = {}

        def take(line: bytes) -> str:
            nonlocal last
            with self._understood():
                last = self._part(line)
                reader.check_open()
                return _add_part(last, reader)

        started = perf_counter()
        async with aclosing(self._server.lines(path, body)) as lines:
            try:
                await reader.collect(lines, take, on_text)
            except BadReply as error:
                if error.retry:
                    error.hint, error.retry = "it may repeat one token for ever", False
                raise
        if request.alternatives and last.get("eval_count") and not reader.has_logprobs:
            raise Unsupported("this Ollama gives no log-probabilities", hint="Ollama 0.12.11 and later do")
        with self._understood():
            loading = number_between(last.get("load_duration") or 0, 0, MOST_LOADING) / NANOSECONDS
            return reader.reply(
                tokens_in=last.get("prompt_eval_count"),
                tokens_out=last.get("eval_count"),
                # Ollama does not count thoughts; it sends a part for each token, or for a few.
                tokens_thought=None,
                seconds=max(0.0, perf_counter() - started - loading),
                timings=ollama_timings(last),
            )

    def _part(self, line: bytes) -> Mapping[str, Any]:
        part: Mapping[str, Any] = self._server.parse(line)
        if part.get("error") is not None:
            raise stream_error(self._server, part["error"])
        return part

    def _understood(self) -> AbstractContextManager[None]:
        return protocol_errors(f"what answers at {self._server.place} is not an Ollama server")

    def _check_whole(self, reply: Reply, request: Request, size: int, window: int, *, fixed: bool) -> None:
        """Raise ContextOverflow where the prompt was cut, or the window ended the answer before `max_tokens`.

        Thoughts that fill the largest window are a reply that was cut.
        """
        count = reply.tokens_in
        if not count:
            return
        if self._window.was_cut(size, count, window):
            raise ContextOverflow(f"Ollama cut the prompt to {count} tokens silently")
        out = reply.tokens_out or 0
        is_full = reply.finish == "length" and out < request.most_tokens and count + out >= window - 1
        if is_full and not (request.thought_tokens and (fixed or self._window.is_largest)):
            raise ContextOverflow(f"the window ended the answer after {out} of {request.most_tokens} tokens")
        self._window.learn(size, count)

    async def embed(self, texts: Sequence[str]) -> list[list[float]]:
        """Return a unit vector for each text. Raises ContextOverflow for one that is too long."""
        if "embeddings" not in (await self.model()).capabilities:
            raise Unsupported(f"`{self._name}` gives no embeddings", hint="use an embedding model")
        body = {"model": self._name, "input": list(texts), "truncate": False}
        answer = await self._server.post("/api/embed", body, limit=VECTOR_LIMIT * (len(texts) + 1))
        with protocol_errors(f"`{self._name}` gave no vectors of numbers"):
            vectors = [[finite_number(number) for number in vector] for vector in answer["embeddings"]]
        if len(vectors) != len(texts):
            raise BadReply(f"`{self._name}` gave {len(vectors)} vectors for {len(texts)} texts")
        return vectors

    async def memory(self) -> Memory | None:
        """Return the memory of the loaded model as Ollama counts it, None where it does not answer."""
        try:
            loaded = (await loaded_models(self._server)).get(tagged_name(self._name))
        except RuntimeFailure:
            return None
        if loaded is None or loaded.size is None:
            return None
        return Memory(loaded.size, "as Ollama counts it", loaded.gpu)

    async def close(self) -> None:
        """Close the connections. Safe to call twice."""
        await self._server.close()


def _add_part(part: Mapping[str, Any], reader: ReplyReader) -> str:
    """Add a part of an answer to its reader and return the text in it. Raises as `ReplyReader` does."""
    message = part.get("message", part)
    text = message.get("content" if "message" in part else "response")
    shown = reader.add(text, message.get("thinking"), part.get("logprobs"))
    reader.add_calls(message.get("tool_calls"))
    done = part.get("done", False)
    if type(done) is not bool:
        raise TypeError(done)
    if done:
        reason = part.get("done_reason")
        reader.end("stop" if reason is None else reason)  # servers before 0.1.40 give none
        reader.closed = True
    return shown


def _duration(keep_alive: str | float | None) -> str | float | None:
    """Return `keep_alive` for Ollama, which refuses a number in a text because it has no unit."""
    if isinstance(keep_alive, str) and re.fullmatch(r"-?\d+(\.\d+)?", keep_alive.strip()):
        return float(keep_alive)
    return keep_alive


def _think(request: Request) -> bool | str:
    if isinstance(request.think, str):
        return EFFORTS.get(request.think, request.think)
    return request.thought_tokens > 0 if request.think is None else request.think


def _prompt_bytes(request: Request) -> int:
    """Return the bytes of a prompt's text, with those of calls and definitions of tools."""
    texts = [turn.content for turn in request.messages] if request.prompt is None else [request.prompt]
    calls = [call.name + call.arguments for turn in request.messages for call in turn.calls]
    tools = json_bytes(tool_fields(request.tools)) if request.tools else b""
    return len(tools) + sum(len(text.encode(errors="replace")) for text in (*texts, *calls, request.begun))


def _overflow_error(overflow: ContextOverflow, name: str, window: int, *, fixed: bool) -> ContextOverflow:
    hint = "raise `context`, or leave it out" if fixed else "shorten the prompt, or take a model with a larger window"
    return ContextOverflow(f"`{name}` with a window of {window} tokens: {overflow.message}", hint=hint)
