"""Closed sets of texts (labels, options), and how a reply names one of them."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from functools import cached_property, lru_cache
from typing import Any, Final

from promptkit.answers.base import Unparsed, quoted, stripped_forms
from promptkit.errors import InputError, nearest

MAX_NAMES_SHOWN: Final = 100
"""Number of names that a message lists."""

_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f-\x9f]")
_SURROGATE: Final = re.compile(r"[\ud800-\udfff]")

MANY_NAMES: Final = 2_000
"""Number of names from which building the finder takes more than 10 ms."""


class ClosedSet:
    """A closed set of texts. An exact match wins over another case, a longer name over one inside it."""

    def __init__(self, names: Sequence[str]) -> None:
        self.names = tuple(names)
        self._exact = frozenset(names)
        self._folded: dict[str, str | None] = {}
        for name in names:
            key = name.casefold()
            self._folded[key] = None if key in self._folded else name
        if len(self.names) >= MANY_NAMES:
            mention_finder(self.names)  # built while a file is read, not on the event loop

    def whole(self, text: str) -> str | None:
        """Return the name that a text is, ignoring case, quotes and a full stop; None where it is none of them."""
        for candidate in stripped_forms(text):
            if candidate in self._exact:
                return candidate
            folded = self._folded.get(candidate.casefold())
            if folded is not None:
                return folded
        return None

    def mentions(self, text: str) -> Iterator[str]:
        """Yield the names that occur in the text as whole words, in order."""
        return (name for _, _, name in self.places(text))

    def places(self, text: str) -> Iterator[tuple[int, int, str]]:
        """Yield the names that occur in the text as whole words, with start and end. They do not overlap."""
        at = 0
        for start, end in self._mentions.places(text):
            if start >= at:
                at = end
                name = self.whole(text[start:end])
                if name is not None:
                    yield start, end, name

    @cached_property
    def _mentions(self) -> MentionFinder:
        return mention_finder(self.names)

    def only(self, text: str) -> str:
        """Return the name that the text is, or the only one it mentions. Raises Unparsed."""
        name = self.whole(text)
        if name is not None:
            return name
        found = set(self.mentions(text))
        if len(found) == 1:
            return found.pop()
        if not text.strip():
            raise Unparsed(f"the reply is empty; expected one of: {_listed_names(self.names, ', ')}")
        if found:
            several = [name for name in self.names if name in found]
            raise Unparsed(f"{quoted(text)} names several of the labels: {_listed_names(several, ' and ')}")
        raise Unparsed(f"{quoted(text)} is none of: {_listed_names(self.names, ', ')}")


def read_names(given: Any, what: str) -> dict[str, str]:
    """Return texts with their definitions ('' for none) from a list or a mapping. Raises InputError with all faults."""
    if isinstance(given, Mapping):
        pairs = [(key, value) for key, value in given.items()]
    elif isinstance(given, list | tuple):
        pairs = [(item, "") for item in given]
    else:
        raise InputError(
            f"{what} must be a list of texts, or a mapping of text to definition, not {quoted(str(given))}"
        )
    if not pairs:
        raise InputError(f"{what} needs at least one text")
    faults: list[str] = []
    names: dict[str, str] = {}
    for key, definition in pairs:
        name = as_text(key)
        if name is None or (definition is not None and as_text(definition) is None):
            faults.append(f"{what}: {quoted(str(key))} must be a text")
        elif name in names:
            faults.append(f"{what}: {quoted(name)} is given twice")
        else:
            names[name] = as_text(definition) or ""
    faults += [f"{what}: {fault}" for name in names if (fault := _name_fault(name))]
    if faults:
        raise InputError("\n".join(faults))
    return names


def separator_for(names: Iterable[str]) -> str:
    """Return the first of comma, semicolon and line break that no name contains."""
    held = "".join(names)
    return next(mark for mark in (", ", "; ", "\n") if mark[0] not in held)


def as_text(value: Any) -> str | None:
    """Return a scalar as YAML writes it; None for anything else."""
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value) if isinstance(value, str | int | float) else None


def check_known(name: Any, names: Collection[str], what: str) -> str:
    """Return `name` where it is one of the names. Raises ValueError with the nearest one."""
    if isinstance(name, str) and name in names:
        return name
    hint = nearest(str(name), names)
    raise ValueError(f"{name!r} is not a known {what}" + (f"; {hint}" if hint else ""))


def _name_fault(name: str) -> str | None:
    if not name.strip():
        return "a label cannot be blank"
    if name != name.strip():
        return f"{name!r} starts or ends with blanks"
    if _CONTROL.search(name):
        return f"{name!r} contains a line break or another control character"
    if _SURROGATE.search(name):
        return f"{name!r} is not valid Unicode"
    return None


def _listed_names(names: Sequence[str], between: str) -> str:
    """Return names for a message, or the first of them and the number of the others."""
    more = len(names) - MAX_NAMES_SHOWN
    return between.join(names[:MAX_NAMES_SHOWN]) + (f" and {more:,} more" if more > 0 else "")


# Words of scripts without spaces are single signs.
_SIGN: Final = r"[\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff]"
_TOKEN: Final = re.compile(rf"{_SIGN}|(?:(?!{_SIGN})\w)+|\W")
_CACHED: Final = 8
_ROOT: Final = 0


class MentionFinder:
    """Finds texts as whole words, in any case, in one pass over a reply.

    An Aho-Corasick automaton over the tokens of the reversed texts. It also reads the reply from the end, so that at
    each token it knows the longest text that starts there.
    """

    def __init__(self, texts: Sequence[str]) -> None:
        self._words: dict[str, int] = {}
        self._next: dict[tuple[int, int], int] = {}
        self._back: list[int] = []
        self._longest = [0]
        self._build(texts)

    def places(self, text: str) -> Iterator[tuple[int, int]]:
        """Yield start and end of the longest text at each place where one starts, in order. They may overlap."""
        tokens = _TOKEN.findall(text)
        lengths = self._lengths(tokens)
        starts = [0]
        for token in tokens:
            starts.append(starts[-1] + len(token))
        for at, length in enumerate(lengths):
            if length:
                yield starts[at], starts[at + length]

    def _lengths(self, tokens: Sequence[str]) -> list[int]:
        """Return, for each token, the number of tokens of the longest text that starts there."""
        words, following, back, longest = self._words, self._next, self._back, self._longest
        lengths = [0] * len(tokens)
        state = _ROOT
        for at in range(len(tokens) - 1, -1, -1):
            word = words.get(tokens[at].casefold())
            if word is None:
                state = _ROOT
                continue
            while (found := following.get((state, word))) is None and state:
                state = back[state]
            state = found or _ROOT
            lengths[at] = longest[state]
        return lengths

    def _build(self, texts: Sequence[str]) -> None:
        parents, depths = [_ROOT], [0]
        for text in texts:
            state = _ROOT
            for token in reversed(_TOKEN.findall(text)):
                word = self._words.setdefault(token.casefold(), len(self._words))
                found = self._next.setdefault((state, word), len(parents))
                if found == len(parents):
                    parents.append(state)
                    depths.append(depths[state] + 1)
                    self._longest.append(0)
                state = found
            self._longest[state] = depths[state]
        self._back = [_ROOT] * len(parents)
        # States next to the root fall back to the root; the others come after all shorter ones.
        for (parent, word), state in sorted(self._next.items(), key=lambda step: depths[step[1]]):
            if parent:
                shorter = self._back[parent]
                while shorter and (shorter, word) not in self._next:
                    shorter = self._back[shorter]
                self._back[state] = self._next.get((shorter, word), _ROOT)
            self._longest[state] = self._longest[state] or self._longest[self._back[state]]


@lru_cache(maxsize=_CACHED)
def mention_finder(texts: tuple[str, ...]) -> MentionFinder:
    """Return the finder of these texts, cached for a few sets."""
    return MentionFinder(texts)
