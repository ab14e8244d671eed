"""The answers of a run as items: equal ones together, with what a judge and the variants say of them."""

from __future__ import annotations

from math import log

import pytest

from promptkit.errors import InputError
from promptkit.evaluation.answer_labels import answer_key
from promptkit.evaluation.cells.cell import Cell
from promptkit.evaluation.labelling.items import LabelItem, LabelItems, find_items
from promptkit.evaluation.labelling.levels import label_levels
from promptkit.evaluation.metrics.score import Score
from promptkit.runtimes.base import Request
from tests.engine.helpers import Folder
from tests.evaluation.suites import Bench, Ran, moods, number_of

SUITE = """
data: rows.jsonl
target: mood
metrics:
  accuracy: label
  graded: {judge: {rubric: Is it right?, levels: [poor, good], question: text, model: "scripted:judge.yaml"}}
variants: {plain: {}, prefix: {mood.layout: prefix}}
"""


def script(request: Request) -> str:
    """Answer alike in both variants to even rows, in two ways to odd ones, and nothing readable to the last."""
    number = number_of(request)
    if number == 5:
        return "perhaps"
    return "good" if number % 2 and "TASK" in request.messages[-1].content else "bad"


async def ran(folder: Folder) -> tuple[Bench, Ran]:
    bench = Bench(folder, moods(6))
    folder.write("evals/judge.yaml", "otherwise: good\n")
    return bench, await bench.run(SUITE, script)


def items(bench: Bench, run: Ran, metric: str = "accuracy", *only: str) -> LabelItems:
    suite = bench.suite(SUITE)
    measure = next(measure for measure in suite.measures if measure.name == metric)
    return find_items(run.view, suite, measure, label_levels(measure), only=only)


def scored(cells: list[Cell], **details: object) -> None:
    for cell in cells:
        cell.scores = {**cell.scores, "graded": Score(0.5, details)}


async def test_equal_answers_to_equal_inputs_are_one_item(folder: Folder) -> None:
    bench, run = await ran(folder)
    found = items(bench, run)

    by_row: dict[int, list[LabelItem]] = {}
    for item in found.items:
        by_row.setdefault(item.row, []).append(item)
    assert [len(by_row[row]) for row in range(1, 7)] == [1, 2, 1, 2, 1, 1]
    (first,) = by_row[1]
    assert first.variants == {"plain": 1, "prefix": 1} and first.key == answer_key({"text": "bad 0"}, "bad")
    assert by_row[6][0].flag == "unparsed"
    assert [by_row[row][0].differ for row in range(1, 6)] == [0, 1, 0, 1, 0]


async def test_the_variants_that_are_named_alone_give_items(folder: Folder) -> None:
    bench, run = await ran(folder)
    assert {name for item in items(bench, run, "accuracy", "prefix").items for name in item.variants} == {"prefix"}
    with pytest.raises(InputError, match="does not have the variant `prefx`"):
        items(bench, run, "accuracy", "prefx")


async def test_a_judge_is_unsure_where_its_levels_are_even_or_its_verdicts_differ(folder: Folder) -> None:
    bench, run = await ran(folder)
    cells = list(run.view.cells())
    run.view.cells = lambda variant=None, *, first=0: iter(cells)  # type: ignore[method-assign]

    scored(cells, level="good", probabilities={"poor": 0.25, "good": 0.75})
    entropy = -(0.25 * log(0.25) + 0.75 * log(0.75)) / log(2)
    sure = [item for item in items(bench, run, "graded").items if not item.flag]
    assert {round(item.unsure, 9) for item in sure} == {round(entropy, 9)}
    assert {item.level for item in sure} == {"good"}

    scored(cells, verdicts=[])
    assert {item.unsure for item in items(bench, run, "graded").items if not item.flag} == {1}


async def test_a_half_character_of_an_answer_can_be_kept(folder: Folder) -> None:
    bench = Bench(folder, moods(1))
    suite = bench.suite("data: rows.jsonl\ntarget: mood\nmetrics: {size: length}\n")
    run = await bench.run(suite, lambda request: "good")
    cells = list(run.view.cells())
    cells[0].output = "half \ud800"
    run.view.cells = lambda variant=None, *, first=0: iter(cells)  # type: ignore[method-assign]
    (item,) = find_items(run.view, suite, suite.measures[0], label_levels(suite.measures[0])).items
    assert item.answer == "half ?" and item.key == answer_key(item.inputs, "half \ud800")


async def test_rows_that_a_metric_is_not_for_are_not_asked(folder: Folder) -> None:
    bench = Bench(folder, moods(4))
    suite = bench.suite("data: rows.jsonl\ntarget: mood\nmetrics: {fine: {human: {when: \"'good' in row.text\"}}}\n")
    run = await bench.run(suite, lambda request: "good")
    found = find_items(run.view, suite, suite.measures[0], label_levels(suite.measures[0]))
    assert sorted(item.row for item in found.items) == [2, 4]
