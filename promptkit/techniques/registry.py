"""Finding a technique by name, and checking its shape. Shipped ones come through the same door.

A technique NAME is a folder `templates/techniques/NAME/` with one template a call and a card, and, where it makes
several calls, an async function NAME in `techniques/NAME.py` of the project, behind an entry point of the group
`promptkit.techniques`, or in `promptkit.techniques.catalog`. Without a function, the folder's one template is the call.
"""

from __future__ import annotations

import importlib
import importlib.util
import inspect
from collections.abc import Awaitable, Callable, Iterable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from functools import lru_cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any, get_type_hints

from promptkit.errors import InputError, Problem, TechniqueFailed, place
from promptkit.project import LIBRARY, Project
from promptkit.project_code import CodeReference, guarded, installed_entry_points, is_project_code
from promptkit.storage import Stamp, file_stamp
from promptkit.techniques.artifacts import Prepared
from promptkit.techniques.calls import read_call
from promptkit.techniques.card import CARD_FILE, Card, read_card
from promptkit.techniques.context import Answer, Spec
from promptkit.techniques.declared import read_declaration
from promptkit.techniques.roles import Role
from promptkit.techniques.task import Task

GROUP = "promptkit.techniques"

Function = Callable[..., Awaitable[Answer]]
Preparation = Callable[..., Awaitable[Prepared]]


@dataclass(frozen=True, slots=True)
class Technique:
    """A way of asking. `calls` and `requests` are formulas over its parameters; `needs` say what must be at hand.

    `sampling` is a formula too: whether it samples, where that depends on parameters. `code` is the file of one of the
    project's own: its functions here have the shape alone, and `loaded` makes them callable.
    """

    name: str
    about: str
    function: Function
    needs: frozenset[str] = frozenset()
    roles: tuple[Role, ...] = ()
    calls: str = "1"
    requests: str = "1"
    sampling: str = ""
    prepare: Preparation | None = None
    files: tuple[Path, ...] = ()
    card: Card = field(default_factory=Card)
    code: CodeReference | None = None

    @property
    def parameters(self) -> Mapping[str, inspect.Parameter]:
        """The parameters that a step may set, with their defaults; `over` among them where it nests another."""
        return parameters_of(self.function)

    @property
    def call_files(self) -> tuple[Path, ...]:
        """The templates of its calls."""
        return tuple(self.calls_by_name.values())

    @property
    def calls_by_name(self) -> Mapping[str, Path]:
        """The template of each call."""
        return _calls_by_name(self.files)


@lru_cache(maxsize=1_000)
def _calls_by_name(files: tuple[Path, ...]) -> Mapping[str, Path]:
    return {file.stem: file for file in files if file.suffix == ".j2"}


@lru_cache(maxsize=1_000)
def parameters_of(function: Callable[..., Any]) -> Mapping[str, inspect.Parameter]:
    """Return the keyword-only parameters of a technique's function, or of its preparation."""
    found = inspect.signature(function).parameters
    return {name: each for name, each in found.items() if each.kind is each.KEYWORD_ONLY}


def annotations_of(function: Callable[..., Any]) -> dict[str, Any]:
    """Return the annotations of the parameters that a step may set; those of the others need not be known at run time.

    Raises NameError for one that names what its module has not.
    """
    own = {name: each.annotation for name, each in parameters_of(function).items() if each.annotation is not each.empty}
    scope = getattr(function, "__globals__", {})
    return get_type_hints(SimpleNamespace(__annotations__=own), scope, include_extras=True)


def technique(
    *,
    needs: Iterable[str] = (),
    roles: Iterable[str] = (),
    calls: str = "1",
    requests: str = "1",
    sampling: str = "",
    prepare: Preparation | None = None,
) -> Callable[[Function], Technique]:
    """Declare an async function `(task, *, parameter: type = default, …) -> Answer` as a technique of its name.

    `roles` are what it must know of the inputs (`question`, `context?` for one that may be missing). `calls` and
    `requests` are formulas (see `formulas`), and so is `sampling`: when it needs that, if not always. `prepare` is an
    async function `(task, rows, *, parameter…) -> Prepared` that makes its artifact. Raises TypeError where a function
    is not of its shape, naming it and its definition.
    """

    def declare(function: Function) -> Technique:
        _check_shape(function, ("task",))
        if prepare is not None:
            _check_shape(prepare, ("task", "rows"))
        return Technique(
            name=function.__name__,
            about=(inspect.getdoc(function) or "").partition("\n")[0],
            function=function,
            needs=frozenset(needs),
            roles=tuple(map(Role.parse, roles)),
            calls=calls,
            requests=requests,
            sampling=sampling,
            prepare=prepare,
        )

    return declare


def find(name: str, project: Project) -> Technique | None:
    """Return the technique of that name, the project's own before a shipped one; None where there is none.

    A project's file is read, not run. Raises InputError where it, or its templates, are broken.
    """
    folder = project.find_template("techniques", name)
    module = project.root / "techniques" / f"{name}.py"
    stamp = file_stamp(module)
    found = _from_file(name, module, project.root, stamp) if stamp else _shipped(name, project.root)
    files = _templates(folder, file_stamp(folder)) if folder else ()
    card = read_card(folder)
    if found:
        return replace(found, files=(*files, module) if stamp else files, card=card)
    return _from_template(name, files, card) if files else None


@lru_cache(maxsize=200)
def _templates(folder: Path, stamp: Stamp | None) -> tuple[Path, ...]:
    """Return the templates in a folder, looked for again only when its `stamp` is another; the card comes last."""
    return (*sorted(folder.glob("*.j2")), *folder.glob(CARD_FILE))


def names(project: Project) -> list[str]:
    """Return the names of all techniques that a step may use here; what begins with `_` or a dot is none."""
    folders = [project.root / "templates" / "techniques", LIBRARY / "templates" / "techniques"]
    found = {path.name for folder in folders if folder.is_dir() for path in folder.iterdir() if path.is_dir()}
    found |= {path.stem for path in (project.root / "techniques").glob("*.py")}
    found |= {entry.name for entry in installed_entry_points(GROUP, project.root)}
    return sorted(name for name in found if not name.startswith(("_", ".")))


def _check_shape(function: Callable[..., Any], first: tuple[str, ...]) -> None:
    where = f"{function.__code__.co_filename}:{function.__code__.co_firstlineno}"
    parameters = list(inspect.signature(function).parameters.values())
    if not inspect.iscoroutinefunction(function):
        raise TypeError(f"technique `{function.__name__}` must be an `async def` ({where})")
    if tuple(parameter.name for parameter in parameters[: len(first)]) != first:
        raise TypeError(f"technique `{function.__name__}` must take {' and '.join(first)} first ({where})")
    for parameter in parameters[len(first) :]:
        if parameter.kind is not parameter.KEYWORD_ONLY or parameter.default is parameter.empty:
            raise TypeError(
                f"`{parameter.name}` of technique `{function.__name__}` must be keyword-only with a default ({where})"
            )


@lru_cache(maxsize=200)
def _shipped(name: str, root: Path) -> Technique | None:
    if name.startswith("_") or not name.isidentifier():  # What Python could import is no technique for that.
        return None
    for entry in installed_entry_points(GROUP, root):
        if entry.name == name:
            with _loading(name, entry.value):
                return _declared(entry.load(), name)
    if importlib.util.find_spec(f"promptkit.techniques.catalog.{name}"):
        return _declared(getattr(importlib.import_module(f"promptkit.techniques.catalog.{name}"), name, None), name)
    return None


@lru_cache(maxsize=200)
def _from_file(name: str, path: Path, root: Path, stamp: Stamp | None) -> Technique:
    """Return the technique that a project's file declares, read again only when its `stamp` is another; not run."""
    if not is_project_code(path, Project(root)):
        raise InputError(Problem(f"technique `{name}` leads out of the project's own files", file=place(path)))
    declaration = read_declaration(name, path)
    with _loading(name, str(place(path))):
        found = technique(**declaration.arguments, prepare=declaration.prepare)(declaration.function)
    return replace(found, code=CodeReference(str(place(path)), path.name, name, path, root))


def loaded(found: Technique) -> Technique:
    """Return a technique whose functions can be called; for that a project's file is run. Raises TechniqueFailed."""
    if found.code is None:
        return found

    def failed(told: str) -> TechniqueFailed:
        return TechniqueFailed(f"technique `{found.name}` {told}")

    run = found.code.load(failed)
    if not isinstance(run, Technique):
        raise failed(f"cannot be loaded: `{found.name}` in its file is not a `@technique()` function")
    return run


def _loading(name: str, file: str) -> AbstractContextManager[None]:
    """Make whatever loading somebody's module raises one of our errors."""
    return guarded(
        lambda told: InputError(Problem(f"technique `{name}` {told}", file=file)),
        verb="cannot be loaded:",
        passing=(InputError,),
    )


def _declared(found: Any, name: str) -> Technique:
    if not isinstance(found, Technique):
        raise TypeError(f"there is no `@technique()` function named `{name}`")
    for function in filter(None, (found.function, found.prepare)):
        annotations_of(function)
    return found


def _from_template(name: str, files: tuple[Path, ...], card: Card) -> Technique:
    calls = [file for file in files if file.suffix == ".j2"]
    if len(calls) != 1:
        raise InputError(
            Problem(
                f"technique `{name}` has {len(calls)} templates and no function that calls them",
                file=place(files[0].parent),
                hint=f"write techniques/{name}.py with an async function `{name}`",
            )
        )
    call = read_call(calls[0])
    if call.modifier and "family" not in card.model_fields_set:
        card = card.model_copy(update={"family": "modifier"})

    async def single_call(task: Task) -> Answer:
        return await task.decide(await task.ask(call.name))

    async def modifier(task: Task, *, over: Spec = "vanilla") -> Answer:
        return await task.run(over, beneath=task.layer(call.name))

    return Technique(
        name=name,
        about=call.about,
        function=modifier if call.modifier else single_call,
        needs=frozenset(call.needs),
        roles=tuple(map(Role.parse, call.roles)),
        calls="over_calls" if call.modifier else "1",
        requests="over_requests" if call.modifier else "1 + decided" if call.thinks else "1",
        files=files,
        card=card,
    )
