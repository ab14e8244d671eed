"""A kept cell, and a kept score, is used only while the files that it was made of are as they were."""

from __future__ import annotations

import pytest

from promptkit.runtimes.scripted import Scripted, load_function
from tests.engine.helpers import Folder
from tests.evaluation.suites import SUITE, Bench, Ran, moods

TOOL = """
import json, pathlib
def look(text):
    return json.loads(pathlib.Path(__file__).with_name("index.json").read_text())["word"] + " " + text
"""
PIPELINE = """
inputs: {text: {example: fine}}
tools: {look: look.py:look}
steps:
  found: {tool: look, with: {text: "{{ text }}"}}
  mood: {prompt: mood, with: {text: "{{ found }}"}}
"""
TOOLED = SUITE.replace("target: mood", "target: tooled")
METRIC = """
import pathlib
def same(output, expected):
    return float(output in pathlib.Path(__file__).with_name("right.txt").read_text())
"""


@pytest.fixture
def bench(folder: Folder) -> Bench:
    folder.write("pipelines/look.py", TOOL)
    folder.write("pipelines/tooled.yaml", PIPELINE)
    folder.write("pipelines/index.json", '{"word": "good"}')
    return Bench(folder, moods(4))


def asked(ran: Ran) -> int:
    return len(ran.runtime.requests)


async def test_cells_whose_tool_read_a_file_that_changed_are_asked_again_and_the_run_says_so(bench: Bench) -> None:
    first = await bench.run(TOOLED)
    assert (await bench.run(TOOLED)).record["known"] == 4
    bench.folder.write("pipelines/index.json", '{"word": "bad"}')

    again = await bench.run(TOOLED)

    assert (first.metric()["mean"], again.metric()["mean"]) == (0.0, 1.0)
    assert (again.record["known"], asked(again)) == (0, 4)
    assert again.record["notes"] == ["4 cells are asked again: pipelines/index.json changed"]
    assert (await bench.run(TOOLED)).record["known"] == 4


async def test_a_file_that_is_as_it_was_again_costs_no_request(bench: Bench) -> None:
    await bench.run(TOOLED)
    for word in ("bad", "good"):
        bench.folder.write("pipelines/index.json", f'{{"word": "{word}"}}')
        ran = await bench.run(TOOLED)
    assert (ran.record["known"], asked(ran)) == (0, 0)


async def test_a_cell_that_failed_since_a_file_was_missing_is_asked_when_it_is_there(bench: Bench) -> None:
    (bench.folder.root / "pipelines/index.json").unlink()
    assert (await bench.run(TOOLED)).variant()["missing"] == 4
    bench.folder.write("pipelines/index.json", '{"word": "bad"}')
    assert (await bench.run(TOOLED)).variant()["missing"] == 0


async def test_a_scripted_function_is_asked_again_when_a_file_that_it_read_changed(bench: Bench) -> None:
    source = (
        "import pathlib\ndef reply(request):\n    return pathlib.Path(__file__).with_name('word.txt').read_text()\n"
    )
    bench.folder.write("model.py", source)

    async def run() -> float:
        model = load_function(bench.folder.root / "model.py", "reply", "scripted:model.py:reply")
        ran = await bench.run(script=model)
        assert isinstance(model, Scripted)
        mean = ran.metric()["mean"]
        assert isinstance(mean, float)
        return mean

    bench.folder.write("word.txt", "good")
    assert await run() == 0.0
    bench.folder.write("word.txt", "bad")
    assert await run() == 1.0


async def test_scores_of_a_python_metric_that_read_a_file_are_made_again_and_no_cell_is_asked(bench: Bench) -> None:
    bench.folder.write("evals/same.py", METRIC)
    bench.folder.write("evals/right.txt", "bad")
    suite = SUITE.replace("accuracy: label", "accuracy: {python: same.py:same}")
    assert (await bench.run(suite)).metric()["mean"] == 0.5
    bench.folder.write("evals/right.txt", "bad good")

    again = await bench.run(suite)

    assert (again.metric()["mean"], again.record["known"], asked(again)) == (1.0, 4, 0)
    assert again.record["notes"] == ["accuracy: 4 scores are made again: evals/right.txt changed"]
    assert (await bench.run(suite)).record["notes"] == []


async def test_a_cell_keeps_what_it_was_made_of_and_when(bench: Bench) -> None:
    cells = list((await bench.run(TOOLED)).view.cells())
    assert [list(cell.reads) for cell in cells] == [["pipelines/index.json"]] * 4
    assert all(cell.asked for cell in cells)


BY_C = "import os, subprocess\ndef look(text):\n    return os.environ.get('WORD', 'good') + ' ' + text\n"


async def test_files_and_variables_that_a_tool_declares_are_of_its_cells(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench.folder.write("pipelines/look.py", BY_C)
    declared = "tools: {look: {function: look.py:look, reads: ['*.json'], environment: [WORD]}}"
    bench.folder.write("pipelines/tooled.yaml", PIPELINE.replace("tools: {look: look.py:look}", declared))
    first = await bench.run(TOOLED)
    assert {name for cell in first.view.cells() for name in cell.reads} == {"$WORD", "pipelines/*.json"}
    assert (await bench.run(TOOLED)).record["known"] == 4

    bench.folder.write("pipelines/more.json", "{}")
    assert (await bench.run(TOOLED)).record["notes"] == ["4 cells are asked again: pipelines/*.json changed"]
    monkeypatch.setenv("WORD", "bad")
    again = await bench.run(TOOLED)
    assert again.record["notes"] == ["4 cells are asked again: $WORD changed"]
    assert (first.metric()["mean"], again.metric()["mean"]) == (0.0, 1.0)
    assert "bad" not in "".join(digest for cell in again.view.cells() for digest in cell.reads.values())


async def test_files_that_a_python_metric_declares_are_of_its_scores(bench: Bench) -> None:
    bench.folder.write("evals/same.py", "def same(output, expected):\n    return 1.0\n")
    bench.folder.write("evals/right.txt", "bad")
    declared = "{function: same.py:same, reads: [right.txt], environment: [WORD]}"
    suite = SUITE.replace("accuracy: label", f"accuracy: {{python: {declared}}}")
    await bench.run(suite)
    bench.folder.write("evals/right.txt", "bad good")
    assert (await bench.run(suite)).record["notes"] == ["accuracy: 4 scores are made again: evals/right.txt changed"]


def test_the_key_of_a_python_metric_that_declares_nothing_is_that_of_before_there_were_declarations(
    bench: Bench,
) -> None:
    bench.folder.write("evals/same.py", METRIC)
    (measure,) = bench.suite(SUITE.replace("accuracy: label", "accuracy: {python: same.py:same}")).measures
    assert '"reads"' not in measure.metric.key
    assert '"environment"' not in measure.metric.key


@pytest.mark.parametrize(
    ("pattern", "message"),
    [("gone.json", "there is no file `gone.json`"), ("../../*.json", "leads out of the project")],
)
def test_a_declared_file_that_is_not_there_is_a_mistake_of_the_pipeline(
    bench: Bench, pattern: str, message: str
) -> None:
    declared = f"tools: {{look: {{function: look.py:look, reads: ['{pattern}']}}}}"
    bench.folder.write("pipelines/tooled.yaml", PIPELINE.replace("tools: {look: look.py:look}", declared))
    (problem,) = bench.problems(TOOLED)
    assert message in problem.message
    assert (problem.file or "").endswith("tooled.yaml")
    assert problem.line == 2
