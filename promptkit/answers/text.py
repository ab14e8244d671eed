"""Free text, and a program in a fenced block."""

from __future__ import annotations

import re
from collections.abc import Hashable, Iterator, Mapping
from typing import Any

from promptkit.answers.base import WHOLE_REPLY, AnswerType, Reading, Refusal, Unparsed, paragraphs, quoted
from promptkit.answers.conclusion import last_box, text_after_marker
from promptkit.answers.gbnf import BLANKS, Grammar, any_of, literal, none_of
from promptkit.answers.numerals import plain_math
from promptkit.answers.refusals import refuses
from promptkit.errors import InputError


class Text(AnswerType):
    """Any text that is not blank, stripped. Nothing constrains it."""

    name = "text"

    def format(self, value: Any) -> str:
        if not isinstance(value, str):
            raise ValueError(f"{value!r} is not a text")
        return value

    def read(self, text: str) -> str:
        text = text.strip()
        if not text:
            raise Unparsed("the reply is empty")
        return text

    def conclude(self, text: str, cue: str, *, thinks: bool = False, cut: bool = False) -> Reading:
        if refuses(text):
            raise Refusal(f"the reply declines to answer: {quoted(text)}")
        boxed = last_box(text)
        if boxed is not None and (thinks or undressed(text).endswith("}")):
            return Reading(self.read(undressed(plain_math(boxed))), "boxed")
        rest = text_after_marker(text, cue, anywhere=thinks)
        if rest is not None:
            return Reading(self.read(undressed(rest)), "marker")
        if thinks:
            return Reading(self.read(undressed((paragraphs(text) or [""])[-1])), "last paragraph", is_weak=True)
        return Reading(self.read(undressed(text)), WHOLE_REPLY)

    def vote_key(self, value: Any) -> Hashable:
        return " ".join(str(value).casefold().split()).rstrip(".!")

    def description(self) -> Mapping[str, Any]:
        return {}


_EMPHASIS = re.compile(r"(\*\*|__|\*|`)(?=\S)(.*\S)\1", re.DOTALL)
_QUOTES = {'"': '"', "“": "”", "«": "»", "„": "“", "「": "」"}


def undressed(text: str) -> str:
    """Return a text without emphasis and quotes around the whole of it."""
    text = text.strip()
    while True:
        emphasis = _EMPHASIS.fullmatch(text)
        if emphasis and emphasis[1] not in emphasis[2]:
            text = emphasis[2].strip()
        elif len(text) > 2 and _QUOTES.get(text[0]) == text[-1] and not {text[0], text[-1]} & set(text[1:-1]):
            text = text[1:-1].strip()
        else:
            return text


_FENCED_BLOCK = re.compile(r"^```[^\n`]*\n(.*?)\n?^```", re.DOTALL | re.MULTILINE)
_OPENING_FENCE = re.compile(r"^```[^\n`]*\n", re.MULTILINE)
_LANGUAGE = re.compile(r"[A-Za-z][\w+#.-]*")


class Code(AnswerType):
    """The text of a program, without its fence. A program with a line that starts with a fence cannot be written."""

    name = "code"
    max_tokens = 1024

    def __init__(self, language: Any = "python") -> None:
        if not isinstance(language, str) or not _LANGUAGE.fullmatch(language):
            raise InputError(f"code must name a language, such as `python`, not {quoted(str(language))}")
        self.language = language

    def format(self, value: Any) -> str:
        if not isinstance(value, str):
            raise ValueError(f"{value!r} is not a program")
        return f"```{self.language}\n{value}\n```"

    def read(self, text: str) -> str:
        for program in self.mentions(text):
            return program
        opened = _OPENING_FENCE.search(text)
        program = text[opened.end() :].rstrip().removesuffix("```") if opened else text.strip("\n")
        if not program.strip():
            raise Unparsed("the reply holds no program")
        return program

    def mentions(self, text: str) -> Iterator[str]:
        return (match.group(1) for match in _FENCED_BLOCK.finditer(text.lstrip()) if match.group(1).strip())

    def expression(self, grammar: Grammar) -> str:
        # No line starts with a fence, and at least one line is not blank.
        sign, space = none_of(f"{BLANKS}`"), any_of(BLANKS.replace("\n", ""))
        blank = grammar.rule("blank", f'{space}* "\\n"')
        fence = '"`" "`"? ([^`\\n] [^\\n]*)?'
        line = grammar.rule("line", rf"([^`\n] [^\n]* | {fence})?")
        full = grammar.rule("full", rf'{space}* {sign} [^\n]* | {space}+ "`" [^\n]* | {fence}')
        opened, closed, end = literal(f"```{self.language}\n"), literal("\n```"), literal("\n")
        return f"{opened} {blank}* {full} ({end} {line})* {closed}"

    def vote_key(self, value: Any) -> Hashable:
        return "\n".join(line.rstrip() for line in str(value).strip().split("\n"))

    def description(self) -> Mapping[str, Any]:
        return {"language": self.language}
