"""What an answer type is: how a value is written, parsed, constrained, compared in a vote, and described."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Hashable, Mapping
from typing import Any, ClassVar, Literal

Form = Literal["plain", "json"]


class Unparsed(ValueError):
    """A reply does not hold a value of the type; the message says what is wrong with it, for a repair."""


class AnswerType(ABC):
    """The law: `parse(write(value)) == value` for each value that `write` accepts; `write` refuses all others.

    `form` depends on the type and the prompt only, never on the runtime. `max_tokens` is enough for any answer of
    the type that is not deliberately long.
    """

    name: ClassVar[str]
    form: Form
    max_tokens: int

    @abstractmethod
    def write(self, value: Any) -> str:
        """Return the value as the model should write it. Raises ValueError for a value that `parse` could not read."""

    @abstractmethod
    def parse(self, text: str) -> Any:
        """Return the value in a reply that holds the answer alone. Raises Unparsed."""

    def extract(self, text: str, marker: str = "") -> Any:
        """Return the value in a reply with thoughts around it: after the last `marker` the first value, else the last.

        Raises Unparsed.
        """
        raise Unparsed("not implemented")

    @abstractmethod
    def grammar(self, lead: str = "") -> str | None:
        """Return GBNF that admits exactly what `parse` reads, each answer begun by `lead`; None where it has none."""

    def schema(self) -> Mapping[str, Any] | None:
        """Return the JSON Schema of the `json` form, else None."""
        return None

    @abstractmethod
    def vote_key(self, value: Any) -> Hashable:
        """Return what two values that count as the same answer share (26 = 26.0)."""

    @abstractmethod
    def description(self) -> Mapping[str, Any]:
        """Return what `templates/answers/NAME.j2` needs to word the instruction."""

    def alternatives(self) -> tuple[str, ...]:
        """Return the closed set of written answers (labels, letters, true/false), or () where it is open."""
        return ()
