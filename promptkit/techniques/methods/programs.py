"""Programs that a model wrote: reading them from a reply, and their value as an answer."""

from __future__ import annotations

import ast
import json
import math
import textwrap
from collections.abc import Mapping
from itertools import takewhile
from typing import Any

from promptkit.answers.reader.verdicts import verdict
from promptkit.techniques.context import Answer, Exchange
from promptkit.techniques.task import Task
from promptkit.tools.python import Execution, assigned_names, cut_program


def computed_answer(task: Task, execution: Execution, exchange: Exchange) -> Answer:
    """Return a program's value as the answer; no answer if it failed, which the trace of its reply notes."""
    if execution.failure:
        return task.no_answer(execution.failure.message, exchange)
    return value_answer(task, execution.value)


def value_answer(task: Task, value: Any) -> Answer:
    """Return a program's value as the answer: as it is, else its items as texts, its only item, or its text."""
    value = scalar(value)
    alone = single(value)
    for candidate in (value, _texts(value), alone, _texts(alone), _label_of(task, alone)):
        if (answer := task.answer(candidate)).flag is None:
            return answer
    read = answer if alone is None else task.parse(text_of(alone))
    return answer if read.flag else read


def _label_of(task: Task, value: Any) -> str | None:
    """Return the label that says what True or False does (`yes`, `incorrect`); None where no label or several do."""
    meant = [name for name in task.answer_type.alternatives() if verdict(name) is value]
    return meant[0] if len(meant) == 1 and isinstance(value, bool) else None


def text_of(value: Any) -> str:
    """Return a value as text: a text as it is, others as JSON."""
    return value if isinstance(value, str) else json.dumps(scalar(value), ensure_ascii=False)


def _texts(value: Any) -> Any:
    """Return the items of a list as texts; others as they are."""
    return list(map(text_of, value)) if isinstance(value, list) else value


def scalar(value: Any) -> Any:
    """Return a number without floating-point noise: six decimals, an integer if whole; others as they are."""
    if not isinstance(value, float) or not math.isfinite(value):
        return value
    value = round(value, 6) if abs(value) >= 1 else float(f"{value:.6g}")
    return int(value) if value.is_integer() else value


def single(value: Any) -> Any:
    """Return the only item of a list, the first value of a mapping; others as they are."""
    if isinstance(value, list) and len(value) == 1:
        return scalar(value[0])
    if isinstance(value, Mapping) and value:
        return scalar(next(iter(value.values())))
    return value


def read_program(exchange: Exchange, head: str) -> str:
    """Return the program of a reply; if the reply is only the body of a function, the function with `head`.

    It is only a body if the turn was begun with the head, or if the program's top level returns.
    """
    text = exchange.text.strip("\n")
    if exchange.request.begun and text[:1].isspace():
        text = "\n".join(takewhile(lambda line: not line or line[0].isspace(), text.split("\n")))
    program = cut_program(text)
    tree = _parsed(program)
    if tree is None or not any(isinstance(node, ast.Return) for node in _outside_functions(tree)):
        return program
    return f"{head}\n{textwrap.indent(program, '    ')}"


def calls(program: str, name: str) -> bool:
    """Tell whether the top level of a program calls a function of its own."""
    tree = _parsed(program) or ast.Module(body=[], type_ignores=[])
    return any(isinstance(node, ast.Call) and getattr(node.func, "id", "") == name for node in _outside_functions(tree))


def ending_in(program: str, name: str) -> str:
    """Return a program that assigns a name; one that ends in a value, printed or not, or in another name, is made to
    assign that.
    """
    tree = _parsed(program)
    if tree is None or not tree.body or name in assigned_names(program):
        return program
    last = tree.body[-1]
    match last:
        case ast.Expr(value=ast.Call(func=ast.Name(id="print"), args=[printed])):
            value: ast.expr = printed
        case ast.Expr(value=value):
            pass
        case ast.FunctionDef(name=function, args=ast.arguments(posonlyargs=[], args=[], kwonlyargs=[])):
            return f"{program}\n{name} = {function}()"
        case ast.Assign(targets=[ast.Name() as value]) | ast.AnnAssign(target=ast.Name() as value):
            return f"{program}\n{name} = {value.id}"
        case _:
            return program
    tree.body[-1] = ast.copy_location(ast.Assign(targets=[ast.Name(id=name, ctx=ast.Store())], value=value), last)
    return ast.unparse(ast.fix_missing_locations(tree))


def is_python(program: str) -> bool:
    """Tell whether a text is a Python program."""
    return bool(program.strip()) and _parsed(program) is not None


def functions(program: str) -> dict[str, list[str]]:
    """Return the functions at the top level of a program, each with the names of its parameters."""
    tree = _parsed(program) or ast.Module(body=[], type_ignores=[])
    defined = [node for node in tree.body if isinstance(node, ast.FunctionDef)]
    return {
        node.name: [argument.arg for argument in (*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs)]
        for node in defined
    }


def _parsed(program: str) -> ast.Module | None:
    try:
        return ast.parse(program)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None


def _outside_functions(tree: ast.Module) -> list[ast.AST]:
    found: list[ast.AST] = []
    waiting: list[ast.AST] = list(tree.body)
    while waiting:
        node = waiting.pop()
        found.append(node)
        if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef | ast.Lambda):
            waiting.extend(ast.iter_child_nodes(node))
    return found
