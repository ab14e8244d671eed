"""Calls of the model inside a query, `QA("map@question"; column)`: found in its text, and their replies read."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final, Literal

from promptkit.techniques.reading import bare_line, filled_lines

_CALL: Final = re.compile(r"\bQA\s*\(", re.IGNORECASE)
_KIND: Final = re.compile(r"\s*(map|ans)\s*@\s*", re.IGNORECASE)
_QUOTES: Final = {'"': '"', "'": "'", "`": "`", "“": "”", "‘": "’"}
_ROW: Final = re.compile(r"(?:(?<!\s)\s+)?row\s*(\d+)\s*[:|]\s*", re.IGNORECASE)


class BadCall(ValueError):
    """A call that is not closed, or is not of its form."""


@dataclass(frozen=True, slots=True)
class QACall:
    """A call in a query: where it begins and ends, what it asks, and of what, each as written."""

    start: int
    end: int
    kind: Literal["map", "ans"]
    question: str
    arguments: tuple[str, ...]


def outermost_calls(query: str) -> list[QACall]:
    """Return the calls of a query that are not inside another, in order. Raises BadCall.

    What stands in quotes is no call.
    """
    found: list[QACall] = []
    at = 0
    for start, opened in _opened(query):
        if start < at:
            continue
        parts, at = _parts(query, opened)
        found.append(_call(start, at, parts))
    return found


def _opened(query: str) -> Iterator[tuple[int, int]]:
    """Yield where calls begin and where their brackets have opened, outside of quotes."""
    at = 0
    while at < len(query):
        if query[at] in _QUOTES and (end := _end_of_quote(query, at)) is not None:
            at = end
        elif (call := _CALL.match(query, at)) and (at == 0 or not (query[at - 1].isalnum() or query[at - 1] == "_")):
            yield call.start(), call.end()
            at = call.end()
        else:
            at += 1


def _parts(query: str, at: int) -> tuple[list[str], int]:
    """Return the parts of a call between its separators, and where it ends. Raises BadCall."""
    parts: list[str] = []
    begin, depth = at, 0
    while at < len(query):
        sign = query[at]
        if sign in _QUOTES and (end := _end_of_quote(query, at)) is not None:
            at = end
            continue
        if sign == "(":
            depth += 1
        elif sign == ")" and depth == 0:
            return [*parts, query[begin:at]], at + 1
        elif sign == ")":
            depth -= 1
        elif depth == 0 and (sign == ";" or (sign == "," and not parts)):
            # Further commas are those of a sub-query, or of columns, which a query reads as well.
            parts.append(query[begin:at])
            begin = at + 1
        at += 1
    raise BadCall("a QA call is not closed")


def _end_of_quote(query: str, at: int) -> int | None:
    """Return where the quotes that open at a place end; None where they do not. Doubled quotes are inside."""
    closing = _QUOTES[query[at]]
    end = at + 1
    while (end := query.find(closing, end)) >= 0:
        if closing == '"' and query[end - 1] == "\\":
            end += 1
        elif query[end + 1 : end + 2] == closing:
            end += 2
        else:
            return end + 1
    return None


def _call(start: int, end: int, parts: Sequence[str]) -> QACall:
    asked = unquoted(parts[0])
    kind = _KIND.match(asked)
    question = asked[kind.end() :].strip() if kind else ""
    arguments = tuple(part.strip() for part in parts[1:] if part.strip())
    if kind is None or not question or not arguments:
        raise BadCall('a QA call is QA("map@question"; column) or QA("ans@question"; query)')
    return QACall(start, end, "map" if kind[1].lower() == "map" else "ans", question, arguments)


def unquoted(text: str) -> str:
    """Return a text without the quotes around it; doubled and escaped ones inside become single ones."""
    text = text.strip()
    opening = text[:1]
    if opening in _QUOTES and len(text) > 1 and text.endswith(_QUOTES[opening]):
        closing = _QUOTES[opening]
        return text[1:-1].replace(closing * 2, closing).replace(f"\\{closing}", closing)
    return text


def read_values(reply: str, count: int) -> list[str]:
    """Return the values of a reply that answers for each of `count` rows, one a line.

    Lines may be numbered as the rows are; a JSON list, or one line with commas, is read as well. Raises ValueError
    where there are more values, or fewer.
    """
    values = _json_list(reply)
    if values is None:
        values = [_bare(line) for line in filled_lines(reply)]
        if len(values) == 1 and count > 1:
            values = [part.strip() for part in values[0].split(",")]
    if len(values) != count:
        raise ValueError(f"{len(values)} values for {count} rows")
    return values


def read_lines(reply: str) -> list[str]:
    """Return the lines of a reply that are not blank, without bullets."""
    return [value for line in reply.splitlines() if (value := _bare(line))]


def _bare(line: str) -> str:
    return bare_line(_ROW.sub("", line, count=1))


def _json_list(reply: str) -> list[str] | None:
    try:
        found = json.loads(reply)
    except ValueError:
        return None
    return [str(value) for value in found] if isinstance(found, list) else None
