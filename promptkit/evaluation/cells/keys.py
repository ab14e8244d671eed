"""Keys that tell cells apart: of a target's files, of a variant, and of a cell."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from promptkit.engine.dependencies import hashed_files, tool_identities
from promptkit.engine.pipeline import Pipeline
from promptkit.storage.files import SETTINGS_FILE, resolved_once
from promptkit.storage.hashes import content_key
from promptkit.storage.strict_json import json_bytes
from promptkit.storage.yaml import load_file
from promptkit.tools.backends import DEFAULT_BACKEND, importable

# Keys are hashed in the order in which they stand: it is that in which labels and examples are shown.
CELL_VERSION = 1  # of what a cell means: a change here makes all cells new
_IGNORED_PIPELINE_KEYS = ("name", "about", "cases", "tune")
_HASHED_SETTINGS = ("model", "defaults", "feeds")


def content_hash(pipeline: Pipeline, *settings: object) -> bytes:
    """Return the key of all files that a target reads: prompts with parents, layouts, techniques, tools …

    The settings of its tools are in it. `settings` is plain data that says how it was read.
    """
    contents = _contents(pipeline)
    parts = (name.encode("utf-8", "surrogatepass") + b"\0" + content_key(part, 64) for name, part in contents)
    head = [json.dumps(settings, default=str).encode("utf-8", "surrogatepass")]
    if identities := tool_identities(pipeline):
        head.append(json.dumps(identities, sort_keys=True, default=str).encode("utf-8", "surrogatepass"))
    return content_key(b"".join([*head, *parts]))


def digests_of_files(pipeline: Pipeline) -> dict[str, str]:
    """Return the project's own files that a target reads, by name, with digests of what a cell can depend on."""
    own = {pipeline.project.portable_name(path) for path in hashed_files(pipeline) if pipeline.project.owns(path)}
    return {name: content_key(content).hex() for name, content in _contents(pipeline) if name in own}


def _contents(pipeline: Pipeline) -> list[tuple[str, bytes]]:
    return sorted(
        (pipeline.project.portable_name(path), _hashed_content(path, content, pipeline))
        for path, content in hashed_files(pipeline).items()
    )


def modules_of_programs(pipeline: Pipeline) -> dict[str, Sequence[str]]:
    """Return the modules that programs of each step may import here, for steps of another backend than Monty."""
    found: dict[str, Sequence[str]] = {}
    for name, step in pipeline.steps.items():
        if step.prompt_call is not None and step.prompt_call.programs != DEFAULT_BACKEND:
            found[name] = importable(step.prompt_call.programs)
        if step.pipeline is not None:
            found |= {f"{name}.{inner}": modules for inner, modules in modules_of_programs(step.pipeline).items()}
    return found


def without_timeouts(settings: Any) -> Any:
    """Return settings without the time limit of a request, on which no answer depends.

    They are those of a step, of `defaults`, or changes by their paths (`STEP.options`, `STEP.options.timeout`).
    """
    if not isinstance(settings, Mapping):
        return settings
    kept: dict[str, Any] = {}
    for name, value in settings.items():
        if str(name).rpartition(".")[2] == "options" and isinstance(value, Mapping) and "timeout" in value:
            value = {key: option for key, option in value.items() if key != "timeout"}
            if not value:
                continue
        if not str(name).endswith("options.timeout"):
            kept[name] = value
    return kept


def _hashed_content(path: Path, content: bytes, pipeline: Pipeline) -> bytes:
    """Return the part of a file's content that a cell can depend on: not, for one, a pipeline's pinned cases."""
    is_pipeline = path.suffix in (".yaml", ".yml") and path == resolved_once(pipeline.file)
    if not content or not (is_pipeline or path.name == SETTINGS_FILE):
        return content
    value = load_file(path).value or {}
    if is_pipeline:
        kept = {key: part for key, part in value.items() if key not in _IGNORED_PIPELINE_KEYS}
        steps = (kept.get("steps") or {}).items()
        kept["steps"] = {name: without_timeouts(step) for name, step in steps if name in pipeline.steps}
    else:
        kept = {key: value[key] for key in _HASHED_SETTINGS if key in value}
    if (defaults := without_timeouts(kept.pop("defaults", {}))) != {}:
        kept["defaults"] = defaults
    return json.dumps(kept, default=str).encode("utf-8", "surrogatepass")


def cell_key(variant: bytes, inputs: Mapping[str, Any], sample: str) -> bytes:
    """Return the key of a cell: its variant, the target's inputs, and its sample."""
    return content_key(variant + json_bytes([inputs, sample], allow_nan=True, default=str))
