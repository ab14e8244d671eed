"""Conversations in reports: by turn in the summary, and turn by turn in a row."""

from __future__ import annotations

from pathlib import Path

import pytest

from promptkit.evaluation.metrics.turns import EachTurn
from promptkit.evaluation.stored_run import build_metrics, recomputed_record
from promptkit.reports.evaluation.report import evaluation_text
from promptkit.reports.page.values import page_values
from promptkit.reports.runs import cells_text
from promptkit.runtimes.base import Request
from promptkit.storage.store import Store
from tests.engine.helpers import Folder
from tests.evaluation.suites import Bench, Ran

PIPELINE = """
inputs: {talk: {type: messages}}
tools: {note: "tools.py:note"}
steps:
  noted: {tool: note, with: {text: "{{ talk[-1].content }}"}}
  answer: {prompt: agent, with: {talk: "{{ talk }}"}}
output: "{{ answer }}"
"""
SUITE = """
data: rows.jsonl
target: noting
conversation: {user: guest, max: 2}
metrics:
  right: {exact: {each: turn}}
  calls: {tool_calls: {expect: [note], arguments: any}}
"""


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    folder = Folder(tmp_path)
    folder.write("templates/prompts/agent.j2", "---\ninputs: {talk: {type: messages}}\n---\nBook tables.")
    folder.write("templates/prompts/guest.j2", "---\ninputs: {talk: {type: messages}}\n---\nYou are a guest.")
    folder.write("pipelines/tools.py", "def note(text: str):\n    return text.upper()\n")
    folder.write("pipelines/noting.yaml", PIPELINE)
    return Bench(folder, [{"expect": ["answer 1", "other"]}])


def reply(request: Request) -> str:
    answers = sum(message.role == "assistant" for message in request.messages)
    return "question" if "guest" in request.messages[0].content else f"answer {answers + 1}"


async def run(bench: Bench) -> Ran:
    return await bench.run(SUITE, reply)


async def test_the_summary_has_a_line_for_each_turn_and_what_else_was_asked(bench: Bench) -> None:
    ran = await run(bench)
    text = evaluation_text(ran.evaluated.record, ran.view)
    assert [line.split()[:3] for line in text.split("by turn\n")[1].splitlines()[1:3]] == [
        ["1", "100", "%"],
        ["2", "0", "%"],
    ]
    assert "turn 2: other  turn 2: answer 2" in text
    assert "reached a cap  1 of 1" in text
    assert "calls: precision 50 %, recall 100 % of the calls" in text
    assert "the simulated user took 2 calls" in text


async def test_a_row_is_shown_turn_by_turn_with_calls_and_scores(bench: Bench) -> None:
    ran = await run(bench)
    lines = [line.strip() for line in cells_text(ran.view, list(ran.view.cells())).splitlines()]
    start = lines.index("turn 2")
    assert lines[start + 1 : start + 5] == [
        "user: question",
        "assistant: answer 2",
        'tool note(text="question") → "QUESTION"',
        "right: 0 · expected other",
    ]
    assert any(line.startswith("simulated user: 2 calls") for line in lines)
    assert "conversation, ended at the most turns:" in lines


async def test_the_page_names_the_turns_and_the_users_cost(bench: Bench) -> None:
    ran = await run(bench)
    values = page_values(ran.view, ran.evaluated.record)
    assert ("baseline", "right", "turn 2", 0.0) in values["metric_parts"]
    assert ("baseline", "calls", "recall", 1.0) in values["metric_parts"]
    assert any("the simulated user took 2 calls" in note for note in values["metric_notes"])


async def test_a_run_is_summed_up_again_with_its_turns(bench: Bench) -> None:
    ran = await run(bench)
    with Store.open(bench.store_folder):
        assert isinstance(build_metrics(ran.view, bench.folder.project).metrics["right"], EachTurn)
        again = recomputed_record(ran.view, bench.folder.project).to_json()
    found = [record["variants"][0]["metrics"]["right"] for record in (again, ran.record)]
    assert found[0] == found[1] and found[0]["parts"]["turns"][1]["mean"] == 0.0
