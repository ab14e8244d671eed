"""The backends of the sandbox: which there are, which can run here, and which modules they bring."""

from __future__ import annotations

import asyncio
from collections.abc import Collection
from importlib.machinery import PathFinder
from typing import TYPE_CHECKING, Final, Literal

from promptkit.errors import Unsupported
from promptkit.tools.cpython.modules import PACKAGES, STANDARD_MODULES

if TYPE_CHECKING:
    from promptkit.tools.sandbox import Limits, Session

Backend = Literal["monty", "cpython", "auto"]
"""`monty`: an interpreter of a part of Python. `cpython`: this Python, jailed. `auto`: `cpython` where it can be."""

DEFAULT_BACKEND: Final[Backend] = "monty"

MONTY_MODULES: Final = (
    "bisect",
    "collections",
    "copy",
    "dataclasses",
    "datetime",
    "decimal",
    "functools",
    "itertools",
    "json",
    "math",
    "random",
    "re",
    "typing",
)
"""The modules of Monty that compute."""


async def open_session(backend: Backend, functions: Collection[str], limits: Limits) -> Session:
    """Return a session in which programs may call `functions`."""
    if backend == "auto":
        backend = await asyncio.to_thread(resolve_backend, backend)
    if backend == "cpython":
        from promptkit.tools.cpython.session import CPythonSession

        return CPythonSession(functions, limits)
    from promptkit.tools.monty import MontySession

    return MontySession(functions, limits)


def resolve_backend(backend: Backend) -> Literal["monty", "cpython"]:
    """Return the backend that runs programs here. Blocks at its first call for `auto`, which tries the jail."""
    if backend != "auto":
        return backend
    return "monty" if jail_fault() else "cpython"


def no_jail(why: str, where: str = "") -> Unsupported:
    """Return the error of the backend `cpython` on a machine without a jail; the message begins with `where`."""
    hint = "`programs: {backend: monty}` needs no jail; `auto` takes it where there is none"
    return Unsupported(f"{where}CPython cannot run programs here: {why}", hint=hint)


def jail_fault() -> str | None:
    """Return the reason why CPython cannot be jailed here, None where it can. Blocks at its first call."""
    from promptkit.tools.cpython.server_client import jail_fault

    return jail_fault()


def importable(backend: Backend) -> tuple[str, ...]:
    """Return the modules that a program may import to compute, and that are here, sorted.

    A backend may have further ones, such as `sys` and `time`. Blocks as `resolve_backend` does.
    """
    if resolve_backend(backend) == "monty":
        return MONTY_MODULES
    from promptkit.tools.cpython.server_client import package_folders

    here = [name for name in PACKAGES if PathFinder.find_spec(name, package_folders()) is not None]
    return tuple(sorted((*STANDARD_MODULES, *here)))
