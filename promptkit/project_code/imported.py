"""The Python files of a project that a file imports, directly or not, found without running any."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

from promptkit.errors import InputError
from promptkit.storage.files import read_bytes, resolved


def imported_files(file: Path, root: Path) -> tuple[Path, ...]:
    """Return a Python file and all files under `root` that it imports, directly or not, without running any.

    Modules that are installed, or not found there, are not read; an import by a string (`import_module(name)`) is not
    seen.
    """
    found = {file: None}
    waiting = [file] if _is_own(file, root) else []
    while waiting:
        for imported in _imports(waiting.pop(), root):
            if imported not in found and _is_own(imported, root):
                found[imported] = None
                waiting.append(imported)
    return tuple(found)


def _is_own(file: Path, root: Path) -> bool:
    """Tell whether a file is of the project, and not of a virtual environment that lies in it."""
    path = resolved(file)
    return path.is_relative_to(resolved(root)) and "site-packages" not in path.parts


def _imports(file: Path, root: Path) -> Iterator[Path]:
    try:
        tree = ast.parse(read_bytes(file))
    except (InputError, SyntaxError, ValueError, RecursionError, MemoryError):
        return
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for name in node.names:
                yield from _modules(root, name.name.split("."))
        elif isinstance(node, ast.ImportFrom):
            folder = file.parents[node.level - 1] if 0 < node.level <= len(file.parents) else root
            parts = node.module.split(".") if node.module else []
            yield from _modules(folder, parts)
            for name in node.names:
                yield from _modules(folder, [*parts, name.name])


def _modules(folder: Path, parts: list[str]) -> Iterator[Path]:
    """Yield the files of a module and of the packages around it, where they lie in a folder."""
    for depth in range(1, len(parts) + 1):
        path = folder.joinpath(*parts[:depth])
        for candidate in (path.with_name(f"{path.name}.py"), path / "__init__.py"):
            if candidate.is_file():
                yield candidate
