"""The time until a reply's first token, and how fast the others follow."""

from __future__ import annotations

import json
from typing import Any

import pytest

from promptkit.runtimes import reply_reader
from promptkit.runtimes.base import FASTEST, Message, Reply, Request, Thought
from promptkit.runtimes.reply_reader import ReplyReader
from promptkit.runtimes.scripted import Scripted
from promptkit.runtimes.serialization import reply_from, reply_record

ASKED = Request(messages=(Message("user", "How many?"),))


class Clock:
    """A clock that a test sets."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 100.0
        monkeypatch.setattr(reply_reader, "perf_counter", lambda: self.now)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    return Clock(monkeypatch)


def read(clock: Clock, *pieces: tuple[float, str, str], until: float, seconds: float) -> Reply:
    """Return a reply whose pieces (seconds, text, thought) arrive at these times."""
    reader = ReplyReader("tiny")
    for at, text, thought in pieces:
        clock.now = 100.0 + at
        reader.add(text, thought, None)
    reader.end("stop")
    reader.end_text()
    clock.now = 100.0 + until
    return reader.reply(tokens_in=5, tokens_out=max(1, len(pieces)), tokens_thought=None, seconds=seconds)


def test_the_first_piece_counts_be_it_a_thought(clock: Clock) -> None:
    assert read(clock, (0.5, "a", ""), (2.0, "b", ""), until=2.0, seconds=2.0).first_token == pytest.approx(0.5)
    assert read(clock, (0.25, "", "hm"), (2.0, "b", ""), until=2.0, seconds=2.0).first_token == pytest.approx(0.25)


def test_an_empty_piece_is_no_token(clock: Clock) -> None:
    assert read(clock, (0.1, "", ""), (1.0, "b", ""), until=2.0, seconds=2.0).first_token == pytest.approx(1.0)
    assert read(clock, until=2.0, seconds=2.0).first_token is None


def test_what_is_not_the_runtimes_time_comes_before_the_first_token(clock: Clock) -> None:
    """Loading took 3 of 5 seconds, and does not count."""
    assert read(clock, (3.5, "a", ""), until=5.0, seconds=2.0).first_token == pytest.approx(0.5)
    assert read(clock, (0.5, "a", ""), until=5.0, seconds=2.0).first_token == 0.0


@pytest.mark.parametrize(
    ("tokens", "first", "seconds", "speed"),
    [
        (11, 0.5, 1.5, 10.0),
        (1, 0.5, 1.5, None),
        (None, 0.5, 1.5, None),
        (11, None, 1.5, None),
        (11, 1.5, 1.5, None),
        (FASTEST + 1, 0.5, 1.5, None),
        (FASTEST, 0.5, 1.5, FASTEST - 1),
    ],
)
def test_the_speed_is_that_of_the_tokens_after_the_first(
    tokens: int | None, first: float | None, seconds: float, speed: float | None
) -> None:
    assert Reply(text="x", tokens_out=tokens, first_token=first, seconds=seconds).tokens_a_second == speed


def test_the_time_is_kept_and_replies_of_an_older_promptkit_have_none() -> None:
    reply = Reply(text="x", seconds=1.5, first_token=0.5)
    assert reply_from(json.loads(json.dumps(reply_record(reply)))) == reply
    assert reply_from({"text": "x", "seconds": 1.5}).first_token is None


@pytest.mark.parametrize("wrong", [-1, "soon", True, float("inf")])
def test_a_time_that_cannot_be_is_refused(wrong: Any) -> None:
    with pytest.raises((TypeError, ValueError)):
        reply_from({"text": "x", "first_token": wrong})


async def test_a_script_with_a_delay_streams_thoughts_before_the_answer() -> None:
    heard: list[str] = []
    runtime = Scripted([Reply(text="It is 7.", thoughts="3 + 4", tokens_out=7)], delay=0.01)
    reply = await runtime.answer(ASKED, heard.append)
    thoughts = [piece for piece in heard if isinstance(piece, Thought)]
    assert ("".join(thoughts), "".join(heard[len(thoughts) :])) == ("3 + 4", "It is 7.")
    assert reply.first_token == pytest.approx(reply.seconds / len(heard))


async def test_a_script_without_a_delay_says_nothing_of_the_time() -> None:
    assert (await Scripted(["7"]).answer(ASKED)).first_token is None
