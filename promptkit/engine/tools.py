"""Tools: Python functions that steps may call, JSON in and JSON out."""

from __future__ import annotations

import ast
import asyncio
import json
import os
from collections.abc import Callable, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from promptkit.errors import InputError, ToolFailed
from promptkit.project import Project
from promptkit.project_code.file_reads import note_reads
from promptkit.project_code.reference import CodeReference, find_code
from promptkit.project_code.source import functions_of, parse_source
from promptkit.storage.file_digests import digest_of, stands_for_a_file
from promptkit.storage.files import resolved
from promptkit.tools.base import Tool as BaseTool


@dataclass(frozen=True, slots=True)
class Tool(BaseTool):
    """A function that steps may call. It is imported when it is first called.

    `takes` maps its parameters to whether they are required; None where they are unknown or open. `types` has the
    annotations of those that have one, and `about` is the first line of its docstring. `kind` is its name in messages.
    `declared` are the files (paths within the project, patterns) and environment variables (`$NAME`) that it reads, for
    what cannot be seen: files that a C library or another process opens.
    """

    name: str
    code: CodeReference
    takes: Mapping[str, bool] | None
    kind: str = "tool"
    about: str = ""
    types: Mapping[str, str] = field(default_factory=dict)
    declared: tuple[str, ...] = ()

    @property
    def file(self) -> Path | None:
        """Its Python file, None where that is unknown."""
        return self.code.file

    @property
    def root(self) -> Path:
        """The root of the project that uses it."""
        return self.code.root

    @property
    def description(self) -> str:  # type: ignore[override]
        return self.about

    @property
    def parameters(self) -> Mapping[str, Any]:  # type: ignore[override]
        """The JSON Schema of its parameters, without their types."""
        if self.takes is None:
            return {"type": "object", "properties": {}, "additionalProperties": True}
        required = [name for name, needed in self.takes.items() if needed]
        return {"type": "object", "properties": {name: _schema(self.types.get(name)) for name in self.takes}} | (
            {"required": required, "additionalProperties": False} if required else {"additionalProperties": False}
        )

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
        await self._note_declared()
        try:
            return await self.code.call(deepcopy(arguments), self._failed)
        finally:
            await self._note_declared()  # A file that changed meanwhile has two digests.

    async def _note_declared(self) -> None:
        if self.declared:
            note_reads(await asyncio.to_thread(lambda: {name: digest_of(name, self.root) for name in self.declared}))

    def reading(self, reads: Sequence[str], environment: Sequence[str], folder: Path, project: Project) -> Tool:
        """Return this tool with files that it reads, by patterns relative to `folder`, and environment variables.

        Raises InputError for a pattern that leads out of the project or matches no file.
        """
        names = [_declared_name(pattern, folder, project) for pattern in reads]
        return replace(self, declared=(*names, *(f"${name}" for name in environment)))

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


def _schema(annotation: str | None) -> dict[str, Any]:
    kinds = {"str": "string", "int": "integer", "float": "number", "bool": "boolean", "list": "array", "dict": "object"}
    kind = kinds.get((annotation or "").partition("[")[0])
    return {"type": kind} if kind else {}


def _declared_name(pattern: str, folder: Path, project: Project) -> str:
    """Return a pattern relative to the project's root. Raises InputError."""
    path, root = os.path.normpath(resolved(folder) / pattern), str(resolved(project.root))
    if not path.startswith(f"{root}{os.sep}"):
        raise InputError(f"`reads`: `{pattern}` leads out of the project")
    name = path[len(root) + 1 :].replace(os.sep, "/")
    if not stands_for_a_file(name, project.root):
        raise InputError(
            f"`reads`: there is no file `{pattern}`", hint="paths are relative to the file that names them"
        )
    return name


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
