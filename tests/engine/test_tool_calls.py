"""Calls of tools in the trace: of tool steps, of techniques with tools, and in expressions."""

from __future__ import annotations

from typing import Any

from promptkit.engine.results import Result, tool_calls_of, trace_record
from promptkit.runtimes.scripted import Scripted
from tests.engine.helpers import Folder

TOOLS = """
def book(day: str, guests: int = 2):
    if day == "Sunday":
        raise ValueError("closed")
    return f"{day} for {guests}"
"""
PIPELINE = """
    inputs: {days: {type: list}}
    tools: {book: "tools.py:book"}
    steps:
      booked:
        for_each: "{{ days }}"
        as: day
        tool: book
        with: {day: "{{ day }}"}
        on_error: skip
    output: "{{ steps.booked.tool_calls | map(attribute='name') }}"
    """
AGENT = """
    inputs: {ask: {}}
    tools: {book: "tools.py:book"}
    steps:
      agent:
        prompt: {input: "{{ ask }}"}
        technique: react
        tools: [book]
    """


def called(result: Result) -> list[tuple[Any, ...]]:
    calls = tool_calls_of(trace_record(result.trace))
    return [(call["step"], call["name"], call["arguments"], call["result"], call["failure"]) for call in calls]


async def test_a_tool_step_names_its_calls_with_results_and_failures(folder: Folder) -> None:
    folder.write("pipelines/tools.py", TOOLS)
    result = await folder.run(PIPELINE, Scripted([]), {"days": ["Friday", "Sunday"]})
    first, second = called(result)
    assert first == ("booked", "book", {"day": "Friday"}, "Friday for 2", None)
    assert second[:4] == ("booked", "book", {"day": "Sunday"}, None) and "closed" in second[4]
    assert result.output == ["book", "book"]


async def test_the_actions_of_an_agent_are_calls_also_those_that_cannot_be_made(folder: Folder) -> None:
    folder.write("pipelines/tools.py", TOOLS)
    actions = ['book[{"day": "Friday", "guests": 3}]', "cancel[Friday]", "book[]", "finish[done]"]
    replies = [f"Act.\nAction {number}: {action}" for number, action in enumerate(actions, start=1)]
    result = await folder.run(AGENT, Scripted(replies), {"ask": "A table on Friday"})
    assert result.output == "done"
    assert called(result)[0] == ("agent", "book", {"day": "Friday", "guests": 3}, "Friday for 3", None)
    assert called(result)[1] == ("agent", "cancel", {}, None, "there is no such tool")
    assert called(result)[2][1:4] == ("book", {}, None) and "not its arguments" in called(result)[2][4]


async def test_the_step_of_a_sub_pipeline_is_named_by_its_path(folder: Folder) -> None:
    folder.write("pipelines/tools.py", TOOLS)
    folder.write("pipelines/inner.yaml", PIPELINE)
    outer = "inputs: {days: {type: list}}\nsteps: {visit: {pipeline: inner, with: {days: '{{ days }}'}}}"
    result = await folder.run(outer, Scripted([]), {"days": ["Friday"]})
    assert [call[0] for call in called(result)] == ["visit.booked"]
