"""The text of a program: cut out of a model's reply, and which names it leaves undefined."""

from __future__ import annotations

import ast
import builtins
import re
import textwrap
from collections.abc import Iterator

from promptkit.answers import Code, Unparsed

_INDENTED_FENCE = re.compile(r"^[ \t]+(?=```)", re.MULTILINE)
_FENCE_IN_LINE = re.compile(r"(?<=:)[ \t]*(?=```[\w+#.-]*[ \t]*$)", re.MULTILINE)
_SCOPES = (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda, ast.ClassDef)


def cut_program(reply: str, *, last: bool = False) -> str:
    """Return the code in a model's reply: its first fenced block (the last with `last`), else all of it, outdented.

    The prose around a block is dropped; a block that was not closed goes to the end. Empty where there is no code.
    """
    reply = _FENCE_IN_LINE.sub("\n", _INDENTED_FENCE.sub("", reply))
    code = Code()
    try:
        blocks = list(code.mentions(reply)) or [code.read(reply)]
    except Unparsed:
        return ""
    return textwrap.dedent(blocks[-1 if last else 0]).strip("\n")


def undefined_names(program: str) -> set[str]:
    """Return the names that a program reads or calls, never binds in any of its scopes, and that are no builtins.

    Empty for a text that is no Python: running it says why.
    """
    nodes = list(_walk(program))
    read = {node.id for node in nodes if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load)}
    bound = {name for node in nodes for name in _bound_by(node)}
    return read - bound - set(dir(builtins))


def assigned_names(program: str) -> list[str]:
    """Return the variables that a program assigns at its top level, in order; no functions, classes and modules."""
    found: dict[str, None] = {}
    waiting = [_parse(program)]
    while waiting:
        node = waiting.pop()
        if isinstance(node, _SCOPES):
            continue
        if isinstance(node, ast.comprehension):
            waiting.extend((*node.ifs, node.iter))
            continue
        if isinstance(node, ast.Name | ast.MatchAs | ast.MatchStar | ast.MatchMapping):
            found |= dict.fromkeys(_bound_by(node))
        waiting.extend(reversed(list(ast.iter_child_nodes(node))))
    return list(found)


def _parse(program: str) -> ast.AST:
    try:
        return ast.parse(program)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return ast.Module(body=[], type_ignores=[])


def _walk(program: str) -> Iterator[ast.AST]:
    return ast.walk(_parse(program))


def _bound_by(node: ast.AST) -> Iterator[str]:
    match node:
        case ast.Name(id=name, ctx=ast.Store()):
            yield name
        case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name) | ast.ClassDef(name=name):
            yield name
        case ast.arg(arg=name):
            yield name
        case ast.alias(name=name, asname=other):
            yield other or name.partition(".")[0]
        case ast.ExceptHandler(name=str(name)) | ast.MatchAs(name=str(name)) | ast.MatchStar(name=str(name)):
            yield name
        case ast.MatchMapping(rest=str(name)):
            yield name
