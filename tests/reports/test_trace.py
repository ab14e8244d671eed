"""The trace of a run: what a technique says beside its answer, and which requests waited for each other."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from promptkit.engine.results import Result, Trace, trace_record
from promptkit.reports.text import json_text
from promptkit.reports.trace import trace_text
from promptkit.runtimes.base import FunctionCall, Reply
from promptkit.runtimes.scripted import CAPABILITIES, Scripted
from tests.engine.helpers import Folder

PIPELINE = """
name: sums
inputs: {question: {example: 3+4}}
steps:
  solve:
    prompt: {input: "{{ question }}"}
    answer: number
    technique: TECHNIQUE
"""
TELLING = """
from promptkit.techniques import Answer, Task, technique


@technique()
async def telling(task: Task) -> Answer:
    answer = await task.decide(await task.ask("answer"))
    return answer.with_extra(said=VALUE)
"""
VOTING = "{self_consistency: {samples: 3}}"
VOTES = [{"value": 7, "weight": 2.0}, {"value": 8, "weight": 1.0}]


async def voted(folder: Path) -> Result:
    replies = [" a", " b", " c", "7", "8", "7"]
    return await Folder(folder).run(PIPELINE.replace("TECHNIQUE", VOTING), Scripted(replies))


async def told(folder: Path, value: str, replies: list[str] | None = None) -> Result:
    """Run a technique that says a value, a Python expression, beside its answer."""
    project = Folder(folder)
    project.write("techniques/telling.py", TELLING.replace("VALUE", value))
    project.write("templates/techniques/telling/answer.j2", "---\nproduces: answer\n---\n{% extends prompt %}\n")
    return await project.run(PIPELINE.replace("TECHNIQUE", "telling"), Scripted(replies or ["7"]))


WARNING = """
from dataclasses import replace

from promptkit.techniques import Answer, Task, technique


@technique()
async def telling(task: Task) -> Answer:
    exchange = await task.ask("answer")
    answer = await task.decide(exchange)
    exchange.record.rule, exchange.record.warnings = "any value", ("weak_reading",)
    return replace(answer, warnings=("refused",))
"""


async def test_a_call_says_by_which_rule_its_value_was_read_and_its_warnings(tmp_path: Path) -> None:
    project = Folder(tmp_path)
    project.write("techniques/telling.py", WARNING)
    project.write("templates/techniques/telling/answer.j2", "---\nproduces: answer\n---\n{% extends prompt %}\n")
    reply = Reply(text="7", tokens_in=9, tokens_out=11, seconds=1.5, first_token=0.5)

    lines = trace_text(
        (await project.run(PIPELINE.replace("TECHNIQUE", "telling"), Scripted([reply]))).trace
    ).splitlines()

    assert lines[1].endswith(" · telling refused to answer")
    title = "9+11 tokens · 1.5 s · first token 500 ms · 10 tokens/s · read by a weak rule"
    assert lines[2] == f"   └─ call answer · {title}"
    assert lines[-1] == "      parsed by any value: 7"


async def test_votes_are_one_line_after_the_calls(tmp_path: Path) -> None:
    lines = trace_text((await voted(tmp_path)).trace).splitlines()

    assert lines[-2:] == [f"   ├─ votes: {json.dumps(VOTES)}", "   └─ unparsed: 0"]


async def test_a_sample_says_which_it_is_and_how_warm_where_it_is(tmp_path: Path) -> None:
    nested = "{self_consistency: {samples: 2, temperature: 0.6, over: {pal: {samples: 2, temperature: 1}}}}"
    programs = ["```python\ndef solution():\n    return 7\n```"] * 4
    deep = await Folder(tmp_path / "deep").run(PIPELINE.replace("TECHNIQUE", nested), Scripted(programs))

    flat = trace_text((await voted(tmp_path / "flat")).trace)
    said = [title.split(" · ")[:-2] for title in calls_of(flat)]
    # The deciding calls begin in the order in which their thoughts end.
    assert said[:3] + sorted(said[3:]) == [
        *(["call reason", f"sample 0/{number}", "temperature 0.7"] for number in range(3)),
        *(["call reason", f"sample 0/{number}"] for number in range(3)),
    ]
    assert [title.split(" · ")[1:3] for title in calls_of(trace_text(deep.trace))] == [
        [f"sample 0/{outer}/{inner}", "temperature 1"] for outer in range(2) for inner in range(2)
    ]


async def test_what_is_asked_once_is_no_sample(tmp_path: Path) -> None:
    result = await Folder(tmp_path).run(PIPELINE.replace("TECHNIQUE", "vanilla"), Scripted(["7"]))

    assert "sample" not in trace_text(result.trace)


def test_the_hint_of_what_is_wrong_stands_in_brackets_in_its_line() -> None:
    failed = Trace(name="solve", kind="step", status="failed", problem="no such thing\n  hint: take the other")

    assert trace_text(failed) == "solve · failed · 0 ms · no such thing (take the other)"


def calls_of(trace: str) -> list[str]:
    """Return the titles of the calls in a trace."""
    return [line[line.index("call ") :] for line in trace.splitlines() if "─ call " in line]


async def test_the_record_of_a_step_has_what_its_technique_said(tmp_path: Path) -> None:
    (step,) = trace_record((await voted(tmp_path)).trace)["parts"]

    assert step["extra"] == {"votes": VOTES, "unparsed": 0}


async def test_the_record_of_a_call_has_its_level(tmp_path: Path) -> None:
    (step,) = trace_record((await voted(tmp_path)).trace)["parts"]

    assert [call["level"] for call in step["calls"]] == [1, 1, 1, 2, 2, 2]


async def test_where_a_technique_says_nothing_there_is_no_extra(tmp_path: Path) -> None:
    result = await Folder(tmp_path).run(PIPELINE.replace("TECHNIQUE", "vanilla"), Scripted(["7"]))
    (step,) = trace_record(result.trace)["parts"]

    assert "extra" not in step
    assert step["calls"][0]["level"] == 1


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ("'two\\nlines'", '"two\\nlines"'),
        ("'\\x1b[31m'", '"\\u001b[31m"'),
        ("{'b', 'a'}", '["a", "b"]'),
        ("(1, 2)", "[1, 2]"),
        ("float('-inf')", '"-inf"'),
        ("{1: b'x'}", '{"1": "b\'x\'"}'),
        ("['ä', None, True]", '["ä", null, true]'),
    ],
)
async def test_whatever_is_said_is_one_line_and_json(tmp_path: Path, value: str, shown: str) -> None:
    result = await told(tmp_path, value)

    assert trace_text(result.trace).splitlines()[-1] == f"   └─ said: {shown}"
    assert json.loads(json_text(trace_record(result.trace)))["parts"][0]["extra"] == {"said": json.loads(shown)}


async def test_what_was_said_holds_after_a_repair(tmp_path: Path) -> None:
    result = await told(tmp_path, "'first'", ["no number", "7"])
    (step,) = trace_record(result.trace)["parts"]

    assert result.output == 7
    assert [call["repair"] for call in step["calls"]] == [False, True]
    assert step["extra"] == {"said": "first"}


async def test_what_each_item_says_stands_with_the_item(tmp_path: Path) -> None:
    text = """
    inputs: {sums: {type: list, example: [1+2, 3+4]}}
    steps:
      solve:
        for_each: "{{ sums }}"
        as: question
        prompt: {input: "{{ question }}"}
        answer: number
        technique: {self_consistency: {samples: 2, over: vanilla}}
    """
    result = await Folder(tmp_path).run(text, Scripted(["3"] * 4))
    (step,) = trace_record(result.trace)["parts"]

    extras: list[Any] = [part["extra"]["votes"] for part in step["parts"]]
    assert extras == [[{"value": 3, "weight": 2.0}]] * 2
    assert "extra" not in step


CALLING = """
inputs: {question: {example: 3+4}}
tools: {add: "add.py:add"}
steps:
  solve: {prompt: {input: "{{ question }}"}, answer: number, tools: [add]}
"""


async def test_the_trace_shows_what_the_model_called_and_what_came_of_it(tmp_path: Path) -> None:
    project = Folder(tmp_path)
    project.write("pipelines/add.py", "def add(a, b):\n    return a + b\n")
    call = FunctionCall(id="c1", name="add", arguments='{"a":3,"b":4}')
    replies = [Reply(text="", calls=(call,)), Reply(text="7")]
    result = await project.run(CALLING, Scripted(replies, capabilities=CAPABILITIES | {"function_calls"}))
    lines = [line.lstrip(" │├└─") for line in trace_text(result.trace).splitlines()]
    assert lines.count('reply calls add({"a":3,"b":4})') == 1
    assert lines.count("may call: add") == 2
    first, second, third = (lines.index(text) for text in ('assistant calls add({"a":3,"b":4})', "tool: 7", "reply: 7"))
    assert first < second < third
    (made,) = [line for line in lines if line.startswith("tool add(")]
    assert made.startswith("tool add(a=3, b=4) → 7 · ") and made.endswith(" ms")
    stored = json.loads(json_text(trace_record(result.trace)))["parts"][0]
    assert stored["calls"][0]["function_calls"] == [{"id": "c1", "name": "add", "arguments": '{"a":3,"b":4}'}]
    assert stored["calls"][1]["messages"][-1] == {"role": "tool", "content": "7", "call_id": "c1", "tool": "add"}
