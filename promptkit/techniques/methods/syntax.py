"""The syntax of programs that a model wrote: whether they are Python, the functions that they define."""

from __future__ import annotations

import ast
from typing import TypeGuard

from promptkit.answers.reader.python_syntax import syntax_tree


def is_python(program: str) -> bool:
    """Tell whether a text is a Python program."""
    return bool(program.strip()) and syntax_tree(program) is not None


def functions(program: str) -> dict[str, list[str]]:
    """Return the functions at the top level of a program, each with the names of its parameters."""
    tree = syntax_tree(program) or ast.Module(body=[], type_ignores=[])
    defined = [node for node in tree.body if isinstance(node, ast.FunctionDef)]
    return {
        node.name: [argument.arg for argument in (*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs)]
        for node in defined
    }


def is_called_without_arguments(node: ast.stmt) -> TypeGuard[ast.FunctionDef]:
    """Tell whether a statement defines a function that can be called without arguments."""
    if not isinstance(node, ast.FunctionDef):
        return False
    positional = len(node.args.posonlyargs) + len(node.args.args)
    return positional == len(node.args.defaults) and all(node.args.kw_defaults)


def returns_outside_functions(program: str) -> bool:
    """Tell whether the top level of a program returns, as the body of a function does."""
    tree = syntax_tree(program)
    waiting: list[ast.AST] = list(tree.body) if tree else []
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.Return):
            return True
        if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef | ast.Lambda):
            waiting.extend(ast.iter_child_nodes(node))
    return False
