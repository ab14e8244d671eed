"""The runtime of a model behind a server that speaks OpenAI's protocol: vLLM, llama-server, LM Studio, or a hosted one.

Capabilities beyond chat are probed once, because many servers silently ignore what they do not know.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, aclosing
from dataclasses import dataclass, field, replace
from hashlib import sha256
from time import perf_counter
from typing import Any

from promptkit.errors import (
    BadReply,
    ContextOverflow,
    ModelMissing,
    PromptkitError,
    RequestRefused,
    RuntimeFailure,
    ServerFailed,
    Unsupported,
    nearest,
)
from promptkit.runtimes.answer_end import AnswerEnd
from promptkit.runtimes.api_keys import api_key_for
from promptkit.runtimes.base import Capability, Message, Model, OnText, Reply, Request, Runtime, sample_seed
from promptkit.runtimes.http import CHARACTER_LIMIT, DESCRIPTION_LIMIT, VECTOR_LIMIT, Server, error_text
from promptkit.runtimes.probes import GRAMMAR_FIELDS, PROBE_SECONDS, Ask, GrammarField, Probes
from promptkit.runtimes.reply_reader import (
    MOST_TOKENS,
    THINK_CLOSE,
    THINK_OPEN,
    ReplyReader,
    ThoughtSplitter,
    finite_number,
    protocol_errors,
)
from promptkit.runtimes.thought_switch import PROBE_THOUGHTS, Switch, find_switch, switch_fields

DESCRIBE_SECONDS = 10.0
MODERN_LIMIT = "max_completion_tokens"
"""OpenAI's own name for the limit, which its reasoning models insist on."""
MOST_ALTERNATIVES = 20
MOST_SLOTS = 1000
OF_THOUGHTS: frozenset[Capability] = frozenset({"think", "thinks", "after_thoughts"})
"""Capabilities that are not in the digest: what they change stands in the request."""
UNREACHABLE = "is the server started, and is this its address?"
WITHHELD = {"refusal": "refusal", "tool_calls": "tool_calls", "function_call": "function_call"}
"""Fields of a message that take the place of an answer, and the finish reasons that they mean."""


@dataclass(slots=True)
class _EventStream:
    """The events of one answer as they arrive."""

    reader: ReplyReader
    usage: Mapping[str, Any] = field(default_factory=dict)
    names_thoughts: bool = False
    """True once thoughts arrived in a field of their own."""

    def take(self, part: Mapping[str, Any]) -> str:
        """Keep an event and return the text in it. Raises TypeError, ValueError or LookupError for anything else."""
        if (usage := part.get("usage")) is not None:
            if not isinstance(usage, dict):
                raise TypeError(usage)
            self.usage = usage
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
        for withheld, meaning in WITHHELD.items():
            if delta.get(withheld):
                raise self.reader.failed(meaning)
        thought = delta.get("reasoning_content") or delta.get("reasoning")
        self.names_thoughts = self.names_thoughts or bool(thought)
        shown = self.reader.add(
            choice["text"] if "text" in choice else delta.get("content"),
            thought,
            (choice.get("logprobs") or {}).get("content"),
        )
        reason = choice.get("finish_reason")
        if reason not in (None, ""):  # some servers send an empty text before the end
            self.reader.end(reason)
        return shown

    def reply(self, seconds: float) -> Reply:
        """Return the whole answer. Raises as `take`."""
        return self.reader.reply(
            tokens_in=self.usage.get("prompt_tokens"),
            tokens_out=self.usage.get("completion_tokens"),
            tokens_thought=(self.usage.get("completion_tokens_details") or {}).get("reasoning_tokens"),
            seconds=seconds,
        )


class OpenAI(Runtime):
    """A model of the server at `base_url`, which ends in `/v1`. Its key comes from the environment only."""

    def __init__(self, name: str, *, base_url: str, key_env: str | None = None) -> None:
        """`key_env` names the variable that holds the key. Raises InputError where `base_url` is not an address."""
        base_url = base_url.rstrip("/")
        self._name = name
        self._server = Server(
            base_url, key=api_key_for(base_url, key_env), explain=self._explain, unreachable=UNREACHABLE
        )
        self._root = base_url.removesuffix("/v1")
        self._reference = f"openai/{name}@{self._server.place}"
        self._describing = asyncio.Lock()
        self._model: Model | None = None
        self._listed: list[Mapping[str, Any]] = []
        self._llama: Mapping[str, Any] | None = None
        self._grammar_field: GrammarField = ()
        self._limit_field = "max_tokens"
        self._switch: Switch | None = None
        self._names_thoughts = False
        self._opens_thoughts = False
        """True where the chat template begins the thoughts, whose first mark is then not in a reply."""

    async def model(self) -> Model:
        """Describe the model, after a probe of the server for capabilities beyond chat."""
        async with self._describing:
            if self._model is None:
                self._model = await self._describe()
            return self._model

    async def _describe(self) -> Model:
        listed = await self._read("/models")
        entries = listed.get("data") if isinstance(listed, dict) else None
        entries = entries if isinstance(entries, list) else []
        self._listed = [entry for entry in entries if isinstance(entry, dict) and "id" in entry]
        entry_of_model: Mapping[str, Any] = next((entry for entry in self._listed if entry["id"] == self._name), {})
        properties = await self._read(f"{self._root}/props")
        llama = isinstance(properties, dict) and "default_generation_settings" in properties
        self._llama = properties if llama else None
        capabilities = await self._capabilities()
        kept = {name: entry_of_model[name] for name in entry_of_model.keys() - {"created", "permission"}}
        if self._llama:
            meta = [entry.get("meta") for entry in self._listed]
            kept |= {"meta": meta} | {name: self._llama.get(name) for name in ("build_info", "chat_template")}
        described = json.dumps([self._reference, kept, sorted(capabilities - OF_THOUGHTS)], sort_keys=True)
        return Model(
            reference=self._reference,
            digest=sha256(described.encode()).hexdigest(),
            capabilities=capabilities,
            context=self._context(entry_of_model),
            parallel=self._slots(),
            obeys_control_tokens=True,
        )

    async def _read(self, path: str) -> Any:
        """Return a part of the server's description of itself, or None: only chats must work."""
        try:
            return await self._server.get(path, within=DESCRIBE_SECONDS)
        except RuntimeFailure:
            return None

    def _context(self, entry: Mapping[str, Any]) -> int | None:
        with self._understood():
            found = (
                self._llama["default_generation_settings"].get("n_ctx") if self._llama else entry.get("max_model_len")
            )
        return found if type(found) is int and 0 < found <= MOST_TOKENS else None

    def _slots(self) -> int:
        """Return how many requests are worth having in flight."""
        slots = self._llama.get("total_slots") if self._llama else 4
        return slots if type(slots) is int and 0 < slots <= MOST_SLOTS else 1

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
            self._grammar_field = GRAMMAR_FIELDS[0]
            return found | {"complete", "grammar", "schema", "logprobs", "tokenize", "template"}
        if thinking:
            probes = Probes(self._probe_past_thoughts(thinking), self._vectors)
        found |= await probes.further()
        self._grammar_field = await probes.grammar_field()
        return found | {"grammar"} if self._grammar_field else found

    async def _thinking(self) -> frozenset[Capability]:
        """Return the capabilities of the model's thoughts. A server that names them holds answers alone to a schema."""

        async def ask(request: Request, switch: Switch | None) -> Reply:
            self._switch = switch
            async with asyncio.timeout(PROBE_SECONDS):
                reply = await self._send(request, (), keeps_marks=True)
            start, closed, _ = reply.text.partition(THINK_CLOSE)
            self._opens_thoughts = self._opens_thoughts or bool(closed and not start.lstrip().startswith(THINK_OPEN))
            return reply

        template = str(self._llama.get("chat_template")) if self._llama else ""
        found, self._switch = await find_switch(ask, "template" if "enable_thinking" in template else None)
        return found | {"after_thoughts"} if self._names_thoughts and not self._llama else found

    def _probe_past_thoughts(self, thinking: frozenset[Capability]) -> Ask:
        """Return how to ask for answers in probes: without thoughts, or with room for them."""
        fields = {"think": False} if "think" in thinking else {"thought_tokens": PROBE_THOUGHTS}
        return lambda request, field: self._send(replace(request, **fields), field)

    async def answer(self, request: Request, on_text: OnText | None = None) -> Reply:
        """Answer a request by a stream: closing a stream's connection ends the generation on every server."""
        await self.model()
        return await self._send(request, self._grammar_field, on_text)

    async def _send(
        self,
        request: Request,
        grammar_field: GrammarField,
        on_text: OnText | None = None,
        *,
        keeps_marks: bool = False,
    ) -> Reply:
        is_free = request.thought_tokens > 0 and request.grammar is None and request.schema is None
        splitter = ThoughtSplitter(off=keeps_marks or bool(request.begun), opened=self._opens_thoughts and is_free)
        try:
            return await self._streamed(request, grammar_field, on_text, splitter)
        except RequestRefused as refused:
            if self._limit_field == MODERN_LIMIT or MODERN_LIMIT not in refused.message:
                raise
            self._limit_field = MODERN_LIMIT
            return await self._streamed(request, grammar_field, on_text, splitter)

    async def _streamed(
        self, request: Request, grammar_field: GrammarField, on_text: OnText | None, splitter: ThoughtSplitter
    ) -> Reply:
        path = "/chat/completions" if request.prompt is None else "/completions"
        reader = ReplyReader(
            self._name,
            limit=request.most_tokens,
            redactor=self._server.redactor,
            splitter=splitter,
            answer_end=AnswerEnd.of(request),
        )
        stream = _EventStream(reader)

        def take(line: bytes) -> str:
            name, _, data = line.partition(b":")
            if name not in (b"data", b"error"):
                return ""
            if data.strip() == b"[DONE]":
                reader.closed = True
                return ""
            reader.check_open()
            part = self._server.parse(data)
            with self._understood():
                self._raise_error(part if name == b"error" else part.get("error"))
                return stream.take(part)

        started = perf_counter()
        async with aclosing(self._server.lines(path, self._body(request, grammar_field))) as lines:
            await reader.collect(lines, take, on_text)
        self._names_thoughts = self._names_thoughts or stream.names_thoughts
        with self._understood():
            reply = stream.reply(perf_counter() - started)
        if request.alternatives and reply.tokens_out and not reader.has_logprobs:
            raise Unsupported(f"{self._reference} gives no log-probabilities")
        return reply

    def _raise_error(self, error: Any) -> None:
        if error is not None:
            text = self._server.redactor.quote(error_text(error))
            raise self._explain(400, text) or ServerFailed(f"the server at {self._server.place} says: {text}")

    def _understood(self) -> AbstractContextManager[None]:
        return protocol_errors(f"what answers at {self._server.place} does not speak OpenAI's protocol")

    def _body(self, request: Request, grammar_field: GrammarField) -> dict[str, Any]:
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
        if request.prompt is not None:
            body |= {"prompt": request.prompt + request.begun, "logprobs": alternatives or None}
        else:
            turns = (*request.messages, *((Message("assistant", request.begun),) if request.begun else ()))
            body["messages"] = [{"role": turn.role, "content": turn.content} for turn in turns]
            if alternatives:
                body |= {"logprobs": True, "top_logprobs": alternatives}
            if request.begun and not self._llama:
                # vLLM's names. llama-server continues a last assistant message by itself.
                body |= {"continue_final_message": True, "add_generation_prompt": False}
        if request.schema is not None:
            shape = {"name": "answer", "schema": dict(request.schema)}
            body["response_format"] = {"type": "json_schema", "json_schema": shape}
            if self._llama and request.prompt is not None:
                body["json_schema"] = body.pop("response_format")["json_schema"]["schema"]
        if request.grammar is not None:
            value: Any = request.grammar
            for name in reversed(grammar_field):
                value = {name: value}
            body |= value
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

    async def template(self, messages: Sequence[Message], begun: str = "") -> str | None:
        """Return the text that the messages become where the server is llama-server, else None."""
        if "template" not in (await self.model()).capabilities:
            return None
        turns = (*messages, *((Message("assistant", begun),) if begun else ()))
        body = {"messages": [{"role": turn.role, "content": turn.content} for turn in turns]}
        limit = DESCRIPTION_LIMIT + CHARACTER_LIMIT * sum(len(turn.content) for turn in turns)
        answer = await self._server.post(f"{self._root}/apply-template", body, limit=limit)
        with self._understood():
            return self._server.redactor.clean(str(answer["prompt"]))

    async def close(self) -> None:
        """Close the connections. Safe to call twice."""
        await self._server.close()
