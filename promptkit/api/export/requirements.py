"""The packages that a target needs besides Python."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator, Mapping
from importlib.metadata import packages_distributions, version
from pathlib import Path

from promptkit.engine.pipeline import Pipeline
from promptkit.runtimes.references import parse_reference


def required_packages(pipeline: Pipeline, files: Mapping[Path, bytes]) -> list[str]:
    """Return the lines of a requirements file: promptkit with its extras, and what the Python among the files imports.

    `files` are by their paths in the project. Packages that are not installed here are left out.
    """
    extras = sorted(_extras(pipeline))
    listed = f"[{','.join(extras)}]" if extras else ""
    own = {path.parts[0].removesuffix(".py") for path in files} | {path.stem for path in files} | {"promptkit"}
    contents = (content for path, content in files.items() if path.suffix == ".py")
    modules = {module for content in contents for module in _imported_modules(content)} - own
    others = modules - sys.stdlib_module_names
    known = packages_distributions() if others else {}
    names = sorted({name for module in others for name in known.get(module, ())[:1]})
    return [f"promptkit{listed}=={version('promptkit')}", *(f"{name}=={version(name)}" for name in names)]


def _extras(pipeline: Pipeline) -> Iterator[str]:
    references = [pipeline.model, pipeline.project.settings.model, *(step.model for step in pipeline.steps.values())]
    if any(parse_reference(reference).kind == "hf" for reference in references if reference):
        yield "hub"


def _imported_modules(content: bytes) -> set[str]:
    """Return the top-level names of the modules that a Python file imports."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(content)):
        if isinstance(node, ast.Import):
            found |= {name.name.partition(".")[0] for name in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            found.add(node.module.partition(".")[0])
    return found
