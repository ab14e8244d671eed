"""Requests, replies and models, and the class `Runtime` that every adapter extends.

Adapters share only this module.
"""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from promptkit.errors import Unsupported

Role = Literal["system", "user", "assistant"]
Finish = Literal["stop", "length"]
Capability = Literal[
    "chat",        # messages in, a turn out
    "complete",    # raw text in, its continuation out, no chat template
    "continue",    # goes on from a begun assistant turn
    "system",      # the chat template has a system role
    "grammar",     # enforces GBNF
    "schema",      # enforces a JSON Schema
    "guidance",    # enforces a grammar of llguidance, which begins with `%llguidance`
    "logprobs",    # log-probabilities of the alternatives at each token
    "sampling",    # temperature above 0 with different samples
    "stop",        # stop sequences
    "seed",
    "embeddings",
    "tokenize",    # the model's own tokenizer is at hand
    "template",    # shows the text after the chat template
    "think",       # a reasoning model whose thoughts can be switched
]  # fmt: skip
OnText = Callable[[str], None]
DownloadProgress = Callable[[str, int, int | None], None]
"""Called with the name of the download, the bytes done and the total bytes (None where unknown)."""


@dataclass(frozen=True, slots=True)
class Message:
    role: Role
    content: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """One message list, or one raw text, to be answered once.

    `begun` is the start of the assistant's turn (a cue, or thoughts and a cue); the reply continues it and does not
    repeat it. At most one of `grammar` and `schema` (JSON Schema) is given. A grammar is GBNF with a rule `root`, or
    one of llguidance, which begins with `%llguidance`. `alternatives` asks for the log-probabilities of that many
    tokens at each place. `context` is the window in tokens to ask for where it can be chosen. `sample` numbers repeated
    requests of the same content (`0/3/1`).
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
    schema: Mapping[str, Any] | None = None
    alternatives: int = 0
    think: bool | str | None = None
    context: int | None = None
    sample: str = "0"


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

    `tokens_in` and `tokens_out` are the runtime's own counts, or None; `tokens_thought` is the part of `tokens_out`
    that thoughts took. `seconds` is the time that the runtime took; a cached reply keeps its own.
    """

    text: str
    finish: Finish = "stop"
    thoughts: str = ""
    tokens_in: int | None = None
    tokens_out: int | None = None
    tokens_thought: int = 0
    tokens: tuple[Token, ...] = ()
    seconds: float = 0.0
    cached: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Model:
    """A model: its reference, its digest and its capabilities.

    `digest` changes whenever the model could answer the same request differently (weights, template, server version
    where known); it is part of every cache key. `context` is the window in tokens, `size` bytes of weights, `parallel`
    how many requests are worth having in flight. `notes` are lines for a person. A model that `obeys_control_tokens`
    takes `<|im_end|>` written out in a message for a control token. `weak_embeddings` marks a model that was trained to
    answer: its vectors hardly tell texts apart.
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

    async def template(self, messages: Sequence[Message], begun: str = "") -> str | None:
        """Return the text that the messages become, or None without the capability `template`."""
        return None

    async def count(self, messages: Sequence[Message], begun: str = "") -> int | None:
        """Return how many tokens the messages become, or None where that is not known."""
        text = await self.template(messages, begun)
        pieces = None if text is None else await self.tokenize(text)
        return None if pieces is None else len(pieces)

    async def close(self) -> None:  # noqa: B027
        """Release the model or the connections. Safe to call twice."""


def sample_seed(request: Request) -> int | None:
    """Return the seed of this sample. With one seed, all samples would be equal."""
    if request.seed is None or request.sample == "0":
        return request.seed
    digest = hashlib.sha256(f"{request.seed} {request.sample}".encode()).digest()
    return int.from_bytes(digest[:4], "big") >> 1


def resuming_listeners(on_text: OnText | None) -> Callable[[], OnText | None]:
    """Return a maker of listeners, one for each attempt. Each passes on only text beyond that of earlier attempts."""
    shown = 0

    def listener() -> OnText | None:
        if on_text is None:
            return None
        length = 0

        def show(piece: str) -> None:
            nonlocal shown, length
            length += len(piece)
            if length > shown:
                on_text(piece[shown - length :])
                shown = length

        return show

    return listener
