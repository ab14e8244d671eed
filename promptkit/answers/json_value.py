"""A JSON value, by schema."""

from __future__ import annotations

import re
from collections.abc import Hashable, Iterator, Mapping
from typing import Any

from promptkit.answers.base import AnswerType, Form, Unparsed, frozen, shown
from promptkit.answers.gbnf import Grammar
from promptkit.answers.json_grammar import schema_expression
from promptkit.answers.json_schema import Schema
from promptkit.answers.json_text import DECODER, bearable, json_text, read_json
from promptkit.errors import InputError

# Each failed start may read to the end of the reply; a reply full of them is noise.
_MOST_STARTS = 64
_START = re.compile(r"[\[{]")
_FENCED = re.compile(r"```[^\n`]*\n(.*?)```", re.DOTALL)


class Json(AnswerType):
    """A value that fits the schema (see `json_schema`), written on one line with keys in the schema's order."""

    name = "json"
    form: Form = "json"

    def __init__(self, schema: Any = None) -> None:
        given = {} if schema is None else schema
        if not isinstance(given, Mapping):
            raise InputError(f"json must be a JSON Schema, not {shown(str(schema))}")
        self.given = given
        self._schema = Schema(given)

    def format(self, value: Any) -> str:
        try:
            return json_text(self._schema.ordered(value))
        except RecursionError:
            raise ValueError("the value is nested too deep") from None

    def read(self, text: str) -> Any:
        stripped = text.strip()
        fenced = _FENCED.fullmatch(stripped)
        try:
            return self._fitting(read_json(fenced.group(1) if fenced else stripped))
        except Unparsed as unparsed:
            for value in self.mentions(stripped):
                return value
            raise unparsed

    def mentions(self, text: str) -> Iterator[Any]:
        at, failed = 0, 0
        while failed < _MOST_STARTS and (start := _START.search(text, at)):
            try:
                value, at = DECODER.raw_decode(text, start.start())
            except (ValueError, RecursionError):
                at, failed = start.end(), failed + 1
                continue
            try:
                fitting = self._fitting(bearable(value))
            except Unparsed:
                continue
            yield fitting

    def expression(self, grammar: Grammar) -> str:
        return schema_expression(self._schema, grammar)

    def schema(self) -> Mapping[str, Any]:
        return self._schema.closed()  # type: ignore[no-any-return]

    def vote_key(self, value: Any) -> Hashable:
        return frozen(value)

    def description(self) -> Mapping[str, Any]:
        return {"schema": self.given}

    def _fitting(self, value: Any) -> Any:
        fault = self._schema.fault(value)
        if fault:
            raise Unparsed(fault)
        return value
