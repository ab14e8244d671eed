"""The constraints of servers as stand-ins enforce them: the shortest reply that a request's constraint admits.

OpenAI's rules are those of "Structured model outputs" (strict mode), vLLM's those of "Structured Outputs" (0.12 and
before), LM Studio's those of "Structured Output" and of the refusals in its bug tracker. None of these servers was run.
"""

from __future__ import annotations

import json
import random
import re
import re._parser as sre  # type: ignore[import-not-found]
from collections.abc import Mapping
from typing import Any

from tests.answers.constraints.gbnf import Gbnf


class Refused(Exception):
    """A request that the server answers with status 400."""


def constrained_text(body: Mapping[str, Any], able: frozenset[str]) -> str | None:
    """Return a text within the constraint of a request, None where the server enforces none. Raises Refused."""
    within = body.get("structured_outputs") if "structured_outputs" in able else None
    if within is None and "guided" in able:
        within = {name.removeprefix("guided_"): value for name, value in body.items() if name.startswith("guided_")}
    within = dict(within or {})
    if "grammar" in able and "grammar" in body:
        within["grammar"] = body["grammar"]
    if "choice" in within:
        return str(within["choice"][0])
    if "regex" in within:
        return shortest(within["regex"])
    if "grammar" in within:
        return Gbnf.read(within["grammar"]).draw(random.Random(1))
    return _formatted(body.get("response_format") or {"type": "text"}, body, able)


def _formatted(shape: Mapping[str, Any], body: Mapping[str, Any], able: frozenset[str]) -> str | None:
    if shape["type"] == "json_object":
        if "lm_studio" in able:
            raise Refused("'response_format.type' must be 'json_schema' or 'text'")
        if "json_object" not in able:
            return None
        if "json" not in json.dumps(body.get("messages", "")).casefold():
            raise Refused("'messages' must contain the word 'json' in some form")
        return '{"answer": null}'
    if shape["type"] == "json_schema":
        schema = shape["json_schema"]["schema"]
        if "object_schema" in able:
            if not shape["json_schema"].get("strict"):
                return None
            check_strict(schema, is_root=True)
        if able & {"schema", "object_schema"} or ("lm_studio" in able and schema.get("type") == "object"):
            return json.dumps(smallest(schema))
    return None


def check_strict(schema: Mapping[str, Any], *, is_root: bool = False) -> None:
    """Raise Refused where OpenAI's strict mode does not take a schema."""
    if is_root and schema.get("type") != "object":
        raise Refused("Invalid schema for response_format 'answer': schema must be a JSON Schema of 'type: \"object\"'")
    if unknown := schema.keys() & {"minLength", "maxLength", "allOf", "oneOf", "not", "default", "uniqueItems"}:
        raise Refused(f"Invalid schema for response_format 'answer': '{min(unknown)}' is not permitted")
    if schema.get("type") == "object":
        if schema.get("additionalProperties") is not False:
            raise Refused("'additionalProperties' is required to be supplied and to be false")
        if sorted(schema.get("required", ())) != sorted(schema.get("properties", {})):
            raise Refused("'required' is required to be an array including every key in properties")
    inner = [*schema.get("properties", {}).values(), *schema.get("anyOf", ()), *schema.get("$defs", {}).values()]
    for part in [*inner, *([schema["items"]] if "items" in schema else [])]:
        check_strict(part)


def smallest(schema: Mapping[str, Any]) -> Any:
    """Return a small value that a JSON Schema of the simple sort allows."""
    if "enum" in schema:
        return schema["enum"][0]
    if "anyOf" in schema:
        return smallest(schema["anyOf"][-1])
    if "$ref" in schema:
        return None
    low = schema.get("minimum", 1)
    match schema.get("type", "object"):
        case "object":
            return {name: smallest(part) for name, part in schema.get("properties", {}).items()}
        case "array":
            return [smallest(schema["items"])] * max(schema.get("minItems", 0), 1)
        case "string":
            return "text"
        case "number" | "integer":
            return min(low, schema.get("maximum", low))
        case "boolean":
            return True
    return None


def shortest(pattern: str) -> str:
    """Return a short text that a regular expression matches."""
    text = "".join(_shortest(part) for part in sre.parse(pattern))
    assert re.fullmatch(pattern, text), (pattern, text)
    return text


def _shortest(part: Any) -> str:
    kind, value = str(part[0]), part[1]
    if kind == "LITERAL":
        return chr(int(value))
    if kind == "BRANCH":
        return "".join(map(_shortest, value[1][0]))
    if kind == "SUBPATTERN":
        return "".join(map(_shortest, value[3]))
    if kind == "MAX_REPEAT":
        return "".join(map(_shortest, value[2])) * int(value[0])
    if kind == "NOT_LITERAL":
        return "a" if value != ord("a") else "b"
    assert kind == "IN", kind
    first, low = value[0]
    if str(first) == "NEGATE":
        return "a"
    return chr(int(low[0] if str(first) == "RANGE" else low))
