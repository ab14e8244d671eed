"""Readers of what a model writes for its technique: lists, sentences, verdicts, programs. They raise Unparsed."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Callable, Sequence
from typing import Final

from promptkit.answers.base import Unparsed
from promptkit.answers.reader.code_reader import find_program
from promptkit.answers.reader.list_reader import bare_item, listed_items, plain_lines
from promptkit.techniques.context import Exchange

_ABBREVIATIONS: Final = (
    "Dr",
    "Mr",
    "Ms",
    "St",
    "vs",
    "No",
    "Mrs",
    "etc",
    "Prof",
    r"e\.g",
    r"i\.e",
    r"a\.m",
    r"p\.m",
    r"[A-Z]",
)
_SENTENCE_END: Final = re.compile("(?<=[.!?])" + "".join(rf"(?<!\b{word}\.)" for word in _ABBREVIATIONS) + r"\s+(?=\S)")
_QUESTION: Final = re.compile(r"[^?]+\?")


def read_list(text: str, *, most: int | None = None) -> list[str]:
    """Return the items of a reply, else its lines, each once; what announces a list or follows it is no item."""
    listed = listed_items(text, in_full=True)
    lines = listed.texts if listed else map(bare_item, plain_lines(text))
    return list(dict.fromkeys(line for line in lines if line))[:most]


def some_items(text: str) -> list[str]:
    """Return the items of a reply as `read_list` does. Raises Unparsed where there is none."""
    if items := read_list(text):
        return items
    raise Unparsed("the reply holds no list")


def questions_in(reply: Exchange) -> list[str]:
    """Return the questions of a typed list; several on one line are several.

    What asks nothing counts only where the reply marks it as an item, has it on one of several lines, or can be nothing
    but a list.
    """
    items: list[str] = reply.value or []
    asking = [part.strip() for item in items for part in _QUESTION.findall(item)]
    is_listed = reply.request.constrained or "\n" in reply.text.strip() or listed_items(reply.text) is not None
    return list(dict.fromkeys(asking if len(asking) >= len(items) or not is_listed else items))


def filled_text(text: str) -> str:
    """Return a reply on one line. Raises Unparsed for a blank one."""
    if line := one_line(text):
        return line
    raise Unparsed("the reply is empty")


def program(language: str) -> Callable[[str], str]:
    """Return a reader of programs in a language."""

    def read(text: str) -> str:
        return textwrap.dedent(str(find_program(text, language).value)).strip("\n")

    return read


def with_cue(exchange: Exchange) -> Exchange:
    """Return an exchange in which a heading of the cue's words (`## Summary` for `Summary:`) is the cue."""
    words = exchange.cue.strip(" :*_#")
    if exchange.says_cue or not words:
        return exchange
    heading = re.compile(
        rf"^[ \t#*_]*(?:\d{{1,2}}[.)][ \t]*)?{re.escape(words)}[ \t*_:]*$", re.IGNORECASE | re.MULTILINE
    )
    return exchange.with_text(heading.sub(lambda _: exchange.cue, exchange.text))


def first_line(text: str) -> str:
    """Return the first line of a text that holds a letter or a digit."""
    return next((line.strip() for line in text.splitlines() if any(map(str.isalnum, line))), "")


def one_line(text: str) -> str:
    """Return a text with single spaces for all white space."""
    return " ".join(text.split())


def read_sentences(text: str) -> list[str]:
    """Return the sentences of a text, without the numbers and bullets of its lines, repeated ones left out."""
    return list(dict.fromkeys(part for line in read_list(text) for part in sentences_of(line)))


def sentences_of(text: str) -> list[str]:
    """Return the sentences of a text. Abbreviations do not end one."""
    return [part.strip() for part in _SENTENCE_END.split(text) if part.strip()]


def last_named(text: str, labels: Sequence[str]) -> str | None:
    """Return the label that is named last in the text, whole words in any case; the longest of those that overlap."""
    best: tuple[int, int, str] | None = None
    for label in labels:
        for found in re.finditer(rf"(?<!\w){re.escape(label)}(?!\w)", text, re.IGNORECASE):
            if best is None or (found.end(), len(label)) > best[:2]:
                best = (found.end(), len(label), label)
    return best[2] if best else None


def filled_lines(text: str) -> list[str]:
    """Return the lines of a text that are not blank."""
    return [line for line in text.splitlines() if line.strip()]


def before_cue(text: str, cue: str) -> str:
    """Return the thoughts in a reply: the text before the last cue in any case, or all of it without a cue."""
    found = list(re.finditer(re.escape(cue), text, re.IGNORECASE)) if cue else []
    return (text[: found[-1].start()] if found else text).strip()
