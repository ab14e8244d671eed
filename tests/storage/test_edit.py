"""An item is added to a user's YAML, and the rest of the text stays as it is."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from promptkit.errors import InputError
from promptkit.storage import append_item, load


@pytest.mark.parametrize(
    ("before", "after"),
    [
        pytest.param("cases:\n- 1\n", "cases:\n- 1\n- a: x\n", id="at the end of the list"),
        pytest.param("cases:\n  - 1 # c\n\nz: 1\n", "cases:\n  - 1 # c\n  - a: x\n\nz: 1\n", id="before the next key"),
        pytest.param("cases:\n- |\n  t\n\nz: 1\n", "cases:\n- |\n  t\n- a: x\n\nz: 1\n", id="after a block of text"),
        pytest.param("name: n # c", "name: n # c\ncases:\n- a: x\n", id="key missing, no last line end"),
        pytest.param("cases: # c\nz: 1\n", "cases: # c\n- a: x\nz: 1\n", id="key without a value"),
        pytest.param("cases: null\nz: 1\n", "cases: \n- a: x\nz: 1\n", id="null written out"),
        pytest.param("cases: []\n", 'cases: [{"a": "x"}]\n', id="empty list in brackets"),
        pytest.param("cases: [1, ]\n", 'cases: [1, {"a": "x"}]\n', id="list in brackets with a last comma"),
        pytest.param("{name: n}", '{name: n, "cases": [{"a": "x"}]}', id="mapping in brackets"),
        pytest.param("{cases: }", '{cases:  [{"a": "x"}]}', id="mapping in brackets, key without a value"),
        pytest.param("", "cases:\n- a: x\n", id="empty file"),
        pytest.param("# c\n", "# c\ncases:\n- a: x\n", id="only a comment"),
        pytest.param("cases:\r\n  - 1\r\n", "cases:\r\n  - 1\r\n  - a: x\r\n", id="lines that end as on Windows"),
        pytest.param("\ufeffcases:\n- é\n", "\ufeffcases:\n- é\n- a: x\n", id="byte order mark"),
    ],
)
def test_an_item_is_added_to_a_pipeline(before: str, after: str) -> None:
    assert append_item(before, ["cases"], {"a": "x"}, file="p.yaml") == after


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("---\ncases:\n- 1\n---\nText --- x\n---\n", "---\ncases:\n- 1\n- 2\n---\nText --- x\n---\n"),
        ("---\nabout: a\n---\n", "---\nabout: a\ncases:\n- 2\n---\n"),
        ("---\n---\n{{ x }}", "---\ncases:\n- 2\n---\n{{ x }}"),
        ("{{ x }}", "---\ncases:\n- 2\n---\n{{ x }}"),
        ("---\r\nabout: a\r\n---\r\n{{ x }}", "---\r\nabout: a\r\ncases:\r\n- 2\r\n---\r\n{{ x }}"),
    ],
)
def test_an_item_is_added_to_front_matter(before: str, after: str) -> None:
    assert append_item(before, ["cases"], 2, file="p.j2") == after


def test_a_nested_list_gets_an_item() -> None:
    text = "a:\n  b:\n    - 1\n  c: 2\nd: 3\n"
    assert append_item(text, ["a", "b"], 4, file="p.yaml") == "a:\n  b:\n    - 1\n    - 4\n  c: 2\nd: 3\n"
    assert append_item(text, ["a", "z"], 4, file="p.yaml") == "a:\n  b:\n    - 1\n  c: 2\n  z:\n  - 4\nd: 3\n"


@pytest.mark.parametrize("text", ["cases: x", "cases: {a: 1}", "- 1", "just text", "cases: [1"])
def test_what_holds_no_list_is_refused(text: str) -> None:
    with pytest.raises(InputError):
        append_item(text, ["cases"], 1, file="p.yaml")


def test_a_problem_in_front_matter_has_the_line_of_the_file() -> None:
    with pytest.raises(InputError) as caught:
        append_item("---\nabout: x\ncases: 1\n---\n", ["cases"], 1, file="p.j2")
    assert caught.value.problems[0].line == 3


def test_front_matter_without_an_end_is_not_taken_for_text() -> None:
    with pytest.raises(InputError, match="has no end"):
        append_item("---\nabout: x\n", ["cases"], 1, file="p.j2")


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("cases: [1 # ]\n,2, # c\n]\n", id="a comment behind the last comma"),
        pytest.param("cases:\n- |+\n  x\n\n\nz: 1\n", id="a text that keeps its blank lines"),
    ],
)
def test_an_edit_that_would_change_more_is_refused_with_the_lines_to_write(text: str) -> None:
    with pytest.raises(InputError) as caught:
        append_item(text, ["cases"], 3, file="p.yaml")
    assert "cases:\n- 3" in (caught.value.problems[0].hint or "")


texts = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0")) | st.sampled_from(
    [
        "1e5",
        "0o17",
        "012",
        "yes",
        "null",
        "~",
        "",
        "{{ x }}",
        "a: b",
        "# no",
        "- x",
        "x\ny",
        " x\n",
        "\n",
        "x\n\n",
        "---",
    ]
)
items = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=10,
)


@given(
    items,
    st.sampled_from(["", "a: 1\n", "cases:\n- 1\n", "cases: [1]\n", "a:\n- b\ncases:\n  - c: |\n      d\ne: 1\n"]),
)
def test_whatever_is_added_is_read_back_and_nothing_else_changes(item: Any, text: str) -> None:
    before = load(text, file="p.yaml").value or {}
    after = load(append_item(text, ["cases"], item, file="p.yaml"), file="p.yaml").value
    assert after == {**before, "cases": [*before.get("cases", []), item]}
