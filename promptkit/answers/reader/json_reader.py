"""JSON values in a reply, read as models write them: in prose and fences, with comments, single quotes and the like.

A value is first read as strict JSON. Otherwise `_Rewriter` writes it as strict JSON, token by token: it accepts what a
person reads without a doubt, and refuses the rest, so that no value is guessed. A value that is cut off or broken has
no inner values: a part of it is not what the model meant.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, Final

from promptkit.answers.base import WHOLE_REPLY, Reading, Unparsed, quoted
from promptkit.answers.constraints.number_grammar import LONGEST_WHOLE
from promptkit.answers.reader.fences import fenced_blocks, outside_fences

MAX_DEPTH: Final = 100
MAX_STARTS: Final = 64
"""Number of brackets that may turn out to be prose: a reply full of them is noise."""

_SURROGATE: Final = re.compile(r"[\ud800-\udfff]")
_START: Final = re.compile(r"[\[{]")
_BRACKET: Final = re.compile(r"[\[\]{}()]")
_CONSTANTS: Final = {"true": "true", "false": "false", "null": "null", "none": "null"}
_JSON_FENCES: Final = ("json", "jsonc", "json5", "jsonl")


def read_json(text: str) -> Any:
    """Return the JSON value of a reply: all of it, else the first one in a fence, else the first one in the text.

    `true`, `True`, `None` and the like are read either way. Raises Unparsed where there is none, or it is cut off.
    """
    for reading in json_readings(text):
        return reading.value
    raise Unparsed(f"{quoted(text)} holds no JSON value")


def json_readings(text: str) -> Iterator[Reading]:
    """Yield the JSON values of a reply, with the rule that found each.

    It is all of the reply alone, else the values in fences, those marked as JSON first, else those in the text, in
    order. Values inside others are not yielded. Raises Unparsed where a value is cut off, has a number that is too
    large, or is nested too deep; what follows it is not read.
    """
    stripped = text.strip()
    whole = _whole(stripped)
    if whole is not None:
        yield Reading(whole.value, WHOLE_REPLY)
        return
    blocks = sorted(fenced_blocks(stripped), key=lambda block: _fence_rank(block.language))
    fenced = [replace(found, rule="fence") for block in blocks for found in _readings(block.text.strip())]
    yield from fenced
    if not fenced:
        yield from _in_prose(outside_fences(stripped))


def _fence_rank(language: str) -> int:
    return 0 if language in _JSON_FENCES else 1 if not language else 2


def _readings(text: str) -> Iterator[Reading]:
    whole = _whole(text)
    if whole is not None:
        yield Reading(whole.value, WHOLE_REPLY)
    else:
        yield from _in_prose(text)


@dataclass(frozen=True, slots=True)
class _Whole:
    value: Any


def _whole(text: str) -> _Whole | None:
    """Return the value that all of a text is, None where it is none."""
    try:
        constant = _CONSTANTS.get(text.casefold())
        if constant:
            return _Whole(json.loads(constant))
        if not _LATEX.search(text):
            return _Whole(check_bounds(DECODER.decode(text)))
    except RecursionError:
        raise Unparsed(f"the JSON is nested deeper than {MAX_DEPTH} levels") from None
    except json.JSONDecodeError:
        pass
    if text[:1] in tuple("[{("):
        return None if text[:1] != "(" else _rewritten_whole(text)
    return _rewritten_whole(text) if text[:1] in _QUOTES else None


def _rewritten_whole(text: str) -> _Whole | None:
    try:
        value, end = _Rewriter(text).value(0)
    except _NotJson:
        return None
    return _Whole(value) if not text[end:].strip() else None


def _in_prose(text: str) -> Iterator[Reading]:
    """Yield the objects and arrays in a text."""
    at = failed = 0
    broken: _NotJson | None = None
    while failed < MAX_STARTS and (start := _START.search(text, at)):
        try:
            value, at = _value_at(text, start.start())
        except _NotJson as error:
            if error.at >= len(text):
                raise Unparsed(f"the JSON is cut off: {quoted(text[start.start() :], 40)} is not closed") from None
            if error.begun:
                broken, at = error, _end_of_brackets(text, error.at, error.depth)
            else:
                at, failed = start.end(), failed + 1
            continue
        is_whole = not start.start() and at == len(text)
        yield Reading(value, WHOLE_REPLY if is_whole else "JSON in prose")
        broken = None
    if broken:
        raise Unparsed(f"the JSON cannot be read at {quoted(text[broken.at : broken.at + 40])}")


def _value_at(text: str, start: int) -> tuple[Any, int]:
    """Return the object or array that begins at a place, and its end. Raises _NotJson and Unparsed."""
    try:
        value, end = DECODER.raw_decode(text, start)
    except RecursionError:
        raise Unparsed(f"the JSON is nested deeper than {MAX_DEPTH} levels") from None
    except json.JSONDecodeError:
        return _Rewriter(text).value(start)
    if _LATEX.search(text, start, end):
        return _Rewriter(text).value(start)
    return check_bounds(value), end


def _end_of_brackets(text: str, at: int, depth: int) -> int:
    """Return the end of brackets of which so many are open at a place, the text's end where they are not closed."""
    for sign in _BRACKET.finditer(text, at):
        depth += 1 if sign[0] in "[{(" else -1
        if depth <= 0:
            return sign.end()
    return len(text)


def json_string(text: str) -> str:
    """Return a text as a JSON string that `read_json` reads back: a control character in it never looks like LaTeX."""
    written = json.dumps(text, ensure_ascii=False)
    return _LATEX.sub(lambda found: f"{found[1]}\\u{ord(_ESCAPES[found[2][1]]):04x}{found[2][2:]}", written)


def check_bounds(value: Any) -> Any:
    """Return the value. Raises Unparsed where it is nested too deep or holds text that is not valid Unicode."""
    level: list[Any] = [value]
    for _ in range(MAX_DEPTH):
        inner: list[Any] = []
        for item in level:
            if isinstance(item, dict):
                inner += [*item.keys(), *item.values()]
            elif isinstance(item, list):
                inner += item
            elif isinstance(item, str) and not item.isascii() and _SURROGATE.search(item):
                raise Unparsed("the JSON holds half of a surrogate pair")
        if not inner:
            return value
        level = inner
    raise Unparsed(f"the JSON is nested deeper than {MAX_DEPTH} levels")


def _read_integer(digits: str) -> int:
    if len(digits.lstrip("-")) > LONGEST_WHOLE:
        raise Unparsed("the JSON holds a number too long to keep")
    return int(digits)


def _read_float(digits: str) -> float:
    value = float(digits)
    if not math.isfinite(value):
        raise Unparsed("the JSON holds a number too large to keep")
    return value


def _refuse_constant(name: str) -> Any:
    raise Unparsed(f"the reply holds {name}, which is not JSON")


def _first_key_wins(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    record: dict[str, Any] = {}
    for key, value in pairs:
        record.setdefault(key, value)
    return record


DECODER: Final = json.JSONDecoder(
    parse_int=_read_integer, parse_float=_read_float, parse_constant=_refuse_constant, object_pairs_hook=_first_key_wins
)

_COMMANDS: Final = {
    "b": "ar|egin|eta|f|ig|inom|mod|ot|oxed|ullet",
    "f": "box|orall|rac",
    "n": "abla|eq|eg|otin",
    "r": "angle|ceil|floor|ho|ight|ightarrow|m",
    "t": "au|ext|extbf|extit|frac|heta|herefore|ilde|imes|riangle",
}
_COMMAND: Final = re.compile(
    r"\\(?:" + "|".join(f"{sign}(?:{words})(?![a-z])" for sign, words in _COMMANDS.items()) + ")"
)
"""A command of LaTeX that JSON reads as a control character and letters: `\\frac` as a form feed and `rac`."""
_LATEX: Final = re.compile(rf"(?<!\\)((?:\\\\)*)({_COMMAND.pattern})")

_TOKEN: Final = re.compile(
    r"""(?P<blank>[\s\ufeff\u200b]+|//[^\n]*|\#[^\n]*|/\*)
      | (?P<open>[\[{(]) | (?P<close>[\]})]) | (?P<comma>,) | (?P<colon>:|=>)
      | (?P<quote>["'“”„‘’])
      | (?P<number>[-+]?(?:\d[\d_]*\.?\d*|\.\d+)(?:[eE][-+]?\d+)?(?![\w.%/]))
      | (?P<word>[A-Za-z_$][\w$-]*)""",
    re.VERBOSE,
)
_QUOTES: Final = {'"': '"', "'": "'", "“": '”“"', "”": "”", "„": "“”", "‘": "’‘", "’": "’"}
"""The quotes that end a string, by the one that begins it."""
_STRING_STOPS: Final = {begin: re.compile(rf"[\\{ends}]") for begin, ends in _QUOTES.items()}
_CLOSES: Final = {"[": "]", "{": "}", "(": ")"}
_ESCAPES: Final = {"n": "\n", "t": "\t", "r": "\r", "b": "\b", "f": "\f", "\n": "\n"}
_CODE: Final = re.compile(r"u([0-9A-Fa-f]{4})|x([0-9A-Fa-f]{2})|U([0-9A-Fa-f]{8})")
_AFTER_KEY: Final = re.compile(r"\s*(?::|=>)")
_AFTER_VALUE: Final = re.compile(
    r"""\s*(?:[\]})]|$|//|/\*|\#
      | ,\s*(?:["'“„‘\[{(\]})]|[-+]?[.\d]|$|//|/\*|\#|(?i:true|false|null|none)\b|[A-Za-z_$][\w$-]{0,99}\s*:)
      | ["'“„‘][^"'“”„‘’\n:]{0,100}["'”’]\s*:)""",
    re.VERBOSE,
)
_AFTER_ITEM: Final = re.compile(r"""\s+["'“„‘\[{]""")


class _NotJson(Exception):
    """Raised at a place where no JSON goes on. `begun` tells whether the text before it was JSON, and not prose."""

    def __init__(self, at: int, *, begun: bool, depth: int) -> None:
        super().__init__(at)
        self.at, self.begun, self.depth = at, begun, depth


@dataclass(slots=True)
class _Frame:
    """An open bracket: the bracket that closes it, what is expected next, and the number of members so far."""

    closing: str
    expects: str
    members: int = 0

    @property
    def is_object(self) -> bool:
        return self.closing == "}"


class _Rewriter:
    """Writes a value that is nearly JSON as JSON, and reads that. Each character is looked at a few times at most."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._written: list[str] = []
        self._frames: list[_Frame] = []

    def value(self, start: int) -> tuple[Any, int]:
        """Return the value that begins at a place, and its end. Raises _NotJson and Unparsed."""
        at = start
        while self._frames or not self._written:
            at = self._token(at)
        try:
            return check_bounds(DECODER.decode("".join(self._written))), at
        except json.JSONDecodeError:
            raise _NotJson(at, begun=True, depth=0) from None

    def _token(self, at: int) -> int:
        """Rewrite the next token, and return its end."""
        token = _TOKEN.match(self._text, at)
        if token is None:
            raise self._fault(at)
        match token.lastgroup:
            case "blank":
                return self._blank(token)
            case "open":
                self._open(token)
            case "close":
                self._close(token)
            case "comma":
                self._comma(token)
            case "quote":
                return self._quoted(token)
            case "number":
                self._scalar(token, _number_text(token[0]))
            case "word":
                return self._word(token)
            case _:
                raise self._fault(at)
        return token.end()

    @property
    def _awaits_key(self) -> bool:
        return bool(self._frames) and self._frames[-1].is_object and self._frames[-1].expects != "value"

    def _fault(self, at: int) -> _NotJson:
        # A bracket alone is prose (`[see above]`); with a value or a key behind it, it begins JSON.
        return _NotJson(at, begun=len(self._written) > 1, depth=len(self._frames))

    def _blank(self, token: re.Match[str]) -> int:
        if token[0] != "/*":
            return token.end()
        end = self._text.find("*/", token.end())
        if end < 0:
            raise self._fault(len(self._text))
        return end + 2

    def _open(self, token: re.Match[str]) -> None:
        if self._awaits_key:
            raise _NotJson(token.start(), begun=token[0] != "{", depth=len(self._frames))
        self._begin_value(token.start())
        if len(self._frames) == MAX_DEPTH:
            raise Unparsed(f"the JSON is nested deeper than {MAX_DEPTH} levels")
        closing = _CLOSES[token[0]]
        self._frames.append(_Frame(closing, "key" if closing == "}" else "value"))
        self._written.append("{" if closing == "}" else "[")

    def _close(self, token: re.Match[str]) -> None:
        frame = self._frames.pop() if self._frames else None
        if frame is None or frame.closing != token[0] or (frame.is_object and frame.expects == "value"):
            self._frames += [frame] if frame else []
            raise self._fault(token.start())
        self._written.append("}" if frame.is_object else "]")

    def _comma(self, token: re.Match[str]) -> None:
        frame = self._frames[-1] if self._frames else None
        if frame is None or frame.expects != "next":
            raise self._fault(token.start())
        frame.expects = "key" if frame.is_object else "value"

    def _quoted(self, token: re.Match[str]) -> int:
        is_key = self._awaits_key
        text, end = self._string(token.end(), _STRING_STOPS[token[0]], is_key=is_key)
        if is_key:
            return self._key(text, token.start(), end)
        self._begin_value(token.start())
        self._written.append(json.dumps(text))
        return end

    def _word(self, token: re.Match[str]) -> int:
        if self._awaits_key:
            return self._key(token[0], token.start(), token.end())
        constant = _CONSTANTS.get(token[0].casefold())
        if constant is None:
            raise self._fault(token.start())
        self._scalar(token, constant)
        return token.end()

    def _scalar(self, token: re.Match[str], text: str) -> None:
        if self._awaits_key:
            raise self._fault(token.start())
        self._begin_value(token.start())
        self._written.append(text)

    def _begin_value(self, at: int) -> None:
        """Note that a value begins, after a comma where it is a further item. Raises _NotJson where none may."""
        if not self._frames:
            if self._written:
                raise self._fault(at)
            return
        frame = self._frames[-1]
        if not frame.is_object:
            self._written += [","] * bool(frame.members)
            frame.members += 1
        frame.expects = "next"

    def _key(self, name: str, start: int, end: int) -> int:
        """Write a key with its colon, and return the end of the name."""
        frame = self._frames[-1]
        colon = _AFTER_KEY.match(self._text, end)
        if colon is None:
            raise self._fault(start if self._text[end:].strip() else len(self._text))
        self._written += [","] * bool(frame.members)
        self._written.append(f"{json.dumps(name)}:")
        frame.members += 1
        frame.expects = "value"
        return colon.end()

    def _string(self, at: int, stop: re.Pattern[str], *, is_key: bool) -> tuple[str, int]:
        """Return the text of a string from after its first quote, and its end. A quote with more text behind it is a
        part of a value.
        """
        parts: list[str] = []
        while found := stop.search(self._text, at):
            parts.append(self._text[at : found.start()])
            if found[0] == "\\":
                escaped, at = self._escape(found.start())
                parts.append(escaped)
            elif is_key or self._ends_value(found.end()):
                return "".join(parts), found.end()
            else:
                parts.append(found[0])
                at = found.end()
        raise self._fault(len(self._text))

    def _ends_value(self, at: int) -> bool:
        in_array = bool(self._frames) and not self._frames[-1].is_object
        return bool(_AFTER_VALUE.match(self._text, at) or (in_array and _AFTER_ITEM.match(self._text, at)))

    def _escape(self, at: int) -> tuple[str, int]:
        """Return the text of an escape and its end. A backslash that begins none, as in LaTeX, stands for itself."""
        text = self._text
        sign = text[at + 1 : at + 2]
        if sign in _ESCAPES and not _COMMAND.match(text, at):
            return _ESCAPES[sign], at + 2
        if code := _CODE.match(text, at + 1):
            number = int(code[1] or code[2] or code[3], 16)
            return self._unicode(number, code.end())
        return (sign, at + 2) if sign and sign in "\\/\"'" else ("\\", at + 1)

    def _unicode(self, number: int, end: int) -> tuple[str, int]:
        """Return a character by its number, both halves of a surrogate pair together."""
        low = _CODE.match(self._text, end + 1) if self._text[end : end + 1] == "\\" else None
        if 0xD800 <= number < 0xDC00 and low and low[1] and 0xDC00 <= int(low[1], 16) < 0xE000:
            return chr(0x10000 + ((number - 0xD800) << 10) + int(low[1], 16) - 0xDC00), low.end()
        return (chr(number), end) if number <= 0x10FFFF else ("�", end)


def _number_text(text: str) -> str:
    """Return a number as JSON writes it: `+1`, `.5`, `5.` and `1_000` have other forms there."""
    sign, digits = ("-", text[1:]) if text[0] == "-" else ("", text.lstrip("+"))
    whole, mark, power = digits.replace("_", "").lower().partition("e")
    before, point, after = whole.partition(".")
    return f"{sign}{before or '0'}{point and '.' + (after or '0')}{mark}{power}"
