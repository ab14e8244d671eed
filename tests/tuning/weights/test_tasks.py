"""The search rows that train weights and those that compare them, and the training of a step."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from promptkit.engine.load import load_target
from promptkit.runtimes.base import Model
from promptkit.tuning.data_split import DataSplit, read_data_split
from promptkit.tuning.search_space.candidate import Candidate, Choice
from promptkit.tuning.weights.tasks import MOST_COMPARE_ROWS, split_search_rows, training_task, weights_steps
from tests.engine.helpers import Folder
from tests.tuning.tunings import TuneBench, rows

MODEL = Model(reference="scripted", digest="scripted", capabilities=frozenset())


def split_of(bench: TuneBench) -> DataSplit:
    return read_data_split(bench.start())


def texts(split: DataSplit, places: Any) -> set[str]:
    return {split.rows[place].inputs[0]["text"] for place in places}


@pytest.mark.parametrize(("count", "compared"), [(100, 20), (400, MOST_COMPARE_ROWS)])
def test_the_first_search_rows_compare_and_the_others_train_with_the_pool(
    folder: Folder, count: int, compared: int
) -> None:
    split = split_of(TuneBench(folder, count))

    found = split_search_rows(split)

    assert found.compared == split.search[:compared]
    assert set(found.training) == {*split.search[compared:], *split.demo_pool}
    assert not {*found.training, *found.compared} & set(split.holdout)


def test_rows_of_a_compared_or_held_out_cluster_do_not_train(folder: Folder) -> None:
    bench = TuneBench(folder, 120)
    bench.rows([{**row, "document": f"d{number // 2}"} for number, row in enumerate(rows(120))])
    text = "data: {file: rows.jsonl, cluster: document}\ntarget: mood\nmetrics: {accuracy: label}\n"
    split = read_data_split(bench.start(text))
    clusters = split.clusters
    assert clusters is not None

    found = split_search_rows(split)

    seen = {clusters[place] for place in (*found.compared, *split.holdout)}
    assert found.training
    assert not seen & {clusters[place] for place in found.training}


def test_rows_that_the_prompt_shows_do_not_train(folder: Folder) -> None:
    split = split_of(TuneBench(folder, 100))
    training = split_search_rows(split).training
    by_text, by_place = split.rows[training[0]].inputs[0], training[1]
    example = {"input": dict(by_text), "output": "good"}
    prompt = Candidate({"mood.examples": Choice("some", {"mood.examples": [example]}, rows=(by_place,))})
    pipeline = split.suite.baseline.pipeline
    shown = split.suite.source

    with_example = load_target(shown.target, shown.project, changes=prompt.changes)

    plain = training_task(split, pipeline, "mood", MODEL, training=training)
    task = training_task(split, with_example, "mood", MODEL, training=training, prompt=prompt)

    assert len(plain.rows) == len(training)
    assert {row.inputs["text"] for row in plain.rows} - {row.inputs["text"] for row in task.rows} == {
        by_text["text"],
        *texts(split, [by_place]),
    }


def test_equal_tasks_have_equal_keys_and_other_rows_seeds_and_kinds_have_others(folder: Folder) -> None:
    split = split_of(TuneBench(folder, 100))
    pipeline, training = split.suite.baseline.pipeline, split_search_rows(split).training
    task = training_task(split, pipeline, "mood", MODEL, training=training)
    other = training_task(split, pipeline, "mood", MODEL, training=training, seed=1)

    keys = [task.key("head", b"1"), other.key("head", b"1"), task.key("adapter", b"1"), task.key("head", b"2")]

    assert task.key("head", b"1") == training_task(split, pipeline, "mood", MODEL, training=training).key("head", b"1")
    assert len(set(keys)) == 4


def test_a_step_with_labels_on_some_rows_trains_on_no_row_that_compares_the_whole(folder: Folder) -> None:
    whole = split_of(TuneBench(folder, 100))
    rows_of = split_search_rows(whole)
    of_step = replace(whole, search=whole.search[5:])  # Its own first rows come later in the common order.

    task = training_task(of_step, whole.suite.baseline.pipeline, "mood", MODEL, training=rows_of.training)

    assert len(task.rows) == len(rows_of.training)
    assert not {row.inputs["text"] for row in task.rows} & texts(whole, rows_of.compared)


@pytest.mark.parametrize(
    ("only", "steps"), [((), ["mood"]), (("weights",), ["mood"]), (("mood.weights",), ["mood"]), (("decide",), [])]
)
def test_steps_are_trained_that_only_selects(folder: Folder, only: tuple[str, ...], steps: list[str]) -> None:
    pipeline = TuneBench(folder, 40).start().baseline.pipeline

    assert weights_steps(pipeline, only) == steps
