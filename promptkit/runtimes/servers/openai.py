"""The runtime of a model behind a server that speaks OpenAI's protocol: vLLM, llama-server, LM Studio, or a hosted one.

Capabilities beyond chat are probed once, because many servers silently ignore what they do not know.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, aclosing
from dataclasses import dataclass, field, replace
from time import perf_counter
from typing import Any, NoReturn

from promptkit.errors import (
    BadReply,
    ContextOverflow,
    ModelMissing,
    PromptkitError,
    RequestRefused,
    RuntimeFailure,
    ServerBusy,
    ServerFailed,
    Unsupported,
    nearest,
)
from promptkit.runtimes.answer_end import AnswerEnd
from promptkit.runtimes.api_keys import api_key_for
from promptkit.runtimes.base import (
    Adapter,
    Capability,
    Message,
    Model,
    OnText,
    Reply,
    Request,
    Runtime,
    ToolDefinition,
    sample_seed,
)
from promptkit.runtimes.function_calls import CallReader, openai_turn, tool_fields
from promptkit.runtimes.reply_reader import (
    ASCII_GRAMMAR,
    FAILED_FINISH_REASONS,
    MOST_TOKENS,
    ReplyReader,
    finite_number,
    protocol_errors,
)
from promptkit.runtimes.server_timings import openai_timings
from promptkit.runtimes.servers.http import (
    CHARACTER_LIMIT,
    DESCRIPTION_LIMIT,
    ERROR_LIMIT,
    VECTOR_LIMIT,
    Server,
    error_text,
)
from promptkit.runtimes.servers.llama_adapters import find_adapter
from promptkit.runtimes.servers.openai_events import called_functions, error_in, listed_tokens, split_content
from promptkit.runtimes.servers.probes import (
    LLAMA_SERVER,
    NO_DIALECT,
    PROBE_SECONDS,
    Ask,
    Dialect,
    Probes,
    cached_probe,
    calls_functions,
    takes_tools,
)
from promptkit.runtimes.servers.server_facts import ServerFacts, entries, entry_named, is_local, is_vllm
from promptkit.runtimes.servers.server_identity import UNSTABLE, identify
from promptkit.runtimes.servers.thought_switch import PROBE_THOUGHTS, Switch, find_switch, shows_marks, switch_fields
from promptkit.runtimes.thoughts import THINK_CLOSE, THINK_OPEN, ThoughtSplitter
from promptkit.storage.strict_json import json_bytes

DESCRIBE_SECONDS = 10.0
MODERN_LIMIT = "max_completion_tokens"
"""OpenAI's own name for the limit, which its reasoning models insist on."""
MOST_ALTERNATIVES = 20
MOST_SLOTS = 1000
UNKNOWN_SLOTS = 4
"""Requests worth having in flight where a server does not say how many it decodes together."""
UNREACHABLE = "is the server started, and is this its address?"
SERVED_NAMES = ("model", "system_fingerprint")
"""Fields of a reply that name the model that answers and its version."""


@dataclass(slots=True)
class _EventStream:
    """The events of one answer as they arrive."""

    reader: ReplyReader
    has_begun: bool = False
    rest: bytes = b""
    """The beginning of what came in place of events."""
    usage: Mapping[str, Any] = field(default_factory=dict)
    timings: Any = None
    """llama-server's timings, which come with the last event."""
    names_thoughts: bool = False
    """True once thoughts arrived in a field of their own."""
    served: dict[str, str] = field(default_factory=dict)
    """The first of each of SERVED_NAMES."""

    def take(self, part: Mapping[str, Any]) -> str:
        """Keep an event and return the text in it. Raises TypeError, ValueError or LookupError for anything else."""
        self.has_begun = True
        if (usage := part.get("usage")) is not None:
            if not isinstance(usage, dict):
                raise TypeError(usage)
            self.usage = usage
        self.timings = part.get("timings", self.timings)
        for name in SERVED_NAMES:
            if part.get(name):
                self.served.setdefault(name, str(part[name]))
        choices: list[Mapping[str, Any]] = part.get("choices") or []
        if not choices:
            return ""
        (choice,) = choices
        index = choice.get("index", 0)
        if type(index) is not int or index != 0:
            raise ValueError("one answer was asked for")
        if "message" in choice:
            raise ValueError("a whole answer in a stream")
        delta = choice.get("delta") or {}
        if delta.get("refusal"):
            raise self.reader.failed("refusal")
        text, thought = split_content(choice["text"] if "text" in choice else delta.get("content"))
        named = delta.get("reasoning_content") or delta.get("reasoning")
        self.names_thoughts = self.names_thoughts or bool(named)
        shown = self.reader.add(text, named or thought, listed_tokens(choice.get("logprobs") or {}))
        self.reader.add_calls(called_functions(delta))
        reason = choice.get("finish_reason")
        if reason not in (None, ""):  # some servers send an empty text before the end
            self.reader.end(reason)
        return shown

    def keep_rest(self, line: bytes) -> None:
        """Keep a line that is not an event, for the error where no event comes."""
        if not self.has_begun and len(self.rest) < ERROR_LIMIT:
            self.rest += line + b"\n"

    def reply(self, seconds: float, window: int | None) -> Reply:
        """Return the whole answer. Raises as `take`."""
        return self.reader.reply(
            window=window,
            tokens_in=self.usage.get("prompt_tokens"),
            tokens_out=self.usage.get("completion_tokens"),
            tokens_thought=(self.usage.get("completion_tokens_details") or {}).get("reasoning_tokens"),
            seconds=seconds,
            timings=openai_timings(self.usage, self.timings),
        )


class OpenAI(Runtime):
    """A model of the server at `base_url`, which ends in `/v1`. Its key comes from the environment only."""

    def __init__(
        self,
        name: str,
        *,
        base_url: str,
        key_env: str | None = None,
        notice: Callable[[str], None] | None = None,
    ) -> None:
        """`key_env` names the variable that holds the key; `notice` gets lines for a person.

        Raises InputError where `base_url` is not an address.
        """
        base_url = base_url.rstrip("/")
        self._name = name
        self._server = Server(
            base_url, key=api_key_for(base_url, key_env), explain=self._explain, unreachable=UNREACHABLE
        )
        self._root = base_url.removesuffix("/v1")
        self._reference = f"openai/{name}@{self._server.place}"
        self._describing = asyncio.Lock()
        self._model: Model | None = None
        self._notice = notice
        self._is_local = is_local(base_url)
        self._listed: list[Mapping[str, Any]] = []
        self._llama: Mapping[str, Any] | None = None
        self._dialect = NO_DIALECT
        self._adapters: dict[str, int] = {}  # llama-server's numbers of adapters, by digest
        self._limit_field = "max_tokens"
        self._switch: Switch | None = None
        self._names_thoughts = False
        self._opens_thoughts = False
        """True where the chat template begins the thoughts, whose first mark is then not in a reply."""
        self._served: list[dict[str, str]] = []

    async def model(self) -> Model:
        """Describe the model, after a probe of the server for capabilities beyond chat."""
        async with self._describing:
            if self._model is None:
                self._model = await self._describe()
            return self._model

    async def _describe(self) -> Model:
        self._listed = entries(await self._read("/models"))
        properties = await self._read(f"{self._root}/props")
        llama = isinstance(properties, dict) and "default_generation_settings" in properties
        self._llama = properties if llama else None
        capabilities = await self._capabilities()
        facts = await self._facts()
        context = self._context(facts)
        digest, note = await identify(
            self._reference,
            facts,
            name=self._name,
            context=context,
            served=self._served,
            is_local=self._is_local,
            capabilities=capabilities,
            ask=lambda request: self._send(request, NO_DIALECT),
            embed=self._vectors,
        )
        if note == UNSTABLE and self._notice:
            self._notice(f"{self._reference}: {note}")
        if "chat" in capabilities and await self._calls_functions(capabilities, digest):
            capabilities |= {"function_calls"}
        return Model(
            reference=self._reference,
            digest=digest,
            capabilities=capabilities,
            context=context,
            parallel=self._slots() or (1 if self._llama else UNKNOWN_SLOTS),
            slots=self._slots(),
            notes=(note,),
            obeys_control_tokens=True,
        )

    async def _facts(self) -> ServerFacts:
        """Return the facts that the server states. Call it after the probes, which make LM Studio load the model."""
        entry = entry_named(self._listed, self._name) or {}
        version: Any = None
        studio: Mapping[str, Any] | None = None
        if is_vllm(entry):
            stated = await self._read(f"{self._root}/version")
            version = stated.get("version") if isinstance(stated, dict) else None
        elif self._is_local and not self._llama:
            studio = entry_named(entries(await self._read(f"{self._root}/api/v0/models")), self._name)
        return ServerFacts(
            listed=self._listed,
            entry=entry,
            llama=self._llama,
            version=version if isinstance(version, str) else None,
            studio=studio,
        )

    async def _read(self, path: str) -> Any:
        """Return a part of the server's description of itself, or None: only chats must work.

        Raises ServerBusy: llama-server would be taken for another one while it loads its model.
        """
        try:
            return await self._server.get(path, within=DESCRIBE_SECONDS)
        except ServerBusy:
            raise
        except RuntimeFailure:
            return None

    def _context(self, facts: ServerFacts) -> int | None:
        with self._understood():
            if facts.llama:
                found = facts.llama["default_generation_settings"].get("n_ctx")
            elif facts.studio:
                found = facts.studio.get("loaded_context_length")
            else:
                found = facts.entry.get("max_model_len")
        return found if type(found) is int and 0 < found <= MOST_TOKENS else None

    def _slots(self) -> int | None:
        """Return the number of requests that the server decodes together, None where it does not say."""
        slots = self._llama.get("total_slots") if self._llama else None
        return slots if type(slots) is int and 0 < slots <= MOST_SLOTS else None

    async def _capabilities(self) -> frozenset[Capability]:
        probes = Probes(self._send, self._vectors)
        found = await probes.chats()
        if "chat" not in found:
            return found
        thinking = await self._thinking()
        found |= thinking
        if "thinks" in thinking and "think" not in thinking:
            found -= {"continue"}  # its thoughts would come after the begun answer
        if self._llama:
            self._dialect = LLAMA_SERVER
            return found | {"complete", "grammar", "schema", "logprobs", "tokenize", "template", "adapters"}
        if thinking:
            probes = Probes(self._probe_past_thoughts(thinking), self._vectors)
        self._dialect, enforced = await probes.dialect()
        return found | enforced | await probes.further()

    async def _calls_functions(self, capabilities: frozenset[Capability], digest: str) -> bool:
        """Tell whether the model calls tools. llama-server states what its chat template knows.

        A failure or refusal is no finding, and the next run probes again: a flag of the server may change it.
        """
        stated = (self._llama or {}).get("chat_template_caps")
        ask, probe = self._probe_past_thoughts(capabilities), calls_functions
        if isinstance(stated, dict):
            if not (stated.get("supports_tools") and stated.get("supports_tool_calls")):
                return False
            probe = takes_tools
        try:
            return bool(await cached_probe("function_calls", digest, lambda: probe(ask)))
        except (RuntimeFailure, Unsupported, TimeoutError):
            return False

    async def _thinking(self) -> frozenset[Capability]:
        """Return the capabilities of the model's thoughts.

        A server that names them, or counts them without showing them, holds answers alone to a schema.
        """
        are_hidden = False

        async def ask(request: Request, switch: Switch | None) -> Reply:
            nonlocal are_hidden
            self._switch = switch
            async with asyncio.timeout(PROBE_SECONDS):
                reply = await self._send(request, NO_DIALECT, keeps_marks=True)
            start, closed, _ = reply.text.partition(THINK_CLOSE)
            are_hidden = are_hidden or bool(reply.tokens_thought and not shows_marks(reply.text))
            self._opens_thoughts = self._opens_thoughts or bool(closed and not start.lstrip().startswith(THINK_OPEN))
            return reply

        template = str(self._llama.get("chat_template")) if self._llama else ""
        found, self._switch = await find_switch(ask, "template" if "enable_thinking" in template else None)
        names_or_hides = self._names_thoughts or are_hidden
        return found | {"after_thoughts"} if names_or_hides and not self._llama else found

    def _probe_past_thoughts(self, capabilities: frozenset[Capability]) -> Ask:
        """Return the sender of probes that ask for answers: without thoughts, or with room for them."""
        fields: dict[str, Any] = {"think": False} if "think" in capabilities else {}
        if "thinks" in capabilities and not fields:
            fields = {"thought_tokens": PROBE_THOUGHTS}
        return lambda request, dialect: self._send(replace(request, **fields), dialect)

    async def add_adapter(self, adapter: Adapter) -> None:
        """Find an adapter among those that llama-server was started with. Raises Unsupported where it is not there."""
        await super().add_adapter(adapter)
        listed = await self._server.get(f"{self._root}/lora-adapters", within=DESCRIBE_SECONDS)
        with self._understood():
            self._adapters[adapter.digest] = find_adapter(
                adapter.path, listed, server=self._server.place, quote=self._server.redactor.quote
            )

    async def answer(self, request: Request, on_text: OnText | None = None) -> Reply:
        """Answer a request by a stream: closing a stream's connection ends the generation on every server."""
        await self.model()
        try:
            return await self._send(request, self._dialect, on_text)
        except Unsupported:
            if not self._llama or request.max_tokens != 1:
                raise
        # Its only token ended within a character.
        whole = replace(request, grammar=ASCII_GRAMMAR, schema=None)
        return replace(await self._send(whole, self._dialect), text="")

    async def _send(
        self, request: Request, dialect: Dialect, on_text: OnText | None = None, *, keeps_marks: bool = False
    ) -> Reply:
        is_free = request.thought_tokens > 0 and not request.constrained
        splitter = ThoughtSplitter(off=keeps_marks or bool(request.begun), opened=self._opens_thoughts and is_free)
        try:
            return await self._streamed(request, dialect, on_text, splitter)
        except RequestRefused as refused:
            if self._limit_field == MODERN_LIMIT or MODERN_LIMIT not in refused.message:
                raise
            self._limit_field = MODERN_LIMIT
            return await self._streamed(request, dialect, on_text, splitter)

    async def _streamed(
        self, request: Request, dialect: Dialect, on_text: OnText | None, splitter: ThoughtSplitter
    ) -> Reply:
        path = "/chat/completions" if request.prompt is None else "/completions"
        reader = ReplyReader(
            self._name,
            limit=request.most_tokens,
            redactor=self._server.redactor,
            splitter=splitter,
            answer_end=AnswerEnd.of(request),
            calls=CallReader.of(request),
        )
        stream = _EventStream(reader)

        def take(line: bytes) -> str:
            name, _, data = line.partition(b":")
            if name not in (b"data", b"error"):
                stream.keep_rest(line)
                return ""
            if data.strip() == b"[DONE]":
                reader.closed = True
                return ""
            reader.check_open()
            part = self._server.parse(data)
            with self._understood():
                self._raise_error(reader, part if name == b"error" else error_in(part))
                return stream.take(part)

        started = perf_counter()
        async with aclosing(self._server.lines(path, self._body(request, dialect))) as lines:
            try:
                await reader.collect(lines, take, on_text)
            except BadReply:
                if stream.rest and not stream.has_begun:
                    self._raise_rest(reader, stream.rest)
                raise
        self._names_thoughts = self._names_thoughts or stream.names_thoughts
        with self._understood():
            reply = stream.reply(perf_counter() - started, self._model.context if self._model else None)
        self._note_served({name: self._server.redactor.clean(value) for name, value in stream.served.items()})
        if request.alternatives and (reply.text or reply.tokens_out) and not reader.has_logprobs:
            raise Unsupported(f"{self._reference} gives no log-probabilities")
        return reply

    def _note_served(self, served: dict[str, str]) -> None:
        """Keep the server's name of what answers; say once where it changes after the model was described."""
        if served in self._served:
            return
        if self._model is None:
            self._served.append(served)
        elif len(self._served) == 1 and self._notice:
            before, now = (" ".join(names.values()) or "nothing" for names in (*self._served, served))
            self._served.append(served)
            quote = self._server.redactor.quote
            self._notice(
                f"{self._reference} changed while it was asked: the server names `{quote(now)}` as what answers, and "
                f"`{quote(before)}` before; replies of this run come from both"
            )

    def _raise_error(self, reader: ReplyReader, error: Any) -> None:
        """Raise the error that a stream reports, if there is one. Some gateways give it an HTTP status."""
        if error is None:
            return
        code = error.get("code") if isinstance(error, dict) else None
        if isinstance(code, str) and code in FAILED_FINISH_REASONS:
            raise reader.failed(code)
        text = self._server.redactor.quote(error_text(error))
        explained = self._explain(400, text)
        if explained is None and type(code) is int and 400 <= code < 600:
            explained = self._server.refusal(code, {}, text)
        raise explained or ServerFailed(f"the server at {self._server.place} says: {text}")

    def _raise_rest(self, reader: ReplyReader, rest: bytes) -> NoReturn:
        """Raise the error for an answer that is not a stream, though one was asked for."""
        with self._understood():
            self._raise_error(reader, error_in(self._server.parse(rest)))
        raise BadReply(
            f"the server at {self._server.place} did not stream its answer",
            hint="promptkit needs a server that streams chat completions: is this address its API?",
        )

    def _understood(self) -> AbstractContextManager[None]:
        return protocol_errors(f"what answers at {self._server.place} does not speak OpenAI's protocol")

    def _body(self, request: Request, dialect: Dialect) -> dict[str, Any]:
        alternatives = request.alternatives if self._llama else min(request.alternatives, MOST_ALTERNATIVES)
        body: dict[str, Any] = {
            "model": self._name,
            "stream": True,
            "stream_options": {"include_usage": True},
            self._limit_field: request.most_tokens,
            "temperature": request.temperature,
            "top_p": request.top_p,
            "seed": sample_seed(request),
            "stop": None if request.thought_tokens else list(request.stop) or None,
            **switch_fields(self._switch, request.think),
        }
        if self._llama and request.thought_tokens:
            body["thinking_budget_tokens"] = request.thought_tokens
        # llama-server finds a dropped prompt by its tokens alone, whichever adapter read it.
        if self._llama and (self._adapters or not request.reuse_prefix):
            body["cache_prompt"] = False
        if self._adapters:
            applied = self._adapters[request.adapter.digest] if request.adapter else None
            body["lora"] = [{"id": id, "scale": float(id == applied)} for id in sorted(self._adapters.values())]
        if request.prompt is not None:
            body |= {"prompt": request.prompt + request.begun, "logprobs": alternatives or None}
        else:
            turns = (*request.messages, *((Message("assistant", request.begun),) if request.begun else ()))
            body["messages"] = [openai_turn(turn) for turn in turns]
            if alternatives:
                body |= {"logprobs": True, "top_logprobs": alternatives}
            if request.begun and not self._llama:
                # vLLM's names. llama-server continues a last assistant message by itself.
                body |= {"continue_final_message": True, "add_generation_prompt": False}
        if request.schema is not None:
            if self._llama and request.prompt is not None:
                body["json_schema"] = dict(request.schema)
            else:
                shape = {"name": "answer", "strict": True, "schema": dict(request.schema)}
                body["response_format"] = {"type": "json_schema", "json_schema": shape}
        if request.json_object:
            body["response_format"] = {"type": "json_object"}
        if request.tools:
            body |= {"tools": tool_fields(request.tools), "tool_choice": request.tool_choice}
            # Elsewhere parallel calls are the default, and some models refuse the field.
            body["parallel_tool_calls"] = True if self._llama else None
        body |= _dialect_fields(request, dialect)
        return {name: value for name, value in body.items() if value is not None}

    def _explain(self, status: int, text: str) -> PromptkitError | None:
        if status in (400, 413, 422) and "context" in text.lower():
            return ContextOverflow(f"the prompt does not fit the window of `{self._name}`: {text}")
        if status == 404 and "model" in text.lower():
            hint = nearest(self._name, [str(entry["id"]) for entry in self._listed])
            return ModelMissing(
                f"the server has no model `{self._name}`: {text}",
                hint=hint and self._server.redactor.quote(hint),
            )
        return None

    async def embed(self, texts: Sequence[str]) -> list[list[float]]:
        """Return a vector for each text. Raises Unsupported where the server gives none."""
        if "embeddings" not in (await self.model()).capabilities:
            raise Unsupported(f"{self._reference} gives no embeddings", hint="use an embedding model")
        return await self._vectors(texts)

    async def _vectors(self, texts: Sequence[str]) -> list[list[float]]:
        answer = await self._server.post(
            "/embeddings", {"model": self._name, "input": list(texts)}, limit=VECTOR_LIMIT * (len(texts) + 1)
        )
        with protocol_errors(f"the server at {self._server.place} gave no embeddings"):
            rows = sorted(answer["data"], key=lambda row: int(row["index"]))
            vectors = [[finite_number(number) for number in row["embedding"]] for row in rows]
        if len(vectors) != len(texts):
            raise BadReply(f"the server at {self._server.place} gave {len(vectors)} vectors for {len(texts)} texts")
        return vectors

    async def tokenize(self, text: str) -> tuple[bytes, ...] | None:
        """Return the text's tokens where the server is llama-server, else None."""
        if "tokenize" not in (await self.model()).capabilities:
            return None
        limit = DESCRIPTION_LIMIT + CHARACTER_LIMIT * len(text)
        answer = await self._server.post(f"{self._root}/tokenize", {"content": text, "with_pieces": True}, limit=limit)
        with self._understood():
            pieces = [token["piece"] for token in answer["tokens"]]
            clean = self._server.redactor.clean
            return tuple(clean(piece).encode() if isinstance(piece, str) else bytes(piece) for piece in pieces)

    async def template(
        self, messages: Sequence[Message], begun: str = "", tools: Sequence[ToolDefinition] = ()
    ) -> str | None:
        """Return the text that messages and tools become where the server is llama-server, else None."""
        if "template" not in (await self.model()).capabilities:
            return None
        turns = (*messages, *((Message("assistant", begun),) if begun else ()))
        body: dict[str, Any] = {"messages": [openai_turn(turn) for turn in turns]}
        if tools:
            body["tools"] = tool_fields(tools)
        limit = DESCRIPTION_LIMIT + CHARACTER_LIMIT * len(json_bytes(body))
        answer = await self._server.post(f"{self._root}/apply-template", body, limit=limit)
        with self._understood():
            return self._server.redactor.clean(str(answer["prompt"]))

    async def close(self) -> None:
        """Close the connections. Safe to call twice."""
        await self._server.close()


def _dialect_fields(request: Request, dialect: Dialect) -> dict[str, Any]:
    """Return the fields of a request's constraint in the server's dialect."""
    constraints: Mapping[Capability, Any] = {
        "grammar": request.grammar,
        "choice": list(request.choice) or None,
        "regex": request.regex,
    }
    fields: dict[str, Any] = {}
    for capability, value in constraints.items():
        if value is not None:
            for name in reversed(dialect.fields[capability]):
                value = {name: value}
            fields |= value
    return fields
