"""Finding a technique by name, and checking its shape and parameters. Shipped ones come through the same door.

A technique NAME is a folder `templates/techniques/NAME/` with one template a call, and, where it makes several calls,
an async function NAME in `techniques/NAME.py` of the project, behind an entry point of the group
`promptkit.techniques`, or in `promptkit.techniques.catalog`. Without a function, the folder's one template is the call.
"""

from __future__ import annotations

import importlib
import importlib.util
import inspect
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cache, lru_cache
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any, get_type_hints

from promptkit.errors import InputError, Problem, nearest, place
from promptkit.project import LIBRARY, Project
from promptkit.prompts import Prompts
from promptkit.storage import Problems
from promptkit.techniques.calls import read_call
from promptkit.techniques.context import Answer
from promptkit.techniques.task import Task

Function = Callable[..., Awaitable[Answer]]
Stamp = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Technique:
    """A way of asking. `calls` and `requests` are formulas over its parameters; `needs` say what must be at hand."""

    name: str
    about: str
    function: Function
    needs: frozenset[str] = frozenset()
    calls: str = "1"
    requests: str = "1"
    files: tuple[Path, ...] = ()

    @property
    def parameters(self) -> dict[str, inspect.Parameter]:
        """The parameters that a step may set, with their defaults."""
        return dict(list(inspect.signature(self.function).parameters.items())[1:])


def technique(*, needs: Iterable[str] = (), calls: str = "1", requests: str = "1") -> Callable[[Function], Technique]:
    """Declare an async function `(task, *, parameter: type = default, …) -> Answer` as a technique of its name.

    Raises TypeError where the function is not of that shape; the message names it and its definition.
    """

    def declare(function: Function) -> Technique:
        _check_shape(function)
        about = inspect.getdoc(function) or ""
        return Technique(function.__name__, about.partition("\n")[0], function, frozenset(needs), calls, requests)

    return declare


def find(name: str, project: Project) -> Technique | None:
    """Return the technique of that name, the project's own before a shipped one; None where there is none.

    Raises InputError where the project's module or templates are broken.
    """
    folder = project.find_template("techniques", name)
    module = project.root / "techniques" / f"{name}.py"
    stamp = _stamp(module)
    found = _from_file(name, module, stamp) if stamp else _shipped(name)
    files = _templates(folder, _stamp(folder)) if folder else ()
    if found:
        return replace(found, files=(*files, module) if stamp else files)
    return _from_template(name, files) if files else None


@lru_cache(maxsize=200)
def _templates(folder: Path, stamp: Stamp | None) -> tuple[Path, ...]:
    """Return the templates in a folder, looked for again only when its `stamp` is another."""
    return tuple(sorted(folder.glob("*.j2")))


def names(project: Project) -> list[str]:
    """Return the names of all techniques that a step may use here."""
    folders = [project.root / "templates" / "techniques", LIBRARY / "templates" / "techniques"]
    found = {path.name for folder in folders if folder.is_dir() for path in folder.iterdir() if path.is_dir()}
    found |= {path.stem for path in (project.root / "techniques").glob("*.py")}
    return sorted(found | {entry.name for entry in entry_points(group="promptkit.techniques")})


def parse_spec(spec: Any) -> tuple[str, dict[str, Any]]:
    """Return name and parameters of `technique: NAME` or `technique: {NAME: {parameter: value}}`. Raises ValueError."""
    if isinstance(spec, str):
        return spec, {}
    if isinstance(spec, Mapping) and len(spec) == 1:
        name, parameters = next(iter(spec.items()))
        if isinstance(name, str) and isinstance(parameters, Mapping | None):
            return name, dict(parameters or {})
    raise ValueError("a technique is a name, or one name with its parameters: `{NAME: {parameter: value}}`")


def check(spec: Any, project: Project) -> list[Problem]:
    """Return what is wrong with a step's `technique:`, its templates among it; what is wrong in `spec` has no place."""
    problems = Problems()
    with problems.gather():
        try:
            name, parameters = parse_spec(spec)
        except ValueError as error:
            return [Problem(str(error))]
        found = find(name, project)
        if found is None:
            return [Problem(f"unknown technique `{name}`", hint=nearest(name, names(project)))]
        for key, value in parameters.items():
            problems.add(_parameter_problems(found, key, value))
        prompts = Prompts(project)
        for template in found.files:
            if template.suffix == ".j2":
                with problems.gather():
                    read_call(template)
                    prompts.check_layer(template)
    return problems.found


def _parameter_problems(found: Technique, key: str, value: Any) -> Iterator[Problem]:
    from pydantic import TypeAdapter, ValidationError

    if key not in found.parameters:
        yield Problem(f"technique `{found.name}` has no parameter `{key}`", hint=nearest(key, found.parameters))
        return
    annotation = get_type_hints(found.function).get(key, Any)
    try:
        TypeAdapter(annotation).validate_python(value, strict=True)
    except ValidationError as error:
        yield Problem(f"`{key}` of technique `{found.name}`: {error.errors()[0]['msg']}")


def _check_shape(function: Function) -> None:
    where = f"{function.__code__.co_filename}:{function.__code__.co_firstlineno}"
    parameters = list(inspect.signature(function).parameters.values())
    if not inspect.iscoroutinefunction(function):
        raise TypeError(f"technique `{function.__name__}` must be an `async def` ({where})")
    if not parameters or parameters[0].name != "task":
        raise TypeError(f"technique `{function.__name__}` must take `task` first ({where})")
    for parameter in parameters[1:]:
        if parameter.kind is not parameter.KEYWORD_ONLY or parameter.default is parameter.empty:
            raise TypeError(
                f"`{parameter.name}` of technique `{function.__name__}` must be keyword-only with a default ({where})"
            )


@cache
def _shipped(name: str) -> Technique | None:
    if name.startswith("_") or not name.isidentifier():  # What Python could import is no technique for that.
        return None
    for entry in entry_points(group="promptkit.techniques", name=name):
        with _loading(name, entry.value):
            return _declared(entry.load(), name)
    if importlib.util.find_spec(f"promptkit.techniques.catalog.{name}"):
        return _declared(getattr(importlib.import_module(f"promptkit.techniques.catalog.{name}"), name, None), name)
    return None


def _stamp(path: Path) -> Stamp | None:
    """Return what changes when a file or folder does; None where there is none, as of a name too long for one."""
    try:
        status = path.stat()
    except (OSError, ValueError):
        return None
    return status.st_mtime_ns, status.st_size


@lru_cache(maxsize=200)
def _from_file(name: str, path: Path, stamp: Stamp | None) -> Technique:
    """Return the technique of a project's module, which is run again only when its `stamp` is another."""
    spec = importlib.util.spec_from_file_location(f"promptkit_project_techniques_{name}", path)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    with _loading(name, str(place(path))):
        spec.loader.exec_module(module)
        return _declared(getattr(module, name, None), name)


@contextmanager
def _loading(name: str, file: str) -> Iterator[None]:
    """Make whatever somebody's module raises one of our errors."""
    try:
        yield
    except Exception as error:
        raise InputError(Problem(f"cannot load technique `{name}`: {error}", file=file)) from error


def _declared(found: Any, name: str) -> Technique:
    if not isinstance(found, Technique):
        raise TypeError(f"there is no `@technique()` function named `{name}`")
    return found


def _from_template(name: str, files: tuple[Path, ...]) -> Technique:
    if len(files) > 1:
        raise InputError(
            Problem(
                f"technique `{name}` has {len(files)} templates and no function that calls them",
                file=place(files[0].parent),
                hint=f"write techniques/{name}.py with an async function `{name}`",
            )
        )
    call = read_call(files[0])

    async def single_call(task: Task) -> Answer:
        return await task.decide(await task.ask(call.name))

    return Technique(name, call.about, single_call, frozenset(), "1", "2" if call.thinks else "1", files)
