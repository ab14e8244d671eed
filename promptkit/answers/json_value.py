"""A JSON value by schema: on one line, keys in the schema's order, read strictly and within bounds."""

from __future__ import annotations

import json
from collections.abc import Hashable, Mapping
from contextlib import suppress
from dataclasses import replace
from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal
from typing import Any

from promptkit.answers.base import AnswerType, Reading, Refusal, Unparsed, after_marker, hashable, quoted, shown
from promptkit.answers.constraints.gbnf import Grammar, literal
from promptkit.answers.constraints.json_schema import JsonSchema
from promptkit.answers.constraints.number_grammar import range_expression
from promptkit.answers.constraints.schema_keywords import additional_schema, allowed_types
from promptkit.answers.number import number_text
from promptkit.answers.reader.code_reader import MOST_DECLINING
from promptkit.answers.reader.json_reader import check_bounds, json_readings, json_string
from promptkit.answers.reader.refusals import declines
from promptkit.errors import InputError

_ONE_LINE = {"whitespace_flexible": False, "item_separator": ", ", "key_separator": ": "}


class Json(AnswerType):
    """A value that fits a schema (see `json_schema`), written on one line with keys in the schema's order."""

    name = "json"
    writes_json = True

    def __init__(self, schema: Any = None) -> None:
        given = {} if schema is None else schema
        if not isinstance(given, Mapping):
            raise InputError(f"json must be a JSON Schema, not {quoted(str(schema))}")
        self.given = given
        self._schema = JsonSchema(given)

    def format(self, value: Any) -> str:
        try:
            return json_text(self._schema.ordered(value))
        except RecursionError:
            raise ValueError("the value is nested too deep") from None

    def read(self, text: str) -> Any:
        return self._readings(text)[0].value

    def conclude(self, text: str, cue: str, *, thinks: bool = False, cut: bool = False, question: str = "") -> Reading:
        rest, marked = after_marker(text, cue)
        if marked:
            with suppress(Unparsed):
                return replace(self._readings(rest)[0], rule="cue")
        try:
            return self._readings(text)[-1 if thinks else 0]
        except Unparsed as unparsed:
            if declines(text[:MOST_DECLINING]):
                raise Refusal(f"the reply declines to answer: {quoted(text)}") from unparsed
            raise

    def _readings(self, text: str) -> list[Reading]:
        """Return the values in a reply that fit the schema, at least one. Raises Unparsed."""
        fitting: list[Reading] = []
        fault = ""
        for reading in json_readings(text):
            misfit = self._schema.fault(reading.value)
            fitting += [] if misfit else [reading]
            fault = fault or misfit or ""
        if not fitting:
            raise Unparsed(fault or f"{quoted(text)} holds no JSON value")
        return fitting

    def expression(self, grammar: Grammar) -> str | None:
        return None if self._schema.needs_guidance else schema_expression(self._schema, grammar)

    def guidance(self, lead: str = "") -> str | None:
        if not self._schema.is_guidable:
            return None
        schema = json.dumps({**self._schema.guided(), "x-guidance": _ONE_LINE}, ensure_ascii=False)
        return f"%llguidance {{}}\nstart: {json.dumps(lead) + ' ' if lead else ''}%json {schema}\n"

    def schema(self) -> Mapping[str, Any]:
        return self._schema.closed()  # type: ignore[no-any-return]

    def json_value(self, value: Any) -> Any:
        return self._schema.ordered(value)

    def from_json(self, value: Any) -> Any:
        value = self._schema.without_added_nulls(check_bounds(value))
        fault = self._schema.fault(value)
        if fault:
            raise Unparsed(fault)
        return value

    def vote_key(self, value: Any) -> Hashable:
        return hashable(value)

    def description(self) -> Mapping[str, Any]:
        return {"schema": self.given}


def json_text(value: Any) -> str:
    """Return a JSON value as text. Raises ValueError for any other value."""
    if isinstance(value, str):
        return json_string(value)
    if value is None or isinstance(value, bool):
        return json.dumps(value)
    if isinstance(value, int | float):
        return number_text(value)
    if isinstance(value, list):
        return "[" + ", ".join(map(json_text, value)) + "]"
    if isinstance(value, dict) and all(isinstance(key, str) for key in value):
        return "{" + ", ".join(f"{json_text(key)}: {json_text(item)}" for key, item in value.items()) + "}"
    raise ValueError(f"{shown(value)} is not a JSON value")


_CHARACTER = r'[^"\\\x00-\x1F] | "\\" ["\\/bfnrt] | "\\u00" [0-1] [0-9a-fA-F]'


def schema_expression(schema: JsonSchema, grammar: Grammar) -> str:
    """Return the expression of a value that fits the schema, adding its rules to the grammar."""
    return _GrammarWriter(schema, grammar).value(schema.root)


class _GrammarWriter:
    def __init__(self, schema: JsonSchema, grammar: Grammar) -> None:
        self.schema = schema
        self.grammar = grammar
        self.definitions: dict[str, str] = {}

    def value(self, schema: Mapping[str, Any]) -> str:
        """Return the expression of a value, safe within a sequence."""
        if "$ref" in schema:
            return self._definition(schema["$ref"])
        if "anyOf" in schema:
            return self._any([self.value(option) for option in schema["anyOf"]])
        if "enum" in schema or "const" in schema:
            values = [schema["const"]] if "const" in schema else schema["enum"]
            fitting = [item for item in values if self.schema.fault(item, schema) is None]
            return self._any([literal(json_text(item)) for item in fitting])
        return self._any([self._of_type(kind, schema) for kind in allowed_types(schema)])

    def _any(self, branches: list[str]) -> str:
        return branches[0] if len(branches) == 1 else "(" + " | ".join(branches) + ")"

    def _definition(self, reference: str) -> str:
        """Return the rule of a definition, which may refer to itself."""
        if reference not in self.definitions:
            name = self.grammar.reserve("definition")
            self.definitions[reference] = name
            self.grammar.define(name, self.value(self.schema.target(reference) or {}))
        return self.definitions[reference]

    def _anything(self) -> str:
        if "" not in self.definitions:
            name = self.grammar.reserve("anything")
            self.definitions[""] = name
            self.grammar.define(name, self._any([self._of_type(kind, {}) for kind in allowed_types({})]))
        return self.definitions[""]

    def _inner(self, schema: Mapping[str, Any]) -> str:
        """Return the expression of a value inside another. Any JSON is one rule that refers to itself."""
        return self.value(schema) if schema else self._anything()

    def _of_type(self, kind: str, schema: Mapping[str, Any]) -> str:
        if kind == "object":
            return self._object(schema)
        if kind == "array":
            return self._array(schema)
        if kind == "string":
            return self._string(schema.get("minLength", 0), schema.get("maxLength"))
        if kind == "boolean":
            return '("true" | "false")'
        return '"null"' if kind == "null" else self._number(kind, schema)

    def _number(self, kind: str, schema: Mapping[str, Any]) -> str:
        low, high = (_decimal(schema.get(key)) for key in ("minimum", "maximum"))
        if kind == "integer":
            low = None if low is None else low.to_integral_value(ROUND_CEILING)
            high = None if high is None else high.to_integral_value(ROUND_FLOOR)
        return range_expression(self.grammar, low, high, 0 if kind == "integer" else None)

    def _string(self, least: int, most: int | None) -> str:
        character = self.grammar.rule("character", _CHARACTER)
        return rf'"\"" {character}{{{least},{"" if most is None else most}}} "\""'

    def _array(self, schema: Mapping[str, Any]) -> str:
        least, most = schema.get("minItems", 0), schema.get("maxItems")
        if most == 0:
            return '"[]"'
        item = self.grammar.rule("item", self._inner(schema.get("items", {})))
        more = f'(", " {item}){{{max(least - 1, 0)},{"" if most is None else most - 1}}}'
        some = self.grammar.rule("array", f'"[" {item} {more} "]"')
        return some if least else f'("[]" | {some})'

    def _object(self, schema: Mapping[str, Any]) -> str:
        properties, required = schema.get("properties", {}), schema.get("required", [])
        members = [
            (f"{literal(json_text(name) + ': ')} {self._inner(inner)}", name in required)
            for name, inner in properties.items()
        ]
        # Further keys come last, and only where all others are required: an optional key could appear among them, with
        # a value of another kind.
        others = additional_schema(schema) if all(needed for _, needed in members) else None
        rest = {True: '"}"', False: '"}"'}
        if others is not None:
            key = self._string(0, None)
            member = self.grammar.rule("member", f'{key} ": " {self._inner(others)}')
            rest = {True: f'(", " {member})* "}}"', False: f'({member} (", " {member})*)? "}}"'}
        for text, needed in reversed(members):
            before = {True: '", " ', False: ""}
            rest = {
                begun: self.grammar.rule(
                    "rest", f"{before[begun]}{text} {rest[True]}" + ("" if needed else f" | {rest[begun]}")
                )
                for begun in (True, False)
            }
        return self.grammar.rule("object", f'"{{" {rest[False]}')


def _decimal(bound: int | float | None) -> Decimal | None:
    return None if bound is None else Decimal(number_text(bound))
