"""Calls of tools in a model's reply: their arguments, and the turns with their results."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from time import monotonic
from typing import Any, Final, Literal

from promptkit.errors import ToolFailed, ToolRefused
from promptkit.runtimes.base import FunctionCall, Message
from promptkit.storage.strict_json import compact, json_bytes, parse_json
from promptkit.techniques.context import ToolCall
from promptkit.tools.base import Tool
from promptkit.tools.permissions import refusal
from promptkit.tools.results import bounded_result, result_text, tool_message

LONGEST_NAME: Final = 64
"""Characters that servers allow in a function's name."""
LONGEST_ARGUMENTS: Final = 100_000
"""Characters up to which the arguments of a call are read."""
_FOREIGN: Final = re.compile(r"[^A-Za-z0-9_-]")

CallProblem = Literal["unknown", "arguments", "refused", "failed", "repeated", "too_many"]


@dataclass(frozen=True, slots=True)
class CallResult:
    """The outcome of a call that a model made. `turn` is what the model reads of it, `problem` why it has no result."""

    turn: Message
    problem: CallProblem | None = None


def call_result(call: FunctionCall, problem: CallProblem | None, result: Any = None, **words: Any) -> CallResult:
    """Return the outcome of a call; `words` are the values that the message on its problem needs."""
    text = result_text(result) if problem is None else bounded_result(tool_message(problem, **words), call.name)
    return CallResult(Message("tool", text, call_id=call.id, tool=function_name(call.name)), problem)


@contextmanager
def making_call(call: ToolCall, tool: Tool, allow: Collection[str]) -> Iterator[None]:
    """Note in the record of a call its failure and its time. Each call of a step or a technique is made inside.

    Raises ToolRefused for a tool that may not be called.
    """
    started = monotonic()
    try:
        if reason := refusal(tool, allow):
            raise ToolRefused(reason)
        yield
    except ToolFailed as error:
        error.message = bounded_result(error.message, call.name)
        call.failure, call.refused = str(error), isinstance(error, ToolRefused)
        raise
    except BaseException as error:
        call.failure = f"was ended: {type(error).__name__}"
        raise
    finally:
        call.seconds = round(monotonic() - started, 4)


def read_arguments(written: str) -> dict[str, Any]:
    """Return the arguments that a model wrote. Raises ValueError with the reason where they are not a JSON object."""
    if len(written) > LONGEST_ARGUMENTS:
        raise ValueError(f"the arguments are longer than {LONGEST_ARGUMENTS:,} characters")
    if not written.strip():
        return {}
    try:
        found = parse_json(written)
    except ValueError as error:
        raise ValueError(f"the arguments are not JSON: {error}") from None
    if not isinstance(found, dict):
        raise ValueError("the arguments are not a JSON object")
    return found


def shown_arguments(call: FunctionCall) -> dict[str, Any]:
    """Return the arguments of a call for the trace; none where they are not a JSON object."""
    try:
        return read_arguments(call.arguments)
    except ValueError:
        return {}


def call_key(call: FunctionCall) -> tuple[str, str]:
    """Return a key that is equal for calls of one tool with the same arguments, however these are written."""
    try:
        arguments = json_bytes(read_arguments(call.arguments), sort_keys=True).decode("utf-8", "replace")
    except ValueError:
        arguments = call.arguments
    return call.name, arguments


def function_name(name: str) -> str:
    """Return the name of a tool as servers accept it: letters, digits, `_` and `-`, at most LONGEST_NAME of them."""
    return _FOREIGN.sub("_", name)[:LONGEST_NAME] or "unknown"


def sendable(call: FunctionCall) -> FunctionCall:
    """Return a call as servers accept it in a conversation: with a name of letters, and JSON for its arguments.

    Arguments that are not a JSON object become an empty one; the result of the call says what was wrong.
    """
    return replace(call, name=function_name(call.name), arguments=compact(shown_arguments(call)))
