"""JSON Schemas: what is refused when a schema is read, and which values fit one."""

from __future__ import annotations

import time
from typing import Any

import pytest

from promptkit.answers.base import Unparsed
from promptkit.answers.constraints.forms import reply_form
from promptkit.answers.constraints.json_schema import JsonSchema
from promptkit.answers.json_value import Json
from promptkit.errors import InputError
from promptkit.runtimes.base import Capability, Request

CODE = {"type": "object", "properties": {"code": {"type": "string", "pattern": "^[A-Z]{3}-[0-9]{2}$"}}}
CARD = {"type": "object", "properties": {"kind": {"const": "card"}, "number": {"type": "string"}}, "required": ["kind"]}
BANK = {"type": "object", "properties": {"kind": {"const": "bank"}, "iban": {"type": "string"}}, "required": ["kind"]}

FITTING = [
    ({"pattern": "^[A-Z]{3}-[0-9]{2}$"}, "ABC-12"),
    ({"pattern": "[0-9]{2}"}, "room 12 a"),
    ({"pattern": "ab$"}, "cab"),
    ({"pattern": "^(cat|dog)$"}, "dog"),
    ({"pattern": "^\\$$"}, "$"),
    ({"format": "date"}, "2024-02-29"),
    ({"format": "time"}, "23:59:60.5+01:00"),
    ({"format": "date-time"}, "2024-02-29T00:00:00Z"),
    ({"format": "uuid"}, "123e4567-e89b-12d3-a456-426614174000"),
    ({"format": "ipv4"}, "192.0.2.1"),
    ({"format": "ipv6"}, "2001:db8::1"),
    ({"format": "email"}, "a.b@example.com"),
    ({"format": "hostname"}, "a-b.example"),
    ({"type": "string", "format": "phone"}, "anything"),
    ({"allOf": [{"type": "integer", "minimum": 3}, {"maximum": 5}]}, 4),
    ({"allOf": [{"enum": ["a", "b", 3]}, {"type": "string"}]}, "b"),
    (
        {"allOf": [{"properties": {"a": {"type": "string"}}}, {"properties": {"b": {"type": "null"}}}]},
        {"a": "", "b": None},
    ),
    ({"oneOf": [{"type": "string"}, {"type": "null"}]}, None),
    ({"oneOf": [CARD, BANK]}, {"kind": "bank", "iban": "x"}),
]


@pytest.mark.parametrize(("schema", "value"), FITTING)
def test_a_value_that_fits_is_taken(schema: dict[str, Any], value: Any) -> None:
    assert JsonSchema(schema).fault(value) is None


FAULTS = [
    ({"pattern": "^[A-Z]{3}$"}, "ABCD", "is 'ABCD', which does not match the pattern ^[A-Z]{3}$"),
    ({"pattern": "^a$"}, "a\n", "does not match"),
    ({"pattern": "x", "maxLength": 2}, "xxx", "has 3 characters"),
    ({"format": "date"}, "2023-02-29", "is '2023-02-29', not a date such as 2026-12-31"),
    ({"format": "date"}, "20240229", "not a date"),
    ({"format": "date"}, 7, "must be of the type string"),
    ({"format": "time"}, "24:00:00Z", "not a time"),
    ({"format": "date-time"}, "2024-02-29 00:00:00Z", "not a date and time"),
    ({"format": "uuid"}, "123e4567", "not a UUID"),
    ({"format": "ipv4"}, "192.0.2.256", "not an IPv4 address"),
    ({"format": "ipv6"}, "2001:db8", "not an IPv6 address"),
    ({"format": "email"}, "example.com", "not an e-mail address"),
    ({"format": "hostname"}, "-a", "not a host name"),
    ({"allOf": [{"type": "integer", "minimum": 3}, {"maximum": 5}]}, 6, "from 3 to 5 is wanted"),
    ({"allOf": [{"properties": {"a": {}}}, {"required": ["a"]}]}, {}, "lacks 'a'"),
    ({"allOf": [{"properties": {"a": {}}}, {"properties": {"b": {}}}]}, {"c": 1}, "has the key 'c'"),
    ({"oneOf": [CARD, BANK]}, {"kind": "cash"}, "fits none of the allowed forms"),
]


@pytest.mark.parametrize(("schema", "value", "text"), FAULTS)
def test_a_value_that_does_not_fit_is_refused(schema: dict[str, Any], value: Any, text: str) -> None:
    assert text in (JsonSchema(schema).fault(value) or "")


REFUSED = [
    ({"pattern": "(?=a)a"}, "json: `pattern` has `(?=a)a`, which cannot be enforced"),
    ({"pattern": "(a)\\1"}, "cannot be enforced"),
    ({"pattern": "a+?"}, "cannot be enforced"),
    ({"pattern": "\\bword"}, "cannot be enforced"),
    ({"pattern": "[[:alpha:]]"}, "cannot be enforced"),
    ({"pattern": "[a&&b]"}, "cannot be enforced"),
    ({"pattern": "(?i)a"}, "cannot be enforced"),
    ({"pattern": "^a|b$"}, "put them in parentheses"),
    ({"pattern": "("}, "is not usable"),
    ({"pattern": 7}, "is not usable"),
    ({"format": []}, "`format` must be a text"),
    ({"properties": {}, "required": [[]]}, "`required` must be a list of names"),
    ({"pattern": "a", "properties": {"x": {"minimum": 1e300}}}, "beyond 2 to the power of 53"),
    ({"minimum": 3, "maximum": 2}, "nothing lies between `minimum` 3 and `maximum` 2"),
    ({"allOf": [{"type": "string"}, {"type": "integer"}]}, "no type fits all of `allOf`"),
    ({"allOf": [{"enum": [1]}, {"enum": [2]}]}, "no value fits all of `allOf`"),
    ({"allOf": [{"pattern": "a"}, {"pattern": "b"}]}, "`allOf` cannot hold two values of `pattern`"),
    ({"allOf": [{"anyOf": [{}]}, {"type": "string"}]}, "`allOf` cannot hold alternatives"),
    ({"allOf": [{"minimum": 4}, {"maximum": 3}]}, "nothing lies between"),
    ({"allOf": [{"properties": {"a": {}}}, {"required": ["b"]}]}, "`required` names `b`, which is no property"),
    ({"oneOf": [{"type": "number"}, {"type": "integer"}]}, "a value may fit both 0 and 1 of `oneOf`"),
    ({"oneOf": [{"properties": {"a": {}}}, {"properties": {"b": {}}}]}, "a value may fit both"),
    ({"oneOf": [{"type": "string"}], "type": "string"}, "`oneOf` stands alone"),
    ({"$defs": {"a": {"allOf": [{"$ref": "#/$defs/a"}]}}, "$ref": "#/$defs/a"}, "refers to itself"),
    (
        {
            "$defs": {"a": {"properties": {"x": {"allOf": [{"$ref": "#/$defs/a"}, {"minLength": 1}]}}}},
            "$ref": "#/$defs/a",
        },
        "refers to itself in `allOf`",
    ),
]


@pytest.mark.parametrize(("schema", "text"), REFUSED)
def test_a_schema_that_nothing_would_enforce_is_refused(schema: dict[str, Any], text: str) -> None:
    with pytest.raises(InputError) as caught:
        JsonSchema(schema)
    assert text in str(caught.value)


def test_one_of_is_told_apart_by_ranges_by_closed_objects_and_by_enums() -> None:
    low, high = {"type": "integer", "maximum": 3}, {"type": "number", "minimum": 3.5}
    closed = {"properties": {"b": {}}, "required": ["b"]}
    for options in (
        [low, high],
        [{"properties": {"a": {}}, "required": ["a"]}, closed],
        [{"enum": ["x"]}, {"enum": [1]}],
    ):
        assert JsonSchema({"oneOf": options}).root == {"anyOf": options}


def test_all_of_takes_recursive_definitions_where_they_need_no_merging() -> None:
    node = {"properties": {"next": {"$ref": "#/$defs/node"}, "v": {"type": "integer"}}}
    schema = JsonSchema({"$defs": {"node": node}, "allOf": [{"$ref": "#/$defs/node"}, {"required": ["v"]}]})
    assert schema.fault({"v": 1, "next": {}}) is None
    other = {"properties": {"next": {"$ref": "#/$defs/other"}}}
    with pytest.raises(InputError, match="merges definitions that refer to themselves"):
        JsonSchema(
            {"$defs": {"node": node, "other": other}, "allOf": [{"$ref": "#/$defs/node"}, {"$ref": "#/$defs/other"}]}
        )


def test_one_of_with_very_many_options_is_refused_in_time() -> None:
    started = time.process_time()
    with pytest.raises(InputError, match="of `oneOf`"):
        JsonSchema({"oneOf": [{"const": number} for number in range(2000)]})
    assert time.process_time() - started < 5


def test_all_of_takes_a_definition_and_adds_to_it() -> None:
    base = {"type": "object", "properties": {"id": {"type": "integer"}}, "required": ["id"]}
    schema = JsonSchema(
        {"$defs": {"base": base}, "allOf": [{"$ref": "#/$defs/base"}, {"properties": {"name": {"minLength": 1}}}]}
    )
    assert list(schema.closed()["properties"]) == ["id", "name"]
    assert schema.fault({"id": 1, "name": "x"}) is None
    assert "lacks 'id'" in (schema.fault({"name": "x"}) or "")


def test_a_pattern_that_never_comes_to_an_end_is_a_fault_of_the_value(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("promptkit.workers.patterns.MATCH_SECONDS", 0.2)
    fault = JsonSchema({"pattern": "^(a|a)*$"}).fault("a" * 40 + "b")
    assert "failed: the search for" in (fault or "") and "took longer" in (fault or "")


ENFORCED: list[tuple[dict[str, Any], set[Capability], str]] = [
    ({"type": "integer"}, {"guidance", "grammar", "schema"}, "guidance"),
    ({"type": "integer"}, {"grammar", "schema"}, "grammar"),
    ({"type": "integer", "minimum": 2**53}, {"guidance", "grammar", "schema"}, "guidance"),
    ({"type": "integer", "minimum": 2**53 + 1}, {"guidance", "grammar", "schema"}, "grammar"),
    ({"type": "number", "minimum": 0, "maximum": 1e-9}, {"guidance", "grammar", "schema"}, "guidance"),
    ({"type": "number", "minimum": 0, "maximum": 9e-10}, {"guidance", "grammar", "schema"}, "grammar"),
    (CODE, {"guidance", "grammar"}, "guidance"),
    (CODE, {"grammar", "schema"}, "schema"),
    (CODE, {"grammar"}, "the model cannot enforce a schema"),
    ({"type": "integer"}, {"logprobs"}, "the model cannot enforce a grammar or a schema"),
]


@pytest.mark.parametrize(("schema", "capabilities", "form"), ENFORCED)
def test_a_schema_is_sent_in_a_form_that_enforces_all_of_it(
    schema: dict[str, Any], capabilities: set[Capability], form: str
) -> None:
    reply = reply_form(Json(schema), capabilities)
    request, notice = reply.constrain(Request()), reply.notice
    sent = "schema" if request.schema else "grammar" if request.grammar else notice or ""
    if (request.grammar or "").startswith("%llguidance"):
        sent = "guidance"
    assert sent.startswith(form) and (notice is None or not (request.grammar or request.schema))


def test_guidance_writes_one_line_and_leaves_annotations_out() -> None:
    grammar = Json({"title": "T", "properties": {"at": {"format": "date"}, "to": {"format": "phone"}}}).guidance(" ")
    assert grammar == (
        '%llguidance {}\nstart: " " %json {"type": ["object"], "properties": {"at": {"type": ["string"], '
        '"format": "date"}, "to": {}}, "additionalProperties": false, "x-guidance": {"whitespace_flexible": false, '
        '"item_separator": ", ", "key_separator": ": "}}\n'
    )


def test_a_reply_is_checked_against_pattern_and_format() -> None:
    assert Json(CODE).parse('{"code": "ABC-12"}') == {"code": "ABC-12"}
    with pytest.raises(Unparsed, match="does not match the pattern"):
        Json(CODE).parse('{"code": "abc"}')
