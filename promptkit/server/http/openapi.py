"""The description of the server: OpenAPI 3.1, and a page for people."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from functools import cache
from importlib.metadata import version
from importlib.resources import files
from shlex import quote as shell_quoted
from typing import Any
from urllib.parse import quote

from jinja2 import Environment, StrictUndefined, Template

from promptkit.engine.pipeline import Pipeline
from promptkit.server.schemas import input_schema, output_schema

PAGE_POLICY = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"
"""The content security policy of the page, which has no script."""

_COUNTS = ("prompt_tokens", "completion_tokens", "total_tokens")
_USAGE = {
    "type": "object",
    "properties": {name: {"type": "integer"} for name in _COUNTS},
}
_ERROR = {
    "type": "object",
    "properties": {
        "error": {
            "type": "object",
            "properties": {
                "message": {"type": "string"},
                "type": {"type": "string"},
                "param": {"type": ["string", "null"]},
                "code": {"type": "string"},
            },
        }
    },
}


def openapi(pipelines: Iterable[Pipeline], *, has_token: bool) -> dict[str, Any]:
    """Return the OpenAPI description of the endpoints of the pipelines."""
    pipelines = list(pipelines)
    security: dict[str, Any] = {"security": [{"bearer": []}]} if has_token else {}
    schemes = {"securitySchemes": {"bearer": {"type": "http", "scheme": "bearer"}}} if has_token else {}
    return {
        "openapi": "3.1.0",
        "info": {"title": "promptkit", "version": version("promptkit")},
        "paths": {
            "/v1/models": {"get": {"summary": "List the pipelines as models.", "responses": _responses({})}},
            "/v1/chat/completions": {"post": _chat(pipelines)},
            **{path_of(pipeline): {"post": _run(pipeline)} for pipeline in pipelines},
        },
        "components": {"schemas": {"Error": _ERROR}, **schemes},
        **security,
    }


def path_of(pipeline: Pipeline) -> str:
    """Return the path of the endpoint of a pipeline."""
    return f"/pipelines/{quote(pipeline.name, safe='')}"


def _chat(pipelines: Iterable[Pipeline]) -> dict[str, Any]:
    names = [pipeline.name for pipeline in pipelines]
    body = {
        "type": "object",
        "properties": {
            "model": {"type": "string", "enum": names},
            "messages": {"type": "array", "items": {"type": "object"}},
            "inputs": {"type": "object", "description": "The inputs by name, in place of the user's message."},
            "stream": {"type": "boolean"},
            "response_format": {"type": "object"},
        },
        "required": ["model", "messages"],
    }
    return {
        "summary": "Answer the messages of a chat, as the OpenAI API does.",
        "requestBody": _json(body),
        "responses": _responses({"type": "object"}),
    }


def _run(pipeline: Pipeline) -> dict[str, Any]:
    body = {
        "type": "object",
        "properties": {
            "inputs": input_schema(pipeline),
            "steps": {"type": "boolean", "description": "Return the result of each step too.", "default": False},
        },
        "required": ["inputs"] if any(not spec.has_default for spec in pipeline.inputs.values()) else [],
        "additionalProperties": False,
    }
    result = {
        "type": "object",
        "properties": {
            "output": output_schema(pipeline),
            "usage": _USAGE,
            "warnings": {"type": "array", "items": {"type": "string"}},
            "run": {"type": "integer"},
            "steps": {"type": "object"},
        },
        "required": ["output", "usage", "warnings"],
    }
    return {
        "summary": pipeline.about or f"Run the pipeline {pipeline.name}.",
        "requestBody": {"required": True, **_json(body)},
        "responses": _responses(result),
    }


def _json(schema: Mapping[str, Any]) -> dict[str, Any]:
    return {"content": {"application/json": {"schema": schema}}}


def _responses(schema: Mapping[str, Any]) -> dict[str, Any]:
    failed = _json({"$ref": "#/components/schemas/Error"})
    return {
        "200": {"description": "The answer.", **_json(schema)},
        "default": {"description": "Why there is no answer.", **failed},
    }


def example_inputs(pipeline: Pipeline) -> dict[str, Any]:
    """Return inputs with which a pipeline can be tried: its examples, else words that name what is missing."""
    return {
        name: spec.example if spec.has_example else f"<{name}>"
        for name, spec in pipeline.inputs.items()
        if spec.has_example or not spec.has_default
    }


def curl_command(pipeline: Pipeline, url: str, *, has_token: bool) -> str:
    """Return the command that asks a pipeline from a shell."""
    body = json.dumps({"inputs": example_inputs(pipeline)}, ensure_ascii=False)
    token = ' -H "Authorization: Bearer $TOKEN"' if has_token else ""
    return f"curl {url}{path_of(pipeline)} -H 'Content-Type: application/json'{token} -d {shell_quoted(body)}"


def page(pipelines: Iterable[Pipeline], url: str, *, has_token: bool) -> str:
    """Return the page that lists the pipelines, each with its inputs and a command."""
    listed = [
        {
            "name": pipeline.name,
            "about": pipeline.about,
            "inputs": pipeline.inputs.values(),
            "input_schema": json.dumps(input_schema(pipeline), indent=2, ensure_ascii=False),
            "output_schema": json.dumps(output_schema(pipeline), indent=2, ensure_ascii=False),
            "curl": curl_command(pipeline, url, has_token=has_token),
        }
        for pipeline in pipelines
    ]
    return _template().render(pipelines=listed, url=url, version=version("promptkit"))


@cache
def _template() -> Template:
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    return environment.from_string(files("promptkit.server.http").joinpath("page.html").read_text("utf-8"))
