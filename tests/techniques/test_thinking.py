"""A step's `think:`: the policy, and what a request and its answer become under it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from promptkit.runtimes.base import Alternative, Finish, Reply, Request, Token
from promptkit.runtimes.scripted import CAPABILITIES
from promptkit.techniques.context import Answer, Options
from promptkit.techniques.perform import perform, repair
from promptkit.techniques.thinking import (
    THOUGHT_BUDGET,
    Think,
    Thoughts,
    no_thoughts,
    read_think,
    thoughts_of,
    unmet_setting,
    with_more_tokens,
)
from tests.techniques.steps import Bench, flat, routed

SWITCHED: Any = {"think", "thinks"}
ALWAYS: Any = {"thinks"}
ASLEEP: Any = {"think"}
NEVER: Any = set()


@pytest.mark.parametrize(
    ("written", "think"),
    [(None, None), ("auto", None), ("off", False), ("on", True), (True, True), (False, False), ("max", "max"), (1, 1)],
)
def test_a_setting_is_a_word_an_effort_or_a_budget(written: Any, think: Think) -> None:
    assert read_think(written) is think or read_think(written) == think


@pytest.mark.parametrize("wrong", [0, -1, 2**20 + 1, "much", "", 1.5, [], "ON"])
def test_nothing_else_is_a_setting(wrong: Any) -> None:
    with pytest.raises(ValueError, match=r"`auto`, `off`, `on`, `minimal`, .* or a number of tokens"):
        read_think(wrong)


POLICY: list[tuple[Think, Any, Thoughts]] = [
    (None, NEVER, Thoughts(None, 0)),
    (None, ASLEEP, Thoughts(None, 0)),
    (None, SWITCHED, Thoughts(True, 8192)),
    (None, ALWAYS, Thoughts(None, 8192)),
    (False, SWITCHED, Thoughts(False, 0)),
    (False, NEVER, Thoughts(None, 0)),
    (True, ASLEEP, Thoughts(True, 8192)),
    (True, ALWAYS, Thoughts(True, 8192)),
    ("minimal", SWITCHED, Thoughts("minimal", 2048)),
    ("low", SWITCHED, Thoughts("low", 4096)),
    ("medium", SWITCHED, Thoughts("medium", 8192)),
    ("high", SWITCHED, Thoughts("high", 16384)),
    ("xhigh", SWITCHED, Thoughts("xhigh", 32768)),
    ("max", SWITCHED, Thoughts("max", 32768)),
    (1, SWITCHED, Thoughts(True, 1)),
    (700, ALWAYS, Thoughts(True, 700)),
]


@pytest.mark.parametrize(("think", "able", "thoughts"), POLICY)
def test_thoughts_follow_from_the_setting_and_the_model(think: Think, able: Any, thoughts: Thoughts) -> None:
    assert thoughts_of(think, able) == thoughts


def test_a_model_that_always_thinks_keeps_room_for_it() -> None:
    assert [no_thoughts(able) for able in (NEVER, ASLEEP, SWITCHED, ALWAYS)] == [
        Thoughts(),
        Thoughts(False),
        Thoughts(False),
        Thoughts(None, THOUGHT_BUDGET),
    ]


UNMET: list[tuple[Think, Any, str | None]] = [
    (None, NEVER, None),
    (True, NEVER, "`think` asks: it does not think"),
    (100, NEVER, "`think` asks: it does not think"),
    (True, ALWAYS, None),
    ("low", ASLEEP, None),
    (False, NEVER, None),
    (False, SWITCHED, None),
    (False, ALWAYS, "`think: off` asks: it always thinks"),
]


@pytest.mark.parametrize(("think", "able", "unmet"), UNMET)
def test_a_setting_that_a_model_cannot_take_is_reported(think: Think, able: Any, unmet: str | None) -> None:
    assert unmet_setting(think, able) == unmet


def test_the_part_of_a_reply_that_was_cut_gets_twice_the_tokens() -> None:
    request = Request(max_tokens=10, thought_tokens=100)
    cut = [Reply(text="", thoughts="hm"), Reply(text="half", thoughts="hm")]
    assert [with_more_tokens(request, reply) for reply in cut] == [
        Request(max_tokens=10, thought_tokens=200),
        Request(max_tokens=20, thought_tokens=100),
    ]
    assert with_more_tokens(Request(max_tokens=10), cut[0]).thought_tokens == THOUGHT_BUDGET


def thought(text: str, thoughts: str = "Let me see.", *, finish: Finish = "stop", tokens: int = 3) -> Reply:
    return Reply(text=text, thoughts=thoughts, finish=finish, tokens_out=tokens + 1, tokens_thought=tokens)


def reasoner(folder: Path, answers: Any, *more: str, answer: Any = "number", without: Any = ()) -> Bench:
    able = CAPABILITIES | {"think", "thinks", *more}
    return Bench(folder, answers, answer, capabilities=able - set(without))


async def ask(bench: Bench, technique: Any = "vanilla", think: Think = None, **settings: Any) -> Answer:
    return await perform(technique, bench.step(options=Options(think=think), **settings))


async def test_thoughts_come_before_a_constrained_answer_where_the_constraint_leaves_room(tmp_path: Path) -> None:
    bench = reasoner(tmp_path, [thought("7")], "after_thoughts")
    answer = await ask(bench)

    (request,) = bench.runtime.requests
    assert answer.value == 7
    assert (request.think, request.thought_tokens, request.max_tokens, request.begun) == (True, 8192, 24, "")
    assert request.grammar


async def test_a_constraint_that_forbids_thoughts_comes_in_a_second_request(tmp_path: Path) -> None:
    bench = reasoner(tmp_path, [thought("It is **7**."), " 7"])
    answer = await ask(bench)

    first, second = bench.runtime.requests
    assert answer.value == 7
    assert (first.grammar, first.thought_tokens) == (None, 8192)
    assert second.grammar
    assert (second.think, second.thought_tokens, second.max_tokens) == (False, 0, 24)
    assert second.begun == "It is **7**.\nOutput:"
    assert [record.deciding for record in bench.records] == [False, True]


async def test_a_constrained_request_after_thoughts_forbids_those_of_a_model_that_always_thinks(tmp_path: Path) -> None:
    bench = reasoner(tmp_path, [thought("It is **7**."), " 7"], without=("think",))
    answer = await ask(bench)

    assert answer.value == 7
    assert [(bool(request.grammar), request.thought_tokens) for request in bench.runtime.requests] == [
        (False, 8192),
        (True, 0),
    ]


async def test_no_cue_stands_before_json_after_thoughts_though_the_model_could_continue(tmp_path: Path) -> None:
    labels = {"label": ["positive", "negative"]}
    bench = reasoner(
        tmp_path, [thought('{"answer": "positive"}')], "after_thoughts", answer=labels, without=("grammar",)
    )
    answer = await ask(bench)

    (request,) = bench.runtime.requests
    assert answer.value == "positive"
    assert request.schema
    assert "Output:" not in flat(request)


async def test_no_second_request_follows_a_reply_that_is_the_answer_in_json(tmp_path: Path) -> None:
    labels = {"label": ["positive", "negative"]}
    bench = reasoner(tmp_path, [thought('{"answer": "positive"}')], answer=labels, without=("grammar",))
    answer = await ask(bench)

    assert (answer.value, len(bench.runtime.requests)) == ("positive", 1)


async def test_a_mention_where_json_was_asked_for_is_not_yet_the_answer(tmp_path: Path) -> None:
    labels = {"label": ["positive", "negative"]}
    replies = [thought("It is not positive."), '{"answer": "negative"}']
    bench = reasoner(tmp_path, replies, answer=labels, without=("grammar",))
    answer = await ask(bench)

    assert (answer.value, len(bench.runtime.requests)) == ("negative", 2)


async def test_no_second_request_follows_a_reply_that_is_the_answer(tmp_path: Path) -> None:
    bench = reasoner(tmp_path, [thought("\nPOSITIVE\n")], answer={"label": ["positive", "negative"]})
    answer = await ask(bench)

    assert (answer.value, len(bench.records), bench.records[0].deciding) == ("positive", 1, True)


async def test_thoughts_that_never_ended_give_no_answer(tmp_path: Path) -> None:
    bench = reasoner(tmp_path, [thought("", finish="length", tokens=8215)])
    answer = await ask(bench)

    assert (answer.value, answer.flag) == (None, "truncated")
    assert answer.problem == "the thoughts took all of their 8192 tokens: `think: TOKENS` gives more"
    assert bench.records[0].warnings == ("thoughts_cut",)


async def test_thoughts_that_the_window_ended_name_the_window(tmp_path: Path) -> None:
    answer = await ask(reasoner(tmp_path, [thought("", finish="length", tokens=3000)]))
    assert answer.problem == "the window ended the thoughts after 3001 tokens: the option `context` asks for more"


async def test_thoughts_that_filled_the_window_are_not_asked_for_again(tmp_path: Path) -> None:
    bench = reasoner(tmp_path, [thought("", finish="length", tokens=3000)])
    step = bench.step()
    answer = await perform("vanilla", step)

    assert await repair(step, answer, str(answer.problem)) is answer


async def test_thoughts_without_an_answer_are_unparsed(tmp_path: Path) -> None:
    bench = reasoner(tmp_path, [thought("")])
    answer = await ask(bench)

    assert (answer.flag, answer.problem) == ("unparsed", "the thoughts never ended: there is no answer")
    assert bench.records[0].warnings == ("thoughts_cut",)


@pytest.mark.parametrize(("tokens", "warnings"), [(99, ()), (100, ("thoughts_spent",))])
async def test_thoughts_that_used_their_budget_are_marked(
    tmp_path: Path, tokens: int, warnings: tuple[str, ...]
) -> None:
    bench = reasoner(tmp_path, [thought("7", tokens=tokens)])
    answer = await ask(bench, think=100)

    assert (answer.value, bench.records[0].warnings) == (7, warnings)


async def test_an_answer_that_is_cut_after_thoughts_is_no_warning_of_thoughts(tmp_path: Path) -> None:
    bench = reasoner(tmp_path, [thought("The answer is 7. It", finish="length")])
    answer = await ask(bench, decide="generate")

    assert (answer.value, answer.flag, bench.records[0].warnings) == (7, "truncated", ())


async def test_cut_thoughts_are_asked_for_again_with_twice_the_budget(tmp_path: Path) -> None:
    bench = reasoner(tmp_path, [thought("", finish="length", tokens=73), thought("7")])
    step = bench.step(options=Options(think=50))
    answer = await perform("vanilla", step)
    repaired = await repair(step, answer, str(answer.problem))

    assert repaired.value == 7
    assert [request.thought_tokens for request in bench.runtime.requests] == [50, 100]


async def test_a_repair_comes_without_thoughts(tmp_path: Path) -> None:
    bench = reasoner(tmp_path, [thought("none"), "7"], without=("grammar", "schema"))
    step = bench.step()
    answer = await perform("vanilla", step)
    repaired = await repair(step, answer, str(answer.problem))

    assert repaired.value == 7
    assert [(request.think, request.thought_tokens) for request in bench.runtime.requests] == [(True, 8192), (False, 0)]


async def test_a_trace_shows_the_window_of_scores_too(tmp_path: Path) -> None:
    shown = (Alternative(b" positive", -0.1), Alternative(b" negative", -2.0))
    reply = Reply(text=" positive", tokens=(Token(b" positive", -0.1, shown),), context=8192)
    bench = reasoner(tmp_path, lambda request: reply, answer={"label": ["positive", "negative"]})
    await ask(bench, decide="score")

    assert bench.records[0].reply.context == 8192


async def test_scoring_leaves_no_place_for_thoughts(tmp_path: Path) -> None:
    bench = reasoner(tmp_path, lambda request: " positive", answer={"label": ["positive", "negative"]})
    await ask(bench, decide="score")

    assert {(request.think, request.thought_tokens, request.begun) for request in bench.runtime.requests} == {
        (False, 0, "Output:")
    }


async def test_scoring_after_thoughts_asks_for_single_tokens(tmp_path: Path) -> None:
    def script(request: Request) -> Reply | str:
        return " positive" if request.alternatives else thought("It is good.")

    bench = reasoner(tmp_path, script, answer={"label": ["positive", "negative"]}, without=("think",))
    await ask(bench, "chain_of_thought", decide="score")

    scoring = [request for request in bench.runtime.requests if request.alternatives]
    assert scoring
    assert {request.most_tokens for request in scoring} == {1}


async def test_off_begins_the_turn_as_for_any_model(tmp_path: Path) -> None:
    bench = reasoner(tmp_path, [" 7"])
    await ask(bench, think=False)

    (request,) = bench.runtime.requests
    assert (request.think, request.thought_tokens, request.begun) == (False, 0, "Output:")
    assert bench.notices == []


TOLD = "thinks by itself"
TRIGGERS = [
    ("chain_of_thought", "Let's think step by step."),
    ("plan_and_solve", "devise a complete plan"),
    ({"federated": {"phrasings": 1}}, "Let's think step by step."),
    ({"self_consistency": {"samples": 2}}, "Think step by step first."),
    ({"thread_of_thought": {"context": "question"}}, "Walk me through"),
]


@pytest.mark.parametrize(("technique", "trigger"), TRIGGERS)
async def test_a_model_that_thinks_by_itself_is_not_told_to(tmp_path: Path, technique: Any, trigger: str) -> None:
    bench = reasoner(tmp_path, lambda request: thought("7"))
    answer = await ask(bench, technique)

    assert answer.value == 7
    assert not [text for text in bench.texts if trigger in text]
    assert len({notice for notice in bench.notices if TOLD in notice}) == 1


@pytest.mark.parametrize(("technique", "trigger"), TRIGGERS)
async def test_a_model_whose_thoughts_are_off_is_told_to_think(tmp_path: Path, technique: Any, trigger: str) -> None:
    bench = reasoner(tmp_path, lambda request: " 7")
    await ask(bench, technique, think=False)

    assert [text for text in bench.texts if trigger in text]
    assert bench.notices == []


async def test_examples_that_think_stay(tmp_path: Path) -> None:
    from promptkit.prompts.prompt import Example

    example = Example({"question": "1+1?"}, 2, "One and one.")
    bench = reasoner(tmp_path, [thought("Three and four.\nOutput: 7"), " 7"])
    await ask(bench, "chain_of_thought", examples=(example,))

    assert "One and one." in bench.texts[0]
    assert not [notice for notice in bench.notices if TOLD in notice]


PROMPTED: list[tuple[Any, Any]] = [
    ("chain_of_thought", "constrain"),
    ("plan_and_solve", "constrain"),
    ("contrastive_cot", "constrain"),
    ("least_to_most", "constrain"),
    ({"self_consistency": {"samples": 1, "temperature": 0}}, "constrain"),
    ("chain_of_thought", "generate"),
]


@pytest.mark.parametrize(("technique", "decide"), PROMPTED)
async def test_prompted_thoughts_that_were_cut_are_marked(tmp_path: Path, technique: Any, decide: Any) -> None:
    cut = Reply(text=" so many words", finish="length")
    bench = Bench(tmp_path, lambda request: " 5" if request.grammar or "Therefore" in request.begun else cut)
    answer = await ask(bench, technique, decide=decide)

    assert answer.value == 5
    marked = [record.call for record in bench.records if "thoughts_cut" in record.warnings]
    assert len(marked) == 1
    assert not [record for record in bench.records if record.warnings and record.deciding]


async def test_prompted_thoughts_that_reached_their_cue_were_not_cut(tmp_path: Path) -> None:
    script = routed(("QUESTION-MARK", "Three and four.\nOutput: 7 and"))
    bench = Bench(tmp_path, lambda request: Reply(text=str(script(request)), finish="length"))
    await ask(bench, {"self_consistency": {"samples": 1, "temperature": 0}}, decide="generate")

    assert [record.warnings for record in bench.records] == [()]


async def test_samples_that_were_all_cut_are_said_to_be(tmp_path: Path) -> None:
    bench = Bench(tmp_path, lambda request: Reply(text="so many words", finish="length"))
    answer = await ask(bench, {"self_consistency": {"samples": 3}}, decide="generate")

    assert (answer.value, answer.flag) == (None, "truncated")
    assert answer.problem == "no sample has an answer: each ran out of tokens; a larger `max_tokens` helps"
    assert [record.warnings for record in bench.records] == [("thoughts_cut",)] * 3


async def test_a_call_for_a_technique_that_was_cut_is_noted(tmp_path: Path) -> None:
    bench = Bench(tmp_path, lambda request: Reply(text="How many are", finish="length"))
    await ask(bench, "least_to_most")

    assert bench.records[0].notes == ("the reply ran out of tokens",)
