"""The JSON Schema of pipelines and prompts, made from the models that read them; editors complete and check by it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Literal, TypeAlias

from pydantic import BaseModel, Field

from promptkit.engine.spec import CaseSpec, DefaultsSpec, InputSpec, PipelineSpec, SettingsSpec, StepSpec

Format: TypeAlias = Literal["pipeline", "prompt"]

_ONE_OR_MANY = {"anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}}]}
# What the models leave open, since they say better than a schema what is wrong with it.
_SHAPES: dict[str, dict[str, Any]] = {
    "after": _ONE_OR_MANY,
    "answer": {"type": ["string", "object"]},
    "examples": {"type": ["array", "object"]},
    "for_each": {"type": ["string", "array", "object"]},
    "on_error": {
        "anyOf": [
            {"enum": ["fail", "skip"]},
            {"type": "object", "required": ["default"], "properties": {"default": {}}, "additionalProperties": False},
        ]
    },
    "prompt": {"type": ["string", "object"]},
    "stop": _ONE_OR_MANY,
    "technique": {"type": ["string", "object"]},
    "when": {"type": ["string", "boolean"]},
}


class _PipelineFile(PipelineSpec):
    inputs: dict[str, InputSpec] = Field(default={})
    defaults: DefaultsSpec = DefaultsSpec()  # type: ignore[assignment]
    steps: dict[str, StepSpec]
    cases: list[CaseSpec] = Field(default=[])


class _PromptFile(SettingsSpec):
    about: str = ""
    inputs: dict[str, InputSpec] = Field(default={})
    cases: list[CaseSpec] = Field(default=[])


def json_schema(of: Format) -> dict[str, Any]:
    """Return the schema of a pipeline's file, or of a prompt's front matter."""
    model: type[BaseModel] = _PipelineFile if of == "pipeline" else _PromptFile
    schema = model.model_json_schema(by_alias=True)
    for properties in _properties(schema):
        for name in properties.keys() & _SHAPES.keys():
            properties[name] = {**_SHAPES[name], "title": properties[name].get("title", name)}
        if properties.get("tools", {}).get("type") != "object" and "tools" in properties:
            properties["tools"] = {**_ONE_OR_MANY, "title": "Tools"}
    head = {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": f"promptkit {of}"}
    return {**schema, **head, "description": f"A {of} of promptkit."}


def _properties(schema: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield the properties of each mapping in a schema."""
    for part in (schema, *schema.get("$defs", {}).values()):
        if "properties" in part:
            yield part["properties"]
