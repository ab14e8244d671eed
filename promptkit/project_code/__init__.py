"""Python that a project may run: which functions it may name, how they are found, loaded and called.

Files, prompts, data and models are not trusted: what they name is looked for by path alone, and only the project's own
Python files, and modules that `promptkit.yaml` or an installed package names, are ever run.
"""

from promptkit.project_code.guard import described, guarded
from promptkit.project_code.reference import (
    CodeReference,
    CodeUse,
    find_code,
    installed_entry_points,
    is_project_code,
)
from promptkit.project_code.source import binds, bound_names, constants_of, functions_of, literal, parse_source

__all__ = [
    "CodeReference",
    "CodeUse",
    "binds",
    "bound_names",
    "constants_of",
    "described",
    "find_code",
    "functions_of",
    "guarded",
    "installed_entry_points",
    "is_project_code",
    "literal",
    "parse_source",
]
