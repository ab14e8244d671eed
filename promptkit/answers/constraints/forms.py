"""The forms in which a model is held to an answer, strongest first, and how a value is written in each.

This module alone chooses the form, from the answer type and the model's capabilities. A value is the same whatever the
form: `read(write(value)) == value`.
"""

from __future__ import annotations

from collections.abc import Collection, Hashable, Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any, Final, Literal

from promptkit.answers.base import AnswerType, Unparsed
from promptkit.answers.constraints.gbnf import regular_expression
from promptkit.answers.constraints.schema_keywords import strict_schema
from promptkit.answers.json_value import json_text
from promptkit.answers.reader.json_reader import read_json
from promptkit.runtimes.base import Capability, Request, with_implied

Writing = Literal["plain", "object"]
"""As the type writes it; as a JSON object with the one key `answer`. Models answer worse in a JSON string alone
(docs/benchmarks.md).
"""

KEY: Final = "answer"
_JSON_STARTS: Final = ("{", "[", "```")


@dataclass(frozen=True, slots=True)
class Form:
    """A form of replies. `capability` is the one that enforces it; `name` is for a person.

    `holds` tells whether the form admits only answers of the type.
    """

    name: str
    capability: Capability | None
    writing: Writing
    holds: bool = True


GUIDANCE: Final = Form("llguidance", "guidance", "plain")
CHOICE: Final = Form("choice", "choice", "plain")
GRAMMAR: Final = Form("GBNF", "grammar", "plain")
REGEX: Final = Form("regular expression", "regex", "plain")
SCHEMA: Final = Form("JSON Schema", "schema", "object")
OBJECT_SCHEMA: Final = Form("JSON Schema of an object", "object_schema", "object")
JSON_OBJECT: Final = Form("JSON object", "json_object", "object", holds=False)
UNCONSTRAINED: Final = Form("unconstrained", None, "plain", holds=False)
FORMS: Final = (GUIDANCE, CHOICE, GRAMMAR, REGEX, SCHEMA, OBJECT_SCHEMA, JSON_OBJECT)
"""All that constrain, strongest first. Plain forms come before those of JSON, in which no model answered better."""

_WORDS: Final[Mapping[str, Form]] = {"a grammar": GRAMMAR, "a schema": SCHEMA}

EXTRA_TOKENS: Final[Mapping[Writing, int]] = {"plain": 0, "object": 32}
"""Tokens of a reply that quotes, braces, the key and white space take beside the answer's own."""


@dataclass(frozen=True, slots=True)
class ReplyForm:
    """The form of an answer's replies from one model. `writing` is the form's, or plain where that is the same text."""

    answer: AnswerType
    form: Form
    writing: Writing

    def constrain(self, request: Request, lead: str = "") -> Request:
        """Return the request under this form. `lead` is the text between the begun turn and a plain answer."""
        return replace(request, **(_constraint(self.form, self.answer, lead) or {}))

    def write(self, value: Any) -> str:
        """Return the text of a value in this form. Raises ValueError where `read` would not read it back."""
        if self.writing == "plain":
            return self.answer.write(value)
        return self.answer.readable(json_text({KEY: self.answer.json_value(value)}), value, self.read)

    def read(self, text: str) -> Any:
        """Return the value of a reply in this form; in a form of JSON, a plain reply is read too, since some servers
        do not enforce what they accept. Raises Unparsed.
        """
        if self.writing == "plain" and self.form is not OBJECT_SCHEMA:
            return self.answer.parse(text)
        try:
            value = read_json(text)
            return self.answer.from_json(_unwrapped(value) if self.writing == "object" else value)
        except Unparsed:
            if text.lstrip().startswith(_JSON_STARTS):
                raise
            return self.answer.parse(text)

    @property
    def notice(self) -> str | None:
        """A line for a person where nothing, or not all of the form, is enforced; None where all is."""
        if self.form.holds:
            return None
        possible = [name for name, form in _WORDS.items() if _constraint(form, self.answer) is not None]
        if not possible:
            return None
        answers = f"answers of the type {self.answer.name}"
        if self.form is JSON_OBJECT:
            return f"the model enforces a JSON object, but not its content; {answers} are only checked"
        return f"the model cannot enforce {' or '.join(possible)}; {answers} are unconstrained"


def reply_form(answer: AnswerType, capabilities: Collection[Capability]) -> ReplyForm:
    """Return the strongest form in which a model with these capabilities can be held to an answer."""
    # To know whether a type has a grammar, it is made. A package's type may be a dataclass, which has no hash.
    choose = _known_form if isinstance(answer, Hashable) else _strongest_form
    return choose(answer, frozenset(capabilities))


def _strongest_form(answer: AnswerType, capabilities: frozenset[Capability]) -> ReplyForm:
    able = with_implied(capabilities)
    for form in FORMS:
        if form.capability in able and _constraint(form, answer) is not None:
            return ReplyForm(answer, form, _writing(form, answer))
    return plain_form(answer)


_known_form = lru_cache(maxsize=200)(_strongest_form)


def plain_form(answer: AnswerType) -> ReplyForm:
    """Return the form of replies that nothing constrains."""
    return ReplyForm(answer, UNCONSTRAINED, "plain")


def _writing(form: Form, answer: AnswerType) -> Writing:
    """Return the form in which values are written: an answer whose text is JSON already, with a root that may be,
    stays.
    """
    return "plain" if answer.writes_json and (form is SCHEMA or _has_object_root(answer)) else form.writing


def _constraint(form: Form, answer: AnswerType, lead: str = "") -> dict[str, Any] | None:
    """Return the fields of a request under a form, None where the type does not have this form."""
    match form.capability:
        case "guidance":
            found: Any = answer.guidance(lead)
            return None if found is None else {"grammar": found}
        case "choice":
            found = tuple(f"{lead}{text}" for text in answer.alternatives())
            return {"choice": found} if found else None
        case "grammar":
            found = answer.grammar(lead)
            return None if found is None else {"grammar": found}
        case "regex":
            grammar = answer.grammar(lead)
            found = None if grammar is None else regular_expression(grammar)
            return None if found is None else {"regex": found}
        case "schema":
            found = _rooted_schema(form, answer)
            return None if found is None else {"schema": found}
        case "object_schema":
            schema = _rooted_schema(form, answer)
            found = None if schema is None else strict_schema(schema)
            return None if found is None else {"schema": found}
        case "json_object":
            return None if answer.schema() is None else {"json_object": True}
    return {}


def _has_object_root(answer: AnswerType) -> bool:
    return (answer.schema() or {}).get("type") == "object"


def _rooted_schema(form: Form, answer: AnswerType) -> Mapping[str, Any] | None:
    """Return the type's schema as its values are written; None where it has none."""
    schema = answer.schema()
    if schema is None or _writing(form, answer) == "plain":
        return schema
    definitions = {"$defs": schema["$defs"]} if "$defs" in schema else {}
    inner = {key: value for key, value in schema.items() if key != "$defs"}
    root = {"type": "object", "properties": {KEY: inner}, "required": [KEY], "additionalProperties": False}
    return {**root, **definitions}


def _unwrapped(value: Any) -> Any:
    """Return the value under the key `answer`, or under the only key: a model may give it another name."""
    if isinstance(value, dict):
        if KEY in value:
            return value[KEY]
        if len(value) == 1:
            return next(iter(value.values()))
    return value
