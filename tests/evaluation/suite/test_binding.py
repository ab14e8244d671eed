"""A row bound to what the target takes: by its fields, its types, and what is left out."""

from __future__ import annotations

from typing import Any

import pytest

from promptkit.evaluation.suite.binding import Binder
from promptkit.evaluation.suite.data import BoundRow
from tests.engine.helpers import Folder
from tests.evaluation.suites import PROMPT, SUITE, Bench

INPUTS = "{text: {}, count: {type: number}, words: {type: list, default: [none]}, tone: {default: calm}}"
TYPED = PROMPT.replace("{text: {}}", INPUTS).replace("{{ text }}", "{{ text }} {{ count }} {{ words }} {{ tone }}")
TARGET = SUITE.replace("target: mood", "target: typed")


@pytest.fixture
def bench(folder: Folder) -> Bench:
    folder.write("templates/prompts/typed.j2", TYPED)
    return Bench(folder)


def bound(bench: Bench, text: str) -> list[BoundRow]:
    """Return the rows of a suite as they are bound."""
    suite = bench.suite(text)
    binder = Binder(suite)
    return [binder.bind(row, index) for index, row in enumerate(suite.data.rows())]


def inputs(bench: Bench, text: str) -> list[Any]:
    return [
        dict(row.inputs[0]) if row.inputs else [each.message for each in row.problems] for row in bound(bench, text)
    ]


@pytest.mark.parametrize(("suffix", "separator"), [("csv", ","), ("tsv", "\t")])
def test_a_blank_field_of_a_table_leaves_a_typed_input_to_its_default_and_is_a_text_for_a_text(
    bench: Bench, suffix: str, separator: str
) -> None:
    lines = ["text,count,words,tone,expect", "x,3,,,bad", "007,4,[a],loud,bad", "x,,,,bad"]
    text = "\n".join(line.replace(",", separator) for line in lines) + "\n"
    (bench.folder.root / f"evals/rows.{suffix}").write_text(text, encoding="utf-8")

    first, second, third = inputs(bench, TARGET.replace("rows.jsonl", f"rows.{suffix}"))

    assert first == {"text": "x", "count": 3, "words": ["none"], "tone": ""}
    assert second == {"text": "007", "count": 4, "words": ["a"], "tone": "loud"}
    assert "count" in third[0] and "number" in third[0]


def test_a_row_of_json_says_itself_what_is_left_out_and_of_what_type_it_is(bench: Bench) -> None:
    bench.rows([{"text": "x", "count": 3, "expect": "bad"}, {"text": "x", "count": "3", "expect": "bad"}])

    first, second = inputs(bench, TARGET)

    assert first == {"text": "x", "count": 3, "words": ["none"], "tone": "calm"}
    assert "count" in second[0] and "number" in second[0]


def test_a_row_without_the_field_of_its_cluster_is_wrong_and_one_with_it_is_not(bench: Bench) -> None:
    bench.rows([{"text": "x", "expect": "bad", "document": None}, {"text": "x", "expect": "bad", "documents": 1}])

    first, second = bound(bench, SUITE.replace("data: rows.jsonl", "data: {file: rows.jsonl, cluster: document}"))

    assert first.problems == ()
    (problem,) = second.problems
    assert "there is no field `document`, which `cluster` names" in problem.message
    assert problem.hint is not None and "documents" in problem.hint


def test_variants_that_take_the_same_share_what_they_take(bench: Bench) -> None:
    bench.rows([{"text": "x", "expect": "bad"}])

    (row,) = bound(bench, SUITE + "variants: {a: {}, b: {mood.layout: prefix}}\n")

    assert row.inputs == ({"text": "x"}, {"text": "x"})
    assert row.expected == ("bad",)


@pytest.mark.parametrize(("value", "text"), [(12, "12"), (1.50, "1.5"), ("12", "12")])
def test_a_number_for_an_input_of_text_is_taken_as_it_is_written(folder: Folder, value: Any, text: str) -> None:
    suite = Bench(folder, [{"text": value, "expect": "good"}]).suite()
    row = Binder(suite).bind(next(iter(suite.data.rows())), 0)

    assert (row.problems, row.inputs[0]) == ((), {"text": text})
