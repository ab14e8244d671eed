"""Thoughts and actions as a model writes them, and an action's argument as values for its tool's parameters."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from promptkit.answers.reader.json_reader import read_json
from promptkit.answers.text import undressed

_HEAD: Final = re.compile(r"[*_#]{0,3}[ \t]?Thought[ \t]*\d*[*_]{0,2}[ \t]*:[*_]{0,2}", re.IGNORECASE)
_ACTION: Final = re.compile(r"(?:^|\n)[ \t*_#]*Action[ \t]*\d*[*_]{0,2}[ \t]*:[*_]{0,2}", re.IGNORECASE)
_INVENTED: Final = re.compile(r"\n[ \t*_#]*(?:Observation|Thought)[ \t]*\d*[*_]{0,2}[ \t]*:", re.IGNORECASE)
_CALLED: Final = re.compile(r"[`*]*([A-Za-z]\w*)[ \t]*\((.*)\)[`*.]*[ \t]*", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Action:
    """An action as a model writes it: `name[argument]`."""

    name: str
    argument: str


def own_part(reply: str) -> str:
    """Return a reply up to an observation or a further thought, which the model invents."""
    return _INVENTED.split(reply.strip(), maxsplit=1)[0].rstrip()


def read_step(reply: str) -> tuple[str, str]:
    """Return the thought of a step, on one line, and its action as written; either is empty if missing."""
    text = own_part(reply)
    text = text[head.end() :] if (head := _HEAD.match(text)) else text
    thought, *action = _ACTION.split(text, maxsplit=1)
    if not action:
        thought = thought.strip().partition("\n")[0]
    return " ".join(thought.split()), action[0].strip() if action else ""


def read_action(text: str) -> Action | None:
    """Return the action in a text, None if it does not have the form `name[argument]` or `name(argument)`.

    Quotes around the whole argument are left out.
    The argument ends at the last `]` of the line on which the first `[` is closed, so that it may contain brackets.
    """
    line = text.strip().partition("\n")[0]
    if called := _CALLED.fullmatch(line):
        return Action(called[1], undressed(called[2]))
    name, bracket, rest = text.strip("`*").partition("[")
    if not bracket or not name.strip() or "\n" in name.strip():
        return None
    closed = _closing(rest)
    if closed is None:
        return None
    line = rest[: closed + len(rest[closed:].partition("\n")[0])]
    return Action(name.strip(), undressed(line[: line.rindex("]")]))


def _closing(text: str) -> int | None:
    """Return the position in a text that closes a bracket opened before it; if none does, its last `]`."""
    depth = 1
    for sign in re.finditer(r"[\[\]]", text):
        depth += 1 if sign[0] == "[" else -1
        if depth == 0:
            return sign.start()
    return text.rindex("]") if "]" in text else None


def takes(tool: Callable[..., Any]) -> Mapping[str, bool] | None:
    """Return the parameters of a step's tool, True for required ones; None if they are not known."""
    owner = getattr(tool, "__self__", tool)  # A step calls a method of the tool, which knows its parameters.
    known = getattr(owner, "takes", None)
    return known if isinstance(known, Mapping) else None


def arguments(parameters: Mapping[str, bool] | None, argument: str) -> dict[str, Any] | None:
    """Return an action's argument as values for a tool's parameters; None if it does not fit them.

    The text is the value of the only parameter, or of the only required one; otherwise it is a JSON object of several.
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
