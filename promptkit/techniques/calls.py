"""The files in a technique's folder: one template with front matter for each kind of call, and the card for people."""

from __future__ import annotations

import os
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator

from promptkit.errors import place
from promptkit.prompts.front_matter import split_front_matter
from promptkit.prompts.parsing import block_names
from promptkit.storage.files import Stamp, file_stamp, read_text
from promptkit.storage.models import read_model
from promptkit.storage.yaml import load_file
from promptkit.techniques.roles import Role

Produces = Literal["text", "answer", "code", "list", "json"]
ANSWERING = ("output_format", "recap", "cue")
PERSONA = "persona"


class CallFront(BaseModel):
    """What a call hides of the user's sections, what it produces, and how its reply begins and ends.

    A section that the call's own template writes is in the call whatever is hidden: hiding is for the user's text.
    `thinks`: the reply holds thoughts before an answer, and examples show theirs. `begin` is what the assistant's turn
    begins with, an expression text over `call`: a thought trigger, or, in a call that decides at once, the text that
    the answer goes on from. `cue` is the technique's answer trigger, one or by the answer type's name (`default` for
    the others); the user's cue wins. `hides: all` keeps the persona only. `demos` are the technique's own
    demonstrations: `call.demos` in the template, and, where it writes no examples itself, shown as the examples
    (`input`, `thoughts`, `output`). `roles`, `needs` and `modifier` (it lies beneath the calls of the technique that it
    is put over) are for a technique of one template; others declare them with their function.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    about: str = ""
    hides: tuple[str, ...] | Literal["all"] = ()
    replaces: tuple[str, ...] = ()
    produces: Produces = "text"
    thinks: bool = False
    begin: str = ""
    cue: str | dict[str, str] = ""
    stop: tuple[str, ...] = ()
    max_tokens: int | None = Field(default=None, gt=0)
    demos: tuple[dict[str, Any], ...] = ()
    roles: tuple[str, ...] = ()
    needs: tuple[str, ...] = ()
    modifier: bool = False

    @field_validator("roles")
    @classmethod
    def _known_roles(cls, roles: tuple[str, ...]) -> tuple[str, ...]:
        for role in roles:
            Role.parse(role)
        return roles


class CallSpec(CallFront):
    """A call: what its front matter says, its template's name and file, and the sections that the template writes."""

    name: str
    file: Path = Path()
    writes: frozenset[str] = frozenset()

    def trigger(self, answer_type: str) -> str:
        """Return the answer trigger for an answer type of that name, or an empty string."""
        if isinstance(self.cue, str):
            return self.cue
        return self.cue.get(answer_type, self.cue.get("default", ""))

    def keeps(self, section: str) -> bool:
        """Tell whether the user's text of a section is in this call, unless its template writes over it."""
        if self.hides == "all":
            return section == PERSONA
        return section not in self.hides and (self.produces == "answer" or section not in ANSWERING)

    def shows(self, section: str) -> bool:
        """Tell whether a section is in this call: the user's, or the template's own."""
        return section in self.writes or self.keeps(section)

    def demonstrations(self, own: Any) -> tuple[Mapping[str, Any], ...]:
        """Return the demonstrations: the step's `own` where it has them, else those of the template."""
        return tuple(own) if own is not None else self.demos


def read_call(path: Path) -> CallSpec:
    """Read a call's front matter. Raises InputError with every problem in it."""
    return _read_call_file(path, file_stamp(path))


@lru_cache(maxsize=500)
def _read_call_file(path: Path, _stamp: Stamp | None) -> CallSpec:
    text, where = read_text(path), str(place(path))
    document, _, _ = split_front_matter(text, where)
    front = read_model(document, CallFront) if document else CallFront()
    return CallSpec(**dict(front), name=path.stem, file=path, writes=block_names(text, where))


CARD_FILE = "technique.yaml"

Family = Literal[
    "single call",
    "two-step",
    "modifier",
    "sample-and-vote",
    "decompose",
    "generate-check-refine",
    "search and logic",
    "tool or code loop",
    "table operations",
    "pool preparation",
]


class Citation(BaseModel):
    """The paper that a technique comes from; at least one of `arxiv` and `doi` lets a reader find it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    authors: str
    title: str
    venue: str
    year: int
    arxiv: str = ""
    doi: str = ""

    def __str__(self) -> str:
        found = f"arXiv {self.arxiv}" if self.arxiv else f"doi {self.doi}" if self.doi else ""
        parts = (f"{self.authors} ({self.year}). {self.title}. {self.venue}", found)
        return ". ".join(part for part in parts if part) + "."


class Card(BaseModel):
    """A technique's card; a technique of a project's own may have none, or a part of it.

    `algorithm` is at most five lines. `depth` is a formula like the technique's `requests`: how many requests wait for
    each other, the deciding one among them. `growth` says how the tokens grow. `paper` are the paper's settings, by
    parameter where there is one of that name. `soft` are needs that help and are not required. `size` is the number of
    parameters, in billions, from which a model is comfortable with it. `leaves_out` says in a line each which of the
    user's sections are in no call, where that is meant.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    title: str = ""
    family: Family = "single call"
    citation: Citation | None = None
    about: str = ""
    algorithm: tuple[str, ...] = Field(default=(), max_length=5)
    tasks: tuple[str, ...] = ()
    depth: str = "1"
    growth: str = ""
    paper: dict[str, Any] = {}
    soft: tuple[str, ...] = ()
    size: float = 0.0
    leaves_out: tuple[str, ...] = ()


def read_card(folder: Path | None) -> Card:
    """Return the card in a technique's folder, an empty one where there is none. Raises InputError."""
    file = folder / CARD_FILE if folder else None
    if file is None or not os.path.isfile(file):
        return Card()
    return _read_card_file(file, file_stamp(file))


@lru_cache(maxsize=200)
def _read_card_file(file: Path, _stamp: Stamp | None) -> Card:
    return read_model(load_file(file), Card)
