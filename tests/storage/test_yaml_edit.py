"""An item is added to a user's YAML, and the rest of the text stays as it is."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from promptkit.errors import InputError
from promptkit.storage.yaml import load
from promptkit.storage.yaml_edit import REMOVED, append_item, set_value


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


PIPELINE = """\
# Mine.
name: mood   # short
steps:
  mood:
    prompt: mood
    layout: xml  # not markdown
    answer:
      label: [good, bad]  # two
    # examples help
    examples:
      - input: {text: a}
        output: good
    options: {temperature: 0, stop: ["x"]}

cases: [1]
"""


@pytest.mark.parametrize(
    ("path", "value", "before", "after"),
    [
        pytest.param("layout", "markdown", "layout: xml  #", "layout: markdown  #", id="a text keeps its comment"),
        pytest.param("layout", "no", "layout: xml  #", "layout: 'no'  #", id="no is a text in YAML 1.2"),
        pytest.param("layout", "1", "layout: xml  #", 'layout: "1"  #', id="a number that is text is quoted"),
        pytest.param("layout", "{{ x }}", "layout: xml  #", "layout: '{{ x }}'  #", id="braces are quoted"),
        pytest.param("layout", REMOVED, "    layout: xml  # not markdown\n", "", id="a key goes with its comment"),
        pytest.param(
            "examples",
            [],
            "    examples:\n      - input: {text: a}\n        output: good\n",
            "    examples: []\n",
            id="lines become one",
        ),
        pytest.param(
            "layout",
            [{"input": {"text": "a" * 90}, "output": "good"}],
            "    layout: xml  # not markdown\n",
            f"    layout:\n    - input:\n        text: {'a' * 90}\n      output: good\n",
            id="one line becomes several",
        ),
        pytest.param(
            "decide", "score", ' stop: ["x"]}\n', ' stop: ["x"]}\n    decide: score\n', id="a new key is last"
        ),
        pytest.param("options.temperature", 0.5, "temperature: 0,", "temperature: 0.5,", id="in brackets"),
        pytest.param("options.seed", 3, '["x"]}', '["x"], seed: 3}', id="a new key in brackets"),
        pytest.param("options.temperature", REMOVED, "{temperature: 0, ", "{", id="the first key in brackets goes"),
        pytest.param("options.stop", REMOVED, ', stop: ["x"]}', "}", id="the last key in brackets goes"),
        pytest.param(
            "answer.label", {"good": "liked", "bad": "not"}, "[good, bad]  #", "{good: liked, bad: not}  #", id="below"
        ),
    ],
)
def test_a_value_is_set_and_nothing_else(path: str, value: Any, before: str, after: str) -> None:
    edited = set_value(PIPELINE, ["steps", "mood", *path.split(".")], value, file="p.yaml")
    assert edited == PIPELINE.replace(before, after)


def test_a_step_in_brackets_is_written_as_lines_where_it_would_be_too_long() -> None:
    text = "steps:\n  mood: {prompt: mood, answer: {label: [01, no]}}\n  other: {prompt: x}\n"
    examples = [{"input": {"text": "a" * 60}, "output": "no"}, {"input": {"text": "b"}, "output": "1"}]
    assert set_value(text, ["steps", "mood", "examples"], examples, file="p.yaml") == (
        "steps:\n  mood:\n    prompt: mood\n    answer: {label: [01, no]}\n    examples:\n    - input:\n        text: "
        + "a" * 60
        + "\n      output: 'no'\n    - input:\n        text: b\n      output: \"1\"\n  other: {prompt: x}\n"
    )


def test_lines_end_as_they_did() -> None:
    text = "a:\r\n  b: 1\r\n  c: 2\r\n"
    assert set_value(text, ["a", "b"], ["x\ny", "z" * 99], file="p.yaml") == (
        "a:\r\n  b:\r\n  - |-\r\n    x\r\n    y\r\n  - " + "z" * 99 + "\r\n  c: 2\r\n"
    )


def test_front_matter_is_edited_and_made_where_there_is_none() -> None:
    assert set_value("---\nlayout: xml\n---\nT\n", ["layout"], "json", file="p.j2") == "---\nlayout: json\n---\nT\n"
    assert set_value("T\n", ["decide"], "score", file="p.j2") == "---\ndecide: score\n---\nT\n"


def test_a_place_that_is_not_there_is_refused() -> None:
    with pytest.raises(InputError, match="must be a mapping"):
        set_value(PIPELINE, ["steps", "none", "layout"], "xml", file="p.yaml")


_KEYS = st.sampled_from(["layout", "examples", "answer", "options", "decide"])
_SHAPES = st.sampled_from(
    [PIPELINE, PIPELINE.replace("\n", "\r\n"), "steps: {mood: {prompt: m}}", "steps:\n  mood: {prompt: m}"]
)


@given(_SHAPES, _KEYS, items)
def test_whatever_is_set_is_read_back_and_all_else_stays(text: str, key: str, value: Any) -> None:
    edited = set_value(text, ["steps", "mood", key], value, file="p.yaml")

    before, after = load(text, file="p.yaml").value, load(edited, file="p.yaml").value
    assert after["steps"]["mood"].pop(key) == value
    before["steps"]["mood"].pop(key, None)
    assert after == before
    assert all(line in edited for line in text.splitlines() if line.lstrip().startswith("#") or "name:" in line)


def test_a_mapping_in_brackets_that_becomes_lines_keeps_its_comment() -> None:
    text = "steps:\n  topic: {prompt: topic}   # why\n  other: {prompt: x}\n"
    edited = set_value(text, ("steps", "topic", "examples"), ["long " * 30], file="pipeline.yaml")

    assert "  topic:   # why\n    prompt: topic\n    examples:\n" in edited
