"""Tools: Python functions that steps may call, JSON in and JSON out."""

from __future__ import annotations

import ast
import json
from collections.abc import Callable, Mapping
from copy import deepcopy
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from promptkit.errors import ToolFailed
from promptkit.project import Project
from promptkit.project_code.reference import CodeReference, find_code
from promptkit.project_code.source import functions_of, parse_source


@dataclass(frozen=True, slots=True)
class Tool:
    """A function that steps may call. It is imported when it is first called.

    `takes` maps its parameters to whether they are required; None where they are unknown or open. `types` has the
    annotations of those that have one, and `about` is the first line of its docstring. `kind` is its name in messages.
    """

    name: str
    code: CodeReference
    takes: Mapping[str, bool] | None
    kind: str = "tool"
    about: str = ""
    types: Mapping[str, str] = field(default_factory=dict)

    @property
    def file(self) -> Path | None:
        """Its Python file, None where that is unknown."""
        return self.code.file

    @property
    def root(self) -> Path:
        """The root of the project that uses it."""
        return self.code.root

    def function(self) -> Callable[..., Any]:
        """Load the function and return it. Raises ToolFailed."""
        return self.code.function(self._failed)

    async def call(self, arguments: Mapping[str, Any]) -> Any:
        """Call the function and return its result as plain JSON data. Raises ToolFailed."""
        result = await self.run(arguments)
        try:
            return json.loads(json.dumps(result, allow_nan=False))
        except (TypeError, ValueError, RecursionError) as error:
            raise ToolFailed(f"{self.kind} `{self.name}` returned what is not JSON: {error}") from error

    async def run(self, arguments: Mapping[str, Any]) -> Any:
        """Call the function and return its result, whatever that is. Raises ToolFailed.

        The function gets a copy of the arguments, which it may change.
        """
        return await self.code.call(deepcopy(arguments), self._failed)

    def _failed(self, failure: str) -> ToolFailed:
        return ToolFailed(f"{self.kind} `{self.name}` {failure}")


def find_tool(name: str, reference: str, folder: Path, project: Project, *, kind: str = "tool") -> Tool:
    """Return the tool that a file in `folder` names, without running it. Raises InputError as `find_code` does.

    `kind` is its name in messages.
    """
    code = find_code(reference, folder, project, what=f"{kind} `{name}`")
    function = functions_of(parse_source(code.file)).get(code.name) if code.file is not None else None
    if function is None:
        return Tool(name, code, None, kind)
    about = (ast.get_docstring(function) or "").partition("\n")[0].strip()
    return Tool(name, code, _parameters(function.args), kind, about, _annotations(function.args))


def _annotations(arguments: ast.arguments) -> Mapping[str, str]:
    """Return the parameters' annotations as they are written."""
    given = [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs]
    return {one.arg: ast.unparse(one.annotation) for one in given if one.annotation is not None}


def _parameters(arguments: ast.arguments) -> Mapping[str, bool] | None:
    if arguments.kwarg:
        return None
    positional = [*arguments.posonlyargs, *arguments.args]
    required = len(positional) - len(arguments.defaults)
    takes = {argument.arg: number < required for number, argument in enumerate(positional)}
    keyword_only = zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True)
    return takes | {argument.arg: default is None for argument, default in keyword_only}
