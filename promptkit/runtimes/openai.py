"""A model behind any server that speaks OpenAI's protocol: vLLM, llama-server, LM Studio, or a hosted one.

What such a server can do beyond chat is found out once, by asking: many ignore in silence what they do not know.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from hashlib import sha256
from time import perf_counter
from typing import Any

from promptkit.errors import (
    BadReply,
    ContextOverflow,
    ModelMissing,
    PromptkitError,
    RequestRefused,
    ServerFailed,
    Unsupported,
    nearest,
)
from promptkit.runtimes.base import Capability, Message, Model, OnText, Reply, Request, Token
from promptkit.runtimes.http import Server, parse
from promptkit.runtimes.keys import key_for
from promptkit.runtimes.logprobs import read_token
from promptkit.runtimes.seeds import sample_seed
from promptkit.runtimes.thoughts import ThoughtSplitter
from promptkit.runtimes.turns import continues

DESCRIBE_SECONDS = 10.0
PROBE_SECONDS = 60.0
MOST_ALTERNATIVES = 20
WORD = "zebra"
GREETING = (Message("user", "Say hello."),)
GRAMMAR = f'root ::= "{WORD}"'
SCHEMA = {
    "type": "object",
    "properties": {WORD: {"type": "boolean"}},
    "required": [WORD],
    "additionalProperties": False,
}
GRAMMAR_FIELDS: tuple[tuple[str, ...], ...] = (("grammar",), ("structured_outputs", "grammar"), ("guided_grammar",))
"""Where servers look for a grammar: llama-server, vLLM, and vLLM before 0.12."""


@dataclass(slots=True)
class _Stream:
    """What has arrived of one answer."""

    splitter: ThoughtSplitter
    thoughts: list[str] = field(default_factory=list)
    tokens: list[Token] = field(default_factory=list)
    thought_parts: int = 0
    finish: str | None = None
    usage: Mapping[str, Any] = field(default_factory=dict)

    def take(self, part: Mapping[str, Any]) -> str:
        """Keep a part of the answer and return the text in it. Raises TypeError and the like for what is none."""
        self.usage = part.get("usage") or self.usage
        visible = ""
        for choice in (part.get("choices") or ())[:1]:
            said = choice.get("delta") or {}
            thought = said.get("reasoning_content") or said.get("reasoning") or ""
            self.thoughts.append(thought)
            visible = self.splitter.feed(choice.get("text") or said.get("content") or "")
            if thought or self.splitter.thinking:
                self.thought_parts += 1
            else:
                listed = (choice.get("logprobs") or {}).get("content") or ()
                self.tokens.extend(read_token(each) for each in listed)
            self.finish = choice.get("finish_reason") or self.finish
        return visible


class OpenAI:
    """A `Runtime` over `base_url` (it ends in `/v1`). The key comes from the environment only (`keys.key_for`)."""

    def __init__(self, name: str, *, base_url: str, key_env: str | None = None) -> None:
        """`key_env` names the variable that holds the key. Raises InputError where `base_url` is no address."""
        base_url = base_url.rstrip("/")
        self._name = name
        self._server = Server(base_url, key=key_for(base_url, key_env), explain=self._explain)
        self._root = base_url.removesuffix("/v1")
        self._reference = f"openai/{name}@{self._server.place}"
        self._describing = asyncio.Lock()
        self._model: Model | None = None
        self._listed: list[Mapping[str, Any]] = []
        self._llama: Mapping[str, Any] | None = None
        self._grammar_field: tuple[str, ...] = ()

    async def model(self) -> Model:
        """Describe the model: which server it is, and what it answers when it is asked for more than chat."""
        async with self._describing:
            if self._model is None:
                self._model = await self._describe()
            return self._model

    async def _describe(self) -> Model:
        listed = await self._read("/models")
        entries = listed.get("data") if isinstance(listed, dict) else None
        self._listed = [entry for entry in entries or () if isinstance(entry, dict) and "id" in entry]
        own: Mapping[str, Any] = next((entry for entry in self._listed if entry["id"] == self._name), {})
        properties = await self._read(f"{self._root}/props")
        llama = isinstance(properties, dict) and "default_generation_settings" in properties
        self._llama = properties if llama else None
        capabilities = await self._probe()
        kept = {name: own[name] for name in own.keys() - {"created", "permission"}}
        if self._llama:
            meta = [entry.get("meta") for entry in self._listed]
            kept |= {"meta": meta} | {name: self._llama.get(name) for name in ("build_info", "chat_template")}
        described = json.dumps([self._reference, kept, sorted(capabilities)], sort_keys=True)
        return Model(
            reference=self._reference,
            digest=sha256(described.encode()).hexdigest(),
            capabilities=capabilities,
            context=self._context(own),
            parallel=self._llama.get("total_slots", 1) if self._llama else 4,
        )

    async def _read(self, path: str) -> Any:
        """Return what a server says about itself, or None where it says nothing."""
        try:
            return await self._server.get(path, within=DESCRIBE_SECONDS)
        except (RequestRefused, ModelMissing, ServerFailed, BadReply):
            return None

    def _context(self, own: Mapping[str, Any]) -> int | None:
        found = self._llama["default_generation_settings"].get("n_ctx") if self._llama else own.get("max_model_len")
        return found if isinstance(found, int) else None

    # what it can do

    async def _probe(self) -> frozenset[Capability]:
        """Ask for each thing once; only what is seen to work counts."""
        found: set[Capability] = set()
        if await self._works(self._embeds()):
            found.add("embeddings")
        try:
            continued = await continues(self._count)
        except (RequestRefused, Unsupported):
            if found:
                return frozenset(found)
            raise
        found |= {"chat", "system", "sampling", "stop", "seed"}
        if continued:
            found.add("continue")
        if self._llama:
            self._grammar_field = GRAMMAR_FIELDS[0]
            return frozenset(found | {"complete", "grammar", "schema", "logprobs", "tokenize", "template"})
        if await self._works(self._completes()):
            found.add("complete")
        if await self._works(self._gives_logprobs()):
            found.add("logprobs")
        if await self._works(self._keeps_to_schema()):
            found.add("schema")
        for self._grammar_field in GRAMMAR_FIELDS:
            if await self._works(self._keeps_to_grammar()):
                found.add("grammar")
                break
        return frozenset(found)

    async def _works(self, trial: Any) -> bool:
        try:
            async with asyncio.timeout(PROBE_SECONDS):
                return bool(await trial)
        except (RequestRefused, ServerFailed, Unsupported, BadReply, ModelMissing, TimeoutError):
            return False

    async def _count(self, messages: Sequence[Message]) -> int | None:
        last = messages[-1]
        begun = last.content if last.role == "assistant" else ""
        request = Request(messages=tuple(messages[:-1] if begun else messages), begun=begun, max_tokens=1)
        try:
            return (await self._send(request, None)).tokens_in
        except (RequestRefused, ServerFailed):
            if begun:
                return None
            raise

    async def _embeds(self) -> bool:
        return bool(await self._vectors(["a"]))

    async def _completes(self) -> bool:
        return bool((await self._send(Request(prompt="Hello", max_tokens=1), None)).tokens_out)

    async def _gives_logprobs(self) -> bool:
        request = Request(messages=GREETING, max_tokens=1, alternatives=1)
        return bool((await self._send(request, None)).tokens)

    async def _keeps_to_schema(self) -> bool:
        reply = await self._send(Request(messages=GREETING, max_tokens=40, schema=SCHEMA), None)
        try:
            return list(json.loads(reply.text)) == [WORD]
        except (ValueError, TypeError):
            return False

    async def _keeps_to_grammar(self) -> bool:
        reply = await self._send(Request(messages=GREETING, max_tokens=10, grammar=GRAMMAR), None)
        return reply.text.strip() == WORD

    # asking

    async def answer(self, request: Request, on_text: OnText | None = None) -> Reply:
        """Answer a request, streaming: only then does closing the connection end the generation everywhere."""
        await self.model()
        return await self._send(request, on_text)

    async def _send(self, request: Request, on_text: OnText | None) -> Reply:
        path = "/chat/completions" if request.prompt is None else "/completions"
        stream = _Stream(ThoughtSplitter(off=bool(request.begun)))
        started = perf_counter()
        async with aclosing(self._server.lines(path, self._body(request))) as lines:
            async for line in lines:
                name, _, data = line.partition(b":")
                if name not in (b"data", b"error") or data.strip() == b"[DONE]":
                    continue
                piece = self._take(stream, parse(data, self._server.place), failed=name == b"error")
                if piece and on_text:
                    on_text(piece)
        return self._reply(stream, request, on_text, perf_counter() - started)

    def _take(self, stream: _Stream, part: Any, *, failed: bool) -> str:
        try:
            error = part if failed else part.get("error")
            if error is None:
                return stream.take(part)
        except (AttributeError, KeyError, TypeError, ValueError):
            raise BadReply(f"what answers at {self._server.place} does not speak OpenAI's protocol") from None
        text = str(error.get("message") or error) if isinstance(error, dict) else str(error)
        raise self._explain(400, text) or ServerFailed(f"the server at {self._server.place} says: {text}")

    def _reply(self, stream: _Stream, request: Request, on_text: OnText | None, seconds: float) -> Reply:
        if stream.finish is None:
            raise BadReply(f"`{self._name}` broke off before the answer's end", retry=True)
        if (held := stream.splitter.finish()) and on_text:
            on_text(held)
        usage = stream.usage
        out = usage.get("completion_tokens")
        if request.alternatives and out and not stream.tokens and not stream.thought_parts:
            raise Unsupported(f"{self._reference} gives no log-probabilities")
        thought = (usage.get("completion_tokens_details") or {}).get("reasoning_tokens") or stream.thought_parts
        return Reply(
            text=stream.splitter.text,
            finish="length" if stream.finish == "length" else "stop",
            thoughts="".join(stream.thoughts).strip() or stream.splitter.thoughts,
            tokens_in=usage.get("prompt_tokens"),
            tokens_out=out,
            tokens_thought=min(thought, out or 0),
            tokens=tuple(stream.tokens),
            seconds=seconds,
        )

    def _body(self, request: Request) -> dict[str, Any]:
        alternatives = request.alternatives if self._llama else min(request.alternatives, MOST_ALTERNATIVES)
        body: dict[str, Any] = {
            "model": self._name,
            "stream": True,
            "stream_options": {"include_usage": True},
            "max_tokens": request.max_tokens,
            "temperature": request.temperature,
            "top_p": request.top_p,
            "seed": sample_seed(request),
            "stop": list(request.stop) or None,
        }
        if request.prompt is not None:
            body |= {"prompt": request.prompt + request.begun, "logprobs": alternatives or None}
        else:
            turns = (*request.messages, *((Message("assistant", request.begun),) if request.begun else ()))
            body["messages"] = [{"role": turn.role, "content": turn.content} for turn in turns]
            if alternatives:
                body |= {"logprobs": True, "top_logprobs": alternatives}
            if request.begun and not self._llama:
                # vLLM's names; llama-server goes on from a last assistant message unasked.
                body |= {"continue_final_message": True, "add_generation_prompt": False}
        if request.schema is not None:
            shape = {"name": "answer", "schema": dict(request.schema)}
            body["response_format"] = {"type": "json_schema", "json_schema": shape}
            if self._llama and request.prompt is not None:
                body["json_schema"] = body.pop("response_format")["json_schema"]["schema"]
        if request.grammar is not None:
            value: Any = request.grammar
            for name in reversed(self._grammar_field[1:]):
                value = {name: value}
            body[self._grammar_field[0]] = value
        return {name: value for name, value in body.items() if value is not None}

    def _explain(self, status: int, text: str) -> PromptkitError | None:
        if status in (400, 413, 422) and "context" in text.lower():
            return ContextOverflow(f"the prompt does not fit the window of `{self._name}`: {text}")
        if status == 404 and "model" in text.lower():
            names = [str(entry["id"]) for entry in self._listed]
            return ModelMissing(f"the server has no model `{self._name}`: {text}", hint=nearest(self._name, names))
        return None

    # the rest

    async def embed(self, texts: Sequence[str]) -> list[list[float]]:
        """Return a vector for each text. Raises Unsupported where the server gives none."""
        if "embeddings" not in (await self.model()).capabilities:
            raise Unsupported(f"{self._reference} gives no embeddings", hint="use an embedding model")
        return await self._vectors(texts)

    async def _vectors(self, texts: Sequence[str]) -> list[list[float]]:
        answer = await self._server.post("/embeddings", {"model": self._name, "input": list(texts)})
        try:
            rows = sorted(answer["data"], key=lambda row: int(row["index"]))
            vectors = [[float(number) for number in row["embedding"]] for row in rows]
        except (KeyError, TypeError, ValueError):
            raise BadReply(f"the server at {self._server.place} gave no embeddings") from None
        if len(vectors) != len(texts):
            raise BadReply(f"the server at {self._server.place} gave {len(vectors)} vectors for {len(texts)} texts")
        return vectors

    async def tokenize(self, text: str) -> tuple[bytes, ...] | None:
        """Return the text's tokens where the server is llama-server, else None."""
        if "tokenize" not in (await self.model()).capabilities:
            return None
        answer = await self._server.post(f"{self._root}/tokenize", {"content": text, "with_pieces": True})
        pieces = [token["piece"] for token in answer["tokens"]]
        return tuple(piece.encode() if isinstance(piece, str) else bytes(piece) for piece in pieces)

    async def template(self, messages: Sequence[Message], begun: str = "") -> str | None:
        """Return the text that the messages become where the server is llama-server, else None."""
        if "template" not in (await self.model()).capabilities:
            return None
        turns = (*messages, *((Message("assistant", begun),) if begun else ()))
        body = {"messages": [{"role": turn.role, "content": turn.content} for turn in turns]}
        answer = await self._server.post(f"{self._root}/apply-template", body)
        return str(answer["prompt"])

    async def close(self) -> None:
        """Close the connections. Safe to call twice."""
        await self._server.close()
