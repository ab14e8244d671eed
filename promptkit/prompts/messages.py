"""From sections to messages: a layout arranges the sections, a message mode distributes them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache, lru_cache
from pathlib import Path
from typing import Any, Final, Literal

from pydantic import BaseModel, ConfigDict

from promptkit.errors import InputError, nearest, place
from promptkit.project import LIBRARY
from promptkit.prompts.front_matter import split_front_matter
from promptkit.prompts.prompt import WrittenExample
from promptkit.prompts.sections import SECTIONS, STATIC_SECTIONS
from promptkit.prompts.template_loader import Delimiters, current_text, is_self_contained, render_text
from promptkit.runtimes.base import Message
from promptkit.storage.models import read_model

MessageMode = Literal["one", "system", "turns"]

NO_CUE: Final = "none"
_NO_SYSTEM_ROLE: Final = "the model's chat template has no system role: the system text begins the first user message"


@dataclass(frozen=True, slots=True)
class Composed:
    """A prompt as it is sent. `begun` is the begun assistant turn; `cue` precedes the answer, wherever it is placed
    (empty where there is none); `notices` are for a person.
    """

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
    """Lay out the sections and distribute them over messages.

    `layout` is an open layout, a file, or the name of a shipped one. `cue` is the text right before the answer, `none`
    for no cue; None takes the `cue` section, else the layout's cue. The assistant's turn begins with the cue, or with
    `begin` where that is given: a thought trigger, or an empty text where the answer comes later in the reply. Where
    the runtime `continues` a begun turn it is that turn, else the last line of the user's message.

    `history` goes before the user's message. Where it ends with the user's turn and there is neither `input` nor
    `user`, that turn is answered: the sections are the system message, `recap` follows the turn, and the layout's own
    cue is left out, since the turns before had none. Raises InputError for an unknown layout or one that does not
    render.
    """
    opened = layout if isinstance(layout, Layout) else open_layout(layout)
    answers_history = bool(history) and history[-1].role == "user" and not sections.keys() & {"input", "user"}
    shown_cue = _cue(cue, sections, "" if answers_history else opened.cue)
    labels = [opened.as_data(label) for label in labels]
    parts = _parts(sections, with_examples=bool(examples))
    as_turns = examples if mode == "turns" else ()
    if as_turns and not parts["examples"]:
        del parts["examples"]
    inline = () if as_turns else examples
    static = {name: text for name, text in parts.items() if name in STATIC_SECTIONS}
    moving = {name: text for name, text in parts.items() if name not in STATIC_SECTIONS}

    def text(chosen: Mapping[str, str], classes: Sequence[str] = ()) -> str:
        return render_layout(opened, chosen, examples=inline, cue=shown_cue, labels=classes) if chosen else ""

    splits = (mode == "system" and system_role) or bool(as_turns)
    if answers_history:
        recap = {"recap": parts.pop("recap")} if "recap" in parts else {}
        system, user = text(parts, labels), _joined(history[-1].content, text(recap))
        history = history[:-1]
    elif splits and static and (moving or "user" in sections):
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


def _cue(cue: str | None, sections: Mapping[str, str], of_layout: str) -> str:
    """Return the given cue, else the section's, else the layout's, skipping blank ones; empty for `none`."""
    given = (cue, sections.get("cue"), of_layout)
    chosen = next((text.strip() for text in given if text and text.strip()), "")
    return "" if chosen == NO_CUE else chosen


def _parts(sections: Mapping[str, str], *, with_examples: bool) -> dict[str, str]:
    """Return the sections that a layout shows, in order."""
    return {
        name: sections.get(name, "")
        for name in SECTIONS
        if name != "cue" and (sections.get(name) or (name == "examples" and with_examples))
    }


def _turns(examples: Sequence[WrittenExample], layout: Layout, cue: str) -> Sequence[Message]:
    """Return the examples as turns, cached where they are always the same."""
    if not examples:
        return ()
    return _turns_cached(tuple(examples), layout, cue) if layout.alone else _example_turns(examples, layout, cue)


@lru_cache(maxsize=500)
def _turns_cached(examples: tuple[WrittenExample, ...], layout: Layout, cue: str) -> Sequence[Message]:
    return _example_turns(examples, layout, cue)


def _example_turns(examples: Sequence[WrittenExample], layout: Layout, cue: str) -> list[Message]:
    turns = []
    for example in examples:
        answer = f"{cue} {example.output}" if cue else example.output
        turns.append(Message("user", render_layout(layout, {"input": example.input})))
        turns.append(Message("assistant", f"{example.thoughts}\n{answer}" if example.thoughts else answer))
    return turns


def _with_system(system: str, turns: list[Message], system_role: bool) -> tuple[tuple[Message, ...], tuple[str, ...]]:
    """Put the system text first, as a message where the chat template has that role, else in the first turn.

    System messages that the history begins with are a part of it.
    """
    while turns[0].role == "system":
        system = _joined(system, turns.pop(0).content)
    if not system:
        return tuple(turns), ()
    if system_role:
        return (Message("system", system), *turns), ()
    first = next(place for place, turn in enumerate(turns) if turn.role == "user")
    turns[first] = Message("user", _joined(system, turns[first].content))
    return tuple(turns), (_NO_SYSTEM_ROLE,)


def _joined(*texts: str) -> str:
    return "\n\n".join(text for text in texts if text)


SHIPPED: Final = LIBRARY / "templates" / "layouts"


@dataclass(frozen=True, slots=True)
class Layout:
    """A layout file. `cue` is the cue of prompts without one of their own; `delimiters` finds the layout's delimiters
    in data.
    """

    file: Path
    text: str
    cue: str
    delimiters: Delimiters | None
    alone: bool
    """Whether it names no other templates, so that the same sections always give the same text."""

    def as_data(self, text: str) -> str:
        """Return a text of data with a backslash in each of the layout's delimiters."""
        return self.delimiters.escaped(text) if self.delimiters else text


class LayoutFront(BaseModel):
    """The front matter of a layout. `cue` is the cue of prompts without one of their own.

    The other keys list the delimiters of sections and examples, which are escaped in data: names of `tags`, whole lines
    that are `headings` (maybe with a number), and `prefixes` that start a line.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    about: str = ""
    cue: str = ""
    tags: tuple[str, ...] = ()
    headings: tuple[str, ...] = ()
    prefixes: tuple[str, ...] = ()


def open_layout(layout: str | Path) -> Layout:
    """Return the layout in a file, or the shipped one of that name. Raises InputError."""
    if not isinstance(layout, Path):
        if layout not in _shipped_layouts():
            raise InputError(f"there is no layout `{layout}`", hint=nearest(layout, _shipped_layouts()))
        layout = _shipped_layouts()[layout]
    return _read_layout(layout, current_text(layout))


@lru_cache(maxsize=100)
def _read_layout(file: Path, text: str) -> Layout:
    document, _, _ = split_front_matter(text, str(place(file)))
    front = read_model(document, LayoutFront) if document else LayoutFront()
    delimiters = Delimiters.of(tags=front.tags, headings=front.headings, prefixes=front.prefixes)
    return Layout(file, text, front.cue, delimiters, is_self_contained(file, text))


@cache
def _shipped_layouts() -> dict[str, Path]:
    return {path.stem: path for path in SHIPPED.glob("*.j2")}


def render_layout(
    layout: Layout,
    sections: Mapping[str, str],
    *,
    examples: Sequence[WrittenExample] = (),
    cue: str = "",
    labels: Sequence[str] = (),
) -> str:
    """Return the sections as one text. Raises InputError.

    The layout's template sees `sections`, a mapping of name to text in order (with `examples`, maybe blank, where there
    are any); `examples`, a list of mappings with `input`, `thoughts`, `output` and `cue`; and `labels`, the classes of
    a label answer.
    """
    written: list[dict[str, Any]] = [
        {"input": example.input, "thoughts": example.thoughts or "", "output": example.output, "cue": cue}
        for example in examples
    ]
    return render_text(
        layout.file, layout.text, {"sections": dict(sections), "examples": written, "labels": list(labels)}
    )
