"""The check of a call's arguments by the JSON Schema of the tool's parameters."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from promptkit.answers.constraints.json_schema import JsonSchema
from promptkit.answers.constraints.schema_keywords import KEYWORDS
from promptkit.errors import InputError

_CHECKED: Final = KEYWORDS - {"pattern"}
"""A pattern may be a foreign server's, and take long; the tool itself checks it."""


def argument_fault(parameters: Mapping[str, Any], arguments: Mapping[str, Any]) -> str | None:
    """Return what is wrong with the arguments of a call, None where they fit the tool's `parameters`.

    Keywords of JSON Schema that promptkit does not know are left to the tool. Of a schema that cannot be read, only the
    names of the parameters are checked.
    """
    try:
        return _schema(parameters).fault(arguments, at="the arguments")
    except RecursionError:
        return "the arguments are nested too deep"


def _schema(parameters: Mapping[str, Any]) -> JsonSchema:
    try:
        return JsonSchema(_known_part(parameters))
    except InputError:
        properties, required = parameters.get("properties"), parameters.get("required")
        named: dict[str, Any] = {"type": "object"}
        if isinstance(properties, Mapping):
            named["properties"] = {str(name): {} for name in properties}
        if isinstance(required, list):
            named["required"] = [str(name) for name in required]
        return JsonSchema(named)


def _known_part(schema: Any) -> Any:
    """Return a schema without the keywords that are not checked, in all schemas in it."""
    if not isinstance(schema, Mapping):
        return schema
    known = {key: value for key, value in schema.items() if key in _CHECKED}
    for key in ("items", "additionalProperties"):
        if key in known:
            known[key] = _known_part(known[key])
    for key in ("anyOf", "oneOf", "allOf"):
        if isinstance(known.get(key), list):
            known[key] = [_known_part(option) for option in known[key]]
    for key in ("properties", "$defs"):
        if isinstance(known.get(key), Mapping):
            known[key] = {name: _known_part(inner) for name, inner in known[key].items()}
    return known


def typed_arguments(parameters: Mapping[str, Any], arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Return arguments with texts read as JSON where the parameter takes no text."""
    return dict(arguments)
