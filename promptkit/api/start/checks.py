"""Names and texts that a project's files can hold: cleaned, or refused with a reason."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Sequence
from typing import Final

from promptkit.engine.scope import INDEX, KEYWORDS, NAME, PREVIOUS, RESULT, ROUND, STEPS
from promptkit.prompts.sandbox import GLOBALS
from promptkit.prompts.words import words
from promptkit.runtimes.base import Message, Request
from promptkit.runtimes.control_tokens import holds_control_tokens

LABEL_LIMIT: Final = 60
"""The most characters of a label."""
MOST_LABELS: Final = 200
DEFINITION_LIMIT: Final = 200
EXAMPLE_LIMIT: Final = 2_000
NAME_LIMIT: Final = 40

_TAKEN: Final = frozenset(
    {
        *GLOBALS,
        *KEYWORDS,
        STEPS,
        INDEX,
        PREVIOUS,
        ROUND,
        RESULT,
        "row",
        "input",
        "output",
        "expect",
        "generated",
        "self",
    }
)
_CONTROL: Final = re.compile(
    r"[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff\ufeff\u2028\u2029\u200b-\u200f\u202a-\u202e\ue000-\uf8ff]"
)
_BRACES: Final = re.compile(r"\{\{|\}\}|\{%|%\}|\{#|#\}")


def clean_text(text: str) -> str:
    """Return a text in one line, without control characters."""
    return " ".join(_CONTROL.sub(" ", text).split())


def text_fault(text: str, most: int) -> str | None:
    """Return the reason why a text does not go into a file, None where it does. `most` is in characters."""
    if not text.strip():
        return "it is empty"
    if len(text) > most:
        return f"it has {len(text):,} characters, more than the {most:,} allowed"
    if _CONTROL.search(text):
        return "it has control characters"
    if _BRACES.search(text):
        return "it has braces of a template"
    if holds_control_tokens(Request(messages=(Message("user", text),))):
        return "it has a control token of a model"
    return None


def is_label(text: str) -> bool:
    """Tell whether a text can be a label."""
    return text_fault(text, LABEL_LIMIT) is None and text == text.strip() and re.search(r"\w", text) is not None


def labels_fault(labels: Sequence[str]) -> str | None:
    """Return the reason why texts cannot be the labels of one set, None where they can."""
    if len(labels) < 2:
        return "two labels are needed at least"
    if len(labels) > MOST_LABELS:
        return f"there are {len(labels)} labels, more than the {MOST_LABELS} allowed"
    if wrong := next((label for label in labels if not is_label(label)), None):
        return f"`{wrong[:LABEL_LIMIT]}`: {text_fault(wrong, LABEL_LIMIT) or 'not a label'}"
    if len({label.casefold() for label in labels}) < len(labels):
        return "a label is given twice"
    return None


def definition_fault(text: str, known: str) -> str | None:
    """Return the reason why a text does not define a label, None where it does.

    Most of its words must be others than those that are `known`: the task, and the labels.
    """
    if fault := text_fault(text, DEFINITION_LIMIT):
        return fault
    found = {word for word in words(text) if len(word) > 3}
    if len(found - set(words(known))) * 2 <= len(found):
        return "it repeats the task or the labels"
    return None


def example_fault(text: str, shown: Iterable[str]) -> str | None:
    """Return the reason why a text is not an example, None where it is: one that repeats none of the `shown` texts."""
    if fault := text_fault(text, EXAMPLE_LIMIT):
        return fault
    found = words(text)
    if len(found) < 3 and " " in text:
        return "it has fewer than three words"
    if len(set(found)) < LEAST_DISTINCT * len(found):
        return "it repeats itself"
    if any(len(set(found) & set(words(other))) > MOST_COPIED * len(set(found)) for other in shown):
        return "it repeats an example of the question"
    return None


LEAST_DISTINCT: Final = 0.4
"""The share of its words that differ from each other, at least."""
MOST_COPIED: Final = 0.6
"""The share of its words that an example may have in common with one that the model was shown."""


def slug(text: str) -> str:
    """Return a text as a name of ASCII letters, digits and `_`; empty where it has none."""
    text = text.replace("ß", "ss").replace("ø", "o").replace("æ", "ae")
    ascii_text = unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode()
    name = re.sub(r"\W+", "_", re.sub(r"(?<=\w)['’](?=\w)", "", ascii_text)).strip("_").lower()[:NAME_LIMIT].strip("_")
    return f"n_{name}" if name[:1].isdigit() else name


def input_name(text: str) -> str:
    """Return a text as the name of an input: one that every expression can hold, `text` where nothing is left of it."""
    name = slug(text)
    return f"{name}_text" if name in _TAKEN else name if NAME.fullmatch(name) else "text"
