"""Choices: one of several options, named by its letter or by its text."""

from __future__ import annotations

import re
from collections.abc import Hashable, Mapping
from dataclasses import replace
from string import ascii_uppercase
from typing import Any, Final

from promptkit.answers.base import Unparsed, quoted
from promptkit.answers.closed_sets import ClosedSet, as_text, check_known
from promptkit.answers.constraints.gbnf import Grammar, one_of
from promptkit.answers.labels import LISTED, Named, without_names
from promptkit.answers.reader.contrast import Mention
from promptkit.answers.reader.numerals import plain_math
from promptkit.answers.reader.passages import MAX_PASSAGE, Passage
from promptkit.answers.reader.refusals import declines
from promptkit.errors import InputError

_ARTICLE = r"(?<=A) (?!(?:and|as|because|but|if|is|nor|not|or|since|was)\b)[a-z]"
# Joins two letters into one answer.
_JOINED = r"[\s).:\]*]*(?:\([^()\n]{0,40}\)\s?)?(?:(?:and|or|nor)\b|[/&|+,])[\s(\[*]*"
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
        keys = [_plainly(option) for option in self.options]
        self._plain = {key: self.options[at] for at, key in enumerate(keys) if key and keys.count(key) == 1}
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
        named = [
            Mention(start, end, self._named(name))
            for start, end, name in self._names.places(text)
            if not _in_number(text, start, end)
        ]
        # A letter inside an option's text, such as `Vitamin C`, is a part of it.
        inside = {at for mention in named for at in range(mention.start, mention.end) if len(mention.value.strip()) > 1}
        letters = [
            Mention(match.start(1), match.end(1), self._option(match.group(1)))
            for match in (*self._letter.finditer(text), *self._small_letter.finditer(text))
            if match.start(1) not in inside and not _in_formula(text, match.start(1), match.end(1))
        ]
        letters.sort(key=lambda mention: mention.start)
        texts = {mention.start: mention for mention in named}
        return [_with_text(text, letter, texts) for letter in letters] or named

    def pick(self, passage: Passage) -> str | None:
        if passage.opens and len(set(LISTED.findall(passage.paragraph))) > 1:
            return None
        alone = self._alone.fullmatch(passage.text) if passage.is_marked else None
        if alone:
            return self._option(alone.group(1))
        if passage.is_marked and _plainly(passage.text) in self._plain:
            return self._plain[_plainly(passage.text)]
        if not (passage.is_marked or passage.opens) and not self._is_told(passage):
            return None
        right = passage.text.rpartition("=")[2]
        if not any("=" in option for option in self.options) and not self._letter.search(passage.text):
            is_amount = any(character.isdigit() for option in self.options for character in option)
            passage = replace(passage, text=right) if is_amount or self.places(right) else passage
        found: str | None = super().pick(passage)
        return found

    def declines(self, text: str) -> bool:
        named = [Mention(start, end, name) for start, end, name in self._names.places(text)]
        return declines(without_names(text, named))

    def _is_told(self, passage: Passage) -> bool:
        """Tell whether a sentence that nothing marks says an option rather than computes with letters and numbers."""
        named = self.places(passage.text)
        if any(_is_pointed_out(passage.text, mention) for mention in named):
            return True
        is_ended = len(passage.text) <= _FEW or passage.text.rstrip()[-1:] in _ENDS
        is_plain = len(passage.paragraph) <= _BRIEF and len(passage.text) <= _SHORT and "=" not in passage.text
        return bool(named) and is_ended and (is_plain or not passage.is_weak)

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


_LETTER_END: Final = re.compile(r"[\s).:\]*_\"'“-]{1,6}")


def _with_text(text: str, letter: Mention, texts: Mapping[int, Mention]) -> Mention:
    """Return the mention of a letter with its option's text after it: `(C) Cannot be determined`."""
    after = _LETTER_END.match(text, letter.end)
    named = texts.get(after.end()) if after else None
    return replace(letter, end=named.end) if named and named.value == letter.value else letter


_UNSEEN: Final = re.compile(r"[\s$*{}]+")


def _plainly(text: str) -> str:
    """Return an option, or a text that is one, without spaces, LaTeX and a full stop: `36cm` for `$36$ cm.`"""
    return _UNSEEN.sub("", plain_math(text[:MAX_PASSAGE])).rstrip(".").casefold()


_SHORT: Final = 150
_BRIEF: Final = 400
_FEW: Final = 60
_ENDS: Final = frozenset(".!?。！？)]}*\"'”’`_$")
_FORMULA_BEFORE: Final = re.compile(
    r"[\\$^_=<>≈×·°√∠△|{0-9]\s?$|\\[\[(]\s?$|[0-9]\s?\\?(?:text|mathrm|rm)?\s?\{?\s?~?\s?$|[-−]$"
    r"|\b(?:vertex|vertices|points?|triangle|angles?|lines?|segments?|sides?|at|between(?:\s\S{1,3}\sand)?|through|hepatitis|type|grade|plan"
    r"|vitamin)\s$",
    re.IGNORECASE,
)
_FORMULA_AFTER: Final = re.compile(r"\s?(?:[=^_<>≈×·|$\\]|[-−/][0-9]|\})|\([A-Za-z0-9]{1,3}\)")
_DRESSED: Final = re.compile(r"(?:\*\*|\$?\\(?:boxed|text|textbf|mathbf|mathrm)\{)\(?$")
_NUMBER_BEFORE: Final = re.compile(r"(?:[0-9][.,/:^]?|[0-9] ?[-–/×·*+] ?|[\^_√]\{?|(?:^|[\s(=])[-−])$")
_NUMBER_AFTER: Final = re.compile(r"[.,/:^][0-9]|[0-9]|\s?[%°](?!\w)|\s?[/^]\s?[0-9]")
_POINTED_BEFORE: Final = re.compile(
    r"(?:\b(?:option|choice|answer|letter|choose|pick|select|antwort|option|réponse|respuesta|opción|risposta|opzione"
    r"|resposta|opção|antwoord|optie|odpowiedź|ответ|вариант)(?: is| ist| est| es| è| é)?"
    r"|\bis|选项|選項|答案|选|選|为|為|是)[\s\"'“*_`(\[]{0,6}$|[(\[]$|\*\*$",
    re.IGNORECASE,
)


def _in_number(text: str, start: int, end: int) -> bool:
    """Tell whether a name that begins or ends with a digit is a part of a longer number: `5` in `0.25`, `5%`."""
    if text[start].isdigit() and _NUMBER_BEFORE.search(text[max(0, start - 4) : start]):
        return True
    return text[end - 1].isdigit() and _NUMBER_AFTER.match(text[end : end + 4]) is not None


def _in_formula(text: str, start: int, end: int) -> bool:
    """Tell whether a letter stands for a quantity or a unit: `$T$`, `E = 5`, `10 J`."""
    before = text[max(0, start - 16) : start]
    if _DRESSED.search(before):
        return False
    return _FORMULA_BEFORE.search(before) is not None or _FORMULA_AFTER.match(text[end : end + 6]) is not None


def _is_pointed_out(text: str, mention: Mention) -> bool:
    """Tell whether a mention is a letter in brackets or in bold, or follows `option`, `answer` or `is`."""
    if text[mention.start + 1 : mention.start + 2].isalnum():
        return False
    return _POINTED_BEFORE.search(text[max(0, mention.start - 30) : mention.start]) is not None
