"""Numbers in texts, in the forms that people and models write: fractions, LaTeX, separators, powers, number words."""

from __future__ import annotations

import re
from dataclasses import dataclass
from decimal import Context, Decimal
from fractions import Fraction
from typing import Final

from promptkit.answers.constraints.number_grammar import LONGEST_WHOLE

_MOST_DIGITS: Final = 400
EXACT: Final = Context(prec=LONGEST_WHOLE + _MOST_DIGITS + 10)


@dataclass(frozen=True, slots=True)
class Numeral:
    """A number at a place of a text. `value` is None where a float cannot hold it: too long, a root, a multiple of π.

    `is_whole` tells that it is written without decimals; `under` is the denominator of a fraction.
    """

    start: int
    end: int
    value: Decimal | None
    is_whole: bool
    under: int | None = None


_VULGAR: Final = {
    "½": (1, 2), "⅓": (1, 3), "⅔": (2, 3), "¼": (1, 4), "¾": (3, 4), "⅕": (1, 5), "⅖": (2, 5), "⅗": (3, 5), "⅘": (4, 5),
    "⅙": (1, 6), "⅚": (5, 6), "⅛": (1, 8), "⅜": (3, 8), "⅝": (5, 8), "⅞": (7, 8),
}  # fmt: skip
_SCALES: Final = {"thousand": 3, "million": 6, "billion": 9, "trillion": 12}

_DIGITS: Final = (
    r"(?P<grouped>[0-9]{1,3}(?:,[0-9]{3})+(?![0-9])|[0-9]{1,3}(?:[ "
    r"\u00a0\u202f'’_][0-9]{3})+(?![0-9]))(?:\.(?P<grouped_decimals>[0-9]+))?"
    r"|(?P<dotted>[0-9]{1,3}(?:\.[0-9]{3})+),(?P<dotted_decimals>[0-9]{1,2})(?![0-9])"
    r"|(?P<dots>[0-9]{1,3}(?:\.[0-9]{3})(?:(?:\.[0-9]{3})+|(?= ?(?:€|Euro|EUR)\b)))(?![0-9]|\.[0-9])"
    r"|(?P<comma_whole>(?<![0-9],)[0-9]+),(?P<comma_decimals>[0-9]{1,2}|(?<=(?<![0-9])0,)[0-9]+)(?![0-9]|,[0-9])"
    r"|(?P<whole>[0-9]+)(?:\.(?P<decimals>[0-9]+))?"
    r"|(?<![0-9])\.(?P<bare>[0-9]+)"
)
_NUMERAL: Final = re.compile(
    r"(?P<sign>(?<![\w.)])[-−–]|(?:^|(?<=[=(:≈] ))[-−–] |\b(?:minus|negative) )?"
    r"(?:[$€£¥₹] ?(?P<inner_sign>[-−])?)?(?P<root>√\{? ?)?(?<![A-Za-z0-9À-ɏͰ-ϿЀ-ӿ^_])(?<![\^_]\{)"
    r"(?:(?P<clock>[0-9]{1,2}:[0-9]{2}(?::[0-9]{2})?(?![0-9]))"
    r"|(?P<date>[0-9]{1,4}(?P<between>[/.-])[0-9]{1,2}(?P=between)[0-9]{1,4}(?![0-9/]))"
    r"|(?:(?P<mixed>[0-9]{1,9})(?: (?:and )?|-))?(?P<over>[0-9]{1,15}) ?[/⁄] ?(?P<under>[0-9]{1,15})(?![0-9/]|\.[0-9])"
    rf"|(?P<before_vulgar>[0-9]{{0,9}}) ?(?P<vulgar>[{''.join(_VULGAR)}])"
    rf"|(?:{_DIGITS})"
    r"(?:[eE](?P<power>[-+]?[0-9]{1,3})(?![0-9])"
    r"| ?(?:[×·*x]|\\times|\\cdot) ?10(?:\^|\*\*) ?\{?\(?(?P<ten>[-−+]?[0-9]{1,3})\)?\}?"
    r"|(?:\^|\*\*) ?\{?(?P<raised>[-−]?[0-9]{1,3})\}?(?![0-9])"
    r"|[ -](?P<scale>thousand|million|billion|trillion)\b)?)"
    r"(?P<rest> ?\*? ?(?:\\sqrt|√\{?[0-9]*\}?|\\pi\b|π|pi\b)|[a-z]?\^\{?[0-9a-z]|i\b(?! )|[xyzn]\b(?!\w))?",
    re.IGNORECASE,
)


def numerals(text: str) -> list[Numeral]:
    """Return the numbers of a text without LaTeX (see `plain_math`), in order."""
    return [_numeral(match) for match in _NUMERAL.finditer(text)]


def _numeral(match: re.Match[str]) -> Numeral:
    value, is_whole = _value(match)
    if match["rest"] is not None or match["root"] is not None:
        value = None
    if value is not None and (match["sign"] or match["inner_sign"]):
        value = value.copy_negate() if value else value
    return Numeral(match.start(), match.end(), value, is_whole, int(match["under"]) if match["under"] else None)


def _value(match: re.Match[str]) -> tuple[Decimal | None, bool]:
    """Return the value of a match without its sign, and True where it has no decimals."""
    if match["clock"]:
        hour, minute = match["clock"].split(":", 1)
        return (Decimal(hour), True) if not minute.replace(":", "").strip("0") else (None, True)
    if match["date"]:
        return None, True
    if match["over"]:
        return _fraction(int(match["mixed"] or 0), int(match["over"]), int(match["under"]))
    if match["vulgar"]:
        return _fraction(int(match["before_vulgar"] or 0), *_VULGAR[match["vulgar"]])
    whole, decimals = _written(match)
    whole = whole.lstrip("0") or "0"
    if len(whole) > LONGEST_WHOLE:
        return None, True
    value = Decimal(f"{whole}.{decimals[:_MOST_DIGITS]}")
    if match["raised"]:
        return _power(value, int(match["raised"].replace("−", "-"))), not decimals
    power = match["power"] or (match["ten"] or "").replace("−", "-")
    shift = int(power) if power else _SCALES.get((match["scale"] or "").lower(), 0)
    return value.scaleb(shift, EXACT), not decimals or bool(match["scale"])


def _written(match: re.Match[str]) -> tuple[str, str]:
    """Return the digits before and after the decimal point."""
    if match["grouped"]:
        return re.sub(r"[^0-9]", "", match["grouped"]), match["grouped_decimals"] or ""
    if match["dotted"]:
        return match["dotted"].replace(".", ""), match["dotted_decimals"]
    if match["dots"]:
        return match["dots"].replace(".", ""), ""
    if match["comma_whole"]:
        return match["comma_whole"], match["comma_decimals"]
    return match["whole"] or "0", match["decimals"] or match["bare"] or ""


def _fraction(whole: int, over: int, under: int) -> tuple[Decimal | None, bool]:
    if not under:
        return None, True
    value = whole + Fraction(over, under)
    return Decimal(value.numerator) / Decimal(value.denominator), True


def _power(base: Decimal, exponent: int) -> Decimal | None:
    if not base or abs(exponent) * max(base.adjusted() + 1, 1) > LONGEST_WHOLE:
        return None
    return EXACT.power(base, exponent)


# Number words.

_UNITS: Final = {
    word: number
    for number, word in enumerate(
        [
            "zero",
            "one",
            "two",
            "three",
            "four",
            "five",
            "six",
            "seven",
            "eight",
            "nine",
            "ten",
            "eleven",
            "twelve",
            "thirteen",
            "fourteen",
            "fifteen",
            "sixteen",
            "seventeen",
            "eighteen",
            "nineteen",
        ]
    )
}
_TENS: Final = {
    word: 10 * number
    for number, word in enumerate(
        ["twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety"], start=2
    )
}
_HUNDREDS: Final = {"hundred": 100, "thousand": 1_000, "million": 1_000_000, "billion": 1_000_000_000}
_WORD: Final = "|".join((*_UNITS, *_TENS, *_HUNDREDS))
_PARTS: Final = {
    "half": 2,
    "halve": 2,
    "third": 3,
    "quarter": 4,
    "fourth": 4,
    "fifth": 5,
    "sixth": 6,
    "eighth": 8,
    "tenth": 10,
}
_PART: Final = rf"[ -](?:(?:{'|'.join(_PARTS)})s?|dozens?)\b"
_PART_ALONE: Final = re.compile(
    rf"(?:(?P<count>a|an|{_WORD})[ -])?(?:(?P<part>{'|'.join(_PARTS)})s?|(?P<dozen>dozens?))(?: of\b.{{0,60}})?",
    re.IGNORECASE,
)
_WORDS: Final = re.compile(
    rf"(?P<sign>\b(?:minus|negative) )?\b(?P<words>(?:{_WORD})(?:(?:[- ]|,? and )(?:{_WORD})){{0,12}})\b(?!{_PART})",
    re.IGNORECASE,
)
_PRONOUN: Final = re.compile(
    r"(?:\b(?:the|this|that|which|no|any|every|each|another|some|only|correct|right|last|first|next|other|good|for|if"
    r"|as) one"
    r"|\bone (?:of|can|could|may|might|must|should|would|another|has|needs|side|hand|way|is|who|that|which|by))\b",
    re.IGNORECASE,
)
_FOREIGN: Final = {
    word: number
    for words in (
        "null eins zwei drei vier fünf sechs sieben acht neun zehn elf zwölf",
        "zéro un deux trois quatre cinq six sept huit neuf dix onze douze",
        "cero uno dos tres cuatro cinco seis siete ocho nueve diez once doce",
        "zero uno due tre quattro cinque sei sette otto nove dieci undici dodici",
        "zero um dois três quatro cinco seis sete oito nove dez onze doze",
        "nul een twee drie vier vijf zes zeven acht negen tien elf twaalf",
        "ноль один два три четыре пять шесть семь восемь девять десять одиннадцать двенадцать",
        "零 一 二 三 四 五 六 七 八 九 十 十一 十二",
        "〇 一 两 三 四 五 六 七 八 九 十 十一 十二",
    )
    for number, word in enumerate(words.split())
}


_STRIPPED: Final = " \t\n.!。*_\"'`"


def word_numerals(text: str) -> list[Numeral]:
    """Return the numbers that a text writes as words: English ones anywhere, those of other languages alone."""
    alone = _FOREIGN.get(text.strip(_STRIPPED).casefold())
    if alone is not None:
        return [Numeral(0, len(text), Decimal(alone), True)]
    part = _PART_ALONE.fullmatch(text.strip(_STRIPPED))
    if part:
        return [Numeral(0, len(text), _of_part(part), True)]
    pronouns = {match.start() + match.group().casefold().index("one") for match in _PRONOUN.finditer(text)}
    found = (match for match in _WORDS.finditer(text) if match.start("words") not in pronouns)
    return [Numeral(match.start(), match.end(), _of_words(match), True) for match in found]


def _of_part(match: re.Match[str]) -> Decimal:
    count = _UNITS.get((match["count"] or "").casefold(), 1)
    if match["dozen"]:
        return Decimal(12 * count)
    return Decimal(count) / _PARTS[match["part"].casefold()]


def _of_words(match: re.Match[str]) -> Decimal | None:
    total = group = 0
    for word in re.findall(r"[a-z]+", match["words"].casefold()):
        if word == "and":
            continue
        if word == "hundred":
            group = (group or 1) * 100
        elif word in _HUNDREDS:
            total, group = total + (group or 1) * _HUNDREDS[word], 0
        else:
            value = _UNITS.get(word, _TENS.get(word, 0))
            if group % 100 and not (group % 100 >= 20 and group % 10 == 0 and value < 10):
                return None  # `one two`: not one number
            group += value
    return Decimal(-(total + group) if match["sign"] else total + group)


# LaTeX.

_FRACTION: Final = re.compile(
    r"(?P<whole>[0-9]{1,9})?\s?\\[dtc]?frac\s?(?:\{\s?(?P<over>[-−]?[0-9.,]{1,15})\s?\}\s?\{\s?(?P<under>[0-9.,]{1,15})\s?\}"
    r"|(?P<over_digit>[0-9])\s?(?P<under_digit>[0-9]))"
)
_OTHER_FRACTION: Final = re.compile(r"\\[dtc]?frac\s?\{")
_COMMANDS: Final = re.compile(
    r"\\(?:text|mathrm|textbf|mathbf|textrm|mbox|operatorname|textit|mathit|boldsymbol|bm)\s?\{([^{}]{0,200})\}"
)
_SPACING: Final = re.compile(r"\\(?:left|right|displaystyle|quad|qquad|[,;:! ])|\\[()\[\]]|\$\$")
_SIGNS: Final = {
    "{,}": ",", "\\%": "%", "\\$": "$", "\\times": "×", "\\cdot": "·", "\\approx": "≈", "\\pi": "π", "\\div": "÷",
    "\\sqrt": "√", "\\le": "≤", "\\ge": "≥", "\\neq": "≠", "\\pm": "±", "\\#": "#", "\\&": "&", "\\degree": "°",
    "^\\circ": "°", "^{\\circ}": "°", "\\circ": "°", "\\implies": "⇒", "\\Rightarrow": "⇒", "\\to": "→",
    "\\rightarrow": "→",
}  # fmt: skip
_SIGN: Final = re.compile(
    "|".join(re.escape(sign) + (r"(?![a-zA-Z])" if sign[-1].isalpha() else "") for sign in _SIGNS)
)
_COMPUTED: Final = re.compile(r"<<[^<>\n]{0,200}>>")


def plain_math(text: str) -> str:
    """Return a text with LaTeX numbers, signs and spaces in plain characters, without `<<3*4=12>>`."""
    text = _COMPUTED.sub("", text)
    if "\\" not in text and "{" not in text:
        return text
    text = _SIGN.sub(lambda match: _SIGNS[match.group()], text)
    text = _COMMANDS.sub(r" \1 ", _FRACTION.sub(_plain_fraction, _SPACING.sub(" ", text)))
    return _OTHER_FRACTION.sub(" √{", text)


def _plain_fraction(match: re.Match[str]) -> str:
    over, under = (match["over"] or match["over_digit"]), (match["under"] or match["under_digit"])
    sign = "-" if over[0] in "-−" else ""
    return f"{sign}{match['whole'] + ' ' if match['whole'] else ''}{over.lstrip('-−')}/{under}"
