"""Probes: requests that test what a server can do.

Many servers silently ignore what they do not know, so a capability counts only where a probe shows it.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
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
from promptkit.runtimes.base import Capability, Message, Reply, Request, ToolDefinition
from promptkit.storage.files import make_folder, read_uncached, write_atomic

BEGUN_TURN = (Message("user", "Name a letter."), Message("assistant", "A"))


async def continues_turns(count: Callable[[Sequence[Message]], Awaitable[int | None]]) -> bool:
    """Tell whether a last assistant message is continued, by the prompt tokens that the server counts.

    A letter in a continued message adds one token. A closed message also adds the end of its turn and the head of the
    next; a dropped one adds nothing. No count, or any other, means that it is not continued.
    """
    without, begun = await count(BEGUN_TURN[:1]), await count(BEGUN_TURN)
    return bool(without and begun and begun - without == 1)


async def cached_probe(name: str, key: str, probe: Callable[[], Awaitable[int]]) -> int:
    """Return a probe's result, a number or a truth value, kept in `NAME.json` of the user's cache folder.

    `key` names the probed weights and server. Where the file cannot be read or written the probe is sent again.
    """
    file = cache_folder() / f"{name}.json"
    known = _cached_results(file)
    if key not in known:
        # Read again after the probe: another process may have probed another model meanwhile.
        result = await probe()
        known = {**_cached_results(file), key: result}
        with suppress(PromptkitError):
            make_folder(file.parent)
            write_atomic(file, json.dumps(known, indent=1, sort_keys=True))
    return known[key]


def _cached_results(file: Path) -> dict[str, int]:
    with suppress(InputError, ValueError):
        known = json.loads(read_uncached(file))
        if isinstance(known, dict):
            return {key: found for key, found in known.items() if isinstance(found, int)}
    return {}


Ask: TypeAlias = Callable[[Request, "Dialect"], Awaitable[Reply]]
Embed: TypeAlias = Callable[[Sequence[str]], Awaitable[list[list[float]]]]

PROBE_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class Dialect:
    """The fields, by path, in which a server expects the constraints that OpenAI's protocol does not have."""

    name: str
    fields: Mapping[Capability, tuple[str, ...]]


NO_DIALECT = Dialect("OpenAI", {})
LLAMA_SERVER = Dialect("llama-server", {"grammar": ("grammar",)})
VLLM = Dialect("vLLM", {name: ("structured_outputs", name) for name in ("choice", "regex", "grammar")})
OLD_VLLM = Dialect("vLLM before 0.12", {name: (f"guided_{name}",) for name in ("choice", "regex", "grammar")})
DIALECTS = (LLAMA_SERVER, VLLM, OLD_VLLM)

_WORD = "zebra"
_GREETING = (Message("user", "Say hello."),)
_COMPLETION = Request(prompt="Hello", max_tokens=1)
_LOGPROBS = Request(messages=_GREETING, max_tokens=1, alternatives=1)
_CONSTRAINTS: Mapping[Capability, Request] = {
    "grammar": Request(messages=_GREETING, max_tokens=10, grammar=f'root ::= "{_WORD}"'),
    "choice": Request(messages=_GREETING, max_tokens=10, choice=(_WORD,)),
    "regex": Request(messages=_GREETING, max_tokens=10, regex="ze(b)ra"),
}
"""Requests whose constraint no reply keeps to by chance."""
_SCHEMA = Request(messages=_GREETING, max_tokens=20, schema={"type": "string", "enum": [_WORD]})
_OBJECT_SCHEMA = Request(
    messages=_GREETING,
    max_tokens=40,
    schema={
        "type": "object",
        "properties": {_WORD: {"type": "boolean"}},
        "required": [_WORD],
        "additionalProperties": False,
    },
)
# OpenAI refuses `json_object` where no message says JSON, and an obedient model must not give any by itself.
_JSON_OBJECT = Request(
    messages=(Message("user", "Say hello in plain words, not in JSON."),), max_tokens=40, json_object=True
)


class Probes:
    """The probes of one server. `ask` takes a request and the server's dialect."""

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
        """Return the further capabilities of a server of an unknown kind, without those of a dialect."""
        probes: dict[Capability, Callable[[], Awaitable[bool]]] = {
            "complete": self._completes,
            "logprobs": self._gives_logprobs,
        }
        if await self._works(self._keeps_to_schema):
            found: set[Capability] = {"schema"}
        else:
            found = set()
            probes |= {"object_schema": self._keeps_to_object_schema, "json_object": self._keeps_to_json_object}
        return frozenset(found.union([capability for capability, probe in probes.items() if await self._works(probe)]))

    async def dialect(self) -> tuple[Dialect, frozenset[Capability]]:
        """Return the dialect whose constraints are enforced, with these; none where nothing is.

        Each server with a dialect enforces the first of its constraints.
        """
        for dialect in DIALECTS:
            first, *others = dialect.fields
            if await self._enforces(first, dialect):
                return dialect, frozenset([first, *[name for name in others if await self._enforces(name, dialect)]])
        return NO_DIALECT, frozenset()

    async def _enforces(self, capability: Capability, dialect: Dialect) -> bool:
        async def keeps() -> bool:
            return (await self._ask(_CONSTRAINTS[capability], dialect)).text.strip() == _WORD

        return await self._works(keeps)

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
            return (await self._ask(request, NO_DIALECT)).tokens_in
        except (RequestRefused, ServerFailed):
            if begun:
                return None
            raise

    async def _embeds(self) -> bool:
        return bool(await self._embed(["a"]))

    async def _completes(self) -> bool:
        reply = await self._ask(_COMPLETION, NO_DIALECT)
        return bool(reply.text or reply.tokens_out)

    async def _gives_logprobs(self) -> bool:
        return bool((await self._ask(_LOGPROBS, NO_DIALECT)).tokens)

    async def _keeps_to_schema(self) -> bool:
        return _json((await self._ask(_SCHEMA, NO_DIALECT)).text) == _WORD

    async def _keeps_to_object_schema(self) -> bool:
        found = _json((await self._ask(_OBJECT_SCHEMA, NO_DIALECT)).text)
        return isinstance(found, dict) and list(found) == [_WORD]

    async def _keeps_to_json_object(self) -> bool:
        # The object may be longer than the probe.
        return (await self._ask(_JSON_OBJECT, NO_DIALECT)).text.lstrip().startswith("{")


_TOOL = ToolDefinition(
    name="secret_word",
    description="Returns the secret word.",
    parameters={
        "type": "object",
        "properties": {"language": {"type": "string", "description": "the language of the word"}},
        "required": ["language"],
    },
)
_CALL = Request(
    # The name of the tool reaches the model by its definition alone.
    messages=(Message("user", "What is the secret word in English? Call the function that returns it."),),
    max_tokens=80,
    tools=(_TOOL,),
)


async def calls_functions(ask: Ask) -> bool:
    """Tell whether a model calls a tool that it is offered: of its own choice, or where it is made to call one.

    Raises as `ask` does, so also where the server refuses the free choice.
    """
    async with asyncio.timeout(PROBE_SECONDS):
        if (await ask(_CALL, NO_DIALECT)).calls:
            return True
    try:
        async with asyncio.timeout(PROBE_SECONDS):
            return bool((await ask(replace(_CALL, tool_choice="required"), NO_DIALECT)).calls)
    except (RequestRefused, Unsupported):
        return False


async def takes_tools(ask: Ask) -> bool:
    """Return True where a server takes the definition of a tool. Raises as `ask` does."""
    async with asyncio.timeout(PROBE_SECONDS):
        await ask(replace(_CALL, max_tokens=1), NO_DIALECT)
    return True


def _json(text: str) -> object:
    with suppress(ValueError):
        found: object = json.loads(text)
        return found
    return None
