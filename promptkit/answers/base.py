"""The base class of answer types: how a value is written, parsed, constrained, compared and described."""

from __future__ import annotations

import json
import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar

from promptkit.answers.constraints.gbnf import Grammar, literal
from promptkit.answers.reader.conclusion import passages
from promptkit.answers.reader.passages import MAX_PASSAGE, Passage
from promptkit.answers.reader.refusals import declines
from promptkit.runtimes.thoughts import without_marks

LONGEST_REPLY = 1_000_000
WHOLE_REPLY = "whole reply"
CONTINUATION = re.compile(r"\n[ \t]*(?:Q|Question):")


class Unparsed(ValueError):
    """A reply that does not hold a value of the type. The message says why, and is used for a repair."""


class Refusal(Unparsed):
    """A reply that declines to answer, or says that there is no answer."""


class EmptyReply(Unparsed):
    """A reply that holds no text besides thoughts."""


@dataclass(frozen=True, slots=True)
class Reading:
    """A value found in a reply, and the name of the rule that found it.

    `is_weak` tells that nothing in the reply marks the value as its answer.
    """

    value: Any
    rule: str
    is_weak: bool = False


class AnswerType(ABC):
    """A type of answers. The law: `parse(write(value)) == value` for each value that `write` accepts.

    `writes_json` is true where the text of a value is also its JSON. `max_tokens` suffices for any answer of the type
    that is not deliberately long. The grammar admits one plain writing of each value that `parse` can return; `parse`
    also reads other writings of these values (another case, quotes, a full stop).

    A type implements `format`, `read`, `vote_key` and `description`; `expression` where a grammar can constrain it,
    `schema` where a JSON Schema can, `mentions` where a value can be found among other words, and `conclude` where its
    replies are read in another way. `json_value` and `from_json` turn a value into JSON that fits the schema, and back;
    by default that is a string, the value's text.
    """

    name: ClassVar[str]
    writes_json: ClassVar[bool] = False
    max_tokens: int = 512

    def write(self, value: Any) -> str:
        """Return the text of a value as the model should write it. Raises ValueError where `parse` would not read it
        back.
        """
        return self.readable(self.format(value), value, self.parse)

    def readable(self, text: str, value: Any, read: Callable[[str], Any]) -> str:
        """Return the text of a value. Raises ValueError where `read` would not give the value back."""
        try:
            back = read(text)
        except Unparsed as unparsed:
            raise ValueError(f"{shown(value)} is not an answer of the type {self.name}: {unparsed}") from None
        if back != value:
            raise ValueError(f"{shown(value)} cannot be written as {self.name}: it would be read back as {shown(back)}")
        return text

    def parse(self, text: str) -> Any:
        """Return the value of a reply that holds only the answer. Raises Unparsed."""
        _check_length(text)
        return self.read(text)

    def find(self, text: str, cue: str = "", *, thinks: bool = False, cut: bool = False, question: str = "") -> Reading:
        """Return the value that a free reply concludes with, and the rule that found it.

        `cue` is the text that the answer was to follow; `thinks` tells that the reply begins with thoughts, and `cut`
        that it ran out of tokens. `question` is the prompt, whose words an answer may repeat. Ignores thoughts in marks
        and everything after an invented next question. Raises Unparsed: Refusal for a reply that declines, EmptyReply
        for a blank one.
        """
        _check_length(text)
        text = CONTINUATION.split(without_marks(text), maxsplit=1)[0]
        if not text.strip():
            raise EmptyReply("the reply is empty")
        return self.conclude(text, cue, thinks=thinks, cut=cut, question=question)

    def conclude(self, text: str, cue: str, *, thinks: bool = False, cut: bool = False, question: str = "") -> Reading:
        """Return the value of a reply without marks that is not blank. Raises Unparsed."""
        if not thinks:
            found = self.whole(_without_cue(text, cue))
            if found is not None:
                return Reading(found, WHOLE_REPLY)
        for passage in passages(text, cue, thinks=thinks, cut=cut, question=question):
            if self.declines(passage.text):
                passage = replace(passage, text=_after_but(passage.text), is_weak=True, opens=False)
                if self.declines(passage.text) or self.pick(passage) is None:
                    raise Refusal(f"the reply declines, or says that there is no answer: {quoted(text)}")
            found = self.pick(passage)
            if found is not None:
                return Reading(found, passage.rule, passage.is_weak)
            if passage.is_binding:
                raise self.fault(passage.text)
        raise self.fault(text)

    def fault(self, text: str) -> Unparsed:
        """Return the reason why a text without an answer has none: what `read` says of it, where it does."""
        try:
            self.read(text[-MAX_PASSAGE:])
        except Unparsed as unparsed:
            return unparsed
        return Unparsed(f"{quoted(text)} does not say which value is its answer")

    def whole(self, text: str) -> Any:
        """Return the value of a reply that is the answer alone, None for any other."""
        try:
            return self.read(text)
        except Unparsed:
            return None

    def pick(self, passage: Passage) -> Any:
        """Return the answer that a passage of a reply gives, None for none. May raise Unparsed for several."""
        values = list(self.mentions(passage.text))
        if values:
            return values[0] if passage.is_marked or passage.opens else values[-1]
        return self.whole(passage.text)

    def declines(self, text: str) -> bool:
        """Tell whether a passage says that there is no answer."""
        return declines(text)

    def grammar(self, lead: str = "") -> str | None:
        """Return GBNF for the answers that `parse` reads, each preceded by `lead`; None where there is none."""
        grammar = Grammar()
        body = self.expression(grammar)
        if body is None:
            return None
        return grammar.text(f"{literal(lead)} ({body})" if lead else body)

    def schema(self) -> Mapping[str, Any] | None:
        """Return the JSON Schema of what `json_value` returns; None where there is none."""
        return None

    def json_value(self, value: Any) -> Any:
        """Return the value as JSON. Raises ValueError for a value of another kind."""
        return self.write(value)

    def from_json(self, value: Any) -> Any:
        """Return the value that a JSON value stands for: a number, true or false may stand for its text.

        Raises Unparsed.
        """
        if isinstance(value, int | float):
            value = json.dumps(value)
        if not isinstance(value, str):
            raise Unparsed(f"{quoted(json.dumps(value))} is not a JSON string")
        return self.parse(value)

    def guidance(self, lead: str = "") -> str | None:
        """Return llguidance's grammar of the answers, each begun by `lead`; None where there is none."""
        return None

    @abstractmethod
    def vote_key(self, value: Any) -> Hashable:
        """Return a key that values share exactly when they count as the same answer (26 and 26.0)."""

    @abstractmethod
    def description(self) -> Mapping[str, Any]:
        """Return the values of the instruction's template, `NAME.j2`."""

    def alternatives(self) -> tuple[str, ...]:
        """Return the closed set of written answers (labels, letters, true and false); empty where it is open."""
        return ()

    @abstractmethod
    def format(self, value: Any) -> str:
        """Return the text of a value, unchecked. Raises ValueError for a value of another kind."""

    @abstractmethod
    def read(self, text: str) -> Any:
        """Return the value of a reply of acceptable length. Raises Unparsed."""

    def expression(self, grammar: Grammar) -> str | None:
        """Return the GBNF expression of an answer, adding its rules to `grammar`; None where there is none."""
        return None

    def mentions(self, text: str) -> Iterable[Any]:
        """Return the values found among other words, in order."""
        return ()


def _check_length(text: str) -> None:
    if len(text) > LONGEST_REPLY:
        raise Unparsed(f"the reply is longer than {LONGEST_REPLY:,} characters")


def _after_but(text: str) -> str:
    """Return the rest of a sentence after it declines, as in `I am not sure, but …`; empty where nothing follows."""
    but = re.search(r"\sbut\s|;\s(?=(?:the|my) (?:closest|nearest|best)\b)", text)
    return text[but.end() :] if but else ""


def after_marker(text: str, marker: str) -> tuple[str, bool]:
    """Return the text after the last `marker` (in any case), and True; the whole text and False without one."""
    found: re.Match[str] | None = None
    if marker.strip():
        for found in re.finditer(re.escape(marker.strip()), text, re.IGNORECASE):  # noqa: B007
            pass
    return (text[found.end() :], True) if found else (text, False)


def _without_cue(text: str, cue: str) -> str:
    """Return a reply without the cue that it begins with."""
    text, cue = text.strip(), cue.strip()
    return text[len(cue) :] if cue and text.casefold().startswith(cue.casefold()) else text


def paragraphs(text: str) -> list[str]:
    """Return the stripped parts between blank lines, without blank ones."""
    return [part.strip() for part in re.split(r"\n[ \t]*\n", text) if part.strip()]


def nonblank_lines(text: str) -> list[str]:
    """Return the stripped lines that are not blank."""
    return [line.strip() for line in text.split("\n") if line.strip()]


def stripped_forms(text: str) -> Iterator[str]:
    """Yield a reply as it is, without final punctuation, and without quotes and emphasis."""
    text = text.strip()
    yield text
    bare = text.rstrip(".!,;: \n\t")
    yield bare
    inner = bare.strip("\"'`*_“”‘’«»()[]{}<>#.!,;: \n\t")
    yield inner


def unique_by(items: Iterable[Any], key: Callable[[Any], Hashable]) -> list[Any]:
    """Return the items without those that share a key with an earlier item."""
    kept: dict[Hashable, Any] = {}
    for item in items:
        kept.setdefault(key(item), item)
    return list(kept.values())


def quoted(text: str, limit: int = 80) -> str:
    """Return a text for a message, in quotes and cut to `limit` characters."""
    text = text.strip()
    return repr(text if len(text) <= limit else text[: limit - 1] + "…")


def shown(value: Any, limit: int = 200) -> str:
    """Return a value for a message, cut to `limit` characters."""
    text = repr(value)
    return text if len(text) <= limit else text[: limit - 1] + "…"


def hashable(value: Any) -> Hashable:
    """Return a hashable equivalent of a JSON value. 26 and 26.0 are equal, 1 and true are not."""
    if isinstance(value, bool):
        return ("boolean", value)
    if isinstance(value, Mapping):
        return frozenset((key, hashable(item)) for key, item in value.items())
    if isinstance(value, list | tuple):
        return tuple(hashable(item) for item in value)
    return value  # type: ignore[no-any-return]
