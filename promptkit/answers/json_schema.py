"""The part of JSON Schema that a runtime can enforce exactly: checked when it is read, and applied to values.

Supported: type (one or several), properties, required, additionalProperties, items, minItems, maxItems, minLength,
maxLength, pattern, format, minimum, maximum, enum, const, anyOf, oneOf, allOf, $ref to `#/$defs/NAME`, and annotations.
Any other keyword is an error, since nothing would enforce it. An object with `properties` is closed unless
`additionalProperties` says otherwise.

`allOf` is merged into one schema when it is read. `oneOf` becomes `anyOf`, after a check that no value fits two of its
options: llguidance runs an overlapping `oneOf` unconstrained and reports no error.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import combinations
from typing import Any

from promptkit.answers.base import hashable, quoted
from promptkit.answers.text_formats import has_enforced_format, pattern_problem, text_fault
from promptkit.errors import InputError, nearest

_TYPES = ("object", "array", "string", "number", "integer", "boolean", "null")
_ANNOTATIONS = frozenset(
    {"title", "description", "default", "examples", "$schema", "$id", "$comment", "deprecated", "format"}
)
"""`format` is an annotation unless it is one of `text_formats.FORMATS`."""
_KEYWORDS_OF_TYPE = {
    "object": frozenset({"properties", "required", "additionalProperties"}),
    "array": frozenset({"items", "minItems", "maxItems"}),
    "string": frozenset({"minLength", "maxLength", "pattern"}),
    "number": frozenset({"minimum", "maximum"}),
    "integer": frozenset({"minimum", "maximum"}),
}
_ALONE = ("$ref", "anyOf", "oneOf")
_KEYWORDS = frozenset({"type", "enum", "const", "$defs", "allOf", *_ALONE, *_ANNOTATIONS}).union(
    *_KEYWORDS_OF_TYPE.values()
)
_BOUNDS = {"minItems": "maxItems", "minLength": "maxLength", "minimum": "maximum"}
MAX_DEPTH = 50
SMALLEST_GUIDED, LARGEST_GUIDED = 1e-9, 2**53
"""Bounds of numbers beyond these make llguidance cut the number, or run unconstrained without an error."""


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
            resolver = _Resolver(self)
            self.root, self.definitions = resolver.resolved()
            faults += resolver.faults
        if not faults and self.needs_guidance and not self.is_guidable:
            faults.append(
                "json: `pattern` and `format` cannot be enforced beside bounds of numbers beyond 2 to the power of 53"
            )
        if faults:
            raise InputError("\n".join(faults))

    @property
    def needs_guidance(self) -> bool:
        """Whether the schema has a keyword that GBNF cannot express: `pattern`, or an enforced `format`."""
        return any("pattern" in schema or has_enforced_format(schema) for schema in self._parts())

    @property
    def is_guidable(self) -> bool:
        """Whether llguidance enforces all of the schema."""
        bounds = [abs(schema[key]) for schema in self._parts() for key in ("minimum", "maximum") if key in schema]
        return all(not bound or SMALLEST_GUIDED <= bound <= LARGEST_GUIDED for bound in bounds)

    def _parts(self) -> Iterator[Mapping[str, Any]]:
        """Yield every schema in the schema, itself among them."""
        ahead: list[Any] = [self.root, *self.definitions.values()]
        while ahead:
            schema = ahead.pop()
            yield schema
            ahead += _inner_schemas(schema)

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

    def closed(self, schema: Any = None) -> Any:
        """Return the schema with each object's closing written out, for a runtime that enforces schemas."""
        return _mapped(self.root if schema is None else schema, _closed)

    def guided(self) -> Any:
        """Return the schema for llguidance: closed, each type written out, without annotations."""
        return _mapped(self.root, _guided)

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
        for key in ("anyOf", "oneOf", "allOf"):
            options = schema.get(key)
            if isinstance(options, list):
                for number, inner in enumerate(options):
                    yield from self._faults(inner, f"{at}.{key}.{number}", depth + 1)

    def _type_faults(self, schema: Mapping[str, Any], at: str) -> Iterator[str]:
        keywords = {key for key in schema if key not in _ANNOTATIONS and key != "$defs"}
        for key in _ALONE:
            if key in keywords and keywords != {key}:
                yield f"{at}: `{key}` stands alone, without {', '.join(sorted(keywords - {key}))}"
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
        if not isinstance(required, list):
            yield f"{at}: `required` must be a list of names"


def allowed_types(schema: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the types a schema without `anyOf` and `$ref` allows, all where it names none."""
    given = schema.get("type")
    if given is not None:
        return tuple(given) if isinstance(given, list) else (given,)
    implied = [name for name, keys in _KEYWORDS_OF_TYPE.items() if keys & schema.keys()]
    if not implied and has_enforced_format(schema):
        implied = ["string"]
    return tuple(implied[:1]) if implied else tuple(name for name in _TYPES if name != "integer")


def additional_schema(schema: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """Return the schema of an object's further keys, None where it may have none."""
    others = schema.get("additionalProperties", "properties" not in schema)
    if isinstance(others, bool):
        return {} if others else None
    return others  # type: ignore[no-any-return]


def _direct(schema: Mapping[str, Any]) -> Iterator[str]:
    """Yield the references that a value of the schema follows with no object or array around it."""
    if "$ref" in schema:
        yield schema["$ref"]
    for key in ("anyOf", "oneOf", "allOf"):
        for option in schema.get(key, []):
            yield from _direct(option)


def _inner_schemas(schema: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """Yield the schemas one level inside a resolved schema, its definitions left out."""
    yield from schema.get("properties", {}).values()
    yield from schema.get("anyOf", ())
    yield from (schema[key] for key in ("items", "additionalProperties") if isinstance(schema.get(key), Mapping))


def _mapped(schema: Any, change: Callable[[dict[str, Any]], dict[str, Any]]) -> Any:
    """Return a copy of a resolved schema with every schema in it changed, from the inside out."""
    if isinstance(schema, list):
        return [_mapped(item, change) for item in schema]
    if not isinstance(schema, Mapping):
        return schema
    copy = dict(schema)
    for key in ("items", "additionalProperties", "anyOf"):
        if key in copy:
            copy[key] = _mapped(copy[key], change)
    for key in ("properties", "$defs"):
        if key in copy:
            copy[key] = {name: _mapped(inner, change) for name, inner in copy[key].items()}
    return change(copy)


def _closed(schema: dict[str, Any]) -> dict[str, Any]:
    extra = {"additionalProperties": schema.get("additionalProperties", False)}
    return schema | extra if "properties" in schema else schema


def _guided(schema: dict[str, Any]) -> dict[str, Any]:
    keywords = _keywords(schema)
    kept = {key: value for key, value in _closed(schema).items() if key not in _ANNOTATIONS or key in keywords}
    is_typed = keywords <= {"type", "enum", "const", *_ALONE}
    return kept if is_typed or "type" in kept else {"type": list(allowed_types(kept)), **kept}


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


class _Resolver:
    """Resolves `allOf` by merging and `oneOf` to `anyOf`. `faults` holds everything that cannot be resolved."""

    def __init__(self, schema: JsonSchema) -> None:
        self.faults: list[str] = []
        self._schema = schema
        self._raw = schema.definitions
        self._definitions: dict[str, Mapping[str, Any]] = {}
        self._exclusive: list[tuple[Sequence[Mapping[str, Any]], str]] = []
        self._resolving: list[str] = []

    def resolved(self) -> tuple[Mapping[str, Any], Mapping[str, Any]]:
        """Return the root and its definitions, resolved."""
        for name in self._raw:
            self._definition(name)
        root = dict(self._resolve(self._schema.root, "json"))
        if self._raw:
            root["$defs"] = self._definitions
        self._schema.definitions = self._definitions
        for options, at in self._exclusive:
            for (first, one), (second, other) in combinations(enumerate(options), 2):
                if not self._are_disjoint(one, other):
                    self.faults.append(
                        f"{at}: a value may fit both {first} and {second} of `oneOf`: tell them apart by their types, "
                        "or by a required property with a different `const`; or use `anyOf`"
                    )
        return root, self._definitions

    def _definition(self, name: str) -> Mapping[str, Any]:
        if name not in self._definitions:
            if name in self._resolving:
                self.faults.append(f"json.$defs.{name} refers to itself in `allOf`")
                return {}
            self._resolving.append(name)
            self._definitions[name] = self._resolve(self._raw[name], f"json.$defs.{name}")
            self._resolving.remove(name)
        return self._definitions[name]

    def _resolve(self, schema: Mapping[str, Any], at: str, *, is_part: bool = False) -> Mapping[str, Any]:
        copy = {key: value for key, value in schema.items() if key not in ("allOf", "oneOf")}
        if "properties" in copy:
            copy["properties"] = {
                name: self._resolve(inner, f"{at}.{name}") for name, inner in copy["properties"].items()
            }
        for key in ("items", "additionalProperties"):
            if isinstance(copy.get(key), Mapping):
                copy[key] = self._resolve(copy[key], f"{at}.{key}")
        for key in ("anyOf", "oneOf"):
            if key in schema:
                copy["anyOf"] = [self._resolve(option, f"{at}.{key}.{n}") for n, option in enumerate(schema[key])]
        if "oneOf" in schema:
            self._exclusive.append((copy["anyOf"], at))
        for number, part in enumerate(schema.get("allOf", ())):
            copy = self._merged(copy, self._resolve(part, f"{at}.allOf.{number}", is_part=True), at)
        if not is_part:
            self._check_whole(copy, at)
        return copy

    def _check_whole(self, schema: Mapping[str, Any], at: str) -> None:
        """Report names in `required` that are not properties, and bounds with nothing between them."""
        properties = schema.get("properties", {})
        for name in schema.get("required", ()):
            if name not in properties:
                hint = nearest(str(name), properties)
                self.faults.append(
                    f"{at}: `required` names `{name}`, which is no property" + (f"; {hint}" if hint else "")
                )
        for low, high in _BOUNDS.items():
            if low in schema and high in schema and schema[low] > schema[high]:
                self.faults.append(f"{at}: nothing lies between `{low}` {schema[low]} and `{high}` {schema[high]}")

    def _merged(self, one: Mapping[str, Any], other: Mapping[str, Any], at: str) -> dict[str, Any]:
        """Return the schema that both hold for."""
        one, other = self._target(one), self._target(other)
        if not _keywords(one) or not _keywords(other):
            return dict(other if not _keywords(one) else one)
        if "anyOf" in one or "anyOf" in other:
            self.faults.append(f"{at}: `allOf` cannot hold alternatives (`anyOf`, `oneOf`)")
            return {}
        values = _values(one) or _values(other)
        if values:
            return {"enum": self._common(values, one, other, at)}
        merged = {**one, **other, "type": self._common_types(one, other, at)}
        for low, high in _BOUNDS.items():
            for key, choose in ((low, max), (high, min)):
                if key in one and key in other:
                    merged[key] = choose(one[key], other[key])
        for key in ("pattern", "format"):
            if key in one and key in other and one[key] != other[key]:
                self.faults.append(f"{at}: `allOf` cannot hold two values of `{key}`")
        if "items" in one and "items" in other:
            merged["items"] = self._merged(one["items"], other["items"], f"{at}.items")
        return {**merged, **self._merged_object(one, other, at)}

    def _merged_object(self, one: Mapping[str, Any], other: Mapping[str, Any], at: str) -> dict[str, Any]:
        """Return the keywords of an object that both hold for."""
        merged: dict[str, Any] = {}
        required = [*one.get("required", ()), *other.get("required", ())]
        if required:
            merged["required"] = list(dict.fromkeys(required))
        properties = {**one.get("properties", {}), **other.get("properties", {})}
        for name in properties:
            first, second = self._property(one, name, at), self._property(other, name, at)
            if first is not None and second is not None:
                properties[name] = self._merged(first, second, f"{at}.{name}")
        if properties:
            merged["properties"] = properties
        if "additionalProperties" in one and "additionalProperties" in other:
            merged["additionalProperties"] = self._merged_extra(
                one["additionalProperties"], other["additionalProperties"], at
            )
        return merged

    def _property(self, schema: Mapping[str, Any], name: str, at: str) -> Mapping[str, Any] | None:
        """Return the schema that a part of `allOf` has for a property, None where it says nothing of it."""
        if name in schema.get("properties", {}):
            return schema["properties"][name]  # type: ignore[no-any-return]
        extra = schema.get("additionalProperties")
        if extra is False:
            self.faults.append(f"{at}: `additionalProperties: false` in a part of `allOf` excludes `{name}` of another")
        return extra if isinstance(extra, Mapping) else None

    def _merged_extra(self, one: Any, other: Any, at: str) -> Any:
        if isinstance(one, Mapping) and isinstance(other, Mapping):
            return self._merged(one, other, f"{at}.additionalProperties")
        if one is False or other is False:
            return False
        return other if one is True else one

    def _common(self, values: Sequence[Any], one: Mapping[str, Any], other: Mapping[str, Any], at: str) -> list[Any]:
        self._schema.definitions = {**self._raw, **self._definitions}
        kept = [value for value in values if not (self._schema.fault(value, one) or self._schema.fault(value, other))]
        if not kept:
            self.faults.append(f"{at}: no value fits all of `allOf`")
        return kept

    def _common_types(self, one: Mapping[str, Any], other: Mapping[str, Any], at: str) -> list[str]:
        kept = _shared_types(allowed_types(one), allowed_types(other))
        if not kept:
            self.faults.append(f"{at}: no type fits all of `allOf`")
        return kept

    def _target(self, schema: Mapping[str, Any]) -> Mapping[str, Any]:
        while "$ref" in schema:
            schema = self._definition(str(schema["$ref"]).removeprefix("#/$defs/"))
        return schema

    def _are_disjoint(self, one: Mapping[str, Any], other: Mapping[str, Any], depth: int = 0) -> bool:
        """Tell whether certainly no value fits both schemas."""
        one, other = self._target(one), self._target(other)
        if depth > 4:
            return False
        for first, second in ((one, other), (other, one)):
            if "anyOf" in first:
                return all(self._are_disjoint(option, second, depth + 1) for option in first["anyOf"])
            if values := _values(first):
                return all(self._schema.fault(value, second) for value in values)
        shared = _shared_types(allowed_types(one), allowed_types(other))
        if set(shared) <= {"number", "integer"}:
            return not shared or _is_below(one, other) or _is_below(other, one)
        return shared == ["object"] and self._have_distinct_property(one, other, depth)

    def _have_distinct_property(self, one: Mapping[str, Any], other: Mapping[str, Any], depth: int) -> bool:
        for first, second in ((one, other), (other, one)):
            for name in first.get("required", ()):
                excluding = second.get("properties", {}).get(name, additional_schema(second))
                if excluding is None or self._are_disjoint(first["properties"][name], excluding, depth + 1):
                    return True
        return False


def _keywords(schema: Mapping[str, Any]) -> set[str]:
    """Return the keywords of a schema that are enforced."""
    enforced = {key for key in schema if key not in _ANNOTATIONS and key != "$defs"}
    return enforced | {"format"} if has_enforced_format(schema) else enforced


def _values(schema: Mapping[str, Any]) -> list[Any]:
    """Return the values that a schema lists, none where it lists none."""
    return [schema["const"]] if "const" in schema else list(schema.get("enum", ()))


def _shared_types(one: Sequence[str], other: Sequence[str]) -> list[str]:
    """Return the types that both allow; an integer is a number."""
    shared = [name for name in one if name in other or (name == "integer" and "number" in other)]
    return shared + ["integer"] * ("integer" in other and "number" in one and "integer" not in shared)


def _is_below(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    return "maximum" in one and "minimum" in other and bool(one["maximum"] < other["minimum"])
