"""Probes: requests that test what a server can do.

Many servers silently ignore what they do not know, so a capability counts only where a probe shows it.
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
    """Tell whether a last assistant message is continued, by the prompt tokens that the server counts.

    A letter in a continued message adds one token. A closed message also adds the end of its turn and the head of the
    next; a dropped one adds nothing. No count, or any other, means that it is not continued.
    """
    without, begun = await count(BEGUN_TURN[:1]), await count(BEGUN_TURN)
    return bool(without and begun and begun - without == 1)


async def continues_turns_cached(digest: str, count: Callable[[Sequence[Message]], Awaitable[int | None]]) -> bool:
    """Return the result of `continues_turns`, kept in the user's cache folder by the digest of weights and server.

    Where that file cannot be read or written the probe is sent again.
    """
    file = cache_folder() / "continues.json"
    known = _cached_results(file)
    if digest not in known:
        # Read again after the probe: another process may have probed another model meanwhile.
        result = await continues_turns(count)
        known = {**_cached_results(file), digest: result}
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
"""The fields in which servers expect a grammar: llama-server, vLLM, and vLLM before 0.12."""

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
    """The probes of one server. `ask` takes a request and the field for its grammar."""

    def __init__(self, ask: Ask, embed: Embed) -> None:
        self._ask = ask
        self._embed = embed

    async def chats(self) -> frozenset[Capability]:
        """Return the capabilities of every chat model, with `embeddings` and `continue` where probes show them.

        Raises the server's own error where it neither chats nor embeds, such as RequestRefused or Unsupported.
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
        """Return the further capabilities of a server of an unknown kind, except `grammar`."""
        probes: dict[Capability, Callable[[], Awaitable[bool]]] = {
            "complete": self._completes,
            "logprobs": self._gives_logprobs,
            "schema": self._keeps_to_schema,
        }
        return frozenset([capability for capability, probe in probes.items() if await self._works(probe)])

    async def grammar_field(self) -> GrammarField:
        """Return the field in which the server expects a grammar, empty where no grammar is enforced."""
        for field in GRAMMAR_FIELDS:
            if await self._works(lambda field=field: self._keeps_to_grammar(field)):  # type: ignore[misc]
                return field
        return ()

    async def _works(self, probe: Callable[[], Awaitable[bool]]) -> bool:
        """Run a probe, and again where the connection broke off: some servers drop what they do not know."""
        for _ in range(2):
            try:
                async with asyncio.timeout(PROBE_SECONDS):
                    return await probe()
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
        reply = await self._ask(_COMPLETION, ())
        return bool(reply.text or reply.tokens_out)

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
