"""Arguments of a tool: texts read by its schema, and the check against that."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from promptkit.answers.constraints.json_schema import JsonSchema
from promptkit.errors import InputError, nearest
from promptkit.tools.function_schema import takes_of


def argument_fault(parameters: Mapping[str, Any], arguments: Mapping[str, Any]) -> str | None:
    """Return the problem of a tool's arguments with the schema of its parameters; None where they fit.

    Of a schema with keywords that promptkit does not know, as a server may give, only the names are checked.
    """
    takes = takes_of(parameters)
    unknown = [name for name in arguments if name not in takes] if takes is not None else []
    if unknown:
        hint = nearest(unknown[0], takes or ())
        return f"there is no parameter `{unknown[0]}`{f' ({hint})' if hint else ''}"
    missing = [f"`{name}`" for name in parameters.get("required", ()) if name not in arguments]
    if missing:
        return f"{' and '.join(missing)} {'is' if len(missing) == 1 else 'are'} missing"
    try:
        schema = JsonSchema(parameters)
    except (InputError, RecursionError):
        return None
    root = schema.root.get("properties", {})
    faults = (schema.fault(arguments[name], root[name], f"`{name}`") for name in root if name in arguments)
    return next((fault for fault in faults if fault), None) or schema.fault(arguments, at="the arguments")


def typed_arguments(parameters: Mapping[str, Any], arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Return arguments with texts read as JSON where the parameter takes no text, and numbers as texts where it does.

    What cannot be read so stays as it is: `argument_fault` reports it.
    """
    properties = parameters.get("properties")
    known = properties if isinstance(properties, Mapping) else {}
    return {name: _typed(value, known.get(name, {})) for name, value in arguments.items()}


def _typed(value: Any, schema: Any) -> Any:
    kinds = _kinds(schema)
    if isinstance(value, str) and kinds and "string" not in kinds:
        try:
            return json.loads(value)
        except (ValueError, RecursionError):
            return value
    if isinstance(value, int | float) and kinds == {"string"}:
        return json.dumps(value)
    return value


def _kinds(schema: Any) -> set[str]:
    """Return the JSON types that a schema allows, as far as it says; empty where it allows any."""
    if not isinstance(schema, Mapping):
        return set()
    if isinstance(options := schema.get("anyOf"), list):
        found = [_kinds(option) for option in options]
        return set().union(*found) if all(found) else set()
    if isinstance(values := schema.get("enum"), list):
        return {"string" if isinstance(value, str) else "other" for value in values}
    given = schema.get("type")
    return {given} if isinstance(given, str) else {kind for kind in given or () if isinstance(kind, str)}
