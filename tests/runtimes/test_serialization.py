"""Requests and replies as JSON, and the keys under which replies are kept."""

from __future__ import annotations

import json
from dataclasses import fields, replace
from math import inf
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from promptkit.runtimes.base import (
    Adapter,
    Alternative,
    FunctionCall,
    HiddenState,
    Message,
    Model,
    Reply,
    Request,
    Token,
    ToolDefinition,
)
from promptkit.runtimes.client import Client
from promptkit.runtimes.reply_reader import MOST_TOKENS
from promptkit.runtimes.scripted import Scripted
from promptkit.runtimes.serialization import (
    model_from,
    model_record,
    reply_from,
    reply_record,
    request_from,
    request_key,
    request_record,
    to_json,
    vector_text,
)

texts = st.text(alphabet=st.characters(), max_size=20)
numbers = st.floats(0, 2, allow_nan=False)
schemas = st.dictionaries(
    texts, st.recursive(texts | st.integers() | st.booleans() | st.none(), st.lists, max_leaves=5)
)
requests = st.builds(
    Request,
    messages=st.lists(st.builds(Message, st.sampled_from(["system", "user", "assistant"]), texts)).map(tuple),
    prompt=st.none() | texts,
    begun=texts,
    max_tokens=st.integers(1, 4096),
    temperature=numbers,
    top_p=st.none() | numbers,
    seed=st.none() | st.integers(0),
    stop=st.lists(texts, max_size=3).map(tuple),
    grammar=st.none() | texts,
    choice=st.lists(texts, max_size=3).map(tuple),
    regex=st.none() | texts,
    schema=st.none() | schemas,
    json_object=st.booleans(),
    alternatives=st.integers(0, 20),
    think=st.none() | st.booleans() | st.sampled_from(["low", "high"]),
    context=st.none() | st.integers(1),
    sample=texts,
)
counts = st.integers(0, MOST_TOKENS)
alternatives = st.builds(Alternative, st.binary(max_size=4), st.floats(max_value=0, allow_nan=False))
replies = st.builds(
    Reply,
    text=texts,
    finish=st.sampled_from(["stop", "length"]),
    thoughts=texts,
    tokens_in=st.none() | counts,
    tokens_out=st.none() | counts,
    tokens_thought=counts,
    first_token=st.none() | st.floats(0, 1000),
    tokens_reused=st.none() | counts,
    prompt_seconds=st.none() | st.floats(0, 1000),
    output_seconds=st.none() | st.floats(0, 1000),
    tokens=st.lists(
        st.builds(
            Token,
            st.binary(max_size=4),
            st.floats(max_value=0, allow_nan=False),
            st.lists(alternatives, max_size=3).map(tuple),
        ),
        max_size=3,
    ).map(tuple),
    seconds=st.floats(0, 1e6, allow_nan=False),
)


@given(requests)
def test_a_request_comes_back_from_its_record_so_no_two_share_one(request: Request) -> None:
    record = json.loads(to_json(request_record(request)))
    assert request_from(record) == request


@given(requests, requests)
def test_no_two_different_requests_share_a_key(one: Request, other: Request) -> None:
    assert one == other or request_key(one, "d") != request_key(other, "d")


KNOWN_KEY = "755b0bf32afa00dcae6f32e5f367aa93951ae927744a2f739b9433bf30c24559"

CHANGED: dict[str, Any] = {
    "messages": (Message("user", "other"),),
    "prompt": "raw",
    "begun": "Answer:",
    "max_tokens": 513,
    "temperature": 0.1,
    "top_p": 0.9,
    "seed": 0,
    "stop": ("\n",),
    "grammar": 'root ::= "a"',
    "choice": ("a", "b"),
    "regex": "[ab]",
    "schema": {},
    "json_object": True,
    "alternatives": 1,
    "think": False,
    "thought_tokens": 9,
    "context": 4096,
    "reuse_prefix": False,
    "tools": (ToolDefinition(name="t", description="", parameters={"type": "object"}),),
    "tool_choice": "required",
    "adapter": Adapter(Path("a.lora.gguf"), "1a2b"),
    "sample": "0/1",
    "hidden_state": HiddenState(3, "last"),
}


@pytest.mark.parametrize("field", [field.name for field in fields(Request)])
def test_each_field_of_a_request_changes_its_key(field: str) -> None:
    request = Request(messages=(Message("user", "one"),))
    assert request_key(replace(request, **{field: CHANGED[field]}), "d") != request_key(request, "d")


@pytest.mark.parametrize("state", [HiddenState(), HiddenState(3, "last")])
def test_a_request_for_a_vector_and_its_reply_are_read_as_they_were_written(state: HiddenState) -> None:
    request = Request(messages=(Message("user", "one"),), begun="Mood:", think=False, hidden_state=state)
    assert request_from(json.loads(to_json(request_record(request)))) == request
    reply = Reply(text="", vector=(0.25, -1.5, 3.0), tokens_in=4, tokens_out=0)
    assert reply_from(json.loads(to_json(reply_record(reply)))) == reply


@pytest.mark.parametrize("text", ["AAAA", "no base64!", 7, vector_text([1.0]) + "AA", vector_text([inf])])
def test_a_vector_that_is_none_is_refused(text: Any) -> None:
    with pytest.raises(ValueError):
        reply_from({"text": "", "vector": text})


def test_another_model_has_other_keys() -> None:
    assert request_key(Request(prompt="a"), "one") != request_key(Request(prompt="a"), "other")


def test_the_order_of_a_schemas_properties_is_part_of_the_key() -> None:
    one: dict[str, Any] = {"a": {}, "b": {}}
    other: dict[str, Any] = {"b": {}, "a": {}}
    assert request_key(Request(schema=one), "d") != request_key(Request(schema=other), "d")


def test_numbers_that_are_equal_have_one_key() -> None:
    assert request_key(Request(temperature=1), "d") == request_key(Request(temperature=1.0), "d")


def test_what_a_request_leaves_at_its_default_is_not_in_its_record() -> None:
    record = request_record(Request(messages=(Message("user", "hello"),)))
    assert record == {"messages": [{"role": "user", "content": "hello"}]}


def test_the_key_of_a_known_request_stays() -> None:
    """A change here makes every kept reply useless: raise KEY_VERSION on purpose, not by accident."""
    request = Request(messages=(Message("user", "héllo"),), begun="A:", stop=("\n",), temperature=0.5)
    assert request_key(request, "digest") == KNOWN_KEY


@given(replies)
def test_a_reply_comes_back_from_its_record(reply: Reply) -> None:
    assert reply_from(json.loads(json.dumps(reply_record(reply)))) == reply


def test_a_token_that_cannot_occur_and_half_a_character_come_back() -> None:
    reply = Reply(text="", tokens=(Token(b"\xf0\x9f", -inf, (Alternative(b"a", -inf),)),))
    record = reply_record(reply)
    assert json.loads(to_json(record))["tokens"] == [[[240, 159], None, [["a", None]]]]
    assert reply_from(record) == reply


def test_a_kept_reply_says_so_when_it_is_read_and_not_before() -> None:
    record = reply_record(Reply(text="a", cached=True))
    assert "cached" not in record
    assert reply_from(record, cached=True).cached


def test_a_model_comes_back_from_its_record() -> None:
    model = Model(
        reference="ollama/a", digest="d", capabilities=frozenset({"chat", "stop"}), context=8, notes=("slow",)
    )
    assert model_from(json.loads(to_json(model_record(model)))) == model


def test_a_number_that_json_has_not_is_refused() -> None:
    with pytest.raises(ValueError, match="JSON"):
        request_key(Request(temperature=float("nan")), "d")


NO_REPLIES: list[dict[str, Any]] = [
    {},
    {"text": None},
    {"text": 5},
    {"text": "", "thoughts": None},
    {"text": "", "finish": "content_filter"},
    {"text": "", "finish": ["stop"]},
    {"text": "", "tokens_in": -1},
    {"text": "", "tokens_in": 1.0},
    {"text": "", "tokens_out": True},
    {"text": "", "tokens_out": MOST_TOKENS + 1},
    {"text": "", "tokens_out": 10**400},
    {"text": "", "tokens_thought": "3"},
    {"text": "", "seconds": -0.1},
    {"text": "", "seconds": inf},
    {"text": "", "seconds": 1e21},
    {"text": "", "seconds": None},
    {"text": "", "tokens": [["a", inf, []]]},
    {"text": "", "tokens": [["a", True, []]]},
    {"text": "", "tokens": [["a", -1.0, [["b", "x"]]]]},
    {"text": "", "tokens": [["a", -1.0]]},
    {"text": "", "tokens": [[[300], -1.0, []]]},
    {"text": "", "tokens": [[10**10, -1.0, []]]},
    {"text": "", "tokens": [["a", 0.5, []]]},
    {"text": "", "more": 1},
]
NO_MODELS: list[dict[str, Any]] = [
    {"reference": 1},
    {"digest": None},
    {"capabilities": [1]},
    {"capabilities": None},
    {"notes": [5]},
    {"context": "4096"},
    {"context": -1},
    {"size": "big"},
    {"size": -1},
    {"parallel": 0},
    {"parallel": "4"},
    {"parallel": None},
    {"more": 1},
]


@pytest.mark.attack("store")
@pytest.mark.parametrize("change", NO_MODELS, ids=str)
def test_a_description_that_no_model_gave_is_refused(change: dict[str, Any]) -> None:
    whole = {"reference": "a", "digest": "b", "capabilities": ["chat"]}
    assert model_from(whole).parallel == 1
    with pytest.raises((KeyError, TypeError, ValueError)):
        model_from({**whole, **change})


@pytest.mark.attack("store")
@pytest.mark.parametrize("record", NO_REPLIES, ids=str)
def test_a_record_of_a_reply_that_nobody_gave_is_refused(record: dict[str, Any]) -> None:
    with pytest.raises((KeyError, TypeError, ValueError)):
        reply_from(record)


@pytest.mark.attack("store")
@pytest.mark.parametrize("record", NO_REPLIES, ids=str)
async def test_a_kept_reply_that_nobody_gave_is_asked_for_again(record: dict[str, Any]) -> None:
    class Kept:
        def cached(self, key: str) -> str | None:
            return json.dumps(record)

        async def keep(self, key: str, value: str) -> None:
            """Keep nothing."""

    client = Client(Scripted(["anew"]), store=Kept())

    assert (await client.ask(Request(prompt="hello"))).text == "anew"


def test_calls_of_tools_and_their_results_are_kept_in_records() -> None:
    call = FunctionCall(id="c1", name="add", arguments='{"a": 1}')
    tool = ToolDefinition(name="add", description="Add numbers.", parameters={"type": "object"})
    turns = (Message("assistant", "", (call,)), Message("tool", "3", call_id="c1", tool="add"))
    request, reply = Request(messages=turns, tools=(tool,)), Reply(text="", calls=(call,))
    assert request_from(request_record(request)) == request
    assert reply_from(reply_record(reply)) == reply
