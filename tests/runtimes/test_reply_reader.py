"""Whatever a server sends as an answer becomes a reply of the right shape, or one of our errors."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Mapping
from random import Random
from typing import Any

import pytest

from promptkit.errors import PromptkitError
from promptkit.runtimes.base import Message, Reply, Request
from promptkit.runtimes.reply_reader import ReplyReader, logprob
from promptkit.runtimes.serialization import reply_from, reply_record
from promptkit.runtimes.servers.http import Server
from promptkit.runtimes.servers.ollama import Ollama
from promptkit.runtimes.servers.openai import OpenAI
from promptkit.runtimes.servers.probes import NO_DIALECT

TOKEN = {"token": "a", "logprob": -1.0, "bytes": [97], "top_logprobs": [{"token": "a", "logprob": -1.0}]}
OPENAI_PART = {
    "choices": [
        {
            "delta": {"content": "a", "reasoning_content": "b"},
            "text": "c",
            "finish_reason": "stop",
            "logprobs": {"content": [TOKEN]},
        }
    ],
    "usage": {
        "prompt_tokens": 3,
        "completion_tokens": 2,
        "completion_tokens_details": {"reasoning_tokens": 1},
    },
}
OLLAMA_PART = {
    "message": {"content": "a", "thinking": "b"},
    "response": "c",
    "done": True,
    "done_reason": "stop",
    "eval_count": 3,
    "prompt_eval_count": 4,
    "load_duration": 5,
    "logprobs": [TOKEN],
}
JUNK: tuple[Any, ...] = (None, True, False, 0, -1, 2.5, "", "x", "1", [], {}, [1], {"a": 1})
ASKED = Request(messages=(Message("user", "hello"),), alternatives=1)


def damaged(value: Any, random: Random) -> Any:
    """Return JSON with something in it missing, or of another kind, here and there."""
    if random.random() < 0.05:
        return random.choice(JUNK)
    if isinstance(value, dict):
        return {key: damaged(inner, random) for key, inner in value.items() if random.random() > 0.05}
    return [damaged(inner, random) for inner in value] if isinstance(value, list) else value


def _hear(text: str) -> None:
    """Listen, since pieces are told where somebody does."""
    assert isinstance(text, str)


def openai() -> Callable[[], Any]:
    runtime = OpenAI("mini", base_url="http://127.0.0.1:1/v1")
    return lambda: runtime._send(ASKED, NO_DIALECT, _hear)


def ollama() -> Callable[[], Any]:
    runtime = Ollama("tiny", host="http://127.0.0.1:1")
    return lambda: runtime._collect({"messages": []}, ASKED, _hear)


@pytest.mark.attack("fuzz")
@pytest.mark.parametrize(
    ("ask", "part", "prefix"), [(openai, OPENAI_PART, b"data: "), (ollama, OLLAMA_PART, b"")], ids=["openai", "ollama"]
)
async def test_a_damaged_answer_is_a_reply_or_our_error(
    monkeypatch: pytest.MonkeyPatch, ask: Callable[[], Callable[[], Any]], part: Mapping[str, Any], prefix: bytes
) -> None:
    random = Random(1)

    async def lines(server: Server, path: str, body: object) -> AsyncIterator[bytes]:
        for _ in range(random.choice([1, 2])):
            yield prefix + json.dumps(damaged(part, random)).encode()

    monkeypatch.setattr(Server, "lines", lines)
    send, whole = ask(), 0
    for _ in range(1500):
        await asyncio.sleep(0)
        try:
            reply: Reply = await send()
        except PromptkitError:
            continue
        whole += 1
        assert reply_from(json.loads(json.dumps(reply_record(reply)))) == reply
        assert {type(count) for count in (reply.tokens_in, reply.tokens_out)} <= {int, type(None)}
    assert whole > 100


LIMITS: list[tuple[list[tuple[str, str]], bool]] = [
    ([("a" * 128 * 2, "")], False),
    ([("a" * (128 * 2 + 1), "")], True),
    ([("a", "")] * (4 * 2 + 64), False),
    ([("a", "")] * (4 * 2 + 65), True),
    ([("", "a" * 16 * (2**16 + 2))], False),
    ([("", "a" * (16 * (2**16 + 2) + 1))], True),
]


@pytest.mark.parametrize(("pieces", "is_past"), LIMITS)
def test_a_server_that_sends_more_than_two_tokens_can_be_is_past_the_limit(
    pieces: list[tuple[str, str]], is_past: bool
) -> None:
    reader = ReplyReader("tiny", limit=2)
    for text, thought in pieces:
        reader.add(text, thought, None)
    assert reader.past_limit is is_past


@pytest.mark.parametrize(
    ("value", "fits"), [(0.01, True), (0.0101, False), (float("-inf"), True), (float("nan"), False)]
)
def test_a_log_probability_is_at_most_zero_but_for_rounding(value: float, fits: bool) -> None:
    if fits:
        assert logprob(value) == value
    else:
        with pytest.raises(ValueError, match="range"):
            logprob(value)
