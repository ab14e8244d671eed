"""`chain_of_thought`: zero-shot in two stages (Kojima et al. 2022), few-shot in one call (Wei et al. 2022)."""

from pathlib import Path
from typing import Any

import pytest

from promptkit.prompts.prompt import Example
from promptkit.runtimes.base import Reply
from promptkit.techniques.cost import cost
from promptkit.techniques.perform import perform, repair
from promptkit.techniques.spec import check_spec, configure
from tests.techniques.steps import ALL, MARKED, Bench, in_order, marked_example, without

TRIGGER = "Let's think step by step."
CHAIN = " 16-3=13, 13-4=9, 9*2=18. Some would say 31."
EXAMPLES = (Example({"question": "FIRST?"}, 4, "R-ONE"), Example({"question": "SECOND?"}, 6, "R-TWO"))


async def test_zero_shot_goes_on_from_its_own_chain_to_the_answer(tmp_path: Path) -> None:
    bench = Bench(tmp_path, [CHAIN, " 18."])

    answer = await perform("chain_of_thought", bench.step(decide="generate"))

    first, second = bench.runtime.requests
    assert answer.value == 18
    assert first.begun == TRIGGER
    assert second.messages == first.messages
    assert second.begun.startswith(f"{TRIGGER}{CHAIN}")
    assert second.begun.endswith("\nTherefore, the answer (arabic numerals) is")


async def test_under_constrain_the_extraction_is_the_deciding_request(tmp_path: Path) -> None:
    bench = Bench(tmp_path, [CHAIN, " 18"])

    answer = await perform("chain_of_thought", bench.step())

    assert answer.value == 18
    assert [request.grammar is not None for request in bench.runtime.requests] == [False, True]
    assert [record.deciding for record in bench.records] == [False, True]


@pytest.mark.parametrize(
    ("answer", "reply", "value", "trigger"),
    [
        ("number", " 18", 18, "Therefore, the answer (arabic numerals) is"),
        ("boolean", " true", True, "Therefore, the answer (true or false) is"),
        ({"choice": ["ten", "nine"]}, " B", "nine", "Therefore, among the options, the answer is"),
        ("text", " nine", "nine", "Therefore, the answer is"),
    ],
)
async def test_each_kind_of_answer_has_a_trigger_of_its_own(
    tmp_path: Path, answer: Any, reply: str, value: Any, trigger: str
) -> None:
    bench = Bench(tmp_path, [CHAIN, reply], answer)

    found = await perform("chain_of_thought", bench.step())

    assert found.value == value
    assert bench.runtime.requests[1].begun.endswith(f"\n{trigger}")


async def test_the_users_cue_wins_over_the_answer_trigger(tmp_path: Path) -> None:
    bench = Bench(tmp_path, [CHAIN, " 18"])

    await perform("chain_of_thought", bench.step(cue="Result:"))

    assert bench.runtime.requests[1].begun.endswith("\nResult:")


async def test_few_shot_reads_the_first_value_after_the_last_cue(tmp_path: Path) -> None:
    bench = Bench(tmp_path, ["10*3=30, minus 4.\nOutput: 26. He had 31 at first."])

    answer = await perform("chain_of_thought", bench.step(examples=EXAMPLES, decide="generate"))

    assert answer.value == 26
    assert len(bench.runtime.requests) == 1
    assert in_order(bench.texts[0], ["FIRST?", "R-ONE", "Output: 4", "SECOND?", "R-TWO", "Output: 6", "QUESTION-MARK"])
    assert TRIGGER not in bench.texts[0]


async def test_few_shot_under_constrain_decides_after_the_thoughts_and_drops_what_the_model_answered_itself(
    tmp_path: Path,
) -> None:
    bench = Bench(tmp_path, ["10*3=30, minus 4.\nOutput: 31", " 26"])

    answer = await perform("chain_of_thought", bench.step(examples=EXAMPLES))

    assert answer.value == 26
    assert bench.runtime.requests[1].begun == "10*3=30, minus 4.\nOutput:"


async def test_a_runtime_that_cannot_continue_gets_the_thoughts_as_a_turn(tmp_path: Path) -> None:
    bench = Bench(tmp_path, [CHAIN, "18"], capabilities=without("continue"))

    answer = await perform("chain_of_thought", bench.step())

    first, second = bench.runtime.requests
    assert answer.value == 18
    assert first.messages[-1].content.endswith(TRIGGER)
    assert [message.role for message in second.messages] == ["user", "assistant", "user"]
    assert second.begun == ""
    assert bench.records[1].notes


async def test_a_repaired_reply_with_thoughts_is_read_after_its_last_cue_too(tmp_path: Path) -> None:
    cut = Reply(text="10*3=30, minus", finish="length")
    bench = Bench(tmp_path, [cut, "10*3=30, minus 4.\nOutput: twenty-six"], "text")
    examples = (Example({"question": "FIRST?"}, "four", "R-ONE"),)
    step = bench.step(examples=examples, decide="generate")

    repaired = await repair(step, await perform("chain_of_thought", step), "cut")

    assert repaired.value == "twenty-six"


@pytest.mark.parametrize("cue", ["", "  "])
async def test_a_blank_cue_is_none_of_the_users(tmp_path: Path, cue: str) -> None:
    bench = Bench(tmp_path, [CHAIN, " 18"])

    await perform("chain_of_thought", bench.step(cue=cue))

    assert bench.runtime.requests[1].begun.endswith("\nTherefore, the answer (arabic numerals) is")


@pytest.mark.parametrize(
    ("decide", "examples", "replies", "calls"),
    [
        ("generate", (), [CHAIN, " 18"], 2),
        ("constrain", (), [CHAIN, " 18"], 1),
        ("generate", EXAMPLES, ["a\nOutput: 18"], 1),
        ("constrain", EXAMPLES, ["a", " 18"], 1),
    ],
)
async def test_it_costs_what_it_says(
    tmp_path: Path, decide: Any, examples: tuple[Example, ...], replies: list[str], calls: int
) -> None:
    bench = Bench(tmp_path, replies)

    await perform("chain_of_thought", bench.step(examples=examples, decide=decide))

    chosen = configure("chain_of_thought", bench.project)
    most = cost(chosen, bench.project, decide=decide, examples_think=bool(examples))
    assert (most.calls, most.requests, most.depth) == (calls, len(replies), len(replies))
    assert [level for _, level in bench.levels] == list(range(1, len(replies) + 1))


def test_thoughts_without_an_end_are_told_at_check(tmp_path: Path) -> None:
    (problem,) = check_spec({"chain_of_thought": {"max_tokens": 0}}, Bench(tmp_path, []).project)

    assert "max_tokens" in problem.message


@pytest.mark.parametrize("example", [marked_example(2), Example({"question": "EXAMPLE-MARK 1+1?"}, 2)])
async def test_each_call_shows_and_hides(tmp_path: Path, example: Example) -> None:
    bench = Bench(tmp_path, [CHAIN, " 18"], prompt=MARKED)

    await perform("chain_of_thought", bench.step(examples=(example,)))

    shown = ALL if example.thoughts else ALL.replace("thoughts ", "")
    assert bench.shown == [("reason", shown), ("reason" if example.thoughts else "extract", shown)]


@pytest.mark.parametrize("decide", ["generate", "constrain"])
async def test_the_trace_tells_thoughts_that_ran_out_of_tokens(tmp_path: Path, decide: Any) -> None:
    bench = Bench(tmp_path, [Reply(text=CHAIN, finish="length"), " 18"])

    answer = await perform("chain_of_thought", bench.step(decide=decide))

    assert (answer.value, answer.flag) == (18, None)
    assert [record.notes for record in bench.records] == [("the thoughts ran out of tokens",), ()]


async def test_an_example_that_is_made_up_after_the_decided_answer_is_no_part_of_it(tmp_path: Path) -> None:
    bench = Bench(tmp_path, ["It is in the north.", " Oslo\n\nOutput: Rome"], "text")
    examples = (Example({"question": "FIRST?"}, "Paris", "R-ONE"),)

    assert (await perform("chain_of_thought", bench.step(examples=examples))).value == "Oslo"
