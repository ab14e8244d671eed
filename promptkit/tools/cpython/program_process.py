"""The jailed process: it runs programs one after another, and tells promptkit how each ended.

promptkit believes nothing that comes from here, because a program can change everything in its process.
"""

from __future__ import annotations

import ast
import builtins
import importlib.machinery
import io
import json
import sys
import types
from collections.abc import Callable, Sequence
from types import CodeType, TracebackType
from typing import Any, Final

from promptkit.tools.cpython.channel import MOST_PARTS, Messages, encoded, receive, send
from promptkit.tools.cpython.jail import CHANNEL
from promptkit.tools.cpython.modules import is_importable, is_loadable, missing_modules
from promptkit.tools.plain_data import NotPlainData, TooMuchData, plain_data

_FILE: Final = "<program>"
_LINE_BUFFER: Final = 1_000
_LONGEST_MESSAGE: Final = 2_000
_RESERVE_BYTES: Final = 2**16
# Ready to be sent where no memory is left to write a message.
_NO_MEMORY: Final = encoded({"failure": {"kind": "memory", "message": "", "line": None}})


class PromptkitIsGone(BaseException):
    """Ends the process."""


def serve_programs() -> None:
    """Run the programs that come over the channel, until it ends. Runs in the jailed process."""
    channel = _Channel()
    channel.send({"ready": True})
    programs = _Programs(channel)
    while True:
        programs.run(channel.receive())


class _NotPython(Exception):
    def __init__(self, message: str, line: int | None) -> None:
        super().__init__(message)
        self.line = line


class _Channel:
    def __init__(self) -> None:
        self._messages = Messages(most=2**32)

    def send(self, message: dict[str, Any]) -> None:
        send(CHANNEL, encoded(message))

    def receive(self) -> dict[str, Any]:
        try:
            return receive(CHANNEL, self._messages)
        except (EOFError, OSError):
            raise PromptkitIsGone from None


class _Programs:
    """The programs' namespace, which lasts from one to the next."""

    def __init__(self, channel: _Channel) -> None:
        self._channel = channel
        self._output = _Output(channel)
        self._finder = _Finder(channel)
        module = types.ModuleType("__main__")
        self._namespace = module.__dict__
        self._namespace["__builtins__"] = builtins
        sys.modules["__main__"] = module
        sys.stdin, sys.stdout, sys.stderr = io.StringIO(), self._output, self._output
        sys.meta_path[:] = [*_without_files(sys.meta_path), self._finder]
        builtins.__import__ = _importing(builtins.__import__)

    def run(self, request: dict[str, Any]) -> None:
        """Run a program and send its value or its failure."""
        reserve = bytearray(_RESERVE_BYTES)
        self._finder.absent = set(request["absent"])
        for name in request["functions"]:
            setattr(builtins, name, self._function(name))
        try:
            sent = encoded({"value": self._value(request)})
        except PromptkitIsGone:
            raise
        except BaseException as error:
            del reserve
            sent = self._failed(error)
        send(CHANNEL, sent)

    def _value(self, request: dict[str, Any]) -> Any:
        body, ending = self._compiled(request["program"])
        self._namespace.update(json.loads(request["inputs"]))
        exec(body, self._namespace)
        value = None if ending is None else plain_data(eval(ending, self._namespace), request["most"])
        self._output.flush()
        return value

    def _compiled(self, program: str) -> tuple[CodeType, CodeType | None]:
        """Return a program's code, and that of the expression in which it ends."""
        ending = None
        try:
            tree = ast.parse(program, _FILE)
            self._finder.ask(missing_modules(tree))
            if tree.body and isinstance(last := tree.body[-1], ast.Expr):
                tree.body.pop()
                ending = compile(ast.Expression(last.value), _FILE, "eval", dont_inherit=True)
            return compile(tree, _FILE, "exec", dont_inherit=True), ending
        except SyntaxError as error:
            raise _NotPython(error.msg, error.lineno) from None
        except (MemoryError, RecursionError):
            raise _NotPython("it is too long or nested too deeply", None) from None
        except ValueError as error:
            raise _NotPython(str(error), None) from None

    def _failed(self, error: BaseException) -> bytes:
        try:
            self._output.flush()
            return encoded({"failure": _failure(error)})
        except MemoryError:
            return _NO_MEMORY

    def _function(self, name: str) -> Callable[..., Any]:
        """Return a function that promptkit answers."""

        def function(*arguments: Any, **named: Any) -> Any:
            try:
                given = {"arguments": plain_data(arguments, MOST_PARTS), "named": plain_data(named, MOST_PARTS)}
            except (NotPlainData, TooMuchData) as error:
                raise TypeError(f"an argument of `{name}`: {error}") from None
            self._output.flush()
            self._channel.send({"call": name, **given})
            answer = self._channel.receive()
            if "result" in answer:
                return answer["result"]
            kind = getattr(builtins, answer["error"], None)
            is_exception = isinstance(kind, type) and issubclass(kind, Exception)
            raise (kind if is_exception and kind is not None else RuntimeError)(answer["message"])

        function.__name__ = function.__qualname__ = name
        return function


class _Output(io.TextIOBase):
    """The output of a program, sent line by line."""

    def __init__(self, channel: _Channel) -> None:
        self._channel = channel
        self._waiting: list[str] = []
        self._characters = 0

    def write(self, text: str) -> int:
        if not isinstance(text, str):
            raise TypeError(f"a text is needed, not {type(text).__name__}")
        self._waiting.append(text[:MOST_PARTS])  # promptkit keeps less
        self._characters += len(text)
        if "\n" in text or self._characters > _LINE_BUFFER:
            self.flush()
        return len(text)

    def flush(self) -> None:
        text, self._waiting, self._characters = "".join(self._waiting), [], 0
        if text:
            self._channel.send({"printed": text})


class _Finder:
    """Asks promptkit for modules that are not loaded. promptkit then starts the program again in another process."""

    def __init__(self, channel: _Channel) -> None:
        self.absent: set[str] = set()
        self._channel = channel

    def ask(self, names: Sequence[str]) -> None:
        """Ask for modules, except for those that are known to be absent."""
        if missing := [name for name in names if name not in self.absent]:
            self._channel.send({"missing": missing})
            self._channel.receive()  # it never comes: promptkit ends this process

    def find_spec(self, name: str, path: Any, target: Any = None) -> None:
        """Ask for a module that a program, or a library that it uses, imports while it runs."""
        if is_loadable(name):
            self.ask([name])


def _without_files(finders: Sequence[Any]) -> list[Any]:
    kept = (importlib.machinery.BuiltinImporter, importlib.machinery.FrozenImporter)
    return [finder for finder in finders if finder in kept]


def _importing(import_: Callable[..., Any]) -> Callable[..., Any]:
    """Return `__import__`, which tells a program that names another module that it is not there."""

    def importing(name: str, globals: Any = None, locals: Any = None, fromlist: Any = (), level: int = 0) -> Any:
        by_program = globals is not None and globals.get("__name__") == "__main__"
        if by_program and level == 0 and not is_importable(name) and not name.startswith("_"):
            raise ModuleNotFoundError(f"No module named {name!r} in the sandbox", name=name)
        return import_(name, globals, locals, fromlist, level)

    return importing


def _failure(error: BaseException) -> dict[str, Any]:
    """Return the reason why a program failed, with the fields of a `Failure`."""
    try:
        text = str(error)[:_LONGEST_MESSAGE]
    except BaseException:
        text = "its message cannot be shown"
    if isinstance(error, _NotPython):
        return {"kind": "syntax", "message": text, "line": error.line}
    if isinstance(error, NotPlainData | TooMuchData):
        return {"kind": "unsupported" if isinstance(error, NotPlainData) else "output", "message": text, "line": None}
    name = type(error).__name__
    message = f"{name}: {text}" if text else name
    return {"kind": _kind(error), "message": message, "line": _line(error.__traceback__)}


def _kind(error: BaseException) -> str:
    if isinstance(error, ModuleNotFoundError):
        return "unsupported"
    if type(error) is NameError:
        return "undefined"
    if isinstance(error, MemoryError):
        return "memory"
    if isinstance(error, PermissionError) or "can't start new thread" in str(error.args):
        return "forbidden"
    return "exception"


def _line(traceback: TracebackType | None) -> int | None:
    """Return the innermost line of the program in a traceback."""
    line = None
    while traceback is not None:
        if traceback.tb_frame.f_code.co_filename == _FILE:
            line = traceback.tb_lineno
        traceback = traceback.tb_next
    return line
