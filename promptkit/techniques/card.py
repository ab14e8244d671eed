"""What people read about a technique: the card `technique.yaml` beside its templates."""

from __future__ import annotations

import os
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from promptkit.storage import Stamp, file_stamp, load_file, read_model

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
    return _read(file, file_stamp(file))


@lru_cache(maxsize=200)
def _read(file: Path, _stamp: Stamp | None) -> Card:
    return read_model(load_file(file), Card)
