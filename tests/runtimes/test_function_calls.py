"""The calls of a reply: pieces in the ways of many servers, calls written as text, and bounds."""

from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from promptkit.errors import BadReply
from promptkit.runtimes.base import FunctionCall, Message, Request, ToolDefinition
from promptkit.runtimes.function_calls import (
    MOST_ARGUMENTS,
    MOST_CALLS,
    CallReader,
    arguments_object,
    ollama_turn,
    openai_turn,
)
from promptkit.runtimes.reply_reader import ReplyReader

WEATHER = ToolDefinition(
    name="weather",
    description="The weather of a city.",
    parameters={"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
)
ROME, OSLO = '{"city": "Rome"}', '{"city": "Oslo"}'


def read(*parts: dict[str, Any]) -> list[tuple[str, str, str]]:
    reader = CallReader({"weather", "sum"})
    for part in parts:
        reader.feed(part)
    return [(call.id, call.name, call.arguments) for call in reader.calls()]


def part(index: Any = None, name: Any = None, arguments: Any = None, identity: Any = None) -> dict[str, Any]:
    """Return a piece of a call with what is given."""
    function = {key: value for key, value in (("name", name), ("arguments", arguments)) if value is not None}
    outer = {key: value for key, value in (("index", index), ("id", identity)) if value is not None}
    return {**outer, "function": function}


DIALECTS: list[tuple[str, list[dict[str, Any]], list[tuple[str, str, str]]]] = [
    (
        "OpenAI: id and name first, arguments in pieces",
        [part(0, "weather", "", "a"), part(0, None, '{"city":'), part(0, None, ' "Rome"}')],
        [("a", "weather", ROME)],
    ),
    (
        "two calls whose pieces are mixed",
        [part(0, "weather", "", "a"), part(1, "weather", "", "b"), part(0, None, ROME), part(1, None, OSLO)],
        [("a", "weather", ROME), ("b", "weather", OSLO)],
    ),
    (
        "whole calls without an index",
        [part(None, "weather", ROME, "a"), part(None, "weather", OSLO, "b")],
        [("a", "weather", ROME), ("b", "weather", OSLO)],
    ),
    (
        "pieces without an index",
        [part(None, "weather", "", "a"), part(None, None, ROME)],
        [("a", "weather", ROME)],
    ),
    (
        "pieces without an index that repeat the id",
        [part(None, "weather", "", "a"), part(None, "weather", ROME, "a")],
        [("a", "weather", ROME)],
    ),
    (
        "whole calls that all have the index 0",
        [part(0, "weather", ROME, "a"), part(0, "weather", OSLO, "b")],
        [("a", "weather", ROME), ("b", "weather", OSLO)],
    ),
    (
        "whole calls that all have the index 0 and no id",
        [part(0, "weather", ROME), part(0, "weather", OSLO), part(0, "sum", "{}")],
        [("call00001", "weather", ROME), ("call00002", "weather", OSLO), ("call00003", "sum", "{}")],
    ),
    (
        "calls in pieces that all have the index 0",
        [part(0, "weather", "", "a"), part(0, None, ROME), part(0, "weather", "", "b"), part(0, None, OSLO)],
        [("a", "weather", ROME), ("b", "weather", OSLO)],
    ),
    (
        "calls without arguments that all have the index 0",
        [part(0, "weather"), part(0, "sum")],
        [("call00001", "weather", "{}"), ("call00002", "sum", "{}")],
    ),
    (
        "pieces that repeat id and name",
        [part(0, "weather", '{"city":', "a"), part(0, "weather", ' "Rome"}', "a")],
        [("a", "weather", ROME)],
    ),
    (
        "an empty id",
        [part(0, "weather", ROME, "")],
        [("call00001", "weather", ROME)],
    ),
    (
        "one id for two calls",
        [part(0, "weather", ROME, "a"), part(1, "weather", OSLO, "a")],
        [("a", "weather", ROME), ("call00002", "weather", OSLO)],
    ),
    (
        "arguments as an object",
        [part(0, "weather", {"city": "Zürich"}), part(0, "weather", {"city": "Oslo"})],
        [("call00001", "weather", '{"city":"Zürich"}'), ("call00002", "weather", '{"city":"Oslo"}')],
    ),
    ("no arguments", [part(0, "sum"), part(1, "sum", " ")], [("call00001", "sum", "{}"), ("call00002", "sum", "{}")]),
    ("arguments that are not JSON", [part(0, "sum", "1 + 1")], [("call00001", "sum", "1 + 1")]),
    ("a tool that was not offered", [part(0, "nothing", "{}")], [("call00001", "nothing", "{}")]),
]


@pytest.mark.parametrize(("what", "parts", "calls"), DIALECTS, ids=[row[0] for row in DIALECTS])
def test_calls_are_put_together_as_each_server_sends_them(
    what: str, parts: list[dict[str, Any]], calls: list[tuple[str, str, str]]
) -> None:
    assert read(*parts) == calls


@given(cuts=st.lists(st.integers(0, len(ROME)), max_size=6), repeats=st.booleans())
def test_arguments_may_be_cut_anywhere(cuts: list[int], repeats: bool) -> None:
    places = [0, *sorted(cuts), len(ROME)]
    pieces = [ROME[start:end] for start, end in pairwise(places)]
    again = {"name": "weather", "identity": "a"} if repeats else {}
    assert read(part(0, "weather", "", "a"), *(part(0, arguments=piece, **again) for piece in pieces)) == [
        ("a", "weather", ROME)
    ]


def test_a_number_that_a_server_gave_as_an_id_is_not_given_again() -> None:
    reader = CallReader({"weather"}, taken=["call00002"])
    for _ in range(2):
        reader.feed(part(None, "weather", ROME))
    assert [call.id for call in reader.calls()] == ["call00003", "call00004"]


def test_calls_without_an_id_are_numbered_through_the_conversation() -> None:
    earlier = (FunctionCall(id="call00001", name="sum", arguments="{}"), FunctionCall(id="b", name="sum", arguments=""))
    request = Request(messages=(Message("assistant", "", earlier),), tools=(WEATHER,))
    reader = CallReader.of(request)
    assert reader is not None
    for identity in ("b", "c"):
        reader.feed(part(None, "weather", ROME, identity))
    assert [call.id for call in reader.calls()] == ["call00003", "c"]


@pytest.mark.parametrize(
    "identity", ["x" * 129, "a\nb", "\x1b[2J"], ids=["long", "of two lines", "of control characters"]
)
def test_an_id_that_no_one_would_print_is_replaced(identity: str) -> None:
    assert read(part(0, "weather", ROME, identity)) == [("call00001", "weather", ROME)]


WRONG: list[tuple[str, Any]] = [
    ("a text", "weather"),
    ("an index that is a text", part("0", "weather")),
    ("an index that is true", part(True, "weather")),
    ("an id that is a number", part(0, "weather", identity=1)),
    ("a name that is a list", part(0, ["weather"])),
    ("arguments that are a list", part(0, "weather", [1])),
    ("arguments that are a number", part(0, "weather", 1)),
    ("arguments nested too deep", part(0, "weather", {"city": json.loads("[" * 100 + "]" * 100)})),
    ("a function that is a text", {"function": "weather"}),
    ("arguments of no call", part(0, None, ROME)),
]


@pytest.mark.parametrize(("what", "sent"), WRONG, ids=[row[0] for row in WRONG])
def test_any_other_shape_is_refused(what: str, sent: Any) -> None:
    with pytest.raises((TypeError, ValueError, AttributeError)):
        read(sent)


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-1, 2) | st.sampled_from(["", "a", "weather", ROME, "{", "}", " "]),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from(["city", "name"]), inner, max_size=2),
    max_leaves=4,
)
FUNCTIONS = st.fixed_dictionaries({}, optional={"name": VALUES, "arguments": VALUES})
PARTS = VALUES | st.fixed_dictionaries({}, optional={"index": VALUES, "id": VALUES, "function": FUNCTIONS | VALUES})


@pytest.mark.attack("fuzz")
@given(parts=st.lists(PARTS, max_size=5))
def test_whatever_a_server_sends_is_calls_or_an_error_of_its_protocol(parts: list[Any]) -> None:
    try:
        calls = read(*parts)
    except (TypeError, ValueError, AttributeError, BadReply):
        return
    assert len({identity for identity, *_ in calls}) == len(calls)
    assert all(identity and name and arguments.strip() for identity, name, arguments in calls)


def test_the_longest_arguments_and_the_most_calls_are_taken() -> None:
    assert read(part(0, "weather", ROME, "x" * 128)) == [("x" * 128, "weather", ROME)]
    most = MOST_ARGUMENTS - len("weather")
    assert len(read(part(0, "weather", "x" * most))) == 1
    with pytest.raises(BadReply, match="characters in one reply"):
        read(part(0, "weather", "x" * (most + 1)))
    assert len(read(*(part(at, "weather") for at in range(MOST_CALLS)))) == MOST_CALLS
    with pytest.raises(BadReply, match="more than 64 tools"):
        read(*(part(at, "weather") for at in range(MOST_CALLS + 1)))


# calls that the model writes as text

CALL = '{"name": "weather", "arguments": {"city": "Rome"}}'
WRITTEN: list[tuple[str, str, int]] = [
    ("JSON alone", CALL, 1),
    ("in a fence", f"```json\n{CALL}\n```", 1),
    ("in a tag that the server did not read", f"<tool_call>\n{CALL}\n</tool_call>", 1),
    ("in a fence with other tags", f"```xml\n<response>\n{CALL}\n</response>\n```", 1),
    ("a list", f"[{CALL}, {CALL}]", 2),
    ("one after another", f"{CALL}\n{CALL}", 2),
    ("two fences", f"```json\n{CALL}\n```\n```json\n{CALL}\n```", 2),
    ("`parameters` for arguments", '{"name": "weather", "parameters": {"city": "Rome"}}', 1),
    ("arguments as text", json.dumps({"name": "weather", "arguments": ROME}), 1),
    ("as OpenAI writes it", json.dumps({"type": "function", "function": {"name": "weather", "arguments": ROME}}), 1),
    ("no arguments", '{"name": "weather"}', 1),
    ("a text before it", f"I call it: {CALL}", 0),
    ("a text after it", f"{CALL} That is the weather.", 0),
    ("a tool that was not offered", '{"name": "delete", "arguments": {}}', 0),
    ("one offered tool and another", f'{CALL}{{"name": "delete", "arguments": {{}}}}', 0),
    ("other JSON", '{"city": "Rome"}', 0),
    ("a name in other JSON", '{"name": "weather", "arguments": 3}', 0),
    ("JSON that breaks off", CALL[:-1], 0),
    ("nested beyond reason", "[" * 5_000, 0),
    ("arguments nested too deep", f'{{"name": "weather", "arguments": {{"city": {"[" * 100}{"]" * 100}}}}}', 0),
    ("arguments nested as deep as may be", f'{{"name": "weather", "arguments": {{"city": {"[" * 99}{"]" * 99}}}}}', 1),
    ("a number that JSON has not", '{"name": "weather", "arguments": {"city": NaN}}', 0),
    ("a number without end", '{"name": "weather", "arguments": {"city": 1e999}}', 0),
    ("half a character", '{"name": "weather", "arguments": {"city": "\\ud800"}}', 1),
    ("nothing", "", 0),
    ("a fence around nothing", "```json\n```", 0),
    ("an answer", "It is sunny.", 0),
]


@pytest.mark.parametrize(("what", "text", "number"), WRITTEN, ids=[row[0] for row in WRITTEN])
@pytest.mark.parametrize("step", [1, 7, 1000])
def test_a_text_is_taken_for_calls_only_where_it_consists_of_them(what: str, text: str, number: int, step: int) -> None:
    reader = ReplyReader("m", calls=CallReader.of(Request(tools=(WEATHER,))))
    shown = "".join(reader.add(text[at : at + step], None, None) for at in range(0, len(text), step))
    reader.end("stop")
    shown += reader.end_text()
    reply = reader.reply(tokens_in=1, tokens_out=1, tokens_thought=None, seconds=1.0)
    assert len(reply.calls) == number
    assert reply.text == shown == ("" if number else text)
    if number:
        assert reply.calls[0].name == "weather"


@pytest.mark.parametrize("name", ["arguments", "parameters"])
def test_a_written_call_keeps_its_arguments(name: str) -> None:
    reader = CallReader({"weather"})
    assert reader.shown(json.dumps({"name": "weather", name: {"city": "Rome"}})) == reader.end() == ""
    assert [json.loads(call.arguments) for call in reader.calls()] == [{"city": "Rome"}]


@pytest.mark.parametrize(("text", "kept"), [(CALL, CALL), ("\n\n", ""), ("I look.", "I look.")])
def test_text_beside_a_call_stays_text_unless_it_is_blank(text: str, kept: str) -> None:
    reader = ReplyReader("m", calls=CallReader.of(Request(tools=(WEATHER,))))
    reader.add(text, None, None)
    reader.add_calls([part(0, "weather", ROME, "a")])
    reader.end("tool_calls")
    reader.end_text()
    reply = reader.reply(tokens_in=1, tokens_out=1, tokens_thought=None, seconds=1.0)
    assert (reply.text, len(reply.calls)) == (kept, 1)


def test_an_answer_is_shown_as_it_arrives_though_tools_are_offered() -> None:
    reader = ReplyReader("m", calls=CallReader.of(Request(tools=(WEATHER,))))
    assert [reader.add(piece, None, None) for piece in (" ", "It is", " sunny")] == ["", " It is", " sunny"]


def test_a_call_that_the_model_only_thought_of_is_none() -> None:
    reader = ReplyReader("m", calls=CallReader.of(Request(tools=(WEATHER,))))
    shown = [reader.add(piece, None, None) for piece in (f"{CALL}?\n", "</think>", "It is sunny.")]
    reader.end("stop")
    shown.append(reader.end_text())
    reply = reader.reply(tokens_in=1, tokens_out=9, tokens_thought=None, seconds=1.0)
    assert (reply.text, reply.calls, "".join(shown)) == ("It is sunny.", (), "It is sunny.")
    assert reply.thoughts == f"{CALL}?"


def test_a_reply_that_ends_for_a_call_has_one() -> None:
    reader = ReplyReader("m", calls=CallReader.of(Request(tools=(WEATHER,))))
    reader.end("tool_calls")
    with pytest.raises(BadReply, match="no call came"):
        reader.reply(tokens_in=1, tokens_out=1, tokens_thought=None, seconds=1.0)


# turns as they are sent

BROKEN = FunctionCall(id="a", name="sum", arguments="1 + 1")


def test_arguments_that_are_not_an_object_are_sent_as_one() -> None:
    turn = Message("assistant", "", (BROKEN,))
    assert arguments_object(BROKEN) == {"arguments": "1 + 1"}
    assert openai_turn(turn)["tool_calls"][0]["function"]["arguments"] == '{"arguments":"1 + 1"}'
    assert ollama_turn(turn)["tool_calls"][0]["function"]["arguments"] == {"arguments": "1 + 1"}


@pytest.mark.parametrize(
    "text", ['{"a": NaN}', '{"a": 1e999}', "[1]", '{"a": 1, "a": 2}', "", f'{{"a": {"[" * 100}{"]" * 100}}}']
)
def test_arguments_that_are_not_strict_json_are_sent_as_text(text: str) -> None:
    assert arguments_object(FunctionCall(id="a", name="sum", arguments=text)) == {"arguments": text}


def test_arguments_are_sent_back_to_openais_protocol_as_the_model_wrote_them() -> None:
    call = FunctionCall(id="a", name="weather", arguments='{ "city":"Zürich" }')
    (sent,) = openai_turn(Message("assistant", "", (call,)))["tool_calls"]
    assert sent == {"id": "a", "type": "function", "function": {"name": "weather", "arguments": call.arguments}}


def test_the_documentation_names_the_bounds() -> None:
    page = (Path(__file__).parents[2] / "docs" / "models.md").read_text("utf-8")
    assert f"at most {MOST_CALLS} calls,\nand {MOST_ARGUMENTS:,} characters" in page
