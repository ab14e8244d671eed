"""Marked-up parts of a given text."""

from __future__ import annotations

import html
import re
from bisect import bisect_left, bisect_right
from collections import Counter
from collections.abc import Hashable, Iterator, Mapping, Sequence
from difflib import SequenceMatcher
from typing import Any, Final

from promptkit.answers.base import WHOLE_REPLY, AnswerType, Reading, Refusal, Unparsed, after_marker, quoted
from promptkit.answers.closed_sets import check_known, read_names
from promptkit.answers.constraints.gbnf import Grammar, literal
from promptkit.answers.reader.refusals import refuses
from promptkit.errors import InputError, nearest

_TAG = re.compile(
    r"""<span\s{1,9}class\s{0,9}=\s{0,9}["']?([^"'>\n]{0,200})["']?\s{0,9}>|(</span\s{0,9}>)""", re.IGNORECASE
)
_TOKEN = re.compile(r"\w+|[^\w\s]")
_CLOSE = "</span>"
LEAST_COPIED = 0.5
"""The share of the text's words that must stand in a copy; a refusal has fewer."""


class Spans(AnswerType):
    """Spans of a text. The model copies the text and marks each span with `<span class="CLASS">…</span>`, without
    overlaps.

    A value is a list of `{"start": 12, "end": 17, "class": "problem"}` in the text's order, in characters. A span of a
    reply is accepted where all its words occur in the text next to each other, whatever else the model changed in its
    copy. White space is ignored.
    """

    name = "spans"

    def __init__(self, classes: Any, text: Any) -> None:
        self.classes = read_names(classes, "spans")
        faults = [f"spans: {name!r} cannot be a class" for name in self.classes if set(name) & set("\"'<>&")]
        if not isinstance(text, str) or not text.strip():
            faults.append("spans: `text` must be the text to mark up, and not blank")
        if faults:
            raise InputError("\n".join(faults))
        self.text: str = text.strip()
        self._shift = len(text) - len(text.lstrip())
        self.max_tokens = 64 + len(text)

    def words(self, span: Mapping[str, Any]) -> str:
        """Return the words of the text that a span marks."""
        return self.text[span["start"] - self._shift : span["end"] - self._shift]

    def format(self, value: Any) -> str:
        parts, at = [], 0
        for span in value if isinstance(value, list) else [value]:
            start, end, kind = self._read_span(span)
            if not at <= start < end <= len(self.text):
                raise ValueError(f"{span!r} lies outside the text, is empty, or overlaps the span before")
            inner = _escaped_html(self.text[start:end])
            parts += [_escaped_html(self.text[at:start]), _opening_tag(kind), inner, _CLOSE]
            at = end
        return "".join(parts) + _escaped_html(self.text[at:])

    def read(self, text: str) -> list[dict[str, Any]]:
        copy, spans = self._without_tags(text.strip())
        if copy == self.text:
            found = spans
        elif len(copy) > 2 * len(self.text) + 200:
            raise Unparsed("the reply is much longer than the text to mark up")
        else:
            found = self._aligned(copy, spans)
        return [{"start": start + self._shift, "end": end + self._shift, "class": kind} for start, end, kind in found]

    def conclude(self, text: str, cue: str, *, thinks: bool = False, cut: bool = False, question: str = "") -> Reading:
        rest, marked = after_marker(text, cue)
        try:
            return Reading(self.read(rest), "cue" if marked else WHOLE_REPLY)
        except Unparsed as unparsed:
            if refuses(text):
                raise Refusal(f"the reply declines to answer: {quoted(text)}") from unparsed
            raise

    def expression(self, grammar: Grammar) -> str:
        """Return the expression of all copies. It has one rule for each place, outside a span and inside one of each
        class.
        """
        after, inside = '""', [""] * len(self.classes)
        for at in range(len(self.text) - 1, -1, -1):
            here = literal(_escaped_html(self.text[at]))
            inside = [
                grammar.rule(
                    f"inside-{number}-{at}", f"{here} ({literal(_CLOSE)} {after}{f' | {going_on}' if going_on else ''})"
                )
                for number, going_on in enumerate(inside)
            ]
            begun = [f"{literal(_opening_tag(kind))} {name}" for kind, name in zip(self.classes, inside, strict=True)]
            after = grammar.rule(f"outside-{at}", " | ".join([f"{here} {after}", *begun]))
        return after

    def vote_key(self, value: Any) -> Hashable:
        return frozenset((span["start"], span["end"], span["class"]) for span in value)

    def description(self) -> Mapping[str, Any]:
        return {"classes": [{"label": name, "definition": text} for name, text in self.classes.items()]}

    def _read_span(self, span: Any) -> tuple[int, int, str]:
        if not isinstance(span, Mapping) or span.keys() != {"start", "end", "class"}:
            raise ValueError(f"{span!r} is not a span: a span has start, end and class")
        start, end = span["start"], span["end"]
        if not all(isinstance(place, int) and not isinstance(place, bool) for place in (start, end)):
            raise ValueError(f"{span!r}: start and end are whole numbers")
        return start - self._shift, end - self._shift, check_known(span["class"], self.classes, "class")

    def _without_tags(self, text: str) -> tuple[str, list[tuple[int, int, str]]]:
        """Return the copy without markup, and its spans. A tag that does not match the one before is ignored."""
        spans: list[tuple[int, int, str]] = []
        begun: tuple[int, str] | None = None
        parts: list[str] = []
        at = length = 0
        for tag in _TAG.finditer(text):
            parts.append(html.unescape(text[at : tag.start()]))
            length += len(parts[-1])
            at = tag.end()
            if begun and begun[0] < length and tag.group(2):
                spans.append((begun[0], length, begun[1]))
            begun = None if tag.group(2) else (length, self._class(tag.group(1)))
        return "".join(parts) + html.unescape(text[at:]), spans

    def _class(self, name: str) -> str:
        for candidate in self.classes:
            if candidate.casefold() == name.strip().casefold():
                return candidate
        hint = nearest(name, self.classes)
        raise Unparsed(f"{quoted(name)} is not a class" + (f"; {hint}" if hint else ""))

    def _aligned(self, copy: str, spans: list[tuple[int, int, str]]) -> list[tuple[int, int, str]]:
        """Return the spans that can be transferred to the text, in its offsets."""
        theirs, ours = list(_TOKEN.finditer(copy)), list(_TOKEN.finditer(self.text))
        their_words, our_words = [token.group() for token in theirs], [token.group() for token in ours]
        copied = (Counter(their_words) & Counter(our_words)).total()
        if copied < LEAST_COPIED * len(ours):
            raise Unparsed(f"the reply has {copied} of the text's {len(ours)} words: it is not a copy of the text")
        place = aligned(their_words, our_words)
        found = []
        starts, ends = [token.start() for token in theirs], [token.end() for token in theirs]
        for start, end, kind in spans:
            held = range(bisect_right(ends, start), bisect_left(starts, end))
            whole = held and starts[held[0]] >= start and ends[held[-1]] <= end
            places = [place.get(number) for number in held]
            first = places[0] if whole else None
            if first is not None and places == list(range(first, first + len(places))):
                found.append((ours[first].start(), ours[first + len(places) - 1].end(), kind))
        return found


def _escaped_html(text: str) -> str:
    return html.escape(text, quote=False)


def _opening_tag(kind: str) -> str:
    return f'<span class="{kind}">'


MAX_PAIRS: Final = 90_000
"""Up to how many pairs of words difflib compares them; what it costs grows with the cube of their count."""


def aligned(left: Sequence[str], right: Sequence[str]) -> dict[int, int]:
    """Map places in `left` to places in `right` with the same word, both in order.

    Longer sequences are split at the words that occur once in each (patience diff). A long part between two such words
    is aligned only at its start and end.
    """
    found: dict[int, int] = {}
    begin = (0, 0)
    for end in (*_anchors(left, right), (len(left), len(right))):
        found.update(_aligned_part(left, right, begin, end))
        begin = end
    return found


def _anchors(left: Sequence[str], right: Sequence[str]) -> list[tuple[int, int]]:
    """Return the places of words that occur once in each sequence, as the longest run that is in order."""
    if len(left) * len(right) <= MAX_PAIRS:
        return []
    once = [{word for word, count in Counter(words).items() if count == 1} for words in (left, right)]
    shared = once[0] & once[1]
    place = {word: at for at, word in enumerate(right) if word in shared}
    ends: list[int] = []
    last: list[tuple[int, int]] = []
    before: dict[tuple[int, int], tuple[int, int] | None] = {}
    for at, word in enumerate(left):
        if word in place:
            pair = (at, place[word])
            length = bisect_left(ends, pair[1])
            before[pair] = last[length - 1] if length else None
            ends[length : length + 1], last[length : length + 1] = [pair[1]], [pair]
    run: list[tuple[int, int]] = []
    step = last[-1] if last else None
    while step is not None:
        run.append(step)
        step = before[step]
    return run[::-1]


def _aligned_part(
    left: Sequence[str], right: Sequence[str], begin: tuple[int, int], end: tuple[int, int]
) -> Iterator[tuple[int, int]]:
    """Yield the places of equal words in a part of each sequence."""
    (first, other_first), (last, other_last) = begin, end
    while first < last and other_first < other_last and left[first] == right[other_first]:
        yield first, other_first
        first, other_first = first + 1, other_first + 1
    while first < last and other_first < other_last and left[last - 1] == right[other_last - 1]:
        last, other_last = last - 1, other_last - 1
        yield last, other_last
    if (last - first) * (other_last - other_first) <= MAX_PAIRS:
        matcher = SequenceMatcher(None, left[first:last], right[other_first:other_last])
        for block in matcher.get_matching_blocks():
            for step in range(block.size):
                yield first + block.a + step, other_first + block.b + step
