"""What of a streamed reply is sent before the reply is whole."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from promptkit.answers.base import Unparsed
from promptkit.answers.text import Text
from promptkit.api.session import load
from promptkit.engine.session import TextArrived
from promptkit.runtimes.base import Message, Request, Thought
from promptkit.server.http.live_text import HELD, LiveText, live_step
from tests.server.http.serving import write_project

REQUEST = Request()
WORDS = "The quick brown fox jumps over the lazy dog, and then it goes to sleep under a tree."


def arrived(text: str, *, request: Request = REQUEST, step: str = "answer") -> TextArrived:
    return TextArrived(step=step, item=None, request=request, text=text)


def sent(pieces: list[str]) -> str:
    live = LiveText("answer")
    return "".join(live.feed(arrived(piece)) for piece in pieces)


def test_nothing_is_sent_until_the_beginning_is_known() -> None:
    live = LiveText("answer")
    assert live.feed(arrived(WORDS[: HELD - 1])) == ""
    assert live.feed(arrived(WORDS[HELD - 1 : HELD])) == WORDS[:HELD].rstrip()
    assert live.feed(arrived(WORDS[HELD:])) == WORDS[len(WORDS[:HELD].rstrip()) :]


@pytest.mark.parametrize("begin", ["Answer: ", "**Answer:** ", '"', "*", "`", "“", "\\boxed{"])
def test_a_dressed_reply_is_sent_at_its_end(begin: str) -> None:
    assert sent([begin + WORDS]) == ""


@pytest.mark.parametrize(
    "request_", [Request(begun="Output:"), Request(messages=(Message("user", "Tell me.\nOutput:\n"),))]
)
def test_a_reply_that_repeats_its_cue_is_sent_at_its_end(request_: Request) -> None:
    live = LiveText("answer")
    assert live.feed(arrived(f"output: {WORDS}", request=request_)) == ""
    assert live.feed(arrived(WORDS, request=request_)) == ""


def test_blanks_at_the_end_and_an_invented_question_are_held_back() -> None:
    assert sent([f"  {WORDS}\n", "\nQues", "tion: What else?", " And more."]) == WORDS
    assert sent([f"{WORDS}\n", "Quick."]) == f"{WORDS}\nQuick."


def test_thoughts_other_steps_and_repairs_are_not_sent() -> None:
    live = LiveText("answer")
    assert live.feed(arrived(Thought(WORDS))) == ""
    assert live.feed(arrived(WORDS, step="plan")) == ""
    assert live.feed(arrived(WORDS)) == WORDS
    assert live.feed(arrived(WORDS, request=Request(max_tokens=7))) == ""
    assert live.rest(f"{WORDS} More.") == " More."
    assert live.rest("Other.") is None


PIECES = [WORDS, " ", "\n", "Q", ":", "uestion", "Answer: ", "word", '"', "*", "."]


@given(st.lists(st.sampled_from(PIECES), max_size=12))
def test_what_is_sent_begins_the_answer_that_is_read(pieces: list[str]) -> None:
    live = LiveText("answer")
    for piece in pieces:
        live.feed(arrived(piece))
    try:
        answer = Text().find("".join(pieces)).value
    except Unparsed:
        return
    assert live.rest(answer) is not None


STEPS = """\
inputs: {{question: {{}}}}
steps:
  plan: {{prompt: "Plan. {{{{ question }}}}"}}
  answer: {{prompt: "Answer. {{{{ question }}}} {{{{ plan }}}}"{more}}}
"""


@pytest.mark.parametrize(
    ("more", "step"),
    [
        ("", "answer"),
        (", answer: number", None),
        (", technique: chain_of_thought", None),
        (", repeat: {max: 2}", None),
        (", guard: {expr: \"'x' in result\"}", None),
        (", for_each: [1, 2], as: part", None),
        (', cue: "So:"', None),
    ],
)
def test_only_the_pieces_of_a_plain_last_step_are_the_answer(tmp_path: Path, more: str, step: str | None) -> None:
    folder = write_project(tmp_path, {"steps": STEPS.format(more=more)})
    assert live_step(load(folder / "pipelines" / "steps.yaml")) == step


def test_the_step_of_a_sub_pipeline_counts_and_an_output_that_is_made_does_not(tmp_path: Path) -> None:
    texts = {
        "inner": STEPS.format(more=""),
        "outer": "inputs: {question: {}}\nsteps:\n  ask: {pipeline: inner}\n",
        "made": STEPS.format(more="") + "output: '{{ answer }}'\n",
    }
    folder = write_project(tmp_path, texts) / "pipelines"
    assert live_step(load(folder / "outer.yaml")) == "ask.answer"
    assert live_step(load(folder / "made.yaml")) is None
