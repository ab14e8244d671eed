"""GBNF for exactly the JSON that fits a schema: on one line, keys in the schema's order, numbers in full."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal
from typing import Any

from promptkit.answers.gbnf import Grammar, literal
from promptkit.answers.json_schema import Schema, extra, types
from promptkit.answers.json_text import json_text
from promptkit.answers.number import number_text
from promptkit.answers.ranges import range_expression

_CHARACTER = r'[^"\\\x00-\x1F] | "\\" ["\\/bfnrt] | "\\u00" [0-1] [0-9a-fA-F]'


def schema_expression(schema: Schema, grammar: Grammar) -> str:
    """Return the expression of a value that fits the schema, adding its rules to the grammar."""
    return _Writer(schema, grammar).value(schema.root)


class _Writer:
    def __init__(self, schema: Schema, grammar: Grammar) -> None:
        self.schema = schema
        self.grammar = grammar
        self.definitions: dict[str, str] = {}

    def value(self, schema: Mapping[str, Any]) -> str:
        """Return the expression of a value, safe to stand in a sequence."""
        if "$ref" in schema:
            return self._definition(schema["$ref"])
        if "anyOf" in schema:
            return self._any([self.value(option) for option in schema["anyOf"]])
        if "enum" in schema or "const" in schema:
            wanted = [schema["const"]] if "const" in schema else schema["enum"]
            fitting = [item for item in wanted if self.schema.fault(item, schema) is None]
            return self._any([literal(json_text(item)) for item in fitting])
        return self._any([self._of_type(kind, schema) for kind in types(schema)])

    def _any(self, branches: list[str]) -> str:
        return branches[0] if len(branches) == 1 else "(" + " | ".join(branches) + ")"

    def _definition(self, reference: str) -> str:
        """Return the rule of a definition; it may refer to itself."""
        if reference not in self.definitions:
            name = self.grammar.reserve("definition")
            self.definitions[reference] = name
            self.grammar.define(name, self.value(self.schema.target(reference) or {}))
        return self.definitions[reference]

    def _anything(self) -> str:
        if "" not in self.definitions:
            name = self.grammar.reserve("anything")
            self.definitions[""] = name
            self.grammar.define(name, self._any([self._of_type(kind, {}) for kind in types({})]))
        return self.definitions[""]

    def _inner(self, schema: Mapping[str, Any]) -> str:
        """Return the expression of a value inside another; any JSON at all is one rule that refers to itself."""
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
        # Further keys come last. An optional key left out could come up among them with a value of another kind.
        others = extra(schema) if all(needed for _, needed in members) else None
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
