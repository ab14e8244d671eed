"""Rows that an adapter or a head was trained on are refused in an evaluation, in whichever pipeline its step is."""

from __future__ import annotations

import json
from collections.abc import Sequence

import pytest

from promptkit.engine.load import load_target
from promptkit.errors import InputError
from promptkit.evaluation.suite.contamination import find_contamination, refuse_contamination
from promptkit.techniques.artifacts import row_hash
from promptkit.training.labelled_rows import read_labelled_file
from tests.adapters import write_adapter
from tests.engine.heads import written_head
from tests.engine.helpers import Folder
from tests.evaluation.suites import PIPELINE, SUITE, Bench, moods
from tests.training.tiny_gguf import TinyShape, write_tiny

ADAPTED = PIPELINE.replace("prompt: mood", "prompt: mood, adapter: mood.mood.lora.gguf")
WITHIN = """
name: outer
inputs: {note: {example: fine}}
steps:
  first: {pipeline: mood, with: {text: "{{ note }}"}}
"""


@pytest.fixture
def bench(folder: Folder) -> Bench:
    """Four rows, and a target with an adapter."""
    bench = Bench(folder)
    folder.write("pipelines/mood.yaml", ADAPTED)
    return bench


def train(bench: Bench, rows: Sequence[str] | None) -> None:
    """Write the adapter with the hashes of its rows; one that was made elsewhere has none."""
    root = bench.folder.root
    shape = TinyShape(layers=1, width=16, inner=16, heads=1, kv_heads=1, head_size=16)
    model = write_tiny(root / "tiny.gguf", shape=shape)
    training = None if rows is None else {"base": "0", "rows": list(rows)}
    write_adapter(root / "pipelines/mood.mood.lora.gguf", model, training=training)


def seen_by_training(bench: Bench) -> tuple[str, ...]:
    """Return the hashes that a training on the first two rows writes."""
    project = bench.folder.project
    data = bench.folder.write("first.jsonl", "".join(json.dumps(row) + "\n" for row in moods(2)))
    return read_labelled_file(load_target("mood", project), (), data, expect="expect", limit=None).hashes


def test_rows_that_an_adapter_was_trained_on_are_refused_unless_they_are_allowed(bench: Bench) -> None:
    train(bench, seen_by_training(bench))
    with pytest.raises(InputError) as caught:
        refuse_contamination(bench.suite())
    (problem,) = caught.value.problems
    who = "`mood.mood.lora.gguf` of the step `mood` in variant `baseline`"
    assert problem.message == f"{who} saw 2 of 4 rows when it was trained"
    assert "--allow-seen" in (problem.hint or "")
    assert len(refuse_contamination(bench.suite(), allow=True)) == 1


@pytest.mark.parametrize("rows", [None, [], [row_hash({"text": "another"})]])
def test_an_adapter_of_other_rows_or_of_none_that_are_known_is_taken(bench: Bench, rows: Sequence[str] | None) -> None:
    train(bench, rows)
    assert not refuse_contamination(bench.suite())


def test_rows_that_a_head_was_trained_on_are_refused(bench: Bench) -> None:
    text = PIPELINE.replace("prompt: mood", "prompt: mood, decide: head")
    bench.folder.write("pipelines/mood.yaml", text)
    head = written_head(rows=seen_by_training(bench), labels=("good", "bad"))
    bench.folder.write("pipelines/mood.mood.head.json", head.model_dump_json())
    (found,) = find_contamination(bench.suite())
    assert (found.technique, found.seen, found.trained) == ("mood.mood.head.json", 2, True)
    bench.folder.write("pipelines/mood.yaml", text.replace("head", "score"))
    assert not find_contamination(bench.suite())


def test_the_rows_of_a_step_of_a_pipeline_within_are_known_by_what_reaches_it(bench: Bench) -> None:
    train(bench, seen_by_training(bench))
    bench.folder.write("pipelines/outer.yaml", WITHIN)
    bench.rows([{"note": row["text"], "expect": "bad"} for row in moods(4)])
    (found,) = find_contamination(bench.suite(SUITE.replace("target: mood", "target: outer")))
    assert (found.step, found.seen, found.total) == ("first.mood", 2, 4)


BY_HEAD = PIPELINE.replace("prompt: mood", "prompt: mood, decide: head")


def test_a_head_under_another_name_is_read_where_the_step_names_it(bench: Bench) -> None:
    bench.folder.write("pipelines/mood.yaml", BY_HEAD.replace("decide: head", "decide: head, head: earlier.head.json"))
    head = written_head(rows=seen_by_training(bench), labels=("good", "bad"))
    bench.folder.write("pipelines/earlier.head.json", head.model_dump_json())
    assert [found.technique for found in find_contamination(bench.suite())] == ["earlier.head.json"]


@pytest.mark.parametrize("content", [None, "{", "[]"])
def test_a_missing_or_damaged_head_is_left_to_the_step(bench: Bench, content: str | None) -> None:
    bench.folder.write("pipelines/mood.yaml", BY_HEAD)
    if content is not None:
        bench.folder.write("pipelines/mood.mood.head.json", content)
    assert find_contamination(bench.suite()) == []
