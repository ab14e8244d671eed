"""The project's pipelines as tools: a name, a description and schemas for each, and its output as the result."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from promptkit.api.run import arun
from promptkit.api.session import load
from promptkit.engine.pipeline import Pipeline
from promptkit.errors import InputError
from promptkit.project import Project, is_artifact
from promptkit.reports.text import json_text
from promptkit.server.mcp.results import MAX_RESULT
from promptkit.server.mcp.verbs import Call, Outcome
from promptkit.server.schemas import input_schema, output_schema

OUTPUT: Final = "output"
"""The key of an output that is not a mapping: the protocol wants an object."""
MAX_NAME: Final = 64


@dataclass(frozen=True, slots=True)
class ServedPipelines:
    """The pipelines that load, by the names of their tools, and the errors of the others."""

    loaded: Mapping[str, Pipeline]
    broken: Mapping[str, InputError]


def served_pipelines(targets: Sequence[str], taken: Collection[str]) -> ServedPipelines:
    """Return the pipelines to offer: those named, else all of the project. A name that is `taken` gets a prefix.

    Raises InputError for two targets of one name.
    """
    loaded: dict[str, Pipeline] = {}
    broken: dict[str, InputError] = {}
    for target in targets or _pipelines_of(Project.find(Path.cwd())):
        try:
            pipeline = load(target)
        except InputError as error:
            broken[tool_name(Path(target).stem, taken)] = error
            continue
        name = tool_name(pipeline.name, taken)
        if name in loaded and targets:
            raise InputError(f"two targets have the name `{name}`", hint="serve one of them")
        loaded.setdefault(name, pipeline)
    return ServedPipelines(loaded, broken)


def _pipelines_of(project: Project) -> list[str]:
    """Return the files in the project's folder of pipelines."""
    files = sorted((project.root / "pipelines").glob("*.y*ml"))
    return [str(file) for file in files if not is_artifact(file)]


def tool_name(name: str, taken: Collection[str]) -> str:
    """Return a name of the letters that clients take."""
    plain = re.sub(r"[^A-Za-z0-9_-]", "_", name)[:MAX_NAME]
    return f"pipeline_{plain}"[:MAX_NAME] if plain in taken else plain


def description_of(pipeline: Pipeline) -> str:
    """Return the pipeline's `about`, else its name."""
    return pipeline.about or f"The pipeline `{pipeline.name}`."


def parameters_of(pipeline: Pipeline) -> dict[str, Any]:
    """Return the JSON Schema of the arguments: the inputs."""
    return input_schema(pipeline)


def result_schema(pipeline: Pipeline) -> dict[str, Any]:
    """Return the JSON Schema of the structured result. A step that is skipped gives null."""
    if pipeline.output_keys is not None:
        return output_schema(pipeline)
    schema = output_schema(pipeline)
    nullable = {"anyOf": [schema, {"type": "null"}]} if schema else {}
    return {"type": "object", "properties": {OUTPUT: nullable}, "required": [OUTPUT]}


async def run_pipeline(pipeline: Pipeline, arguments: Mapping[str, Any], call: Call) -> Outcome:
    """Run a pipeline with the arguments as its inputs. Raises InputError for missing ones, and what ends the run."""
    missing = [f"`{name}`" for name, spec in pipeline.inputs.items() if not spec.has_default and name not in arguments]
    if missing:  # without any, `arun` takes the examples
        raise InputError(f"{' and '.join(missing)} {'is' if len(missing) == 1 else 'are'} missing")
    options = call.options
    result = await arun(
        pipeline,
        arguments,
        progress=call.progress,
        model=options.model,
        no_cache=options.no_cache,
        timeout=options.timeout,
    )
    output = result.output
    is_object = pipeline.output_keys is not None and isinstance(output, Mapping)
    value = dict(output) if is_object else {OUTPUT: output}
    if (length := len(json_text(value, indent=None))) > MAX_RESULT:  # cut, it would not fit its schema
        text = f"error: the output has {length:,} characters, more than the {MAX_RESULT:,} of a result: {result}"
        return Outcome(text=text, value={}, failed=True)
    return Outcome(text=str(result), value=value)
