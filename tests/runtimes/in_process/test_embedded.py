"""The embedded runtime on the real default model."""

from __future__ import annotations

import asyncio
import json
import math
import time
from dataclasses import replace
from pathlib import Path

import pytest

from promptkit.errors import ContextOverflow, ModelLoadFailed, RequestRefused, ServerFailed
from promptkit.runtimes.base import Message, Request
from promptkit.runtimes.in_process.embedded import Embedded

REVIEW = (Message("user", "Classify the review as positive or negative: I loved every minute."),)
LABELS = 'root ::= " positive" | " negative"'
ENDLESS = "root ::= [a-z] root"


def chat(text: str, **options: object) -> Request:
    return Request(messages=(Message("user", text),), **{"max_tokens": 8, **options})  # type: ignore[arg-type]


async def test_the_model_is_described_by_its_own_file(embedded: Embedded, model_file: Path) -> None:
    model = await embedded.model()
    assert model.reference == "embedded/smollm2"
    assert model.context == 1024
    assert model.parallel == 8  # one answered and one waiting in each of 4 slots
    assert model.size == model_file.stat().st_size
    assert {"chat", "complete", "continue", "system", "grammar", "schema", "logprobs"} <= model.capabilities
    assert {"sampling", "stop", "seed", "tokenize", "template", "embeddings"} <= model.capabilities
    assert "think" not in model.capabilities
    weights, _, version = model.digest.partition("+")
    assert len(weights) == 64
    assert version.startswith("llama.cpp-")


async def test_a_chat_is_answered_and_counted(embedded: Embedded) -> None:
    question = chat("Hello!", max_tokens=60)
    reply = await embedded.answer(question)
    assert reply.text
    assert reply.finish == "stop"
    assert reply.tokens_in == len(await embedded.tokenize(await embedded.template(question.messages)))
    assert 0 < (reply.tokens_out or 0) < 60
    assert reply.seconds > 0


async def test_an_answer_that_is_cut_off_says_so(embedded: Embedded) -> None:
    reply = await embedded.answer(chat("Tell me a long story.", max_tokens=3))
    assert reply.finish == "length"
    assert reply.tokens_out == 3


async def test_a_begun_turn_is_continued_and_not_repeated(embedded: Embedded) -> None:
    question = chat("What is the capital of France?", begun="The capital of France is", max_tokens=2)
    reply = await embedded.answer(question)
    assert reply.text.startswith(" Paris")
    shown = await embedded.template(question.messages, question.begun)
    assert shown.endswith("<|im_start|>assistant\nThe capital of France is")
    assert (await embedded.answer(Request(prompt=shown, max_tokens=2))).text == reply.text


async def test_a_whole_assistant_turn_before_the_last_is_no_begun_answer(embedded: Embedded) -> None:
    turns = (*REVIEW, Message("assistant", "positive"))
    assert (await embedded.template(turns)).endswith("positive<|im_end|>\n<|im_start|>assistant\n")


async def test_a_raw_text_is_continued_without_a_template(embedded: Embedded) -> None:
    assert (await embedded.answer(Request(prompt="The capital of France is", max_tokens=1))).text == " Paris"


async def test_a_system_message_reaches_the_template(embedded: Embedded) -> None:
    shown = await embedded.template((Message("system", "Be terse."), *REVIEW))
    assert shown.startswith("<|im_start|>system\nBe terse.<|im_end|>")


async def test_a_grammar_leaves_only_its_own_words(embedded: Embedded) -> None:
    reply = await embedded.answer(Request(messages=REVIEW, begun="Sentiment:", grammar=LABELS, max_tokens=8))
    assert reply.text in (" positive", " negative")
    assert reply.finish == "stop"


async def test_a_schema_gives_json_that_fits_it(embedded: Embedded) -> None:
    schema = {
        "type": "object",
        "properties": {"age": {"type": "integer"}},
        "required": ["age"],
        "additionalProperties": False,
    }
    reply = await embedded.answer(chat("Ann is 31. Write her age as JSON.", schema=schema, max_tokens=60))
    assert isinstance(json.loads(reply.text)["age"], int)


async def test_a_stop_text_ends_the_answer_before_itself(embedded: Embedded) -> None:
    reply = await embedded.answer(Request(prompt="1, 2, 3, 4, 5, 6, 7, 8,", stop=(" 11",), max_tokens=20))
    assert reply.text.endswith(" 10,")
    assert reply.finish == "stop"


async def test_a_seed_repeats_a_sample_and_samples_differ(embedded: Embedded) -> None:
    def ask(sample: str) -> Request:
        return Request(prompt="Once", temperature=1.5, seed=7, sample=sample, max_tokens=12)

    first, again, other = [(await embedded.answer(ask(sample))).text for sample in ("0", "0", "1")]
    assert first == again
    assert first != other


async def test_pieces_arrive_in_order_on_the_event_loop(embedded: Embedded) -> None:
    loop = asyncio.get_running_loop()
    pieces: list[str] = []

    def show(piece: str) -> None:
        assert asyncio.get_running_loop() is loop
        pieces.append(piece)

    reply = await embedded.answer(Request(prompt="1, 2, 3, 4,", max_tokens=8), show)
    assert len(pieces) > 1
    assert "".join(pieces) == reply.text


async def test_log_probabilities_are_those_before_the_grammar(embedded: Embedded) -> None:
    free = Request(messages=REVIEW, begun="Sentiment:", max_tokens=1, alternatives=50)
    bound = Request(messages=REVIEW, begun="Sentiment:", max_tokens=1, alternatives=50, grammar=LABELS)
    tokens = [(await embedded.answer(request)).tokens[0] for request in (free, bound)]
    shares = [{one.piece: one.logprob for one in token.alternatives} for token in tokens]
    assert shares[0].keys() == shares[1].keys()
    for piece, logprob in shares[0].items():
        assert shares[1][piece] == pytest.approx(logprob, abs=0.05)
    assert len(shares[0]) == 50
    assert 0.5 < sum(math.exp(logprob) for logprob in shares[0].values()) <= 1.001


async def test_log_probabilities_are_there_when_a_token_ends_within_a_character(embedded: Embedded) -> None:
    reply = await embedded.answer(Request(prompt="Emoji: 🦙", max_tokens=1, alternatives=3))
    assert len(reply.tokens) == 1
    best = max(reply.tokens[0].alternatives, key=lambda one: one.logprob)
    with pytest.raises(UnicodeDecodeError):
        best.piece.decode()


async def test_tokens_are_bytes_that_join_to_the_text(embedded: Embedded) -> None:
    text = "Sentiment: prächtig 🦙\n"
    pieces = await embedded.tokenize(text)
    assert b"".join(pieces) == text.encode()
    assert len(pieces) > 5
    assert await embedded.tokenize("") == ()


async def test_several_requests_are_answered_at_once(embedded: Embedded) -> None:
    sums = [(a, a + 1) for a in range(6)]
    requests = [Request(prompt=f"{a}, {b},", max_tokens=1) for a, b in sums]
    alone = [(await embedded.answer(request)).text for request in requests]
    together = await asyncio.gather(*(embedded.answer(request) for request in requests))
    assert [reply.text for reply in together] == alone


async def test_the_event_loop_is_free_while_the_model_works(embedded: Embedded) -> None:
    asking = asyncio.create_task(embedded.answer(chat("Tell me a story.", max_tokens=12)))
    turns = 0
    while not asking.done():
        await asyncio.sleep(0.001)
        turns += 1
    assert turns > 10


async def test_the_time_of_an_answer_leaves_out_the_wait_for_a_slot(embedded: Embedded) -> None:
    started = time.perf_counter()
    replies = await asyncio.gather(*(embedded.answer(chat(f"Count to {n}0.", max_tokens=12)) for n in range(8)))
    assert 0 < max(reply.seconds for reply in replies) < time.perf_counter() - started


async def test_a_prompt_is_read_whole_where_its_beginning_is_not_to_be_reused(embedded: Embedded) -> None:
    again = Request(prompt="Red, green, blue and yellow are", max_tokens=2)
    await embedded.answer(again)
    kept, whole = [await embedded.answer(replace(again, reuse_prefix=reuse)) for reuse in (True, False)]
    assert kept.tokens_reused and whole.tokens_reused == 0
    assert whole.prompt_seconds and whole.prompt_tokens_a_second


async def test_the_memory_that_loading_took_is_known(embedded: Embedded, model_file: Path) -> None:
    memory = await embedded.memory()
    assert memory is None or memory.size > model_file.stat().st_size / 2


async def test_cancelling_frees_the_slots_at_once(embedded: Embedded) -> None:
    pieces: list[str] = []
    asked = [chat(f"Count to {n}000.", max_tokens=900, grammar=ENDLESS) for n in range(5)]
    running = [asyncio.create_task(embedded.answer(request, pieces.append)) for request in asked]
    while len(pieces) < 8:
        await asyncio.sleep(0.01)
    for task in running:
        task.cancel()
    ended = await asyncio.gather(*running, return_exceptions=True)
    assert all(isinstance(one, asyncio.CancelledError) for one in ended)
    shown = len(pieces)
    started = time.monotonic()
    await embedded.answer(chat("Say yes.", max_tokens=1))
    assert time.monotonic() - started < 5  # 900 tokens in each of 4 slots would take much longer
    assert len(pieces) == shown


async def test_cancelling_stops_a_long_prompt_being_read(embedded: Embedded) -> None:
    words = " ".join(str(number) for number in range(200))
    asking = asyncio.create_task(embedded.answer(Request(prompt=words, max_tokens=500)))
    await asyncio.sleep(0.05)
    asking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asking
    assert (await embedded.answer(Request(prompt="The capital of France is", max_tokens=1))).text == " Paris"


async def test_a_prompt_that_does_not_fit_is_refused_with_both_numbers(embedded: Embedded) -> None:
    with pytest.raises(ContextOverflow, match=r"the prompt has \d{4} tokens, the window 1024"):
        await embedded.answer(Request(prompt="one two " * 600, max_tokens=1))


async def test_a_larger_window_reloads_once_and_one_beyond_training_is_refused(model_file: Path) -> None:
    runtime = Embedded(model_file, reference="small", context=256, slots=1)
    running = asyncio.create_task(runtime.answer(Request(prompt="1, 2,", max_tokens=3)))
    long = Request(prompt="one two " * 150, max_tokens=1, context=512)
    assert (await runtime.answer(long)).tokens_in == 301
    assert (await running).tokens_out == 3
    assert (await runtime.model()).context == 512
    with pytest.raises(ContextOverflow, match="8192"):
        await runtime.answer(Request(prompt="a", context=100_000))
    await runtime.close()


@pytest.mark.parametrize(
    "request_",
    [
        Request(prompt="a", grammar="root ::= (", max_tokens=1),
        Request(prompt="a \ud800", max_tokens=1),
        Request(messages=(Message("user", "a \ud800"),), max_tokens=1),
        Request(prompt="a", stop=("\ud800",), max_tokens=1),
        Request(prompt="", max_tokens=1),
    ],
    ids=[
        "a broken grammar",
        "half a character",
        "half a character in a chat",
        "half a character to stop at",
        "no prompt",
    ],
)
async def test_what_cannot_be_asked_is_refused(embedded: Embedded, request_: Request) -> None:
    with pytest.raises(RequestRefused):
        await embedded.answer(request_)


async def test_closing_ends_what_runs_and_is_safe_at_any_time(model_file: Path) -> None:
    never_used = Embedded(model_file, reference="unused")
    await never_used.close()
    runtime = Embedded(model_file, reference="closed", context=512, slots=1)
    await runtime.model()
    running = asyncio.create_task(runtime.answer(Request(prompt="1, 2,", max_tokens=400)))
    await asyncio.sleep(0.3)
    await runtime.close()
    await runtime.close()
    with pytest.raises(ServerFailed, match="closed"):
        await running
    with pytest.raises(ServerFailed, match="closed"):
        await runtime.model()


async def test_a_loaded_model_may_be_closed_at_once(model_file: Path) -> None:
    runtime = Embedded(model_file, reference="brief", context=64, slots=1)
    await runtime.model()
    await runtime.close()


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (None, "no such file"),
        (b"", "not a GGUF file"),
        (b"<!doctype html>", "not a GGUF file"),
        (b"version https://git-lfs.github.com/spec/v1\n", "pointer"),
        (b"GGUF\x03\x00\x00\x00" + bytes(1000), "cut off"),
    ],
    ids=["missing", "empty", "a web page", "a git-lfs pointer", "truncated"],
)
async def test_a_file_that_is_no_model_is_named_with_the_reason(
    tmp_path: Path, content: bytes | None, reason: str
) -> None:
    path = tmp_path / "model.gguf"
    if content is not None:
        path.write_bytes(content)
    runtime = Embedded(path, reference="broken")
    with pytest.raises(ModelLoadFailed, match=reason) as caught:
        await runtime.model()
    assert "model.gguf" in str(caught.value)
    await runtime.close()


async def test_a_folder_is_no_model(tmp_path: Path) -> None:
    with pytest.raises(ModelLoadFailed, match="it is a folder"):
        await Embedded(tmp_path, reference="folder").model()


async def test_a_model_cut_off_in_the_middle_is_refused(tmp_path: Path, model_file: Path) -> None:
    path = tmp_path / "half.gguf"
    with model_file.open("rb") as whole:
        path.write_bytes(whole.read(30_000_000))
    with pytest.raises(ModelLoadFailed, match=r"half\.gguf.*cut off"):
        await Embedded(path, reference="half").model()
