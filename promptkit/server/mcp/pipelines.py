"""The project's pipelines as tools: a name, a description and schemas for each, and its output as the result."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from promptkit.api.run import run_target
from promptkit.engine.pipeline import Pipeline
from promptkit.errors import InputError
from promptkit.reports.text import json_text
from promptkit.server.mcp.results import MAX_RESULT
from promptkit.server.mcp.verbs import Call, Outcome
from promptkit.server.pipelines import ServedPipelines, input_values, missing_inputs, served_pipelines
from promptkit.server.schemas import output_schema

OUTPUT: Final = "output"
"""The key of an output that is not a mapping: the protocol wants an object."""
MAX_NAME: Final = 64


def offered_pipelines(targets: Sequence[str], sets: Sequence[str], taken: Collection[str]) -> ServedPipelines:
    """Return the pipelines to offer, by the names of their tools. A name that is `taken` gets a prefix.

    Raises InputError for two pipelines whose tools would have one name, where they were named.
    """
    served = served_pipelines(targets, sets)
    loaded: dict[str, Pipeline] = {}
    broken = {tool_name(Path(name).stem, taken): error for name, error in served.broken.items()}
    for pipeline in served.loaded.values():
        name = tool_name(pipeline.name, taken)
        if loaded.setdefault(name, pipeline) is pipeline:
            continue
        error = InputError(f"`{loaded[name].name}` and `{pipeline.name}` would both be the tool `{name}`")
        if targets:
            raise error
        broken[pipeline.name] = error
    return ServedPipelines(loaded, broken)


def tool_name(name: str, taken: Collection[str]) -> str:
    """Return a name of the letters that clients take."""
    plain = re.sub(r"[^A-Za-z0-9_-]", "_", name)[:MAX_NAME]
    return f"pipeline_{plain}"[:MAX_NAME] if plain in taken else plain


def description_of(pipeline: Pipeline) -> str:
    """Return the pipeline's `about`, else its name."""
    return pipeline.about or f"The pipeline `{pipeline.name}`."


def result_schema(pipeline: Pipeline) -> dict[str, Any]:
    """Return the JSON Schema of the structured result. A step that is skipped gives null."""
    if pipeline.output_keys is not None:
        return output_schema(pipeline)
    schema = output_schema(pipeline)
    nullable = {"anyOf": [schema, {"type": "null"}]} if schema else {}
    return {"type": "object", "properties": {OUTPUT: nullable}, "required": [OUTPUT]}


async def run_pipeline(pipeline: Pipeline, arguments: Mapping[str, Any], call: Call) -> Outcome:
    """Run a pipeline with the arguments as its inputs. Raises InputError for missing ones, and what ends the run."""
    missing = [f"`{name}`" for name in missing_inputs(pipeline, arguments)]
    if missing:
        raise InputError(f"{' and '.join(missing)} {'is' if len(missing) == 1 else 'are'} missing")
    result = await run_target(pipeline, input_values(pipeline, arguments), call.options, call.progress)
    if result.error:
        raise result.error
    output = result.output
    is_object = pipeline.output_keys is not None and isinstance(output, Mapping)
    value = dict(output) if is_object else {OUTPUT: output}
    if (length := len(json_text(value, indent=None))) > MAX_RESULT:  # cut, it would not fit its schema
        text = f"error: the output has {length:,} characters, more than the {MAX_RESULT:,} of a result: {result}"
        return Outcome(text=text, value={}, failed=True)
    return Outcome(text=str(result), value=value)
