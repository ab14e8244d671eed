"""The digest of a model behind a server: what the server states, and the fingerprint of its weights."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence

from promptkit.errors import BadReply, RequestRefused, ServerFailed, Unsupported
from promptkit.runtimes.base import Capability, Model, Reply, Request
from promptkit.runtimes.servers.fingerprints import (
    Fingerprint,
    ask_fingerprint,
    content_digest,
    embed_fingerprint,
    fingerprint_digest,
)
from promptkit.runtimes.servers.server_facts import ServerFacts

Ask = Callable[[Request], Awaitable[Reply]]
Embed = Callable[[Sequence[str]], Awaitable[list[list[float]]]]

FINGERPRINTED = "its weights are known by what the server states and by its answers to fixed prompts"
_STATED = "its weights are known by what the server states alone"
HOSTED = f"{_STATED}: a hosted service is not asked further"
UNSTABLE = f"{_STATED}: it answers one prompt in two ways at temperature 0"
"""Notes on a model's digest."""


def weights_are_stated(model: Model) -> bool:
    """Tell whether a model's digest would change with its weights; else it is of the names that its server states."""
    return not {HOSTED, UNSTABLE}.intersection(model.notes)


async def identify(
    reference: str,
    facts: ServerFacts,
    *,
    name: str,
    context: int | None,
    served: Sequence[Mapping[str, str]],
    is_local: bool,
    capabilities: frozenset[Capability],
    ask: Ask,
    embed: Embed,
) -> tuple[str, str]:
    """Return the digest of a model, and a note that says what it rests on.

    `served` are the distinct names that replies gave the model. Where the weights have a fingerprint, the server's
    address is not a part of the digest: a server may move to another port. Raises as `ask` and `embed` do.
    """
    lasting = facts.lasting()
    # A server that names its model in two ways within a session has no lasting name.
    named = served[0] if len(served) == 1 else {}
    # Without the version that replies name: machines behind one address may differ in it.
    stated = content_digest([reference, lasting, context, named.get("model")])
    if not (is_local or facts.is_self_run):
        return stated, HOSTED
    fingerprint = await _fingerprint(capabilities, ask, embed)
    if fingerprint is None:
        return stated, UNSTABLE
    server = content_digest([name, lasting, context, named])
    return content_digest([server, fingerprint_digest(server, fingerprint)]), FINGERPRINTED


async def _fingerprint(capabilities: frozenset[Capability], ask: Ask, embed: Embed) -> Fingerprint | None:
    if "chat" not in capabilities:
        return await embed_fingerprint(embed)
    try:
        return await ask_fingerprint(ask, raw="complete" in capabilities, logprobs="logprobs" in capabilities)
    except (RequestRefused, ServerFailed, Unsupported, BadReply):
        # Some servers allow fewer alternatives, or list none for a raw text.
        return await ask_fingerprint(ask, raw=False, logprobs=False)
