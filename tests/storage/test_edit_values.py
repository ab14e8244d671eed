"""Values of a user's YAML are set and taken away, and the rest of the text stays as it is."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from promptkit.errors import InputError
from promptkit.storage import TAKEN_AWAY, load, set_value
from tests.storage.test_edit import items

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
        pytest.param("layout", TAKEN_AWAY, "    layout: xml  # not markdown\n", "", id="a key goes with its comment"),
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
        pytest.param("options.temperature", TAKEN_AWAY, "{temperature: 0, ", "{", id="the first key in brackets goes"),
        pytest.param("options.stop", TAKEN_AWAY, ', stop: ["x"]}', "}", id="the last key in brackets goes"),
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
