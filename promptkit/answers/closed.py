"""Closed sets of texts (labels, options) and how a reply names one of them."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from typing import Any, Final

from promptkit.answers.base import Unparsed, shown, undecorated
from promptkit.answers.mentions import Mentions, mentions_of
from promptkit.errors import InputError, nearest

MOST_SHOWN: Final = 100
"""How many names a message shows."""

_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f-\x9f]")
_SURROGATE: Final = re.compile(r"[\ud800-\udfff]")

MANY_NAMES: Final = 2_000
"""So many take more than 10 ms until they can be looked for in a reply."""


class Names:
    """A closed set of texts. Exact wording comes before any case, and the longest name before one that it holds."""

    def __init__(self, names: Sequence[str]) -> None:
        self.names = tuple(names)
        self._exact = frozenset(names)
        self._folded: dict[str, str | None] = {}
        for name in names:
            key = name.casefold()
            self._folded[key] = None if key in self._folded else name
        if len(self.names) >= MANY_NAMES:
            mentions_of(self.names)  # made here, where a file is read, and not on the event loop

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
        return (name for _, name in self.places(text))

    def places(self, text: str) -> Iterator[tuple[int, str]]:
        """Yield the names that stand in the text as whole words, each with where it begins; none overlap."""
        at = 0
        for start, end in self._mentions.places(text):
            if start >= at:
                at = end
                name = self.whole(text[start:end])
                if name is not None:
                    yield start, name

    @cached_property
    def _mentions(self) -> Mentions:
        return mentions_of(self.names)

    def only(self, text: str) -> str:
        """Return the name that the text is, or the only one it mentions. Raises Unparsed."""
        name = self.whole(text)
        if name is not None:
            return name
        found = set(self.mentions(text))
        if len(found) == 1:
            return found.pop()
        if not text.strip():
            raise Unparsed(f"the reply is empty; expected one of: {_some(self.names, ', ')}")
        if found:
            several = [name for name in self.names if name in found]
            raise Unparsed(f"{shown(text)} names several of the labels: {_some(several, ' and ')}")
        raise Unparsed(f"{shown(text)} is none of: {_some(self.names, ', ')}")


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


def known(name: Any, names: Collection[str], what: str) -> str:
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
    if _CONTROL.search(name):
        return f"{name!r} holds a line break or another control character"
    if _SURROGATE.search(name):
        return f"{name!r} is no valid Unicode"
    return None


def _some(names: Sequence[str], between: str) -> str:
    """Return names as a message shows them: all, or how many more there are."""
    more = len(names) - MOST_SHOWN
    return between.join(names[:MOST_SHOWN]) + (f" and {more:,} more" if more > 0 else "")
