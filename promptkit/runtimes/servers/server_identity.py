"""The digest of a model behind a server: what the server states, and the fingerprint of its weights."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from hashlib import sha256
from math import isfinite
from pathlib import Path
from typing import TypeAlias

from promptkit.errors import BadReply, InputError, PromptkitError, RequestRefused, ServerFailed, Unsupported
from promptkit.project import cache_folder
from promptkit.runtimes.base import Capability, Message, Model, Reply, Request, Token
from promptkit.runtimes.servers.server_facts import ServerFacts
from promptkit.storage.files import make_folder, read_uncached, write_atomic

PROMPTS = ("The old lighthouse keeper opened the door and", "My three favourite words are", "Dear Sir or Madam,")
SCORED_TOKENS = 2
TEXT_TOKENS = 16
"""More tokens where there are no numbers, or a chat template: first words hardly depend on the weights."""
LISTED, COMPARED = 10, 5
"""Alternatives to ask for, and of these the likeliest, which are compared: two near ones may change places."""
TOLERANCE = 0.05
"""Natural logarithm. llama.cpp on a CPU gave the same numbers each time, with any load, cache and number of threads;
SmolLM2 with one bit changed in each 5,000th byte of its upper half was 0.7 away."""
VECTOR_NUMBERS = 16
KEPT_FINGERPRINTS = 20
"""Fingerprints that are kept of each server: one for each set of weights that was seen there."""

Fingerprint: TypeAlias = list[tuple[str, list[dict[str, float]]]]
"""An answer to each prompt: its text, and for each of its tokens the log-probabilities of alternatives."""


async def ask_fingerprint(
    ask: Callable[[Request], Awaitable[Reply]], *, raw: bool, logprobs: bool
) -> Fingerprint | None:
    """Return the fingerprint of a model that generates, or None where it answers one prompt in two ways.

    `raw`: ask by texts to continue, which reach the weights without a chat template. Raises as `ask` does.
    """
    found: Fingerprint = []
    for prompt in (*PROMPTS, PROMPTS[0]):
        reply = await ask(
            Request(
                messages=() if raw else (Message("user", prompt),),
                prompt=prompt if raw else None,
                max_tokens=SCORED_TOKENS if raw and logprobs else TEXT_TOKENS,
                alternatives=LISTED if logprobs else 0,
            )
        )
        found.append((reply.thoughts + reply.text, [_alternatives(token) for token in reply.tokens]))
    return found[:-1] if agree(found[:1], found[-1:]) else None


async def embed_fingerprint(embed: Callable[[Sequence[str]], Awaitable[list[list[float]]]]) -> Fingerprint:
    """Return the fingerprint of a model that only embeds: the first numbers of vectors, by the largest of them."""
    found: Fingerprint = []
    for vector in await embed(PROMPTS):
        numbers = vector[:VECTOR_NUMBERS]
        largest = max(map(abs, numbers), default=0.0) or 1.0
        found.append(("", [{"": number / largest} for number in numbers]))
    return found


def agree(one: Fingerprint, other: Fingerprint) -> bool:
    """Tell whether two fingerprints are of the same weights: equal texts, and numbers within TOLERANCE."""
    return len(one) == len(other) and all(
        text == other_text and len(tokens) == len(other_tokens) and all(map(_near, tokens, other_tokens))
        for (text, tokens), (other_text, other_tokens) in zip(one, other, strict=True)
    )


def fingerprint_digest(server: str, fingerprint: Fingerprint) -> str:
    """Return the digest of the first fingerprint of a server that agrees with this one.

    They are kept in the user's cache folder under `server`, the digest of what the server states, so that rounding does
    not change a digest. Where that file cannot be read or written, the digest is that of the rounded numbers.
    """
    file = cache_folder() / "fingerprints.json"
    known = _kept_fingerprints(file)
    of_server = known.get(server, {})
    for digest, other in of_server.items():
        if agree(other, fingerprint):
            return digest
    digest = content_digest(_rounded(fingerprint))
    latest = dict([*of_server.items(), (digest, fingerprint)][-KEPT_FINGERPRINTS:])
    with suppress(PromptkitError):
        make_folder(file.parent)
        write_atomic(file, json.dumps({**known, server: latest}))
    return digest


def content_digest(value: object) -> str:
    """Return the SHA-256 of a JSON value."""
    return sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()


def _alternatives(token: Token) -> dict[str, float]:
    return {other.piece.hex(): other.logprob for other in token.alternatives if isfinite(other.logprob)}


def _near(token: Mapping[str, float], other: Mapping[str, float]) -> bool:
    likeliest = sorted(token, key=lambda piece: -token[piece])[:COMPARED]
    return all(piece in other and abs(token[piece] - other[piece]) <= TOLERANCE for piece in likeliest)


def _rounded(fingerprint: Fingerprint) -> list[object]:
    return [
        [text, [{piece: round(number, 3) for piece, number in token.items()} for token in tokens]]
        for text, tokens in fingerprint
    ]


def _kept_fingerprints(file: Path) -> dict[str, dict[str, Fingerprint]]:
    with suppress(InputError, ValueError, TypeError, AttributeError):
        return {
            server: {digest: [_answer(*answer) for answer in answers] for digest, answers in of_server.items()}
            for server, of_server in json.loads(read_uncached(file)).items()
        }
    return {}


def _answer(text: str, tokens: Sequence[Mapping[str, float]]) -> tuple[str, list[dict[str, float]]]:
    return text, [{piece: float(number) for piece, number in token.items()} for token in tokens]


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
