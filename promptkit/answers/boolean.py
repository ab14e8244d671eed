"""Booleans: true or false, and what else says yes or no."""

from __future__ import annotations

import re
from collections.abc import Hashable, Mapping, Sequence
from typing import Any, Final

from promptkit.answers.base import Unparsed, quoted, shown
from promptkit.answers.constraints.gbnf import Grammar, one_of
from promptkit.answers.labels import Named, begins
from promptkit.answers.reader.contrast import Mention, without_asides
from promptkit.answers.reader.passages import MAX_PASSAGE, Passage
from promptkit.answers.reader.restatement import asked_question, restated_verdict
from promptkit.answers.reader.verdicts import judgements, verdict, verdicts

_LETTERED: Final = re.compile(r"[(\[]?\b([A-F])\b[).:\]]{1,2}\s{0,3}(\w{2,10})\b")


def lettered_verdict(text: str, question: str) -> bool | None:
    """Return the verdict of `(B)` where the question gives `(A) Yes (B) No`; None for any other text."""
    letters = {letter: verdict(word) for letter, word in _LETTERED.findall(question[-MAX_PASSAGE:])}
    if {True, False} - set(letters.values()):
        return None
    found = re.match(r"[\s*_`\"']{0,4}(?:(?i:option|choice|answer)\s)?[(\[]?([A-F])(?:[)\].:,*]|\s*$)", text)
    return letters.get(found[1]) if found else None


_LETTER_ALONE: Final = 12
_HALF: Final = re.compile(
    r"\b(?:partly|partially|half|sometimes|possibly|maybe|perhaps|somewhat|not entirely|not completely)\s(?:true|false"
    r"|yes|no|correct)\b|\b(?:both|neither) (?:yes|true) (?:and|nor) (?:no|false)\b",
    re.IGNORECASE,
)


class Boolean(Named):
    """Written `true` or `false`; `yes` and `no` are read as well."""

    name = "boolean"
    writes_json = True
    max_tokens = 8

    def format(self, value: Any) -> str:
        if not isinstance(value, bool):
            raise ValueError(f"{shown(value)} is neither true nor false")
        return "true" if value else "false"

    def read(self, text: str) -> bool:
        whole = self.whole(text)
        if whole is not None:
            return whole
        found = set(self.mentions(text))
        if len(found) == 1:
            return bool(found.pop())
        raise Unparsed(f"{quoted(text)} says {'both' if found else 'neither'} true {'and' if found else 'nor'} false")

    def whole(self, text: str) -> bool | None:
        return verdict(text)

    def places(self, text: str) -> list[Mention]:
        return verdicts(text)

    def declines(self, text: str) -> bool:
        return _HALF.search(text) is not None or super().declines(text)

    def pick(self, passage: Passage) -> bool | None:
        lettered = None
        if passage.is_marked or passage.opens or len(passage.text) <= _LETTER_ALONE:
            lettered = lettered_verdict(passage.text, passage.question)
        if lettered is not None and not self._named_otherwise(passage.text, lettered):
            return lettered
        found: bool | None = super().pick(passage)
        if found is not None or passage.opens:
            return found
        restated = restated_verdict(passage.text, asked_question(passage.question))
        if restated is not None or self.places(passage.text):
            return restated
        judged: bool | None = self.one_value(passage, judgements(passage.text))
        return judged

    def _named_otherwise(self, text: str, lettered: bool) -> bool:
        """Tell whether the word after a letter contradicts the question's: `(B) Yes` for `(B) No`."""
        named = self.places(text[:20])
        return bool(named) and begins(text, named[0]) and named[0].value is not lettered

    def affirmed(self, text: str, named: Sequence[Mention]) -> list[Mention]:
        return without_asides(text, named)  # what is denied has been turned round

    def expression(self, grammar: Grammar) -> str:
        return one_of(self.alternatives())

    def schema(self) -> Mapping[str, Any]:
        return {"type": "boolean"}

    def json_value(self, value: Any) -> bool:
        self.format(value)
        return bool(value)

    def from_json(self, value: Any) -> bool:
        return value if isinstance(value, bool) else bool(super().from_json(value))

    def vote_key(self, value: Any) -> Hashable:
        return ("boolean", value)

    def description(self) -> Mapping[str, Any]:
        return {}

    def alternatives(self) -> tuple[str, ...]:
        return ("true", "false")
