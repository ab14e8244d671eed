"""Running a project's Python files as modules: each once, and again after it was edited."""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType

from promptkit.storage import Stamp, file_stamp, read_bytes

_loaded: dict[str, tuple[Stamp | None, ModuleType]] = {}


def run_file(file: Path, root: Path) -> ModuleType:
    """Return the module of a file that stands alone. Raises what its code raises."""
    return _run(f"{file.stem}_{_digest(file)}", file, root)


def run_module(parts: Sequence[str], files: Sequence[Path], root: Path) -> ModuleType:
    """Return a module of the project, the packages around it run before. Raises what their code raises.

    `files` has for each part of the name the file that is run, or a folder without `__init__.py`. They are run under a
    name of the root's own, so that a project's `os.py` and the standard library's `os` never stand for each other.
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
    if module is None:  # Else another file of the project has imported it.
        folders = [str(file.parent)] if file.name == "__init__.py" else None
        spec = spec_from_file_location(name, file, submodule_search_locations=folders)
        assert spec is not None, "a .py file has a spec"
        module = sys.modules[name] = module_from_spec(spec)
        try:
            with _importing_from(root):
                exec(compile(read_bytes(file), str(file.resolve()), "exec", dont_inherit=True), module.__dict__)
        except BaseException:
            sys.modules.pop(name, None)
            raise
    _loaded[name] = (changed, module)
    return module


def _package(name: str, folder: Path) -> ModuleType:
    """Return the package that a folder without `__init__.py` is."""
    module = sys.modules.get(name)
    if module is None:
        module = sys.modules[name] = ModuleType(name)
        module.__path__ = [str(folder)]
    return module


def _digest(path: Path) -> str:
    return hashlib.sha256(str(path).encode("utf-8", "surrogatepass")).hexdigest()[:16]


@contextmanager
def _importing_from(root: Path) -> Iterator[None]:
    """Let a project's own packages be imported inside the block before all others, and after all others ever after."""
    sys.path.insert(0, str(root))
    try:
        yield
    finally:
        with suppress(ValueError):  # The code has changed the path itself.
            sys.path.remove(str(root))
        if str(root) not in sys.path:  # A function may import when it is called.
            sys.path.append(str(root))
