"""Tools: Python functions by `FILE.py:FUNCTION` or `package.module:FUNCTION`, JSON in and JSON out."""

from __future__ import annotations

import ast
import asyncio
import importlib
import importlib.util
import inspect
import json
import sys
import traceback
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from promptkit.errors import InputError, Problem, ToolFailed, nearest, place
from promptkit.storage import Stamp, check_named, file_stamp, read_bytes, resolved

if TYPE_CHECKING:
    from promptkit.project import Project


@dataclass(frozen=True, slots=True)
class Tool:
    """A function that steps may call. It is imported when it is first called.

    `takes` are its parameters' names with whether each is required, None where they are not known or open. `kind` is
    what messages call it.
    """

    name: str
    module: str
    function: str
    file: Path | None
    root: Path
    takes: Mapping[str, bool] | None
    kind: str = "tool"

    def load(self) -> Callable[..., Any]:
        """Import the function. Raises ToolFailed."""
        return load_function(self.module, self.function, self.file, self.root)

    async def call(self, arguments: Mapping[str, Any]) -> Any:
        """Return what the function returns, as plain JSON data. Raises ToolFailed."""
        result = await self.run(arguments)
        try:
            return json.loads(json.dumps(result, allow_nan=False))
        except (TypeError, ValueError, RecursionError) as error:
            raise ToolFailed(f"{self.kind} `{self.name}` returned what is not JSON: {error}") from error

    async def run(self, arguments: Mapping[str, Any]) -> Any:
        """Return what the function returns, whatever that is. Raises ToolFailed.

        What it is given is its own: a function may change it, and nobody else sees that.
        """
        try:
            function, arguments = self.load(), deepcopy(arguments)
            if inspect.iscoroutinefunction(function):
                return await function(**arguments)
            return await asyncio.to_thread(_leaving_no_loop, function, arguments)
        except ToolFailed:
            raise
        except (Exception, SystemExit) as error:
            where = _line_of(error, self.file)
            raise ToolFailed(f"{self.kind} `{self.name}` raised {type(error).__name__}: {error}{where}") from error


def find_tool(name: str, reference: str, folder: Path, project: Project, *, kind: str = "tool") -> Tool:
    """Return the tool that a file in `folder` names, found but not run. Raises InputError without a place.

    `kind` is what messages call it.
    """
    named = f"{kind} `{name}`"
    module, colon, function = reference.rpartition(":")
    if not colon or not function.isidentifier():
        raise InputError(f"{named} must be `FILE.py:FUNCTION` or `package.module:FUNCTION`, not `{reference}`")
    if module.endswith(".py"):
        path = resolved(folder / module)
        if not project.inside(path):
            raise InputError(f"{named}: {module} leads out of the project")
        return Tool(name, module, function, path, project.root, _read_parameters(named, path, function), kind)
    return Tool(name, module, function, _find_module(named, module, project.root), project.root, None, kind)


def _read_parameters(named: str, file: Path, function: str) -> Mapping[str, bool] | None:
    """Read a function's parameters from its file, without running it."""
    try:
        check_named(file)
        tree = ast.parse(read_bytes(file), filename=str(file))
    except InputError as error:
        (wrong,) = error.problems
        raise InputError(f"{named}: {wrong.message}", hint=wrong.hint) from None
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        line = getattr(error, "lineno", None)
        raise InputError(Problem(f"{named}: {error}", file=place(file), line=line)) from None
    defined = {node.name: node for node in tree.body if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)}
    if function not in defined:
        if any(
            not isinstance(node, ast.FunctionDef | ast.Expr) and function in ast.unparse(node) for node in tree.body
        ):
            return None
        raise InputError(f"{named}: {place(file)} has no function `{function}`", hint=nearest(function, defined))
    return _parameters(defined[function].args)


def _parameters(arguments: ast.arguments) -> Mapping[str, bool] | None:
    if arguments.kwarg:
        return None
    positional = [*arguments.posonlyargs, *arguments.args]
    required = len(positional) - len(arguments.defaults)
    takes = {argument.arg: number < required for number, argument in enumerate(positional)}
    keyword_only = zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True)
    return takes | {argument.arg: default is None for argument, default in keyword_only}


def _find_module(named: str, module: str, root: Path) -> Path | None:
    try:
        with _importing_from(root):
            found = importlib.util.find_spec(module)
    except (Exception, SystemExit) as error:  # the packages around a module are run to find it
        raise InputError(f"{named}: cannot import `{module}`: {error}") from None
    if found is None:
        raise InputError(f"{named}: there is no module `{module}`")
    return Path(found.origin) if found.origin and found.origin.endswith(".py") else None


def load_function(module: str, function: str, file: Path | None, root: Path) -> Callable[..., Any]:
    """Import a tool's function; a file is run again after it was edited. Raises ToolFailed."""
    try:
        with _importing_from(root):
            loaded = _load_file(file) if file and module.endswith(".py") else importlib.import_module(module)
        found = getattr(loaded, function)
    except (Exception, SystemExit) as error:
        where = _line_of(error, file)
        raise ToolFailed(f"cannot load `{module}:{function}`: {type(error).__name__}: {error}{where}") from error
    if not callable(found):
        raise ToolFailed(f"`{module}:{function}` is no function")
    return found  # type: ignore[no-any-return]


def _leaving_no_loop(function: Callable[..., Any], arguments: Mapping[str, Any]) -> Any:
    """Call a function; a thread can neither end the process nor hand on StopIteration: both are errors like others."""
    try:
        return function(**arguments)
    except SystemExit as error:
        raise ToolFailed(f"the function ends the process: SystemExit: {error}") from error
    except StopIteration as error:
        raise RuntimeError("StopIteration") from error


def _line_of(error: BaseException, file: Path | None) -> str:
    """Return where in the tool's own file an error arose, as the end of a message."""
    frames = traceback.extract_tb(error.__traceback__)
    line = next((frame.lineno for frame in reversed(frames) if file and Path(frame.filename) == file), None)
    return f" ({place(file)}:{line})" if line else ""


_loaded: dict[Path, tuple[Stamp | None, Any]] = {}


def _load_file(file: Path) -> Any:
    changed = file_stamp(file)
    known = _loaded.get(file)
    if known and known[0] == changed:
        return known[1]
    spec = importlib.util.spec_from_file_location(f"promptkit_tool_{file.stem}", file)
    assert spec
    module = importlib.util.module_from_spec(spec)
    exec(compile(read_bytes(file), str(file), "exec"), module.__dict__)
    _loaded[file] = (changed, module)
    return module


@contextmanager
def _importing_from(root: Path) -> Iterator[None]:
    """Let a project's own packages be imported inside the block before all others, and after all others ever after."""
    sys.path.insert(0, str(root))
    try:
        yield
    finally:
        sys.path.remove(str(root))
        if str(root) not in sys.path:  # a function may import when it is called
            sys.path.append(str(root))
