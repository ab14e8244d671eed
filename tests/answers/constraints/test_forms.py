"""The forms in which a model is held to an answer: which is chosen, and that each gives the same values."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from promptkit.answers.base import AnswerType, Unparsed
from promptkit.answers.build import build_answer_type
from promptkit.answers.constraints.forms import (
    CHOICE,
    FORMS,
    GRAMMAR,
    JSON_OBJECT,
    OBJECT_SCHEMA,
    REGEX,
    SCHEMA,
    UNCONSTRAINED,
    Form,
    reply_form,
)
from promptkit.answers.json_value import Json, json_text
from promptkit.answers.labels import Label
from promptkit.answers.lists import ListOf
from promptkit.answers.number import Number
from promptkit.answers.text import Text
from promptkit.runtimes.base import Capability, Request
from tests.answers.kinds import IDS, KINDS

FEWER = settings(max_examples=20, deadline=None, suppress_health_check=list(HealthCheck))
TYPES = [build_answer_type(spec) for spec, _ in KINDS]
LAWS = [
    pytest.param(answer, values, form, id=f"{name}-{form.name.replace(' ', '_')}")
    for answer, (_, values), name in zip(TYPES, KINDS, IDS, strict=True)
    for form in FORMS
    if form.capability in ("choice", "regex", "schema", "object_schema", "json_object")
    and reply_form(answer, {form.capability}).form is form
]


def can(form: Form) -> set[Capability]:
    assert form.capability is not None
    return {form.capability}


@pytest.mark.parametrize(("answer", "values", "form"), LAWS)
def test_a_value_is_read_back_from_each_form(answer: AnswerType, values: st.SearchStrategy[Any], form: Form) -> None:
    reply = reply_form(answer, can(form))
    request = reply.constrain(Request())
    written = 0

    @FEWER
    @given(values)
    def law(value: Any) -> None:
        nonlocal written
        try:
            text = reply.write(value)
        except ValueError:
            return
        written += 1
        assert reply.read(text) == value
        assert reply.read(f"\n {text}\n") == value
        assert request.regex is None or re.fullmatch(request.regex, text)
        assert not request.choice or text in request.choice

    law()
    assert written


@pytest.mark.parametrize(
    ("answer", "form"),
    [pytest.param(param.values[0], param.values[2], id=param.id) for param in LAWS if "JSON_Schema" in str(param.id)],
)
def test_every_instance_of_the_schema_is_read(answer: AnswerType, form: Form) -> None:
    reply = reply_form(answer, can(form))
    schema = reply.constrain(Request()).schema
    assert schema is not None

    @FEWER
    @given(instances(schema, schema))
    def law(instance: Any) -> None:
        value = reply.read(json_text(instance))
        hash(answer.vote_key(value))

    law()


def instances(schema: Mapping[str, Any], root: Mapping[str, Any]) -> st.SearchStrategy[Any]:
    """Draw values that fit a schema of the kind that answer types make."""
    if "$ref" in schema:
        name = schema["$ref"].removeprefix("#/$defs/")
        return st.deferred(lambda: instances(root["$defs"][name], root))
    if "anyOf" in schema:
        return st.one_of([instances(option, root) for option in schema["anyOf"]])
    if "enum" in schema:
        return st.sampled_from(schema["enum"])
    kinds = schema.get("type", ["string", "number", "boolean", "null"])
    if isinstance(kinds, list):
        return st.one_of([instances({**schema, "type": kind}, root) for kind in kinds])
    low, high = schema.get("minimum"), schema.get("maximum")
    match kinds:
        case "string":
            visible = st.characters(exclude_categories=["Cs", "Cc", "Zs", "Zl", "Zp"])
            return st.text(visible, min_size=schema.get("minLength", 0) or 1, max_size=schema.get("maxLength"))
        case "integer":
            return st.integers(low, high)
        case "number":
            return st.floats(-1e300 if low is None else low, 1e300 if high is None else high) | st.just(low or 0)
        case "boolean":
            return st.booleans()
        case "null":
            return st.none()
        case "array":
            most = min(schema.get("maxItems", 3), 3)
            return st.lists(instances(schema["items"], root), min_size=schema.get("minItems", 0), max_size=most)
    properties = schema.get("properties", {})
    required = {name: instances(inner, root) for name, inner in properties.items() if name in schema["required"]}
    return st.fixed_dictionaries(required) if "properties" in schema else st.just({})


LABEL = Label(["positive", "negative"])
RECORD = Json({"type": "object", "properties": {"a": {"type": "integer"}, "b": {"type": "string"}}, "required": ["a"]})
ALL: set[Capability] = {form.capability for form in FORMS if form.capability}


@pytest.mark.parametrize(
    ("answer", "capabilities", "form", "written"),
    [
        (LABEL, ALL, CHOICE, "positive"),
        (LABEL, {"grammar", "schema"}, GRAMMAR, "positive"),
        (LABEL, {"regex", "schema"}, REGEX, "positive"),
        (LABEL, {"schema"}, SCHEMA, '{"answer": "positive"}'),
        (LABEL, {"object_schema"}, OBJECT_SCHEMA, '{"answer": "positive"}'),
        (LABEL, {"json_object"}, JSON_OBJECT, '{"answer": "positive"}'),
        (LABEL, set(), UNCONSTRAINED, "positive"),
    ],
)
def test_the_strongest_form_that_the_model_enforces_is_taken(
    answer: AnswerType, capabilities: set[Capability], form: Form, written: str
) -> None:
    reply = reply_form(answer, capabilities)
    assert (reply.form, reply.write("positive")) == (form, written)
    assert (reply.notice is None) == form.holds


@pytest.mark.parametrize(
    ("answer", "value", "schema_text", "object_text"),
    [
        (Number(), 12, "12", '{"answer": 12}'),
        (build_answer_type("boolean"), True, "true", '{"answer": true}'),
        (build_answer_type({"choice": ["Rome", "Oslo"]}), "Oslo", '{"answer": "B"}', '{"answer": "B"}'),
        (build_answer_type({"labels": ["a", "b"]}), ["b"], '{"answer": ["b"]}', '{"answer": ["b"]}'),
        (ListOf(), ["one thing"], '{"answer": ["one thing"]}', '{"answer": ["one thing"]}'),
        (RECORD, {"a": 1}, '{"a": 1}', '{"a": 1}'),
        (Json({"type": "integer"}), 3, "3", '{"answer": 3}'),
    ],
    ids=lambda value: value.name if isinstance(value, AnswerType) else None,
)
def test_a_value_has_one_text_for_each_root(answer: AnswerType, value: Any, schema_text: str, object_text: str) -> None:
    assert reply_form(answer, {"schema"}).write(value) == schema_text
    assert reply_form(answer, {"object_schema"}).write(value) == object_text


@pytest.mark.parametrize("capability", ["schema", "object_schema"])
def test_an_object_root_is_closed_and_requires_its_key(capability: Capability) -> None:
    schema = reply_form(LABEL, {capability}).constrain(Request()).schema
    assert schema == {
        "type": "object",
        "properties": {"answer": {"type": "string", "enum": ["positive", "negative"]}},
        "required": ["answer"],
        "additionalProperties": False,
    }


def test_an_optional_key_is_required_as_null_and_left_out_of_the_value() -> None:
    reply = reply_form(RECORD, {"object_schema"})
    schema = reply.constrain(Request()).schema
    assert schema is not None and schema["required"] == ["a", "b"]
    assert schema["properties"]["b"] == {"anyOf": [{"type": "string"}, {"type": "null"}]}
    assert reply.read('{"a": 1, "b": null}') == {"a": 1}
    assert reply.read('{"a": 1, "b": "x"}') == {"a": 1, "b": "x"}


@pytest.mark.parametrize(
    "schema",
    [{}, {"type": "object"}, {"type": "object", "additionalProperties": {"type": "string"}}],
    ids=["anything", "any object", "any keys"],
)
def test_an_open_object_has_no_strict_schema(schema: dict[str, Any]) -> None:
    assert reply_form(Json(schema), {"object_schema", "json_object"}).form is JSON_OBJECT


def test_free_text_is_never_constrained_and_needs_no_notice() -> None:
    reply = reply_form(Text(), ALL)
    assert (reply.form, reply.notice, reply.constrain(Request())) == (UNCONSTRAINED, None, Request())


def test_only_plain_forms_have_a_lead() -> None:
    assert reply_form(LABEL, {"choice"}).constrain(Request(), " ").choice == (" positive", " negative")
    assert reply_form(Number(), {"regex"}).constrain(Request(), " ").regex.startswith("(?:(?:\\ )")  # type: ignore[union-attr]
    held = reply_form(LABEL, {"schema"})
    assert held.constrain(Request(), " ") == held.constrain(Request())


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ('{"answer": "negative"}', "negative"),
        ('```json\n{"answer": "negative"}\n```', "negative"),
        ('{"sentiment": "negative"}', "negative"),
        ('"negative"', "negative"),
        ("negative", "negative"),
        ("It is negative.", "negative"),
    ],
)
def test_a_server_that_does_not_keep_to_the_object_is_read_too(text: str, value: str) -> None:
    assert reply_form(LABEL, {"object_schema"}).read(text) == value


@pytest.mark.parametrize("text", ['{"answer": 3}', '{"answer": "neu', '{"a": "positive", "b": 1}', "[]", "3"])
def test_json_without_an_answer_is_unparsed(text: str) -> None:
    with pytest.raises(Unparsed):
        reply_form(LABEL, {"object_schema"}).read(text)


def test_the_text_of_a_type_that_writes_json_is_the_json_of_its_value() -> None:
    for answer, value in ((Number(), -0.5), (build_answer_type("boolean"), False), (RECORD, {"a": 1})):
        assert answer.writes_json
        assert json.loads(answer.write(value)) == answer.json_value(value) == value


def test_a_type_without_a_hash_has_forms_too() -> None:
    class Unhashable(Label):
        __hash__ = None  # type: ignore[assignment]

    assert reply_form(Unhashable(["a", "b"]), {"schema"}).form is SCHEMA
