"""The packages that a target needs besides Python."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterable, Iterator, Mapping
from importlib.metadata import packages_distributions, version
from pathlib import Path

from promptkit.engine.pipeline import Pipeline, Step
from promptkit.runtimes.references import parse_reference
from promptkit.tools.base import Tool, Toolset


def required_packages(pipeline: Pipeline, files: Mapping[Path, bytes], references: Iterable[str]) -> list[str]:
    """Return the lines of a requirements file: promptkit with its extras, and what the Python among the files imports.

    `files` are by their paths in the project, `references` name the models of a run. Packages that are not installed
    here are left out.
    """
    extras = sorted(_extras(pipeline, references))
    listed = f"[{','.join(extras)}]" if extras else ""
    own = {path.parts[0].removesuffix(".py") for path in files} | {path.stem for path in files} | {"promptkit"}
    contents = (content for path, content in files.items() if path.suffix == ".py")
    modules = {module for content in contents for module in _imported_modules(content)} - own
    others = modules - sys.stdlib_module_names
    known = packages_distributions() if others else {}
    names = sorted({name for module in others for name in known.get(module, ())[:1]})
    return [f"promptkit{listed}=={version('promptkit')}", *(f"{name}=={version(name)}" for name in names)]


def all_steps(pipeline: Pipeline) -> Iterator[Step]:
    """Yield the steps of a pipeline and of those that run as its steps."""
    for step in pipeline.steps.values():
        yield step
        if step.pipeline is not None:
            yield from all_steps(step.pipeline)


def all_tools(pipeline: Pipeline) -> Iterator[Tool | Toolset]:
    """Yield the tools of all steps, those that a model calls and those that a step is."""
    for step in all_steps(pipeline):
        if step.tool is not None:
            yield step.tool.tool
        if step.prompt_call is not None:
            yield from step.prompt_call.tools.values()


def _extras(pipeline: Pipeline, references: Iterable[str]) -> Iterator[str]:
    yield from {tool.extra for tool in all_tools(pipeline) if tool.extra is not None}
    if any(parse_reference(reference).kind == "hf" for reference in references):
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
