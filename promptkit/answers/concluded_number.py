"""The number that a passage of a reply gives as its answer, among others that it mentions."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from decimal import Decimal
from typing import Final

from promptkit.answers.conclusion import Passage
from promptkit.answers.numerals import Numeral, numerals, plain_math, word_numerals

_AROUND: Final = r"[\s\"'“”‘’*_`(){}\[\]$€£¥₹≈~=:#<>|]*"
_ROUGHLY: Final = r"(?:(?:about|approximately|approx\.?|around|roughly|nearly|exactly|only|just|ca\.?|circa|etwa|environ|约|大约|usd|eur|gbp|rs\.?)\s)?"
_BEFORE_ALONE: Final = re.compile(
    rf"{_AROUND}(?:[a-zA-Zα-ω](?:\([a-z]\)|_\w)?\s?[=≈:]\s?|\w{{1,3}}\s?[=≈]\s?)?{_ROUGHLY}{_AROUND}", re.IGNORECASE
)
_UNIT: Final = r"(?:(?:(?!(?:and|or|to|minus|plus|times|but|not|is|are|was|und|oder|et|ou|y|o)\b)[^\W\d_]{1,20}[.²³]?|[%°Åµμ/‰]{1,3}[A-Za-z]{0,3}|个|元|岁)\s?){0,3}"
_AFTER_ALONE: Final = re.compile(rf"\s?-?{_UNIT}{_AROUND}[.!。]?{_AROUND}", re.IGNORECASE)
_VERDICT: Final = re.compile(
    rf"[*_`\"'”)\]$]{{0,4}}\s?-?{_UNIT}[*_`\"'”)\]$]{{0,4}}(?:[.,;:!]?$|[.,;:!](?=\s)|\s?\(|\s[–—-]\s|\s(?:because|since|as|due)\b)",
    re.IGNORECASE,
)
_OPERATOR: Final = re.compile(r"[\s$€£*_)]{0,3}[a-zA-Z%°²³]{0,10}\s?(?:[-+×·÷^/−–]|\*(?!\*))\s?[$€£(]?\s?[\w(]")
_BOLD: Final = re.compile(r"\*\*(?=\S)([^*\n]{1,300}?)\*\*|__(?=\S)([^_\n]{1,300}?)__")
_DENIED: Final = re.compile(
    r"(?:\b(?:not|rather than|instead of|than|nicht|no longer|except|excluding)|n['’]t)\s(?:be\s|just\s|only\s)?[$€£*]{0,3}$",
    re.IGNORECASE,
)
_OUT_OF: Final = re.compile(
    r"(?:\bout of|\bof|/|\bvon|\bsur|\bde)\s?(?:a (?:possible |total )?)?[$*]{0,2}$", re.IGNORECASE
)
_RANGE: Final = re.compile(
    r"\s?[$€£%]?(?:-|–|—|~|\.\.|\bto\b|\bor\b|\band\b|\bthrough\b|\bbis\b|\boder\b|\bund\b|\bou\b|\bet\b|\bo\b|\by\b|和|或|到|至|、|,)\s?[$€£~]?|"
    r"\s\w{1,2}\s?=\s?|\s?,?\s?(?:or|and|,)\s\w\s?=\s?",
    re.IGNORECASE,
)
_REMARK: Final = re.compile(
    r",?\s\(|,\s(?:which|i\.e\.|that is|or\b|corresponding|compared|so\b|with|after|since|because|leaving|meaning|as\b|and\b|but|while|due|not\b|"
    r"\d+ (?:more|fewer|less)|the same)|\s(?:more|fewer|less|greater) than|\s(?:because|since)\b|\s[–—]\s|;\s",
    re.IGNORECASE,
)
_DEMOTED: Final = re.compile(
    r"\b(?:after|in|for|every|each|per|within|all|these|those|of|from|at|on|by|with|among|between|day|step|year|question|the first|the last|the other|"
    r"his|her|their|its|the|giving|other|if|when|since|between|using|option|case|example|number|note|take|takes)\s(?:the\s|all\s|these\s)?[$€£*]{0,3}$",
    re.IGNORECASE,
)
_RATED: Final = re.compile(
    r"\b(?:score|rating|rate|grade|stars?|points?|marks?|bewertung|note|nota|punkte)\b", re.IGNORECASE
)
_UNIT_BREAK: Final = re.compile(
    r"\s?(?:hours?|hrs?|h|feet|foot|ft|pounds?|lbs?|minutes?|mins?|days?|weeks?|years?|dollars?|yards?|degrees?)\s?(?:and|,)?\s?",
    re.IGNORECASE,
)
_SYMBOLS: Final = re.compile(r"[√π^∞]|\\(?:sqrt|pi|infty|log|sin|cos|binom)")
_VARIABLE: Final = re.compile(r"(?<![A-Za-z\\])[a-zA-Z](?![A-Za-z'’.])")

Fits = Callable[[Numeral], bool]


def whole_number(text: str, fits: Fits) -> Numeral | None:
    """Return the number that a reply is, with its unit, emphasis or `x =`; None where it says more."""
    text = plain_math(text.strip())
    found = numerals(text) or word_numerals(text)
    if not found or len(text) > 120:
        return None
    first, last = found[0], found[-1]
    alone = _BEFORE_ALONE.fullmatch(text, 0, first.start) and _AFTER_ALONE.fullmatch(text, last.end)
    if not alone or len({numeral.value for numeral in found}) > 1:
        return None
    if len(found) > 1 and re.search(r"[-+*/×=]", text[first.end : last.start]):
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
        return _verdict(text, found[0], fits)
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
    if not inner or len({numeral.value for numeral in inner}) > 1 or inner[0].value is None:
        return None
    rest = right[: inner[0].start] + " " + right[inner[-1].end :]
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
    rated = _RATED.search(passage.lead + text) is not None
    candidates: list[Numeral] = []
    for numeral in found:
        before = text[max(0, numeral.start - 30) : numeral.start]
        whole = _numerator(text, numeral, fits) if rated or not fits(numeral) else None
        if whole is not None:
            candidates.append(whole)
        elif fits(numeral) and not (
            _DENIED.search(before)
            or (
                found.index(numeral)
                and _OUT_OF.search(before)
                and re.search(r"\d\W{0,3}(?:out |stars )?of\W{0,3}$|out of\W{0,3}$|\d ?/ ?$", before)
            )
        ):
            candidates.append(numeral)
    if not candidates:
        return None
    for choice in (_bold, _right_side):
        chosen = choice(text, candidates, passage)
        if chosen is not None:
            return chosen
    return _left(text, candidates, passage, found)


def _bold(text: str, candidates: Sequence[Numeral], passage: Passage) -> Numeral | None:
    """Return the number in bold; the first of several after a marker, else the last."""
    spans = [match.span() for match in _BOLD.finditer(text)]
    inside = [n for n in candidates if any(start <= n.start and n.end <= end for start, end in spans)]
    if not inside or (len(spans) == 1 and spans[0][1] - spans[0][0] > 60):
        return None
    if "=" in text and len({n.value for n in inside}) > 1:
        return None
    if len({n.value for n in inside}) > 1 and _are_joined(text, inside[0], inside[1]):
        return None
    return inside[0] if passage.is_marked else inside[-1]


def _right_side(text: str, candidates: Sequence[Numeral], passage: Passage) -> Numeral | None:
    """Return the number on the last equation's right side; of `44 = 4 * 11` the left one, which stands alone."""
    sides = list(re.finditer(r"[=≈]|\bequals\b|\bis equal to\b|(?<=\d) is (?=[$*]{0,3}\d)", text))
    for sign in reversed(sides):
        after = next((n for n in candidates if n.start >= sign.end()), None)
        if after is None or not re.fullmatch(r"[\s$€£*_(~≈:#°a-zA-Z]{0,30}", text[sign.end() : after.start]):
            continue
        if _OPERATOR.match(text, after.end):
            continue
        if any(
            s.start() < sign.start()
            and re.search(r"\bor\b|,\s*\w\s?$|\band\b", text[s.end() : sign.start()])
            and not re.search(r"[-+*/×·÷]", text[s.end() : sign.start()])
            for s in sides
        ):
            previous = [n for n in candidates if n.end <= sign.start()]
            if (
                previous
                and previous[-1].value != after.value
                and re.search(r"[\d)]\W{0,3}(?:or|and|,)\W{0,3}\w{1,2}\W{0,3}$", text[: sign.start()])
            ):
                return None
        return after
    if sides:
        before = [n for n in candidates if n.end <= sides[0].start()]
        if len(before) == 1 and re.fullmatch(rf"{_AROUND}", text[: before[0].start]):
            return before[0]
    return None


def _left(text: str, candidates: list[Numeral], passage: Passage, found: Sequence[Numeral]) -> Numeral | None:
    """Return the number that is left when ranges, remarks and amounts of something else are left out."""
    if len(found) > 1 and len({n.value for n in candidates}) > 1 and _is_range(text, found):
        return None
    if len(found) > 1 and _UNIT_BREAK.fullmatch(text, found[0].end, found[1].start):
        return None
    if len({n.value for n in candidates}) == 1:
        return candidates[0]
    remark = _REMARK.search(text, candidates[0].end)
    if passage.is_marked and remark:
        candidates = [n for n in candidates if n.start < remark.start()] or candidates
    elif remark and (_REMARK.search(text) is not None):
        inside = [n for n in candidates if n.start < remark.start()]
        plain = [n for n in inside if not _is_demoted(text, n)]
        candidates = plain or candidates
    plain = [n for n in candidates if not _is_demoted(text, n)]
    candidates = plain or candidates
    return candidates[0] if passage.is_marked else candidates[-1]


def _is_demoted(text: str, numeral: Numeral) -> bool:
    return _DEMOTED.search(text[max(0, numeral.start - 30) : numeral.start]) is not None


def _is_range(text: str, found: Sequence[Numeral]) -> bool:
    """Tell whether the numbers are joined as alternatives: `3-5`, `3 or 4`, `x = 2 or x = 3`."""
    return all(_are_joined(text, one, other) for one, other in zip(found, found[1:], strict=False))


def _are_joined(text: str, one: Numeral, other: Numeral) -> bool:
    return _RANGE.fullmatch(text, one.end, other.start) is not None


def _numerator(text: str, numeral: Numeral, fits: Fits) -> Numeral | None:
    """Return the first part of `4/5` as a number of its own: a rating."""
    written = re.fullmatch(r"([0-9]+) ?[/⁄] ?[0-9]+", text[numeral.start : numeral.end])
    if written is None:
        return None
    whole = replace(numeral, value=Decimal(written[1]), is_whole=True)
    return whole if fits(whole) else None
