"""The keywords of JSON Schema that can be enforced, with the enforced formats and patterns of texts."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from datetime import date
from ipaddress import IPv4Address, IPv6Address
from typing import Any

from promptkit.workers.patterns import PatternFailed, pattern_fault, pattern_matches

TYPES = ("object", "array", "string", "number", "integer", "boolean", "null")

ANNOTATIONS = frozenset(
    {"title", "description", "default", "examples", "$schema", "$id", "$comment", "deprecated", "format"}
)
"""`format` is an annotation unless it is one of FORMATS."""

KEYWORDS_OF_TYPE = {
    "object": frozenset({"properties", "required", "additionalProperties"}),
    "array": frozenset({"items", "minItems", "maxItems"}),
    "string": frozenset({"minLength", "maxLength", "pattern"}),
    "number": frozenset({"minimum", "maximum"}),
    "integer": frozenset({"minimum", "maximum"}),
}

ALONE = ("$ref", "anyOf", "oneOf")

KEYWORDS = frozenset({"type", "enum", "const", "$defs", "allOf", *ALONE, *ANNOTATIONS}).union(
    *KEYWORDS_OF_TYPE.values()
)

MAX_DEPTH = 50
"""The deepest nesting of schemas."""
SMALLEST_GUIDED, LARGEST_GUIDED = 1e-9, 2**53
"""Bounds of numbers beyond these make llguidance cut the number, or run unconstrained without an error."""

_TIME = r"(?:[01]\d|2[0-3]):[0-5]\d:(?:[0-5]\d|60)(?:\.\d+)?(?:[Zz]|[+-](?:[01]\d|2[0-3]):[0-5]\d)"
_DATE = r"\d{4}-\d\d-\d\d"
_LABEL = r"[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?"


def _is_full(pattern: str) -> Callable[[str], bool]:
    compiled = re.compile(pattern, re.ASCII)
    return lambda text: compiled.fullmatch(text) is not None


def _is_date(text: str) -> bool:
    with suppress(ValueError):
        return bool(re.fullmatch(_DATE, text, re.ASCII)) and date.fromisoformat(text) is not None
    return False


def _is_made_by(make: Callable[[str], object]) -> Callable[[str], bool]:
    def is_made(text: str) -> bool:
        with suppress(ValueError):
            return make(text) is not None
        return False

    return is_made


FORMATS: Mapping[str, tuple[str, Callable[[str], bool]]] = {
    "date": ("a date such as 2026-12-31", _is_date),
    "time": ("a time such as 13:05:00Z", _is_full(_TIME)),
    "date-time": (
        "a date and time such as 2026-12-31T13:05:00Z",
        lambda text: _is_date(text[:10]) and _is_full(f"[Tt]{_TIME}")(text[10:]),
    ),
    "uuid": ("a UUID", _is_full(r"[0-9A-Fa-f]{8}(?:-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}")),
    "ipv4": ("an IPv4 address", _is_made_by(IPv4Address)),
    "ipv6": ("an IPv6 address", _is_made_by(IPv6Address)),
    "email": ("an e-mail address", _is_full(r"[^@\s]+@[^@\s]+")),
    "hostname": ("a host name", _is_full(rf"{_LABEL}(?:\.{_LABEL})*")),
}
"""The values of `format` that are enforced: the words for a message, and the check of a text."""

# Regular expressions that Python and llguidance read alike: no look-around, back-reference, flag or lazy repeat.
_CLASS_ITEM = r"(?:[^\\\[\]^&~-]|\\[dDwWsSnrtfv\\.^$|?*+()\[\]{}/&~-])"
_TOKEN = re.compile(
    r"[^\\^$.|?*+()\[\]{}]|\.|\\[dDwWsSnrtfv\\.^$|?*+()\[\]{}/-]"
    rf"|\[\^?-?{_CLASS_ITEM}(?:-?{_CLASS_ITEM})*-?\]|\((?:\?:|(?!\?))|\)|\||(?:[*+?]|\{{\d+(?:,\d*)?\}})(?![*+?{{])"
)


def has_enforced_format(schema: Mapping[str, Any]) -> bool:
    """Tell whether the schema's `format` is enforced, and not only an annotation."""
    return isinstance(schema.get("format"), str) and schema["format"] in FORMATS


def text_fault(text: str, schema: Mapping[str, Any]) -> str | None:
    """Return the problem of a text with the `format` and `pattern` of a schema, None where it has none."""
    if has_enforced_format(schema):
        words, is_valid = FORMATS[schema["format"]]
        if not is_valid(text):
            return f"not {words}"
    if "pattern" in schema:
        try:
            if not pattern_matches(_search_pattern(schema["pattern"]), text):
                return f"which does not match the pattern {schema['pattern']}"
        except PatternFailed as failed:
            return f"whose comparison with the pattern {schema['pattern']} failed: {failed}"
    return None


def pattern_problem(pattern: Any) -> str | None:
    """Return the problem of a pattern, None for one that Python and llguidance read alike."""
    if fault := pattern_fault(pattern):
        return f"is not usable: {fault}"
    body, anchored = _without_anchors(pattern)
    depth, at = 0, 0
    while at < len(body):
        token = _TOKEN.match(body, at)
        if token is None:
            return f"has `{body[at : at + 10]}`, which cannot be enforced; use classes, groups, `|` and greedy repeats"
        depth += token[0].startswith("(") - (token[0] == ")")
        if token[0] == "|" and depth == 0 and anchored:
            return "has alternatives beside `^` or `$`: put them in parentheses"
        at = token.end()
    return None


def _without_anchors(pattern: str) -> tuple[str, bool]:
    body = pattern.removeprefix("^")
    if body.endswith("$") and (len(body) - len(body[:-1].rstrip("\\"))) % 2:
        body = body[:-1]
    return body, body != pattern


def _search_pattern(pattern: str) -> str:
    """Return the pattern for a search by Python, whose own `$` also matches before a last line break."""
    body, _ = _without_anchors(pattern)
    start, end = "^" * pattern.startswith("^"), r"\Z" * (pattern.removeprefix("^") != body)
    return f"{start}(?:{body}){end}"


def allowed_types(schema: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the types a schema without `anyOf` and `$ref` allows, all where it names none."""
    given = schema.get("type")
    if given is not None:
        return tuple(given) if isinstance(given, list) else (given,)
    implied = [name for name, keys in KEYWORDS_OF_TYPE.items() if keys & schema.keys()]
    if not implied and has_enforced_format(schema):
        implied = ["string"]
    return tuple(implied[:1]) if implied else tuple(name for name in TYPES if name != "integer")


def additional_schema(schema: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """Return the schema of an object's further keys, None where it may have none."""
    others = schema.get("additionalProperties", "properties" not in schema)
    if isinstance(others, bool):
        return {} if others else None
    return others  # type: ignore[no-any-return]


def enforced_keywords(schema: Mapping[str, Any]) -> set[str]:
    """Return the keywords of a schema that are enforced."""
    enforced = {key for key in schema if key not in ANNOTATIONS and key != "$defs"}
    return enforced | {"format"} if has_enforced_format(schema) else enforced


def inner_schemas(schema: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """Yield the schemas one level inside a resolved schema, its definitions left out."""
    yield from schema.get("properties", {}).values()
    yield from schema.get("anyOf", ())
    yield from (schema[key] for key in ("items", "additionalProperties") if isinstance(schema.get(key), Mapping))


def mapped(schema: Any, change: Callable[[dict[str, Any]], dict[str, Any]]) -> Any:
    """Return a copy of a resolved schema with every schema in it changed, from the inside out."""
    if isinstance(schema, list):
        return [mapped(item, change) for item in schema]
    if not isinstance(schema, Mapping):
        return schema
    copy = dict(schema)
    for key in ("items", "additionalProperties", "anyOf"):
        if key in copy:
            copy[key] = mapped(copy[key], change)
    for key in ("properties", "$defs"):
        if key in copy:
            copy[key] = {name: mapped(inner, change) for name, inner in copy[key].items()}
    return change(copy)


def closed(schema: dict[str, Any]) -> dict[str, Any]:
    extra = {"additionalProperties": schema.get("additionalProperties", False)}
    return schema | extra if "properties" in schema else schema


_NOT_STRICT = ANNOTATIONS - {"title", "description"} | {"minLength", "maxLength"}


def strict_schema(schema: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """Return a resolved schema in the subset that OpenAI's strict mode takes; None where it has no equivalent there.

    Each object is closed and requires every key; a key that is optional may be null instead. The lengths of texts are
    left out. (OpenAI, "Structured outputs: supported schemas".)
    """
    strict = mapped(schema, _strict)
    parts = [strict, *strict.get("$defs", {}).values()]
    while parts:
        part = parts.pop()
        is_open = part.get("type") == "object" and part.get("additionalProperties") is not False
        if is_open or not part.keys() & {"type", "enum", "const", "$ref", "anyOf"}:
            return None
        parts += inner_schemas(part)
    return strict  # type: ignore[no-any-return]


def _strict(schema: dict[str, Any]) -> dict[str, Any]:
    dropped = _NOT_STRICT - {"format"} if has_enforced_format(schema) else _NOT_STRICT
    kept = {key: value for key, value in schema.items() if key not in dropped}
    if "properties" not in kept:
        return kept
    required = kept.get("required", [])
    properties = {
        name: inner if name in required else {"anyOf": [inner, {"type": "null"}]}
        for name, inner in kept["properties"].items()
    }
    return closed({"type": "object", **kept, "properties": properties, "required": list(properties)})


def guided(schema: dict[str, Any]) -> dict[str, Any]:
    keywords = enforced_keywords(schema)
    kept = {key: value for key, value in closed(schema).items() if key not in ANNOTATIONS or key in keywords}
    is_typed = keywords <= {"type", "enum", "const", *ALONE}
    return kept if is_typed or "type" in kept else {"type": list(allowed_types(kept)), **kept}
