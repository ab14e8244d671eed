"""A step on models that enforce different things: one consistent prompt, a constraint, and the same value."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from promptkit.prompts.prompt import Example
from promptkit.runtimes.base import Alternative, Capability, Reply, Token
from promptkit.techniques.context import Options
from promptkit.techniques.perform import perform, repair
from tests.techniques.steps import MARKED, Bench, flat

CHATS: frozenset[Capability] = frozenset({"chat", "continue", "system", "sampling", "stop", "seed"})
LABEL = {"label": ["positive", "negative"]}
MOOD = """\
{% block instructions %}What is the mood?{% endblock %}
{% block input %}{{ question }}{% endblock %}
{% block cue %}Mood:{% endblock %}
"""


def bench(folder: Path, replies: Any, enforced: Capability, answer: Any = LABEL, prompt: str = MOOD) -> Bench:
    return Bench(folder, replies, answer, prompt=prompt, capabilities=CHATS | {enforced})


@pytest.mark.parametrize(
    ("enforced", "reply", "asks"),
    [
        ("grammar", " positive", "and nothing else: positive, negative."),
        ("choice", " positive", "and nothing else: positive, negative."),
        ("regex", " positive", "and nothing else: positive, negative."),
        ("schema", '{"answer": "positive"}', 'labels: "positive", "negative".\nWrite the answer as a JSON'),
        ("object_schema", '{"answer": "positive"}', "Write the answer as a JSON object with the one key"),
        ("json_object", '{"answer": "positive"}', "Write the answer as a JSON object with the one key"),
    ],
)
async def test_the_prompt_the_constraint_and_the_reply_have_one_form(
    tmp_path: Path, enforced: Capability, reply: str, asks: str
) -> None:
    tried = bench(tmp_path, [reply], enforced)
    answer = await perform("vanilla", tried.step(examples=(Example({"question": "Bad."}, "negative"),)))
    (request,) = tried.runtime.requests
    assert (answer.value, answer.flag) == ("positive", None)
    assert request.constrained
    assert request.begun == "Mood:"
    assert asks in flat(request)
    assert ("JSON" in flat(request)) == (reply != " positive")
    assert f"Mood: {reply.strip()}".replace("positive", "negative") in flat(request)
    assert tried.records[0].reply.text == reply
    assert bool(tried.notices) == (enforced == "json_object")


@pytest.mark.parametrize("messages", ["one", "turns"])
async def test_a_chat_that_continues_no_turn_has_no_cue_before_json(tmp_path: Path, messages: Any) -> None:
    tried = Bench(tmp_path, ['{"answer": "positive"}'], LABEL, prompt=MOOD, capabilities={"chat", "schema"})
    step = tried.step(messages=messages, examples=(Example({"question": "Bad."}, "negative"),))
    assert (await perform("vanilla", step)).value == "positive"
    (request,) = tried.runtime.requests
    assert '{"answer": "negative"}' in flat(request)
    assert "Mood:" not in flat(request)


async def test_examples_as_turns_are_in_the_form_too(tmp_path: Path) -> None:
    tried = bench(tmp_path, ['{"answer": "positive"}'], "schema")
    await perform("vanilla", tried.step(messages="turns", examples=(Example({"question": "Bad."}, "negative"),)))
    (request,) = tried.runtime.requests
    assert [turn.content for turn in request.messages if turn.role == "assistant"] == ['Mood: {"answer": "negative"}']


async def test_a_prompts_own_format_is_followed_by_the_words_on_json(tmp_path: Path) -> None:
    tried = bench(tmp_path, ['{"answer": "positive"}'], "object_schema", prompt=MARKED)
    await perform("vanilla", tried.step())
    (request,) = tried.runtime.requests
    assert "FORMAT-MARK\nWrite the answer as a JSON object with the one key" in flat(request)


@pytest.mark.parametrize(("answer", "text", "value"), [("number", "7", 7), ("boolean", "true", True)])
async def test_an_answer_whose_text_is_json_keeps_its_prompt(
    tmp_path: Path, answer: str, text: str, value: Any
) -> None:
    plain, held = bench(tmp_path, [text], "grammar", answer), bench(tmp_path, [text], "schema", answer)
    for tried in (plain, held):
        assert (await perform("vanilla", tried.step())).value == value
    assert flat(held.runtime.requests[0]) == flat(plain.runtime.requests[0])
    assert held.runtime.requests[0].schema == held.answer.schema()


async def test_free_generation_is_plain_whatever_the_model_enforces(tmp_path: Path) -> None:
    tried = bench(tmp_path, ["positive"], "schema")
    assert (await perform("vanilla", tried.step(decide="generate"))).value == "positive"
    (request,) = tried.runtime.requests
    assert not request.constrained
    assert "JSON" not in flat(request)


async def test_thoughts_are_plain_and_the_answer_after_them_is_asked_for_in_its_form(tmp_path: Path) -> None:
    tried = bench(tmp_path, ["It sounds glad.", '{"answer": "positive"}'], "schema")
    assert (await perform("chain_of_thought", tried.step())).value == "positive"
    thinking, deciding = tried.runtime.requests
    assert not thinking.constrained
    assert "JSON" not in flat(thinking)
    assert deciding.begun == "Mood:"
    assert deciding.schema is not None and deciding.schema["properties"]["answer"] == tried.answer.schema()
    assert [turn.role for turn in deciding.messages[-2:]] == ["assistant", "user"]
    assert deciding.messages[-1].content.endswith('with the one key "answer", and nothing before or after it.')
    assert tried.records[1].notes == ("the text before the cue sent as a turn: the answer is JSON",)


async def test_a_number_after_thoughts_is_still_begun(tmp_path: Path) -> None:
    tried = bench(tmp_path, ["3 and 4 are 7.", " 7"], "schema", "number")
    assert (await perform("chain_of_thought", tried.step())).value == 7
    assert tried.runtime.requests[1].begun == "Let's think step by step.3 and 4 are 7.\nMood:"


async def test_json_has_tokens_of_its_own_and_no_stop_at_a_line(tmp_path: Path) -> None:
    plain, held = bench(tmp_path, [" positive"], "grammar"), bench(tmp_path, ['{"answer": "positive"}'], "schema")
    for tried in (plain, held):
        await perform("vanilla", tried.step(options=Options(stop=("###",))))
    assert held.runtime.requests[0].max_tokens == plain.runtime.requests[0].max_tokens + 32
    assert held.runtime.requests[0].stop == ("###",)
    bounded = bench(tmp_path, ['{"answer": "positive"}'], "schema")
    await perform("vanilla", bounded.step(options=Options(max_tokens=40)))
    assert bounded.runtime.requests[0].max_tokens == 40


async def test_a_server_that_ignores_its_schema_is_read_as_a_person_reads_it(tmp_path: Path) -> None:
    tried = bench(tmp_path, ["The mood is negative."], "schema")
    assert (await perform("vanilla", tried.step())).value == "negative"


@pytest.mark.parametrize("enforced", ["schema", "object_schema", "json_object"])
@pytest.mark.parametrize("reply", ["2", '{"answer": 2}', '```json\n{"answer": "2"}\n```', "Grade: 2"])
async def test_labels_that_are_numbers_are_read_in_and_out_of_json(
    tmp_path: Path, enforced: Capability, reply: str
) -> None:
    tried = bench(tmp_path, [reply], enforced, {"label": ["1", "2", "3"]})
    assert (await perform("vanilla", tried.step())).value == "2"


async def test_json_that_was_cut_off_is_no_answer(tmp_path: Path) -> None:
    tried = bench(tmp_path, ['["one", "two'], "schema", "list")
    answer = await perform("vanilla", tried.step(options=Options(max_tokens=3)))
    assert (answer.value, answer.flag) == (None, "truncated")


@pytest.mark.parametrize(
    ("reply", "flag"),
    [("The answer is bug", "truncated"), ("The answer is bug, because", None), ("The answer is other", None)],
)
async def test_a_label_at_a_cut_is_whole_unless_another_label_begins_with_it(
    tmp_path: Path, reply: str, flag: str | None
) -> None:
    labels = {"label": ["bug", "bug report", "other"]}
    tried = Bench(tmp_path, [Reply(text=reply, finish="length")], labels, prompt=MOOD)
    assert (await perform("vanilla", tried.step(decide="generate"))).flag == flag


async def test_a_repair_shows_the_reply_and_asks_for_its_form_again(tmp_path: Path) -> None:
    tried = bench(tmp_path, ['{"answer": "glad"}', '{"answer": "positive"}'], "object_schema")
    step = tried.step()
    first = await perform("vanilla", step)
    assert first.flag == "unparsed"
    assert (await repair(step, first, first.problem or "")).value == "positive"
    request = tried.runtime.requests[-1]
    assert request.messages[-2].content == 'Mood:{"answer": "glad"}'
    assert "JSON object with the one key" in request.messages[-1].content
    assert request.schema == tried.runtime.requests[0].schema


async def test_a_guards_repair_shows_the_json_that_was_written(tmp_path: Path) -> None:
    tried = bench(tmp_path, ['{"answer": "negative"}', '{"answer": "positive"}'], "schema")
    step = tried.step()
    first = await perform("vanilla", step)
    assert (await repair(step, first, "it must be positive")).value == "positive"
    assert tried.runtime.requests[-1].messages[-2].content == 'Mood:{"answer": "negative"}'


async def test_a_draft_in_json_goes_into_other_calls_as_plain_text(tmp_path: Path) -> None:
    def script(request: Any) -> str:
        return '{"answer": ["one", "two"]}' if request.schema else "none"

    tried = bench(tmp_path, script, "object_schema", "list")
    answer = await perform("chain_of_verification", tried.step())
    assert answer.value == ["one", "two"]
    later = "\n".join(flat(request) for request in tried.runtime.requests[1:])
    assert "one\ntwo" in later
    assert '{"answer": [' not in later


async def test_where_the_model_shows_no_label_there_is_no_answer_and_nothing_to_repair(tmp_path: Path) -> None:
    tried = Bench(tmp_path, ["Sure"], LABEL, prompt=MOOD)
    step = tried.step(decide="score")
    answer = await perform("vanilla", step)
    assert (answer.value, answer.flag, answer.problem) == (None, "unparsed", "the model showed none of the labels")
    assert tried.records[0].warnings == ("no_label_shown",)
    assert await repair(step, answer, "no answer") == answer
    assert len(tried.runtime.requests) == 1


async def test_labels_that_the_model_does_not_show_are_a_warning(tmp_path: Path) -> None:
    tried = Bench(tmp_path, [" positive"], LABEL, prompt=MOOD)
    answer = await perform("vanilla", tried.step(decide="score"))
    assert answer.value == "positive"
    assert list(answer.extra["outside"]) == ["negative"]
    assert tried.records[0].warnings == ("outside_labels",)


async def test_where_all_labels_are_shown_none_is_listed_as_outside(tmp_path: Path) -> None:
    seen = (Alternative(b" positive", -0.5), Alternative(b" negative", -1.0))
    reply = Reply(text=" positive", tokens=(Token(b" positive", -0.5, seen),))
    tried = Bench(tmp_path, [reply], LABEL, prompt=MOOD)
    answer = await perform("vanilla", tried.step(decide="score"))
    assert "outside" not in answer.extra


async def test_labels_that_begin_differently_are_scored_without_a_begun_turn(tmp_path: Path) -> None:
    tried = Bench(tmp_path, ["negative"], LABEL, prompt=MOOD, capabilities={"chat", "logprobs", "schema"})
    assert (await perform("vanilla", tried.step(decide="score"))).value == "negative"
    (request,) = tried.runtime.requests
    assert (request.begun, request.max_tokens, request.constrained) == ("", 1, False)
    assert flat(request).rstrip().endswith("Mood:")
    assert not tried.notices


async def test_labels_that_begin_alike_are_decided_by_a_constraint_instead(tmp_path: Path) -> None:
    tried = Bench(
        tmp_path,
        ['{"answer": "good"}'],
        {"label": ["good", "great"]},
        prompt=MOOD,
        capabilities={"chat", "logprobs", "schema"},
    )
    assert (await perform("vanilla", tried.step(decide="score"))).value == "good"
    assert tried.runtime.requests[0].schema is not None
    assert "cannot score (it lacks continue)" in tried.notices[0]
