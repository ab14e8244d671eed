"""Requests, replies and models as JSON, and the cache key of a request.

Records are canonical: fields in a fixed order, defaults left out. A schema keeps the order of its properties,
since the model has to write them in that order.
"""

from __future__ import annotations

import base64
import hashlib
import json
import struct
from collections.abc import Mapping, Sequence
from functools import cache
from math import inf, isfinite
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from promptkit.runtimes.base import (
    Adapter,
    Alternative,
    FunctionCall,
    HiddenState,
    Message,
    Model,
    Reply,
    Request,
    Token,
    ToolDefinition,
)
from promptkit.runtimes.control_tokens import holds_control_tokens
from promptkit.runtimes.reply_reader import MOST_FLOAT, checked_reply, logprob, number_between, token_count
from promptkit.storage.strict_json import json_bytes

if TYPE_CHECKING:
    from pydantic import TypeAdapter

KEY_VERSION = 1
"""Part of every key. Raised when a record's form, or a default that it leaves out, changes."""

AS_TEXT = "control tokens as text"
"""Part of the keys of requests with control tokens. Models once obeyed these, and such replies must not be reused."""

_REQUEST = Request()
_REPLY = Reply(text="")
_PLAIN_REQUEST = (
    *("begun", "max_tokens", "seed", "grammar", "regex", "schema", "json_object"),
    *("alternatives", "think", "thought_tokens", "context", "reuse_prefix", "tool_choice", "sample"),
)
_TUPLES = ("stop", "choice")
_PLAIN_REPLY = (
    *("finish", "thoughts", "tokens_in", "tokens_out", "tokens_thought"),
    *("seconds", "first_token", "context", "tokens_reused", "prompt_seconds", "output_seconds"),
)


_encode = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode


def to_json(record: object) -> str:
    """Return a record as one line of readable JSON. Raises ValueError for NaN and infinities."""
    return _encode(record)


def request_key(request: Request, digest: str) -> str:
    """Return the cache key: the SHA-256 of a request and the model's digest."""
    marks = [AS_TEXT] if holds_control_tokens(request) else []
    return hashlib.sha256(json_bytes([KEY_VERSION, digest, request_record(request), *marks])).hexdigest()


def request_record(request: Request) -> dict[str, Any]:
    """Return a request's record, without fields at their default."""
    record: dict[str, Any] = {}
    if request.messages:
        record["messages"] = [message_record(message) for message in request.messages]
    if request.prompt is not None:
        record["prompt"] = request.prompt
    for name in _PLAIN_REQUEST:
        _put(record, name, getattr(request, name), getattr(_REQUEST, name))
    if request.temperature:
        record["temperature"] = float(request.temperature)
    if request.top_p is not None:
        record["top_p"] = float(request.top_p)
    for name in _TUPLES:
        if texts := getattr(request, name):
            record[name] = list(texts)
    if request.tools:
        record["tools"] = [
            {"name": tool.name, "description": tool.description, "parameters": tool.parameters}
            for tool in request.tools
        ]
    if request.hidden_state is not None:
        record["hidden_state"] = {"layer": request.hidden_state.layer, "pooling": request.hidden_state.pooling}
    if request.adapter is not None:
        record["adapter"] = request.adapter.digest
    return record


def message_record(message: Message) -> dict[str, Any]:
    """Return a turn's record."""
    record: dict[str, Any] = {"role": message.role, "content": message.content}
    if message.calls:
        record["calls"] = [call_record(call) for call in message.calls]
    _put(record, "call_id", message.call_id, "")
    _put(record, "tool", message.tool, "")
    return record


def _message_from(record: Mapping[str, Any]) -> Message:
    calls = tuple(FunctionCall(**call) for call in record.get("calls", ()))
    return Message(record["role"], record["content"], calls, record.get("call_id", ""), record.get("tool", ""))


def call_record(call: FunctionCall) -> dict[str, str]:
    """Return the record of a call in a reply or a turn."""
    return {"id": call.id, "name": call.name, "arguments": call.arguments}


def request_from(record: Mapping[str, Any]) -> Request:
    """Read a request's record. Raises KeyError, TypeError or ValueError for anything else."""
    fields = dict(record)
    messages = tuple(map(_message_from, fields.pop("messages", ())))
    tools = tuple(ToolDefinition(**tool) for tool in fields.pop("tools", ()))
    if "adapter" in fields:
        fields["adapter"] = Adapter(Path(), fields["adapter"])
    tuples = {name: tuple(fields.pop(name, ())) for name in _TUPLES}
    if (state := fields.pop("hidden_state", None)) is not None:
        fields["hidden_state"] = HiddenState(**state)
    return _checked(Request, {**fields, "messages": messages, "tools": tools, **tuples})


def reply_record(reply: Reply) -> dict[str, Any]:
    """Return a reply's record, without `cached`, which belongs to the request and not to the reply."""
    record: dict[str, Any] = {"text": reply.text}
    for name in _PLAIN_REPLY:
        _put(record, name, getattr(reply, name), getattr(_REPLY, name))
    if reply.calls:
        record["calls"] = [call_record(call) for call in reply.calls]
    if reply.tokens:
        record["tokens"] = [
            [*_alternative_record(token), [_alternative_record(other) for other in token.alternatives]]
            for token in reply.tokens
        ]
    if reply.vector:
        record["vector"] = vector_text(reply.vector)
    return record


def vector_text(vector: Sequence[float]) -> str:
    """Return numbers as a text: the base64 of their float32, little-endian."""
    return base64.b64encode(struct.pack(f"<{len(vector)}f", *vector)).decode()


def vector_from(text: str) -> tuple[float, ...]:
    """Read the text of a vector. Raises ValueError for anything else, and for a number that is not finite."""
    try:
        data = base64.b64decode(text, validate=True)
        vector = struct.unpack(f"<{len(data) // 4}f", data)
    except (TypeError, struct.error) as error:
        raise ValueError(f"not the base64 of numbers ({error})") from None
    if not all(map(isfinite, vector)):
        raise ValueError("a number is not finite")
    return vector


def reply_from(record: Mapping[str, Any], *, cached: bool = False) -> Reply:
    """Read a reply's record. Raises KeyError, TypeError or ValueError for anything else."""
    fields = dict(record)
    tokens = (
        Token(
            piece_from(piece),
            _logprob_from(price),
            tuple(Alternative(piece_from(other), _logprob_from(other_price)) for other, other_price in alternatives),
        )
        for piece, price, alternatives in fields.pop("tokens", ())
    )
    calls = (FunctionCall(**call) for call in fields.pop("calls", ()))
    vector = vector_from(fields.pop("vector", ""))
    return checked_reply(tokens=tokens, calls=calls, vector=vector, cached=cached, **fields)


def model_record(model: Model) -> dict[str, Any]:
    """Return a model's record."""
    record: dict[str, Any] = {
        "reference": model.reference,
        "digest": model.digest,
        "capabilities": sorted(model.capabilities),
    }
    for name in ("context", "size", "parallel"):
        _put(record, name, getattr(model, name), None)
    _put(record, "notes", list(model.notes), [])
    _put(record, "obeys_control_tokens", model.obeys_control_tokens, False)
    _put(record, "weak_embeddings", model.weak_embeddings, False)
    _put(record, "layers", model.layers, None)
    return record


def model_from(record: Mapping[str, Any]) -> Model:
    """Read a model's record. Raises KeyError, TypeError or ValueError for anything else."""
    fields = dict(record)
    capabilities = frozenset(fields.pop("capabilities"))
    model = _checked(Model, {**fields, "capabilities": capabilities, "notes": tuple(fields.pop("notes", ()))})
    token_count(model.context)
    number_between(model.size or 0, 0, MOST_FLOAT)
    if not token_count(model.parallel):
        raise ValueError("no request can be in flight")
    return model


Record = TypeVar("Record", Request, Model)


def _checked(kind: type[Record], fields: Mapping[str, Any]) -> Record:
    """Return an object of a kind. Raises ValueError for a field of another type, and for an unknown field."""
    from pydantic import ValidationError

    from promptkit.storage.models import schema_error_text

    unknown = fields.keys() - kind.__dataclass_fields__.keys()
    if unknown:
        raise ValueError(f"unknown key `{min(unknown)}`")
    try:
        checked: Record = _adapter(kind.__name__).validate_python(fields)
    except ValidationError as error:
        detail = error.errors(include_url=False)[0]
        raise ValueError(f"`{detail['loc'][0]}` {schema_error_text(detail)}") from None
    converted = [name for name, value in fields.items() if getattr(checked, name) != value]
    if converted:
        raise ValueError(f"`{converted[0]}` is of another type")
    return checked


@cache
def _adapter(kind: str) -> TypeAdapter[Any]:
    """Return the validator of a kind, made at its first use."""
    from pydantic import TypeAdapter

    return TypeAdapter({"Request": Request, "Model": Model}[kind])


def piece_record(piece: bytes) -> str | list[int]:
    """Return a token's bytes as text where they are UTF-8, else as numbers."""
    try:
        return piece.decode()
    except UnicodeDecodeError:
        return list(piece)


def piece_from(record: str | list[int]) -> bytes:
    """Read a token's bytes. Raises TypeError or ValueError for anything else."""
    if isinstance(record, str):
        return record.encode()
    if not isinstance(record, list):
        raise TypeError(record)
    return bytes(record)


def _put(record: dict[str, Any], name: str, value: object, default: object) -> None:
    if value != default:
        record[name] = value


def _alternative_record(token: Token | Alternative) -> tuple[str | list[int], float | None]:
    """Return a token's record. The logarithm minus infinity, of a token that cannot occur, becomes null."""
    return piece_record(token.piece), None if token.logprob == -inf else token.logprob


def _logprob_from(price: Any) -> float:
    return -inf if price is None else logprob(price)
