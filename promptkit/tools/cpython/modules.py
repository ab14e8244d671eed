"""The modules that programs may import in CPython's sandbox, and their import in the fork server.

A jailed process cannot read files. So it asks for a module that is not loaded, and the program starts again in a fork
of a server that has loaded it.
"""

from __future__ import annotations

import ast
import importlib
import sys
from collections.abc import Iterable, Iterator
from typing import Final

STANDARD_MODULES: Final = (
    "bisect",
    "calendar",
    "cmath",
    "collections",
    "copy",
    "dataclasses",
    "datetime",
    "decimal",
    "enum",
    "fractions",
    "functools",
    "heapq",
    "itertools",
    "json",
    "math",
    "operator",
    "random",
    "re",
    "statistics",
    "string",
    "textwrap",
    "typing",
)
"""Modules of the standard library that compute."""

PACKAGES: Final = ("dateutil", "mpmath", "numpy", "sympy")
"""Packages for programs, where they are installed."""

# Further modules that programs may import, which a prompt need not name.
_FURTHER: Final = (
    "__future__",
    "abc",
    "array",
    "base64",
    "binascii",
    "contextlib",
    "csv",
    "difflib",
    "graphlib",
    "hashlib",
    "html",
    "io",
    "keyword",
    "numbers",
    "pprint",
    "queue",
    "struct",
    "sys",
    "time",
    "types",
    "unicodedata",
    "warnings",
    "weakref",
    "zlib",
)
# What these import when they are used. `_strptime` is a part of `datetime`.
_INTERNAL: Final = (
    "_strptime",
    "ast",
    "atexit",
    "dis",
    "encodings",
    "gettext",
    "hmac",
    "importlib",
    "inspect",
    "linecache",
    "locale",
    "pickle",
    "pkgutil",
    "secrets",
    "six",
    "stringprep",
    "tarfile",
    "threading",
    "token",
    "tokenize",
    "traceback",
)
_IMPORTABLE: Final = frozenset((*STANDARD_MODULES, *PACKAGES, *_FURTHER))
_LOADABLE: Final = frozenset((*_IMPORTABLE, *_INTERNAL))
# Parts of packages that do something when they are imported, or are for their developers.
_REFUSED_PARTS: Final = frozenset(
    {"__main__", "conftest", "distutils", "f2py", "interactive", "rebuild", "testing", "tests", "this"}
)


def is_importable(name: str) -> bool:
    """Tell whether a program may import a module."""
    return name.partition(".")[0] in _IMPORTABLE and is_loadable(name)


def is_loadable(name: str) -> bool:
    """Tell whether the fork server may import a module: those for programs, and what these need."""
    first, *parts = name.split(".")
    return first in _LOADABLE and _REFUSED_PARTS.isdisjoint(parts) and all(part.isidentifier() for part in parts)


def missing_modules(tree: ast.AST) -> list[str]:
    """Return the modules for programs that a program's import statements name and that are not loaded, sorted."""
    return sorted({name for node in ast.walk(tree) for name in _named(node) if is_importable(name)})


def _named(node: ast.AST) -> Iterator[str]:
    match node:
        case ast.Import(names=names):
            yield from (alias.name for alias in names if alias.name not in sys.modules)
        case ast.ImportFrom(module=str(module), names=names, level=0):
            loaded = sys.modules.get(module)
            if loaded is None:
                yield module
            if loaded is None or hasattr(loaded, "__path__"):
                yield from (f"{module}.{alias.name}" for alias in names if not hasattr(loaded, alias.name))


def load_modules(names: Iterable[str]) -> None:
    """Import those of the modules that exist."""
    for name in names:
        if is_loadable(name):
            try:
                importlib.import_module(name)
            except Exception:  # also what a broken package raises: the program's own import fails
                continue
