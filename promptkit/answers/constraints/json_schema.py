"""The part of JSON Schema that a runtime can enforce exactly: checked when it is read, and applied to values.

Supported: type (one or several), properties, required, additionalProperties, items, minItems, maxItems, minLength,
maxLength, pattern, format, minimum, maximum, enum, const, anyOf, oneOf, allOf, $ref to `#/$defs/NAME`, and annotations.
Any other keyword is an error, since nothing would enforce it. An object with `properties` is closed unless
`additionalProperties` says otherwise.

`allOf` is merged into one schema when it is read. `oneOf` becomes `anyOf`, after a check that no value fits two of its
options: llguidance runs an overlapping `oneOf` unconstrained and reports no error.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from promptkit.answers.base import hashable, quoted
from promptkit.answers.constraints.schema_keywords import (
    ALONE,
    ANNOTATIONS,
    KEYWORDS,
    LARGEST_GUIDED,
    MAX_DEPTH,
    SMALLEST_GUIDED,
    TYPES,
    additional_schema,
    allowed_types,
    closed,
    guided,
    has_enforced_format,
    inner_schemas,
    mapped,
    pattern_problem,
    text_fault,
)
from promptkit.answers.constraints.schema_resolver import Resolver
from promptkit.errors import InputError, nearest


class JsonSchema:
    """One schema, its `allOf` and `oneOf` resolved. Raises InputError with everything that is wrong with it."""

    def __init__(self, root: Mapping[str, Any]) -> None:
        self.root = root
        self.definitions: Mapping[str, Any] = (
            root.get("$defs", {}) if isinstance(root.get("$defs", {}), Mapping) else {}
        )
        faults = list(self._faults(root, "json", depth=0))
        for name, definition in self.definitions.items():
            faults += self._faults(definition, f"json.$defs.{name}", depth=1)
        faults += () if faults else self._loops()
        if not faults:
            resolver = Resolver(self.definitions, self.fault)
            self.definitions = resolver.definitions
            self.root = resolver.resolve(root)
            faults += resolver.faults
        if not faults and self.needs_guidance and not self.is_guidable:
            faults.append(
                "json: `pattern` and `format` cannot be enforced beside bounds of numbers beyond 2 to the power of 53"
            )
        if faults:
            raise InputError("\n".join(faults))

    @property
    def needs_guidance(self) -> bool:
        """True where the schema has a keyword that GBNF cannot express: `pattern`, or an enforced `format`."""
        return any("pattern" in schema or has_enforced_format(schema) for schema in self._parts())

    @property
    def is_guidable(self) -> bool:
        """True where llguidance enforces the whole schema."""
        bounds = [abs(schema[key]) for schema in self._parts() for key in ("minimum", "maximum") if key in schema]
        return all(not bound or SMALLEST_GUIDED <= bound <= LARGEST_GUIDED for bound in bounds)

    def _parts(self) -> Iterator[Mapping[str, Any]]:
        """Yield every schema in the schema, itself among them."""
        ahead: list[Any] = [self.root, *self.definitions.values()]
        while ahead:
            schema = ahead.pop()
            yield schema
            ahead += inner_schemas(schema)

    def target(self, reference: Any) -> Mapping[str, Any] | None:
        """Return the definition that a `$ref` names, None where there is none."""
        name = str(reference).removeprefix("#/$defs/")
        return self.definitions.get(name) if str(reference).startswith("#/$defs/") else None

    def fault(self, value: Any, schema: Mapping[str, Any] | None = None, at: str = "the JSON") -> str | None:
        """Return the problem of a value, None where it fits the schema."""
        schema = self.root if schema is None else schema
        if "$ref" in schema:
            return self.fault(value, self.target(schema["$ref"]), at)
        if "anyOf" in schema:
            faults = [self.fault(value, option, at) for option in schema["anyOf"]]
            return None if None in faults else f"{at} fits none of the allowed forms: {faults[0]}"
        for key, allowed in (("const", [schema.get("const")]), ("enum", schema.get("enum"))):
            if key in schema and hashable(value) not in [hashable(item) for item in allowed or []]:
                return f"{at} is {quoted(str(value))}, not {' or '.join(quoted(str(item)) for item in allowed or [])}"
        kinds = allowed_types(schema)
        kind = next((kind for kind in kinds if _is_of(value, kind)), None)
        if kind is None:
            return f"{at} must be of the type {' or '.join(kinds)}, not {quoted(str(value))}"
        if kind == "object":
            return self._object_fault(value, schema, at)
        if kind == "array":
            return self._array_fault(value, schema, at)
        return _scalar_fault(value, kind, schema, at)

    def ordered(self, value: Any, schema: Mapping[str, Any] | None = None) -> Any:
        """Return the value with the keys of its objects in the schema's order."""
        schema = self.root if schema is None else schema
        if "$ref" in schema:
            return self.ordered(value, self.target(schema["$ref"]))
        if "anyOf" in schema:
            fitting = (option for option in schema["anyOf"] if self.fault(value, option) is None)
            return self.ordered(value, next(fitting, {}))
        if isinstance(value, list) and "items" in schema:
            return [self.ordered(item, schema["items"]) for item in value]
        if isinstance(value, Mapping):
            properties = schema.get("properties", {})
            names = [name for name in properties if name in value] + [name for name in value if name not in properties]
            return {
                name: self.ordered(value[name], properties.get(name, additional_schema(schema) or {})) for name in names
            }
        return value

    def without_added_nulls(self, value: Any, schema: Mapping[str, Any] | None = None) -> Any:
        """Return the value without the optional keys that are null only because `strict_schema` requires every key."""
        schema = self.root if schema is None else schema
        if "$ref" in schema:
            return self.without_added_nulls(value, self.target(schema["$ref"]))
        if "anyOf" in schema:
            found = (self.without_added_nulls(value, option) for option in schema["anyOf"])
            pairs = zip(found, schema["anyOf"], strict=True)
            return next((inner for inner, option in pairs if self.fault(inner, option) is None), value)
        if isinstance(value, list) and "items" in schema:
            return [self.without_added_nulls(item, schema["items"]) for item in value]
        if isinstance(value, dict) and "properties" in schema:
            properties, required = schema["properties"], schema.get("required", [])
            return {
                name: self.without_added_nulls(item, properties.get(name, {}))
                for name, item in value.items()
                if item is not None
                or name in required
                or name not in properties
                or self.fault(None, properties[name]) is None
            }
        return value

    def closed(self, schema: Any = None) -> Any:
        """Return the schema with each object's closing written out, for a runtime that enforces schemas."""
        return mapped(self.root if schema is None else schema, closed)

    def guided(self) -> Any:
        """Return the schema for llguidance: closed, each type written out, without annotations."""
        return mapped(self.root, guided)

    def _object_fault(self, value: Mapping[str, Any], schema: Mapping[str, Any], at: str) -> str | None:
        properties, others = schema.get("properties", {}), additional_schema(schema)
        missing = [name for name in schema.get("required", []) if name not in value]
        if missing:
            return f"{at} lacks {', '.join(map(repr, missing))}"
        for name, item in value.items():
            inner = properties.get(name, others)
            if inner is None:
                return f"{at} has the key {name!r}, which is none of {', '.join(map(repr, properties))}"
            fault = self.fault(item, inner, f"{at}, at {name!r},")
            if fault:
                return fault
        return None

    def _array_fault(self, value: list[Any], schema: Mapping[str, Any], at: str) -> str | None:
        least, most = schema.get("minItems", 0), schema.get("maxItems")
        if len(value) < least or (most is not None and len(value) > most):
            return f"{at} has {len(value)} items; {_range_text(least, most)} are wanted"
        faults = (self.fault(item, schema.get("items", {}), f"{at}, item {n},") for n, item in enumerate(value, 1))
        return next((fault for fault in faults if fault), None)

    def _loops(self) -> Iterator[str]:
        """Yield the definitions that are nothing but references to themselves."""
        for name in self.definitions:
            ahead, seen = [name], {name}
            while ahead:
                for reference in _direct(self.definitions[ahead.pop()]):
                    inner = reference.removeprefix("#/$defs/")
                    if inner == name:
                        yield f"json.$defs.{name} refers to itself without an object or array between"
                        return
                    if inner not in seen:
                        seen.add(inner)
                        ahead.append(inner)

    def _faults(self, schema: Any, at: str, depth: int) -> Iterator[str]:
        if not isinstance(schema, Mapping):
            yield f"{at} must be a mapping of JSON Schema, not {quoted(str(schema))}"
            return
        if depth > MAX_DEPTH:
            yield f"{at} is nested too deep"
            return
        for key in schema:
            if key not in KEYWORDS or (key == "$defs" and schema is not self.root):
                hint = nearest(str(key), KEYWORDS)
                yield f"{at}: the keyword `{key}` is not supported" + (f"; {hint}" if hint else "")
        yield from self._type_faults(schema, at)
        yield from self._value_faults(schema, at)
        properties = schema.get("properties")
        if isinstance(properties, Mapping):
            for name, inner in properties.items():
                yield from self._faults(inner, f"{at}.{name}", depth + 1)
        if "items" in schema:
            yield from self._faults(schema["items"], f"{at}.items", depth + 1)
        if not isinstance(schema.get("additionalProperties", False), bool):
            yield from self._faults(schema["additionalProperties"], f"{at}.additionalProperties", depth + 1)
        for key in ("anyOf", "oneOf", "allOf"):
            options = schema.get(key)
            if isinstance(options, list):
                for number, inner in enumerate(options):
                    yield from self._faults(inner, f"{at}.{key}.{number}", depth + 1)

    def _type_faults(self, schema: Mapping[str, Any], at: str) -> Iterator[str]:
        keywords = {key for key in schema if key not in ANNOTATIONS and key != "$defs"}
        for key in ALONE:
            if key in keywords and keywords != {key}:
                yield f"{at}: `{key}` stands alone, without {', '.join(sorted(keywords - {key}))}"
        for unknown in [name for name in allowed_types(schema) if name not in TYPES]:
            hint = nearest(str(unknown), TYPES)
            yield f"{at}: no type `{unknown}`" + (f"; {hint}" if hint else "")
        reference = schema.get("$ref")
        if reference is not None and self.target(reference) is None:
            known = [f"#/$defs/{name}" for name in self.definitions]
            hint = nearest(str(reference), known)
            yield f"{at}: nothing at `{reference}`" + (f"; {hint}" if hint else "")

    def _value_faults(self, schema: Mapping[str, Any], at: str) -> Iterator[str]:
        for key in ("minItems", "maxItems", "minLength", "maxLength"):
            if key in schema and (not isinstance(schema[key], int) or isinstance(schema[key], bool) or schema[key] < 0):
                yield f"{at}: `{key}` must be a whole number from 0"
        for key in ("minimum", "maximum"):
            if key in schema and (isinstance(schema[key], bool) or not isinstance(schema[key], int | float)):
                yield f"{at}: `{key}` must be a number"
        if not isinstance(schema.get("format", ""), str):
            yield f"{at}: `format` must be a text"
        if "pattern" in schema and (fault := pattern_problem(schema["pattern"])):
            yield f"{at}: `pattern` {fault}"
        for key in ("enum", "anyOf", "oneOf", "allOf"):
            if key in schema and (not isinstance(schema[key], list) or not schema[key]):
                yield f"{at}: `{key}` must be a list that is not empty"
        properties = schema.get("properties", {})
        if not isinstance(properties, Mapping):
            yield f"{at}: `properties` must be a mapping"
            return
        required = schema.get("required", [])
        if not isinstance(required, list) or not all(isinstance(name, str) for name in required):
            yield f"{at}: `required` must be a list of names"


def _direct(schema: Mapping[str, Any]) -> Iterator[str]:
    """Yield the references that a value of the schema follows with no object or array around it."""
    if "$ref" in schema:
        yield schema["$ref"]
    for key in ("anyOf", "oneOf", "allOf"):
        for option in schema.get(key, []):
            yield from _direct(option)


def _is_of(value: Any, kind: str) -> bool:
    if isinstance(value, bool):
        return kind == "boolean"
    whole = isinstance(value, int) or (isinstance(value, float) and value.is_integer())
    return {
        "object": isinstance(value, Mapping),
        "array": isinstance(value, list),
        "string": isinstance(value, str),
        "number": isinstance(value, int | float),
        "integer": whole,
        "null": value is None,
    }.get(kind, False)


def _scalar_fault(value: Any, kind: str, schema: Mapping[str, Any], at: str) -> str | None:
    if kind == "string":
        least, most = schema.get("minLength", 0), schema.get("maxLength")
        if len(value) < least or (most is not None and len(value) > most):
            return f"{at} has {len(value)} characters; {_range_text(least, most)} are wanted"
        if fault := text_fault(value, schema):
            return f"{at} is {quoted(value)}, {fault}"
    if kind in ("number", "integer"):
        least, most = schema.get("minimum"), schema.get("maximum")
        if (least is not None and value < least) or (most is not None and value > most):
            return f"{at} is {value}; {_range_text(least, most)} is wanted"
    return None


def _range_text(least: Any, most: Any) -> str:
    if most is None:
        return f"at least {least}"
    return f"at most {most}" if least is None else f"from {least} to {most}"
