"""What techniques read for themselves: in every dress, and asked for again where it cannot be read."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from promptkit.answers.base import Unparsed
from promptkit.runtimes.base import Reply
from promptkit.techniques.catalog.chain_of_event import document_numbers
from promptkit.techniques.catalog.dater import fill
from promptkit.techniques.catalog.decomposed import read_sub_question
from promptkit.techniques.catalog.logical_thoughts import read_steps
from promptkit.techniques.catalog.react import Action, read_action, read_step
from promptkit.techniques.catalog.verify_and_edit import read_question
from promptkit.techniques.methods.math_templates import read_expression
from promptkit.techniques.methods.qa_queries import read_query, read_values
from promptkit.techniques.perform import perform
from promptkit.techniques.reading import read_sentences
from promptkit.techniques.spec import configure
from promptkit.techniques.task import Task
from tests.techniques.steps import Bench

ALPHA, BETA = "What is alpha?", "What is beta?"


@pytest.mark.parametrize(
    "reply",
    [
        "#1. Add.\n#2. Halve.",
        "1. Add.\n2. Halve.",
        "Step 1: Add.\nStep 2: Halve.",
        "**Step 1:** Add.\n**Step 2:** Halve.",
        "### 1. Add.\n### 2. Halve.",
        "**1. Add.**\n**2. Halve.**",
        "**#1.** Add.\n**#2.** Halve.",
    ],
)
def test_steps_are_read(reply: str) -> None:
    assert read_steps(reply, 1) == ["Add.", "Halve."]


@pytest.mark.parametrize(
    ("reply", "expression"),
    [
        ("A * (B - C)", "A * (B - C)"),
        ("Answer = A*B", "A*B"),
        ("Answer: A*B", "A*B"),
        ("**A + B**", "A + B"),
        (r"$A \times B$", "A * B"),
        (r"\( \frac{A}{B} \)", "((A)/(B))"),
        ("A(B-C)", "A*(B-C)"),
        ("A x B", "A * B"),
        ("2B + B/2", "2*B + B/2"),
        ("```\nA + B\n```", "A + B"),
        ("A * B dollars", "A * B"),
        ("The total is:\nA ÷ B", "A ÷ B"),
        ("total = A * B", "A * B"),
    ],
)
def test_expressions_are_read(reply: str, expression: str) -> None:
    assert read_expression(reply, ["A", "B", "C"]).replace("/", "÷" if "÷" in expression else "/") == expression


@pytest.mark.parametrize("reply", ["", "five times seven", "I cannot do that."])
def test_a_reply_without_an_expression_has_none(reply: str) -> None:
    with pytest.raises(Unparsed):
        read_expression(reply, ["A", "B"])


@pytest.mark.parametrize(
    ("reply", "question"),
    [
        (f"\n{ALPHA}", ALPHA),
        (f"Question to look up:\n{ALPHA}", ALPHA),
        (f"- **{ALPHA}**", ALPHA),
        ("the height of alpha", "the height of alpha"),
    ],
)
def test_a_question_to_look_up_is_read(reply: str, question: str) -> None:
    assert read_question(reply) == question


def test_sentences_do_not_end_after_abbreviations() -> None:
    text = "In 1990 Dr. Smith came at 5 p.m. from St. Ives. He left, e.g. by train. J. Doe stayed."
    assert read_sentences(text) == [
        "In 1990 Dr. Smith came at 5 p.m. from St. Ives.",
        "He left, e.g. by train.",
        "J. Doe stayed.",
    ]


@pytest.mark.parametrize(
    ("given", "numbers"),
    [
        ("1, 2", [1, 2]),
        ([1, "3"], [1, 3]),
        (["Document 1", "Document 3"], [1, 3]),
        ("documents 2 and 3", [2, 3]),
        (2, [2]),
        (None, []),
        ("9", []),
    ],
)
def test_documents_are_named_in_any_way(given: Any, numbers: list[int]) -> None:
    assert document_numbers(given, 3) == numbers


@pytest.mark.parametrize(
    ("reply", "action"),
    [
        ("search[Ada]", Action("search", "Ada")),
        ('search["Ada"]', Action("search", "Ada")),
        ('search("Ada")', Action("search", "Ada")),
        ('finish["1815"]', Action("finish", "1815")),
        ("`finish[1815]`", Action("finish", "1815")),
        ('calc[{"a": 2}]', Action("calc", '{"a": 2}')),
    ],
)
def test_actions_are_read(reply: str, action: Action) -> None:
    assert read_action(reply) == action


def test_a_step_with_bold_heads_is_read() -> None:
    assert read_step("**Thought 1:** I look.\n**Action 1:** search[Ada]") == ("I look.", "search[Ada]")


@pytest.mark.parametrize("reply", ["QS: [ask] Who?", "**QS:** [ask] Who?", "- [ask] Who?", "(select) [ask] Who?"])
def test_a_sub_question_is_read(reply: str) -> None:
    found = read_sub_question(reply)
    assert (found.handler, found.text) == ("ask", "Who?")


@pytest.mark.parametrize(
    "reply",
    [
        "yes\nno",
        "1 | yes\n2 | no",
        "| 1 | yes |\n| 2 | no |",
        "row 1 : yes\nrow 2 | no",
        "1. yes\n2. no",
        '["yes", "no"]',
        "yes, no",
    ],
)
def test_values_of_rows_are_read(reply: str) -> None:
    assert read_values(reply, 2) == ["yes", "no"]


@pytest.mark.parametrize("reply", ["yes", "a | yes\nb | no", "yes\nno\nyes"])
def test_values_in_another_form_are_refused(reply: str) -> None:
    with pytest.raises(Unparsed):
        read_values(reply, 2)


def test_a_query_is_read_with_its_calls() -> None:
    call = 'QA("ans@which?"; SELECT a FROM w)'
    assert read_query(call) == call
    assert (
        read_query(f"We ask:\n```sql\nSELECT a FROM w WHERE b IN ({call});\n```")
        == f"SELECT a FROM w WHERE b IN ({call})"
    )


@pytest.mark.parametrize(
    ("fact", "cells", "filled"),
    [
        ("A has {}", ["1", "2"], "A has 1, 2"),
        ("A has {} and B {}", ["1", "2"], "A has 1 and B 2"),
        ("A has {} and B {}", ["1"], ""),
    ],
)
def test_a_blank_is_filled_by_its_own_cell(fact: str, cells: list[str], filled: str) -> None:
    assert fill(fact, cells) == filled


def question_in(text: str) -> str:
    """Return a reply that asks. Raises Unparsed for others."""
    if text.endswith("?"):
        return text
    raise Unparsed("the reply holds no question")


async def free_reply(bench: Bench, **settings: Any) -> tuple[Task, Any]:
    """Return a task and the exchange of one of its free replies."""
    task = Task(bench.step(decide="generate", **settings), configure("logical_thoughts", bench.project), perform)
    return task, await task.ask("think", max_tokens=40)


async def test_an_aside_that_cannot_be_read_is_asked_for_again_with_what_was_wrong(tmp_path: Path) -> None:
    bench = Bench(tmp_path, ["No idea.", ALPHA])
    task, exchange = await free_reply(bench, repairs=1)

    assert await task.read(exchange, question_in) == ALPHA
    assert [(record.call, record.repair) for record in bench.records] == [("think", False), ("think", True)]
    asked_again = bench.records[1].request.messages
    assert [message.role for message in asked_again[-2:]] == ["assistant", "user"]
    assert asked_again[-1].content.startswith("That reply cannot be used: the reply holds no question")
    assert bench.records[0].notes == ("the reply cannot be read: the reply holds no question",)


async def test_an_aside_that_was_cut_off_is_asked_for_again_with_twice_the_tokens(tmp_path: Path) -> None:
    bench = Bench(tmp_path, [Reply(text="So", finish="length"), ALPHA])
    task, exchange = await free_reply(bench, repairs=1)

    await task.read(exchange, question_in)

    first, again = bench.records[0].request, bench.records[1].request
    assert again.messages == first.messages
    assert (first.max_tokens, again.max_tokens) == (40, 80)


@pytest.mark.parametrize("repairs", [0, 2])
async def test_it_is_asked_for_as_often_as_repairs_allow(tmp_path: Path, repairs: int) -> None:
    bench = Bench(tmp_path, ["No idea."] * (repairs + 1))
    task, exchange = await free_reply(bench, repairs=repairs)

    assert await task.read(exchange, question_in) is None
    assert (len(bench.records), bench.warned) == (repairs + 1, ["unread_call"])


async def test_a_reader_gets_the_reply_without_marks(tmp_path: Path) -> None:
    task, exchange = await free_reply(Bench(tmp_path, ["<think>Hm?</think>No idea.<|im_end|>"]))

    assert await task.read(exchange, str) == "No idea."


async def test_the_wrong_side_that_a_model_adds_is_no_answer(tmp_path: Path) -> None:
    right, wrong = "**Explanation:** 20 + 5.\n**Answer:** 25", "**Wrong Explanation:** 13 * 5.\n**Wrong Answer:** 65"
    bench = Bench(tmp_path, [f"{right}\n{wrong}"])

    answer = await perform("contrastive_cot", bench.step(decide="generate"))

    assert answer.value == 25


@pytest.mark.parametrize(
    "heading",
    [
        "# Solve the initial problem:",
        "# 2. Solve the initial problem",
        "### Solving the initial problem",
        "3. Solve the initial problem",
        "**Solution to the initial problem:**",
    ],
)
async def test_the_initial_problem_is_found_under_any_heading(tmp_path: Path, heading: str) -> None:
    bench = Bench(tmp_path, [f"# Relevant problems:\n1. One \\boxed{{11}}\n{heading}\nThe total is 44."])

    answer = await perform("analogical", bench.step(decide="generate"))

    assert answer.value == 44


@pytest.mark.parametrize("heading", ["Summary:", "## Summary", "**Summary:**", "3. Summary"])
async def test_a_heading_of_the_cue_is_the_cue(tmp_path: Path, heading: str) -> None:
    bench = Bench(tmp_path, [f"- A mill burned.\n\n{heading}\nA mill burned."], "text")
    step = bench.step(decide="generate", cue="Summary:")
    task = Task(step, configure("chain_of_thought", bench.project), perform)

    answer = await task.decide(await task.ask("reason", zero_shot=True), marked=True)

    assert answer.value == "A mill burned."
