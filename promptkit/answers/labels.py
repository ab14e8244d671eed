"""Labels: one of a closed set of texts, or several of them."""

from __future__ import annotations

import re
from abc import abstractmethod
from collections.abc import Hashable, Iterator, Mapping, Sequence
from typing import Any, Final

from promptkit.answers.base import AnswerType, Unparsed, shown
from promptkit.answers.closed_sets import ClosedSet, check_known, read_names, separator_for
from promptkit.answers.constraints.gbnf import Grammar, literal, one_of
from promptkit.answers.lists import EMPTY, says_none, without_bullet
from promptkit.answers.reader.contrast import Mention, affirmed, in_bold, is_denied, joined_group
from promptkit.answers.reader.passages import MAX_PASSAGE, Passage
from promptkit.answers.reader.refusals import declines


class Named(AnswerType):
    """One of a closed set of answers. A reply may name others of them too."""

    @abstractmethod
    def places(self, text: str) -> list[Mention]:
        """Return the answers that a text names, with their places, in order."""

    def mentions(self, text: str) -> Iterator[Any]:
        return (mention.value for mention in self.places(text))

    def pick(self, passage: Passage) -> Any:
        named = self.places(passage.text)
        if not named or (passage.opens and not begins(passage.text, named[0])):
            return None
        if not passage.is_marked and _is_listed(passage):
            return None
        return self.one_value(passage, named)

    def one_value(self, passage: Passage, named: Sequence[Mention]) -> Any:
        """Return the one value that a passage affirms, in bold or at all, else None. Raises Unparsed for several."""
        text, kept = passage.text, []
        for candidates in (in_bold(text, named), named):
            kept = self.affirmed(text, candidates)
            is_first = kept and (passage.is_marked or passage.opens) and begins(text, candidates[0])
            if is_first and not joined_group(text, candidates, 0) and candidates[0] in kept:
                return candidates[0].value
            if len({mention.value for mention in kept}) == 1:
                return kept[0].value
        if kept and not passage.opens:
            raise self.fault(text)
        return None

    def affirmed(self, text: str, named: Sequence[Mention]) -> list[Mention]:
        """Return the mentions that a sentence affirms."""
        return affirmed(text, named)

    def declines(self, text: str) -> bool:
        return declines(without_names(text, self.places(text)))


def without_names(text: str, named: Sequence[Mention]) -> str:
    """Return a text in which names that are themselves refusals (`unknown`, `none of the above`) are blanks."""
    for mention in named:
        if declines(text[mention.start : mention.end]):
            text = text[: mention.start] + "·" * (mention.end - mention.start) + text[mention.end :]
    return text


LISTED: Final = re.compile(r"^\W*([A-Z])[).:]", re.MULTILINE)
_JUDGED: Final = re.compile(
    r"\b(?:correct|right|true|best|answer|richtig|correcte?|correct[ao])\b|✓|✔|✅|正确|对", re.IGNORECASE
)


def _is_listed(passage: Passage) -> bool:
    """Tell whether a passage is one of several lettered lines that only list the options."""
    lines = [line for line in passage.paragraph[:MAX_PASSAGE].split("\n") if LISTED.match(line)]
    held = next((line for line in lines if passage.text.strip() in line), None)
    if held is None or len({line.strip()[:2] for line in lines}) < 2:
        return False
    return _JUDGED.search(held) is None


_BEGINNING: Final = re.compile(
    r"[\s\"'“‘*_`(\[{#>.:-]*(?:(?:the|option|choice|answer|label|category|class)\s)?(?:[(\[]?[A-H][).:\]]{1,2}\s)?"
    r"[\s\"'“‘*_`(\[]*",
    re.IGNORECASE,
)
_VERDICT_END: Final = re.compile(
    r"[\"'”’*_`)\]}]{0,4}\s?(?:$|[.,;:!)(\n–—/-]|\s?(?:because|since|as|due|rather|not|but|over|with|out|of)\b)",
    re.IGNORECASE,
)


def begins(text: str, mention: Mention) -> bool:
    """Tell whether a text begins with a mention as its verdict: `B, since …`."""
    before = _BEGINNING.fullmatch(text, 0, mention.start) is not None
    return before and _VERDICT_END.match(text, mention.end) is not None


_RATED: Final = re.compile(r"\W*([0-9]+)\s?(?:/|out of|of)\s?[0-9]+\W*")


class Label(Named):
    """One label; `labels` maps each to its definition ('' where it has none)."""

    name = "label"
    max_tokens = 32

    def __init__(self, labels: Any) -> None:
        self.labels = read_names(labels, "label")
        self._names = ClosedSet(tuple(self.labels))
        self.max_tokens = max(32, max(map(len, self.labels)))

    def format(self, value: Any) -> str:
        return check_known(value, self.labels, "label")

    def read(self, text: str) -> str:
        return self._names.only(text)

    def whole(self, text: str) -> str | None:
        rated = _RATED.fullmatch(text.strip())
        return self._names.whole(rated[1] if rated and rated[1] in self.labels else text)

    def places(self, text: str) -> list[Mention]:
        return names_in(self._names, text)

    def expression(self, grammar: Grammar) -> str:
        return grammar.rule("label", one_of(self.labels))

    def schema(self) -> Mapping[str, Any]:
        return {"type": "string", "enum": list(self.labels)}

    def vote_key(self, value: Any) -> Hashable:
        return str(value)

    def description(self) -> Mapping[str, Any]:
        return {
            "labels": [{"label": label, "definition": text} for label, text in self.labels.items()],
            "separator": separator_for(self.labels),
        }

    def alternatives(self) -> tuple[str, ...]:
        return self._names.names


_WORD_AFTER: Final = re.compile(r" [a-z]")


def names_in(names: ClosedSet, text: str) -> list[Mention]:
    """Return the names in a text; a single letter counts in its own case, and not as an article."""
    return [
        Mention(start, end, name)
        for start, end, name in names.places(text)
        if end - start > 1 or not name.isalpha() or (text[start] == name and not _WORD_AFTER.match(text, end))
    ]


_BULLETED: Final = re.compile(r"^[ \t]*(?:[-*•–]|[0-9]{1,2}[.)])[ \t]", re.MULTILINE)


class Labels(AnswerType):
    """A list of distinct labels, separated by the first of comma, semicolon and line break that no label contains."""

    name = "labels"

    def __init__(self, labels: Any) -> None:
        self.labels = read_names(labels, "labels")
        self._names = ClosedSet(tuple(self.labels))
        self.separator = separator_for(self.labels)
        self.may_be_empty = self._names.whole(EMPTY) is None
        self.max_tokens = max(64, sum(len(label) + 2 for label in self.labels))

    def format(self, value: Any) -> str:
        if not isinstance(value, list):
            raise ValueError(f"{shown(value)} is not a list of labels")
        if not value:
            return EMPTY
        return self.separator.join(check_known(label, self.labels, "label") for label in value)

    def read(self, text: str) -> list[str]:
        if self.may_be_empty and says_none(text):
            return []
        separated = self._separated(text)
        if separated is not None:
            return separated
        mentioned = list(dict.fromkeys(self.mentions(text)))
        if not mentioned:
            return [self._names.only(text)]
        return mentioned

    def mentions(self, text: str) -> Iterator[str]:
        return self._names.mentions(text)

    def whole(self, text: str) -> list[str] | None:
        if self.may_be_empty and says_none(text):
            return []
        return self._separated(text)

    def pick(self, passage: Passage) -> list[str] | None:
        if passage.opens:
            return None
        text = passage.paragraph[:MAX_PASSAGE] if _BULLETED.search(passage.paragraph) else passage.text
        if passage.is_marked:
            whole = self.whole(text)
            if whole is not None:
                return whole
        named = names_in(self._names, text)
        kept = [mention.value for mention in named if not is_denied(text, mention)]
        return list(dict.fromkeys(kept)) or None

    def declines(self, text: str) -> bool:
        if self.may_be_empty and says_none(text):
            return False
        return declines(without_names(text, names_in(self._names, text)))

    def _separated(self, text: str) -> list[str] | None:
        """Return the labels of a text that holds nothing else; None for any other."""
        for mark in dict.fromkeys((self.separator[0], "\n", ";", ",")):
            found = [self._names.whole(without_bullet(part)) for part in text.split(mark) if part.strip()]
            if found and None not in found:
                return list(dict.fromkeys(label for label in found if label is not None))
        return None

    def expression(self, grammar: Grammar) -> str:
        label = grammar.rule("label", one_of(self.labels))
        more = f" ({literal(self.separator)} {label}){{0,{len(self.labels) - 1}}}" if len(self.labels) > 1 else ""
        return f"{literal(EMPTY)} | {label}{more}" if self.may_be_empty else f"{label}{more}"

    def schema(self) -> Mapping[str, Any]:
        items = {"type": "string", "enum": list(self.labels)}
        least = {} if self.may_be_empty else {"minItems": 1}
        return {"type": "array", "items": items, **least, "maxItems": len(self.labels)}

    def json_value(self, value: Any) -> list[str]:
        self.format(value)
        return list(value)

    def from_json(self, value: Any) -> list[str]:
        if not isinstance(value, list) or not all(isinstance(label, str) for label in value):
            return list(super().from_json(value))
        if not value and not self.may_be_empty:
            raise Unparsed("the list is empty")
        return list(dict.fromkeys(self._names.only(label) for label in value))

    def vote_key(self, value: Any) -> Hashable:
        return frozenset(value)

    def description(self) -> Mapping[str, Any]:
        return {
            "labels": [{"label": label, "definition": text} for label, text in self.labels.items()],
            "separator": self.separator,
            "empty": EMPTY if self.may_be_empty else "",
        }


# `A` before a small letter is an article, except before words that take no article.
