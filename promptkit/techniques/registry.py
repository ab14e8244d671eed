"""The registry of techniques: finding one by name and checking its shape.

A technique NAME is a folder `templates/techniques/NAME/` with one template for each call and a card and, where it
makes several calls, an async function NAME in `techniques/NAME.py` of the project, behind an entry point of the
group `promptkit.techniques`, or in `promptkit.techniques.catalog`. Without a function, the folder's one template
is the call. A project's file is read from its syntax tree and runs only when the technique does; what
`@technique(…)` says, and the defaults of parameters, must therefore be plain values.
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
from promptkit.project_code.entry_points import load_entry_point, load_entry_points
from promptkit.project_code.reference import CodeReference, guarded, is_project_code
from promptkit.storage.files import Stamp, file_stamp, first_found
from promptkit.techniques.artifacts import Prepared
from promptkit.techniques.calls import CARD_FILE, Card, read_call, read_card
from promptkit.techniques.context import Answer, Spec
from promptkit.techniques.declarations import read_declaration
from promptkit.techniques.roles import Role

ENTRY_POINT_GROUP = "promptkit.techniques"

Function = Callable[..., Awaitable[Answer]]
Preparation = Callable[..., Awaitable[Prepared]]


@dataclass(frozen=True, slots=True)
class Technique:
    """A technique. `calls` and `requests` are formulas over its parameters; `needs` must be available for the step.

    `sampling` is a formula for whether it samples, where that depends on parameters. `code` is the file of a project's
    technique: its functions here have the right shape but cannot be called before `load_functions`.
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
        """The parameters that a step may set, with their defaults, including `over` where it nests another."""
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
    return {name: parameter for name, parameter in found.items() if parameter.kind is parameter.KEYWORD_ONLY}


def annotations_of(function: Callable[..., Any]) -> dict[str, Any]:
    """Return the annotations of the parameters that a step may set; others may be unknown at run time.

    Raises NameError for an annotation with a name that its module does not have.
    """
    annotations = {
        name: parameter.annotation
        for name, parameter in parameters_of(function).items()
        if parameter.annotation is not parameter.empty
    }
    scope = getattr(function, "__globals__", {})
    return get_type_hints(SimpleNamespace(__annotations__=annotations), scope, include_extras=True)


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

    `roles` are the inputs that it must know (`question`, `context?` for one that may be missing). `calls` and
    `requests` are formulas (see `cost`), and so is `sampling`, for when it needs that, if not always. `prepare` is an
    async function `(task, rows, *, parameter…) -> Prepared` that makes its artifact. Raises TypeError for a function of
    a wrong shape, with its name and place.
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


def find_technique(name: str, project: Project) -> Technique | None:
    """Return the technique of that name, the project's before a shipped one; None for an unknown name.

    A project's file is read, not run. Raises InputError where the file or its templates are broken.
    """
    return first_found(("technique", name, project.root), lambda: _find_technique(name, project))


def _find_technique(name: str, project: Project) -> Technique | None:
    folder = project.find_template("techniques", name)
    module = project.root / "techniques" / f"{name}.py"
    stamp = file_stamp(module)
    found = _from_file(name, module, project.root, stamp) if stamp else _from_package(name, project.root)
    files = _templates(folder, file_stamp(folder)) if folder else ()
    card = read_card(folder)
    if found:
        return replace(found, files=(*files, module) if stamp else files, card=card)
    return _from_template(name, files, card) if files else None


@lru_cache(maxsize=200)
def _templates(folder: Path, stamp: Stamp | None) -> tuple[Path, ...]:
    """Return the templates in a folder, listed again only when its `stamp` changes; the card comes last."""
    return (*sorted(folder.glob("*.j2")), *folder.glob(CARD_FILE))


def technique_names(project: Project) -> list[str]:
    """Return the names of all techniques that a step may use here. No name begins with `_` or a dot."""
    folders = [project.root / "templates" / "techniques", LIBRARY / "templates" / "techniques"]
    found = {path.name for folder in folders if folder.is_dir() for path in folder.iterdir() if path.is_dir()}
    found |= {path.stem for path in (project.root / "techniques").glob("*.py")}
    found |= load_entry_points(ENTRY_POINT_GROUP, project.root).keys()
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
def _from_package(name: str, root: Path) -> Technique | None:
    if name.startswith("_") or not name.isidentifier():  # Not every module that Python could import is a technique.
        return None
    entry = load_entry_points(ENTRY_POINT_GROUP, root).get(name)
    if entry is not None:
        return load_entry_point(entry, "technique", lambda found: _checked_technique(found, name))
    if importlib.util.find_spec(f"promptkit.techniques.catalog.{name}"):
        return _checked_technique(
            getattr(importlib.import_module(f"promptkit.techniques.catalog.{name}"), name, None), name
        )
    return None


@lru_cache(maxsize=200)
def _from_file(name: str, path: Path, root: Path, stamp: Stamp | None) -> Technique:
    """Return the technique that a project's file declares, read again only when its `stamp` changes; not run."""
    if not is_project_code(path, Project(root)):
        raise InputError(Problem(f"technique `{name}` leads out of the project's own files", file=place(path)))
    declaration = read_declaration(name, path)
    with _guarded_loading(name, str(place(path))):
        found = technique(**declaration.arguments, prepare=declaration.prepare)(declaration.function)
    return replace(found, code=CodeReference(str(place(path)), path.name, name, path, root))


def load_functions(found: Technique) -> Technique:
    """Return a technique whose functions can be called: a project's file is run. Raises TechniqueFailed."""
    if found.code is None:
        return found

    def failed(problem: str) -> TechniqueFailed:
        return TechniqueFailed(f"technique `{found.name}` {problem}")

    run = found.code.load(failed)
    if not isinstance(run, Technique):
        raise failed(f"cannot be loaded: `{found.name}` in its file is not a `@technique()` function")
    return run


def _guarded_loading(name: str, file: str) -> AbstractContextManager[None]:
    """Turn whatever loading a user's module raises into InputError."""
    return guarded(
        lambda problem: InputError(Problem(f"technique `{name}` {problem}", file=file)),
        verb="cannot be loaded:",
        passing=(InputError,),
    )


def _checked_technique(found: Any, name: str) -> Technique:
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
    if card.family is None:
        card = card.model_copy(update={"family": "modifier" if call.modifier else "single call"})

    # `Task` is defined above this module.
    async def single_call(task: Any) -> Answer:
        answer: Answer = await task.decide(await task.ask(call.name))
        return answer

    async def modifier(task: Any, *, over: Spec = "vanilla") -> Answer:
        answer: Answer = await task.run(over, beneath=task.layer(call.name))
        return answer

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
