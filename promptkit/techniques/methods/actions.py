"""Thoughts and actions as a model writes them."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from promptkit.answers.text import undressed

_HEAD: Final = re.compile(r"[*_#]{0,3}[ \t]?Thought[ \t]*\d*[*_]{0,2}[ \t]*:[*_]{0,2}", re.IGNORECASE)
_ACTION: Final = re.compile(r"(?:^|\n)[ \t*_#]*Action[ \t]*\d*[*_]{0,2}[ \t]*:[*_]{0,2}", re.IGNORECASE)
_INVENTED: Final = re.compile(r"\n[ \t*_#]*(?:Observation|Thought)[ \t]*\d*[*_]{0,2}[ \t]*:", re.IGNORECASE)
_CALLED: Final = re.compile(r"[`*]*([A-Za-z]\w*)[ \t]*\((.*)\)[`*.]*[ \t]*", re.DOTALL)
_WITH_INPUT: Final = re.compile(
    r"[`*]*([A-Za-z]\w*)[`*]*[ \t]*\n[ \t*_#]*Action Input[ \t]*\d*[*_]{0,2}[ \t]*:[*_]{0,2}([^\n]*)", re.IGNORECASE
)


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

    A name with a line `Action Input: argument` after it is read too. Quotes around the whole argument are left out. The
    argument ends at the last `]` of the line on which the first `[` is closed, so that it may contain brackets.
    """
    if given := _WITH_INPUT.match(text.strip()):
        return Action(given[1], undressed(given[2]))
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
