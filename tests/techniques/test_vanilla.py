"""`vanilla`: one call, the answer at once."""

from pathlib import Path
from typing import Any

import pytest

from promptkit.errors import Unsupported
from promptkit.prompts.prompt import Example
from promptkit.runtimes.base import Alternative, Reply, Request, Token
from promptkit.techniques.cost import cost
from promptkit.techniques.perform import perform
from promptkit.techniques.spec import configure
from tests.techniques.steps import ALL, MARKED, Bench, in_order, marked_example, without

EXAMPLES = (Example({"question": "FIRST 2+2?"}, 4, "REASON-ONE"), Example({"question": "SECOND 5+1?"}, 6, "REASON-TWO"))


async def test_zero_shot_is_one_request_that_keeps_every_section(tmp_path: Path) -> None:
    bench = Bench(tmp_path, ["7"])

    answer = await perform("vanilla", bench.step())

    assert (answer.value, answer.flag) == (7, None)
    assert len(bench.runtime.requests) == 1
    marks = ["PERSONA-MARK", "INSTRUCTIONS-MARK", "CONTEXT-MARK", "QUESTION-MARK", "RECAP-MARK"]
    assert in_order(bench.texts[0], marks)
    assert "step by step" not in bench.texts[0]


async def test_few_shot_shows_the_examples_in_order_without_their_thoughts(tmp_path: Path) -> None:
    bench = Bench(tmp_path, ["7\n\nQ: 9+9\nA: 18"])

    answer = await perform("vanilla", bench.step(examples=EXAMPLES, decide="generate"))

    assert answer.value == 7
    assert in_order(bench.texts[0], ["FIRST 2+2?", "4", "SECOND 5+1?", "6", "QUESTION-MARK"])
    assert "REASON" not in bench.texts[0]
    assert bench.texts[0].endswith("\nOutput:")


async def test_the_cue_begins_the_answer_and_the_grammar_follows_it(tmp_path: Path) -> None:
    bench = Bench(tmp_path, [" 7"])

    await perform("vanilla", bench.step(cue="Result:"))

    request = bench.runtime.requests[0]
    assert request.begun == "Result:"
    assert request.grammar is not None


async def test_cue_none_sends_no_cue(tmp_path: Path) -> None:
    bench = Bench(tmp_path, ["7"])

    await perform("vanilla", bench.step(cue="none"))

    assert bench.runtime.requests[0].begun == ""


async def test_a_runtime_without_grammars_generates_and_says_so(tmp_path: Path) -> None:
    bench = Bench(tmp_path, ["It is 7."], capabilities=without("grammar", "schema"))

    answer = await perform("vanilla", bench.step())

    assert answer.value == 7
    assert any("decide: generate" in notice for notice in bench.notices)


async def test_strict_makes_a_grammar_that_cannot_be_enforced_an_error_before_the_call(tmp_path: Path) -> None:
    bench = Bench(tmp_path, ["7"], capabilities=without("grammar", "schema"))

    with pytest.raises(Unsupported):
        await perform("vanilla", bench.step(strict=True))

    assert bench.runtime.requests == []


async def test_a_runtime_that_cannot_score_constrains_and_says_so(tmp_path: Path) -> None:
    bench = Bench(tmp_path, [" yes"], {"label": ["yes", "no"]}, capabilities=without("logprobs"))

    answer = await perform("vanilla", bench.step(decide="score"))

    assert answer.value == "yes"
    assert bench.runtime.requests[0].grammar
    assert any("cannot score" in notice for notice in bench.notices)


async def test_offsets_are_used_on_their_own_model_only(tmp_path: Path) -> None:
    def leaning(request: Request) -> Reply:
        shown = (Alternative(piece=b" yes", logprob=-0.5), Alternative(piece=b" no", logprob=-1.0))
        return Reply(text=" yes", tokens=(Token(piece=b" yes", logprob=-0.5, alternatives=shown),))

    bench = Bench(tmp_path, leaning, {"label": ["yes", "no"]}, reference="embedded/smollm2")
    calibrate = {"method": "batch", "model": "embedded/smollm2", "offsets": {"yes": -1, "no": 1}}
    own = await perform("vanilla", bench.step(decide="score", calibrate=calibrate))
    assert (own.value, bench.notices) == ("no", [])

    others = await perform("vanilla", bench.step(decide="score", calibrate={**calibrate, "model": "ollama/other"}))
    assert others.value == "yes"
    assert bench.notices == [
        "the offsets of `calibrate` are those of ollama/other; embedded/smollm2 scores without them"
    ]


async def test_what_does_not_parse_is_flagged_and_named_in_the_trace(tmp_path: Path) -> None:
    bench = Bench(tmp_path, ["no idea"])

    answer = await perform("vanilla", bench.step(decide="generate"))

    assert (answer.value, answer.flag) == (None, "unparsed")
    assert bench.records[0].problem


async def test_an_answer_that_ran_out_of_tokens_is_truncated(tmp_path: Path) -> None:
    from promptkit.runtimes.base import Reply

    bench = Bench(tmp_path, [Reply(text="one two", finish="length")], "text")

    answer = await perform("vanilla", bench.step())

    assert answer.flag == "truncated"


@pytest.mark.parametrize("decide", ["generate", "constrain"])
async def test_it_costs_what_it_says(tmp_path: Path, decide: Any) -> None:
    bench = Bench(tmp_path, ["7"])

    await perform("vanilla", bench.step(decide=decide))

    most = cost(configure("vanilla", bench.project), bench.project, decide=decide)
    assert (most.calls, most.requests, most.depth) == (1, len(bench.texts), 1)


async def test_each_call_shows_and_hides(tmp_path: Path) -> None:
    bench = Bench(tmp_path, ["7"], prompt=MARKED)

    await perform("vanilla", bench.step(examples=(marked_example(2),)))

    assert bench.shown == [("answer", ALL.replace("thoughts ", ""))]


@pytest.mark.parametrize("capabilities", [without(), without("continue")])
@pytest.mark.parametrize(
    ("kind", "outputs", "said", "value"),
    [
        ("text", ("Paris", "Rome"), "Berlin\n\nOutput: Oslo", "Berlin"),
        ("number", (4, 6), "7\n\nInput:\n9+9\nOutput: 18", 7),
        ("text", ("Input: a\nOutput: b", "Rome"), "Input: c\nOutput: d", "Input: c\nOutput: d"),
    ],
)
async def test_an_example_that_the_model_goes_on_to_make_up_is_no_part_of_the_answer(
    tmp_path: Path, kind: str, outputs: tuple[Any, ...], said: str, value: Any, capabilities: frozenset[Any]
) -> None:
    bench = Bench(tmp_path, [Reply(text=said, finish="length")], kind, capabilities=capabilities)
    examples = tuple(Example({"question": "FIRST?"}, output) for output in outputs)

    answer = await perform("vanilla", bench.step(examples=examples, decide="generate"))

    made_up = value != said
    assert (answer.value, answer.flag) == (value, None if made_up else "truncated")


async def test_an_answer_without_examples_may_hold_the_cue_again(tmp_path: Path) -> None:
    bench = Bench(tmp_path, ["Input: c\nOutput: d"], "text")

    assert (await perform("vanilla", bench.step())).value == "Input: c\nOutput: d"
