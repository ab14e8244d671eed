"""Demonstrations that a model makes: of what it did in runs that ended right, and thought on the way there."""

from __future__ import annotations

from dataclasses import replace

import pytest

from promptkit.runtimes.base import Request
from promptkit.runtimes.scripted import CAPABILITIES, Scripted
from promptkit.tuning.search_space.bootstrap import _thinking, from_runs, with_thoughts
from promptkit.tuning.search_space.candidate import Candidate, Choice
from promptkit.tuning.search_space.demonstration import Demonstration
from promptkit.tuning.search_space.example_draws import example_choices
from tests.engine.helpers import Folder, said
from tests.evaluation.suites import Bench, echo, moods
from tests.tuning.evaluators import open_evaluator, places

START = Candidate()
TWO_STEPS = """
name: reply
inputs: {text: {example: fine}}
steps:
  topic:
    prompt: {instructions: Name the topic., input: "{{ text }}"}
    answer: text
    decide: generate
  mood:
    prompt: {instructions: Say whether it is good or bad., input: "{{ text }} on {{ topic }}"}
    answer: {label: [good, bad]}
    decide: generate
output: "{{ mood }}"
"""
ITEMS = """
name: parts
inputs: {text: {example: fine}}
steps:
  parts:
    prompt: {instructions: Split it., input: "{{ text }}"}
    answer: {list: {separator: ";"}}
    decide: generate
  moods:
    for_each: "{{ parts }}"
    as: part
    when: part != "odd"
    prompt: {instructions: Good or bad?, input: "{{ part }}"}
    answer: {label: [good, bad]}
    decide: generate
output: "{{ moods | first }}"
"""
SUITE_OF = """
data: rows.jsonl
target: {name}
metrics: {{accuracy: label}}
"""
ALL = 10_000


@pytest.fixture
def bench(folder: Folder) -> Bench:
    return Bench(folder, moods(6))


def two_steps(request: Request) -> str:
    text = said(request)
    if "Name the topic" in text:
        return "the weather" if "bad 2" in text else "the film"
    return echo(request)


def thinking(request: Request) -> str:
    """Think: rightly of bad rows, of the others in the second sample alone; then answer as the thoughts say."""
    if "step by step. It is" in request.begun:
        return " bad" if "It is bad" in request.begun else " good"
    clear = "\nbad " in said(request) or request.seed == 2
    return f" It is {'bad' if clear else 'unclear'}."


async def test_a_step_shows_what_it_was_given_and_made_of_it_where_the_run_ended_right(bench: Bench) -> None:
    bench.folder.write("pipelines/reply.yaml", TWO_STEPS)
    async with open_evaluator(bench, two_steps, bench.suite(SUITE_OF.format(name="reply"))) as opened:
        found = await from_runs(opened.evaluator, places(opened.evaluator), START, most_calls=ALL)

    assert found == {
        "topic": [
            Demonstration({"text": f"bad {row}"}, "the weather" if row == 2 else "the film", row=row)
            for row in (0, 2, 4)
        ],
        "mood": [
            Demonstration(
                {"text": f"bad {row}", "topic": "the weather" if row == 2 else "the film"}, "bad", label="bad", row=row
            )
            for row in (0, 2, 4)
        ],
    }


async def test_each_item_of_a_for_each_is_shown_but_for_those_that_were_not_asked(bench: Bench) -> None:
    bench.rows([{"text": "bad; odd; good", "expect": "bad"}])
    bench.folder.write("pipelines/parts.yaml", ITEMS)

    def script(request: Request) -> str:
        text = said(request)
        return "bad food; odd; good wine" if "Split" in text else "bad" if "bad food" in text else "good"

    async with open_evaluator(bench, script, bench.suite(SUITE_OF.format(name="parts"))) as opened:
        found = await from_runs(opened.evaluator, [0], START, most_calls=ALL)

    shown = [(demo.inputs, demo.output) for demo in found["moods"]]
    assert shown == [({"part": "bad food"}, "bad"), ({"part": "good wine"}, "good")]


async def test_what_an_earlier_run_recorded_is_shown_and_not_asked_again(bench: Bench) -> None:
    await bench.run(script=echo)
    async with open_evaluator(bench, echo) as opened:
        found = await from_runs(opened.evaluator, places(opened.evaluator), START, most_calls=ALL)

        assert [demo.row for demo in found["mood"]] == [0, 2, 4]
        assert opened.runtime.requests == []
        assert opened.budget.spent == 6


async def test_no_more_rows_are_asked_than_fit_the_calls(bench: Bench) -> None:
    async with open_evaluator(bench, echo) as opened:
        found = await from_runs(opened.evaluator, places(opened.evaluator), START, most_calls=3)

        assert opened.budget.spent == 3
        assert [demo.row for demo in found["mood"]] == [0, 2]


async def test_nothing_is_asked_within_no_calls(bench: Bench) -> None:
    async with open_evaluator(bench, echo) as opened:
        assert await from_runs(opened.evaluator, places(opened.evaluator), START, most_calls=0) == {"mood": []}
        assert opened.runtime.requests == []


async def test_thoughts_are_kept_where_they_led_to_the_expected_answer(bench: Bench) -> None:
    async with open_evaluator(bench, thinking) as opened:
        model = await opened.runtime.model()
        records = await with_thoughts(opened.evaluator, [0, 2], START, "mood", model=model, most_calls=ALL)

        assert records == [
            Demonstration(
                {"text": f"bad {row}"}, "bad", thoughts="Let's think step by step. It is bad.", label="bad", row=row
            )
            for row in (0, 2)
        ]
        assert opened.budget.spent == 4


async def test_a_model_that_can_be_switched_writes_its_chain_instead_of_thinking(bench: Bench) -> None:
    async with open_evaluator(bench, thinking) as opened:
        model = await opened.runtime.model()
        able = replace(model, capabilities=model.capabilities | {"think"})
        candidates = [list(_thinking(START, "mood", kind)) for kind in (model, able)]

    assert [{candidate.changes.get("mood.think") for candidate in found} for found in candidates] == [{None}, {"off"}]


async def test_a_row_that_ends_wrong_is_sampled_until_it_ends_right(bench: Bench) -> None:
    async with open_evaluator(bench, thinking) as opened:
        model = await opened.runtime.model()
        records = await with_thoughts(opened.evaluator, [0, 1], START, "mood", model=model, most_calls=ALL)

        thoughts = [request for request in opened.runtime.requests if not request.begun.endswith("Mood:")]
        asked = [(request.temperature, request.seed) for request in thoughts if "good 1" in said(request)]
        assert [demo.row for demo in records] == [0, 1]
        assert asked == [(0.0, None), (0.7, 1), (0.7, 2)]


async def test_a_row_that_never_ends_right_is_asked_four_times_and_shown_never(bench: Bench) -> None:
    async with open_evaluator(bench, lambda request: " good") as opened:
        model = await opened.runtime.model()
        records = await with_thoughts(opened.evaluator, [0], START, "mood", model=model, most_calls=ALL)

        assert records == []
        assert opened.budget.spent == 8


async def test_a_model_that_cannot_sample_is_asked_once(bench: Bench) -> None:
    runtime = Scripted(lambda request: " good", capabilities=CAPABILITIES - {"sampling"})
    async with open_evaluator(bench, runtime) as opened:
        records = await with_thoughts(opened.evaluator, [0], START, "mood", model=await runtime.model(), most_calls=ALL)

        assert records == []
        assert opened.budget.spent == 2


async def test_thoughts_that_were_cut_off_are_not_shown(bench: Bench) -> None:
    def endless(request: Request) -> str:
        return " bad" if "word" in request.begun else " word" * 1_000

    async with open_evaluator(bench, endless) as opened:
        model = await opened.runtime.model()
        assert await with_thoughts(opened.evaluator, [0], START, "mood", model=model, most_calls=ALL) == []


async def test_the_calls_of_thoughts_are_kept_to_in_all_rounds(bench: Bench) -> None:
    async with open_evaluator(bench, lambda request: " good") as opened:
        model = await opened.runtime.model()
        await with_thoughts(opened.evaluator, places(opened.evaluator), START, "mood", model=model, most_calls=15)

        assert opened.budget.spent == 14


async def test_thoughts_of_a_target_that_thinks_as_it_is_written_are_shown(bench: Bench) -> None:
    thinks = Candidate({"mood.technique": Choice("chain_of_thought", {"mood.technique": "chain_of_thought"})})
    async with open_evaluator(bench, thinking) as opened:
        found = await from_runs(opened.evaluator, [0], thinks, most_calls=ALL)

        assert [demo.thoughts for demo in found["mood"]] == ["Let's think step by step. It is bad."]


async def test_options_that_a_candidate_has_chosen_hold_while_it_thinks_and_are_not_changed(bench: Bench) -> None:
    chosen = Candidate({"mood.options": Choice("short", {"mood.options": {"max_tokens": 7}})})
    async with open_evaluator(bench, thinking) as opened:
        model = await opened.runtime.model()
        await with_thoughts(opened.evaluator, [1], chosen, "mood", model=model, most_calls=ALL)

        assert {request.max_tokens for request in opened.runtime.requests if request.begun.endswith("Mood:")} == {7}
        assert chosen.changes == {"mood.options": {"max_tokens": 7}}


async def test_a_target_that_cannot_think_has_no_thoughts(bench: Bench) -> None:
    wrong = Candidate({"mood.cue": Choice("two", {"mood.cue": 7})})
    async with open_evaluator(bench, echo) as opened:
        model = await opened.runtime.model()
        assert await with_thoughts(opened.evaluator, [0], wrong, "mood", model=model, most_calls=ALL) == []
        assert opened.runtime.requests == []


async def test_examples_with_thoughts_are_shown_as_the_model_thinks(bench: Bench) -> None:
    pool = [Demonstration({"text": f"bad {row}"}, "bad", f"Because of {row}.", "bad", row) for row in range(3)]
    shown = Candidate({"mood.examples": example_choices("mood", pool)[0]})
    thinks = Choice("thinks", {"mood.technique": "chain_of_thought", "mood.decide": "constrain"})
    async with open_evaluator(bench, thinking) as opened:
        await opened.evaluator.evaluate([shown.with_choice("mood.technique", thinks), shown], [5])

        thought, _, plain = sorted(map(said, opened.runtime.requests), key=lambda text: "Because of " not in text)
        assert "Because of " in thought and "Because of " not in plain
