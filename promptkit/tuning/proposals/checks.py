"""Checks of proposed instructions by their text alone, before a request is spent on them."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Final

from jinja2 import Environment, TemplateError, meta, nodes

QUOTED_WORDS: Final = 8
"""So many words in a row, shared with a row of the data, are quoted from it."""
SHORT_INPUT_WORDS: Final = 3
"""Words of an input below which it stands with its answer only where at most as many other words do."""
LONGER_TIMES, LONGER_CHARACTERS = 4, 400
"""How much longer than what they replace instructions may be."""

_TEMPLATES: Final = Environment()
# Where no blanks part words, each character is one.
_UNPARTED: Final = "\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af"
_WORD: Final = re.compile(rf"[{_UNPARTED}]|[^\W{_UNPARTED}]+")


@dataclass(frozen=True, slots=True)
class ProtectedRow:
    """The texts of a row's inputs, and the text of its answer (empty: none that is one)."""

    inputs: tuple[str, ...]
    answer: str = ""


def protected_rows(inputs: Sequence[Iterable[Any]], expected: Sequence[Any]) -> tuple[ProtectedRow, ...]:
    """Return what rows hold that no instructions may give away; what is the same in all rows is no row's own."""
    texts = [{text for value in values if (text := text_of(value))} for values in inputs]
    common = set.intersection(*texts) if len(texts) > 1 else set()
    answers = (text_of(value) if isinstance(value, str | int | float) else "" for value in expected)
    return tuple(
        ProtectedRow(tuple(sorted(each - common)), answer) for each, answer in zip(texts, answers, strict=True)
    )


def text_of(value: Any) -> str:
    """Return a value as a prompt may show it; null is nothing."""
    if value is None:
        return ""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)


@dataclass(frozen=True, slots=True)
class OriginalInstructions:
    """The instructions that a proposal is to replace, all else that the prompt says, and the inputs it may name."""

    source: str
    rest: str
    inputs: frozenset[str]

    @property
    def longest(self) -> int:
        """How many characters a proposal may have."""
        return LONGER_TIMES * len(self.source) + LONGER_CHARACTERS


def words(text: str) -> list[str]:
    """Return the words of a text in lower case."""
    return _WORD.findall(text.casefold())


def names_of(source: str) -> frozenset[str]:
    """Return the names that template source uses. Raises Jinja's errors where it is broken."""
    return frozenset(meta.find_undeclared_variables(_TEMPLATES.parse(source)))


def has_statements(source: str) -> bool:
    """Tell whether template source does more than print. Raises Jinja's errors where it is broken."""
    return any(not isinstance(each, nodes.Output) for each in _TEMPLATES.parse(source).find_all(nodes.Stmt))


def proposal_problem(
    text: str, original: OriginalInstructions, earlier: Sequence[str], rows: Sequence[ProtectedRow]
) -> str | None:
    """Return why proposed instructions are refused, None where they are not.

    `earlier` are proposals that are there already, `rows` all rows that the search may see.
    """
    if not text.strip():
        return "it is empty"
    if len(text) > original.longest:
        return f"it has {len(text):,} characters, and {original.longest:,} are the most"
    if words(text) == words(original.source):
        return "it is the same as the instructions are"
    if any(words(text) == words(each) for each in earlier):
        return "it is the same as an earlier proposal"
    return _wrong_names(text, original) or leaked_row(text, f"{original.source}\n{original.rest}", rows)


def _wrong_names(text: str, original: OriginalInstructions) -> str | None:
    try:
        if has_statements(text):
            return "it has template statements (`{% … %}`)"
        used = names_of(text)
    except (TemplateError, RecursionError, ValueError) as error:  # Jinja lets a number too long for Python through
        return f"it is no template: {error}"
    kept = names_of(original.source)
    if dropped := sorted(kept - used):
        return f"it drops {_listed(dropped)}"
    if unknown := sorted(used - kept - original.inputs):
        return f"it uses {_listed(unknown)}, which nothing gives"
    if not all(_is_plain(each, original) for each in _printed(text)):
        return "it works something out in braces: inputs stand there as they are"
    return None


def _listed(names: Sequence[str]) -> str:
    return ", ".join(f"`{{{{ {name} }}}}`" for name in names)


def _printed(source: str) -> Iterator[nodes.Node]:
    """Yield the expressions that template source prints."""
    for output in _TEMPLATES.parse(source).find_all(nodes.Output):
        yield from (each for each in output.nodes if not isinstance(each, nodes.TemplateData))


def _is_plain(expression: nodes.Node, original: OriginalInstructions) -> bool:
    """Tell whether an expression is an input's name, or one that the original prints too."""
    return isinstance(expression, nodes.Name) or any(expression == each for each in _printed(original.source))


def leaked_row(text: str, prompt: str, rows: Sequence[ProtectedRow]) -> str | None:
    """Return what a text gives away of rows, None where it gives nothing away.

    That is GRAM words in a row of an input, or an input whole with its answer in the same two lines; what the prompt
    has said before is no news.
    """
    said, known = _grams(words(text)), _grams(words(prompt))
    lines = [line for line in (" ".join(words(each)) for each in text.splitlines()) if line]
    places = [*lines, *(f"{first} {second}" for first, second in pairwise(lines))]
    before = f" {' '.join(words(prompt))} "
    for row in rows:
        for given in (words(each) for each in row.inputs):
            if not (said & _grams(given)).issubset(known):
                return f"it quotes a row: {QUOTED_WORDS} words in a row are the same"
            if not given or f" {' '.join(given)} " in before:
                continue
            if any(_states_answer(place, given, words(row.answer)) for place in places):
                return "it gives away a row's answer"
    return None


def _grams(said: Sequence[str]) -> set[tuple[str, ...]]:
    return {tuple(said[at : at + QUOTED_WORDS]) for at in range(len(said) - QUOTED_WORDS + 1)}


def _states_answer(place: str, given: Sequence[str], answer: Sequence[str]) -> bool:
    """Tell whether an input stands with its answer: a short one all but alone, for else its words are just words."""
    before, found, after = f" {place} ".partition(f" {' '.join(given)} ")
    if not found or not answer:
        return False
    left, at, right = f" {before} {after} ".replace("  ", " ").partition(f" {' '.join(answer)} ")
    others = len(f"{left} {right}".split())
    return bool(at) and (len(given) >= SHORT_INPUT_WORDS or others <= SHORT_INPUT_WORDS)
