"""Assertions that a row of data brings with it, in promptkit's words or in promptfoo's."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from math import isfinite
from typing import Any, Final

from promptkit.errors import nearest
from promptkit.evaluation.metrics.registry import kind_named
from promptkit.evaluation.metrics.values import scalar_text, shown_value
from promptkit.storage.strict_json import parse_json

ROW_KINDS: Final = (
    "exact",
    "normalized",
    "regex",
    "contains",
    "number",
    "label",
    "set_f1",
    "json",
    "schema",
    "bleu",
    "chrf",
    "rouge",
    "edit",
    "table",
    "length",
    "tokens",
    "format",
    "code",
    "python",
)
"""The kinds of metrics that score one answer and ask no model."""

NEGATION: Final = "not-"
_OWN_KEYS: Final = ("expect", "weight", "threshold")
_FOREIGN_KEYS: Final = ("type", "value", "weight", "threshold", "metric")
_JUDGED: Final = (
    "judge",
    "pairwise",
    "embedding",
    "similar",
    "llm-rubric",
    "g-eval",
    "factuality",
    "answer-relevance",
    "context-recall",
    "context-relevance",
    "context-faithfulness",
    "model-graded-closedqa",
    "model-graded-factuality",
)
"""Assertions that ask a model, in both vocabularies."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Assertion:
    """One assertion: a kind of metric with its parameters and expected answer, negated or not.

    It holds where the score reaches `threshold` (None: the kind's best score). `text` is the assertion for people.
    """

    text: str
    kind: str
    parameters: Mapping[str, Any]
    expected: Any = None
    negated: bool = False
    weight: float = 1.0
    threshold: float | None = None


def assertion_items(value: Any) -> list[Any]:
    """Return a row's assertions as they are written; a text, as in CSV, is read as JSON. Raises ValueError."""
    if isinstance(value, str):
        try:
            value = parse_json(value)
        except ValueError:
            raise ValueError(f"{shown_value(value)} is not JSON; assertions are a list of `{{KIND: …}}`") from None
    if not isinstance(value, list):
        raise ValueError(f"assertions are a list of `{{KIND: …}}`, not {shown_value(value)}")
    return value


def kind_of(item: Any) -> str:
    """Return the word that names the kind of an assertion as it is written, without `not-`; empty where none does."""
    if isinstance(item, Mapping):
        item = item["type"] if "type" in item else next(iter(item), "")
    return _without_negation(item)[0] if isinstance(item, str) else ""


def read_assertion(item: Any) -> Assertion:
    """Return one assertion as it is written. Raises ValueError."""
    if isinstance(item, str):
        item = {item: None}
    if isinstance(item, Mapping) and "type" in item:
        return _foreign(item)
    if not isinstance(item, Mapping) or len(item) != 1:
        raise ValueError(f"must be `{{KIND: …}}` or `{{type: …, value: …}}`, not {shown_value(item)}")
    word, given = next(iter(item.items()))
    word, negated = _without_negation(str(word))
    if word not in ROW_KINDS:
        raise ValueError(_unknown(word, ROW_KINDS))
    kind = kind_named(word)
    text = _text(word, given, negated)
    if isinstance(given, Mapping):
        parameters = {key: part for key, part in given.items() if key not in _OWN_KEYS}
        made = Assertion(text=text, kind=word, parameters=parameters, expected=given.get("expect"), negated=negated)
        return _weighed(made, given)
    if given is None or kind.needs_expected:
        return Assertion(text=text, kind=word, parameters={}, expected=given, negated=negated)
    if kind.short is None:
        raise ValueError(f"`{word}` takes a mapping of: {', '.join(kind.Parameters.model_fields) or 'nothing'}")
    return Assertion(text=text, kind=word, parameters={kind.short: given}, negated=negated)


def _foreign(item: Mapping[str, Any]) -> Assertion:
    """Return an assertion that is written as promptfoo writes it."""
    for key in item:
        if key not in _FOREIGN_KEYS:
            raise ValueError(f"unknown key `{key}`: {', '.join(f'`{known}`' for known in _FOREIGN_KEYS)} are known")
    word, negated = _without_negation(str(item["type"]))
    if word not in _FOREIGN:
        raise ValueError(_unknown(word, _FOREIGN))
    value = item.get("value")
    if any("{{" in text for text in _texts_in(value)):
        raise ValueError(f"{shown_value(value)} is a template, and rows are not rendered: write the text")
    made = replace(_FOREIGN[word](value), text=_text(word, value, negated), negated=negated)
    return _weighed(made, item)


def _weighed(made: Assertion, given: Mapping[str, Any]) -> Assertion:
    """Return an assertion with the weight and the threshold that are given for it."""
    weight, threshold = given.get("weight", made.weight), given.get("threshold", made.threshold)
    for name, number in (("weight", weight), ("threshold", threshold)):
        if number is not None and not (_is_number(number) and (name == "threshold" or number >= 0)):
            raise ValueError(f"`{name}` must be a number, not {shown_value(number)}")
    text = made.text if "threshold" not in given else f"{made.text} (threshold {threshold:g})"
    return replace(made, weight=weight, threshold=threshold, text=text)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and isfinite(value)


def _without_negation(word: str) -> tuple[str, bool]:
    return word.removeprefix(NEGATION), word.startswith(NEGATION)


def _unknown(word: str, known: Any) -> str:
    if word in _JUDGED:
        return (
            f"`{word}` asks a model: make it a metric of the suite, with `when` for its rows, and leave it out here by "
            f"`skip: [{word}]`"
        )
    if word == "javascript":
        return "`javascript` is not run: write the function in Python"
    hint = nearest(word, known)
    return f"there is no assertion `{word}`" + (f"; {hint}" if hint else "")


def _text(word: str, value: Any, negated: bool) -> str:
    """Return an assertion for people: `not contains "sorry"`."""
    given = value
    if isinstance(value, Mapping):
        given = value.get("expect", {key: part for key, part in value.items() if key not in _OWN_KEYS})
    shown = "" if given in (None, {}) else f" {shown_value(given)}"
    return f"{'not ' if negated else ''}{word}{shown}"


def _texts_in(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, list):
        yield from (text for part in value for text in _texts_in(part))


def _one_text(value: Any) -> str:
    text = scalar_text(value)
    if not text:
        raise ValueError(f"`value` must be a text, not {shown_value(value)}")
    return text


def _several_texts(value: Any) -> list[str]:
    """Return the texts of a list, or of one text that separates them by commas."""
    parts = [part.strip() for part in value.split(",")] if isinstance(value, str) else value
    if not isinstance(parts, list) or not parts:
        raise ValueError(f"`value` must be a list of texts, not {shown_value(value)}")
    return [_one_text(part) for part in parts]


def _contains(*, several: str = "", ignore_case: bool = False) -> Callable[[Any], Assertion]:
    def made(value: Any) -> Assertion:
        texts = {several: _several_texts(value)} if several else {"text": _one_text(value)}
        return Assertion(text="", kind="contains", parameters={**texts, "ignore_case": ignore_case})

    return made


def _schema(value: Any) -> Assertion:
    if value is not None and not isinstance(value, Mapping):
        raise ValueError(f"`value` must be a JSON Schema, not {shown_value(value)}")
    return Assertion(text="", kind="schema", parameters={"schema": _opened(value) if value else _ANY_JSON})


_ANY_JSON: Final = {"type": ["object", "array", "number", "boolean", "null"]}
"""The schema of any JSON; a text that is not JSON would fit `string`."""


def _opened(schema: Any) -> Any:
    """Return a JSON Schema whose objects may have more properties, as the standard has it and `schema` has not."""
    if isinstance(schema, list):
        return [_opened(part) for part in schema]
    if not isinstance(schema, Mapping):
        return schema
    parts = {key: _opened(part) for key, part in schema.items()}
    return {"additionalProperties": True, **parts} if isinstance(schema.get("properties"), Mapping) else parts


def _starts_with(value: Any) -> Assertion:
    return Assertion(text="", kind="regex", parameters={"pattern": rf"\A{re.escape(_one_text(value))}"})


def _python(value: Any) -> Assertion:
    function = _one_text(value)
    if not function.startswith("file://"):
        raise ValueError("Python in a row is not run: name a function by `file://FILE.py:FUNCTION`")
    return Assertion(text="", kind="python", parameters={"function": function.removeprefix("file://")})


def _rouge(value: Any) -> Assertion:
    return Assertion(
        text="", kind="rouge", parameters={"variant": "rouge1"}, expected=_one_text(value), threshold=ROUGE_THRESHOLD
    )


ROUGE_THRESHOLD: Final = 0.75
"""promptfoo's own, where an assertion names none."""

_FOREIGN: Final[Mapping[str, Callable[[Any], Assertion]]] = {
    "equals": lambda value: Assertion(text="", kind="exact", parameters={}, expected=value),
    "contains": _contains(),
    "icontains": _contains(ignore_case=True),
    "contains-any": _contains(several="any"),
    "contains-all": _contains(several="all"),
    "icontains-any": _contains(several="any", ignore_case=True),
    "icontains-all": _contains(several="all", ignore_case=True),
    "starts-with": _starts_with,
    "regex": lambda value: Assertion(text="", kind="regex", parameters={"pattern": _one_text(value)}),
    "is-json": _schema,
    "rouge-n": _rouge,
    "python": _python,
}
"""The assertions of promptfoo that are read, by their `type`."""
