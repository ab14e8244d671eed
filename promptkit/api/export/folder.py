"""`promptkit export folder`: a target with all that it needs of its project, as a project of its own."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from shlex import quote

import yaml

from promptkit.api.export.requirements import all_steps, all_tools, required_packages
from promptkit.api.session import load
from promptkit.engine.dependencies import files_of
from promptkit.engine.pipeline import Pipeline, default_model
from promptkit.errors import InputError, place
from promptkit.runtimes.models import MODEL_OPTION, MODEL_VARIABLE
from promptkit.runtimes.references import AUTO, ModelReference, parse_reference
from promptkit.storage.file_digests import matching_files
from promptkit.storage.files import SETTINGS_FILE, make_folder, read_bytes, resolved, write_atomic
from promptkit.tools.base import Toolset
from promptkit.tools.functions import FunctionTool

LEFT_OUT = frozenset({"prices", "teacher", "cache"})
"""Settings of a project that no run of a target reads."""


@dataclass(frozen=True, slots=True)
class ExportedFolder:
    """A written folder: its files, the target's name in it, and what a person must know or do."""

    folder: Path
    files: tuple[Path, ...]
    target: str
    notes: tuple[str, ...]


def export_folder(pipeline: Pipeline, folder: Path, *, model: str | None = None) -> ExportedFolder:
    """Write a target and all files that it is made of into a new folder, from which it runs alone.

    `model` is the model of the command line; where it, the environment or the project names one, the folder's
    `promptkit.yaml` does. Raises InputError where the folder has files, or the copy does not load.
    """
    if os.path.lexists(folder) and not (folder.is_dir() and not any(folder.iterdir())):
        raise InputError(f"{place(folder)} exists and is not an empty folder", hint="name a new folder")
    project, root = pipeline.project, resolved(pipeline.project.root)
    copied: dict[Path, bytes] = {}
    notes: list[str] = []
    for path in needed_files(pipeline, model):
        if project.owns(path):
            copied[path.relative_to(root)] = read_bytes(path)
        elif not project.inside(path):
            notes.append(f"{path.name} lies outside of the project and was not copied")
    settings, model_notes = _settings(pipeline, model)
    notes += model_notes
    copied[Path(SETTINGS_FILE)] = settings.encode()
    packages = required_packages(pipeline, copied, [reference for reference, _ in _models(pipeline, model)])
    copied[Path("requirements.txt")] = "".join(f"{line}\n" for line in packages).encode()
    target = target_in(pipeline)
    copied[Path("README.md")] = _readme(pipeline, target, notes).encode()
    for name, content in sorted(copied.items()):
        make_folder((folder / name).parent)
        write_atomic(folder / name, content)
    _check_copy(pipeline, folder, target)
    return ExportedFolder(folder, tuple(folder / name for name in sorted(copied)), target, tuple(notes))


def needed_files(pipeline: Pipeline, model: str | None) -> list[Path]:
    """Return the files that a target is made of, that its tools declare, and of its scripted and recorded models."""
    found = {*files_of(pipeline), *_declared_files(pipeline)}
    for reference, base in _models(pipeline, model):
        named = parse_reference(reference).beside(base)
        if named.is_local and named.kind != "gguf":
            found.add(Path(named.path))
    return sorted(path for path in found if path.name != SETTINGS_FILE)


def target_in(pipeline: Pipeline) -> str:
    """Return the target as it is named in the folder: by its path, or by name where it is shipped with promptkit."""
    if pipeline.project.owns(pipeline.file):
        return resolved(pipeline.file).relative_to(resolved(pipeline.project.root)).as_posix()
    return pipeline.file.stem


def _declared_files(pipeline: Pipeline) -> Iterator[Path]:
    """Yield the files that tools say that they read."""
    root = pipeline.project.root
    for tool in all_tools(pipeline):
        for name in tool.declared if isinstance(tool, FunctionTool) else ():
            if not name.startswith("$"):
                named = [name] if (root / name).is_file() else matching_files(root, name)
                yield from (root / file for file in named)


def _models(pipeline: Pipeline, model: str | None) -> Iterator[tuple[str, Path]]:
    """Yield the references of all models of a run, each with the folder that a path in it is relative to."""
    reference, _, base = default_model(pipeline.project, pipeline, model)
    yield reference, base
    for step in all_steps(pipeline):
        others = step.prompt_call.other_models if step.prompt_call is not None else ()
        for other in (*([step.model] if step.model else []), *others):
            yield other, pipeline.file.parent


def _settings(pipeline: Pipeline, model: str | None) -> tuple[str, list[str]]:
    """Return the text of the folder's `promptkit.yaml`, and what a person must know of it."""
    source = pipeline.project.source
    values = dict(source.value) if source is not None and isinstance(source.value, dict) else {}
    values = {key: value for key, value in values.items() if key not in LEFT_OUT}
    for key, used in _used_sources(pipeline).items():
        if kept := {name: of for name, of in values.pop(key, {}).items() if name in used}:
            values[key] = kept
    reference, why, base = default_model(pipeline.project, pipeline, model)
    notes: list[str] = []
    if why in (MODEL_OPTION, MODEL_VARIABLE, SETTINGS_FILE):
        values["model"], notes = _model_there(parse_reference(reference).beside(base), pipeline)
    elif reference == AUTO:
        notes.append("no model is named: the Ollama model used last answers there, else the embedded model")
    if why == MODEL_OPTION and pipeline.model:
        notes.append(f"the pipeline names the model {pipeline.model} itself; --model {reference} goes before it")
    notes += [f"`{key}` of {SETTINGS_FILE} is copied: look for secrets" for key in ("mcp", "feeds") if key in values]
    return yaml.safe_dump(values, sort_keys=False, allow_unicode=True) if values else "{}\n", notes


def _used_sources(pipeline: Pipeline) -> dict[str, set[str]]:
    """Return the names of the MCP servers and feeds that the target's tools use, by their key in `promptkit.yaml`."""
    used: dict[str, set[str]] = {"mcp": set(), "feeds": set()}
    for tool in all_tools(pipeline):
        if isinstance(tool, Toolset):
            used["mcp"].add(tool.name.removeprefix("mcp:"))
        used["feeds"].update(tool.identity.get("feeds", ()))
    return used


def _model_there(named: ModelReference, pipeline: Pipeline) -> tuple[str, list[str]]:
    """Return a model as the folder names it, and what a person must do for it."""
    if named.is_local:
        file, root = Path(named.path), resolved(pipeline.project.root)
        path = file.relative_to(root).as_posix() if file.is_relative_to(root) else file.name
        text = f"{named.kind}:{path}" + (f":{named.function}" if named.function else "")
        return text, [f"put the weights {file.name} at {path} in the folder"] if named.kind == "gguf" else []
    if named.kind == "ollama":
        return named.text, [f"the model is `{named.name}` of an Ollama server; OLLAMA_HOST says where that is"]
    if named.kind == "openai":
        return named.text, ["the address of the model's server is in promptkit.yaml; OPENAI_API_KEY is its key"]
    return named.text, []


def _check_copy(pipeline: Pipeline, folder: Path, target: str) -> None:
    """Raise InputError where the copy does not load, or reads another file than the original."""
    copy = load(folder / target if (folder / target).is_file() else pipeline.file)
    if copy.file.is_relative_to(resolved(folder)):
        lost = _own_names(pipeline) ^ _own_names(copy)
        if lost:
            raise InputError(f"the copy does not read the same files: {', '.join(sorted(lost))}")


def _own_names(pipeline: Pipeline) -> set[str]:
    root = resolved(pipeline.project.root)
    owned = (path for path in files_of(pipeline) if pipeline.project.owns(path))
    return {path.relative_to(root).as_posix() for path in owned} - {SETTINGS_FILE}


def _readme(pipeline: Pipeline, target: str, notes: list[str]) -> str:
    about = f"\n{pipeline.about}\n" if pipeline.about else ""
    listed = "".join(f"- {line}\n" for line in notes)
    return README.format(
        name=pipeline.name,
        about=about,
        version=version("promptkit"),
        target=quote(target),
        values="".join(f" {name}=VALUE" for name, spec in pipeline.inputs.items() if not spec.has_default),
        notes=f"\n{listed}" if listed else "",
    )


README = """\
# {name}
{about}
Exported by promptkit {version}. In this folder:

```sh
pip install -r requirements.txt
promptkit run {target}{values}
```

`promptkit serve {target}` offers it to other programs, over HTTP.
{notes}"""
