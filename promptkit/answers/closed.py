"""Closed sets of texts (labels, options) and how a reply names one of them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from promptkit.answers.base import Unparsed, shown, undecorated
from promptkit.errors import InputError, nearest


class Names:
    """A closed set of texts. Exact wording comes before any case, and the longest name before one that it holds."""

    def __init__(self, names: Sequence[str]) -> None:
        self.names = tuple(names)
        self._exact = frozenset(names)
        self._folded: dict[str, str | None] = {}
        for name in names:
            key = name.casefold()
            self._folded[key] = None if key in self._folded else name
        longest_first = sorted(names, key=len, reverse=True)
        self._mention = re.compile("|".join(_bounded(name) for name in longest_first) or r"(?!)", re.IGNORECASE)

    def whole(self, text: str) -> str | None:
        """Return the name that the text is, but for case, quotes and a full stop; None where it is none."""
        for candidate in undecorated(text):
            if candidate in self._exact:
                return candidate
            folded = self._folded.get(candidate.casefold())
            if folded is not None:
                return folded
        return None

    def mentions(self, text: str) -> Iterator[str]:
        """Yield the names that stand in the text as whole words, in order."""
        for match in self._mention.finditer(text):
            name = self.whole(match.group())
            if name is not None:
                yield name

    def only(self, text: str) -> str:
        """Return the name that the text is, or the only one it mentions. Raises Unparsed."""
        name = self.whole(text)
        if name is not None:
            return name
        found = set(self.mentions(text))
        if len(found) == 1:
            return found.pop()
        known = ", ".join(self.names)
        if not text.strip():
            raise Unparsed(f"the reply is empty; expected one of: {known}")
        if found:
            several = " and ".join(name for name in self.names if name in found)
            raise Unparsed(f"{shown(text)} names several of the labels: {several}")
        raise Unparsed(f"{shown(text)} is none of: {known}")


def read_names(given: Any, what: str) -> dict[str, str]:
    """Return texts with their definitions ('' for none) from a list or a mapping. Raises InputError with all faults."""
    if isinstance(given, Mapping):
        pairs = [(key, value) for key, value in given.items()]
    elif isinstance(given, list | tuple):
        pairs = [(item, "") for item in given]
    else:
        raise InputError(f"{what} must be a list of texts, or a mapping of text to definition, not {shown(str(given))}")
    if not pairs:
        raise InputError(f"{what} needs at least one text")
    faults: list[str] = []
    names: dict[str, str] = {}
    for key, definition in pairs:
        name = as_text(key)
        if name is None or (definition is not None and as_text(definition) is None):
            faults.append(f"{what}: {shown(str(key))} must be a text")
        elif name in names:
            faults.append(f"{what}: {shown(name)} is there twice")
        else:
            names[name] = as_text(definition) or ""
    faults += [f"{what}: {fault}" for name in names if (fault := _fault(name))]
    if faults:
        raise InputError("\n".join(faults))
    return names


def separator(names: Iterable[str]) -> str:
    """Return what can stand between the names: the first of comma, semicolon, line break that none of them holds."""
    held = "".join(names)
    return next(mark for mark in (", ", "; ", "\n") if mark[0] not in held)


def as_text(value: Any) -> str | None:
    """Return a scalar as the text YAML shows it as; None for anything else."""
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value) if isinstance(value, str | int | float) else None


def known(name: Any, names: Sequence[str], what: str) -> str:
    """Return `name` if it is one of the names. Raises ValueError with the nearest."""
    if isinstance(name, str) and name in names:
        return name
    hint = nearest(str(name), names)
    raise ValueError(f"{name!r} is no {what}" + (f"; {hint}" if hint else ""))


def _fault(name: str) -> str | None:
    if not name.strip():
        return "a label cannot be blank"
    if name != name.strip():
        return f"{name!r} begins or ends in blanks"
    if any(ord(character) < 0x20 or 0x7F <= ord(character) < 0xA0 for character in name):
        return f"{name!r} holds a line break or another control character"
    if any(0xD800 <= ord(character) < 0xE000 for character in name):
        return f"{name!r} is no valid Unicode"
    return None


def _bounded(name: str) -> str:
    before = r"(?<!\w)" if re.match(r"\w", name) else ""
    after = r"(?!\w)" if re.search(r"\w\Z", name) else ""
    return before + re.escape(name) + after
