"""The tool `python`: a program in the sandbox, with the value of its last expression and its output."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, cast, get_args

from promptkit.errors import InputError, ToolFailed, Unsupported, nearest
from promptkit.project import Project
from promptkit.tools.backends import DEFAULT_BACKEND, Backend, importable, jail_fault, no_jail
from promptkit.tools.base import Tool
from promptkit.tools.python import cut_program, run_python
from promptkit.tools.sandbox import Failure, Limits

_KEYS: Final = ("backend",)
_BACKENDS: Final[tuple[str, ...]] = get_args(Backend)
_LIMITS: Final = Limits(value=20_000)
_LONGEST_PRINTED: Final = 1_000
"""The last characters that a failed program printed."""


class PythonTool(Tool):
    """Runs a program in a sandbox without files and network. Each call begins anew."""

    parameters: Mapping[str, Any] = {
        "type": "object",
        "properties": {
            "program": {
                "type": "string",
                "description": "A whole Python program. Its result is what it prints and the value of its last line.",
            }
        },
        "required": ["program"],
        "additionalProperties": False,
    }

    def __init__(self, name: str, backend: Backend) -> None:
        self.name = name
        self._backend = backend
        self.description = (
            "Run a Python program and return what it prints and the value of its last line, if that is an expression. "
            "The program has no files, no network, no input and no memory of earlier calls. It may import "
            f"{', '.join(importable(backend))}."
        )

    @classmethod
    def of(cls, name: str, settings: Any, folder: Path, project: Project) -> PythonTool:
        """Return the tool with its settings: `{backend: monty | cpython | auto}`, or None. Raises InputError."""
        given = {} if settings is None else settings
        if not isinstance(given, Mapping):
            raise InputError("`python` takes a mapping", hint="write `{python: {backend: cpython}}`")
        for key in given:
            if key not in _KEYS:
                raise InputError(f"`python` has no setting `{key}`", hint=nearest(str(key), _KEYS))
        backend = given.get("backend", DEFAULT_BACKEND)
        if backend not in _BACKENDS:
            raise InputError(f"there is no backend `{backend}`", hint=nearest(str(backend), _BACKENDS))
        if backend == "cpython" and (why := jail_fault()):
            wrong = no_jail(why)
            raise InputError(wrong.message, hint="`backend: auto` takes monty where there is no jail")
        return cls(name, cast("Backend", backend))

    async def call(self, arguments: Mapping[str, Any]) -> dict[str, Any]:
        """Return the `value` of the argument `program` and its `printed` output, where there are any.

        Raises ToolFailed with the failure's line and message, and the output before it.
        """
        program = cut_program(arguments["program"], to_run=True) or arguments["program"]
        try:
            execution = await run_python(program, limits=_LIMITS, backend=self._backend)
        except Unsupported as error:
            raise ToolFailed(error.message) from None
        if execution.failure is not None:
            raise ToolFailed(_described(execution.failure, execution.output))
        result = {"value": execution.value} if execution.value is not None else {}
        if execution.output:
            result["printed"] = execution.output
        return result or {"note": "The program has no result: print it, or end the program with it."}

    @property
    def identity(self) -> Mapping[str, Any]:
        """The backend."""
        return {"backend": self._backend}


def _described(failure: Failure, printed: str) -> str:
    place = f" in line {failure.line}" if failure.line else ""
    before = f"; before that it printed:\n{printed[-_LONGEST_PRINTED:]}" if printed else ""
    return f"the program failed{place}: {failure.message}{before}"
