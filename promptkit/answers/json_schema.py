"""The part of JSON Schema that a grammar can enforce exactly: checked when read, and held against values.

Known: type (one or several), properties, required, additionalProperties, items, minItems, maxItems, minLength,
maxLength, minimum, maximum, enum, const, anyOf, $ref to `#/$defs/NAME`, and annotations. An object with `properties`
is closed unless `additionalProperties` says otherwise. An unknown keyword is an error, since it would not be enforced.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from promptkit.answers.base import hashable, quoted
from promptkit.errors import InputError, nearest

_TYPES = ("object", "array", "string", "number", "integer", "boolean", "null")
_ANNOTATIONS = frozenset(
    {"title", "description", "default", "examples", "$schema", "$id", "$comment", "deprecated", "format"}
)
_KEYWORDS_OF_TYPE = {
    "object": frozenset({"properties", "required", "additionalProperties"}),
    "array": frozenset({"items", "minItems", "maxItems"}),
    "string": frozenset({"minLength", "maxLength"}),
    "number": frozenset({"minimum", "maximum"}),
    "integer": frozenset({"minimum", "maximum"}),
}
_ALONE = ("$ref", "anyOf")
_KEYWORDS = frozenset({"type", "enum", "const", "$defs", *_ALONE, *_ANNOTATIONS}).union(*_KEYWORDS_OF_TYPE.values())


class JsonSchema:
    """One schema. Raises InputError with all that is wrong with it."""

    def __init__(self, root: Mapping[str, Any]) -> None:
        self.root = root
        self.definitions: Mapping[str, Any] = (
            root.get("$defs", {}) if isinstance(root.get("$defs", {}), Mapping) else {}
        )
        faults = list(self._faults(root, "json", depth=0))
        for name, definition in self.definitions.items():
            faults += self._faults(definition, f"json.$defs.{name}", depth=1)
        faults += () if faults else self._loops()
        if faults:
            raise InputError("\n".join(faults))

    def target(self, reference: Any) -> Mapping[str, Any] | None:
        """Return the definition that a `$ref` names, None where there is none."""
        name = str(reference).removeprefix("#/$defs/")
        return self.definitions.get(name) if str(reference).startswith("#/$defs/") else None

    def fault(self, value: Any, schema: Mapping[str, Any] | None = None, at: str = "the JSON") -> str | None:
        """Return what is wrong with a value, None where it fits."""
        schema = self.root if schema is None else schema
        if "$ref" in schema:
            return self.fault(value, self.target(schema["$ref"]), at)
        if "anyOf" in schema:
            faults = [self.fault(value, option, at) for option in schema["anyOf"]]
            return None if None in faults else f"{at} fits none of the allowed forms: {faults[0]}"
        for key, wanted in (("const", [schema.get("const")]), ("enum", schema.get("enum"))):
            if key in schema and hashable(value) not in [hashable(item) for item in wanted or []]:
                return f"{at} is {quoted(str(value))}, not {' or '.join(quoted(str(item)) for item in wanted or [])}"
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

    def closed(self, schema: Any = None) -> Any:
        """Return the schema with each object's closing written out, for a runtime that enforces schemas."""
        schema = self.root if schema is None else schema
        if isinstance(schema, list):
            return [self.closed(item) for item in schema]
        if not isinstance(schema, Mapping):
            return schema
        copy = dict(schema)
        for key in ("items", "additionalProperties", "anyOf"):
            if key in copy:
                copy[key] = self.closed(copy[key])
        for key in ("properties", "$defs"):
            if key in copy:
                copy[key] = {name: self.closed(inner) for name, inner in copy[key].items()}
        if "properties" in copy:
            copy.setdefault("additionalProperties", False)
        return copy

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
        if depth > 50:
            yield f"{at} is nested too deep"
            return
        for key in schema:
            if key not in _KEYWORDS or (key == "$defs" and schema is not self.root):
                hint = nearest(str(key), _KEYWORDS)
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
        options = schema.get("anyOf")
        if isinstance(options, list):
            for number, inner in enumerate(options):
                yield from self._faults(inner, f"{at}.anyOf.{number}", depth + 1)

    def _type_faults(self, schema: Mapping[str, Any], at: str) -> Iterator[str]:
        own = {key for key in schema if key not in _ANNOTATIONS and key != "$defs"}
        for key in _ALONE:
            if key in own and own != {key}:
                yield f"{at}: `{key}` stands alone, without {', '.join(sorted(own - {key}))}"
        for unknown in [name for name in allowed_types(schema) if name not in _TYPES]:
            hint = nearest(str(unknown), _TYPES)
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
        for key in ("enum", "anyOf"):
            if key in schema and (not isinstance(schema[key], list) or not schema[key]):
                yield f"{at}: `{key}` must be a list that is not empty"
        properties = schema.get("properties", {})
        if not isinstance(properties, Mapping):
            yield f"{at}: `properties` must be a mapping"
            return
        required = schema.get("required", [])
        if not isinstance(required, list):
            yield f"{at}: `required` must be a list of names"
            return
        for name in required:
            if name not in properties:
                hint = nearest(str(name), properties)
                yield f"{at}: `required` names `{name}`, which is no property" + (f"; {hint}" if hint else "")


def allowed_types(schema: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the types a schema without `anyOf` and `$ref` allows, all where it names none."""
    given = schema.get("type")
    if given is None:
        own = [name for name, keys in _KEYWORDS_OF_TYPE.items() if keys & schema.keys()]
        return tuple(own[:1]) if own else tuple(name for name in _TYPES if name != "integer")
    return tuple(given) if isinstance(given, list) else (given,)


def additional_schema(schema: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """Return the schema of the keys that an object names not, None where there can be none."""
    others = schema.get("additionalProperties", "properties" not in schema)
    if isinstance(others, bool):
        return {} if others else None
    return others  # type: ignore[no-any-return]


def _direct(schema: Mapping[str, Any]) -> Iterator[str]:
    """Yield the references a value of the schema may be at once, with nothing around it."""
    if "$ref" in schema:
        yield schema["$ref"]
    for option in schema.get("anyOf", []):
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
    if kind in ("number", "integer"):
        least, most = schema.get("minimum"), schema.get("maximum")
        if (least is not None and value < least) or (most is not None and value > most):
            return f"{at} is {value}; {_range_text(least, most)} is wanted"
    return None


def _range_text(least: Any, most: Any) -> str:
    if most is None:
        return f"at least {least}"
    return f"at most {most}" if least is None else f"from {least} to {most}"
