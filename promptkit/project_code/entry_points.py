"""Extensions by installed packages: the entry points of a group, loaded within a guard and checked for their shape."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any, TypeVar

from promptkit.errors import InputError, Problem, place
from promptkit.project_code.reference import guarded, installed_entry_points

Extension = TypeVar("Extension")
Base = TypeVar("Base")


def load_entry_points(group: str, root: Path | None = None) -> dict[str, EntryPoint]:
    """Return the entry points of a group by name, none of them loaded. Of two of one name the first counts.

    Metadata in the project's folder `root` (left out: the working folder) is not trusted: only installed packages
    extend promptkit.
    """
    entries: dict[str, EntryPoint] = {}
    for entry in installed_entry_points(group, root or Path.cwd()):
        entries.setdefault(entry.name, entry)
    return entries


def load_entry_point(entry: EntryPoint, kind: str, check: Callable[[Any], Extension]) -> Extension:
    """Load an entry point and return its object as `check` does. `kind` names it in messages: `metric`, `runtime`.

    Raises InputError for whatever importing it raises, and for a wrong shape, of which `check` raises TypeError.
    """

    def failed(problem: str) -> InputError:
        return InputError(Problem(f"{kind} `{entry.name}` {problem}", file=entry.value))

    with guarded(failed, verb="cannot be loaded:", passing=(InputError,)):
        return check(entry.load())


def check_subclass(found: Any, base: type[Base]) -> type[Base]:
    """Return a class that can stand where `base` is asked for.

    Raises TypeError, with the place of the definition, for anything but a subclass, for one with abstract methods left,
    and for a method that cannot be called as that of `base` is.
    """
    if not (isinstance(found, type) and issubclass(found, base)):
        raise TypeError(f"{found!r:.80} is not a subclass of `{base.__module__}.{base.__name__}`")
    if missing := sorted(getattr(found, "__abstractmethods__", ())):
        raise TypeError(f"`{found.__name__}` does not define {', '.join(f'`{name}`' for name in missing)}")
    for name, method in inspect.getmembers(base, inspect.isfunction):
        _check_method(found, name, method)
    return found


def _check_method(found: type, name: str, method: Callable[..., Any]) -> None:
    override = inspect.getattr_static(found, name)
    if override is method or not inspect.isfunction(override):
        return
    where = f"({place(override.__code__.co_filename)}:{override.__code__.co_firstlineno})"
    if inspect.iscoroutinefunction(method) and not inspect.iscoroutinefunction(override):
        raise TypeError(f"`{name}` of `{found.__name__}` must be an `async def` {where}")
    expected = inspect.signature(method)
    parameters = expected.parameters.values()
    keywords = {parameter.name: None for parameter in parameters if parameter.kind is parameter.KEYWORD_ONLY}
    positional = [parameter.name for parameter in parameters if parameter.kind is parameter.POSITIONAL_OR_KEYWORD]
    try:
        inspect.signature(override).bind(*positional, **keywords)
    except TypeError:
        raise TypeError(f"`{name}` of `{found.__name__}` must take {_arguments(expected)} {where}") from None


def _arguments(signature: inspect.Signature) -> str:
    return f"({', '.join(signature.parameters)})"
