"""YAML 1.2 core, read with the place of each value.

Only `true` and `false` are booleans, dates and times are text, and a key is the text that is written. What makes
a file mean something else than it seems to say is refused: repeated keys, aliases, merge keys, tags, and `{{`
without quotes, which YAML takes for two mappings.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml
from yaml.events import (
    AliasEvent,
    DocumentStartEvent,
    Event,
    MappingEndEvent,
    MappingStartEvent,
    ScalarEvent,
    SequenceEndEvent,
    SequenceStartEvent,
)

from promptkit.errors import InputError, Problem, place
from promptkit.storage.files import decode_bytes, read_bytes
from promptkit.storage.strict_json import MAX_DIGITS

if TYPE_CHECKING:
    from yaml._yaml import Mark as CMark

    Mark = yaml.Mark | CMark

Key = str | int
Place = tuple[int, int]

MAX_DEPTH = 100
MAX_VALUES = 100_000
MAX_PROBLEMS = 50

_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_CONSTANTS: dict[str, bool | None] = {
    **dict.fromkeys(("", "~", "null", "Null", "NULL")),
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
}
_INTEGER = re.compile(r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)")
_NOT_TEXT = re.compile("[\x00\ud800-\udfff]")
_LINE_END = re.compile(r"\r\n|[\n\r]")
_BARE_BRACES = re.compile(r"(?:[:,\[{-]\s+|^\s*|[{\[])(\{\{.*?(?:\}\}|$))", re.MULTILINE)
_STRING_TAGS = (None, "!", "tag:yaml.org,2002:str")


@dataclass(slots=True)
class Node:
    """A value with its place (lines and columns from 1) and its extent (offsets into the text)."""

    value: Any
    line: int
    column: int
    start: int
    end: int
    text: str | None = None
    flow: bool = False
    children: dict[Key, Node] = field(default_factory=dict)
    keys: dict[Key, Place] = field(default_factory=dict)


def _extent(event: Event) -> tuple[Mark, Mark]:
    """Return the start and the end of an event in the text; the parser always sets them."""
    assert event.start_mark is not None and event.end_mark is not None
    return event.start_mark, event.end_mark


class _Stop(Exception):
    """Ends the reading of a file in which nothing more can be found."""


class Reader:
    """Makes nodes of the parser's events and notes refused syntax."""

    def __init__(self, source: str, file: str, first_line: int, max_values: int) -> None:
        self.source = source
        self.file = file
        self.first_line = first_line
        self.problems: list[Problem] = []
        self._values_left = max_values
        self._events: Iterator[Event] = yaml.parse(source, Loader=_LOADER)

    def read(self) -> tuple[Node, yaml.MarkedYAMLError | None]:
        """Return the root, and the error that ended the reading if the syntax is wrong."""
        root, seen = Node(None, self.first_line, 1, 0, 0), False
        try:
            for event in self._events:
                if not isinstance(event, DocumentStartEvent):
                    continue
                if seen:
                    self._refuse(event, "a second document", "keep one document in a file")
                    break
                root, seen = self._node(next(self._events), 0), True
        except _Stop:
            pass
        except yaml.MarkedYAMLError as error:
            return root, error
        return root, None

    def _node(self, event: Event, depth: int) -> Node:
        self._values_left -= 1
        if self._values_left < 0:
            self._refuse(event, "too many values in one file", "keep data in a .jsonl or .csv file")
            raise _Stop
        if depth > MAX_DEPTH:
            self._refuse(event, f"nested deeper than {MAX_DEPTH} levels")
            raise _Stop
        start, end = _extent(event)
        node = Node(None, start.line + self.first_line, start.column + 1, start.index, end.index)
        if isinstance(event, AliasEvent):
            self._refuse(event, f"the alias `*{event.anchor}` is not read", "write the value out")
        elif isinstance(event, ScalarEvent):
            node.text = event.value
            node.value = self._scalar(event)
        elif isinstance(event, SequenceStartEvent):
            self._check_tag(event)
            self._sequence(node, event, depth)
        elif isinstance(event, MappingStartEvent):
            self._check_tag(event)
            self._mapping(node, event, depth)
        return node

    def _sequence(self, node: Node, start: SequenceStartEvent, depth: int) -> None:
        node.value, node.flow = [], bool(start.flow_style)
        while not isinstance(event := next(self._events), SequenceEndEvent):
            child = self._node(event, depth + 1)
            node.children[len(node.value)] = child
            node.value.append(child.value)
            node.end = child.end
        if node.flow:
            node.end = _extent(event)[1].index

    def _mapping(self, node: Node, start: MappingStartEvent, depth: int) -> None:
        node.value, node.flow = {}, bool(start.flow_style)
        while not isinstance(event := next(self._events), MappingEndEvent):
            key = self._key(event, node, depth)
            child = self._node(next(self._events), depth + 1)
            node.end = child.end
            if key is not None:
                node.children[key] = child
                key_mark, _ = _extent(event)
                node.keys[key] = (key_mark.line + self.first_line, key_mark.column + 1)
                node.value[key] = child.value
        if node.flow:
            node.end = _extent(event)[1].index

    def _key(self, event: Event, mapping: Node, depth: int) -> str | None:
        """Return the text of a key, or None where it is refused."""
        start, _ = _extent(event)
        if not isinstance(event, ScalarEvent):
            noted = len(self.problems)
            self._node(event, depth + 1)
            del self.problems[noted:]
            if mapping.flow and isinstance(event, MappingStartEvent) and start.index == mapping.start + 1:
                self._note(mapping.line, mapping.column, *_braces_advice(self.source[mapping.start :]))
            else:
                self._refuse(event, "a key must be text", "put it in quotes")
            return None
        self._check_tag(event)
        if event.value == "<<" and event.implicit[0]:
            self._refuse(event, "the merge key `<<` is not read", "write the keys out")
            return None
        if event.value in mapping.keys:
            self._refuse(
                event, f"the key `{event.value}` is given twice (first in line {mapping.keys[event.value][0]})"
            )
            return None
        if _NOT_TEXT.search(event.value):
            self._refuse(event, "a key holds a character that is not text")
            return None
        return event.value

    def _scalar(self, event: ScalarEvent) -> str | int | float | bool | None:
        self._check_tag(event)
        text = event.value
        if event.style not in (None, "") or event.tag is not None:
            if _NOT_TEXT.search(text):
                self._refuse(event, "the text holds a character that is not text")
            return text
        if text in _CONSTANTS:
            return _CONSTANTS[text]
        if text[0] not in "-+.0123456789":
            return text
        return self._number(event, text)

    def _number(self, event: ScalarEvent, text: str) -> str | int | float:
        if _INTEGER.fullmatch(text):
            if len(text) <= MAX_DIGITS:
                return int(text, 0) if text[:2] in ("0o", "0x") else int(text)
            self._refuse(event, "the number has too many digits", "put it in quotes to have it as text")
            return text
        if not _FLOAT.fullmatch(text):
            return text
        number = float(text) if text[-1] in ".0123456789" else math.inf
        if math.isinf(number):
            self._refuse(event, "a number must be finite", "put it in quotes to have it as text")
        return number

    def _check_tag(self, event: ScalarEvent | SequenceStartEvent | MappingStartEvent) -> None:
        allowed = _STRING_TAGS if isinstance(event, ScalarEvent) else (None,)
        if event.tag not in allowed:
            self._refuse(event, f"the tag `{event.tag}` is not read", "leave it out")

    def _refuse(self, event: Event, message: str, hint: str | None = None) -> None:
        mark = _extent(event)[0]
        self._note(mark.line + self.first_line, mark.column + 1, message, hint)

    def _note(self, line: int, column: int, message: str, hint: str | None) -> None:
        self.problems.append(Problem(message, self.file, line, column, hint))
        if len(self.problems) >= MAX_PROBLEMS:
            raise _Stop

    def bare_braces(self, error: yaml.MarkedYAMLError) -> tuple[Problem, str] | None:
        """Return the problem of an unquoted `{{` that broke the syntax, and the source with it made harmless."""
        ends = [match.end() for match in _LINE_END.finditer(self.source)]
        starts = [0, *ends]
        for mark in (error.problem_mark, error.context_mark):
            if mark is None or mark.line >= len(starts):
                continue
            start = starts[mark.line]
            end = ends[mark.line] if mark.line < len(ends) else len(self.source)
            found = _BARE_BRACES.search(self.source, start, end)
            if found:
                message, hint = _braces_advice(self.source[found.start(1) : end])
                column = found.start(1) - start + 1
                problem = Problem(message, self.file, mark.line + self.first_line, column, hint)
                harmless = "x" * len(found.group(1))
                return problem, self.source[: found.start(1)] + harmless + self.source[found.end(1) :]
        return None

    def syntax_problem(self, error: yaml.MarkedYAMLError) -> Problem:
        """Return the parser's error as a problem."""
        mark = error.problem_mark or error.context_mark
        assert mark is not None
        message = str(error.problem or error.context)
        if error.problem and error.context_mark and "next token" not in str(error.context):
            message = f"{message} {error.context} that begins in line {error.context_mark.line + self.first_line}"
        hint = None
        if self.source[mark.index : mark.index + 1] == "\t":
            hint = "indent with spaces, not with tabs"
        elif "cannot start any token" in message:
            hint = "put the value in quotes"
        elif "mapping values" in message or "expected key" in message:
            hint = "check the indentation, and put text that holds `: ` in quotes"
        return Problem(message, self.file, mark.line + self.first_line, mark.column + 1, hint)


def means_text(plain: str) -> bool:
    """Tell whether a scalar without quotes is read as text."""
    return not (plain in _CONSTANTS or _INTEGER.fullmatch(plain) or _FLOAT.fullmatch(plain))


def _braces_advice(rest: str) -> tuple[str, str]:
    """Return message and hint for an unquoted `{{` that `rest` begins with."""
    expression = re.match(r"\{\{[^\n]*?\}\}", rest)
    shown = expression.group() if expression else "{{ … }}"
    quote = "'" if '"' in shown else '"'
    return "`{{` needs quotes, else YAML reads a mapping", f"put the whole value in quotes: {quote}{shown}{quote}"


MAX_BYTES = 10_000_000
# Up to this size a file is read again and again, each time with one broken line made harmless.
_SMALL = 100_000

# Characters that YAML does not allow, or that the parser takes for the end of a line unlike YAML 1.2 and editors.
REFUSED = re.compile("[^\t\n\r -~\xa0-\u2027\u202a-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


@dataclass(frozen=True, slots=True)
class Document:
    """A YAML text as plain values, and the place of each."""

    value: Any
    file: str
    root: Node = field(repr=False)

    def node(self, path: Sequence[Key]) -> Node:
        """Return the node at `path`. Raises KeyError where there is none."""
        node = self.root
        for key in path:
            node = node.children[key]
        return node

    def at(self, path: Sequence[Key], *, key: bool = False) -> Place:
        """Return line and column of the value (or of its key) at `path`, else of its nearest parent."""
        node, where = self.root, (self.root.line, self.root.column)
        for part in path:
            if part not in node.children:
                return where
            parent, node = node, node.children[part]
            where = (node.line, node.column)
        if key and path:
            return parent.keys.get(path[-1], where)
        return where

    def get(self, path: Sequence[Key]) -> Any:
        """Return the value at `path`. Raises KeyError where there is none."""
        return self.node(path).value

    def text(self, path: Sequence[Key]) -> str:
        """Return the scalar at `path` as it is written, without its quotes. Raises KeyError where there is none."""
        text = self.node(path).text
        if text is None:
            raise KeyError(path)
        return text

    def problem(self, path: Sequence[Key], message: str, hint: str | None = None, *, key: bool = False) -> Problem:
        """Return a problem with the value (or the key) at `path`."""
        line, column = self.at(path, key=key)
        return Problem(message, self.file, line, column, hint)


def load_file(path: Path, *, max_values: int = MAX_VALUES) -> Document:
    """Read the document in a file. Raises InputError."""
    return load(read_bytes(path), file=str(place(path)), max_values=max_values)


def load(text: str | bytes, *, file: str, first_line: int = 1, max_values: int = MAX_VALUES) -> Document:
    """Read one document. Raises InputError with all problems, as far as they can be found.

    `first_line` is the line of the file that `text` begins on.
    """
    problems: list[Problem] = []
    if len(text) > MAX_BYTES:
        hint = "keep data in a .jsonl or .csv file"
        raise InputError(Problem(f"larger than {MAX_BYTES // 1_000_000} MB", file, hint=hint))
    source = decode(text, file=file, first_line=first_line)
    attempts = MAX_PROBLEMS if len(source) <= _SMALL else 1
    while True:
        reader = Reader(source, file, first_line, max_values)
        root, broken = reader.read()
        braces = reader.bare_braces(broken) if broken else None
        if not braces or len(problems) == attempts:
            break
        # The rest of the file is read with the line made harmless, so that all such lines are found at once.
        problem, source = braces
        problems.append(problem)
    problems += reader.problems
    if broken:
        syntax = reader.syntax_problem(broken)
        if all(problem.line != syntax.line for problem in problems):
            problems.append(syntax)
    if problems:
        raise InputError(sorted(problems, key=lambda problem: (problem.line or 0, problem.column or 0)))
    return Document(root.value, file, root)


def decode(text: str | bytes, *, file: str, first_line: int = 1) -> str:
    """Return `text` without its byte order mark. Raises InputError for text that is not UTF-8 or not printable."""
    if isinstance(text, bytes):
        text = decode_bytes(text, file=file, first_line=first_line)
    text = text.removeprefix("\ufeff")
    problems = []
    for found in REFUSED.finditer(text):
        code = ord(found.group())
        line = text.count("\n", 0, found.start()) + first_line
        column = found.start() - text.rfind("\n", 0, found.start())
        hint = f'write it as "\\u{code:04x}", in double quotes' if 0 < code < 0xD800 else None
        problems.append(Problem(f"the character U+{code:04X} cannot stand in YAML", file, line, column, hint))
        if len(problems) == MAX_PROBLEMS:
            break
    if problems:
        raise InputError(problems)
    return text
