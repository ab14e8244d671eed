"""Layouts: templates that turn sections into text. They add no words of their own to what a section says."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache, lru_cache
from pathlib import Path
from typing import Any, Final

from pydantic import BaseModel, ConfigDict

from promptkit.errors import InputError, nearest, place
from promptkit.project import LIBRARY
from promptkit.prompts.delimiters import Delimiters
from promptkit.prompts.front import split_front_matter
from promptkit.prompts.loader import current_text, render_text, stands_alone
from promptkit.prompts.prompt import WrittenExample
from promptkit.storage import read_model

SHIPPED: Final = LIBRARY / "templates" / "layouts"


@dataclass(frozen=True, slots=True)
class Layout:
    """A layout as read: its file and text, what the answer follows where a prompt has no cue of its own, and what finds
    its delimiters."""

    file: Path
    text: str
    cue: str
    delimiters: Delimiters | None
    alone: bool
    """Whether it names no other templates, so that the same sections always give the same text."""

    def as_data(self, text: str) -> str:
        """Return a text of data, which no delimiter of the layout stands in: those have a backslash in them."""
        return self.delimiters.escaped(text) if self.delimiters else text


class LayoutFront(BaseModel):
    """The front matter of a layout: `cue` is what the answer follows where a prompt has no cue of its own.

    The others say what marks its sections and examples, so that data cannot: names of `tags`, whole lines that are
    `headings` (a number may follow), and `prefixes`, with which a line begins.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    about: str = ""
    cue: str = ""
    tags: tuple[str, ...] = ()
    headings: tuple[str, ...] = ()
    prefixes: tuple[str, ...] = ()


def open_layout(layout: str | Path) -> Layout:
    """Return the layout in a file, or the shipped one of a name. Raises InputError."""
    if not isinstance(layout, Path):
        if layout not in _shipped():
            raise InputError(f"there is no layout `{layout}`", hint=nearest(layout, _shipped()))
        layout = _shipped()[layout]
    return _read(layout, current_text(layout))


@lru_cache(maxsize=100)
def _read(file: Path, text: str) -> Layout:
    document, _, _ = split_front_matter(text, str(place(file)))
    front = read_model(document, LayoutFront) if document else LayoutFront()
    delimiters = Delimiters.of(tags=front.tags, headings=front.headings, prefixes=front.prefixes)
    return Layout(file, text, front.cue, delimiters, stands_alone(file, text))


@cache
def _shipped() -> dict[str, Path]:
    return {path.stem: path for path in SHIPPED.glob("*.j2")}


def lay_out(
    layout: Layout,
    sections: Mapping[str, str],
    *,
    examples: Sequence[WrittenExample] = (),
    cue: str = "",
    labels: Sequence[str] = (),
) -> str:
    """Return the sections as one text. A layout sees:

    `sections`, a mapping of name to text in order (with `examples`, maybe blank, where there are written ones);
    `examples`, a list of mappings with `input`, `thoughts`, `output` and `cue`; and `labels`, the classes of a
    label answer. Raises InputError.
    """
    written: list[dict[str, Any]] = [
        {"input": example.input, "thoughts": example.thoughts or "", "output": example.output, "cue": cue}
        for example in examples
    ]
    return render_text(
        layout.file, layout.text, {"sections": dict(sections), "examples": written, "labels": list(labels)}
    )
