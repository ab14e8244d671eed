"""What a server that speaks OpenAI's protocol can do beyond chat, found out by asking it.

Many such servers ignore in silence what they do not know, so that only what is seen to work counts.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Sequence
from typing import TypeAlias

from promptkit.errors import BadReply, ConnectionFailed, ModelMissing, RequestRefused, ServerFailed, Unsupported
from promptkit.runtimes.base import Capability, Message, Reply, Request
from promptkit.runtimes.turns import continues

Field: TypeAlias = tuple[str, ...]
Ask: TypeAlias = Callable[[Request, Field], Awaitable[Reply]]
Embed: TypeAlias = Callable[[Sequence[str]], Awaitable[list[list[float]]]]

TRIAL_SECONDS = 60.0
GRAMMAR_FIELDS: tuple[Field, ...] = (("grammar",), ("structured_outputs", "grammar"), ("guided_grammar",))
"""Where servers look for a grammar: llama-server, vLLM, and vLLM before 0.12."""

_WORD = "zebra"
_GREETING = (Message("user", "Say hello."),)
_COMPLETION = Request(prompt="Hello", max_tokens=1)
_LOGPROBS = Request(messages=_GREETING, max_tokens=1, alternatives=1)
_GRAMMAR = Request(messages=_GREETING, max_tokens=10, grammar=f'root ::= "{_WORD}"')
_SCHEMA = Request(
    messages=_GREETING,
    max_tokens=40,
    schema={
        "type": "object",
        "properties": {_WORD: {"type": "boolean"}},
        "required": [_WORD],
        "additionalProperties": False,
    },
)


class Trials:
    """Asks a server once for each thing. `ask` takes a request and the field in which its grammar goes."""

    def __init__(self, ask: Ask, embed: Embed) -> None:
        self._ask = ask
        self._embed = embed

    async def chats(self) -> frozenset[Capability]:
        """Return what every model does that takes messages, and whether it embeds or goes on from a begun turn.

        Raises what the server answers where it does neither, RequestRefused or Unsupported among it.
        """
        found: set[Capability] = {"embeddings"} if await self._works(self._embeds) else set()
        try:
            continued = await continues(self._count)
        except (RequestRefused, Unsupported):
            if found:
                return frozenset(found)
            raise
        found |= {"chat", "system", "sampling", "stop", "seed"}
        return frozenset(found | {"continue"} if continued else found)

    async def further(self) -> frozenset[Capability]:
        """Return what else a server of an unknown kind does, a grammar left out."""
        trials: dict[Capability, Callable[[], Awaitable[bool]]] = {
            "complete": self._completes,
            "logprobs": self._gives_logprobs,
            "schema": self._keeps_to_schema,
        }
        return frozenset([capability for capability, trial in trials.items() if await self._works(trial)])

    async def grammar_field(self) -> Field:
        """Return the field in which the server looks for a grammar; empty where it keeps to none."""
        for field in GRAMMAR_FIELDS:
            if await self._works(lambda field=field: self._keeps_to_grammar(field)):  # type: ignore[misc]
                return field
        return ()

    async def _works(self, trial: Callable[[], Awaitable[bool]]) -> bool:
        """Try once, and again where the connection broke off: some servers drop what they do not know."""
        for _ in range(2):
            try:
                async with asyncio.timeout(TRIAL_SECONDS):
                    return await trial()
            except ConnectionFailed:
                continue
            except (RequestRefused, ServerFailed, Unsupported, BadReply, ModelMissing, TimeoutError):
                return False
        return False

    async def _count(self, messages: Sequence[Message]) -> int | None:
        last = messages[-1]
        begun = last.content if last.role == "assistant" else ""
        request = Request(messages=tuple(messages[:-1] if begun else messages), begun=begun, max_tokens=1)
        try:
            return (await self._ask(request, ())).tokens_in
        except (RequestRefused, ServerFailed):
            if begun:
                return None
            raise

    async def _embeds(self) -> bool:
        return bool(await self._embed(["a"]))

    async def _completes(self) -> bool:
        return bool((await self._ask(_COMPLETION, ())).tokens_out)

    async def _gives_logprobs(self) -> bool:
        return bool((await self._ask(_LOGPROBS, ())).tokens)

    async def _keeps_to_schema(self) -> bool:
        reply = await self._ask(_SCHEMA, ())
        try:
            return list(json.loads(reply.text)) == [_WORD]
        except (ValueError, TypeError):
            return False

    async def _keeps_to_grammar(self, field: Field) -> bool:
        return (await self._ask(_GRAMMAR, field)).text.strip() == _WORD
