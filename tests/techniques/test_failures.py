"""A function of one's own that raises is told with its line, as a tool is; no traceback, and a step may go on."""

from __future__ import annotations

from pathlib import Path

import pytest

from promptkit.engine.preparation import plan_preparation, prepare
from promptkit.engine.step_rows import find_prompt_step, read_step_rows
from promptkit.errors import InputError, PromptkitError, TechniqueFailed
from promptkit.runtimes.scripted import Scripted
from promptkit.techniques.perform import perform
from tests.engine.helpers import Folder, Given
from tests.techniques.steps import Bench

MODULE = """\
import asyncio

from promptkit.errors import InputError
from promptkit.techniques import Answer, Prepared, Task, technique


async def prepare(task, rows):
    BODY


@technique(prepare=prepare)
async def mine(task: Task) -> Answer:
    BODY
"""
PIPELINE = """
inputs: {question: {example: 3+4}}
steps:
  solve:
    prompt: {input: "{{ question }}"}
    technique: mine
"""
RAISED = [
    ("return 1 / 0", "technique `mine` raised ZeroDivisionError: division by zero (techniques/mine.py:13)"),
    ("assert not task", "technique `mine` raised AssertionError (techniques/mine.py:13)"),
    ("raise SystemExit(4)", "technique `mine` raised SystemExit: 4 (techniques/mine.py:13)"),
    (
        "async def leave(item):\n        raise SystemExit(5)\n    return await task.each(leave, [1])",
        "technique `mine` raised RuntimeError: SystemExit: 5 (techniques/mine.py:17)",
    ),
    (
        "return await asyncio.wait_for(asyncio.sleep(9), 0)",
        "technique `mine` raised TimeoutError (techniques/mine.py:13)",
    ),
    ("return None", "`mine` returned NoneType, not Answer (techniques/mine.py:11)"),
    ("return 'seven'", "`mine` returned str, not Answer (techniques/mine.py:11)"),
]


def own(folder: Path, body: str) -> Folder:
    project = Folder(folder)
    project.write("techniques/mine.py", MODULE.replace("BODY", body))
    return project


@pytest.mark.attack("code")
@pytest.mark.parametrize(("body", "told"), RAISED)
async def test_what_it_raises_or_returns_is_told_with_its_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, body: str, told: str
) -> None:
    monkeypatch.chdir(tmp_path)

    result = await own(tmp_path, body).run(PIPELINE, Scripted([]))

    assert isinstance(result.error, TechniqueFailed)
    assert result.error.exit_code == 3
    assert str(result.error) == f"step `solve`: {told}"


async def test_a_step_may_go_on_without_it(tmp_path: Path) -> None:
    result = await own(tmp_path, "return 1 / 0").run(PIPELINE + "    on_error: {default: none}\n", Scripted([]))

    assert (result.error, result.output) == (None, "none")


@pytest.mark.parametrize("nested", ["{instructed: {over: mine}}", "{self_consistency: {samples: 2, over: mine}}"])
async def test_one_that_others_are_put_over_is_told_too(tmp_path: Path, nested: str) -> None:
    text = PIPELINE.replace("technique: mine", f"technique: {nested}")

    result = await own(tmp_path, "return 1 / 0").run(text, Scripted([]))

    assert "technique `mine` raised ZeroDivisionError" in str(result.error)


async def test_an_error_that_it_passes_on_stays_what_it_is(tmp_path: Path) -> None:
    result = await own(tmp_path, "raise InputError('no such row')").run(PIPELINE, Scripted([]))

    assert isinstance(result.error, InputError) and "no such row" in str(result.error)


@pytest.mark.parametrize(("body", "told"), [("return 1 / 0", "raised ZeroDivisionError"), ("pass", "not Prepared")])
async def test_a_preparation_that_fails_is_told(tmp_path: Path, body: str, told: str) -> None:
    folder = own(tmp_path, body)
    pipeline = folder.load(PIPELINE)
    step = find_prompt_step(pipeline, None)
    rows = read_step_rows(pipeline, step, folder.write("rows.jsonl", '{"question": "1+1"}\n'))

    with pytest.raises(PromptkitError, match=told):
        await prepare(plan_preparation("mine", pipeline, step, {}), rows, models=Given(Scripted([])))


async def test_what_a_shipped_one_raises_is_ours_to_see(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> None:
        raise RuntimeError("a bug")

    monkeypatch.setattr("promptkit.techniques.task.Task.ask", broken)

    with pytest.raises(RuntimeError, match="a bug"):
        await perform("vanilla", Bench(tmp_path, []).step())
