"""Values as safe text: control characters escaped, counts, sizes and times in few characters.

Text from models and data cannot steer a terminal or reorder what is read.
"""

from __future__ import annotations

import json
import re
import time
import unicodedata
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from promptkit.techniques.warnings import WarnedBy, warning_text

# Line and paragraph separators, and characters that a terminal would show as nothing or use to reorder text. Joiners
# (200C, 200D) stay: scripts and emoji need them.
_INVISIBLE = {0x061C, 0x200B, 0x200E, 0x200F, 0x2028, 0x2029, 0xFEFF, *range(0x202A, 0x202F), *range(0x2060, 0x2070)}
_KEPT = {"\n", "\t"}


@lru_cache(maxsize=4096)
def _escaped(character: str) -> str:
    code = ord(character)
    category = unicodedata.category(character)
    if character in _KEPT or not (category in {"Cc", "Cs"} or code in _INVISIBLE or 0xE0000 <= code <= 0xE007F):
        return character
    if code < 0x100:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def visible(text: str) -> str:
    """Return text with control characters, bidi marks and lone surrogates as escapes (`\\x1b`).

    Line breaks and tabs stay; a carriage return before a line break is dropped.
    """
    text = text.replace("\r\n", "\n")
    return text if text.isascii() and text.isprintable() else "".join(map(_escaped, text))


def display_text(value: Any) -> str:
    """Return a value for people: text as it is, all else as indented JSON; both `visible`."""
    return visible(value if isinstance(value, str) else json.dumps(value, indent=2, ensure_ascii=False))


def outline(value: Any) -> str:
    """Return a value as an outline: `key: text` and `- item` lines, texts with their line breaks."""
    return visible("\n".join(_outlined(value)))


def _outlined(value: Any) -> list[str]:
    if isinstance(value, dict) and value:
        return [line for key, part in value.items() for line in _nested(f"{key}:", part)]
    if isinstance(value, list) and value:
        return [line for part in value for line in _nested("-", part)]
    return (value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)).split("\n")


def _nested(head: str, part: Any) -> list[str]:
    lines = _outlined(part)
    if len(lines) == 1 and not (isinstance(part, dict | list) and part):
        return [f"{head} {lines[0]}"]
    return [head, *(f"  {line}" for line in lines)]


def one_line(value: Any, width: int | None = None) -> str:
    """Return a value in one line of at most `width` characters, with `…` where it was cut."""
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    line = visible(" ".join(text.split()))
    return line if width is None or len(line) <= width else line[: max(width - 1, 0)] + "…"


def hint_in_brackets(problem: str) -> str:
    """Return a problem in one line, with hints in brackets in place of lines of their own."""
    return re.sub(r"\n  hint: (.*)", r" (\1)", problem)


def row_text(value: Any) -> str:
    """Return a value in one line, uncut: text without line breaks as it is, all else as JSON."""
    if isinstance(value, str) and "\n" not in value:
        return visible(value)
    return visible(json.dumps(value, ensure_ascii=False))


def json_text(value: Any, *, indent: int | None = 2) -> str:
    """Return a value as JSON for programs: exact, with everything that could harm a terminal escaped."""
    return json.dumps(value, indent=indent, ensure_ascii=True, allow_nan=False)


def seconds_text(seconds: float) -> str:
    """Return a time: `40 ms`, `1.2 s`, `3 min 20 s`."""
    if seconds < 1:
        return f"{seconds * 1000:.0f} ms"
    if seconds < 60:
        return f"{seconds:.1f} s"
    return f"{int(seconds // 60)} min {int(seconds % 60)} s"


def size_text(size: int) -> str:
    """Return a number of bytes: `98 MB`."""
    amount = float(size)
    for unit in ("B", "kB", "MB"):
        if amount < 1000:
            return f"{amount:.0f} {unit}"
        amount /= 1000
    return f"{amount:.1f} GB"


def when_text(seconds: float) -> str:
    """Return a time in the local time zone: `2026-11-25 01:16`."""
    return time.strftime("%Y-%m-%d %H:%M", time.localtime(seconds))


def counted(count: int, what: str) -> str:
    """Return a count of things: `1 file`, `3 files`."""
    return f"{count} {what}" if count == 1 else f"{count} {what}s"


def calls_text(calls: int, cached: int) -> str:
    """Return a count of requests and how many of them the store answered."""
    return counted(calls, "call") + (f" ({cached} cached)" if cached else "")


def warning_texts(counts: Mapping[str, int], warned_by: WarnedBy | None = None) -> list[str]:
    """Return warnings with their counts: `3 read by a weak rule`, `least_to_most found no sub-question (42)`."""
    return [_warning_count(name, count, warned_by or {}) for name, count in counts.items() if count]


def _warning_count(name: str, count: int, warned_by: WarnedBy) -> str:
    if not warned_by.get(name):
        return f"{count:,} {warning_text(name)}"
    return f"{warning_text(name, warned_by)} ({'once' if count == 1 else f'{count:,}'})"


def row_warning_texts(counts: Mapping[str, int], of: int, warned_by: WarnedBy) -> list[str]:
    """Return the number of rows with each warning: `42 of 50 rows: least_to_most found no sub-question`."""
    return [f"{count:,} of {counted(of, 'row')}: {warning_text(name, warned_by)}" for name, count in counts.items()]


def speed_texts(first_token: float | None, tokens_a_second: float | None) -> list[str]:
    """Return the time until the first token, and the tokens a second after it, as far as they are known."""
    texts = [] if first_token is None else [f"first token {seconds_text(first_token)}"]
    if tokens_a_second is not None:
        texts.append(f"{tokens_a_second:.{0 if tokens_a_second >= 10 else 1}f} tokens/s")
    return texts


def tokens_text(tokens_in: int, tokens_out: int) -> str:
    """Return tokens read and written: `210+34 tokens`."""
    return f"{tokens_in}+{tokens_out} tokens"
