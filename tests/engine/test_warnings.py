"""Warnings of replies and answers on their way into a run's totals, its record and its trace."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from promptkit.engine.results import Totals, add_totals, totals_record, trace_record
from promptkit.reports.text import warning_texts
from promptkit.runtimes.scripted import Scripted
from promptkit.techniques.warnings import WARNING_TEXTS, in_table_order, warning_text
from tests.engine.helpers import Folder

GUESS = """
    from dataclasses import replace

    from promptkit.techniques import technique

    @technique(calls={"answer": {}})
    async def guess(task):
        exchange = await task.ask("answer")
        answer = await task.decide(exchange)
        if exchange.text == "unsure":
            exchange.record.rule, exchange.record.warnings = "last word", ("weak_reading",)
        return replace(answer, warnings=("refused",) if "?" in exchange.text else ())

    @technique(calls={})
    async def twice(task):
        answers = [await task.run("guess"), await task.run("guess")]
        return task.answer(answers[0].value)
"""
SPLIT = """
    from promptkit.techniques import technique

    @technique()
    async def split(task):
        task.warn("no_sub_question")
        return await task.decide(await task.ask("answer"))
"""
OUTER = """
    from promptkit.techniques import technique

    @technique(calls="over_calls", requests="over_requests")
    async def outer(task, *, over="split"):
        task.warn("my_condition")
        answer = await task.run(over)
        task.warn("no_sub_question")
        return answer
"""
PIPELINE = """
    inputs: {text: {example: fine}}
    steps:
      mood: {prompt: mood, technique: TECHNIQUE}
      next: {prompt: mood, technique: vanilla, with: {text: "{{ mood }}"}}
    output: "{{ next }}"
"""


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    folder = Folder(tmp_path)
    folder.write("techniques/guess.py", GUESS)
    folder.write("techniques/twice.py", GUESS)
    folder.write("techniques/split.py", SPLIT)
    folder.write("techniques/outer.py", OUTER)
    folder.write("templates/techniques/guess/answer.j2", "{% extends prompt %}\n")
    folder.write("templates/techniques/split/answer.j2", "---\nproduces: answer\n---\n{% extends prompt %}\n")
    folder.write("templates/prompts/mood.j2", "{% block input %}{{ text }}{% endblock %}\n")
    return folder


async def run(folder: Folder, replies: list[str], technique: str = "guess") -> Any:
    return await folder.run(PIPELINE.replace("TECHNIQUE", technique), Scripted(replies))


async def test_a_replys_warnings_are_counted_in_its_step_and_in_the_run(folder: Folder) -> None:
    result = await run(folder, ["unsure", "fine"])
    assert result.steps["mood"].warnings == result.totals.warnings == {"weak_reading": 1}
    assert result.steps["next"].warnings == {}


async def test_an_answers_warnings_are_counted_beside_those_of_its_replies(folder: Folder) -> None:
    assert (await run(folder, ["why?", "fine"])).totals.warnings == {"refused": 1}


async def test_an_inner_techniques_answer_warns_once_for_the_step_and_each_reply_by_itself(folder: Folder) -> None:
    assert (await run(folder, ["why?", "why?", "fine"], "twice")).totals.warnings == {"refused": 1}
    assert (await run(folder, ["unsure", "unsure", "fine"], "twice")).totals.warnings == {"weak_reading": 2}


async def test_a_warning_names_the_techniques_that_gave_it_the_inner_one_first(folder: Folder) -> None:
    result = await run(folder, ["fine", "fine"], "outer")
    assert result.steps["mood"].warnings == {"no_sub_question": 1, "my_condition": 1}
    found = {"my_condition": ["outer"], "no_sub_question": ["split", "outer"]}
    assert result.steps["mood"].warned_by == result.totals.warned_by == found
    assert trace_record(result.trace)["parts"][0]["warned_by"] == found
    assert result.record()["totals"]["warned_by"] == found
    assert "warned_by" not in result.record()["steps"]["next"]


async def test_what_the_inner_technique_alone_gave_is_not_the_outer_ones(folder: Folder) -> None:
    folder.write("techniques/outer.py", OUTER.replace('        task.warn("no_sub_question")\n', ""))
    result = await run(folder, ["fine", "fine"], "outer")
    assert result.totals.warned_by == {"my_condition": ["outer"], "no_sub_question": ["split"]}


async def test_an_aside_that_cannot_be_read_is_the_inner_techniques(folder: Folder) -> None:
    grade = "---\nproduces: {number: {min: 0, max: 10}}\n---\n{% extends prompt %}\n"
    folder.write("templates/techniques/split/grade.j2", grade)
    folder.write("techniques/split.py", SPLIT.replace('task.warn("no_sub_question")', 'await task.ask("grade")'))
    folder.write("techniques/outer.py", OUTER.replace('        task.warn("no_sub_question")\n', ""))
    result = await run(folder, ["no grade", "none at all", "fine", "fine"], "outer")
    assert result.totals.warned_by == {"my_condition": ["outer"], "unread_call": ["split"]}


async def test_an_answer_that_an_outer_technique_passes_on_keeps_the_technique_of_its_warnings(folder: Folder) -> None:
    folder.write("techniques/outer.py", OUTER.replace('over="split"', 'over="guess"'))
    result = await run(folder, ["why?", "fine"], "outer")
    assert result.totals.warned_by["refused"] == ["guess"]


async def test_records_have_the_rule_and_warnings_where_there_are_some(folder: Folder) -> None:
    result = await run(folder, ["unsure", "fine"])
    record = result.record()
    assert record["totals"]["warnings"] == record["steps"]["mood"]["warnings"] == {"weak_reading": 1}
    assert "warnings" not in record["steps"]["next"]
    mood, following = trace_record(result.trace)["parts"]
    assert (mood["calls"][0]["rule"], mood["calls"][0]["warnings"]) == ("last word", ["weak_reading"])
    assert following["calls"][0]["rule"] == "whole reply" and "warnings" not in following["calls"][0]
    why = trace_record((await run(folder, ["why?", "fine"])).trace)["parts"][0]
    assert why["warnings"] == ["refused"]


def test_totals_add_up_also_with_records_of_an_older_promptkit() -> None:
    totals = Totals(calls=1, warnings={"refused": 1})
    old = {name: value for name, value in totals_record(Totals(calls=2)).items() if name != "warnings"}
    assert add_totals(totals, old) == Totals(calls=3, warnings={"refused": 1})
    added = add_totals(totals, totals_record(Totals(warnings={"weak_reading": 2, "refused": 1})))
    assert list(added.warnings.items()) == [("weak_reading", 2), ("refused", 2)]


def test_counts_are_in_the_tables_order_and_unknown_ones_come_last_by_their_name() -> None:
    assert list(in_table_order({"later": 1, "refused": 1, "weak_reading": 0, "empty_reply": 2})) == [
        "refused",
        "empty_reply",
        "later",
    ]
    assert [warning_text(name) for name in ("refused", "later")] == [WARNING_TEXTS["refused"], "later"]


def test_the_text_names_the_techniques_and_of_many_none() -> None:
    warned_by = {"tie": ["one"], "mine_own": ["one", "two"], "capped": ["one", "two", "three", "four"]}
    assert warning_text("tie", warned_by) == "one ended in a tie"
    assert warning_text("mine_own", warned_by) == "one and two: mine own"
    assert warning_text("capped", warned_by) == "reached a cap"
    assert warning_texts({"refused": 3, "tie": 1, "mine_own": 12}, warned_by) == [
        "3 refused to answer",
        "one ended in a tie (once)",
        "one and two: mine own (12)",
    ]
