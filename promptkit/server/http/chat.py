"""Chat completions: a request of the OpenAI protocol becomes a run, and its result a completion or its chunks."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

from promptkit.answers.constraints.json_schema import JsonSchema
from promptkit.engine.pipeline import Pipeline
from promptkit.engine.results import Result, Totals
from promptkit.errors import InputError
from promptkit.server.http.errors import HttpError
from promptkit.server.http.inputs import chat_inputs
from promptkit.server.schemas import output_schema
from promptkit.storage.strict_json import json_bytes

REFUSED = ("tools", "tool_choice", "functions", "function_call", "stop", "audio", "prediction", "web_search_options")
"""Fields that ask for another reply than that of the pipeline, and so are refused where they are set.

All other fields that are not read say how a model is asked (`temperature`, `max_tokens`). They are ignored, because the
pipeline says that itself.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class ChatRequest:
    """A checked request: the inputs of the run, and the form of its reply.

    `schema` is that of `response_format`, and `is_object` tells that the reply must be an object.
    """

    inputs: Mapping[str, Any]
    stream: bool
    include_usage: bool
    is_object: bool
    schema: JsonSchema | None


def read_chat(body: Mapping[str, Any], pipeline: Pipeline) -> ChatRequest:
    """Return the request in a body. Raises HttpError."""
    for name in REFUSED:
        if body.get(name) not in (None, [], "none"):
            raise _refused(name, f"`{name}` is not supported: a pipeline decides itself how it answers")
    if body.get("n", 1) not in (None, 1):
        raise _refused("n", "`n` must be 1: a pipeline has one answer")
    if body.get("logprobs"):
        raise _refused("logprobs", "`logprobs` are not supported")
    if body.get("modalities") not in (None, ["text"]):
        raise _refused("modalities", '`modalities` must be ["text"]')
    stream, options = body.get("stream") or False, body.get("stream_options") or {}
    if not isinstance(stream, bool) or not isinstance(options, Mapping):
        raise _refused("stream", "`stream` must be true or false, and `stream_options` an object")
    is_object, schema = _response_format(body.get("response_format"), pipeline)
    return ChatRequest(
        inputs=chat_inputs(pipeline, body.get("messages"), body.get("inputs")),
        stream=stream,
        include_usage=options.get("include_usage") is True,
        is_object=is_object,
        schema=schema,
    )


def _response_format(given: Any, pipeline: Pipeline) -> tuple[bool, JsonSchema | None]:
    """Tell whether the reply must be an object, and the schema that it must fit. Raises HttpError."""
    kind = given.get("type") if isinstance(given, Mapping) else given
    if kind in (None, "text"):
        return False, None
    if kind not in ("json_object", "json_schema"):
        raise _refused("response_format", "`response_format` must be of the type text, json_object or json_schema")
    own = output_schema(pipeline)
    if own.get("type", "object") != "object":
        message = f"`{pipeline.name}` answers with a {own['type']}, not with a JSON object"
        raise _refused("response_format", message)
    if kind == "json_object":
        return True, None
    named = given.get("json_schema")
    schema = named.get("schema") if isinstance(named, Mapping) else None
    if not isinstance(schema, Mapping):
        raise _refused("response_format", "`response_format.json_schema.schema` must be a JSON Schema")
    lacks = [name for name in _required(schema) if "properties" in own and name not in own["properties"]]
    if lacks:
        has = ", ".join(own["properties"])
        raise _refused("response_format", f"`{pipeline.name}` answers with {has}; the schema requires {lacks[0]}")
    try:
        return True, JsonSchema(schema)
    except InputError as error:
        raise _refused("response_format", "; ".join(problem.message for problem in error.problems)) from None


def _required(schema: Mapping[str, Any]) -> list[str]:
    required = schema.get("required")
    return [name for name in required if isinstance(name, str)] if isinstance(required, list) else []


def _refused(param: str, message: str) -> HttpError:
    return HttpError(400, message, "unsupported_parameter", param=param)


def answer_text(output: Any, request: ChatRequest) -> str:
    """Return the content of the reply: a text as it is, all else as JSON.

    Raises HttpError for an answer that does not fit `response_format`.
    """
    if request.is_object and not isinstance(output, Mapping):
        raise HttpError(502, "the answer of the pipeline is not a JSON object", "response_format_mismatch")
    if request.schema is not None and (fault := request.schema.fault(output)):
        raise HttpError(502, f"the answer does not fit `response_format`: {fault}", "response_format_mismatch")
    if output is None:
        return ""
    return output if isinstance(output, str) else json_bytes(output).decode("utf-8", "replace")


def finish_reason(result: Result) -> str:
    """Return the reason why the reply ended: `length` where an answer stayed cut off."""
    return "length" if result.totals.truncated else "stop"


def usage(totals: Totals) -> dict[str, int]:
    """Return the tokens of all requests of a run."""
    return {
        "prompt_tokens": totals.tokens_in,
        "completion_tokens": totals.tokens_out,
        "total_tokens": totals.tokens_in + totals.tokens_out,
    }


class Completion:
    """The identity of one completion, and its objects: whole, or as chunks."""

    def __init__(self, model: str) -> None:
        self._head = {"id": f"chatcmpl-{uuid4().hex}", "created": int(time.time()), "model": model}

    def whole(self, text: str, result: Result) -> dict[str, Any]:
        """Return the completion as one object."""
        message = {"role": "assistant", "content": text, "refusal": None}
        choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": finish_reason(result)}
        return {**self._head, "object": "chat.completion", "choices": [choice], "usage": usage(result.totals)}

    def chunk(self, delta: Mapping[str, Any], finish: str | None = None) -> dict[str, Any]:
        """Return a chunk with a part of the message, or with the reason of its end."""
        choice = {"index": 0, "delta": dict(delta), "logprobs": None, "finish_reason": finish}
        return {**self._head, "object": "chat.completion.chunk", "choices": [choice]}

    def usage_chunk(self, totals: Totals) -> dict[str, Any]:
        """Return the last chunk, which has the tokens."""
        return {**self._head, "object": "chat.completion.chunk", "choices": [], "usage": usage(totals)}
