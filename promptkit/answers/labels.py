"""Answers from a closed set: one label, several labels, a lettered option, true or false."""

from __future__ import annotations

import re
from abc import abstractmethod
from collections.abc import Hashable, Iterator, Mapping, Sequence
from dataclasses import replace
from string import ascii_uppercase
from typing import Any, Final

from promptkit.answers.base import AnswerType, Unparsed, quoted
from promptkit.answers.closed_sets import ClosedSet, as_text, check_known, read_names, separator_for
from promptkit.answers.constraints.gbnf import Grammar, literal, one_of
from promptkit.answers.lists import EMPTY, says_none, without_bullet
from promptkit.answers.reader.contrast import Mention, affirmed, in_bold, is_denied, joined_group, without_asides
from promptkit.answers.reader.passages import MAX_PASSAGE, Passage
from promptkit.answers.reader.refusals import declines
from promptkit.answers.reader.restatement import asked_question, restated_verdict
from promptkit.answers.reader.verdicts import judgements, verdict, verdicts
from promptkit.errors import InputError


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
        return declines(_without_names(text, self.places(text)))


def _without_names(text: str, named: Sequence[Mention]) -> str:
    """Return a text in which names that are themselves refusals (`unknown`, `none of the above`) are blanks."""
    for mention in named:
        if declines(text[mention.start : mention.end]):
            text = text[: mention.start] + "·" * (mention.end - mention.start) + text[mention.end :]
    return text


_BEGINNING: Final = re.compile(
    r"[\s\"'“‘*_`(\[{#>.:-]*(?:(?:the|option|choice|answer|label|category|class)\s)?[\s\"'“‘*_`(\[]*", re.IGNORECASE
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
            raise ValueError(f"{value!r} is not a list of labels")
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
        return declines(_without_names(text, names_in(self._names, text)))

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
_ARTICLE = r"(?<=A) (?!(?:and|as|because|but|if|is|nor|not|or|since|was)\b)[a-z]"
# Joins two letters into one answer.
_JOINED = r"[\s).:\]*]*(?:(?:and|or|nor)\b|[/&|+,])[\s(\[*]*"
_LISTED: Final = re.compile(r"^\W*([A-Z])[).:]", re.MULTILINE)
_NAMES_SEVERAL = "names several options"


class Choice(Named):
    """One of a row's options. The model writes its letter; the value is the option's text."""

    name = "choice"
    max_tokens = 8

    def __init__(self, options: Any) -> None:
        if not isinstance(options, list | tuple) or not options:
            raise InputError(f"choice must be a list of options, not {quoted(str(options))}")
        if len(options) > len(ascii_uppercase):
            raise InputError(f"choice takes at most {len(ascii_uppercase)} options, not {len(options)}")
        texts = [as_text(option) for option in options]
        if None in texts or any(not text or not text.strip() for text in texts):
            raise InputError("choice: each option must be a text, and not blank")
        self.options = tuple(text for text in texts if text is not None)
        self.letters = ascii_uppercase[: len(self.options)]
        self._names = ClosedSet(tuple(dict.fromkeys(option.strip() for option in self.options)))
        letters = f"[{self.letters[0]}-{self.letters[-1]}]"
        self._letter = re.compile(rf"(?<![A-Za-z0-9_'’])\(?({letters})(?![A-Za-z0-9_'’])(?!{_ARTICLE})")
        self._alone = re.compile(rf"\W*(?:(?:option|choice|answer)\W+)?({letters})\W*", re.IGNORECASE)
        self._answer = re.compile(rf"\W*({letters})(?:\W*|[).:\]]+\s.*)", re.IGNORECASE | re.DOTALL)
        self._small_letter = re.compile(rf"\b(?:option|choice|answer(?: is)?) \(({letters.lower()})\)")
        self._several = re.compile(rf"(?<![\w'’])({letters})\b{_JOINED}({letters})\b(?!['’])")

    def format(self, value: Any) -> str:
        return self.letters[self.options.index(check_known(value, self.options, "option"))]

    def read(self, text: str) -> str:
        text = text.strip()
        lettered = self._answer.fullmatch(text)
        if lettered:
            self._check_alone(text, lettered.start(1))
            return self._option(lettered.group(1))
        named = self._named(text)
        if named is not None:
            return named
        found = set(self.mentions(text))
        if len(found) == 1:
            return str(found.pop())
        if found:
            raise Unparsed(f"{quoted(text)} {_NAMES_SEVERAL}")
        raise Unparsed(f"{quoted(text)} is none of the letters {', '.join(self.letters)}")

    def whole(self, text: str) -> str | None:
        lettered = self._alone.fullmatch(text.strip())
        return self._option(lettered.group(1)) if lettered else self._named(text)

    def places(self, text: str) -> list[Mention]:
        letters = [
            Mention(match.start(1), match.end(1), self._option(match.group(1)))
            for match in (*self._letter.finditer(text), *self._small_letter.finditer(text))
        ]
        letters.sort(key=lambda mention: mention.start)
        return letters or [Mention(start, end, self._named(name)) for start, end, name in self._names.places(text)]

    def pick(self, passage: Passage) -> str | None:
        if passage.opens and len(set(_LISTED.findall(passage.paragraph))) > 1:
            return None
        if "=" in passage.text and not self._letter.search(passage.text):
            passage = replace(passage, text=passage.text.rpartition("=")[2])
        found: str | None = super().pick(passage)
        return found

    def expression(self, grammar: Grammar) -> str:
        return one_of(self.letters)

    def schema(self) -> Mapping[str, Any]:
        return {"type": "string", "enum": list(self.letters)}

    def vote_key(self, value: Any) -> Hashable:
        return str(value)

    def description(self) -> Mapping[str, Any]:
        return {
            "options": [
                {"letter": letter, "text": option} for letter, option in zip(self.letters, self.options, strict=True)
            ]
        }

    def alternatives(self) -> tuple[str, ...]:
        return tuple(self.letters)

    def _check_alone(self, text: str, start: int) -> None:
        """Raise Unparsed where the letter at `start` is the first of several joined ones: `A or B`."""
        if self._several.match(text, start):
            raise Unparsed(f"{quoted(text)} {_NAMES_SEVERAL}")

    def _option(self, letter: str) -> str:
        return self.options[self.letters.index(letter.upper())]

    def _named(self, text: str) -> str | None:
        name = self._names.whole(text)
        return None if name is None else next(option for option in self.options if option.strip() == name)


_HALF: Final = re.compile(
    r"\b(?:partly|partially|half|sometimes|possibly|maybe|perhaps|somewhat|not entirely|not completely)\s(?:true|false"
    r"|yes|no|correct)\b",
    re.IGNORECASE,
)


class Boolean(Named):
    """Written `true` or `false`; `yes` and `no` are read as well."""

    name = "boolean"
    writes_json = True
    max_tokens = 8

    def format(self, value: Any) -> str:
        if not isinstance(value, bool):
            raise ValueError(f"{value!r} is neither true nor false")
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
        found: bool | None = super().pick(passage)
        if found is not None or passage.opens:
            return found
        restated = restated_verdict(passage.text, asked_question(passage.question))
        if restated is not None or self.places(passage.text):
            return restated
        judged: bool | None = self.one_value(passage, judgements(passage.text))
        return judged

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
