"""A step's tools as a model reads them, and what it writes for one as the values of its parameters."""

from __future__ import annotations

import ast
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from promptkit.answers.reader.json_reader import read_json
from promptkit.answers.text import undressed
from promptkit.tools.base import Tool

_LONGEST: Final = 10_000
"""The characters up to which a text is read as the arguments of a Python call."""
_TYPES: Final = {
    "string": "str",
    "integer": "int",
    "number": "float",
    "boolean": "bool",
    "array": "list",
    "object": "dict",
    "null": "None",
}


@dataclass(frozen=True, slots=True)
class ToolSignature:
    """A step's tool: its name, what it does, and its parameters.

    `takes` maps these to whether they are required, None where they are not known; `types` has those of a known type.
    """

    name: str
    about: str
    takes: Mapping[str, bool] | None
    types: Mapping[str, str]

    @classmethod
    def of(cls, name: str, tool: Tool) -> ToolSignature:
        """Return the signature of a step's tool, by the schema of its parameters."""
        properties = tool.parameters.get("properties")
        about = tool.description.strip()
        if not isinstance(properties, Mapping) or tool.parameters.get("additionalProperties"):
            return cls(name, about, None, {})
        required = tool.parameters.get("required", ())
        types = {name: kind for name, schema in properties.items() if (kind := _type_name(schema))}
        return cls(name, about, {name: name in required for name in properties}, types)

    @property
    def shown(self) -> dict[str, Any]:
        """The tool for the macros of `_tools.j2`."""
        takes = self.takes
        parameters = None
        if takes is not None:
            parameters = [
                {"name": name, "type": self.types.get(name, ""), "optional": not needed}
                for name, needed in takes.items()
            ]
        return {"name": self.name, "about": self.about.rstrip("."), "parameters": parameters}

    def arguments(self, written: str) -> dict[str, Any] | None:
        """Return a text as values for the parameters; None if it does not fit them.

        The text is the value of the only parameter, or of the only required one; otherwise it is a JSON object of
        several, or their values in order, with commas between.
        """
        given = _object(written)
        if given is None or not self._fits(given):
            given = self._from_text(written)
        return None if given is None else {name: self._typed(name, value) for name, value in given.items()}

    def _from_text(self, written: str) -> dict[str, Any] | None:
        values, named = _call_arguments(written)
        if named and not values and self._fits(named):
            return named
        if self.takes is None:
            return None
        names, required = list(self.takes), [name for name, needed in self.takes.items() if needed]
        if not written:
            return None if required or names else {}
        if len(names) == 1 or len(required) == 1:
            return {(required or names)[0]: written}
        values = values or [undressed(part) for part in written.split(",")]
        filled = {**dict(zip(names, values, strict=False)), **named}
        return filled if len(values) <= len(names) and self._fits(filled) else None

    def _fits(self, given: Mapping[str, Any]) -> bool:
        if self.takes is None:
            return True
        return {name for name, needed in self.takes.items() if needed} <= given.keys() <= self.takes.keys()

    def _typed(self, name: str, value: Any) -> Any:
        """Return a text as JSON where the parameter's type is not a text's."""
        kind = self.types.get(name, "str")
        if not isinstance(value, str) or "str" in kind.partition("[")[0] or kind in ("Any", "object"):
            return value
        try:
            return json.loads(value)
        except (ValueError, RecursionError):
            return value


def _type_name(schema: Any) -> str:
    """Return a parameter's type as Python writes it, empty where it is not known: `int`, `list[str]`, `str | None`."""
    if not isinstance(schema, Mapping):
        return ""
    if isinstance(options := schema.get("anyOf"), list):
        names = [_type_name(option) for option in options]
        return " | ".join(names) if all(names) else ""
    kind = schema.get("type")
    if isinstance(kind, list):
        names = [_TYPES.get(str(name), "") for name in kind]
        return " | ".join(names) if all(names) else ""
    if kind == "array" and (inner := _type_name(schema.get("items"))):
        return f"list[{inner}]"
    return _TYPES.get(str(kind), "")


def _object(text: str) -> dict[str, Any] | None:
    try:
        found = read_json(text)
    except ValueError:
        return None
    return found if isinstance(found, dict) and text.startswith("{") else None


def _call_arguments(text: str) -> tuple[list[Any], dict[str, Any]]:
    """Return the values and the named values of a text that stands in a Python call; none where it cannot."""
    try:
        call = ast.parse(f"f({text[:_LONGEST]})", mode="eval").body
        if not isinstance(call, ast.Call) or len(text) > _LONGEST:
            return [], {}
        named = {keyword.arg or "": ast.literal_eval(keyword.value) for keyword in call.keywords}
        return [ast.literal_eval(value) for value in call.args], named
    except (ValueError, SyntaxError, RecursionError, MemoryError, TypeError):
        return [], {}
