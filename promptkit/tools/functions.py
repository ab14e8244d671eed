"""Python functions of a project as tools, JSON in and JSON out."""

from __future__ import annotations

import ast
import asyncio
import json
import os
from collections.abc import Callable, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final

from promptkit.errors import InputError, ToolFailed
from promptkit.project import Project
from promptkit.project_code.file_reads import note_reads
from promptkit.project_code.imported import imported_files
from promptkit.project_code.reference import CodeReference, find_code
from promptkit.project_code.source import functions_of, parse_source
from promptkit.storage.file_digests import digest_of, stands_for_a_file
from promptkit.storage.files import resolved
from promptkit.tools.base import Effect, Tool
from promptkit.tools.docstrings import first_paragraph
from promptkit.tools.function_schema import parameters_schema, takes_of

ANY_ARGUMENTS: Final = {"type": "object", "properties": {}, "additionalProperties": True}
"""The schema of a function whose parameters are unknown."""


@dataclass(frozen=True, slots=True)
class FunctionTool(Tool):
    """A function that steps may call. It is imported when it is first called.

    `types` has the annotations of its parameters as they are written, and `about` is the first line of its docstring.
    `kind` is its name in messages. `declared` are the files (paths within the project, patterns) and environment
    variables (`$NAME`) that it reads, for what cannot be seen: files that a C library or another process opens.
    """

    name: str
    code: CodeReference
    parameters: Mapping[str, Any] = field(default_factory=lambda: ANY_ARGUMENTS)
    kind: str = "tool"
    about: str = ""
    description: str = ""
    types: Mapping[str, str] = field(default_factory=dict)
    declared: tuple[str, ...] = ()
    effects: frozenset[Effect] = frozenset()

    @property
    def takes(self) -> Mapping[str, bool] | None:
        """Its parameters, with whether each is required; None where they are unknown or open."""
        return takes_of(self.parameters)

    @property
    def file(self) -> Path | None:
        """Its Python file, None where that is unknown."""
        return self.code.file

    @property
    def files(self) -> tuple[Path, ...]:
        """Its Python file and those of the project that it imports."""
        return () if self.code.file is None else imported_files(self.code.file, self.code.root)

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
            note_reads(
                await asyncio.to_thread(lambda: {name: digest_of(name, self.code.root) for name in self.declared})
            )

    def reading(self, reads: Sequence[str], environment: Sequence[str], folder: Path, project: Project) -> FunctionTool:
        """Return this tool with files that it reads, by patterns relative to `folder`, and environment variables.

        Raises InputError for a pattern that leads out of the project or matches no file.
        """
        names = [_declared_name(pattern, folder, project) for pattern in reads]
        return replace(self, declared=(*names, *(f"${name}" for name in environment)))

    def with_effects(self, effects: Sequence[Effect]) -> FunctionTool:
        """Return this tool with the effects that its function is declared to have."""
        return replace(self, effects=frozenset(effects))

    def _failed(self, failure: str) -> ToolFailed:
        return ToolFailed(f"{self.kind} `{self.name}` {failure}")


def find_tool(name: str, reference: str, folder: Path, project: Project, *, kind: str = "tool") -> FunctionTool:
    """Return the tool that a file in `folder` names, without running it. Raises InputError as `find_code` does.

    `kind` is its name in messages.
    """
    code = find_code(reference, folder, project, what=f"{kind} `{name}`")
    tree = None if code.file is None else parse_source(code.file)
    function = None if tree is None else functions_of(tree).get(code.name)
    if tree is None or function is None:
        return FunctionTool(name, code, kind=kind)
    docstring = ast.get_docstring(function) or ""
    return FunctionTool(
        name,
        code,
        parameters_schema(function, tree),
        kind,
        about=docstring.partition("\n")[0].strip(),
        description=first_paragraph(docstring),
        types=_annotations(function.args),
    )


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
