"""Docstrings of functions: the first paragraph, and the descriptions of parameters."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Final

_SPHINX: Final = re.compile(r":(?:param|parameter|arg|argument)\s+(?:[^:\n]*\s)?\*{0,2}(\w+)\s*:\s*(.*)")
_FIELD: Final = re.compile(r":\w+[^:\n]*:")
_GOOGLE_HEAD: Final = re.compile(r"(?:Args|Arguments|Parameters|Keyword Args|Keyword Arguments|Params):\s*")
_GOOGLE: Final = re.compile(r"\*{0,2}(\w+)\s*(?:\([^)]*\))?\s*:\s*(.*)")
_NUMPY_HEAD: Final = re.compile(r"(?:Other )?Parameters\s*")
_NUMPY: Final = re.compile(r"(\*{0,2}\w+(?:\s*,\s*\*{0,2}\w+)*)\s*(?::.*)?")
_RULE: Final = re.compile(r"-{3,}\s*")


def first_paragraph(docstring: str) -> str:
    """Return the first paragraph of a docstring on one line."""
    return " ".join(re.split(r"\n\s*\n", docstring.strip(), maxsplit=1)[0].split())


def parameter_descriptions(docstring: str) -> dict[str, str]:
    """Return the descriptions of parameters by name, each on one line, in the style of Google, NumPy or Sphinx."""
    lines = docstring.expandtabs().splitlines()
    found = dict(_sphinx(lines))
    for number, line in enumerate(lines):
        if _GOOGLE_HEAD.fullmatch(line.strip()):
            found |= dict(_google(lines[number + 1 :], _indent(line)))
        elif (
            _NUMPY_HEAD.fullmatch(line.strip())
            and number + 1 < len(lines)
            and _RULE.fullmatch(lines[number + 1].strip())
        ):
            found |= dict(_numpy(lines[number + 2 :], _indent(line)))
    return {name: text for name, text in found.items() if text}


def _sphinx(lines: Sequence[str]) -> Iterator[tuple[str, str]]:
    for number, line in enumerate(lines):
        if field := _SPHINX.fullmatch(line.strip()):
            more = _deeper(lines[number + 1 :], _indent(line))
            yield field[1], _joined([field[2], *(text for text in more if not _FIELD.match(text.strip()))])


def _google(lines: Sequence[str], margin: int) -> Iterator[tuple[str, str]]:
    section = _deeper(lines, margin)
    for number, line in enumerate(section):
        if _indent(line) == _indent(section[0]) and (entry := _GOOGLE.fullmatch(line.strip())):
            yield entry[1], _joined([entry[2], *_deeper(section[number + 1 :], _indent(line))])


def _numpy(lines: Sequence[str], margin: int) -> Iterator[tuple[str, str]]:
    for number, line in enumerate(lines):
        if number + 1 < len(lines) and _RULE.fullmatch(lines[number + 1].strip()):
            return  # the next section begins
        if _indent(line) == margin and (entry := _NUMPY.fullmatch(line.strip())):
            text = _joined(_deeper(lines[number + 1 :], margin))
            for name in entry[1].split(","):
                yield name.strip().lstrip("*"), text


def _deeper(lines: Sequence[str], margin: int) -> list[str]:
    """Return the lines that follow and are indented more than `margin`, without empty ones."""
    found: list[str] = []
    for line in lines:
        if line.strip() and _indent(line) <= margin:
            break
        if line.strip():
            found.append(line)
    return found


def _indent(line: str) -> int:
    return len(line) - len(line.lstrip())


def _joined(lines: Sequence[str]) -> str:
    return " ".join(" ".join(lines).split())
