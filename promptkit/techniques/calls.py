"""One kind of call of a technique: a template `templates/techniques/NAME/CALL.j2` and its front matter."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from promptkit.errors import place
from promptkit.prompts import split_front_matter
from promptkit.storage import read_model, read_text

Produces = Literal["text", "answer", "code", "list", "json"]
ANSWERING = ("output_format", "recap", "cue")


class CallFront(BaseModel):
    """What a call hides of the user's sections, what it produces, and how its reply begins and ends.

    `thinks`: the reply holds thoughts before an answer, and examples show theirs. `begin` is a thought trigger, an
    expression text over `call`, with which the assistant's turn begins. `cue` is the technique's answer trigger, one
    or by the answer type's name (`default` for the others); the user's cue wins. `hides: all` keeps the persona only.
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


class CallSpec(CallFront):
    """A call: what its front matter says, and its template's name and file."""

    name: str
    file: Path = Path()

    def trigger(self, answer_type: str) -> str:
        """Return the answer trigger for an answer type of that name, or an empty string."""
        if isinstance(self.cue, str):
            return self.cue
        return self.cue.get(answer_type, self.cue.get("default", ""))

    def shows(self, section: str) -> bool:
        """Tell whether the user's section is in this call."""
        if self.hides == "all":
            return section == "persona"
        return section not in self.hides and (self.produces == "answer" or section not in ANSWERING)


_read: dict[Path, tuple[int, CallSpec]] = {}


def read_call(path: Path) -> CallSpec:
    """Read a call's front matter. Raises InputError with every problem in it."""
    changed = path.stat().st_mtime_ns
    known = _read.get(path)
    if known and known[0] == changed:
        return known[1]
    document, _, _ = split_front_matter(read_text(path), str(place(path)))
    front = read_model(document, CallFront) if document else CallFront()
    spec = CallSpec(**dict(front), name=path.stem, file=path)
    _read[path] = (changed, spec)
    return spec
