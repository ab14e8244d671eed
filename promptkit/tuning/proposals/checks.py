"""Checks of proposed instructions by their text alone, before a request is spent on them."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Final

from jinja2 import Environment, TemplateError, meta, nodes

from promptkit.prompts.words import ngrams

QUOTED_WORDS: Final = 8
"""A run of this many words shared with a row of the data counts as a quotation."""
SHORT_INPUT_WORDS: Final = 3
"""An input of fewer words counts as given away only if at most this many other words stand with it and its answer."""
LONGER_TIMES, LONGER_CHARACTERS = 4, 400
"""The allowed length of instructions, relative to those that they replace."""

_TEMPLATES: Final = Environment()
# In scripts without blanks between words, each character is a word.
_UNPARTED: Final = "\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af"
_WORD: Final = re.compile(rf"[{_UNPARTED}]|[^\W{_UNPARTED}]+")


@dataclass(frozen=True, slots=True)
class ProtectedRow:
    """The texts of a row's inputs, and the text of its answer (empty if it has none that is text)."""

    inputs: tuple[str, ...]
    answer: str = ""


def protected_rows(inputs: Sequence[Iterable[Any]], expected: Sequence[Any]) -> tuple[ProtectedRow, ...]:
    """Return the content of rows that instructions may not give away, without texts that all rows share."""
    texts = [{text for value in values if (text := text_of(value))} for values in inputs]
    common = set.intersection(*texts) if len(texts) > 1 else set()
    answers = (text_of(value) if isinstance(value, str | int | float) else "" for value in expected)
    return tuple(ProtectedRow(tuple(sorted(row - common)), answer) for row, answer in zip(texts, answers, strict=True))


def text_of(value: Any) -> str:
    """Return a value as a prompt may show it; null is an empty text."""
    if value is None:
        return ""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)


@dataclass(frozen=True, slots=True)
class OriginalInstructions:
    """The instructions that a proposal would replace, the rest of the prompt, and the inputs that it may name."""

    source: str
    rest: str
    inputs: frozenset[str]

    @property
    def longest(self) -> int:
        """The most characters that a proposal may have."""
        return LONGER_TIMES * len(self.source) + LONGER_CHARACTERS


def words(text: str) -> list[str]:
    """Return the case-folded words of a text; a sign of a script without blanks is a word."""
    return _WORD.findall(text.casefold())


def names_of(source: str) -> frozenset[str]:
    """Return the names that template source uses. Raises Jinja's errors for a broken template."""
    return frozenset(meta.find_undeclared_variables(_TEMPLATES.parse(source)))


def has_statements(source: str) -> bool:
    """Tell whether template source does more than print. Raises Jinja's errors for a broken template."""
    return any(not isinstance(statement, nodes.Output) for statement in _TEMPLATES.parse(source).find_all(nodes.Stmt))


def proposal_problem(
    text: str, original: OriginalInstructions, earlier: Sequence[str], rows: Sequence[ProtectedRow]
) -> str | None:
    """Return the problem of proposed instructions, None if there is none.

    `earlier` are proposals that exist already, `rows` all rows that the search may see.
    """
    if not text.strip():
        return "it is empty"
    if len(text) > original.longest:
        return f"it has {len(text):,} characters, more than the {original.longest:,} allowed"
    if words(text) == words(original.source):
        return "it is the same as the current instructions"
    if any(words(text) == words(other) for other in earlier):
        return "it is the same as an earlier proposal"
    return _wrong_names(text, original) or leaked_row(text, f"{original.source}\n{original.rest}", rows)


def _wrong_names(text: str, original: OriginalInstructions) -> str | None:
    try:
        if has_statements(text):
            return "it has template statements (`{% … %}`)"
        used = names_of(text)
    except (TemplateError, RecursionError, ValueError) as error:  # Jinja lets a number too long for Python through
        return f"it is not a valid template: {error}"
    kept = names_of(original.source)
    if dropped := sorted(kept - used):
        return f"it drops {_listed(dropped)}"
    if unknown := sorted(used - kept - original.inputs):
        return f"it uses {_listed(unknown)}, which is not an input"
    if not all(_is_plain(node, original) for node in _printed(text)):
        return "it computes in braces: only inputs as they are may stand there"
    return None


def _listed(names: Sequence[str]) -> str:
    return ", ".join(f"`{{{{ {name} }}}}`" for name in names)


def _printed(source: str) -> Iterator[nodes.Node]:
    """Yield the expressions that template source prints."""
    for output in _TEMPLATES.parse(source).find_all(nodes.Output):
        yield from (node for node in output.nodes if not isinstance(node, nodes.TemplateData))


def _is_plain(expression: nodes.Node, original: OriginalInstructions) -> bool:
    """Tell whether an expression is an input's name, or one that the original prints too."""
    return isinstance(expression, nodes.Name) or any(expression == node for node in _printed(original.source))


def leaked_row(text: str, prompt: str, rows: Sequence[ProtectedRow]) -> str | None:
    """Return the way in which a text gives away a row, None if it does not.

    It may not repeat QUOTED_WORDS words in a row of an input, nor contain an input whole with its answer within two
    lines. Anything that the prompt contained before is allowed.
    """
    new, known = ngrams(words(text), QUOTED_WORDS), ngrams(words(prompt), QUOTED_WORDS)
    lines = [line for line in (" ".join(words(row)) for row in text.splitlines()) if line]
    places = [*lines, *(f"{first} {second}" for first, second in pairwise(lines))]
    before = f" {' '.join(words(prompt))} "
    for row in rows:
        for given in (words(text) for text in row.inputs):
            if not (new & ngrams(given, QUOTED_WORDS)).issubset(known):
                return f"it quotes a row: {QUOTED_WORDS} words in a row are the same"
            if not given or f" {' '.join(given)} " in before:
                continue
            if any(_states_answer(place, given, words(row.answer)) for place in places):
                return "it gives away a row's answer"
    return None


def _states_answer(place: str, given: Sequence[str], answer: Sequence[str]) -> bool:
    """Tell whether an input stands with its answer; a short input must stand all but alone with it."""
    before, found, after = f" {place} ".partition(f" {' '.join(given)} ")
    if not found or not answer:
        return False
    left, at, right = f" {before} {after} ".replace("  ", " ").partition(f" {' '.join(answer)} ")
    others = len(f"{left} {right}".split())
    return bool(at) and (len(given) >= SHORT_INPUT_WORDS or others <= SHORT_INPUT_WORDS)
