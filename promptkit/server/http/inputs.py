"""The inputs of a run in what a client sends: an object of them, or the messages of a chat."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from promptkit.engine.pipeline import Input, Pipeline
from promptkit.errors import InputError
from promptkit.server.http.errors import HttpError
from promptkit.server.pipelines import input_values, missing_inputs
from promptkit.storage.strict_json import parse_json


def given_inputs(pipeline: Pipeline, given: Any) -> Mapping[str, Any]:
    """Return the values of all inputs, from an object that a client sent. Raises HttpError with everything wrong."""
    if not isinstance(given, Mapping):
        raise _invalid("`inputs` must be an object with the inputs by name")
    if missing := missing_inputs(pipeline, given):
        raise _invalid(f"missing inputs: {_listed(missing)}; {_takes(pipeline)}")
    try:
        return input_values(pipeline, given)
    except InputError as error:
        raise _invalid("; ".join(problem.message for problem in error.problems)) from None


def chat_inputs(pipeline: Pipeline, messages: Any, given: Any) -> Mapping[str, Any]:
    """Return the values of all inputs, from the messages of a chat and the object `inputs`, which goes first.

    The turns go to the input of the type `messages`, or to `history`; beside a text they are those before the last
    turn of the user. That turn is the value of the one input that needs one. Where several do, it is a JSON object of
    them. Raises HttpError.
    """
    turns = _turns(messages)
    if given is not None and not isinstance(given, Mapping):
        raise _invalid("`inputs` must be an object with the inputs by name")
    values: dict[str, Any] = dict(given or {})
    conversation = _conversation_input(pipeline)
    open_inputs = _open_inputs(pipeline, {*values, conversation})
    if open_inputs:
        asked = _last_user_turn(turns)
        if len(open_inputs) == 1:
            values[open_inputs[0].name] = _value_of_text(open_inputs[0], turns[asked]["content"])
        else:
            values |= _object_in(turns[asked]["content"], open_inputs)
        turns = turns[:asked]
    if conversation is not None:
        values.setdefault(conversation, turns)
    return given_inputs(pipeline, values)


def _conversation_input(pipeline: Pipeline) -> str | None:
    """Return the input that takes the turns, None where there is none."""
    typed = [name for name, spec in pipeline.inputs.items() if spec.type == "messages"]
    if typed:
        return typed[0]
    history = pipeline.inputs.get("history")
    return "history" if history is not None and history.type in ("list", "json") else None


def _open_inputs(pipeline: Pipeline, known: set[str | None]) -> list[Input]:
    """Return the inputs that the user's message gives: those without a default, else a pipeline's only one."""
    rest = [spec for name, spec in pipeline.inputs.items() if name not in known]
    return [spec for spec in rest if not spec.has_default] or (rest if len(pipeline.inputs) == 1 else [])


def _last_user_turn(turns: Sequence[Mapping[str, str]]) -> int:
    for number in reversed(range(len(turns))):
        if turns[number]["role"] == "user":
            return number
    raise _invalid("the messages have no turn of the role `user`", param="messages")


def _value_of_text(spec: Input, text: str) -> Any:
    """Return the value of an input that a user's message gives. A table may be CSV."""
    if spec.type == "text":
        return text
    try:
        return parse_json(text)
    except ValueError as error:
        if spec.type == "table":
            return text
        raise _invalid(f"the input `{spec.name}` must be JSON: {error}", param="messages") from None


def _object_in(text: str, needed: Sequence[Input]) -> Mapping[str, Any]:
    names = [spec.name for spec in needed]
    try:
        found = parse_json(text)
    except ValueError:
        found = None
    if not isinstance(found, dict):
        message = f"this model takes several inputs ({_listed(names)}): send `inputs`, an object with them, or write it"
        raise _invalid(f"{message} as JSON in the user's message", param="messages")
    return found


def _turns(messages: Any) -> list[dict[str, str]]:
    """Return the messages of a chat as `{role, content}` of texts. Raises HttpError."""
    if not isinstance(messages, list) or not messages:
        raise _invalid("`messages` must be a list of at least one message", param="messages")
    return [_turn(message, f"messages[{number}]") for number, message in enumerate(messages)]


def _turn(message: Any, place: str) -> dict[str, str]:
    role = message.get("role") if isinstance(message, dict) else None
    role = "system" if role == "developer" else role
    if role not in ("system", "user", "assistant"):
        raise _invalid(f"`{place}` must have a role: system, developer, user or assistant", param=place)
    content = message.get("content")
    if isinstance(content, list):
        content = "".join(_text_of(part, f"{place}.content[{number}]") for number, part in enumerate(content))
    if not isinstance(content, str):
        raise _invalid(f"`{place}.content` must be a text", param=place)
    return {"role": role, "content": content}


def _text_of(part: Any, place: str) -> str:
    text = part.get("text") if isinstance(part, dict) and part.get("type") == "text" else None
    if not isinstance(text, str):
        raise _invalid(f"`{place}` must be a part of the type `text`: pipelines read no images or files", param=place)
    return text


def _takes(pipeline: Pipeline) -> str:
    named = [f"`{name}`{'' if not spec.has_default else ' (has a default)'}" for name, spec in pipeline.inputs.items()]
    return f"`{pipeline.name}` takes {', '.join(named)}"


def _listed(names: Sequence[str]) -> str:
    return ", ".join(f"`{name}`" for name in names)


def _invalid(message: str, *, param: str = "inputs") -> HttpError:
    return HttpError(400, message, "invalid_input", param=param)
