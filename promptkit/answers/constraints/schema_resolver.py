"""The resolution of a JSON Schema: `allOf` becomes one schema, and `oneOf` with disjoint options becomes `anyOf`."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import combinations
from typing import Any

from promptkit.answers.constraints.schema_keywords import MAX_DEPTH, additional_schema, allowed_types, enforced_keywords
from promptkit.errors import nearest

MAX_COMPARISONS = 50_000
"""Comparisons of the schemas of `oneOf`, which take less than a second."""
BOUNDS = {"minItems": "maxItems", "minLength": "maxLength", "minimum": "maximum"}


class Resolver:
    """Resolves one schema. `faults` holds everything that cannot be resolved.

    `definitions` are the schema's definitions; each is replaced by its resolved form. `fault` returns the problem of a
    value under a resolved schema, None where it fits, and looks up references in `definitions`.
    """

    def __init__(self, definitions: Mapping[str, Any], fault: Callable[[Any, Mapping[str, Any]], str | None]) -> None:
        self.faults: list[str] = []
        self.definitions = dict(definitions)
        self._fault = fault
        self._resolved: set[str] = set()
        self._resolving: list[str] = []
        self._exclusive: list[tuple[Sequence[Mapping[str, Any]], str]] = []
        self._merging = 0
        self._comparisons = 0

    def resolve(self, root: Mapping[str, Any]) -> Mapping[str, Any]:
        """Return the root schema, resolved, and resolve all definitions."""
        for name in self.definitions:
            self._definition(name)
        resolved = dict(self._resolve(root, "json"))
        if "$defs" in root:
            resolved["$defs"] = self.definitions
        self.faults += [fault for options, at in self._exclusive if (fault := self._overlap(options, at))]
        return resolved

    def _overlap(self, options: Sequence[Mapping[str, Any]], at: str) -> str | None:
        """Return the fault of a `oneOf` of which a value may fit two options, None where none does."""
        for (first, one), (second, other) in combinations(enumerate(options), 2):
            if not self._are_disjoint(one, other):
                return (
                    f"{at}: a value may fit both {first} and {second} of `oneOf`: distinguish them by their types, or "
                    "by a required property with a different `const`; or use `anyOf`"
                )
        return None

    def _definition(self, name: str) -> Mapping[str, Any]:
        if name in self._resolving:
            self.faults.append(f"json.$defs.{name} refers to itself in `allOf`")
            return {}
        if name not in self._resolved:
            self._resolving.append(name)
            self.definitions[name] = self._resolve(self.definitions[name], f"json.$defs.{name}")
            self._resolving.remove(name)
            self._resolved.add(name)
        return self.definitions[name]  # type: ignore[no-any-return]

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
        for low, high in BOUNDS.items():
            if low in schema and high in schema and schema[low] > schema[high]:
                self.faults.append(f"{at}: nothing lies between `{low}` {schema[low]} and `{high}` {schema[high]}")

    def _merged(self, one: Mapping[str, Any], other: Mapping[str, Any], at: str) -> dict[str, Any]:
        """Return the schema for values that fit both."""
        if one == other:
            return dict(one)
        if self._merging > MAX_DEPTH:
            self.faults.append(f"{at[:80]}: `allOf` merges definitions that refer to themselves")
            return {}
        self._merging += 1
        merged = self._merged_targets(self._target(one), self._target(other), at)
        self._merging -= 1
        return merged

    def _merged_targets(self, one: Mapping[str, Any], other: Mapping[str, Any], at: str) -> dict[str, Any]:
        if not enforced_keywords(one) or not enforced_keywords(other):
            return dict(other if not enforced_keywords(one) else one)
        if "anyOf" in one or "anyOf" in other:
            self.faults.append(f"{at}: `allOf` cannot hold alternatives (`anyOf`, `oneOf`)")
            return {}
        values = _values(one) or _values(other)
        if values:
            return {"enum": self._common(values, one, other, at)}
        merged = {**one, **other, "type": self._common_types(one, other, at)}
        for low, high in BOUNDS.items():
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
        """Return the keywords of an object for values that fit both."""
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
        kept = [value for value in values if not (self._fault(value, one) or self._fault(value, other))]
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
        self._comparisons += 1
        if depth > 4 or self._comparisons > MAX_COMPARISONS:
            return False
        for first, second in ((one, other), (other, one)):
            if "anyOf" in first:
                return all(self._are_disjoint(option, second, depth + 1) for option in first["anyOf"])
            if values := _values(first):
                return all(self._fault(value, second) for value in values)
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


def _values(schema: Mapping[str, Any]) -> list[Any]:
    """Return the values that a schema lists, none where it lists none."""
    return [schema["const"]] if "const" in schema else list(schema.get("enum", ()))


def _shared_types(one: Sequence[str], other: Sequence[str]) -> list[str]:
    """Return the types that both allow; an integer is a number."""
    shared = [name for name in one if name in other or (name == "integer" and "number" in other)]
    return shared + ["integer"] * ("integer" in other and "number" in one and "integer" not in shared)


def _is_below(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    return "maximum" in one and "minimum" in other and bool(one["maximum"] < other["minimum"])
