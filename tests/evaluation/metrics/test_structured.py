"""Objects by field, and by schema."""

import json
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError
from pytest import approx

from promptkit.answers.build import build_answer_type
from promptkit.errors import InputError
from promptkit.evaluation.statistics.interval import wilson
from tests.evaluation.metrics.given import between, given, metric, told


@pytest.mark.parametrize(
    ("got", "expected", "share"),
    [
        ({"a": 1, "b": 2}, {"a": 1, "b": 2}, 1.0),
        ({"a": 1.0, "b": 3}, {"a": 1, "b": 2}, 0.5),
        ({"a": 1}, {"a": 1, "b": None}, 1.0),
        ({"a": 1, "c": 5}, {"a": 1}, 0.5),
        ({"a": 1, "c": None}, {"a": 1}, 1.0),
        ({"a": {"x": [1, 2]}}, {"a": {"x": [2, 1]}}, 0.0),
        ({"a": True}, {"a": 1}, 0.0),
        ({"a": 1}, '{"a": 1}', 1.0),
        ({}, {}, 1.0),
        ([1], {}, 0.0),
        ("text", {"a": 1}, 0.0),
        (None, {"a": None}, 0.0),
        ({"a": float("nan")}, {"a": 1}, 0.0),
    ],
)
def test_the_share_of_fields_that_are_right(got: Any, expected: Any, share: float) -> None:
    assert metric("json").measure(given(got, expected)).value == share


def test_only_the_named_fields_count_wherever_they_are() -> None:
    of = metric("json", {"fields": ["total", "lines.0.name", "lines.5.name"], "tolerance": 0.01})
    got = {"total": 9.99, "lines": [{"name": "tea"}], "note": "extra"}
    score = of.measure(given(got, {"total": 10, "lines": [{"name": "coffee"}]}))
    assert score.detail == {"fields": {"total": True, "lines.0.name": False, "lines.5.name": True}}


def test_each_field_has_its_share_with_an_interval() -> None:
    cells = [
        given({"name": "a", "age": 3}, {"name": "a", "age": 3}),
        given({"name": "b", "age": 4, "odd": 1}, {"name": "b", "age": 3}),
        given({"name": "c"}, {"name": "c"}),
        given(None, {"name": "d", "age": 5}, flag="unparsed"),
    ]
    found = told(metric("json"), cells)
    assert found.mean == approx((1 + 1 / 3 + 1 + 0) / 4)
    assert found.parts["with_extra_fields"] == 1
    name, age = found.parts["fields"]["name"], found.parts["fields"]["age"]
    assert (name["right"], name["n"], age["right"], age["n"]) == (0.75, 4, approx(1 / 3), 3)
    assert (age["low"], age["high"]) == approx(wilson(1, 3))


def test_fields_beyond_the_fiftieth_count_but_are_not_told_apart() -> None:
    many = {f"f{number}": number for number in range(60)}
    found = told(metric("json"), [given({**many, "f59": -1}, many)])
    assert found.mean == approx(59 / 60) and len(found.parts["fields"]) == 50


@pytest.mark.parametrize("expected", [None, 3, [1], "[1]", "{", ""])
def test_what_is_expected_must_be_an_object(expected: Any) -> None:
    of = metric("json")
    assert of.wrong_expected(expected)
    with pytest.raises(ValueError):
        of.measure(given({}, expected))


PERSON = {"type": "object", "properties": {"name": {"type": "string"}}, "required": ["name"]}


def test_an_answer_fits_a_schema_or_says_why_not() -> None:
    of = metric("schema", {"schema": PERSON})
    assert not of.needs_expected
    assert of.measure(given({"name": "Ada"})).value == 1
    assert of.measure(given('```json\n{"name": "Ada"}\n```')).value == 1
    wrong = of.measure(given({"name": 3}))
    assert wrong.value == 0 and "must be of the type string" in wrong.detail["problem"]
    assert "holds no JSON value" in of.measure(given("Ada")).detail["problem"]
    assert of.measure(given(None)).value == 0


def test_a_schema_may_be_in_a_file_beside_the_suite(tmp_path: Path) -> None:
    (tmp_path / "person.json").write_text(json.dumps(PERSON), encoding="utf-8")
    of = metric("schema", {"file": "person.json"}, folder=tmp_path)
    assert of.measure(given({"name": "Ada"})).value == 1
    before = of.key
    (tmp_path / "person.json").write_text(json.dumps({"type": "object"}), encoding="utf-8")
    assert metric("schema", {"file": "person.json"}, folder=tmp_path).key != before


@pytest.mark.parametrize(
    ("parameters", "told_of"),
    [
        ({"file": "missing.json"}, "no such file"),
        ({"file": "../outside.json"}, "leaves the project"),
        ({"file": "list.json"}, "is a mapping"),
        ({"schema": {"type": "strnig"}}, "did you mean `string`"),
        ({"schema": {"oneOf": []}}, "`oneOf` must be a list that is not empty"),
    ],
)
def test_a_schema_that_cannot_be_used_is_refused(tmp_path: Path, parameters: Any, told_of: str) -> None:
    (tmp_path / "list.json").write_text("[]", encoding="utf-8")
    with pytest.raises(InputError, match=told_of):
        metric("schema", parameters, folder=tmp_path)


@pytest.mark.parametrize("parameters", [{}, {"file": "a", "schema": {}}])
def test_a_schema_is_given_once(parameters: Any) -> None:
    with pytest.raises(ValidationError):
        metric("schema", parameters)


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
    numbers, labels = build_answer_type({"list": {"of": "number"}}), build_answer_type({"labels": ["x y", "z"]})
    assert metric("set_f1").measure(given([1, 2], "1\n2.0", answer=numbers)).value == 1
    assert metric("set_f1").measure(given(["z", "x y"], "X y; z", answer=labels)).value == 1
    assert metric("set_f1").measure(given([], "none", answer=labels)).value == 1


@pytest.mark.parametrize("item", [[], {}, [["x"]], None])
def test_an_item_that_is_none_of_the_lists_type_is_one_too_many(item: Any) -> None:
    labels = build_answer_type({"list": {"of": {"label": ["x", "y"]}}})
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


@pytest.mark.parametrize(
    ("got", "expected", "right"),
    [
        ("Thailand", "thailand", True),
        (["b", "a"], ["a", "b"], True),
        (["a"], ["a", "b"], False),
        (["a", "a"], ["a"], True),
        ([["a"], ["b"]], ["b", "a"], True),
        ("1,234", 1234, True),
        ("12,34", 1234, False),
        (4.0000001, "4", True),
        (4.001, "4", False),
        ("4 apples", 4, False),
        ("2004-07-15", "2004-7-15", True),
        ("2004-07-xx", "2004-07-15", False),
        ("2004-xx-xx", 2004, True),
        ("2004-13-01", "2004-13-1", False),
        ("São Paulo", "sao paulo", True),
        ("“Yesterday”", "Yesterday", True),
        ("Berlin[3]", "Berlin", True),
        ("Berlin†", "Berlin", True),
        ("Arthur (first of his name)", "Arthur", True),
        ("10–12", "10-12", True),
        ("yes.", "Yes", True),
        ([], [], True),
        (None, "none", False),
        ({"a": 1}, 1, False),
        (True, "true", True),
        (float("nan"), 1, False),
    ],
)
def test_answers_are_sets_of_numbers_dates_and_texts(got: Any, expected: Any, right: bool) -> None:
    assert metric("table").measure(given(got, expected)).value == float(right)


def test_a_text_is_read_as_a_list_where_the_answer_is_one() -> None:
    answer = build_answer_type({"list": {"of": "number", "separator": ";"}})
    assert metric("table").measure(given([3, 1200], "1200; 3", answer=answer)).value == 1
    assert metric("table").measure(given([3, 1200], ["1,200", "3"], answer=answer)).value == 1


@pytest.mark.parametrize("expected", [None, {"a": 1}, [None]])
def test_what_is_expected_must_be_values(expected: Any) -> None:
    assert metric("table").wrong_expected(expected)


@pytest.mark.parametrize(("unordered", "share"), [(False, 0.5), (True, 1.0)])
def test_lists_inside_an_object_may_be_in_any_order_where_the_suite_says_so(unordered: bool, share: float) -> None:
    of = metric("json", {"unordered": unordered, "tolerance": 0.1})
    expected = {"id": 1, "items": [{"name": "pen", "tags": ["a", "b"], "price": 1}, {"name": "cup"}]}
    got = {"id": 1, "items": [{"name": "cup"}, {"name": "pen", "price": 1.05, "tags": ["b", "a"]}]}

    assert of.measure(given(got, expected)).value == share
    assert of.measure(given({**got, "items": got["items"][:1] * 2}, expected)).value == 0.5  # type: ignore[index]


PENS = [{"name": "pen", "price": 2}, {"name": "cup", "price": 5, "colour": "red"}]


@pytest.mark.parametrize(
    ("got", "right", "extra", "missing"),
    [
        (PENS[::-1], 5, 0, 0),
        ([{"name": "cup", "price": 4, "colour": "red"}, {"name": "pen", "price": 2}], 4, 1, 1),
        ([{"name": "cup", "price": 5, "colour": None}], 2, 0, 3),
        ([*PENS, {"name": "mug"}], 5, 1, 0),
        (["pen"], 0, 1, 5),
        ([], 0, 0, 5),
        ("pens", 0, 1, 5),
    ],
)
def test_fields_of_records_count_where_records_are_paired_so_that_most_agree(
    got: Any, right: int, extra: int, missing: int
) -> None:
    score = metric("set_f1", {"count": "fields"}).measure(given(got, PENS))

    assert [score.detail[part] for part in ("right", "extra", "missing")] == [right, extra, missing]


def test_a_parameter_that_came_later_changes_no_key_of_a_suite_without_it() -> None:
    assert metric("set_f1").key == 'set_f1:{"by":"row","duplicates":false}'
    assert metric("json").key == 'json:{"fields":null,"tolerance":0.0}'
    assert metric("json", {"unordered": True}).key == 'json:{"fields":null,"tolerance":0.0,"unordered":true}'
