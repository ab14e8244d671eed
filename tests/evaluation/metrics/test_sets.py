"""F1 over lists and sets."""

from typing import Any

import pytest
from pytest import approx

from promptkit.answers import build
from tests.evaluation.metrics.given import between, given, metric, told


@pytest.mark.parametrize(
    ("got", "expected", "f1"),
    [
        (["a", "b"], ["b", "a"], 1.0),
        (["a", "c"], ["a", "b"], 0.5),
        (["A  cat"], ["a cat"], 1.0),
        (["a", "a"], ["a"], 1.0),
        ([], [], 1.0),
        (["a"], [], 0.0),
        ([], ["a"], 0.0),
        ("a", ["a"], 0.0),
        (None, [], 0.0),
        ([1, True], [1.0], 2 / 3),
        ([{"x": [1]}], [{"x": [1.0]}], 1.0),
    ],
)
def test_f1_of_a_row(got: Any, expected: Any, f1: float) -> None:
    assert metric("set_f1").measure(given(got, expected)).value == approx(f1)


def test_duplicates_count_where_asked_for() -> None:
    assert metric("set_f1", {"duplicates": True}).measure(given(["a", "a"], ["a"])).value == approx(2 / 3)


def test_a_list_in_a_text_is_read_as_the_answer_type_reads_one() -> None:
    numbers, labels = build({"list": {"of": "number"}}), build({"labels": ["x y", "z"]})
    assert metric("set_f1").measure(given([1, 2], "1\n2.0", answer=numbers)).value == 1
    assert metric("set_f1").measure(given(["z", "x y"], "X y; z", answer=labels)).value == 1
    assert metric("set_f1").measure(given([], "none", answer=labels)).value == 1


@pytest.mark.parametrize("item", [[], {}, [["x"]], None])
def test_an_item_that_is_none_of_the_lists_type_is_one_too_many(item: Any) -> None:
    labels = build({"list": {"of": {"label": ["x", "y"]}}})
    assert metric("set_f1").measure(given([item, "x"], ["x"], answer=labels)).value == approx(2 / 3)


@pytest.mark.parametrize("expected", ["a", None, 3, {"a": 1}])
def test_what_is_expected_must_be_a_list(expected: Any) -> None:
    of = metric("set_f1")
    assert of.wrong_expected(expected)
    with pytest.raises(ValueError):
        of.measure(given(["a"], expected))


ROWS = [
    given(["a"], ["a"]),
    given(["b", "c", "d"], ["b", "c", "x"]),
    given([], ["y", "z"]),
    given(None, ["w"], flag="unparsed"),
]


def test_by_row_it_is_the_mean_of_rows_and_micro_one_f1_of_all_items() -> None:
    by_row, micro = told(metric("set_f1"), ROWS), told(metric("set_f1", {"by": "micro"}), ROWS)
    assert by_row.mean == approx((1 + 2 / 3 + 0 + 0) / 4)
    # 3 right, 2 too many (one of them for the unparsed answer), 4 too few.
    assert micro.mean == approx(6 / (6 + 2 + 4))
    assert by_row.parts == micro.parts == {"precision": approx(3 / 5), "recall": approx(3 / 7)}


def test_micro_is_undefined_where_there_is_nothing() -> None:
    found = told(metric("set_f1", {"by": "micro"}), [given([], [])])
    assert found.mean is None and "undefined" in found.notes[0]


@pytest.mark.parametrize("by", ["row", "micro"])
def test_an_unparsed_answer_never_helps(by: str) -> None:
    nothing_wanted = [given(["a"], ["a"])] * 10 + [given([], [])]
    unparsed = [given(["a"], ["a"])] * 10 + [given(None, [], flag="unparsed")]
    found = between(metric("set_f1", {"by": by}), nothing_wanted, unparsed)
    assert found.difference is not None and found.difference > 0
    assert (found.better, found.worse) == (1, 0)
