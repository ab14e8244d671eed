"""The files in a technique's folder: one template with front matter for each kind of call, and the card for people."""

from __future__ import annotations

import os
from collections.abc import Mapping
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator

from promptkit.answers.base import AnswerType
from promptkit.answers.build import answer_type_names, build_answer_type, check_answer_type
from promptkit.errors import InputError, place
from promptkit.prompts.expressions import Expression
from promptkit.prompts.front_matter import split_front_matter
from promptkit.prompts.parsing import block_names
from promptkit.prompts.sections import CALL
from promptkit.storage.files import Stamp, file_stamp, read_text
from promptkit.storage.models import read_model
from promptkit.storage.yaml import load_file
from promptkit.techniques.roles import Role

FREE_REPLIES = ("text", "code", "list", "json")
"""Replies that decide nothing and that their technique reads itself, in place of a typed aside."""
ANSWER = "answer"
ANSWERING = ("output_format", "recap", "cue")
PERSONA = "persona"


class CallFront(BaseModel):
    """The front matter of a call: which of the user's sections it hides, what it produces, how its reply begins and
    ends.

    A section that the call's template writes is in the call even if hidden: hiding is for the user's text. `hides: all`
    keeps the persona only. `thinks`: the reply holds thoughts before an answer, and examples show theirs. A call that
    `asks_to_think` leaves thinking, and its `begin`, to a model that thinks by itself, unless examples show thoughts;
    its template reads that in `call.model_thinks`. `begin` is the beginning of the assistant's turn, an expression over
    `call`: a thought trigger, or, in a call that answers directly, the text before the answer. `cue` is the technique's
    answer trigger, one or by the answer type's name (`default` for the others); the user's cue wins.

    `produces` is `answer`, the step's answer; `text`, `code`, `list` or `json`, a free reply; or an answer type with
    its options (`number`, `{label: [yes, no]}`): a typed aside, which is constrained, read, repaired and scored as
    answers are. Its value is read after the call's `cue` where the reply `thinks`. The options may be expressions over
    `call`: `{number: {max: "{{ call.candidates | length }}"}}`.

    `demos` are the technique's demonstrations: `call.demos` in the template and, where that writes no examples, shown
    as the examples (`input`, `thoughts`, `output`). `demos_for` names the answer types of the steps that they suit;
    left out, all. `roles`, `needs` and `modifier` (it lies beneath the calls of the technique in `over`) are for a
    technique of one template; others declare them with their function.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    about: str = ""
    hides: tuple[str, ...] | Literal["all"] = ()
    replaces: tuple[str, ...] = ()
    produces: str | dict[str, Any] = "text"
    thinks: bool = False
    asks_to_think: bool = False
    begin: str = ""
    cue: str | dict[str, str] = ""
    stop: tuple[str, ...] = ()
    max_tokens: int | None = Field(default=None, gt=0)
    demos: tuple[dict[str, Any], ...] = ()
    demos_for: tuple[str, ...] = ()
    roles: tuple[str, ...] = ()
    needs: tuple[str, ...] = ()
    modifier: bool = False

    @field_validator("produces")
    @classmethod
    def _known_produce(cls, produces: str | dict[str, Any]) -> str | dict[str, Any]:
        if produces != ANSWER and produces not in FREE_REPLIES and (problems := check_answer_type(produces)):
            raise ValueError("; ".join(problems))
        return produces

    @field_validator("demos_for")
    @classmethod
    def _known_answer_types(cls, demos_for: tuple[str, ...]) -> tuple[str, ...]:
        known = answer_type_names()
        for name in demos_for:
            if name not in known:
                raise ValueError(f"no answer type `{name}`; known: {', '.join(known)}")
        return demos_for

    @field_validator("begin")
    @classmethod
    def _known_values(cls, begin: str) -> str:
        try:
            names = Expression.parse(begin).names
        except InputError as error:
            raise ValueError("; ".join(problem.message for problem in error.problems)) from None
        if unknown := sorted(names - {CALL}):
            raise ValueError(f"`{unknown[0]}` is undefined: the values of a call are under `{CALL}.`")
        return begin

    @field_validator("roles")
    @classmethod
    def _known_roles(cls, roles: tuple[str, ...]) -> tuple[str, ...]:
        for role in roles:
            Role.parse(role)
        return roles


class CallSpec(CallFront):
    """A call: its front matter, its template's name and file, and the sections that the template writes."""

    name: str
    file: Path = Path()
    writes: frozenset[str] = frozenset()

    @property
    def answers(self) -> bool:
        """True if the call produces the step's answer."""
        return self.produces == ANSWER

    @property
    def product(self) -> str:
        """The name of what the call produces: `answer`, a free reply's, or that of an answer type."""
        return self.produces if isinstance(self.produces, str) else next(iter(self.produces))

    @cached_property
    def aside(self) -> AnswerType | None:
        """The answer type of a typed aside; None for a call that produces the step's answer or a free reply."""
        is_free = self.answers or self.produces in FREE_REPLIES
        return None if is_free else build_answer_type(self.produces)

    @property
    def shows_thoughts(self) -> bool:
        """True if examples show their thoughts in this call: those before its answer, or those that its turn begins
        with.
        """
        return self.thinks or (self.answers and bool(self.begin))

    def filled(self, values: Mapping[str, Any]) -> CallSpec:
        """Return this call with the values of the expressions in the options of what it produces."""
        if isinstance(self.produces, str) or "{{" not in str(self.produces):
            return self
        return CallSpec(**{**dict(self), "produces": _filled(self.produces, {"call": values})})

    def demos_of(self, answer_type: str) -> tuple[dict[str, Any], ...]:
        """Return the demonstrations that suit a step with an answer type of that name."""
        return self.demos if not self.demos_for or answer_type in self.demos_for else ()

    def trigger(self, answer_type: str) -> str:
        """Return the answer trigger for an answer type of that name, or an empty string."""
        if isinstance(self.cue, str):
            return self.cue
        return self.cue.get(answer_type, self.cue.get("default", ""))

    def keeps(self, section: str) -> bool:
        """Tell whether the user's text of a section is in this call, unless the template replaces it."""
        if self.hides == "all":
            return section == PERSONA
        return section not in self.hides and (self.answers or section not in ANSWERING)

    def shows(self, section: str) -> bool:
        """Tell whether a section is in this call, the user's or the template's."""
        return section in self.writes or self.keeps(section)


def _filled(value: Any, scope: Mapping[str, Any]) -> Any:
    """Return a value of YAML with the values of its expressions. Raises InputError."""
    if isinstance(value, Mapping):
        return {key: _filled(part, scope) for key, part in value.items()}
    if isinstance(value, list):
        return [_filled(part, scope) for part in value]
    return Expression.parse(value).evaluate(scope) if isinstance(value, str) and "{{" in value else value


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
    """A technique's card for people; a project's technique may have none, or only parts of it.

    `algorithm` is at most five lines. `depth` is a formula like the technique's `requests`: the number of requests that
    wait for each other, the deciding one included. `growth` says how the tokens grow. `paper` holds the paper's
    settings, by parameter where there is one of that name. `soft` are needs that help but are not required. `size` is
    the number of parameters, in billions, from which a model is comfortable with it. `leaves_out` lists, a line each,
    the user's sections that are in no call on purpose.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    title: str = ""
    family: Family | None = None
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
    """Return the card in a technique's folder, an empty one without a file. Raises InputError."""
    file = folder / CARD_FILE if folder else None
    if file is None or not os.path.isfile(file):
        return Card()
    return _read_card_file(file, file_stamp(file))


@lru_cache(maxsize=200)
def _read_card_file(file: Path, _stamp: Stamp | None) -> Card:
    return read_model(load_file(file), Card)
