"""From sections to the messages that are sent."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from promptkit.prompts.prompt import WrittenExample
from promptkit.runtimes.base import Message

MessageMode = Literal["one", "system", "turns"]


@dataclass(frozen=True, slots=True)
class Composed:
    """What to send: the messages, the begun assistant turn (the cue), and what a person should know."""

    messages: tuple[Message, ...]
    begun: str = ""
    notices: tuple[str, ...] = ()


def compose(
    sections: Mapping[str, str],
    *,
    layout: str | Path = "xml",
    mode: MessageMode = "one",
    examples: Sequence[WrittenExample] = (),
    cue: str | None = None,
    continues: bool,
    system_role: bool,
    labels: Sequence[str] = (),
    history: Sequence[Message] = (),
) -> Composed:
    """Lay the sections out and distribute them over messages.

    `layout` is a file, or the name of a shipped layout. `cue` is the text right before the answer, `none` for no cue;
    None takes the `cue` section, else the layout's. It becomes the begun turn where the runtime `continues` one, else
    the last line of the user message. Raises InputError for an unknown layout or one that does not render.
    """
    raise NotImplementedError
