"""The names of warnings that a project may give: the shipped ones, and those in the source of its own techniques."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator
from functools import lru_cache
from inspect import getsourcefile
from pathlib import Path

from promptkit.errors import InputError, Problem, nearest
from promptkit.project import Project
from promptkit.project_code.entry_points import load_entry_points
from promptkit.project_code.source import constants_of, parse_source
from promptkit.storage.files import Stamp, file_stamp
from promptkit.techniques.registry import ENTRY_POINT_GROUP, find_technique
from promptkit.techniques.warnings import WARNING_TEXTS


def wrong_names(names: Iterable[str], project: Project) -> list[Problem]:
    """Return a problem without a place, and a hint, for each name that is not a warning's in this project."""
    unknown = [name for name in names if name not in WARNING_TEXTS]
    known = warning_names(project) if unknown else frozenset[str]()
    return [
        Problem(f"there is no warning `{name}`", hint=nearest(name, known)) for name in unknown if name not in known
    ]


def warning_names(project: Project) -> frozenset[str]:
    """Return the shipped warnings, and the names that techniques of the project and of packages give to `task.warn`.

    The project's files are read, not run, so a name must stand in the call, or in a constant of its file.
    """
    files = (*sorted((project.root / "techniques").glob("*.py")), *_package_files(project))
    found = set(WARNING_TEXTS)
    for file in files:
        found |= _warned_in(file, file_stamp(file))
    return frozenset(found)


def _package_files(project: Project) -> Iterator[Path]:
    """Yield the source files of techniques that installed packages bring."""
    for name in load_entry_points(ENTRY_POINT_GROUP, project.root):
        try:
            technique = find_technique(name, project)
        except InputError:
            continue
        source = getsourcefile(technique.function) if technique is not None else None
        if source is not None:
            yield Path(source)


@lru_cache(maxsize=200)
def _warned_in(file: Path, _stamp: Stamp | None) -> frozenset[str]:
    """Return the names that a file gives to `task.warn`, read again only when its stamp changes."""
    try:
        tree = parse_source(file)
    except InputError:  # The technique's own check reports it.
        return frozenset()
    constants = constants_of(tree)
    calls = (node for node in ast.walk(tree) if isinstance(node, ast.Call) and node.args)
    given = (call.args[0] for call in calls if isinstance(call.func, ast.Attribute) and call.func.attr == "warn")
    parts = [part for argument in given for part in ast.walk(argument)]
    values = [part.value for part in parts if isinstance(part, ast.Constant)]
    values += [constants.get(part.id) for part in parts if isinstance(part, ast.Name)]
    return frozenset(value for value in values if isinstance(value, str))
