"""`contrastive_cot` (Chia et al. 2023): right and wrong explanations are shown, only the right one is read."""

import random
import re
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from promptkit.answers.build import build_answer_type
from promptkit.prompts.prompt import Example
from promptkit.techniques.catalog.contrastive_cot import wrong_side
from promptkit.techniques.context import Answer
from promptkit.techniques.cost import cost
from promptkit.techniques.perform import perform
from promptkit.techniques.spec import configure
from tests.techniques.steps import ALL, MARKED, Bench, in_order, marked_example

RIGHT = "RIGHT-ONE 40 - 12 = 28."
EXAMPLES = (
    Example({"question": "FIRST?"}, 28, RIGHT),
    Example({"question": "SECOND?"}, 9, "RIGHT-TWO 3 * 3 = 9."),
)
REPLY = " 60-20-15=25\nAnswer: 25\nWrong explanation: 60-15=45\nWrong answer: 65"
NUMBER = re.compile(r"\d+")


async def ask(bench: Bench, technique: Any = "contrastive_cot", **settings: Any) -> Answer:
    return await perform(technique, bench.step(**{"examples": EXAMPLES, **settings}))


async def test_the_answer_is_the_one_before_what_the_reply_calls_wrong(tmp_path: Path) -> None:
    bench = Bench(tmp_path, [REPLY])

    answer = await ask(bench, decide="generate")

    assert (answer.value, len(bench.texts)) == (25, 1)


async def test_under_constrain_the_answer_is_decided_after_the_right_explanation_alone(tmp_path: Path) -> None:
    bench = Bench(tmp_path, [REPLY, " 25"])

    answer = await ask(bench)

    assert answer.value == 25
    assert bench.runtime.requests[1].begun == "Explanation: 60-20-15=25\nAnswer:"


async def test_each_demonstration_has_its_right_side_before_its_wrong_side_and_the_prompt_ends_open(
    tmp_path: Path,
) -> None:
    bench = Bench(tmp_path, [REPLY])

    await ask(bench, decide="generate")

    (text,) = bench.texts
    for question, right, output in [("FIRST?", RIGHT, "28"), ("SECOND?", "RIGHT-TWO 3 * 3 = 9.", "9")]:
        demonstration = text[text.index(question) :].partition("\n\n")[0]
        lines = [f"Explanation: {right}", f"Answer: {output}", "Wrong explanation: RIGHT-", "Wrong answer: "]
        assert in_order(demonstration, lines)
        assert not demonstration.endswith(f"Wrong answer: {output}")
    assert in_order(text, ["FIRST?", "SECOND?", "QUESTION-MARK"])
    assert text.endswith("\nExplanation:")


async def test_the_demonstrations_have_the_cue_that_the_answer_is_read_after(tmp_path: Path) -> None:
    bench = Bench(tmp_path, [" 60-20-15=25\nResult: 25\nWrong explanation: 60-15=45\nWrong answer: 65"])

    answer = await ask(bench, decide="generate", cue="Result:")

    assert answer.value == 25
    assert f"Explanation: {RIGHT}\nResult: 28\n" in bench.texts[0]


def sides(folder: Path, thoughts: str, output: Any, answer: Any = "number", seed: int = 0) -> dict[str, str]:
    kind = build_answer_type(answer)
    (written,) = Bench(folder, [], answer).prompt.written((Example({"question": "a"}, output, thoughts),), [kind.write])
    return wrong_side(written, kind, random.Random(seed))


@pytest.mark.parametrize("seed", range(20))
def test_a_wrong_explanation_has_the_numbers_of_the_right_one_in_another_order(tmp_path: Path, seed: int) -> None:
    thoughts = "12 got on and 5 got off, so 12 - 5 = 7. Of 30 seats 30 - 7 = 23 are free."

    wrong = sides(tmp_path, thoughts, 23, seed=seed)

    said = wrong["wrong_thoughts"]
    assert said != thoughts
    assert NUMBER.sub("_", said) == NUMBER.sub("_", thoughts)
    assert Counter(NUMBER.findall(said)) == Counter(NUMBER.findall(thoughts))
    assert wrong["wrong_output"] == NUMBER.findall(said)[-1] != "23"
    assert wrong == sides(tmp_path, thoughts, 23, seed=seed)


def test_another_seed_draws_another_order(tmp_path: Path) -> None:
    drawn = {sides(tmp_path, "1 + 2 + 3 + 4 = 10", 10, seed=seed)["wrong_thoughts"] for seed in range(20)}

    assert len(drawn) > 3


def test_where_the_thoughts_do_not_say_the_answer_the_wrong_one_is_what_they_end_in(tmp_path: Path) -> None:
    wrong = sides(tmp_path, "7 sit and 8 stand.", 15)

    assert wrong == {"wrong_thoughts": "8 sit and 7 stand.", "wrong_output": "7"}


def test_the_wrong_answer_of_a_closed_set_is_another_of_it(tmp_path: Path) -> None:
    wrong = sides(tmp_path, "3 of 4 say so.", "most", {"label": ["most", "few"]})

    assert wrong == {"wrong_thoughts": "4 of 3 say so.", "wrong_output": "few"}


@pytest.mark.parametrize(("thoughts", "output"), [("Nothing to count.", 4), ("2 and 2, so 2.", 2), ("Always 2.", 2)])
def test_thoughts_that_no_draw_makes_wrong_have_no_wrong_side(tmp_path: Path, thoughts: str, output: int) -> None:
    assert sides(tmp_path, thoughts, output) == {}


MOZART = "The Magic Flute was written by Wolfgang Mozart, who came from Salzburg. Salzburg is in Austria."
BORED = "Every minute was felt by the critic. The length is a burden, so it is negative."


def test_names_change_places_where_the_answer_is_one_of_them(tmp_path: Path) -> None:
    wrong = sides(tmp_path, MOZART, "Austria", "text")

    said, names = wrong["wrong_thoughts"], r"Magic Flute|Wolfgang Mozart|Salzburg|Austria"
    assert re.sub(names, "_", said) == re.sub(names, "_", MOZART)
    assert Counter(re.findall(names, said)) == Counter(re.findall(names, MOZART))
    assert said.endswith(f"{wrong['wrong_output']}.")
    assert wrong["wrong_output"] in ("Magic Flute", "Wolfgang Mozart", "Salzburg")


def test_without_numbers_and_names_other_objects_change_places_and_the_explanation_ends_in_the_wrong_label(
    tmp_path: Path,
) -> None:
    wrong = sides(tmp_path, BORED, "negative", {"label": ["positive", "negative"]})

    assert wrong["wrong_output"] == "positive"
    assert wrong["wrong_thoughts"].endswith("so it is positive.")
    words = re.compile("minute|critic|length|burden")
    assert words.findall(wrong["wrong_thoughts"]) != words.findall(BORED)


def test_an_explanation_without_objects_ends_in_the_wrong_label(tmp_path: Path) -> None:
    wrong = sides(tmp_path, "It bores, so it is negative.", "negative", {"label": ["positive", "negative"]})

    assert wrong == {"wrong_thoughts": "It bores, so it is positive.", "wrong_output": "positive"}


def test_words_at_the_beginning_of_a_sentence_are_not_names(tmp_path: Path) -> None:
    assert sides(tmp_path, "He said so. They agree: I see. We leave.", "He", "text") == {}


async def test_without_a_wrong_side_nothing_is_said_of_wrong_ones_and_a_warning_tells(tmp_path: Path) -> None:
    bench, warned = Bench(tmp_path, [REPLY]), list[str]()
    example = Example({"question": "FIRST?"}, 4, "Nothing to count.")

    await ask(bench, decide="generate", examples=(example,), warn=warned.extend)

    assert "Explanation: Nothing to count.\nAnswer: 4" in bench.texts[0]
    assert "rong" not in bench.texts[0]
    assert warned == ["no_contrast"]


async def test_a_step_without_demonstrations_of_its_kind_asks_for_thoughts(tmp_path: Path) -> None:
    bench, warned = Bench(tmp_path, ["Answer: yes"], {"label": ["yes", "no"]}), list[str]()

    await ask(bench, decide="generate", examples=(), warn=warned.extend)

    assert "Think step by step first. Then write the answer on a last line" in bench.texts[0]
    assert warned == ["no_contrast"]


async def test_without_examples_that_think_the_shipped_demonstrations_are_shown(tmp_path: Path) -> None:
    bench = Bench(tmp_path, [REPLY])

    await ask(bench, decide="generate", examples=(Example({"question": "FIRST?"}, 4),))

    assert "FIRST?" not in bench.texts[0]
    assert bench.texts[0].count("Wrong explanation: ") == 2


async def test_ones_own_demonstrations_come_before_the_examples(tmp_path: Path) -> None:
    bench = Bench(tmp_path, [REPLY])
    own = {"input": "OWN?", "thoughts": "T", "output": "1", "wrong_thoughts": "WRONG-OWN", "wrong_output": "2"}

    await ask(bench, {"contrastive_cot": {"demos": {"reason": [own]}}}, decide="generate")

    assert in_order(bench.texts[0], ["OWN?", "Answer: 1", "WRONG-OWN", "Wrong answer: 2"])
    assert "RIGHT-" not in bench.texts[0]


@pytest.mark.parametrize("decide", ["generate", "constrain"])
async def test_self_consistency_over_it_votes_over_the_right_answers_alone(tmp_path: Path, decide: str) -> None:
    replies = [f" E\nAnswer: {value}\nWrong explanation: x\nWrong answer: 60" for value in (60, 25, 25)]
    bench = Bench(tmp_path, replies if decide == "generate" else [*replies, " 60", " 25", " 25"])
    technique = {"self_consistency": {"samples": 3, "over": "contrastive_cot"}}

    answer = await ask(bench, technique, decide=decide)

    thinking = bench.runtime.requests[:3]
    assert answer.value == 25
    assert answer.extra["votes"] == [{"value": 60, "weight": 1}, {"value": 25, "weight": 2}]
    assert len(bench.texts) == (3 if decide == "generate" else 6)
    assert all(request.temperature > 0 for request in thinking)
    assert len({request.sample for request in thinking}) == 3


@pytest.mark.parametrize(("decide", "replies"), [("generate", [REPLY]), ("constrain", [REPLY, " 25"])])
async def test_it_costs_what_it_says(tmp_path: Path, decide: Any, replies: list[str]) -> None:
    bench = Bench(tmp_path, replies)

    await ask(bench, decide=decide)

    most = cost(configure("contrastive_cot", bench.project), bench.project, decide=decide)
    assert (most.calls, most.requests, most.depth) == (1, len(bench.texts), len(bench.texts))


async def test_each_call_shows_and_hides(tmp_path: Path) -> None:
    bench = Bench(tmp_path, [REPLY, " 25"], prompt=MARKED)

    await ask(bench, examples=(Example({"question": "1+1?"}, 2), marked_example(2)))

    assert bench.shown == [("reason", ALL), ("reason", ALL)]


@pytest.mark.parametrize(("decide", "replies"), [("generate", []), ("constrain", [" 25"])])
async def test_what_is_called_wrong_on_the_same_line_is_cut_too(
    tmp_path: Path, decide: Any, replies: list[str]
) -> None:
    bench = Bench(tmp_path, [" 60-20-15=25\nAnswer: 25. Wrong explanation: 60-15=45 Wrong answer: 65", *replies])

    answer = await ask(bench, decide=decide)

    assert answer.value == 25
    assert "65" not in bench.texts[-1].rpartition("Explanation:")[2]
