"""The files that a pipeline is made of, and the Python that it would run."""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from promptkit.answers.build import installed_answer_type, template_beside
from promptkit.engine.pipeline import Pipeline, PromptCall, Step, default_model
from promptkit.errors import InputError, place
from promptkit.project import LIBRARY, Project
from promptkit.project_code.reference import CodeReference, CodeUse
from promptkit.runtimes.references import parse_reference
from promptkit.storage.file_digests import file_digest
from promptkit.storage.files import SETTINGS_FILE, first_found, read_bytes, resolved, resolved_once
from promptkit.techniques.registry import Technique
from promptkit.techniques.spec import configure, technique_files, with_nested
from promptkit.tools.base import Effect, Tool, Toolset
from promptkit.tools.functions import FunctionTool

_REMOVED_ANSWERS = {"content_free": b"N/A\n[MASK]\n"}
"""Answer templates that promptkit shipped once, with their contents."""


def files_of(pipeline: Pipeline) -> Mapping[Path, frozenset[str]]:
    """Return the absolute path of each file that a target is made of, with the steps that read it.

    These are prompts with parents and includes, layouts, technique templates, data, tools and sub-pipelines. All steps
    read the pipeline's own file and `promptkit.yaml`.
    """
    found: dict[Path, set[str]] = {resolved_once(pipeline.file): set(pipeline.steps)}
    settings = pipeline.project.root / SETTINGS_FILE
    if settings.is_file():
        found[resolved_once(settings)] = set(pipeline.steps)
    for name, step in pipeline.steps.items():
        for path in _step_files(step, pipeline):
            found.setdefault(resolved_once(path), set()).add(name)
    return {path: frozenset(steps) for path, steps in found.items()}


def hashed_files(pipeline: Pipeline) -> dict[Path, bytes]:
    """Return the files of a target with their contents, as keys and hashes in the store are made of them.

    Removed answer templates are among them: no request was made from one, so what an older promptkit stored still
    holds. A file that is not there is empty. Data of tools and adapters, which may be large, are there by their
    digests.
    """
    data = {path: file_digest(path).encode() for path in (*_tool_data(pipeline), *_adapter_files(pipeline))}
    contents = {
        path: data.get(path) or first_found(("content", path), partial(_content, path)) or b""
        for path in files_of(pipeline)
    }
    shipped = resolved(LIBRARY / "templates" / "answers")
    if any(path.is_relative_to(shipped) for path in contents):
        for name, content in _REMOVED_ANSWERS.items():
            if name not in _answer_names(pipeline.project) or pipeline.project.find_template("answers", name) is None:
                contents[shipped / f"{name}.j2"] = content
    return contents


def _tool_data(pipeline: Pipeline) -> Iterator[Path]:
    """Yield the files that the tools of a pipeline's steps read, but for Python."""
    for step in pipeline.steps.values():
        for tool in tools_of(step).values():
            yield from () if isinstance(tool, FunctionTool) else map(resolved_once, tool.files)
        if step.pipeline is not None:
            yield from _tool_data(step.pipeline)


def _adapter_files(pipeline: Pipeline) -> Iterator[Path]:
    """Yield the adapters of a pipeline's steps that are there."""
    for step in pipeline.steps.values():
        file = step.prompt_call.adapter if step.prompt_call is not None else None
        if file is not None and file.is_file():
            yield resolved_once(file)
        if step.pipeline is not None:
            yield from _adapter_files(step.pipeline)


def tool_identities(pipeline: Pipeline) -> dict[str, Mapping[str, Any]]:
    """Return the identity of each tool of a pipeline's steps that has one, by `STEP.TOOL`; a toolset has one."""
    found: dict[str, Mapping[str, Any]] = {}
    for name, step in pipeline.steps.items():
        for entry, tool in tools_of(step).items():
            if identity := {**({"toolset": tool.name} if isinstance(tool, Toolset) else {}), **tool.identity}:
                found[f"{name}.{entry}"] = identity
        if step.pipeline is not None:
            found |= {f"{name}.{inner}": identity for inner, identity in tool_identities(step.pipeline).items()}
    return found


def _content(path: Path) -> bytes | None:
    return read_bytes(path) if path.is_file() else None


def _step_files(step: Step, pipeline: Pipeline) -> Iterator[Path]:
    if step.pipeline is not None:
        yield from files_of(step.pipeline)
    for tool in tools_of(step).values():
        yield from tool.files
    if step.prompt_call is not None:
        yield from _asking_files(step.prompt_call, pipeline)


def tools_of(step: Step) -> dict[str, Tool | Toolset]:
    """Return the tools that a step may call, by name; toolsets by the entry that names them."""
    named = {} if step.tool is None else {step.tool.name: step.tool.tool}
    return {**named, **(step.prompt_call.tools if step.prompt_call is not None else {})}


@dataclass(frozen=True, slots=True)
class ToolUse:
    """A tool that a step may call, with the effects that its calls may have. `file` is the pipeline's."""

    file: str
    step: str
    name: str
    effects: tuple[Effect, ...]


def tool_uses(pipeline: Pipeline) -> list[ToolUse]:
    """Return the tools that the steps of a pipeline, and of those within it, may call."""
    found: list[ToolUse] = []
    for step in pipeline.steps.values():
        found += step_tool_uses(step, pipeline)
        if step.pipeline is not None:
            found += tool_uses(step.pipeline)
    return found


def step_tool_uses(step: Step, pipeline: Pipeline) -> list[ToolUse]:
    """Return the tools that a step may call.

    The Python function that a step with `tool:` calls is left out unless it has effects: `code_in` has it.
    """
    called = step.tool.tool if step.tool is not None else None
    if isinstance(called, FunctionTool) and not called.effects:
        return []
    return [
        ToolUse(str(place(pipeline.file)), step.name, name, tuple(sorted(tool.effects)))
        for name, tool in tools_of(step).items()
    ]


def _asking_files(call: PromptCall, pipeline: Pipeline) -> Iterator[Path]:
    yield from call.prompt.files
    yield from call.data
    if isinstance(call.layout, Path):
        yield call.layout
    yield from technique_files(call.technique, pipeline.project, call.technique_folder)
    yield from call.artifacts.values()
    yield from (call.head,) if call.head is not None else ()
    yield from () if call.adapter is None else (call.adapter,)
    yield from _answer_files(call, pipeline.project)


def _answer_files(call: PromptCall, project: Project) -> Iterator[Path]:
    """Yield the templates of instructions and repairs, and the files of a package's answer type."""
    found = (project.find_template("answers", name) for name in _answer_names(project))
    yield from (path for path in found if path is not None)
    if (kind := installed_answer_type(call.answer_name, project)) is not None:
        yield from (Path(inspect.getfile(kind)), template_beside(kind))


def _answer_names(project: Project) -> Sequence[str]:
    """Return the names of answer templates; where files are frozen, those of the first look."""
    return first_found(("answer names", project.root), lambda: tuple(project.names("answers"))) or ()


def code_of(pipeline: Pipeline, *, model: str | None = None) -> list[CodeUse]:
    """Return the Python that a run of the target would load, each use once. Loads none of it.

    `model` is the model of the command line. Code shipped with promptkit is left out.
    """
    found = list(code_in(pipeline, with_models=model is None))
    with suppress(InputError):  # An invalid reference is reported where the model is opened.
        reference, why, base = default_model(pipeline.project, pipeline, model)
        found = [*model_code(reference, base, f"model, named by {why}"), *found]
    return without_shipped(found, pipeline.project)


def steps_with_code(pipeline: Pipeline) -> dict[str, CodeReference]:
    """Return the steps whose requests a technique of the project's own makes, with the Python of that technique."""
    found: dict[str, CodeReference] = {}
    for name, step in pipeline.steps.items():
        if step.prompt_call is not None:
            for chosen in with_nested(configure(step.prompt_call.technique, pipeline.project), pipeline.project):
                if chosen.technique.code is not None:
                    found[name] = chosen.technique.code
    return found


def without_shipped(found: list[CodeUse], project: Project) -> list[CodeUse]:
    """Return each use of Python once, without code shipped with promptkit."""
    kept = (use for use in found if use.code.file is None or not _is_shipped(use.code.file, project))
    return list({(use.code.shown, use.named_by): use for use in kept}.values())


def _technique_uses(call: PromptCall, project: Project, where: str) -> Iterator[CodeUse]:
    """Yield the Python of a step's techniques. `where` names the step."""
    for chosen in with_nested(configure(call.technique, project), project):
        code = _technique_code(chosen.technique, project)
        if code is not None:
            yield CodeUse(code, f"technique of {where}")


def _answer_code(call: PromptCall, project: Project, where: str) -> Iterator[CodeUse]:
    """Yield the Python of a step's answer type, where it comes from an installed package."""
    found = installed_answer_type(call.answer_name, project)
    if found is not None:
        file = Path(inspect.getfile(found))
        yield CodeUse(
            CodeReference(found.name, found.__module__, found.__name__, file, project.root), f"answer type of {where}"
        )


def model_code(reference: str, base: Path, named_by: str) -> Iterator[CodeUse]:
    """Yield the Python of a model that is a function. A path in the reference is relative to `base`."""
    named = parse_reference(reference)
    if named.function:
        file = resolved(base / named.path)
        yield CodeUse(CodeReference(reference, file.name, named.function, file, base), named_by)


def code_in(pipeline: Pipeline, *, with_models: bool = True) -> Iterator[CodeUse]:
    """Yield the Python that the steps of a pipeline load and, `with_models`, that of the models they name."""
    file, project = place(pipeline.file), pipeline.project
    for name, step in pipeline.steps.items():
        where = f"step `{name}` in {file}"
        if step.prompt_call is not None:
            yield from _technique_uses(step.prompt_call, project, where)
            yield from _answer_code(step.prompt_call, project, where)
            for reference in step.prompt_call.other_models if with_models else ():
                yield from model_code(reference, pipeline.file.parent, f"model of {where}")
        functions = (tool for tool in tools_of(step).values() if isinstance(tool, FunctionTool))
        yield from (CodeUse(tool.code, f"tool `{tool.name}` of {file}") for tool in functions)
        if step.model is not None and with_models:
            yield from model_code(step.model, pipeline.file.parent, f"model of {where}")
        if step.pipeline is not None:
            inner = step.pipeline
            if inner.model is not None and with_models:
                yield from model_code(inner.model, inner.file.parent, f"model of {place(inner.file)}")
            yield from code_in(inner, with_models=with_models)


def _technique_code(technique: Technique, project: Project) -> CodeReference | None:
    """Return the Python of a technique; None where it is shipped or only a template."""
    function = technique.function
    if technique.code is not None or function.__module__.startswith("promptkit."):
        return technique.code
    file = Path(function.__code__.co_filename)
    return CodeReference(technique.name, function.__module__, technique.name, file, project.root)


def _is_shipped(file: Path, project: Project) -> bool:
    return project.inside(file) and not project.owns(file)
