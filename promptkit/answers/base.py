"""What an answer type is: how a value is written, parsed, constrained, compared in a vote, and described."""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping
from typing import Any, ClassVar, Literal

from promptkit.answers.gbnf import Grammar, literal

Form = Literal["plain", "json"]
LONGEST_REPLY = 1_000_000
CONTINUATION = re.compile(r"\n[ \t]*(?:Q|Question):")


class Unparsed(ValueError):
    """A reply does not hold a value of the type; the message says what is wrong with it, for a repair."""


class AnswerType(ABC):
    """The law: `parse(write(value)) == value` for each value that `write` accepts; `write` refuses all others.

    `form` depends on the type and the prompt only, never on the runtime. `max_tokens` is enough for any answer of
    the type that is not deliberately long. The grammar admits one plain writing of each value that `parse` can
    return; `parse` reads further writings of the same values (another case, quotes, a full stop).

    A type implements `format`, `read`, `expression` and, where a value can be found among other words, `mentions`.
    """

    name: ClassVar[str]
    form: Form = "plain"
    max_tokens: int = 512

    def write(self, value: Any) -> str:
        """Return the value as the model should write it. Raises ValueError for a value that `parse` could not read."""
        text = self.format(value)
        try:
            back = self.parse(text)
        except Unparsed as unparsed:
            raise ValueError(f"{value!r} is no answer of the type {self.name}: {unparsed}") from None
        if back != value:
            raise ValueError(f"{value!r} cannot be written as {self.name}: it would be read back as {back!r}")
        return text

    def parse(self, text: str) -> Any:
        """Return the value in a reply that holds the answer alone. Raises Unparsed."""
        if len(text) > LONGEST_REPLY:
            raise Unparsed(f"the reply is longer than {LONGEST_REPLY:,} characters")
        return self.read(text)

    def extract(self, text: str, marker: str = "") -> Any:
        """Return the value in a reply with thoughts around it: after the last `marker` the first value, else the last.

        What follows an invented next question is left out. Raises Unparsed.
        """
        if len(text) > LONGEST_REPLY:
            raise Unparsed(f"the reply is longer than {LONGEST_REPLY:,} characters")
        rest, marked = after_marker(text, marker)
        return self.first(rest) if marked else self.last(rest)

    def grammar(self, lead: str = "") -> str | None:
        """Return GBNF that admits exactly the answers `parse` reads, each begun by `lead`; None where it has none."""
        grammar = Grammar()
        body = self.expression(grammar)
        if body is None:
            return None
        return grammar.text(f"{literal(lead)} ({body})" if lead else body)

    def schema(self) -> Mapping[str, Any] | None:
        """Return the JSON Schema of the `json` form, else None."""
        return None

    def guidance(self, lead: str = "") -> str | None:
        """Return llguidance's grammar of the `json` form, each answer begun by `lead`; None where there is none."""
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

    @abstractmethod
    def format(self, value: Any) -> str:
        """Return the value's text, unchecked. Raises ValueError for a value of another kind."""

    @abstractmethod
    def read(self, text: str) -> Any:
        """Return the value of a reply of bearable length. Raises Unparsed."""

    def expression(self, grammar: Grammar) -> str | None:
        """Return the GBNF expression of an answer, adding the rules it needs to `grammar`; None where it has none."""
        return None

    def mentions(self, text: str) -> Iterable[Any]:
        """Return the values found among other words, in order."""
        return ()

    def first(self, text: str) -> Any:
        """Return the first value in the text. Raises Unparsed."""
        for value in self.mentions(text):
            return value
        return self.read(text)

    def last(self, text: str) -> Any:
        """Return the last value in the text. Raises Unparsed."""
        values = list(self.mentions(text))
        return values[-1] if values else self.read(text)


def after_marker(text: str, marker: str) -> tuple[str, bool]:
    """Return the text after the last `marker` (in any case) and whether there was one; else the whole text."""
    text = CONTINUATION.split(text, maxsplit=1)[0]
    found: re.Match[str] | None = None
    if marker.strip():
        for found in re.finditer(re.escape(marker.strip()), text, re.IGNORECASE):  # noqa: B007
            pass
    return (text[found.end() :], True) if found else (text, False)


def paragraphs(text: str) -> list[str]:
    """Return the parts of a text between blank lines, stripped; none is blank."""
    return [part.strip() for part in re.split(r"\n[ \t]*\n", text) if part.strip()]


def nonblank_lines(text: str) -> list[str]:
    """Return the lines of a text that are not blank, stripped."""
    return [line.strip() for line in text.split("\n") if line.strip()]


def stripped_forms(text: str) -> Iterator[str]:
    """Yield a reply with less and less around it: as it is, without closing stops, without quotes and emphasis."""
    text = text.strip()
    yield text
    bare = text.rstrip(".!,;: \n\t")
    yield bare
    inner = bare.strip("\"'`*_“”‘’«»()[]{}<>#.!,;: \n\t")
    yield inner


def unique_by(items: Iterable[Any], key: Callable[[Any], Hashable]) -> list[Any]:
    """Return the items without those that share a key with an earlier one."""
    kept: dict[Hashable, Any] = {}
    for item in items:
        kept.setdefault(key(item), item)
    return list(kept.values())


def quoted(text: str, limit: int = 80) -> str:
    """Return the text as a message shows it: in quotes, cut where it is long."""
    text = text.strip()
    return repr(text if len(text) <= limit else text[: limit - 1] + "…")


def hashable(value: Any) -> Hashable:
    """Return a hashable stand-in of a JSON value: 26 and 26.0 share it, 1 and true do not."""
    if isinstance(value, bool):
        return ("boolean", value)
    if isinstance(value, Mapping):
        return frozenset((key, hashable(item)) for key, item in value.items())
    if isinstance(value, list | tuple):
        return tuple(hashable(item) for item in value)
    return value  # type: ignore[no-any-return]
