"""Tables as inputs: the forms in which they are given, and what is said of others."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from promptkit.engine.inputs import fill_inputs
from promptkit.engine.table_inputs import is_table, table_rows
from promptkit.errors import InputError
from tests.engine.helpers import Folder

ROWS = [{"name": "Ann", "goals": "9"}, {"name": "Bob", "goals": "1,000"}]
TABLED = "inputs: {table: {type: table}}\nsteps: {a: {prompt: '{{ table }}'}}\n"


@pytest.mark.parametrize(
    "value",
    [
        ROWS,
        [["name", "goals"], ["Ann", "9"], ["Bob", "1,000"]],
        {"columns": ["name", "goals"], "rows": [["Ann", "9"], ["Bob", "1,000"]]},
        {"columns": ["name", "goals"], "index": [0, 1], "data": [["Ann", "9"], ["Bob", "1,000"]]},
        'name,goals\nAnn,9\n\nBob,"1,000"\n',
        "name;goals\nAnn;9\nBob;1,000",
        "name\tgoals\nAnn\t9\nBob\t1,000\n",
        '{"columns": ["name", "goals"], "rows": [["Ann", "9"], ["Bob", "1,000"]]}',
        "- {name: Ann, goals: '9'}\n- {name: Bob, goals: '1,000'}",
        "columns: [name, goals]\nrows: [[Ann, '9'], [Bob, '1,000']]",
    ],
)
def test_a_table_in_any_form_is_its_rows(value: Any) -> None:
    assert table_rows(value) == ROWS


def test_repeated_columns_get_names_of_their_own_and_missing_cells_are_null() -> None:
    assert table_rows("a,b,a\n1,2,3\n4\n") == [{"a": "1", "b": "2", "a_2": "3"}, {"a": "4", "b": None, "a_2": None}]


@pytest.mark.parametrize("value", ["a, b", 3, {"a": 1}, {"columns": ["a"]}, [1], [[1], {"a": 1}], "t.csv", 'a\n"b'])
def test_what_is_not_a_table_is_refused(value: Any) -> None:
    assert not is_table(value)


@given(st.text(max_size=60))
def test_any_text_is_a_table_or_refused(text: str) -> None:
    if is_table(text):
        assert all(isinstance(row, dict) for row in table_rows(text))


def test_an_input_may_be_given_as_a_value_a_text_or_a_file(folder: Folder) -> None:
    pipeline = folder.load(TABLED)
    folder.write("data/t.csv", "name,goals\nAnn,9\n")

    for filled in (
        fill_inputs(pipeline, {"table": {"columns": ["name", "goals"], "rows": [["Ann", "9"]]}}),
        fill_inputs(pipeline, texts={"table": "name,goals\nAnn,9"}),
        fill_inputs(pipeline, {"table": "t.csv"}, folder=folder.root / "data"),
        fill_inputs(pipeline, texts={"table": "data/t.csv"}, folder=folder.root),
    ):
        assert filled.values == {"table": [{"name": "Ann", "goals": "9"}]}


def test_an_example_and_a_case_may_have_any_form(folder: Folder) -> None:
    pipeline = folder.load("inputs: {table: {type: table, example: [[a], [1]]}}\nsteps: {a: {prompt: '{{ table }}'}}\n")

    assert fill_inputs(pipeline).values == {"table": [{"a": 1}]}


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("../t.csv", "is not in the folder"),
        ("nothing.csv", "`nothing.csv`: no such file"),
        ("one line", "is not a table"),
        ({"a": 1}, "`columns` and `rows`"),
        ("", "the table is empty"),
        ("a,b\n", "at least one row"),
    ],
)
def test_a_wrong_table_is_an_error_with_what_to_do(folder: Folder, value: Any, message: str) -> None:
    pipeline = folder.load(TABLED)
    folder.write("t.csv", "a\n1\n")
    inside = folder.root / "data"
    inside.mkdir()

    with pytest.raises(InputError, match=message):
        fill_inputs(pipeline, {"table": value}, folder=inside)


def test_a_file_is_read_only_where_rows_name_it(tmp_path: Path, folder: Folder) -> None:
    with pytest.raises(InputError, match="to read it") as raised:
        fill_inputs(folder.load(TABLED), texts={"table": "t.csv"})

    assert "{columns: …, rows: …}" in (raised.value.problems[0].hint or "")
