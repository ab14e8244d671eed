"""What each type reads in a reply, finds among thoughts, and refuses."""

from __future__ import annotations

from typing import Any

import pytest

from promptkit.answers.base import Unparsed
from promptkit.answers.build import build_answer_type
from promptkit.answers.spans import Spans

MOODS: Any = {"label": ["positive", "negative", "very positive"]}
TOPICS: Any = {"labels": ["price", "service", "other"]}
OPTIONS: Any = {"choice": ["Paris", "Rome", "B-day"]}
SHORT: Any = {"number": {"min": 1, "max": 5, "decimals": 0}}
SEMICOLONS: Any = {"list": {"separator": ";"}}
PERSON: Any = {
    "json": {
        "type": "object",
        "properties": {"name": {"type": "string"}, "age": {"type": "integer"}},
        "required": ["name"],
    }
}
NOTE: Any = {"spans": {"classes": ["problem", "treatment"], "text": "Patient has fever and took aspirin."}}
FEVER = {"start": 12, "end": 17, "class": "problem"}
ASPIRIN = {"start": 27, "end": 34, "class": "treatment"}


@pytest.mark.parametrize(
    ("spec", "reply", "value"),
    [
        ("text", "  Two\nlines. \n", "Two\nlines."),
        (MOODS, " Positive.", "positive"),
        (MOODS, '**"NEGATIVE"**', "negative"),
        (MOODS, "The mood is very positive, I think.", "very positive"),
        ({"label": ["Yes", "yes"]}, "yes", "yes"),
        ({"label": [1, True, "012"]}, "1", "1"),
        ({"label": ["1+1=2", "x"]}, "1+1=2", "1+1=2"),
        (TOPICS, "service and price", ["service", "price"]),
        (TOPICS, "- Price\n- Price\n- other", ["price", "other"]),
        (TOPICS, "None.", []),
        (OPTIONS, "(b)", "Rome"),
        (OPTIONS, "B. Because it is.", "Rome"),
        (OPTIONS, "rome", "Rome"),
        (OPTIONS, "The answer is A", "Paris"),
        (OPTIONS, "A good one is (C)", "B-day"),
        (OPTIONS, "A is right.", "Paris"),
        (OPTIONS, "B) and it is the capital", "Rome"),
        ("number", "$1,234.50", 1234.5),
        ("number", "26.", 26),
        ("number", "-0", 0),
        ("number", "1e5", 100000),
        ("number", "It is 26 apples, 26!", 26),
        ("number", "5" * 308, int("5" * 308)),
        ({"number": {"decimals": 2}}, "3.14159", 3.14),
        ({"number": {"decimals": 0}}, "2.5", 3),
        ("boolean", "Yes.", True),
        ("boolean", "The claim is false", False),
        ("list", "- one; two\n2. three\n\n", ["one; two", "three"]),
        (SEMICOLONS, "The bill doubled.; no\n answer", ["The bill doubled.", "no answer"]),
        (SEMICOLONS, "1. one\n2. two", ["one", "two"]),
        (SEMICOLONS, "none.", []),
        ({"list": {"unique": True, "of": "number", "separator": ","}}, "1, 2, 1.0", [1, 2]),
        ({"list": {"of": {"json": {"type": "integer"}}, "unique": True}}, "[1, 2, 1]", [1, 2]),
        (PERSON, '```json\n{"name": "Ada",\n "age": 36}\n```', {"name": "Ada", "age": 36}),
        (PERSON, 'Here it is: {"name": "Ada"} as asked.', {"name": "Ada"}),
        (PERSON, '{"name": "Ada", "name": 3}', {"name": "Ada"}),
        ("code", "Sure:\n```python\nprint(1)\n```\nThat prints 1.", "print(1)"),
        ("code", "```\nprint(1)\nprint(2)", "print(1)\nprint(2)"),
        ("code", "print(1)\n", "print(1)"),
        (
            NOTE,
            'Patient has <span class="problem">fever</span> and took <span class="treatment">aspirin</span>.',
            [FEVER, ASPIRIN],
        ),
        (
            NOTE,
            'Patient has <span class="problem">high fever</span> and took <span class="treatment">aspirin</span>.',
            [ASPIRIN],
        ),
        (NOTE, "Patient  has <span class='PROBLEM'>fever</span>,\nand took aspirin", [FEVER]),
        (NOTE, 'Patient has fever and took a<span class="treatment">spirin</span>!', []),
    ],
)
def test_a_reply_is_read_as_its_value(spec: Any, reply: str, value: Any) -> None:
    read = build_answer_type(spec).parse(reply)
    assert read == value
    assert type(read) is type(value)


@pytest.mark.parametrize(
    ("spec", "reply", "fault"),
    [
        ("text", " \n", "empty"),
        (MOODS, "", "empty"),
        (MOODS, "neutral", "none of: positive, negative"),
        (MOODS, "positive or negative", "several"),
        (MOODS, "positively", "none of"),
        (TOPICS, "weather", "none of"),
        (OPTIONS, "D", "none of the letters A, B, C"),
        (OPTIONS, "B is better than (A)", "several"),
        (OPTIONS, "a guess", "none of"),
        (OPTIONS, "A or B", "several"),
        (OPTIONS, "A and C", "several"),
        (OPTIONS, "A not B", "several"),
        (OPTIONS, "(A) or (B)", "several"),
        (OPTIONS, "A. or B.", "several"),
        (OPTIONS, " A/B", "several"),
        ("number", "many", "no number"),
        ("number", "3 of 4", "several"),
        ("number", "9" * 400, "bearable"),
        ("number", "1e999", "bearable"),
        ("number", "٣", "no number"),
        (SHORT, "7", "at least 1 and at most 5"),
        ("boolean", "maybe", "neither"),
        ("boolean", "yes and no", "both"),
        ("list", "\n", "empty"),
        ({"list": {"separator": ";", "max": 2}}, "a; b; c", "at most 2"),
        ({"list": {"of": MOODS}}, "positive\nsad", "none of"),
        (PERSON, '{"age": 36}', "lacks 'name'"),
        (PERSON, '{"name": "Ada", "job": 1}', "the key 'job'"),
        (PERSON, '{"name": "Ada", "age": true}', "integer"),
        (PERSON, '{"name": "\\ud800"}', "surrogate"),
        ("json", "NaN", "NaN"),
        ("json", "[1e999]", "too large"),
        ("json", "[" * 5000 + "]" * 5000, "deeper"),
        ("json", "[" * 150 + "]" * 150, "deeper"),
        ("code", "```python\n\n```", "no program"),
        (NOTE, '<span class="problems">fever</span>', "did you mean `problem`"),
        (NOTE, "word " * 500, "longer"),
    ],
)
def test_another_reply_is_unparsed_and_says_why(spec: Any, reply: str, fault: str) -> None:
    with pytest.raises(Unparsed) as raised:
        build_answer_type(spec).parse(reply)
    assert fault in str(raised.value)


@pytest.mark.parametrize(
    ("reply", "marker"),
    [("Answer: A or B", "Answer:"), ("Answer: (B), (C)", "Answer:"), ("First A. So it is B or C.", "")],
)
def test_letters_named_as_one_answer_are_none(reply: str, marker: str) -> None:
    with pytest.raises(Unparsed, match="several"):
        build_answer_type(OPTIONS).find(reply, marker, thinks=True)


@pytest.mark.parametrize(
    ("spec", "reply", "marker", "value"),
    [
        ("number", "60 - 20 = 40, then 40 - 15 is 25.", "", 25),
        ("number", "First 60. The answer is 7. So the answer is 25, not 26.", "The answer is", 25),
        ("number", "The answer is 25.\n\nQ: What is 3 + 4?\nA: The answer is 7.", "The answer is", 25),
        (SHORT, "Out of 10 I give it 4.", "", 4),
        (SHORT, "Rating: 40? No: 4 of 5.", "Rating:", 4),
        (MOODS, "It starts negative but ends positive.", "", "positive"),
        (MOODS, "Not positive. Mood: negative, hardly positive", "Mood:", "negative"),
        (OPTIONS, "A is far. (C) is odd. Answer: B because A is far", "Answer:", "Rome"),
        ("boolean", "No wait. Yes", "", True),
        (TOPICS, "The bill is about service.\nTopics: price, other\nDone", "Topics:", ["price", "other"]),
        (TOPICS, "It names the price.\nservice, other", "", ["service", "other"]),
        (SEMICOLONS, "Two complaints.\nIssues: a b; c d\nI hope this helps.", "Issues:", ["a b", "c d"]),
        ("list", "I think.\n\n- one\n- two", "", ["one", "two"]),
        (PERSON, 'First {"name": "A"} then {"name": "B"} or {"no": 1}', "", {"name": "B"}),
        (PERSON, '{"name": "A"} Record: {"name": "B"} {"name": "C"}', "record:", {"name": "B"}),
        ("code", "```python\na\n```\nor\n```python\nb\n```", "", "b"),
        ("text", "Thinking.\n\nMore.\n\nThe end.", "", "The end."),
        ("text", "Thinking. Output: one\n\ntwo", "Output:", "one\n\ntwo"),
        (NOTE, 'It is fever. Marked: Patient has <span class="problem">fever</span>.', "Marked:", [FEVER]),
    ],
)
def test_a_value_is_found_after_the_marker_first_else_last(spec: Any, reply: str, marker: str, value: Any) -> None:
    assert build_answer_type(spec).find(reply, marker, thinks=True).value == value


@pytest.mark.parametrize(
    ("spec", "value"),
    [
        ("text", ""),
        ("text", " a"),
        ("text", 3),
        (MOODS, "Positive"),
        (MOODS, ["positive"]),
        (TOPICS, ["price", "price"]),
        (TOPICS, "price"),
        (OPTIONS, "A"),
        ("number", float("nan")),
        ("number", float("inf")),
        ("number", True),
        ("number", "3"),
        ("number", 10**308),
        (SHORT, 6),
        ({"number": {"decimals": 1}}, 0.25),
        ("boolean", 1),
        (SEMICOLONS, ["a;b"]),
        (SEMICOLONS, ["none"]),
        (SEMICOLONS, ["a\nb"]),
        (SEMICOLONS, [" a"]),
        ("list", ["- a"]),
        ("list", "a"),
        ("json", float("nan")),
        ("json", {1: 2}),
        ("json", (1, 2)),
        ("json", "\ud800"),
        (PERSON, {"age": 3}),
        ("code", "a\n```\nb"),
        ("code", " "),
        (NOTE, [FEVER, FEVER]),
        (NOTE, [{"start": 1, "end": 99, "class": "problem"}]),
        (NOTE, [{"start": 1, "end": 2, "class": "pain"}]),
        (NOTE, [{"start": 1, "end": 2}]),
    ],
)
def test_a_value_that_could_not_be_read_back_is_not_written(spec: Any, value: Any) -> None:
    with pytest.raises(ValueError):
        build_answer_type(spec).write(value)


def test_a_nested_value_too_deep_for_python_is_not_written() -> None:
    value: list[Any] = []
    for _ in range(5000):
        value = [value]
    with pytest.raises(ValueError, match="deep"):
        build_answer_type("json").write(value)


def test_the_same_answer_in_other_clothes_has_the_same_vote() -> None:
    number = build_answer_type("number")
    assert len({number.vote_key(number.parse(reply)) for reply in ("26", "26.0", "$26.", "2.6e1")}) == 1
    record = build_answer_type("json")
    assert record.vote_key({"a": 1, "b": [2.0]}) == record.vote_key({"b": [2], "a": 1.0})
    assert record.vote_key(1) != record.vote_key(True)
    assert build_answer_type("text").vote_key("Paris.") == build_answer_type("text").vote_key(" paris")
    assert build_answer_type(TOPICS).vote_key(["price", "other"]) == build_answer_type(TOPICS).vote_key(
        ["other", "price"]
    )


def test_spans_count_from_the_start_of_the_text_as_given() -> None:
    spans = Spans(["x"], "  a fever ")
    value = [{"start": 4, "end": 9, "class": "x"}]
    assert spans.write(value) == 'a <span class="x">fever</span>'
    assert spans.parse('a <span class="x">fever</span>') == value
    assert spans.words(value[0]) == "fever"
    assert Spans(["x"], "a < b").write([]) == "a &lt; b"


def test_the_schema_for_a_server_says_that_objects_are_closed() -> None:
    schema = build_answer_type(PERSON).schema()
    assert schema is not None
    assert schema["additionalProperties"] is False
    assert build_answer_type({"list": {"of": PERSON}}).writes_json


def test_keys_are_written_in_the_order_of_the_schema() -> None:
    assert build_answer_type(PERSON).write({"age": 3, "name": "a"}) == '{"name": "a", "age": 3}'
