"""The timings that servers report of a request, and the speeds that a reply has by them."""

from __future__ import annotations

from typing import Any

import pytest

from promptkit.runtimes.base import Reply
from promptkit.runtimes.server_timings import llama_timings, ollama_timings, openai_timings

LLAMA = {"cache_n": 30, "prompt_n": 70, "prompt_ms": 500, "predicted_n": 11, "predicted_ms": 2000.0}


def test_llama_cpp_reports_reused_tokens_and_milliseconds() -> None:
    expected = {"tokens_reused": 30, "prompt_seconds": 0.5, "output_seconds": 2.0}
    assert llama_timings(LLAMA) == expected
    assert openai_timings({"prompt_tokens_details": {"cached_tokens": 5}}, LLAMA) == expected


def test_ollama_reports_nanoseconds_and_not_what_it_reused() -> None:
    assert ollama_timings({"prompt_eval_duration": 5 * 10**8, "eval_duration": 2 * 10**9}) == {
        "prompt_seconds": 0.5,
        "output_seconds": 2.0,
    }


def test_other_servers_may_report_cached_tokens() -> None:
    assert openai_timings({"prompt_tokens_details": {"cached_tokens": 5}}, None) == {"tokens_reused": 5}
    assert openai_timings({"prompt_tokens_details": None}, None) == {}


@pytest.mark.parametrize("wrong", [-1, "5", True, None, float("nan"), float("inf"), 10**40, [], 0])
def test_a_timing_that_cannot_be_true_is_left_out(wrong: Any) -> None:
    assert llama_timings({**LLAMA, "prompt_ms": wrong})["prompt_seconds"] is None
    assert ollama_timings({"eval_duration": wrong})["output_seconds"] is None


@pytest.mark.parametrize("wrong", [[], "fast", 5, {"cache_n": {}, "prompt_ms": [1]}, {"prompt_tokens_details": [3]}])
def test_no_shape_of_timings_fails_the_answer(wrong: Any) -> None:
    assert not any(llama_timings(wrong).values())
    assert not any(openai_timings({"prompt_tokens_details": wrong}, None).values())


def test_speeds_go_by_the_servers_own_timings() -> None:
    reply = Reply(
        text="x",
        tokens_in=100,
        tokens_out=11,
        tokens_reused=30,
        seconds=9.0,
        first_token=8.5,
        prompt_seconds=0.5,
        output_seconds=2.0,
    )
    assert reply.tokens_a_second == 5.0
    assert reply.prompt_tokens_a_second == 140.0


@pytest.mark.parametrize(
    "fields", [{"tokens_reused": None}, {"prompt_seconds": None}, {"tokens_in": None}, {"tokens_reused": 100}]
)
def test_the_speed_of_reading_is_not_known_without_the_tokens_that_were_read(fields: dict[str, Any]) -> None:
    known: dict[str, Any] = {"tokens_in": 100, "tokens_reused": 0, "prompt_seconds": 0.5}
    assert Reply(text="x", **known).prompt_tokens_a_second == 200.0
    assert Reply(text="x", **{**known, **fields}).prompt_tokens_a_second is None
