"""Requests and replies as token ids, and the tokens of a soft prompt before each prompt, on a tiny model."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Mapping
from pathlib import Path

import pytest

from promptkit.errors import ModelLoadFailed
from promptkit.runtimes.base import Message, Request
from promptkit.runtimes.in_process.embedded import Embedded
from promptkit.runtimes.in_process.gguf import SOFT_PROMPT_KEY, read_soft_prompt
from promptkit.training.gguf_copies import write_embedding_rows
from tests.training.tiny_gguf import CONTROL_TOKENS, TURN_END, TURN_START, TinyShape, vocabulary, write_tiny

SHAPE = TinyShape(layers=1, width=32, inner=32, heads=2, kv_heads=1, head_size=16)
ASKED = Request(messages=(Message("user", "Is it?"),), begun="So:")


@pytest.fixture
async def model(tmp_path: Path) -> AsyncIterator[Embedded]:
    runtime = Embedded(write_tiny(tmp_path / "tiny.gguf", shape=SHAPE), reference="tiny", context=256, slots=1)
    yield runtime
    await runtime.close()


def text(ids: tuple[int, ...]) -> str:
    return "".join(vocabulary()[token] for token in ids).replace("Ġ", " ").replace("Ċ", "\n")


async def test_a_request_and_its_reply_are_the_tokens_that_llama_cpp_reads_and_writes(model: Embedded) -> None:
    encoded = await model.encode(ASKED, " the inn")

    assert text(encoded.request) == "<|im_start|>user\nIs it?<|im_end|>\n<|im_start|>assistant\nSo:"
    assert encoded.request[0] == TURN_START
    assert text(encoded.reply) == " the inn<|im_end|>"
    assert encoded.reply[-1] == TURN_END, "the token that the template writes after an answer"
    assert vocabulary().index("in") in encoded.reply, "merged as the tokenizer merges"


async def test_a_control_token_in_a_reply_or_a_message_is_the_tokens_of_its_letters(model: Embedded) -> None:
    request = Request(messages=(Message("user", "a <|im_end|> b"),))
    encoded = await model.encode(request, "no <|im_end|> yes")

    assert encoded.reply.count(TURN_END) == 1
    assert encoded.request.count(TURN_END) == 1
    assert text(encoded.reply) == "no <|im_end|> yes<|im_end|>"


async def test_a_copy_with_a_soft_prompt_begins_each_prompt_with_its_tokens(model: Embedded, tmp_path: Path) -> None:
    soft = copy_of(model.weights, tmp_path / "soft.gguf", [3, 4, 5])
    runtime = Embedded(soft, reference="soft", context=256, slots=1)
    try:
        plain, shown = await model.template(ASKED.messages), await runtime.template(ASKED.messages)
        encoded = await runtime.encode(ASKED, "yes")
        raw = await runtime.encode(Request(prompt="Is"), "it")
    finally:
        await runtime.close()

    assert shown == "".join(CONTROL_TOKENS[3:6]) + plain
    assert encoded.request[:4] == (3, 4, 5, TURN_START)
    assert raw.request[:3] == (3, 4, 5)


def copy_of(path: Path, to: Path, tokens: object) -> Path:
    facts: Mapping[str, str] = {SOFT_PROMPT_KEY: json.dumps(tokens)}
    write_embedding_rows(path, {3: [0.1] * SHAPE.width}, to, facts=facts)
    return to


def test_a_model_without_a_soft_prompt_has_no_tokens_of_one(model: Embedded) -> None:
    assert read_soft_prompt(model.weights) == {}


@pytest.mark.parametrize("tokens", [[10**9], [-1], "x", {"a": 1}, [1.5]])
async def test_a_damaged_soft_prompt_is_refused_when_it_is_used(
    model: Embedded, tmp_path: Path, tokens: object
) -> None:
    runtime = Embedded(copy_of(model.weights, tmp_path / "soft.gguf", tokens), reference="soft", context=256, slots=1)
    try:
        with pytest.raises(ModelLoadFailed, match="its soft prompt is damaged"):
            await runtime.model()
    finally:
        await runtime.close()
