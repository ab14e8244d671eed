"""Model-written Python in a sandbox of one of two backends: Monty, or CPython in a jailed process."""

from __future__ import annotations

import ast
import asyncio
import inspect
import textwrap
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from promptkit.answers.base import Unparsed
from promptkit.answers.reader.code_reader import find_program
from promptkit.answers.reader.python_syntax import names_bound_by, syntax_tree
from promptkit.tools.backends import DEFAULT_BACKEND, Backend, open_session
from promptkit.tools.sandbox import Failure, Limits, Printed, ProgramFailed, Session

Functions = Mapping[str, Callable[..., Any]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Execution:
    """The result of a program: the value of its last expression as plain data, its printed output, its failure."""

    value: Any = None
    output: str = ""
    failure: Failure | None = None


async def run_python(
    program: str,
    *,
    inputs: Mapping[str, Any] | None = None,
    functions: Functions | None = None,
    limits: Limits | None = None,
    backend: Backend = DEFAULT_BACKEND,
) -> Execution:
    """Run a program with the variables `inputs` and `functions` to call. Nothing else is reachable.

    A function may be async (the program calls it without `await`). Its exceptions are raised in the program, except for
    promptkit's errors, which end the program and are raised here. No failure of the program raises. Raises TypeError
    for inputs that are not plain data, and Unsupported where the backend cannot run.
    """
    async with open_sandbox(functions=functions, limits=limits, backend=backend) as opened:
        return await opened.run(program, inputs=inputs)


@asynccontextmanager
async def open_sandbox(
    *, functions: Functions | None = None, limits: Limits | None = None, backend: Backend = DEFAULT_BACKEND
) -> AsyncIterator[Sandbox]:
    """Open a sandbox whose state lasts from one program to the next; `limits` are for each program."""
    functions, limits = functions or {}, limits or Limits()
    opened = Sandbox(await open_session(backend, functions, limits), functions, limits)
    try:
        yield opened
    finally:
        await opened.close()


class Sandbox:
    """Runs programs one after another over one state. A program that fails leaves the state as it was before."""

    def __init__(self, session: Session, functions: Functions, limits: Limits) -> None:
        self._session = session
        self._functions = functions
        self._limits = limits

    async def run(self, program: str, *, inputs: Mapping[str, Any] | None = None) -> Execution:
        """Run a program, as `run_python` does, after setting the variables of `inputs`."""
        if (wrong := _unrunnable(program, self._limits)) is not None:
            return Execution(failure=wrong)
        printed = Printed(self._limits.output)
        try:
            value = await self._session.run(program, inputs or {}, printed, self._call)
        except ProgramFailed as failed:
            await self.close()
            return Execution(output=printed.text, failure=failed.failure)
        return Execution(value=value, output=printed.text)

    async def close(self) -> None:
        """Release the process. A further program starts with the state after the last one that succeeded."""
        await self._session.close()

    async def _call(self, name: str, arguments: Sequence[Any], named: Mapping[str, Any]) -> Any:
        function = self._functions[name]
        if inspect.iscoroutinefunction(function):
            return await function(*arguments, **named)
        result, error = await asyncio.to_thread(_outcome, function, arguments, named)
        if error is not None:
            raise error
        return await result if inspect.isawaitable(result) else result


def _unrunnable(program: str, limits: Limits) -> Failure | None:
    if len(program) > limits.program:
        return Failure("syntax", f"the program is longer than {limits.program:,} characters")
    try:
        program.encode()
    except UnicodeEncodeError:
        return Failure("syntax", "the program holds half a character (a lone surrogate)")
    return None


def _outcome(function: Callable[..., Any], args: Any, kwargs: Any) -> tuple[Any, Exception | None]:
    """Call a function and return its result or exception, since a future cannot carry, for example, StopIteration."""
    try:
        return function(*args, **kwargs), None
    except Exception as error:
        return None, error


_SCOPES = (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda, ast.ClassDef)


def cut_program(reply: str, *, to_run: bool = False) -> str:
    """Return the program in a model's reply, dedented, as `find_program` finds it; empty where there is none."""
    try:
        program = find_program(reply, "python", to_run=to_run).value
    except Unparsed:
        return ""
    return textwrap.dedent(str(program)).strip("\n")


def assigned_names(program: str) -> list[str]:
    """Return the variables that a program assigns at its top level, in order; not functions, classes and modules."""
    found: dict[str, None] = {}
    tree = syntax_tree(program)
    waiting: list[ast.AST] = [tree] if tree else []
    while waiting:
        node = waiting.pop()
        if isinstance(node, _SCOPES):
            continue
        if isinstance(node, ast.comprehension):
            waiting.extend((*node.ifs, node.iter))
            continue
        if isinstance(node, ast.Name | ast.MatchAs | ast.MatchStar | ast.MatchMapping):
            found |= dict.fromkeys(names_bound_by(node))
        waiting.extend(reversed(list(ast.iter_child_nodes(node))))
    return list(found)
