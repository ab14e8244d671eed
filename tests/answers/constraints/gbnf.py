"""A small reader of GBNF: tells whether a grammar admits a text, and draws texts that it admits."""

from __future__ import annotations

import random
import re
from collections.abc import Callable
from dataclasses import dataclass, field

_TOKEN = re.compile(
    r'\s*(?:(?P<text>"(?:\\.|[^"\\])*")|(?P<set>\[(?:\\.|[^\]\\])*\])|(?P<name>[a-z][\w-]*)'
    r"|(?P<count>\{[0-9]*,?[0-9]*\})|(?P<sign>[()|*+?]))"
)
_ESCAPES = {"n": "\n", "r": "\r", "t": "\t"}


@dataclass(frozen=True)
class Node:
    """One part of a rule: `text`, `set`, `name`, `all` (one after the other), `any` (one of them) or `many`."""

    kind: str
    text: str = ""
    parts: tuple[Node, ...] = ()
    least: int = 0
    most: int | None = None
    ranges: tuple[tuple[str, str], ...] = ()


def unescaped(text: str) -> list[tuple[str, bool]]:
    """Return the characters of a quoted text, each with whether it was escaped."""
    found = []
    for match in re.finditer(r"\\(?:x([0-9A-Fa-f]{2})|u([0-9A-Fa-f]{4})|U([0-9A-Fa-f]{8})|(.))|(.)", text, re.DOTALL):
        *codes, escaped, plain = match.groups()
        if any(codes):
            found.append((chr(int("".join(code or "" for code in codes), 16)), True))
        else:
            found.append((_ESCAPES.get(escaped, escaped), True) if escaped else (plain, False))
    return found


@dataclass
class Gbnf:
    """A grammar; its root rule is `root`."""

    rules: dict[str, Node] = field(default_factory=dict)

    @classmethod
    def read(cls, text: str) -> Gbnf:
        """Return the grammar of a text. Raises ValueError for what is no GBNF, or for a name without a rule."""
        grammar = cls()
        for line in text.strip("\n").split("\n"):
            name, _, body = line.partition(" ::= ")
            assert re.fullmatch(r"[a-z][a-z0-9-]*", name), line
            assert name not in grammar.rules, f"{name} twice"
            grammar.rules[name] = _Reader(body).whole()
        for node in grammar.rules.values():
            _check_names(node, grammar.rules)
        return grammar

    def admits(self, text: str) -> bool:
        """Tell whether the whole text is of the grammar."""
        return len(text) in _Matcher(self, text).ends(self.rules["root"], 0)

    def draw(self, source: random.Random) -> str:
        """Return a text of the grammar."""
        return _drawn(self, self.rules["root"], source, 0)


class _Reader:
    def __init__(self, body: str) -> None:
        self.tokens: list[tuple[str, str]] = []
        at = 0
        while body[at:].strip():
            match = _TOKEN.match(body, at)
            if match is None:
                raise ValueError(f"no GBNF: {body[at : at + 40]!r}")
            self.tokens.append((match.lastgroup or "", match.group().strip(" ")))
            at = match.end()
        self.at = 0

    def whole(self) -> Node:
        node = self.any()
        if self.at != len(self.tokens):
            raise ValueError(f"no GBNF: {self.tokens[self.at :]}")
        return node

    def peek(self) -> str:
        return self.tokens[self.at][1] if self.at < len(self.tokens) else ""

    def any(self) -> Node:
        parts = [self.all()]
        while self.peek() == "|":
            self.at += 1
            parts.append(self.all())
        return Node("any", parts=tuple(parts))

    def all(self) -> Node:
        parts = []
        while self.at < len(self.tokens) and self.peek() not in ("|", ")"):
            parts.append(self.counted(self.one()))
        return Node("all", parts=tuple(parts))

    def one(self) -> Node:
        kind, token = self.tokens[self.at]
        self.at += 1
        if token == "(":
            node = self.any()
            assert self.peek() == ")"
            self.at += 1
            return node
        if kind == "text":
            return Node("text", text="".join(character for character, _ in unescaped(token[1:-1])))
        if kind == "set":
            return Node("set", text="^" if token[1] == "^" else "", ranges=_ranges(token[1:-1].removeprefix("^")))
        assert kind == "name", token
        return Node("name", text=token)

    def counted(self, node: Node) -> Node:
        kind, token = self.tokens[self.at] if self.at < len(self.tokens) else ("", "")
        bounds: tuple[int, int | None] | None = {"*": (0, None), "+": (1, None), "?": (0, 1)}.get(token)
        if kind == "count":
            least, comma, most = token[1:-1].partition(",")
            bounds = (int(least), int(most) if most else None if comma else int(least))
        if bounds is None or kind not in ("count", "sign"):
            return node
        self.at += 1
        return Node("many", parts=(node,), least=bounds[0], most=bounds[1])


def _ranges(text: str) -> tuple[tuple[str, str], ...]:
    signs, found, at = unescaped(text), [], 0
    while at < len(signs):
        if at + 2 < len(signs) and signs[at + 1] == ("-", False):
            found.append((signs[at][0], signs[at + 2][0]))
            at += 3
        else:
            found.append((signs[at][0], signs[at][0]))
            at += 1
    return tuple(found)


def _check_names(node: Node, rules: dict[str, Node]) -> None:
    if node.kind == "name" and node.text not in rules:
        raise ValueError(f"no rule {node.text}")
    for part in node.parts:
        _check_names(part, rules)


class _Matcher:
    def __init__(self, grammar: Gbnf, text: str) -> None:
        self.grammar = grammar
        self.text = text
        self.known: dict[tuple[str, int], set[int]] = {}

    def ends(self, node: Node, at: int) -> set[int]:
        """Return all places where a match of the node that begins at `at` can end."""
        match: Callable[[Node, int], set[int]] = getattr(self, f"_{node.kind}")
        return match(node, at)

    def _text(self, node: Node, at: int) -> set[int]:
        return {at + len(node.text)} if self.text.startswith(node.text, at) else set()

    def _set(self, node: Node, at: int) -> set[int]:
        if at >= len(self.text):
            return set()
        inside = any(low <= self.text[at] <= high for low, high in node.ranges)
        return {at + 1} if inside != bool(node.text) else set()

    def _name(self, node: Node, at: int) -> set[int]:
        key = (node.text, at)
        if key not in self.known:
            self.known[key] = self.ends(self.grammar.rules[node.text], at)
        return self.known[key]

    def _all(self, node: Node, at: int) -> set[int]:
        places = {at}
        for part in node.parts:
            places = {end for place in places for end in self.ends(part, place)}
        return places

    def _any(self, node: Node, at: int) -> set[int]:
        return {end for part in node.parts for end in self.ends(part, at)}

    def _many(self, node: Node, at: int) -> set[int]:
        places, found, count = {at}, set[int](), 0
        while places and (node.most is None or count <= node.most):
            if count >= node.least:
                if places <= found:
                    break
                found |= places
            places = {end for place in places for end in self.ends(node.parts[0], place)}
            count += 1
        return found


def _drawn(grammar: Gbnf, node: Node, source: random.Random, depth: int) -> str:
    if node.kind == "text":
        return node.text
    if node.kind == "set":
        return _drawn_from(node, source)
    if node.kind == "name":
        return _drawn(grammar, grammar.rules[node.text], source, depth + 1)
    if node.kind == "all":
        return "".join(_drawn(grammar, part, source, depth) for part in node.parts)
    if node.kind == "any":
        # Deep inside a recursion only the parts without rules of their own end it.
        flat = [part for part in node.parts if not _names(part)] if depth > 12 else []
        return _drawn(grammar, source.choice(flat or node.parts), source, depth)
    most = node.least + (0 if depth > 12 else 3) if node.most is None else min(node.most, node.least + 3)
    return "".join(_drawn(grammar, node.parts[0], source, depth) for _ in range(source.randint(node.least, most)))


def _names(node: Node) -> bool:
    return node.kind == "name" or any(map(_names, node.parts))


def _drawn_from(node: Node, source: random.Random) -> str:
    if not node.text:
        low, high = source.choice(node.ranges)
        return chr(source.randint(ord(low), ord(high)))
    signs = "aZ09 .,;:-\"'`\\/<>&{}[]|*#\t\r\x1b\x7f\xa0\u2028\u3000é漢😀"
    fitting = [sign for sign in signs if not any(low <= sign <= high for low, high in node.ranges)]
    return source.choice(fitting)
