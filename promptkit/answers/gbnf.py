"""GBNF, the grammar language of llama.cpp: quoting, and rules with names that never clash."""

from __future__ import annotations

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


def _escaped(character: str, table: dict[str, str]) -> str:
    if character in table:
        return table[character]
    if character.isprintable():
        return character
    code = ord(character)
    return f"\\x{code:02X}" if code < 0x100 else f"\\u{code:04X}" if code < 0x10000 else f"\\U{code:08X}"
