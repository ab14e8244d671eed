"""The names and values in the syntax tree of a Python file, read without running it."""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from promptkit.errors import InputError, Problem, place
from promptkit.storage.files import check_named, read_bytes

_COLLECTIONS: Mapping[str, Callable[[Any], Any]] = {kind.__name__: kind for kind in (dict, frozenset, list, set, tuple)}
_DISPLAYS: Mapping[type, Callable[[Any], Any]] = {ast.List: list, ast.Tuple: tuple, ast.Set: set}


def is_regular(path: Path) -> bool:
    """Tell whether a path is a regular file."""
    try:
        return path.is_file()
    except (OSError, ValueError):  # A name too long for a file, or one with a NUL.
        return False


def parse_source(file: Path) -> ast.Module:
    """Return the syntax tree of a Python file. Raises InputError for a missing file, and for one that is not Python."""
    check_named(file)
    try:
        return ast.parse(read_bytes(file), filename=str(file))
    except SyntaxError as error:
        raise InputError(Problem(f"SyntaxError: {error.msg}", file=place(file), line=error.lineno)) from None
    except (ValueError, RecursionError, MemoryError) as error:
        raise InputError(Problem(f"{type(error).__name__}: {error}", file=place(file))) from None


def functions_of(tree: ast.Module) -> dict[str, ast.FunctionDef | ast.AsyncFunctionDef]:
    """Return the functions at the top level of a file, by name."""
    return {node.name: node for node in tree.body if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)}


def bound_names(tree: ast.Module) -> frozenset[str]:
    """Return the names that a file may bind outside of functions and classes; `*` for an import of all names."""
    return defined_names(tree) | {
        (alias.asname or alias.name).partition(".")[0] for node in _imports(tree) for alias in node.names
    }


def defined_names(tree: ast.Module) -> frozenset[str]:
    """Return the names that a file may bind outside of functions and classes other than by imports."""
    found: set[str] = set()
    for node in _module_level_nodes(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            found.add(node.name)
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            found.add(node.id)
    return frozenset(found)


def imports_of(tree: ast.Module, name: str) -> Iterator[tuple[int, str, str]]:
    """Yield the imports that may bind a name: the dots before the module, the module, and the name in it.

    The last is empty where the whole module is imported.
    """
    for node in _imports(tree):
        for alias in node.names:
            if isinstance(node, ast.Import):
                if (alias.asname or alias.name.partition(".")[0]) == name:
                    yield 0, alias.name, ""
            elif alias.name == "*" or (alias.asname or alias.name) == name:
                yield node.level, node.module or "", name if alias.name == "*" else alias.name


def _imports(tree: ast.Module) -> Iterator[ast.Import | ast.ImportFrom]:
    return (node for node in _module_level_nodes(tree) if isinstance(node, ast.Import | ast.ImportFrom))


def _module_level_nodes(tree: ast.Module) -> Iterator[ast.AST]:
    """Yield the nodes of a file outside of functions and classes, and the definitions of these."""
    waiting: list[ast.AST] = list(tree.body)
    while waiting:
        node = waiting.pop()
        yield node
        if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            waiting += ast.iter_child_nodes(node)


def binds(tree: ast.Module, name: str) -> bool:
    """Tell whether a file may bind a name outside of functions and classes."""
    return not bound_names(tree).isdisjoint({name, "*"})


def constants_of(tree: ast.Module) -> dict[str, Any]:
    """Return the plain values that a file assigns to names at its top level."""
    found: dict[str, Any] = {}
    for node in tree.body:
        target = node.targets[0] if isinstance(node, ast.Assign) and len(node.targets) == 1 else None
        if isinstance(node, ast.AnnAssign):
            target = node.target
        if isinstance(node, ast.Assign | ast.AnnAssign) and node.value is not None and isinstance(target, ast.Name):
            try:
                found[target.id] = literal_value(node.value, found)
            except (ValueError, RecursionError):
                found.pop(target.id, None)
    return found


def literal_value(node: ast.expr, names: Mapping[str, Any]) -> Any:
    """Return the value of a plain expression: a constant, one of `names`, or a collection of these.

    Raises ValueError for any other.
    """
    match node:
        case ast.Constant(value=value):
            return value
        case ast.Name(id=name) if name in names:
            return names[name]
        case ast.List(elts=parts) | ast.Tuple(elts=parts) | ast.Set(elts=parts):
            values = [literal_value(part, names) for part in parts]
            return _hashable_or_error(lambda: _DISPLAYS[type(node)](values))
        case ast.Dict(keys=keys, values=values) if None not in keys:
            pairs = [
                (literal_value(key, names), literal_value(value, names))
                for key, value in zip(keys, values, strict=True)
                if key
            ]
            return _hashable_or_error(lambda: dict(pairs))
        case ast.UnaryOp(op=ast.USub(), operand=ast.Constant(value=int() | float() as number)):
            return -number
        case ast.JoinedStr(values=parts):
            return "".join(str(literal_value(part, names)) for part in parts)
        case ast.FormattedValue(value=part, conversion=-1, format_spec=None):
            return literal_value(part, names)
        case ast.Subscript(value=collection, slice=key):
            return _looked_up(literal_value(collection, names), literal_value(key, names))
        case ast.Call(func=ast.Name(id=name), args=parts, keywords=[]) if name in _COLLECTIONS and len(parts) <= 1:
            content = literal_value(parts[0], names) if parts else ()
            return _hashable_or_error(lambda: _COLLECTIONS[name](content))
    raise ValueError(f"`{ast.unparse(node):.60}` is not a plain value")


def _looked_up(collection: Any, key: Any) -> Any:
    try:
        return collection[key]
    except (TypeError, LookupError) as error:
        raise ValueError(f"{type(error).__name__}: {error}") from None


def _hashable_or_error(make: Callable[[], Any]) -> Any:
    try:
        return make()
    except TypeError as error:
        raise ValueError(str(error)) from None
