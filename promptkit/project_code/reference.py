"""Python code that a project may name: found by path without running it, then loaded and called within a guard.

Files, prompts, data and models are not trusted. Only the project's own Python files run, and modules that
`promptkit.yaml` or an installed package names.
"""

from __future__ import annotations

import asyncio
import dis
import hashlib
import inspect
import os
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from functools import lru_cache
from importlib import import_module
from importlib.metadata import EntryPoint, EntryPoints, entry_points
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType
from typing import Any

from promptkit.errors import InputError, PromptkitError, exception_text, foreign_frame, nearest, place
from promptkit.project import Project
from promptkit.project_code.file_reads import forget_reads, running_async_code, running_code, watch_reads
from promptkit.project_code.source import binds, defined_names, functions_of, imports_of, is_regular, parse_source
from promptkit.storage.files import SETTINGS_FILE, Stamp, file_stamp, read_bytes, resolved

ErrorFactory = Callable[[str], PromptkitError]
"""Makes the error of project code from a predicate: `raised TYPE: …`, `cannot be loaded: …`."""
MODULES_GROUP = "promptkit.modules"
FORM = "`FILE.py:FUNCTION` or `package.module:FUNCTION`"
_INSTALLED = {"site-packages", "dist-packages"}
# Marks the folder of a virtual environment.
_ENVIRONMENT = "pyvenv.cfg"


@dataclass(frozen=True, slots=True)
class CodeReference:
    """A function (or a technique) in Python that may run, found but not loaded.

    `text` is the reference as written, `file` its file, None for an installed module whose file is unknown. `chain` has
    for each part of a project's module the file that is run, or a folder without `__init__.py`.
    """

    text: str
    module: str
    name: str
    file: Path | None
    root: Path
    chain: tuple[Path, ...] = ()

    @property
    def shown(self) -> str:
        """The function with its file as messages show it."""
        return f"{place(self.file) or self.module}:{self.name}"

    def load(self, failure: ErrorFactory) -> Any:
        """Run the module, unless it is loaded and unchanged, and return the object of that name.

        Raises the error of `failure` for everything that goes wrong.
        """
        with guarded(failure, self.file, verb="cannot be loaded:"):
            return getattr(self._module(), self.name)

    def function(self, failure: ErrorFactory) -> Callable[..., Any]:
        """Return the function, loaded. Raises as `load` does."""
        found = self.load(failure)
        if not callable(found):
            raise failure(f"is a {type(found).__name__}, not a function")
        return found  # type: ignore[no-any-return]

    async def call(self, arguments: Mapping[str, Any], failure: ErrorFactory) -> Any:
        """Call the function and return its result. A function that is not async is called in a thread.

        Raises the error of `failure` where it cannot be loaded, or raises.
        """
        function = self.function(failure)
        if inspect.iscoroutinefunction(function):
            with guarded(failure, self.file):
                async with running_async_code(self.file, self.root):
                    return await function(**arguments)

        def called() -> Any:
            with guarded(failure, self.file), running_code(self.file, self.root):
                return function(**arguments)

        returned = await asyncio.to_thread(called)
        if not inspect.isawaitable(returned):
            return returned
        with guarded(failure, self.file):
            async with running_async_code(self.file, self.root):
                return await returned

    def _module(self) -> Any:
        if self.chain:
            return run_module(self.module.split("."), self.chain, self.root)
        if self.file is not None and self.module.endswith(".py"):
            return run_file(self.file, self.root)
        watch_reads(self.root)
        return import_module(self.module)


@dataclass(frozen=True, slots=True)
class CodeUse:
    """Python code that a target would run, and the place that names it: `tool `count` of pipelines/mail.yaml`."""

    code: CodeReference
    named_by: str

    @property
    def shown(self) -> str:
        return f"{self.code.shown} ({self.named_by})"

    def record(self) -> dict[str, str | None]:
        """Return the record for `--json`."""
        code = self.code
        return {
            "file": place(code.file),
            "module": None if code.module.endswith(".py") else code.module,
            "function": code.name,
            "named_by": self.named_by,
        }


def find_code(text: str, folder: Path, project: Project, *, what: str) -> CodeReference:
    """Return the function that a file in `folder` names, without running it. `what` is its name in messages.

    Raises InputError for a function that is neither of the project nor of a module that may run. The error has no place
    where the reference itself is wrong.
    """
    module, colon, name = text.rpartition(":")
    parts = module.split(".")
    is_file = module.endswith(".py")
    if not colon or not name.isidentifier() or not (is_file or all(part.isidentifier() for part in parts)):
        raise InputError(f"{what} must be {FORM}, not `{text}`")
    try:
        if is_file:
            found = CodeReference(text, module, name, _resolved(folder / module, module, what, project), project.root)
        else:
            chain = _files_of(parts, project.root)
            if not chain:
                return _installed(text, module, name, project, what)
            files = [_resolved(path, module, what, project) for path in chain]
            found = CodeReference(text, module, name, files[-1], project.root, tuple(chain))
        assert found.file is not None, "what is not installed is a file"
        _check_own(name, found.file, project)
    except InputError as error:
        raise InputError(
            problem if problem.message.startswith(what) else replace(problem, message=f"{what}: {problem.message}")
            for problem in error.problems
        ) from None
    return found


def is_project_code(path: Path, project: Project) -> bool:
    """Tell whether a path, with symlinks followed, is the project's or shipped, and not in an installed package."""
    if not project.inside(path):
        return False
    root, target = resolved(project.root), resolved(path)
    if not project.owns(target):
        return True
    above = [folder for folder in target.parents if folder.is_relative_to(root) and folder != root]
    return not any(folder.name.lower() in _INSTALLED or (folder / _ENVIRONMENT).is_file() for folder in above)


def installed_entry_points(group: str, root: Path) -> list[EntryPoint]:
    """Return the entry points of installed packages. Metadata inside the project's folder is ignored."""
    project = Project(root)
    found = _entry_points(group, tuple(map(os.path.abspath, sys.path)))
    return [entry for entry in found if entry.dist is None or not is_project_code(_place_of(entry), project)]


@lru_cache(maxsize=50)
def _entry_points(group: str, _folders: tuple[str, ...]) -> EntryPoints:
    """Return the entry points of a group, read again only when Python looks for packages in other folders."""
    return entry_points(group=group)


def _place_of(entry: EntryPoint) -> Path:
    assert entry.dist is not None
    return Path(str(entry.dist.locate_file("METADATA")))


def _resolved(path: Path, module: str, what: str, project: Project) -> Path:
    """Return a path with symlinks followed. Raises InputError where it leads out of the project's own files."""
    if not project.inside(path):
        raise InputError(f"{what}: {module} leads out of the project")
    if not is_project_code(path, project):
        raise InputError(f"{what}: {module} is of an installed package, not of the project", hint=_to_allow("PACKAGE"))
    return resolved(path)


def _check_own(name: str, file: Path, project: Project) -> None:
    """Raise InputError for a name that a file does not bind, or only by an import from outside the project."""
    tree = parse_source(file)
    if not binds(tree, name):
        raise InputError(f"{place(file)} has no function `{name}`", hint=nearest(name, functions_of(tree)))
    if not _is_own(name, file, project, set()):
        outside = next(module for _, module, _ in imports_of(tree, name))
        raise InputError(
            f"`{name}` in {place(file)} comes from `{outside}`, which is not of the project",
            hint="define a function around it: what a file may name is what the project's own code does",
        )


def _is_own(name: str, file: Path, project: Project, seen: set[tuple[str, Path]]) -> bool:
    """Tell whether a file defines a name, or imports it from a trusted module or a project file that defines it."""
    if (name, file) in seen or not is_project_code(file, project):
        return False
    seen.add((name, file))
    tree = parse_source(file)
    if name in defined_names(tree):
        return True
    for dots, module, there in imports_of(tree, name):
        folder = file.parents[dots - 1] if 0 < dots <= len(file.parents) else project.root
        if not dots and there and _is_trusted(module, project):
            return True
        chain = _files_of(module.split("."), folder) if module else [folder / "__init__.py"]
        if there and chain and is_regular(chain[-1]) and _is_own(there, resolved(chain[-1]), project, seen):
            return True
    return False


def _files_of(parts: Sequence[str], root: Path) -> list[Path]:
    """Return the files and folders that importing a module of the root runs, none where there is no such module."""
    folder = root
    found: list[Path] = []
    for part in parts:
        inside, is_last = folder / part, len(found) == len(parts) - 1
        if is_regular(inside / "__init__.py"):
            found.append(inside / "__init__.py")
        elif is_last and is_regular(folder / f"{part}.py"):
            found.append(folder / f"{part}.py")
        elif not is_last and inside.is_dir():
            found.append(inside)
        else:
            return []
        folder = inside
    return found


def _installed(text: str, module: str, name: str, project: Project, what: str) -> CodeReference:
    """Return the reference to an installed module that may run. Raises InputError for any other module."""
    if not _is_trusted(module, project):
        message = f"{what}: `{module}` is neither a file of the project nor a module that it may run"
        raise InputError(message, hint=_to_allow(module))
    found, file = _find_installed(module)
    if not found:
        raise InputError(f"{what}: there is no module `{module}`")
    return CodeReference(text, module, name, file, project.root)


def _is_trusted(module: str, project: Project) -> bool:
    """Tell whether the settings or an installed package allow a project to name an installed module."""
    named = {entry.value.partition(":")[0].strip() for entry in installed_entry_points(MODULES_GROUP, project.root)}
    return any(module == name or module.startswith(f"{name}.") for name in (*project.settings.trusted_modules, *named))


def _to_allow(module: str) -> str:
    return f"name a file of the project, or trust an installed module: `trusted_modules: [{module}]` in {SETTINGS_FILE}"


def _find_installed(module: str) -> tuple[bool, Path | None]:
    """Tell whether a module is installed, and its file where that is Python. Runs no package around it."""
    path: Sequence[str] | None = None
    parts, file = module.split("."), None
    for depth in range(1, len(parts) + 1):
        name = ".".join(parts[:depth])
        if depth > 1 and path is None:  # The module before is not a package.
            return False, None
        try:
            specs = (finder.find_spec(name, path) for finder in sys.meta_path)
            spec = next(filter(None, specs), None)
        except KeyError:  # Parts of a namespace package are only known once it is imported.
            return True, None
        if spec is None:
            return False, None
        path, file = spec.submodule_search_locations, spec.origin
    return True, Path(file) if file and file.endswith(".py") else None


_loaded: dict[str, tuple[Stamp | None, ModuleType]] = {}


def run_file(file: Path, root: Path) -> ModuleType:
    """Run a file that is not in a package, and return its module. Raises whatever its code raises."""
    return _run(f"{file.stem}_{_digest(file)}", file, root)


def run_module(parts: Sequence[str], files: Sequence[Path], root: Path) -> ModuleType:
    """Run a module of the project after the packages around it, and return it. Raises whatever their code raises.

    `files` has for each part of the name the file that is run, or a folder without `__init__.py`. Module names
    begin with a package of the root, so that a project's `os.py` is never taken for the standard library's `os`.
    """
    name = f"promptkit_project_{_digest(root)}"
    module = _package(name, root)
    for part, file in zip(parts, files, strict=True):
        name = f"{name}.{part}"
        module = _package(name, file) if file.is_dir() else _run(name, file, root)
    return module


def _run(name: str, file: Path, root: Path) -> ModuleType:
    changed = file_stamp(file)
    if name in _loaded and _loaded[name][0] == changed:
        return _loaded[name][1]
    module = sys.modules.get(name) if name not in _loaded else None
    if module is None:  # otherwise another file of the project has imported it
        folders = [str(file.parent)] if file.name == "__init__.py" else None
        spec = spec_from_file_location(name, file, submodule_search_locations=folders)
        assert spec is not None, "a .py file has a spec"
        module = sys.modules[name] = module_from_spec(spec)
        watch_reads(root)
        forget_reads(file)
        try:
            with _importing_from(root):
                exec(compile(read_bytes(file), str(file.resolve()), "exec", dont_inherit=True), module.__dict__)
        except BaseException:
            sys.modules.pop(name, None)
            raise
    _loaded[name] = (changed, module)
    return module


def _package(name: str, folder: Path) -> ModuleType:
    """Return the package of a folder without `__init__.py`."""
    module = sys.modules.get(name)
    if module is None:
        module = sys.modules[name] = ModuleType(name)
        module.__path__ = [str(folder)]
    return module


def _digest(path: Path) -> str:
    return hashlib.sha256(str(path).encode("utf-8", "surrogatepass")).hexdigest()[:16]


@contextmanager
def _importing_from(root: Path) -> Iterator[None]:
    """Put the root first on the import path inside the block, and last afterwards."""
    sys.path.insert(0, str(root))
    try:
        yield
    finally:
        with suppress(ValueError):  # The code has changed the path itself.
            sys.path.remove(str(root))
        if str(root) not in sys.path:  # A function may import when it is called.
            sys.path.append(str(root))


@contextmanager
def guarded(
    failure: Callable[[str], PromptkitError],
    file: Path | None = None,
    *,
    verb: str = "raised",
    passing: tuple[type[BaseException], ...] = (),
) -> Iterator[None]:
    """Raise whatever project code raises inside the block, also `sys.exit`, as one of promptkit's errors.

    `failure` makes the error from `raised TYPE: text (FILE:LINE)`, with `verb` in place of `raised`; the line is the
    last one in `file`. Errors of the types `passing` pass; so do ctrl-C, cancellation and closing from outside.
    """
    try:
        yield
    except passing:
        raise
    except BaseException as error:
        if not _raised_by_project(error):
            raise
        raise failure(f"{verb} {exception_text(error, file)}") from error


def _raised_by_project(error: BaseException) -> bool:
    """Tell an error of the code from one that reaches it from outside: ctrl-C, cancellation, closing, a closed pipe."""
    if isinstance(error, Exception):
        return True
    if isinstance(error, SystemExit):
        return foreign_frame(error) is not None
    if isinstance(error, BaseExceptionGroup):
        return False
    if threading.current_thread() is not threading.main_thread():
        return True  # Signals and cancellation reach only the main thread.
    if isinstance(error, asyncio.CancelledError):
        task = _current_task()
        return task is None or not task.cancelling()
    if isinstance(error, KeyboardInterrupt | GeneratorExit):
        return _is_from_raise(error)
    return True


def _current_task() -> asyncio.Task[object] | None:
    try:
        return asyncio.current_task()
    except RuntimeError:  # No event loop runs here.
        return None


def _is_from_raise(error: BaseException) -> bool:
    """Tell whether a `raise` statement raised an error. Ctrl-C and closing arrive at other instructions."""
    last = foreign_frame(error)
    if last is None:
        return False
    return dis.opname[last.tb_frame.f_code.co_code[last.tb_lasti]] == "RAISE_VARARGS"
