"""Replies in the forms that models write: what is read in each, by which rule, and which hold no answer."""

from __future__ import annotations

import asyncio
import contextlib
from pathlib import Path
from typing import Any

import pytest
import yaml

from promptkit.answers.base import EmptyReply, Reading, Refusal, Unparsed
from promptkit.answers.build import build_answer_type

TABLE = yaml.safe_load((Path(__file__).parent / "replies.yaml").read_text(encoding="utf-8"))
ROWS = [
    pytest.param(group, reply, value, id=f"{number}-{reply[:40]!r}")
    for number, group in enumerate(TABLE)
    for reply, value in group["replies"].items()
]
MOODS = {"label": ["positive", "negative", "neutral"]}
CITIES = {"choice": ["Paris", "Rome", "Berlin", "Madrid"]}


def find(answer: Any, reply: str, cue: str = "", **context: Any) -> Reading:
    return build_answer_type(answer).find(reply, cue, **context)


@pytest.mark.parametrize(("group", "reply", "value"), ROWS)
def test_a_reply_is_read_as_a_careful_person_reads_it(group: dict[str, Any], reply: str, value: Any) -> None:
    context = {"cue": group.get("cue", ""), "thinks": group.get("thinks", False), "question": group.get("question", "")}
    if value is None:
        with pytest.raises(Unparsed):
            find(group["answer"], reply, **context)
        return
    found = find(group["answer"], reply, **context).value
    assert found == (pytest.approx(value) if isinstance(value, float) else value)
    assert isinstance(value, float) or type(found) is type(value)


def test_the_table_has_more_than_150_forms_of_every_common_type() -> None:
    counts: dict[str, int] = {}
    for group in TABLE:
        name = group["answer"] if isinstance(group["answer"], str) else next(iter(group["answer"]))
        counts[name] = counts.get(name, 0) + len(group["replies"])
    assert counts["number"] > 300 and min(counts["boolean"], counts["label"], counts["choice"]) > 110


@pytest.mark.parametrize(
    ("answer", "reply", "rule"),
    [
        ("number", "**7**", "whole reply"),
        ("number", "It is \\boxed{7}. Check: 7 = 3 + 4.", "boxed"),
        ("number", "We add. The answer is 7.", "marker"),
        ("number", "3 + 4\n#### 7", "marker"),
        ("number", "7, since 3 and 4 are 7.", "first sentence"),
        ("number", "There are 3 and 4. So there are 7.", "last paragraph"),
        (MOODS, "positive\n\nNothing in it is negative.", "first sentence"),
        (MOODS, "Much praise. Thus it is positive.", "last paragraph"),
        (CITIES, "The correct answer is (B), not (A).", "marker"),
        ("boolean", "Yes, because it flies.", "first sentence"),
        ("text", "Answer: Paris", "marker"),
        ("text", "Paris", "whole reply"),
    ],
)
def test_a_reading_names_its_rule(answer: Any, reply: str, rule: str) -> None:
    found = find(answer, reply)
    assert (found.rule, found.is_weak) == (rule, False)


def test_the_words_after_the_prompts_own_cue_are_read_by_the_rule_cue() -> None:
    assert find(MOODS, "It is negative at first. Mood: positive", "Mood:", thinks=True).rule == "cue"


@pytest.mark.parametrize(
    ("answer", "reply"),
    [
        ("number", "There are 3 boxes. 7 fit."),
        (MOODS, "The plot is thin. It seems negative. Many will see it."),
        ("text", "Thinking.\n\nThe end."),
    ],
)
def test_a_value_that_nothing_marks_as_the_answer_is_read_weakly(answer: Any, reply: str) -> None:
    assert find(answer, reply, thinks=True).is_weak


@pytest.mark.parametrize("answer", ["number", "boolean", MOODS, CITIES, {"labels": ["price", "service"]}, "text"])
def test_a_blank_reply_is_told_from_a_refusal(answer: Any) -> None:
    for reply in ("", " \n", "<think>hm</think>"):
        with pytest.raises(EmptyReply):
            find(answer, reply)
    with pytest.raises(Refusal):
        find(answer, "I'm sorry, but I can't help with that request.")


@pytest.mark.parametrize(
    ("answer", "reply"),
    [
        ("number", "The answer cannot be determined from 3 and 4."),
        ("number", "There is not enough information to tell whether it is 3 or 4."),
        ("boolean", "It depends."),
        (MOODS, "None of the above."),
        (CITIES, "无法确定。"),
        (CITIES, "Es lässt sich leider nicht beantworten."),
    ],
)
def test_a_withdrawal_is_a_refusal_and_no_value_that_it_mentions(answer: Any, reply: str) -> None:
    with pytest.raises(Refusal, match="the reply declines, or says that there is no answer: '"):
        find(answer, reply)


def test_a_label_that_says_as_much_as_a_refusal_is_an_answer() -> None:
    assert find({"label": ["yes", "no", "cannot be determined"]}, "It cannot be determined.").value == (
        "cannot be determined"
    )


@pytest.mark.parametrize("reply", ["First 3 boxes of 4, that is 12. Then", "So far 12. Then we take 3 away, so"])
def test_a_reply_that_was_cut_off_has_an_answer_only_where_something_marks_it(reply: str) -> None:
    with pytest.raises(Unparsed):
        find("number", reply, thinks=True, cut=True)
    assert find("number", f"The answer is 9.\n\n{reply}", thinks=True, cut=True).value == 9


@pytest.mark.parametrize(
    ("reply", "value"),
    [
        ("The coin is still heads up.", True),
        ("Kelli flips it. Therefore, the coin is not still heads up.", False),
        ("It's unlikely that the coin is still heads up.", False),
        ("The coin isn't heads up any more.", False),
        ("The coin is tails up.", None),
        ("The coin may still be heads up.", None),
        ("Up heads the coin.", None),
    ],
)
def test_a_sentence_that_repeats_the_question_answers_it(reply: str, value: bool | None) -> None:
    question = "A coin is heads up. Ann flips the coin. Is the coin still heads up? Answer with true or false."
    try:
        assert find("boolean", reply, question=question).value is value
    except Unparsed:
        assert value is None


def test_of_several_numbers_the_one_that_the_question_asks_for_is_the_answer() -> None:
    question = "Bo made 10 pies and sold 4. How many more did he make than he sold?"
    assert find("number", "Answer: Bo made 10 pies, which is 6 more than he sold.", question=question).value == 6
    assert find("number", "He has 10. After 4 were sold he kept 6.", thinks=True, question=question).value == 6


@pytest.mark.parametrize("answer", ["number", "boolean", MOODS, CITIES])
def test_a_reply_of_several_answers_has_none_and_says_so(answer: Any) -> None:
    values = {"number": "3 or 4", "boolean": "true or false"}
    several = values.get(str(answer)) or ("positive or negative" if answer is MOODS else "A or B")
    with pytest.raises(Unparsed, match=r"several|both"):
        find(answer, f"The answer is {several}.")


@pytest.mark.attack("number")
@pytest.mark.parametrize(
    "piece", ["1=", "1, ", "(", "####", "not A or ", "the answer is ", "\\boxed{", "1/2 ", "A: ", "“"]
)
@pytest.mark.parametrize("answer", ["number", "boolean", MOODS, CITIES])
async def test_a_long_reply_of_marks_is_read_without_holding_up_others(answer: Any, piece: str) -> None:
    kind = build_answer_type(answer)
    await asyncio.sleep(0)
    with contextlib.suppress(Unparsed):
        kind.find(piece * (20_000 // len(piece)), "Answer:", thinks=True)
    await asyncio.sleep(0)
