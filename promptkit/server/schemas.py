"""The JSON Schemas of what a pipeline takes and returns."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from promptkit.answers.base import AnswerType
from promptkit.answers.text import Text
from promptkit.engine.pipeline import Input, Pipeline, Step

_MESSAGE = {
    "type": "object",
    "properties": {"role": {"type": "string"}, "content": {"type": "string"}},
    "required": ["role", "content"],
}
_TYPES: Mapping[str, Mapping[str, Any]] = {
    "text": {"type": "string"},
    "number": {"type": "number"},
    "boolean": {"type": "boolean"},
    "list": {"type": "array"},
    "table": {"type": "array", "items": {"type": "object"}},
    "messages": {"type": "array", "items": _MESSAGE},
    "json": {},
}


def input_schema(pipeline: Pipeline) -> dict[str, Any]:
    """Return the JSON Schema of the inputs of a pipeline: an object with a property for each."""
    return {
        "type": "object",
        "properties": {name: _input(spec) for name, spec in pipeline.inputs.items()},
        "required": [name for name, spec in pipeline.inputs.items() if not spec.has_default],
        "additionalProperties": False,
    }


def _input(spec: Input) -> dict[str, Any]:
    return {
        **_TYPES[spec.type],
        **({"description": spec.about} if spec.about else {}),
        **({"enum": list(spec.choices)} if spec.choices else {}),
        **({"examples": [spec.example]} if spec.has_example else {}),
        **({"default": spec.default} if spec.has_default else {}),
    }


def output_schema(pipeline: Pipeline) -> dict[str, Any]:
    """Return the JSON Schema of the output of a pipeline, as far as it is known before a run."""
    if pipeline.output_keys is not None:
        return {"type": "object", "properties": {key: {} for key in pipeline.output_keys}}
    step = output_step(pipeline)
    if step is None:
        return {}
    if step.for_each is not None:
        return {"type": "array", "items": _result(step)}
    return _result(step)


def output_step(pipeline: Pipeline) -> Step | None:
    """Return the step whose result is the output of a pipeline as it is, None where the output is made of more."""
    names = pipeline.output.names
    return pipeline.steps.get(next(iter(names))) if len(names) == 1 and not pipeline.output.texts else None


def _result(step: Step) -> dict[str, Any]:
    """Return the schema of the result of a step, or of an item of it."""
    if step.pipeline is not None:
        return output_schema(step.pipeline)
    if step.prompt_call is None or not isinstance(step.prompt_call.answer, AnswerType):
        return {}
    answer = step.prompt_call.answer
    return {"type": "string"} if isinstance(answer, Text) else dict(answer.schema() or {})
