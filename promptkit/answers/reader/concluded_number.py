"""The number that a passage of a reply gives as its answer, among others that it mentions."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from decimal import Decimal
from itertools import pairwise
from typing import Final

from promptkit.answers.base import Unparsed, quoted
from promptkit.answers.reader.numerals import Numeral, numerals, plain_math, word_numerals
from promptkit.answers.reader.passages import BOLD, MAX_PASSAGE, Passage

_AROUND: Final = r"[\s\"'“”‘’*_`(){}\[\]$€£¥₹≈~=:#<>|]*"
_ROUGHLY: Final = (
    r"(?:(?:about|approximately|approx\.?|around|roughly|nearly|exactly|only|just|ca\.?|circa|etwa|environ|约|大约|usd"
    r"|eur|gbp|rs\.?)\s)?"
)
_BEFORE_ALONE: Final = re.compile(
    rf"{_AROUND}(?:[a-zA-Zα-ω](?:\([a-z]\)|_\w)?\s?[=≈:]\s?|\w{{1,3}}\s?[=≈]\s?)?{_ROUGHLY}{_AROUND}", re.IGNORECASE
)
_UNIT: Final = (
    r"(?:(?:(?!(?:and|or|to|minus|plus|times|but|not|is|are|was|und|oder|et|ou|y|o)\b)[^\W\d_]{1,20}[.²³]?"
    r"|[%°Åµμ/‰]{1,3}[A-Za-z]{0,3}|个|元|岁)\s?){0,3}"
)
_AFTER_ALONE: Final = re.compile(rf"\s?-?{_UNIT}{_AROUND}[.!。]?{_AROUND}", re.IGNORECASE)
_VERDICT: Final = re.compile(
    rf"[*_`\"'”)\]$]{{0,4}}\s?-?{_UNIT}[*_`\"'”)\]$]{{0,4}}(?:[.,;:!]?$|[.,;:!](?=\s)|\s?\(|\s[–—-]\s|\s(?:because|since|as|due)\b)",
    re.IGNORECASE,
)
_OPERATOR: Final = re.compile(r"[\s$€£*_)]{0,3}[a-zA-Z%°²³]{0,10}\s?(?:[-+×·÷^/−–]|\*(?!\*))\s?[$€£(]{0,2}\s?[0-9(]")
_DENIED: Final = re.compile(
    r"(?:\b(?:not|rather than|instead of|than|nicht|no longer|except|excluding)|n['’]t)\s(?:be\s|just\s"
    r"|only\s)?[$€£*]{0,3}$",
    re.IGNORECASE,
)
_OUT_OF: Final = re.compile(
    r"(?:\bout of|[0-9]\W{0,3}(?:stars )?(?:of|von|sur|de)|[0-9] ?/)\s?[$*]{0,2}$", re.IGNORECASE
)
_ARITHMETIC: Final = re.compile(r"[-+*/×=]")
_RANGE: Final = re.compile(
    r"\s?[$€£%]?(?:-|–|—|~|\.\.|\bto\b|\bor\b|\band\b|\bthrough\b|\bbis\b|\boder\b|\bund\b|\bou\b|\bet\b|\bo\b|\by\b|和|或|到|至|、|,(?:\s(?:and|or|und|oder|et|ou|y|o)\b)?(?:\s?(?:…|\.\.\.|\\[lc]?dots),?)?)\s?[$€£~]?|"
    r"\s\w{1,2}\s?=\s?|\s?,?\s?(?:or|and|,)\s\w\s?=\s?",
    re.IGNORECASE,
)
_REMARK: Final = re.compile(
    r",?\s\(|\safter \w+ing\b|,\s(?:which|i\.e\.|that is|or\b|corresponding|compared|so\b"
    r"|with|after|since|because|leaving|meaning|as\b"
    r"|and\b|but|"
    r"while|due|not\b|of (?:which|whom)|[0-9]+ (?:more|fewer|less|of)|the same)|\sor (?=[$€£]?[0-9])|\s(?:more|fewer"
    r"|less|greater) than|"
    r"\s(?:because|since)\b|\s[–—]\s|;\s",
    re.IGNORECASE,
)
_TURN: Final = re.compile(
    r"\b(?:so|therefore|thus|hence|then|leaving|leaves|which (?:means|leaves|gives|makes)|meaning|totall?ing|(?:for"
    r"|giving) a total of)\b",
    re.IGNORECASE,
)
_DEMOTED: Final = re.compile(
    r"\b(?:after|in|for|every|each|per|within|all|these|those|of|from|at|on|by|with|among|between|day|step|year"
    r"|question|the first|the last|the other|"
    r"his|her|their|its|the|giving|other|if|when|since|between|using|option|case|example|number|note|take|takes"
    r"|(?:at|when|where|with|for|if)\s\$?[a-z]\s?=|at least|at most"
    r"|(?:less|more|fewer|lower|higher|greater|older|younger) than"
    r"|above|below|between\s\S{1,20}\sand|subtract(?:ing)?|add(?:ing)?|remov(?:e|ing)|dividing|multiplying)\s(?:the\s|all\s|these\s)?[$€£*]{0,3}$",
    re.IGNORECASE,
)
_RATED: Final = re.compile(
    r"\b(?:score|rating|rate|grade|stars?|points?|marks?|bewertung|note|nota|punkte)\b", re.IGNORECASE
)
_HOW_MANY_MORE: Final = re.compile(
    r"\bhow (?:many|much) (more|fewer|less)\b(?![^?]*\bhow (?:many|much)\b)", re.IGNORECASE
)
_UNIT_BREAK: Final = re.compile(
    r"\s?(?:hours?|hrs?|h|feet|foot|ft|pounds?|lbs?|minutes?|mins?|days?|weeks?|years?|dollars?|yards?|degrees?)\s?(?:and|,)?\s?",
    re.IGNORECASE,
)
_ALTERNATIVES: Final = re.compile(r"±|\\pm|[0-9]!|\b(?:or|and)\b")
_EQUALS: Final = re.compile(
    r"[=≈]|\bequals\b|\bis equal to\b|(?<=[0-9]) is (?=[$*]{0,3}[0-9])"
    r"|\b(?:which|that) (?:is|gives|makes|equals|comes to|would be)(?= {0,2}[$€£*(]{0,3}[0-9][0-9.,]{0,20}\b"
    r"(?! ?(?:[-+*/×]|(?:more|less|fewer|times|minus|plus|percent|greater|higher|lower|larger|smaller|of|out)\b)))"
)
_TOTAL: Final = re.compile(r"\ba (?:grand )?total of\b", re.IGNORECASE)
_DIVIDED: Final = re.compile(r"\s?[^\W\d_]{0,20}\s?[:÷/]\s?[0-9]+[^=\n]{0,30}=")
# `The maximum is 5 at x = 2.`
_CONDITION: Final = re.compile(r"[\w%]\s(?:at|when|where|if|with|for)\s[$(]?[a-zA-Z]\s?\$?$")
_SEPARATED: Final = re.compile(r"[,;:](?!\d)|\bso\b")
_BEFORE_VALUE: Final = re.compile(r"[\s$€£*_(~≈:#°a-zA-Z]{0,30}")
# `x = 2 or x` before `= 3`
_ALTERNATIVE: Final = re.compile(r"[0-9)]\W{0,3}(?:or|and|,)\W{0,3}[a-zA-Z]{1,2}\W{0,3}$")
_SYMBOLS: Final = re.compile(r"[√π^∞]|\\(?:sqrt|pi|infty|log|sin|cos|binom)")
_POWER_OF_UNIT: Final = re.compile(r"\b(?:[a-zA-Z]{2,9}|m)\s?\^\{?[23]\}?")
_VARIABLE: Final = re.compile(r"(?<![A-Za-z\\])[a-zA-Z](?![A-Za-z'’.])")

MAX_WHOLE: Final = 120
"""Number of characters of a reply that may be a number alone."""

MAX_EQUATIONS: Final = 8
"""Number of equations that are looked at from a passage's end."""

Fits = Callable[[Numeral], bool]


def whole_number(text: str, fits: Fits) -> Numeral | None:
    """Return the number that a reply is, with its unit, emphasis or `x =`; None where it says more."""
    text = text.strip()
    if len(text) > MAX_WHOLE:
        return None
    text = plain_math(text)
    found = numerals(text) or word_numerals(text)
    if not found or len({numeral.value for numeral in found}) > 1:
        return None
    first, last = found[0], found[-1]
    if not _BEFORE_ALONE.fullmatch(text, 0, first.start) or not _AFTER_ALONE.fullmatch(text, last.end):
        return None
    if _ARITHMETIC.search(text, first.end, last.start):
        return None
    return first if fits(first) else _numerator(text, first, fits)


def number_of(passage: Passage, fits: Fits) -> Numeral | None:
    """Return the number that a passage gives as the answer; None where it gives none, several or a range."""
    text = plain_math(passage.text).strip()
    found = numerals(text)
    if not found:
        return _of_words(text, passage, fits)
    if passage.rule == "boxed":
        return _boxed(text, found, fits)
    if passage.opens:
        lines = passage.paragraph.split("\n")[1:2]
        if any(re.match(r"\W*[0-9]+\W*$", line) for line in lines):
            return None  # a column of numbers
        if len(found) > 2 and _are_joined(text, found[0], found[1]) and _are_joined(text, found[1], found[2]):
            return None
        return None if _DIVIDED.match(text, found[0].end) else _verdict(text, found[0], fits)
    return _chosen(text, found, passage, fits)


def _of_words(text: str, passage: Passage, fits: Fits) -> Numeral | None:
    words = word_numerals(text)
    values = {numeral.value for numeral in words if fits(numeral)}
    if len(values) != 1 or (passage.opens and whole_number(text, fits) is None):
        return None
    return next(numeral for numeral in words if numeral.value in values)


def _boxed(text: str, found: Sequence[Numeral], fits: Fits) -> Numeral | None:
    """Return the number of a box, which holds nothing but it, its unit and perhaps `x =`."""
    right = re.split(r"[=≈]", text)[-1].strip()
    inner = numerals(right)
    if (
        _ALTERNATIVES.search(text)
        or not inner
        or len({numeral.value for numeral in inner}) > 1
        or inner[0].value is None
    ):
        return None
    rest = _POWER_OF_UNIT.sub("units", right[: inner[0].start] + " " + right[inner[-1].end :])
    if _SYMBOLS.search(rest) or (
        _VARIABLE.search(rest) and not re.search(r"[A-Za-z]{2}|°|(?<!\w)[mgsLlhNJWVAKCF](?!\w)", rest)
    ):
        return None
    return inner[0] if fits(inner[0]) else _numerator(right, inner[0], fits)


def _verdict(text: str, first: Numeral, fits: Fits) -> Numeral | None:
    """Return the number that a reply begins with, as its verdict: `5, since …`."""
    if not _BEFORE_ALONE.fullmatch(text, 0, first.start) or not _VERDICT.match(text, first.end):
        return None
    if _OPERATOR.match(text, first.end) or re.fullmatch(r"\W*[0-9]{1,2}[.):]\W*", text):
        whole = re.fullmatch(r"\W*[0-9]{1,2}[.):]\W*", text) is not None
        return first if whole and fits(first) else None
    return first if fits(first) else _numerator(text, first, fits)


def _chosen(text: str, found: list[Numeral], passage: Passage, fits: Fits) -> Numeral | None:
    candidates = list(_candidates(text, found, passage, fits))
    if not candidates:
        return None
    compared = _compared(text, candidates, passage.question)
    if compared is not None:
        return compared
    for choice in (_bold, _total, _right_side):
        chosen = choice(text, candidates, passage)
        if chosen is not None:
            return chosen
    return _left(text, candidates, passage, found)


def _candidates(text: str, found: Sequence[Numeral], passage: Passage, fits: Fits) -> Iterator[Numeral]:
    """Yield the numbers that fit and are not denied; of a rating such as `4/5` and `4 of 5` the first one."""
    rated = _RATED.search(passage.lead + text) is not None
    for at, numeral in enumerate(found):
        before = text[max(0, numeral.start - 30) : numeral.start]
        numerator = _numerator(text, numeral, fits) if rated or not fits(numeral) else None
        if numerator is not None:
            yield numerator
        elif (
            fits(numeral)
            and not _is_ratio(text, numeral)
            and not _DENIED.search(before)
            and not (at and _OUT_OF.search(before))
        ):
            yield numeral


def _is_ratio(text: str, numeral: Numeral) -> bool:
    """Tell whether a number is a part of a ratio such as `3:4`."""
    before = re.search(r"[0-9]:$", text[max(0, numeral.start - 2) : numeral.start])
    return before is not None or re.match(r":[0-9]", text[numeral.end : numeral.end + 2]) is not None


def _compared(text: str, candidates: Sequence[Numeral], question: str) -> Numeral | None:
    """Return the number of `184 more` where the question is `how many more`."""
    asked = _HOW_MANY_MORE.search(question)
    if asked is None:
        return None
    found = [
        n
        for n in candidates
        if re.match(rf"[*\s]{{0,3}}(?:\w{{1,20}}\s)?{asked[1]}\b", text[n.end : n.end + 40], re.IGNORECASE)
    ]
    return found[-1] if found else None


def _bold(text: str, candidates: Sequence[Numeral], passage: Passage) -> Numeral | None:
    """Return the number in bold; the first of several after a marker, else the last."""
    spans = [match.span() for match in BOLD.finditer(text)]
    inside = [n for n in candidates if any(start <= n.start and n.end <= end for start, end in spans)]
    if not inside or (len(spans) == 1 and spans[0][1] - spans[0][0] > 60):
        return None
    if "=" in text and len({n.value for n in inside}) > 1:
        return None
    if len({n.value for n in inside}) > 1 and _are_joined(text, inside[0], inside[1]):
        return None
    return inside[0] if passage.is_marked else inside[-1]


def _total(text: str, candidates: Sequence[Numeral], passage: Passage) -> Numeral | None:
    """Return the number after `for a total of`, unless an equation follows."""
    found = _TOTAL.search(text)
    if found is None or _EQUALS.search(text, found.end()):
        return None
    after = [n for n in candidates if n.start >= found.end()]
    if not after or (len(after) > 1 and _SEPARATED.search(text, after[0].end, after[-1].start)):
        return None
    if any(_same_amounts(text, after[0], other) for other in after[1:]):
        raise Unparsed(f"{quoted(text)} names several numbers")
    return after[0]


def _same_amounts(text: str, one: Numeral, other: Numeral) -> bool:
    """Tell whether two numbers count the same in different cases: `12 miles in May and 9 miles in June`."""
    unit = re.match(r"[*\s]{0,3}([^\W\d_]{2,20})", text[one.end : one.end + 24])
    if unit is None or not re.search(
        r"\b(?:and|und|et|y|e|en)\s(?:\w+\s){0,3}[$€£]?$", text[max(0, other.start - 30) : other.start]
    ):
        return False
    return re.match(rf"[*\s]{{0,3}}{re.escape(unit[1])}\b", text[other.end : other.end + 24]) is not None


def _right_side(text: str, candidates: Sequence[Numeral], passage: Passage) -> Numeral | None:
    """Return the number on the last equation's right side; of `44 = 4 * 11` the left one, which stands alone."""
    signs = list(_EQUALS.finditer(text))[-MAX_EQUATIONS:]
    for sign in reversed(signs):
        after = next((n for n in candidates if n.start >= sign.end()), None)
        if after is None or not _BEFORE_VALUE.fullmatch(text, sign.end(), after.start):
            continue
        if _CONDITION.search(text, max(0, sign.start() - 30), sign.start()):
            continue
        if not _OPERATOR.match(text, after.end):
            if _ALTERNATIVE.search(text, max(0, sign.start() - 30), sign.start()):
                raise Unparsed(f"{quoted(text)} names several numbers")
            return after
    before = [n for n in candidates if signs and n.end <= signs[0].start()]
    if len(before) == 1 and re.fullmatch(_AROUND, text[: before[0].start]):
        return before[0]
    return None


def _left(text: str, candidates: list[Numeral], passage: Passage, found: Sequence[Numeral]) -> Numeral | None:
    """Return the number that is left when ranges, remarks and amounts of something else are left out."""
    if len(found) > 1 and len({n.value for n in candidates}) > 1 and _is_range(text, found):
        raise Unparsed(f"{quoted(text)} names several numbers")
    if len(found) > 1 and _UNIT_BREAK.fullmatch(text, found[0].end, found[1].start):
        return None
    if len({n.value for n in candidates}) == 1:
        return candidates[0]
    if not passage.is_marked and len(candidates) == 2 and _same_amounts(text, *candidates):
        raise Unparsed(f"{quoted(text)} names several numbers")
    plain = [n for n in _before_remark(text, candidates, passage) if not _is_demoted(text, n)]
    candidates = _not_asked(plain or candidates, passage.question)
    if passage.is_weak and len({n.value for n in candidates}) > 1:
        raise Unparsed(f"{quoted(text)} names several numbers")
    chosen = candidates[0] if passage.is_marked else candidates[-1]
    if re.match(r"\s?\+\s?[0-9]", text[chosen.end : chosen.end + 4]):
        raise Unparsed(f"{quoted(text)} is a sum that is not worked out")
    return chosen


def _not_asked(candidates: list[Numeral], question: str) -> list[Numeral]:
    """Return the numbers that the question does not give; all where it gives them all."""
    if len(candidates) < 2 or not question:
        return candidates
    given = {n.value for n in numerals(plain_math(question[-MAX_PASSAGE:]))}
    return [n for n in candidates if n.value not in given] or candidates


def _before_remark(text: str, candidates: list[Numeral], passage: Passage) -> list[Numeral]:
    """Return the numbers after `so` and before a remark such as `, which is …`; all where none is left."""
    if not passage.is_marked:
        for turn in _TURN.finditer(text):
            candidates = [n for n in candidates if n.start >= turn.end()] or candidates
    remark = _REMARK.search(text, candidates[0].end)
    return [n for n in candidates if remark is None or n.start < remark.start()] or candidates


def _is_demoted(text: str, numeral: Numeral) -> bool:
    return _DEMOTED.search(text[max(0, numeral.start - 30) : numeral.start]) is not None


def _is_range(text: str, found: Sequence[Numeral]) -> bool:
    """Tell whether the numbers are joined as alternatives: `3-5`, `3 or 4`, `x = 2 or x = 3`."""
    return all(_are_joined(text, one, other) for one, other in pairwise(found))


def _are_joined(text: str, one: Numeral, other: Numeral) -> bool:
    return _RANGE.fullmatch(text, one.end, other.start) is not None


def _numerator(text: str, numeral: Numeral, fits: Fits) -> Numeral | None:
    """Return the first part of `4/5` as a number of its own: a rating."""
    written = re.fullmatch(r"([0-9]+) ?[/⁄] ?[0-9]+", text[numeral.start : numeral.end])
    if written is None:
        return None
    whole = replace(numeral, value=Decimal(written[1]), is_whole=True, under=None)
    return whole if fits(whole) else None
