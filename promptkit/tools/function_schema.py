"""The JSON Schema of a Python function's parameters, read from the syntax tree: its module is not imported."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from math import isfinite
from typing import Any, Final

from promptkit.project_code.source import constants_of, literal_value
from promptkit.tools.docstrings import parameter_descriptions

Function = ast.FunctionDef | ast.AsyncFunctionDef
Schema = dict[str, Any]

_SCALARS: Final = {"str": "string", "int": "integer", "float": "number", "bool": "boolean", "None": "null"}
_ARRAYS: Final = frozenset(
    {"list", "List", "Sequence", "Iterable", "Collection", "tuple", "Tuple", "set", "Set", "frozenset", "FrozenSet"}
)
_OBJECTS: Final = frozenset({"dict", "Dict", "Mapping", "MutableMapping"})
_WRAPPERS: Final = frozenset({"Annotated", "Required", "NotRequired", "ReadOnly", "Final"})
_ENUMS: Final = frozenset({"Enum", "StrEnum", "IntEnum"})
_DEEPEST: Final = 12
"""The deepest nesting of annotations; a deeper one takes any value."""


def parameters_schema(function: Function, tree: ast.Module) -> Schema:
    """Return the schema of a function's parameters, an object.

    Types are those of the annotations, with names that `tree`, the function's file, defines. A parameter without one
    takes any value. Descriptions come from the docstring.
    """
    arguments = function.args
    types = _Types(tree)
    about = parameter_descriptions(ast.get_docstring(function) or "")
    properties: Schema = {}
    for argument in (*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs):
        schema = types.schema(argument.annotation) if argument.annotation is not None else {}
        if argument.arg in about:
            schema = {**schema, "description": about[argument.arg]}
        properties[argument.arg] = schema
    defaults = dict(_defaults(arguments))
    for name, default in defaults.items():
        try:
            value = literal_value(default, types.constants)
        except (ValueError, RecursionError):
            continue
        if _is_plain(value):
            properties[name] = {**properties[name], "default": value}
    required = [name for name in properties if name not in defaults]
    return {
        "type": "object",
        "properties": properties,
        **({"required": required} if required else {}),
        "additionalProperties": arguments.kwarg is not None,
    }


def _defaults(arguments: ast.arguments) -> Iterator[tuple[str, ast.expr]]:
    positional = [*arguments.posonlyargs, *arguments.args]
    if arguments.defaults:
        for argument, default in zip(positional[-len(arguments.defaults) :], arguments.defaults, strict=True):
            yield argument.arg, default
    for argument, keyword_default in zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True):
        if keyword_default is not None:
            yield argument.arg, keyword_default


class _Types:
    """Annotations of one file as schemas."""

    def __init__(self, tree: ast.Module) -> None:
        self.constants = constants_of(tree)
        self._classes = {node.name: node for node in tree.body if isinstance(node, ast.ClassDef)}
        self._aliases = dict(_aliases(tree))
        self._within: list[str] = []

    def schema(self, annotation: ast.expr, depth: int = 0) -> Schema:
        """Return the schema of an annotation; an unknown one takes any value."""
        if depth > _DEEPEST:
            return {}
        match annotation:
            case ast.Constant(value=None):
                return {"type": "null"}
            case ast.Constant(value=str() as text):
                return self._quoted(text, depth)
            case ast.BinOp(left=left, op=ast.BitOr(), right=right):
                return self._union([left, right], depth)
            case ast.Subscript(value=generic, slice=inner):
                parts = inner.elts if isinstance(inner, ast.Tuple) else [inner]
                return self._generic(_last_name(generic), parts, depth)
        return self._named(_last_name(annotation), depth)

    def _quoted(self, text: str, depth: int) -> Schema:
        try:
            return self.schema(ast.parse(text, mode="eval").body, depth + 1)
        except (SyntaxError, ValueError, RecursionError, MemoryError):
            return {}

    def _named(self, name: str, depth: int) -> Schema:
        if name in self._classes or name in self._aliases:
            return self._defined(name, depth)
        if name in _SCALARS:
            return {"type": _SCALARS[name]}
        if name in _ARRAYS:
            return {"type": "array"}
        return {"type": "object"} if name in _OBJECTS else {}

    def _defined(self, name: str, depth: int) -> Schema:
        """Return the schema of a name that the file defines; within itself it takes any value."""
        if name in self._within:
            return {}
        self._within.append(name)
        try:
            if name in self._classes:
                return self._class(self._classes[name], depth)
            return self.schema(self._aliases[name], depth + 1)
        finally:
            self._within.pop()

    def _generic(self, name: str, parts: list[ast.expr], depth: int) -> Schema:
        if name == "Literal":
            return self._literal(parts)
        if name == "Union":
            return self._union(parts, depth)
        if name == "Optional":
            return self._union([parts[0], ast.Constant(None)], depth)
        if name in _WRAPPERS:
            about = [part.value for part in parts[1:] if isinstance(part, ast.Constant) and isinstance(part.value, str)]
            return {**self.schema(parts[0], depth + 1), **({"description": about[0]} if about else {})}
        if name in _ARRAYS:
            same = len(parts) == 1 or (isinstance(parts[1], ast.Constant) and parts[1].value is ...)
            items = self.schema(parts[0], depth + 1) if same else {}
            return {"type": "array", **({"items": items} if items else {})}
        if name in _OBJECTS:
            values = self.schema(parts[1], depth + 1) if len(parts) == 2 else {}
            return {"type": "object", **({"additionalProperties": values} if values else {})}
        return {}

    def _literal(self, parts: list[ast.expr]) -> Schema:
        try:
            return _enum([literal_value(part, self.constants) for part in parts])
        except (ValueError, RecursionError):
            return {}

    def _union(self, parts: list[ast.expr], depth: int) -> Schema:
        options: list[Schema] = []
        for part in parts:
            found = self.schema(part, depth + 1)
            if not found:
                return {}
            options += [option for option in found.get("anyOf", [found]) if option not in options]
        return options[0] if len(options) == 1 else {"anyOf": options}

    def _class(self, node: ast.ClassDef, depth: int) -> Schema:
        """Return the schema of a class whose values are JSON: a TypedDict, or an Enum of plain values."""
        bases = {_last_name(base) for base in node.bases}
        if bases & _ENUMS:
            return _enum(list(constants_of(ast.Module(node.body, [])).values()))
        if "TypedDict" not in bases:
            return {}
        fields = [part for part in node.body if isinstance(part, ast.AnnAssign) and isinstance(part.target, ast.Name)]
        names = [part.target.id for part in fields if isinstance(part.target, ast.Name)]
        total = not any(
            word.arg == "total" and isinstance(word.value, ast.Constant) and word.value.value is False
            for word in node.keywords
        )
        properties = {name: self.schema(part.annotation, depth + 1) for name, part in zip(names, fields, strict=True)}
        required = [name for name, part in zip(names, fields, strict=True) if _is_required(part.annotation, total)]
        return {"type": "object", "properties": properties, **({"required": required} if required else {})}


def _enum(values: list[Any]) -> Schema:
    return {"enum": values} if values and all(map(_is_plain, values)) else {}


def _is_plain(value: Any) -> bool:
    """Tell whether a value of Python is a plain one of JSON."""
    if isinstance(value, float):
        return isfinite(value)
    return value is None or isinstance(value, str | int)


def _is_required(annotation: ast.expr, total: bool) -> bool:
    marked = _last_name(annotation.value) if isinstance(annotation, ast.Subscript) else ""
    return marked == "Required" or (total and marked != "NotRequired")


def _aliases(tree: ast.Module) -> Iterator[tuple[str, ast.expr]]:
    """Yield the names at the top level of a file that stand for types."""
    for node in tree.body:
        match node:
            case ast.Assign(targets=[ast.Name(id=name)], value=ast.Subscript() | ast.BinOp() | ast.Name() as value):
                yield name, value
            case ast.AnnAssign(target=ast.Name(id=name), annotation=annotation, value=ast.expr() as value) if (
                _last_name(annotation) == "TypeAlias"
            ):
                yield name, value


def _last_name(node: ast.expr) -> str:
    """Return `Literal` for `Literal` and `typing.Literal`; empty for any other expression."""
    if isinstance(node, ast.Attribute):
        return node.attr
    return node.id if isinstance(node, ast.Name) else ""


def takes_of(parameters: Mapping[str, Any]) -> dict[str, bool] | None:
    """Return the names of parameters with whether each is required; None where others may be given too."""
    properties = parameters.get("properties")
    if not isinstance(properties, Mapping) or parameters.get("additionalProperties", False) is not False:
        return None
    return {name: name in parameters.get("required", ()) for name in properties}
