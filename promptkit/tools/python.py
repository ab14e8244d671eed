"""Model-written Python, run by Monty: an interpreter in a process of its own without files, network or clock."""

from __future__ import annotations

import ast
import asyncio
import builtins
import datetime
import inspect
import math
import re
import textwrap
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from promptkit.answers.base import Unparsed
from promptkit.answers.reader.code_reader import find_program
from promptkit.errors import PromptkitError
from promptkit.tools.sandbox import Failure, Limits, Worker, failure_of

if TYPE_CHECKING:
    from pydantic_monty import FunctionSnapshot, SyncSnapshot

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
) -> Execution:
    """Run a program with the variables `inputs` and `functions` to call. Nothing else is reachable.

    A function may be async (the program calls it without `await`). Its exceptions are raised in the program, except for
    promptkit's errors, which end the program and are raised here. No failure of the program raises. Raises TypeError
    for inputs that are not plain data.
    """
    async with open_sandbox(functions=functions, limits=limits) as opened:
        return await opened.run(program, inputs=inputs)


@asynccontextmanager
async def open_sandbox(*, functions: Functions | None = None, limits: Limits | None = None) -> AsyncIterator[Sandbox]:
    """Open a sandbox whose state lasts from one program to the next; `limits` are for each program."""
    opened = Sandbox(functions or {}, limits or Limits())
    try:
        yield opened
    finally:
        await opened.close()


class Sandbox:
    """Runs programs one after another over one state. A program that fails leaves the state as it was before."""

    def __init__(self, functions: Functions, limits: Limits) -> None:
        self._functions = functions
        self._limits = limits
        self._worker = Worker(limits)
        self._ran: list[tuple[Iterable[str], str]] = []

    async def run(self, program: str, *, inputs: Mapping[str, Any] | None = None) -> Execution:
        """Run a program, as `run_python` does, after setting the variables of `inputs`."""
        if (wrong := _unrunnable(program, self._limits)) is not None:
            return Execution(failure=wrong)
        printed = _Printed(self._limits.output)
        try:
            value = await self._feed(program, dict(inputs or {}), printed)
        except _Failed as failed:
            await self.close()
            return Execution(output=printed.text, failure=failed.failure)
        self._ran.append((tuple(inputs or ()), program))
        return Execution(value=value, output=printed.text)

    async def variables(self) -> dict[str, Any]:
        """Return the variables of plain data, in the order in which they were first set."""
        found = {}
        names = [name for given, program in self._ran for name in (*given, *assigned_names(program))]
        for name in dict.fromkeys(names):
            read = await self.run(name)
            if read.failure is None:
                found[name] = read.value
        return found

    async def close(self) -> None:
        """Release the worker. A further program starts with the state after the last one that succeeded."""
        await self._worker.close()

    async def _feed(self, program: str, inputs: dict[str, Any], printed: _Printed) -> Any:
        from pydantic_monty import MontyComplete, MontyConversionError, MontyError

        limits = self._limits
        try:
            at = await self._worker.start(program, inputs, printed)
            calls = 0
            while not isinstance(at, MontyComplete):
                if calls == limits.calls:
                    raise _Failed(Failure("forbidden", f"the program called out more than {calls:,} times"))
                calls += 1
                at = await self._answer(at)
            return plain_data(at.output, limits.value)
        except MontyConversionError as error:
            raise TypeError(f"inputs must be plain data: {error}") from None
        except MontyError as error:
            raise _Failed(printed.failure or failure_of(error, limits)) from None
        except NotPlainData as error:
            raise _Failed(Failure("unsupported", str(error))) from None
        except TooMuchData as error:
            raise _Failed(Failure("output", str(error))) from None

    async def _answer(self, at: SyncSnapshot) -> SyncSnapshot:
        """Answer one call or look-up that the program waits for, and let it continue to the next."""
        from pydantic_monty import FunctionSnapshot, NameLookupSnapshot

        turn = self._worker.turn
        if isinstance(at, NameLookupSnapshot):
            if at.variable_name in self._functions:
                return await turn(at.resume, value=_stand_in(at.variable_name))
            return await turn(at.resume)
        if not isinstance(at, FunctionSnapshot):
            raise _Failed(Failure("unsupported", "the program awaits something that never completes"))
        if at.is_os_function:
            return await turn(at.resume_not_handled)
        return await turn(at.resume, await self._call(at))

    async def _call(self, at: FunctionSnapshot) -> Any:
        function = self._functions.get(at.function_name)
        if function is None:
            return {"exc_type": "NameError", "message": f"name '{at.function_name}' is not defined"}
        try:
            if inspect.iscoroutinefunction(function):
                return {"return_value": await function(*at.args, **at.kwargs)}
            result, error = await asyncio.to_thread(_outcome, function, at.args, at.kwargs)
            if error is not None:
                raise error
            return {"return_value": await result if inspect.isawaitable(result) else result}
        except (PromptkitError, ExceptionGroup):
            raise
        except Exception as error:
            return {"exception": error}


class _Failed(Exception):
    def __init__(self, failure: Failure) -> None:
        super().__init__(failure.message)
        self.failure = failure


class _Printed:
    """The printed output of a program. Beyond a limit the program is stopped."""

    def __init__(self, most: int) -> None:
        self.text = ""
        self.failure: Failure | None = None
        self._most = most

    def __call__(self, stream: str, text: str) -> None:
        self.text += text[: self._most + 1 - len(self.text)]
        if len(self.text) > self._most:
            self.text = self.text[: self._most]
            self.failure = Failure("output", f"the program printed more than {self._most:,} characters")
            raise ValueError(self.failure.message)


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


def _stand_in(name: str) -> Callable[..., Any]:
    """Return a callable by whose name the sandbox calls a function."""

    def function() -> None: ...

    function.__name__ = name
    return function


_SCOPES = (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda, ast.ClassDef)


def cut_program(reply: str, language: str = "python") -> str:
    """Return the program in a model's reply, dedented, as `find_program` finds it; empty where there is none."""
    try:
        program = find_program(reply, language).value
    except Unparsed:
        return ""
    return textwrap.dedent(str(program)).strip("\n")


def undefined_names(program: str) -> set[str]:
    """Return the names that a program reads or calls, binds in none of its scopes, and that are not builtins.

    Empty for text that is not Python: running it says why.
    """
    nodes = list(_walk(program))
    read = {node.id for node in nodes if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load)}
    bound = {name for node in nodes for name in _bound_by(node)}
    return read - bound - set(dir(builtins))


def assigned_names(program: str) -> list[str]:
    """Return the variables that a program assigns at its top level, in order; not functions, classes and modules."""
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


# Python does not write longer integers as text.
_MOST_BITS = 14_000
_MOST_NESTED = 100
# Monty returns functions and the like as text.
_NO_DATA = re.compile(r"<(?:(?:function|module|class|coroutine object) .*|bound method|[\w.]+ object\b.*)>")


class NotPlainData(Exception):
    """A value that is not plain data; the message says what it is."""


class TooMuchData(Exception):
    """A value that is larger than its limit, or nested too deeply."""


def plain_data(value: Any, most: int) -> Any:
    """Return a value as plain data: tuples and sets become lists, decimals numbers, dates and keys texts.

    `most` bounds the characters of its texts plus the number of its other parts, each counted as often as it appears.
    Raises NotPlainData and TooMuchData.
    """
    return _PlainReader(most).read(value, 0)


class _PlainReader:
    def __init__(self, most: int) -> None:
        self._left = most

    def read(self, value: Any, depth: int) -> Any:
        self._count(1)
        if depth > _MOST_NESTED:
            raise TooMuchData(f"the value is nested more than {_MOST_NESTED} deep")
        if isinstance(value, Mapping):
            return {self._key(key): self.read(item, depth + 1) for key, item in value.items()}
        if isinstance(value, list | tuple | set | frozenset | deque):
            self._count(len(value))
            return [self.read(item, depth + 1) for item in value]
        return self._scalar(value)

    def _scalar(self, value: Any) -> Any:
        match value:
            case None | bool():
                return value
            case int():
                if value.bit_length() > _MOST_BITS:
                    raise TooMuchData("the value has more than 4,000 digits")
                return int(value)
            case float():
                if not math.isfinite(value):
                    raise NotPlainData(f"the value is {value}, which is not a usable number")
                return value
            case str():
                self._count(len(value))
                if _NO_DATA.fullmatch(value):
                    raise NotPlainData(f"the value is {value}, which is not data")
                return value
            case Decimal():
                return self._decimal(value)
            case datetime.date() | datetime.time():
                return value.isoformat()
        raise NotPlainData(f"the value is of the type {type(value).__name__}, which is not plain data")

    def _decimal(self, value: Decimal) -> Any:
        if not value.is_finite():
            raise NotPlainData(f"the value is {value}, which is not a usable number")
        if value.adjusted() > 300:
            raise TooMuchData("the value has more than 300 digits")
        return self._scalar(int(value) if value == value.to_integral_value() else float(value))

    def _key(self, key: Any) -> str:
        if isinstance(key, str):
            self._count(len(key))
            return key
        if isinstance(key, bool | int | float | Decimal | datetime.date | None):
            return str(self._scalar(key))
        raise NotPlainData(f"a key of the value is of the type {type(key).__name__}, which is not plain data")

    def _count(self, parts: int) -> None:
        self._left -= parts
        if self._left < 0:
            raise TooMuchData("the value is too large")
