"""`least_to_most` (Zhou et al. 2023): easier questions first, each with the answers before it, the answer last."""

from pathlib import Path
from typing import Any

import pytest

from promptkit.techniques.cost import cost
from promptkit.techniques.perform import perform
from promptkit.techniques.spec import configure
from tests.techniques.steps import MARKED, Bench, in_order, marked_example

REDUCED = 'To answer it, we need to know: "SUB-ONE?", "SUB-TWO?"'
SOLVED = ["MARK1 The answer is 4.", "MARK2 The answer is 6.", "The answer is 9."]
QUESTION = "QUESTION-MARK 3+4?"
WITH_CONTEXT = """\
---
inputs: {passage: {type: text}, question: {type: text}}
---
{% block instructions %}INSTRUCTIONS-MARK{% endblock %}
{% block input %}{{ passage }} INPUT-MARK {{ question }}{% endblock %}
"""


async def ask(bench: Bench, **parameters: Any) -> Any:
    return await perform({"least_to_most": parameters}, bench.step(decide="generate"))


async def test_each_question_sees_the_answers_before_it_and_none_after(tmp_path: Path) -> None:
    bench = Bench(tmp_path, [REDUCED, *SOLVED])

    answer = await ask(bench)

    _, first, second, last = bench.texts
    assert (answer.value, len(bench.texts)) == (9, 4)
    assert "SUB-ONE?" in first and "SUB-TWO?" not in first
    assert in_order(second, ["SUB-ONE?", SOLVED[0], "SUB-TWO?"]) and "MARK2" not in second
    assert in_order(last, ["SUB-ONE?", SOLVED[0], "SUB-TWO?", SOLVED[1], f"Q: {QUESTION}"])
    assert QUESTION in first and QUESTION in second
    assert "capped" not in answer.extra
    assert answer.extra["questions"][1] == {"question": "SUB-TWO?", "answer": SOLVED[1]}


async def test_no_two_of_the_requests_run_at_once(tmp_path: Path) -> None:
    bench = Bench(tmp_path, [REDUCED, *SOLVED])

    await ask(bench)

    assert bench.levels == [("reduce", 1), ("solve", 2), ("solve", 3), ("answer", 4)]


async def test_under_constrain_only_the_question_itself_is_decided(tmp_path: Path) -> None:
    bench = Bench(tmp_path, [REDUCED, *SOLVED[:2], "4 + 6 - 1 is it.", " 9"])

    answer = await perform("least_to_most", bench.step())

    assert answer.value == 9
    assert bench.texts[4].endswith("4 + 6 - 1 is it.\nThe answer is")
    assert [record.deciding for record in bench.records] == [False] * 4 + [True]


@pytest.mark.parametrize("reply", ["I would not know how.", "", "It is 31."])
async def test_without_a_list_the_question_is_the_only_one(tmp_path: Path, reply: str) -> None:
    bench = Bench(tmp_path, [reply, "The answer is 9."])

    answer = await ask(bench)

    assert (answer.value, len(bench.texts)) == (9, 2)
    assert "no_sub_question" in bench.warned


@pytest.mark.parametrize(
    "reply",
    [
        f'"SUB-ONE?", "{QUESTION}"',
        f'To answer "{QUESTION}", we need to know: "SUB-ONE?"',
        "1. SUB-ONE?\n2. question-mark 3 + 4",
        '- How old is "Kim" in SUB-ONE?',
    ],
)
async def test_the_question_itself_is_asked_once_and_last(tmp_path: Path, reply: str) -> None:
    bench = Bench(tmp_path, [reply, SOLVED[0], "The answer is 9."])

    answer = await ask(bench)

    assert (answer.value, len(bench.texts)) == (9, 3)
    assert bench.texts[2].count(QUESTION) == 1


async def test_the_number_of_questions_is_capped(tmp_path: Path) -> None:
    bench = Bench(tmp_path, ['"A-1?" "B-1?" "C-1?" "D-1?"', SOLVED[0], "The answer is 9."])

    answer = await ask(bench, questions=2)

    assert [record.call for record in bench.records] == ["reduce", "solve", "answer"]
    assert (answer.value, bench.warned) == (9, ["capped"])
    assert "at most 1" in bench.texts[0]


@pytest.mark.parametrize(
    ("reply", "asked"),
    [
        ("1. **SUB-ONE?**\n2. **SUB-TWO?**", ["SUB-ONE?", "SUB-TWO?"]),
        ("Here they are:\n- SUB-ONE?\n- SUB-TWO?\nThat is all.", ["SUB-ONE?", "SUB-TWO?"]),
        ("SUB-ONE? SUB-TWO?", ["SUB-ONE?", "SUB-TWO?"]),
        ("'SUB-ONE?', 'SUB-TWO?'", ["SUB-ONE?", "SUB-TWO?"]),
        ('We ask "SUB-ONE?" and "SUB-TWO?".', ["SUB-ONE?", "SUB-TWO?"]),
        ("1. Find the pages of Tuesday.", ["Find the pages of Tuesday."]),
        ("Find SUB-ONE\nFind SUB-TWO", ["Find SUB-ONE", "Find SUB-TWO"]),
    ],
)
async def test_sub_questions_are_read_in_any_dress(tmp_path: Path, reply: str, asked: list[str]) -> None:
    bench = Bench(tmp_path, [reply, *["MARK"] * len(asked), "The answer is 9."])

    answer = await ask(bench)

    assert [pair["question"] for pair in answer.extra["questions"]] == asked


async def test_a_decomposition_is_held_to_a_list_where_the_runtime_can(tmp_path: Path) -> None:
    bench = Bench(tmp_path, ["Find the pages of Tuesday.", "MARK", "Nine.", " 9"])

    answer = await perform("least_to_most", bench.step())

    assert bench.runtime.requests[0].constrained
    assert [pair["question"] for pair in answer.extra["questions"]] == ["Find the pages of Tuesday."]


async def test_other_inputs_than_the_question_stay_in_every_call(tmp_path: Path) -> None:
    prompt = """\
---
inputs: {date: {type: text}, context: {type: text}, question: {type: text}}
---
{% block input %}
Today is {{ date }}.
{{ context }}
Question: {{ question }}
{% endblock %}
"""
    bench = Bench(tmp_path, [REDUCED, *SOLVED], prompt=prompt)
    values = {"date": "DATE-MARK", "context": "PASSAGE-MARK", "question": QUESTION}

    await perform("least_to_most", bench.step(values=values, decide="generate"))

    for text in bench.texts[1:]:
        assert in_order(text, ["Today is DATE-MARK.\nPASSAGE-MARK\n", "Q: "])
        assert "Question:" not in text


async def test_the_last_request_has_the_problem_first_then_the_pairs_then_the_question(tmp_path: Path) -> None:
    bench = Bench(tmp_path, [REDUCED, *SOLVED])
    problem = "Dr. Ida has 3 apples.\nShe buys 4. How many has she?"

    await perform("least_to_most", bench.step(values={"question": problem}, decide="generate"))

    for solving in bench.texts[1:3]:
        assert "Dr. Ida has 3 apples.\nShe buys 4.\nQ: SUB-ONE?" in solving
    assert in_order(bench.texts[3], ["She buys 4.\nQ: SUB-ONE?", "Q: SUB-TWO?", "Q: How many has she?"])


async def test_the_shipped_word_problems_are_not_shown_where_the_answer_is_no_number(tmp_path: Path) -> None:
    bench = Bench(tmp_path, [REDUCED, "MARK1", "MARK2", "The answer is a."], {"label": ["a", "b"]})

    await ask(bench)

    assert not any("stamps" in text for text in bench.texts)


async def test_a_context_is_shown_with_every_question_and_the_question_alone_is_reduced(tmp_path: Path) -> None:
    bench = Bench(tmp_path, [REDUCED, *SOLVED], prompt=WITH_CONTEXT)
    step = bench.step(values={"passage": "PASSAGE-MARK", "question": QUESTION}, decide="generate")

    await perform({"least_to_most": {"context": "passage"}}, step)

    _, first, second, last = bench.texts
    assert all(text.count("PASSAGE-MARK") == 1 for text in bench.texts)
    assert QUESTION not in first + second and in_order(last, ["PASSAGE-MARK", "SUB-ONE?", f"Q: {QUESTION}"])
    assert all("INPUT-MARK" in text for text in bench.texts)


async def test_a_context_that_stands_in_its_own_section_is_not_repeated(tmp_path: Path) -> None:
    prompt = WITH_CONTEXT.replace(
        "{% block input %}{{ passage }}", "{% block context %}{{ passage }}{% endblock %}\n{% block input %}"
    )
    bench = Bench(tmp_path, [REDUCED, *SOLVED], prompt=prompt)
    step = bench.step(values={"passage": "PASSAGE-MARK", "question": QUESTION}, decide="generate")

    await perform({"least_to_most": {"context": "passage"}}, step)

    assert all(text.count("PASSAGE-MARK") == 1 for text in bench.texts)


async def test_without_a_context_role_the_whole_input_is_the_problem(tmp_path: Path) -> None:
    bench = Bench(tmp_path, [REDUCED, *SOLVED], prompt=WITH_CONTEXT)
    step = bench.step(values={"passage": "PASSAGE-MARK", "question": QUESTION}, decide="generate")

    await perform("least_to_most", step)

    assert all("PASSAGE-MARK" in text for text in bench.texts)
    assert f"Q: {QUESTION}" in bench.texts[3]


async def test_ones_own_demonstrations_are_shown_while_solving_and_while_answering(tmp_path: Path) -> None:
    bench = Bench(tmp_path, [REDUCED, *SOLVED])
    demo = {"input": "OWN-DEMO", "thoughts": "OWN-THOUGHTS", "output": "5"}

    await ask(bench, demos={"solve": [demo]})

    assert ["OWN-DEMO" in text for text in bench.texts] == [False, True, True, True]
    assert in_order(bench.texts[3], ["OWN-DEMO", "OWN-THOUGHTS", "The answer is 5"])


async def test_each_call_shows_and_hides(tmp_path: Path) -> None:
    bench = Bench(tmp_path, [REDUCED, *SOLVED[:2], "Nine.", " 9"], prompt=MARKED)

    await perform("least_to_most", bench.step(examples=(marked_example(2),)))

    making = "persona instructions constraints context output_format input"
    answering = "persona instructions constraints context output_format input recap cue"
    assert bench.shown == [
        ("reduce", making),
        ("solve", making),
        ("solve", making),
        ("answer", answering),
        ("answer", answering),
    ]


@pytest.mark.parametrize(("decide", "requests"), [("generate", 4), ("constrain", 5)])
def test_it_costs_a_request_a_question_and_one_to_reduce(tmp_path: Path, decide: str, requests: int) -> None:
    project = Bench(tmp_path, []).project

    found = cost(configure({"least_to_most": {"questions": 3}}, project), project, decide=decide)

    assert (found.calls, found.requests, found.depth) == (4, requests, requests)
