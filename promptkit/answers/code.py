"""A program in a fenced block."""

from __future__ import annotations

import re
from collections.abc import Hashable, Mapping
from typing import Any

from promptkit.answers.base import AnswerType, Reading, Unparsed, quoted, shown
from promptkit.answers.constraints.gbnf import BLANKS, Grammar, any_of, literal, none_of
from promptkit.answers.reader.code_reader import find_program
from promptkit.errors import InputError

_FENCE_LINE = re.compile(r"^[ \t]*```", re.MULTILINE)
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
            raise ValueError(f"{shown(value)} is not a program")
        return f"```{self.language}\n{value}\n```"

    def read(self, text: str) -> str:
        return str(self._program(text).value)

    def conclude(self, text: str, cue: str, *, thinks: bool = False, cut: bool = False, question: str = "") -> Reading:
        return self._program(text)

    def _program(self, text: str) -> Reading:
        reading = find_program(text, self.language)
        if _FENCE_LINE.search(reading.value):
            raise Unparsed("the program has a line that begins with a fence, so its end is not certain")
        return reading

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
