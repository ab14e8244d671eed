"""GBNF, the grammar language of llama.cpp: quoting, and rules with names that never clash."""

from __future__ import annotations

import re
from collections.abc import Iterable

_QUOTED = {'"': '\\"', "\\": "\\\\", "\n": "\\n", "\r": "\\r", "\t": "\\t"}
_IN_CLASS = {**_QUOTED, "]": "\\]", "[": "\\[", "^": "\\x5E", "-": "\\x2D", '"': '"'}

BLANKS = "".join(chr(code) for code in range(0x3001) if chr(code).isspace())
"""All that `str.strip` takes away."""


class Grammar:
    """The rules of a grammar, in the order in which they were added."""

    def __init__(self) -> None:
        self._rules: dict[str, str] = {}

    def rule(self, name: str, body: str) -> str:
        """Add a rule as `name`, with a number appended where that is taken. Return its name."""
        free, number = name, 1
        while self._rules.get(free, body) != body:
            number += 1
            free = f"{name}-{number}"
        self._rules[free] = body
        return free

    def reserve(self, name: str) -> str:
        """Return a name for a rule that `define` defines later, for rules that refer to themselves."""
        free, number = name, 1
        while free in self._rules:
            number += 1
            free = f"{name}-{number}"
        self._rules[free] = ""
        return free

    def define(self, name: str, body: str) -> None:
        """Define a reserved rule."""
        self._rules[name] = body

    def text(self, root: str) -> str:
        """Return the whole grammar with `root` as its root rule."""
        rules = [f"{name} ::= {body}" for name, body in self._rules.items()]
        return "\n".join([f"root ::= {root}", *rules]) + "\n"


def literal(text: str) -> str:
    """Return the text as a GBNF string."""
    return '"' + "".join(_escaped(character, _QUOTED) for character in text) + '"'


def one_of(texts: Iterable[str]) -> str:
    """Return an expression for exactly these texts."""
    return "(" + " | ".join(literal(text) for text in texts) + ")"


def none_of(characters: str) -> str:
    """Return an expression for one character that is not among those given."""
    return "[^" + "".join(_escaped(character, _IN_CLASS) for character in characters) + "]"


def any_of(characters: str) -> str:
    """Return an expression for one of the given characters."""
    return "[" + "".join(_escaped(character, _IN_CLASS) for character in characters) + "]"


LONGEST_REGEX = 20_000
"""Characters of a regular expression above which a grammar has none: servers compile it for each request."""
_TERM = re.compile(
    r""""(?P<literal>(?:[^"\\]|\\.)*)"|(?P<set>\[\^?(?:[^\]\\]|\\.)*\])|(?P<rule>[a-z][\w-]*)|(?P<sign>\S)"""
)
_ESCAPE = re.compile(r"\\(?:x([0-9A-F]{2})|u([0-9A-F]{4})|U([0-9A-F]{8})|(.))", re.DOTALL)
_NAMED = {"n": "\n", "r": "\r", "t": "\t"}


def regular_expression(grammar: str) -> str | None:
    """Return the regular expression of a grammar's texts, None where it has none, or too long a one."""
    rules = {name: body for name, _, body in (line.partition(" ::= ") for line in grammar.splitlines())}
    known: dict[str, str] = {}

    def expand(name: str, within: tuple[str, ...]) -> str:
        if name in within:
            raise RecursionError
        if name not in known:
            found = "".join(term(match, (*within, name)) for match in _TERM.finditer(rules[name]))
            if len(found) > LONGEST_REGEX:
                raise OverflowError
            known[name] = f"(?:{found})"
        return known[name]

    def term(match: re.Match[str], within: tuple[str, ...]) -> str:
        if match["rule"]:
            return expand(match["rule"], within)
        if match["literal"] is not None:
            return "(?:" + re.escape(_ESCAPE.sub(_unescaped, match["literal"])) + ")"
        if match["set"]:
            negated, inner = match["set"][1] == "^", match["set"][1:-1].removeprefix("^")
            return f"[{'^' * negated}" + _ESCAPE.sub(_set_escaped, inner) + "]"
        return "(?:" if match["sign"] == "(" else match["sign"]

    try:
        return expand("root", ())
    except (RecursionError, OverflowError, KeyError):
        return None


def _unescaped(match: re.Match[str]) -> str:
    code = match[1] or match[2] or match[3]
    return chr(int(code, 16)) if code else _NAMED.get(match[4], match[4])


def _set_escaped(match: re.Match[str]) -> str:
    return re.escape(_unescaped(match))


def _escaped(character: str, table: dict[str, str]) -> str:
    if character in table:
        return table[character]
    if character.isprintable():
        return character
    code = ord(character)
    return f"\\x{code:02X}" if code < 0x100 else f"\\u{code:04X}" if code < 0x10000 else f"\\U{code:08X}"
