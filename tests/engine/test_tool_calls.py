"""Calls of tools in the trace: of tool steps, of techniques with tools, and in expressions."""

from __future__ import annotations

from typing import Any

import pytest

from promptkit.engine.requirements import fallbacks, unused_tools
from promptkit.engine.results import Result, tool_calls_of, trace_record
from promptkit.engine.session import Event, RunSettings, ToolCalled
from promptkit.errors import Unsupported
from promptkit.runtimes.base import FunctionCall, Reply
from promptkit.runtimes.scripted import CAPABILITIES, Scripted
from tests.engine.helpers import Folder, Given

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


CALLING = """
    inputs: {ask: {}}
    tools: {book: "tools.py:book"}
    steps:
      agent:
        prompt: {input: "{{ ask }}"}
        tools: [book]
    """
BOOKED = Reply(text="", calls=(FunctionCall(id="c1", name="book", arguments='{"day": "Friday"}'),))


def calling(replies: list[Reply | str]) -> Scripted:
    return Scripted(replies, capabilities=CAPABILITIES | {"function_calls"})


async def test_a_step_with_tools_and_no_technique_lets_the_model_call_them(folder: Folder) -> None:
    folder.write("pipelines/tools.py", TOOLS)
    events: list[Event] = []
    result = await folder.run(CALLING, calling([BOOKED, "It is booked."]), {"ask": "Friday"}, events=events)
    assert result.output == "It is booked."
    assert called(result) == [("agent", "book", {"day": "Friday"}, "Friday for 2", None)]
    (finished,) = [event for event in events if isinstance(event, ToolCalled)]
    assert (finished.step, finished.call.result) == ("agent", "Friday for 2")


async def test_the_trace_has_the_time_of_a_call_and_expressions_do_not(folder: Folder) -> None:
    folder.write("pipelines/tools.py", TOOLS)
    shown = CALLING + 'output: "{{ steps.agent.tool_calls[0] | list | sort }}"\n'
    result = await folder.run(shown, calling([BOOKED, "Done."]), {"ask": "Friday"})
    (record,) = trace_record(result.trace)["parts"][0]["tool_calls"]
    assert record["seconds"] > 0 and (record["id"], record["level"]) == ("c1", 1)
    assert result.output == ["arguments", "failure", "id", "level", "name", "result"]


async def test_a_model_without_function_calls_uses_react_and_says_so(folder: Folder) -> None:
    folder.write("pipelines/tools.py", TOOLS)
    replies = ["Act.\nAction 1: book[Friday]", "Done.\nAction 2: finish[done]"]
    result = await folder.run(CALLING, Scripted(replies), {"ask": "Friday"})
    assert result.output == "done" and called(result)[0][1] == "book"
    assert [notice for notice in result.notices if "`react` calls the tools instead" in notice]
    (fallback,) = await fallbacks(folder.load(CALLING), Given(Scripted([])))
    assert (fallback.wanted, fallback.instead) == ("technique: function_calling", "technique: react")
    assert not await fallbacks(folder.load(CALLING), Given(calling([])))


async def test_strict_makes_the_lack_of_function_calls_an_error(folder: Folder) -> None:
    folder.write("pipelines/tools.py", TOOLS)
    runtime = Scripted(["x"])
    with pytest.raises(Unsupported, match="function_calls"):
        await folder.run(CALLING, runtime, {"ask": "Friday"}, settings=RunSettings(strict=True))
    assert runtime.requests == []


@pytest.mark.parametrize(
    ("technique", "says"),
    [("vanilla", True), ("{self_consistency: {over: chain_of_thought}}", True), ("react", False), ("reflexion", False)],
)
def test_tools_that_a_technique_does_not_call_are_named(folder: Folder, technique: str, says: bool) -> None:
    folder.write("pipelines/tools.py", TOOLS)
    pipeline = folder.load(CALLING.replace("tools: [book]", f"tools: [book]\n        technique: {technique}"))
    assert bool(list(unused_tools(pipeline))) == says


async def test_an_empty_list_of_tools_is_no_tools(folder: Folder) -> None:
    folder.write("pipelines/tools.py", TOOLS)
    pipeline = folder.load(CALLING.replace("tools: [book]", "tools: []"))
    call = pipeline.steps["agent"].prompt_call
    assert call is not None and call.technique == "vanilla"
