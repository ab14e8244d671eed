"""Steps of thought and action as a model writes them: cut out of its reply, and handed to the tools that they name."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from promptkit.techniques.reading import read_json

_HEAD: Final = re.compile(r"Thought[ \t]*\d*[ \t]*:", re.IGNORECASE)
_ACTION: Final = re.compile(r"(?:^|\n)[ \t]*Action[ \t]*\d*[ \t]*:", re.IGNORECASE)
_INVENTED: Final = re.compile(r"\n[ \t]*(?:Observation|Thought)[ \t]*\d*[ \t]*:", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Action:
    """`name[argument]`."""

    name: str
    argument: str


def own_part(reply: str) -> str:
    """Return a reply up to an observation or a further thought: what the model made up itself."""
    return _INVENTED.split(reply.strip(), maxsplit=1)[0].rstrip()


def read_step(reply: str) -> tuple[str, str]:
    """Return the thought of a step and its action as written, empty where there is none. The thought is one line."""
    text = own_part(reply)
    text = text[head.end() :] if (head := _HEAD.match(text)) else text
    thought, *action = _ACTION.split(text, maxsplit=1)
    if not action:
        thought = thought.strip().partition("\n")[0]
    return " ".join(thought.split()), action[0].strip() if action else ""


def read_action(text: str) -> Action | None:
    """Return the action in a text, None where it is not of the form `name[argument]`.

    The argument goes on to the last `]` of the line on which the first `[` is closed, so that brackets may stand in it.
    """
    name, bracket, rest = text.partition("[")
    if not bracket or not name.strip() or "\n" in name.strip():
        return None
    closed = _closing(rest)
    if closed is None:
        return None
    line = rest[: closed + len(rest[closed:].partition("\n")[0])]
    return Action(name.strip(), line[: line.rindex("]")].strip())


def _closing(text: str) -> int | None:
    """Return where the bracket that was opened before a text is closed in it; where none is, its last `]`."""
    depth = 1
    for sign in re.finditer(r"[\[\]]", text):
        depth += 1 if sign[0] == "[" else -1
        if depth == 0:
            return sign.start()
    return text.rindex("]") if "]" in text else None


def takes(tool: Callable[..., Any]) -> Mapping[str, bool] | None:
    """Return the parameters of a step's tool, each with whether it is required; None where they are not known."""
    owner = getattr(tool, "__self__", tool)  # The parameters are known of the tool whose method a step calls.
    known = getattr(owner, "takes", None)
    return known if isinstance(known, Mapping) else None


def arguments(parameters: Mapping[str, bool] | None, argument: str) -> dict[str, Any] | None:
    """Return what an action's argument says to a tool's parameters; None where it does not fit them.

    The text is the value of the only parameter that there is, or that is required; else it is a JSON object of several.
    """
    required = [name for name, needed in (parameters or {}).items() if needed]
    if parameters is not None and not parameters and not argument:
        return {}
    given = _object(argument)
    if given is not None and (parameters is None or (set(required) <= given.keys() <= parameters.keys())):
        return given
    if parameters and (len(parameters) == 1 or len(required) == 1) and argument:
        return {(required or list(parameters))[0]: argument}
    return None


def _object(text: str) -> dict[str, Any] | None:
    try:
        found = read_json(text)
    except ValueError:
        return None
    return found if isinstance(found, dict) and text.startswith("{") else None
