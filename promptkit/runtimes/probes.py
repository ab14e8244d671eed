"""Probes: requests that test what a server can do.

Many servers ignore in silence what they do not know, so a capability counts only where it is seen to work.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TypeAlias

from promptkit.errors import (
    BadReply,
    ConnectionFailed,
    InputError,
    ModelMissing,
    PromptkitError,
    RequestRefused,
    ServerFailed,
    Unsupported,
)
from promptkit.project import cache_folder
from promptkit.runtimes.base import Capability, Message, Reply, Request
from promptkit.storage.files import make_folder, read_uncached, write_atomic

BEGUN_TURN = (Message("user", "Name a letter."), Message("assistant", "A"))


async def continues_turns(count: Callable[[Sequence[Message]], Awaitable[int | None]]) -> bool:
    """Tell whether a last assistant message is gone on from, by the prompt tokens that the server counts.

    Where it is, one letter of it adds one token; where it is closed, the end of a turn and the next one's head
    come on top; where it is left out, nothing is added. No count, or a doubtful one, is taken for a no.
    """
    without, begun = await count(BEGUN_TURN[:1]), await count(BEGUN_TURN)
    return bool(without and begun and begun - without == 1)


async def continues_turns_cached(digest: str, count: Callable[[Sequence[Message]], Awaitable[int | None]]) -> bool:
    """As `continues`, asked once for weights and server of that digest and then kept in the user's cache folder.

    A file that cannot be read or written costs the asking, no more.
    """
    file = cache_folder() / "continues.json"
    known = _cached_results(file)
    if digest not in known:
        # Read again after the asking: another process may have found out about another model meanwhile.
        found = await continues_turns(count)
        known = {**_cached_results(file), digest: found}
        with suppress(PromptkitError):
            make_folder(file.parent)
            write_atomic(file, json.dumps(known, indent=1, sort_keys=True))
    return known[digest]


def _cached_results(file: Path) -> dict[str, bool]:
    with suppress(InputError, ValueError):
        known = json.loads(read_uncached(file))
        if isinstance(known, dict):
            return {digest: found is True for digest, found in known.items()}
    return {}


GrammarField: TypeAlias = tuple[str, ...]
Ask: TypeAlias = Callable[[Request, GrammarField], Awaitable[Reply]]
Embed: TypeAlias = Callable[[Sequence[str]], Awaitable[list[list[float]]]]

PROBE_SECONDS = 60.0
GRAMMAR_FIELDS: tuple[GrammarField, ...] = (("grammar",), ("structured_outputs", "grammar"), ("guided_grammar",))
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


class Probes:
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
            continued = await continues_turns(self._count)
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

    async def grammar_field(self) -> GrammarField:
        """Return the field in which the server looks for a grammar; empty where it keeps to none."""
        for field in GRAMMAR_FIELDS:
            if await self._works(lambda field=field: self._keeps_to_grammar(field)):  # type: ignore[misc]
                return field
        return ()

    async def _works(self, trial: Callable[[], Awaitable[bool]]) -> bool:
        """Try once, and again where the connection broke off: some servers drop what they do not know."""
        for _ in range(2):
            try:
                async with asyncio.timeout(PROBE_SECONDS):
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

    async def _keeps_to_grammar(self, field: GrammarField) -> bool:
        return (await self._ask(_GRAMMAR, field)).text.strip() == _WORD
