"""Requests, replies and models, and the class `Runtime` that every adapter extends.

Adapters share only this module.
"""

from __future__ import annotations

import hashlib
import struct
from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from promptkit.errors import Unsupported

Role = Literal["system", "user", "assistant", "tool"]
Finish = Literal["stop", "length"]
Capability = Literal[
    "chat",        # messages in, a turn out
    "complete",    # raw text in, its continuation out, no chat template
    "continue",    # goes on from a begun assistant turn
    "system",      # the chat template has a system role
    "grammar",     # enforces GBNF
    "guidance",    # enforces a grammar of llguidance, which begins with `%llguidance`
    "choice",      # enforces one of several texts
    "regex",       # enforces a regular expression
    "schema",      # enforces a JSON Schema
    "object_schema",  # enforces a JSON Schema whose root is an object; part of `schema`
    "json_object",    # enforces that the reply is a JSON object
    "logprobs",    # log-probabilities of the alternatives at each token
    "sampling",    # temperature above 0 with different samples
    "stop",        # stop sequences
    "seed",
    "embeddings",
    "hidden_states",  # gives the vectors of its layers, pooled over a prompt
    "tokenize",    # the model's own tokenizer is at hand
    "template",    # shows the text after the chat template
    "think",       # its thoughts can be switched on and off
    "thinks",      # thinks before it answers, unless it is switched off
    "after_thoughts",  # a schema or grammar holds for the answer after thoughts, not for these
    "function_calls",  # takes the definitions of tools, and replies with calls of them
    "adapters",    # answers each request with the low-rank adapter that it names
]  # fmt: skip


ADAPTER_HINT = "the embedded runtime and llama-server take adapters; for Ollama: promptkit export ollama TARGET"


Pooling = Literal["mean", "last"]


@dataclass(frozen=True, slots=True)
class HiddenState:
    """The vector of a prompt inside a model: after `layer` blocks, the mean over the tokens or that of the last one.

    Without a layer it is the vector that the server gives for embeddings.
    """

    layer: int | None = None
    pooling: Pooling = "mean"


class Thought(str):
    """A piece of a reply's thoughts, which are not part of the answer."""

    __slots__ = ()


OnText = Callable[[str], None]
"""Called with each piece of a reply as it arrives; a piece of the thoughts is a `Thought`."""
LLAMA_VERSION = "+llama.cpp-"
"""Stands between the digest of weights and the version of llama.cpp in a model's digest."""
FASTEST = 10_000
"""Tokens a second beyond which a reply did not arrive as it was generated: its server sent it whole."""
DownloadProgress = Callable[[str, int, int | None], None]
"""Called with the name of the download, the bytes done and the total bytes (None where unknown)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolDefinition:
    """A tool as a model is offered it. `parameters` is the JSON Schema of its arguments, an object."""

    name: str
    description: str
    parameters: Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class FunctionCall:
    """A call of a tool in a reply. `arguments` is the text that the model wrote for them, JSON if it did so rightly.

    `id` joins the call and its result; where the server gives none, the adapter numbers the calls.
    """

    id: str
    name: str
    arguments: str


@dataclass(frozen=True, slots=True)
class Message:
    """A turn. An assistant's may have `calls`; the result of one is a turn of the role `tool`.

    That has the `call_id` of the call and the name of the `tool`.
    """

    role: Role
    content: str
    calls: tuple[FunctionCall, ...] = ()
    call_id: str = ""
    tool: str = ""


@dataclass(frozen=True, slots=True)
class Adapter:
    """A low-rank adapter (LoRA) of a model: a GGUF file, and the digest of its content.

    Keys and records have the digest alone, so one that was read from a record has no path.
    """

    path: Path = field(compare=False, repr=False)
    digest: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """One message list, or one raw text, to be answered once.

    `begun` is the start of the assistant's turn (a cue, or thoughts and a cue); the reply continues it and does not
    repeat it. At most one of `grammar`, `choice`, `regex`, `schema` (JSON Schema) and `json_object` constrains the
    reply. A grammar is GBNF with a rule `root`, or one of llguidance, which begins with `%llguidance`. `alternatives`
    asks for the log-probabilities of that many tokens at each place. `context` is the window in tokens to ask for where
    it can be chosen. `sample` numbers repeated requests of the same content (`0/3/1`).

    `tools` are offered to a model with the capability `function_calls`, which may call several in one reply; such a
    request has no constraint and no begun turn. `tool_choice` lets the model choose (`auto`), or makes it call one
    (`required`).

    `think` switches thoughts on or off, or names their effort; None leaves that to the model. `thought_tokens` are
    tokens for thoughts, beside the answer's `max_tokens`; above 0, `stop` and `max_tokens` hold for the answer alone.

    `adapter` is applied to the model's weights for this request alone; None asks the model as it is.

    Without `reuse_prefix` the runtime reads the whole prompt, where it can be kept from using the beginnings of earlier
    prompts again: measurements of speed need that.

    A request with a `hidden_state` generates nothing: its reply is the prompt's `vector`.
    """

    messages: tuple[Message, ...] = ()
    prompt: str | None = None
    begun: str = ""
    max_tokens: int = 512
    temperature: float = 0.0
    top_p: float | None = None
    seed: int | None = None
    stop: tuple[str, ...] = ()
    grammar: str | None = None
    choice: tuple[str, ...] = ()
    regex: str | None = None
    schema: Mapping[str, Any] | None = None
    json_object: bool = False
    alternatives: int = 0
    think: bool | str | None = None
    thought_tokens: int = 0
    context: int | None = None
    reuse_prefix: bool = True
    tools: tuple[ToolDefinition, ...] = ()
    tool_choice: Literal["auto", "required"] = "auto"
    sample: str = "0"
    hidden_state: HiddenState | None = None
    adapter: Adapter | None = None

    @property
    def constrained(self) -> bool:
        """True if the runtime is to enforce the form of the reply."""
        texts_or_schema = (self.grammar, self.regex, self.schema)
        return bool(self.choice) or self.json_object or any(given is not None for given in texts_or_schema)

    @property
    def most_tokens(self) -> int:
        """The longest reply in tokens, thoughts included."""
        return self.max_tokens + self.thought_tokens


@dataclass(frozen=True, slots=True)
class Alternative:
    piece: bytes
    logprob: float


@dataclass(frozen=True, slots=True)
class Token:
    """One generated token. Log-probabilities are natural and from before any grammar."""

    piece: bytes
    logprob: float
    alternatives: tuple[Alternative, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """The answer to one request. `text` excludes the begun turn and a reasoning model's `thoughts`.

    `calls` are the calls of tools in it, in order; `text` may then be empty.

    `tokens_in` and `tokens_out` are the runtime's own counts, or None; `tokens_thought` is the part of `tokens_out`
    that thoughts took. `seconds` is the time that the runtime took, and `first_token` the part of it until the first
    token, of thoughts or answer (None where it is not known); a cached reply keeps its own. `context` is the window in
    tokens that was asked for, where the runtime chooses it. `reads` are the files that a project's function read for
    the reply, with their digests: such a reply is not cached.

    The runtime's own timings, None where it gives none: `tokens_reused` of the prompt were in its prefix cache, the
    others took `prompt_seconds` to read, and the output `output_seconds` after its first token.

    `vector` answers a request for a hidden state; its numbers are those of float32.
    """

    text: str
    finish: Finish = "stop"
    thoughts: str = ""
    calls: tuple[FunctionCall, ...] = ()
    tokens_in: int | None = None
    tokens_out: int | None = None
    tokens_thought: int = 0
    tokens: tuple[Token, ...] = ()
    seconds: float = 0.0
    first_token: float | None = None
    cached: bool = False
    context: int | None = None
    tokens_reused: int | None = None
    prompt_seconds: float | None = None
    output_seconds: float | None = None
    vector: tuple[float, ...] = field(default=(), repr=False)
    reads: Mapping[str, str] = field(default_factory=dict, compare=False, repr=False)

    @property
    def tokens_a_second(self) -> float | None:
        """The output tokens per second after the first token, by the runtime's own timings where it gives them.

        None where neither they nor the reply's pieces show it.
        """
        seconds = self.output_seconds
        if seconds is None and self.first_token is not None:
            seconds = self.seconds - self.first_token
        later = (self.tokens_out or 0) - 1
        return None if seconds is None or not 0 < later < FASTEST * seconds else later / seconds

    @property
    def prompt_tokens_a_second(self) -> float | None:
        """The prompt tokens read per second, without those of the prefix cache; None where these are not known."""
        if self.tokens_in is None or self.tokens_reused is None or not self.prompt_seconds:
            return None
        read = self.tokens_in - self.tokens_reused
        return read / self.prompt_seconds if read > 0 else None


@dataclass(frozen=True, slots=True)
class EncodedReply:
    """A request and a reply to it as the model's own token ids. The reply's last one is the token that ends a turn."""

    request: tuple[int, ...]
    reply: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Memory:
    """The memory that a model takes, in bytes; `gpu` is the part of it on a GPU, None where that is not known.

    `source` says who counted what.
    """

    size: int
    source: str
    gpu: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Model:
    """A model: its reference, its digest and its capabilities.

    `digest` changes whenever the model could answer the same request differently (weights, template, server version
    where known); it is part of every cache key. `context` is the window in tokens, `size` bytes of weights, `parallel`
    how many requests are worth having in flight, `slots` how many are decoded together (None: not known). `notes` are
    lines for a person. A model that `obeys_control_tokens`
    takes `<|im_end|>` written out in a message for a control token. `weak_embeddings` marks a model that was trained to
    answer: its vectors hardly tell texts apart. `layers` is the number of blocks whose hidden states it gives.
    """

    reference: str
    digest: str
    capabilities: frozenset[Capability]
    context: int | None = None
    size: int | None = None
    parallel: int = 1
    notes: tuple[str, ...] = field(default=())
    obeys_control_tokens: bool = False
    weak_embeddings: bool = False
    slots: int | None = None
    layers: int | None = None

    @property
    def weights(self) -> str:
        """The digest without the version of llama.cpp, whose updates leave the weights as they are."""
        return self.digest.partition(LLAMA_VERSION)[0]

    @property
    def embeds_well(self) -> bool:
        """True where the model's vectors are to be preferred to a comparison by words."""
        return "embeddings" in self.capabilities and not self.weak_embeddings


class Runtime(ABC):
    """An adapter to one model. All methods may be called concurrently; none retries, caches or limits: `Client` does.

    Every runtime describes its model and answers requests. The other methods belong to capabilities.
    """

    @abstractmethod
    async def model(self) -> Model:
        """Describe the model, loading or probing it once. Raises a RuntimeFailure where it is not there."""

    @abstractmethod
    async def answer(self, request: Request, on_text: OnText | None = None) -> Reply:
        """Answer one request; `on_text` gets each piece as it arrives. Cancelling must stop the generation."""

    async def embed(self, texts: Sequence[str]) -> list[list[float]]:
        """Return a vector for each text. Raises Unsupported without the capability `embeddings`."""
        raise Unsupported("this model gives no embeddings", hint="use an embedding model")

    async def tokenize(self, text: str) -> tuple[bytes, ...] | None:
        """Return the text's tokens as byte pieces, or None without the capability `tokenize`."""
        return None

    async def encode(self, request: Request, reply: str) -> EncodedReply | None:
        """Return a request and a reply to it as token ids, or None where the model is not in this process."""
        return None

    async def template(
        self, messages: Sequence[Message], begun: str = "", tools: Sequence[ToolDefinition] = ()
    ) -> str | None:
        """Return the text that messages and tools become, or None without the capability `template`."""
        return None

    async def count(
        self, messages: Sequence[Message], begun: str = "", tools: Sequence[ToolDefinition] = ()
    ) -> int | None:
        """Return the number of tokens that messages and tools become, or None where that is not known."""
        text = await self.template(messages, begun, tools)
        pieces = None if text is None else await self.tokenize(text)
        return None if pieces is None else len(pieces)

    async def add_adapter(self, adapter: Adapter) -> None:
        """Get ready for requests with an adapter, best before the model is loaded.

        Raises InputError for one that does not fit the model, Unsupported without the capability `adapters`.
        """
        model = await self.model()
        if "adapters" not in model.capabilities:
            raise Unsupported(f"{model.reference} takes no adapters", hint=ADAPTER_HINT)

    async def memory(self) -> Memory | None:
        """Return the memory that the loaded model takes, or None where that is not known."""
        return None

    async def close(self) -> None:  # noqa: B027
        """Release the model or the connections. Safe to call twice."""


def vector_reply(vector: Sequence[float], *, seconds: float, tokens_in: int | None = None) -> Reply:
    """Return the reply to a request for a hidden state. Its numbers are rounded to float32, as they are stored."""
    numbers = struct.unpack(f"<{len(vector)}f", struct.pack(f"<{len(vector)}f", *vector))
    return Reply(text="", vector=numbers, tokens_in=tokens_in, tokens_out=0, seconds=seconds)


def with_implied(capabilities: Collection[Capability]) -> frozenset[Capability]:
    """Return the capabilities with `object_schema`, which is a part of `schema`."""
    part: frozenset[Capability] = frozenset({"object_schema"} if "schema" in capabilities else ())
    return part.union(capabilities)


def sample_seed(request: Request) -> int | None:
    """Return the seed of this sample. With one seed, all samples would be equal."""
    if request.seed is None or request.sample == "0":
        return request.seed
    digest = hashlib.sha256(f"{request.seed} {request.sample}".encode()).digest()
    return int.from_bytes(digest[:4], "big") >> 1


def resuming_listeners(on_text: OnText | None) -> Callable[[], OnText | None]:
    """Return a maker of listeners, one for each attempt. Each passes on only text beyond that of earlier attempts."""
    shown: dict[type[str], int] = {str: 0, Thought: 0}  # characters of the answer, and of the thoughts

    def listener() -> OnText | None:
        if on_text is None:
            return None
        lengths: dict[type[str], int] = {str: 0, Thought: 0}

        def show(piece: str) -> None:
            kind = Thought if isinstance(piece, Thought) else str
            lengths[kind] += len(piece)
            if lengths[kind] > shown[kind]:
                on_text(kind(piece[shown[kind] - lengths[kind] :]))
                shown[kind] = lengths[kind]

        return show

    return listener
