"""From sections to the messages that are sent."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Final, Literal

from promptkit.prompts.layout import Layout, lay_out, open_layout
from promptkit.prompts.prompt import WrittenExample
from promptkit.prompts.sections import SECTIONS, STATIC_SECTIONS
from promptkit.runtimes import Message

MessageMode = Literal["one", "system", "turns"]

NO_CUE: Final = "none"
_NO_SYSTEM_ROLE: Final = "the model's chat template has no system role: the system text begins the first user message"


@dataclass(frozen=True, slots=True)
class Composed:
    """What to send: the messages, the begun assistant turn, the cue that the answer follows wherever it stands (empty
    where there is none), and what a person should know."""

    messages: tuple[Message, ...]
    begun: str = ""
    cue: str = ""
    notices: tuple[str, ...] = ()


def compose(
    sections: Mapping[str, str],
    *,
    layout: str | Path | Layout = "xml",
    mode: MessageMode = "one",
    examples: Sequence[WrittenExample] = (),
    cue: str | None = None,
    begin: str | None = None,
    continues: bool,
    system_role: bool,
    labels: Sequence[str] = (),
    history: Sequence[Message] = (),
) -> Composed:
    """Lay the sections out and distribute them over messages.

    `layout` is one that is open, a file, or the name of a shipped one. `cue` is the text right before the answer,
    `none` for no cue; None takes the `cue` section, else the layout's. The assistant's turn begins with the cue, or
    with `begin` where that is given (a thought trigger, or nothing, where the reply is not the answer at once): as the
    begun turn where the runtime `continues` one, else as the last line of the user's message. Raises InputError for an
    unknown layout or one that does not render.
    """
    opened = layout if isinstance(layout, Layout) else open_layout(layout)
    shown_cue = _cue(cue, sections, opened)
    labels = [opened.as_data(label) for label in labels]
    parts = _parts(sections, with_examples=bool(examples))
    as_turns = examples if mode == "turns" else ()
    if as_turns and not parts["examples"]:
        del parts["examples"]
    inline = () if as_turns else examples
    static = {name: text for name, text in parts.items() if name in STATIC_SECTIONS}
    moving = {name: text for name, text in parts.items() if name not in STATIC_SECTIONS}

    def text(chosen: Mapping[str, str], classes: Sequence[str] = ()) -> str:
        return lay_out(opened, chosen, examples=inline, cue=shown_cue, labels=classes) if chosen else ""

    splits = (mode == "system" and system_role) or bool(as_turns)
    if splits and static and (moving or "user" in sections):
        system, user = text(static, labels), text(moving)
    else:
        system, user = "", text(parts, labels)
    system, user = _joined(sections.get("system", ""), system), _joined(user, sections.get("user", ""))
    turns = [*_turns(as_turns, opened, shown_cue), *history, Message("user", user)]
    first = begin if begin is not None else shown_cue
    if first and not continues:
        turns[-1] = Message("user", f"{turns[-1].content}\n{first}")
    messages, notices = _with_system(system, turns, system_role)
    if mode == "system" and not system_role:
        notices = (_NO_SYSTEM_ROLE,)
    return Composed(messages, first if continues else "", shown_cue, notices)


def _cue(cue: str | None, sections: Mapping[str, str], layout: Layout) -> str:
    """Return the cue given, else the section's, else the layout's, blank ones left out; an empty text for `none`."""
    given = (cue, sections.get("cue"), layout.cue)
    chosen = next((text.strip() for text in given if text and text.strip()), "")
    return "" if chosen == NO_CUE else chosen


def _parts(sections: Mapping[str, str], *, with_examples: bool) -> dict[str, str]:
    """Return what a layout lays out, in order."""
    return {
        name: sections.get(name, "")
        for name in SECTIONS
        if name != "cue" and (sections.get(name) or (name == "examples" and with_examples))
    }


def _turns(examples: Sequence[WrittenExample], layout: Layout, cue: str) -> Sequence[Message]:
    """Return the examples as turns, made once where they are always the same."""
    if not examples:
        return ()
    return _turns_once(tuple(examples), layout, cue) if layout.alone else _example_turns(examples, layout, cue)


@lru_cache(maxsize=500)
def _turns_once(examples: tuple[WrittenExample, ...], layout: Layout, cue: str) -> Sequence[Message]:
    return _example_turns(examples, layout, cue)


def _example_turns(examples: Sequence[WrittenExample], layout: Layout, cue: str) -> list[Message]:
    turns = []
    for example in examples:
        answer = f"{cue} {example.output}" if cue else example.output
        turns.append(Message("user", lay_out(layout, {"input": example.input})))
        turns.append(Message("assistant", f"{example.thoughts}\n{answer}" if example.thoughts else answer))
    return turns


def _with_system(system: str, turns: list[Message], system_role: bool) -> tuple[tuple[Message, ...], tuple[str, ...]]:
    """Put the system text first, as a message where the chat template has that role, else into the first turn."""
    if not system:
        return tuple(turns), ()
    if system_role:
        return (Message("system", system), *turns), ()
    first = next(place for place, turn in enumerate(turns) if turn.role == "user")
    turns[first] = Message("user", _joined(system, turns[first].content))
    return tuple(turns), (_NO_SYSTEM_ROLE,)


def _joined(*texts: str) -> str:
    return "\n\n".join(text for text in texts if text)
