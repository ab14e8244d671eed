"""The syntax of a program in Python that a model wrote: its tree, and the names that it binds and lacks."""

from __future__ import annotations

import ast
import builtins
from collections.abc import Iterator


def syntax_tree(program: str) -> ast.Module | None:
    """Return the syntax tree of a program, None for text that is not Python."""
    try:
        return ast.parse(program)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None


def undefined_names(tree: ast.Module | None) -> set[str]:
    """Return the names that a program reads or calls, binds in none of its scopes, and that are not builtins.

    Empty for text that is not Python: running it says why.
    """
    nodes = list(ast.walk(tree)) if tree else []
    arguments = {node.arg for node in nodes if isinstance(node, ast.arg)}
    read = {node.id for node in nodes if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load)}
    return read - names_bound_in(tree) - arguments - set(dir(builtins))


def names_bound_in(tree: ast.Module | None) -> set[str]:
    """Return the names that a program assigns, defines or imports in any of its scopes."""
    return {name for node in ast.walk(tree) for name in names_bound_by(node)} if tree else set()


def names_bound_by(node: ast.AST) -> Iterator[str]:
    """Yield the names that a single node binds, except for a parameter's."""
    match node:
        case ast.Name(id=name, ctx=ast.Store()):
            yield name
        case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name) | ast.ClassDef(name=name):
            yield name
        case ast.alias(name=name, asname=other):
            yield other or name.partition(".")[0]
        case ast.ExceptHandler(name=str(name)) | ast.MatchAs(name=str(name)) | ast.MatchStar(name=str(name)):
            yield name
        case ast.MatchMapping(rest=str(name)):
            yield name
