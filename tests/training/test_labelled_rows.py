"""Labelled rows of a file or a suite: the right answers of steps, the checks before training, and the split."""

from __future__ import annotations

import json
from typing import Any

import pytest

from promptkit.errors import InputError
from promptkit.evaluation.suite.reader import load_suite
from promptkit.techniques.artifacts import row_hash
from promptkit.training.labelled_rows import (
    LEAST_ROWS,
    LabelledRows,
    check_rows,
    read_labelled_file,
    read_labelled_suite,
    split_rows,
    validation_size,
)
from tests.engine.helpers import Folder

PIPELINE = """
    name: test
    inputs:
      mail: {type: text, example: hello}
    steps:
      sort: {prompt: {input: "{{ mail }}"}, answer: {label: [billing, other]}}
    output: "{{ sort }}"
"""
TWO_STEPS = """
    name: test
    inputs:
      mail: {type: text, example: hello}
    steps:
      issues: {prompt: {input: "{{ mail }}"}, answer: list}
      kinds: {prompt: {input: "{{ issue }}"}, answer: {label: [good, bad]}, for_each: "{{ issues }}", as: issue}
    output: "{{ kinds }}"
"""
WORDS = ("amber", "birch", "cedar", "delta", "ember", "fjord", "grove", "heron", "inlet", "jade")


def mail(number: int) -> str:
    return f"{WORDS[number % 10]} {WORDS[number // 10 % 10]}{number} {WORDS[number * 7 % 10]} {number * 31}"


def rows(count: int, **fields: Any) -> list[dict[str, Any]]:
    return [{"mail": mail(at), "kind": ("billing", "other")[at % 2], **fields} for at in range(count)]


def lines(given: list[dict[str, Any]]) -> str:
    return "".join(json.dumps(row) + "\n" for row in given)


def labelled(folder: Folder, given: list[dict[str, Any]]) -> LabelledRows:
    pipeline = folder.load(PIPELINE)
    data = folder.write("rows.jsonl", lines(given))
    return read_labelled_file(pipeline, (), data, expect="kind", limit=None)


def test_a_file_labels_the_only_step_that_asks_a_model(folder: Folder) -> None:
    found = labelled(folder, rows(4))

    assert found.step.name == "sort"
    assert [row.expect for row in found.rows.rows] == ["billing", "other", "billing", "other"]
    assert set(found.hashes) == {row_hash({"mail": mail(at)}) for at in range(4)}
    assert found.counts() == {"billing": 2, "other": 2}


def test_labels_outside_the_set_are_all_named_with_their_rows(folder: Folder) -> None:
    with pytest.raises(InputError, match=r"row 1: `kind`: 'spam' is none of: billing, other(.|\n)*row 2"):
        labelled(folder, rows(2, kind="spam"))


def test_a_file_has_the_answers_of_one_step_only(folder: Folder) -> None:
    data = folder.write("rows.jsonl", lines(rows(2)))
    with pytest.raises(InputError, match="--data has the answers of one step, not of 2"):
        read_labelled_file(folder.load(TWO_STEPS), ("issues", "kinds"), data, expect="kind", limit=None)


def suite_of(folder: Folder, pipeline: str, data: list[dict[str, Any]], text: str) -> Any:
    folder.load(pipeline)
    folder.write("rows.jsonl", lines(data))
    file = folder.write("evals/test.yaml", f"name: test\ntarget: ../pipelines/test.yaml\ndata: ../rows.jsonl\n{text}")
    return load_suite(file, folder.project)


def test_a_suite_labels_the_step_whose_answer_is_the_output(folder: Folder) -> None:
    suite = suite_of(folder, PIPELINE, rows(4), 'expect: "{{ row.kind }}"\nmetrics: {right: label}\n')
    (found,) = read_labelled_suite(suite, (), limit=3)

    assert found.step.name == "sort"
    assert [row.expect for row in found.rows.rows] == ["billing", "other", "billing"]
    assert set(found.hashes) == {row_hash({"mail": mail(at)}) for at in range(3)}


def test_the_steps_of_a_suite_are_labelled_apart_and_each_item_is_a_row(folder: Folder) -> None:
    data = [{"mail": "one", "issues": ["a", "b"], "kinds": ["good", "bad"]}]
    steps = """
metrics: {form: format}
steps:
  issues: {inputs: {mail: "{{ row.mail }}"}, expect: "{{ row.issues }}", metrics: {same: set_f1}}
  kinds: {inputs: {issues: "{{ row.issues }}"}, expect: "{{ row.kinds }}", metrics: {same: set_f1}}
"""
    issues, kinds = read_labelled_suite(suite_of(folder, TWO_STEPS, data, steps), (), limit=None)

    assert [row.expect for row in issues.rows.rows] == [["a", "b"]]
    assert [(row.inputs["issue"], row.expect) for row in kinds.rows.rows] == [("a", "good"), ("b", "bad")]
    assert row_hash({"issues": ["a", "b"]}) in kinds.hashes, "by it an evaluation of the step knows the row"


def test_items_without_as_many_answers_are_refused(folder: Folder) -> None:
    data = [{"issues": ["a", "b"], "kinds": ["good"]}]
    steps = """
inputs: {mail: "{{ row.issues[0] }}"}
metrics: {form: format}
steps:
  kinds: {inputs: {issues: "{{ row.issues }}"}, expect: "{{ row.kinds }}", metrics: {same: set_f1}}
"""
    with pytest.raises(InputError, match="the step `kinds` has 2 items, and there are 1 right answers"):
        read_labelled_suite(suite_of(folder, TWO_STEPS, data, steps), (), limit=None)


def test_a_suite_without_right_answers_is_refused_with_what_would_label_a_step(folder: Folder) -> None:
    suite = suite_of(folder, PIPELINE, rows(4), "metrics: {form: format}\n")
    with pytest.raises(InputError, match=r"has the right answers of no step(.|\n)*hint: label steps under `steps:`"):
        read_labelled_suite(suite, (), limit=None)


def test_too_few_rows_and_one_answer_are_named_together(folder: Folder) -> None:
    few = labelled(folder, rows(LEAST_ROWS - 1, kind="billing"))
    with pytest.raises(InputError) as raised:
        check_rows(few)

    text = str(raised.value)
    assert "39 labelled rows of the step `sort` are too few" in text
    assert "at least 40 are needed, which could not yet show a gain; 200 could show a gain of 23 points" in text
    assert 'all 39 rows of the step `sort` have the same answer, "billing"' in text


def test_the_least_rows_with_two_answers_suffice(folder: Folder) -> None:
    check_rows(labelled(folder, rows(LEAST_ROWS)))


@pytest.mark.parametrize(("count", "size"), [(40, 10), (100, 20), (1000, 200), (5000, 200)])
def test_a_fifth_of_the_rows_validates_within_bounds(count: int, size: int) -> None:
    assert validation_size(count) == size


def test_the_split_has_each_row_once_and_the_labels_shares(folder: Folder) -> None:
    given = labelled(folder, rows(100))
    split = split_rows(given)

    assert sorted((*split.training, *split.validation)) == list(range(100))
    assert len(split.validation) == 20
    assert sum(given.rows.rows[at].expect == "billing" for at in split.validation) == 10


def test_rows_that_nearly_repeat_each_other_are_on_one_side(folder: Folder) -> None:
    given = rows(60)
    for at in range(0, 60, 4):
        given.append({"mail": f"{mail(at)} again", "kind": given[at]["kind"]})
    split = split_rows(labelled(folder, given))

    for number, at in enumerate(range(0, 60, 4)):
        assert (at in split.validation) == (60 + number in split.validation)


def test_rows_that_all_repeat_one_another_cannot_be_split(folder: Folder) -> None:
    same = [{"mail": "the same mail as ever", "kind": ("billing", "other")[at % 2]} for at in range(60)]
    with pytest.raises(InputError, match="nearly repeat each other"):
        split_rows(labelled(folder, same))


def test_validation_takes_real_rows_before_generated_ones(folder: Folder) -> None:
    given = rows(100)
    for row in given[:60]:
        row["generated"] = {"by": "a model"}
    found = labelled(folder, given)

    assert found.generated == 60
    assert min(split_rows(found).validation) >= 60
