"""YAML 1.2 core, read with the place of each value.

Only `true` and `false` are booleans, dates and times are text, and a key is the text that is written. What makes a file
mean something else than it seems to say is refused: repeated keys, aliases, merge keys, tags, and `{{` without quotes,
which YAML takes for two mappings.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from promptkit.errors import InputError, Problem, place
from promptkit.storage.files import decode_bytes, read_bytes
from promptkit.storage.nodes import MAX_PROBLEMS, MAX_VALUES, Key, Node, Place, Reader

MAX_BYTES = 10_000_000
# Up to this size a file is read again and again, each time with one broken line made harmless.
_SMALL = 100_000

# What YAML has no place for, and what the parser takes for the end of a line though YAML 1.2 and editors do not.
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
    """Read one document. Raises InputError with all that is wrong, as far as it can be told.

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
    """Return `text` without its byte order mark. Raises InputError for what is not UTF-8 or not printable."""
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
