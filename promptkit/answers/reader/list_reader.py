"""The items of a list in a reply: bullets, numbers, tables, JSON, answer lines, or words of a sentence."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Final

from promptkit.answers.base import WHOLE_REPLY, Unparsed
from promptkit.answers.reader.fences import fenced_blocks
from promptkit.answers.reader.json_reader import json_readings
from promptkit.answers.text import undressed

_BULLET: Final = (
    r"(?:[-*•–—▪◦‣·+]|\[[ xX]\]|[*_]{2}\(?[0-9]{1,3}[.):]?[*_]{2}[.):]?|\(?#?[0-9]{1,3}[.):）]|（[0-9]{1,3}）"
    r"|#[0-9]{1,3}|(?:step|question|item|q)[ \t]{0,3}#?[0-9]{1,3}[ \t]{0,3}[.):]|\(?[a-z]\))"
)
_MARKED: Final = re.compile(
    rf"[ \t]*(?:>[ \t]*)?(?:#{{1,6}}[ \t]+)?(?P<bold>[*_]{{2}})?{_BULLET}(?P<after>[*_]{{2}})?"
    r"(?:[ \t]+|(?<=[.):）])(?=[^\s\d]))(?:\[[ xX]\][ \t]+)?(?=\S)",
    re.IGNORECASE,
)
ANSWER_LINES: Final = "answer lines"
_FEW_WORDS: Final = 4
_HEADED: Final = re.compile(r"[ \t]*#{1,6}[ \t]+(?=\S)")
_LEAD_END: Final = re.compile(r"[:：][*_]{0,2}[ \t]*$")
_PROSE_END: Final = re.compile(r"[.!?:：。][*_\"')]{0,3}[ \t]*$")
_BOLD_HEAD: Final = re.compile(r"[*_]{2}(?P<head>[^*\n]{1,100}?)(?::[*_]{2}|[*_]{2}[ \t]*(?::|[–—-][ \t]))[ \t]*\S")
_TABLE_RULE: Final = re.compile(r"\|?[ \t:|-]*-{3,}[ \t:|-]*$")
_ANSWER_LINE: Final = re.compile(
    r"【答案】[ \t:：]*(?P<marked>[^\n]+)"
    r"|^[^\w\n]*(?:\(?[0-9]{1,3}[.):）]?[ \t]*)?[*_]{0,2}(?:answer|ans|output|result)"
    r"(?:[ \t]*\(?#?[0-9]{1,3}\)?)?[*_]{0,2}[ \t]*[:：](?P<named>[^\n]+)",
    re.IGNORECASE | re.MULTILINE,
)


@dataclass(frozen=True, slots=True)
class Items:
    """The items of a list as written, and the rule that found them."""

    texts: list[str]
    rule: str


def listed_items(text: str, *, in_full: bool = False) -> Items | None:
    """Return the items of a reply that marks them as a list; None where it does not.

    The words before and after the list, and points below an item, are left out. So are, unless `in_full`, explanations
    after a name in bold, and a full stop after the last item alone.
    """
    if texts := _json_items(text):
        return texts
    blocks = fenced_blocks(text)
    if len(blocks) == 1 and not _marked_lines(text):
        inside = blocks[0].text
        return listed_items(inside) or Items([line.strip() for line in inside.split("\n") if line.strip()], "fence")
    answers = [(found["marked"] or found["named"]).strip() for found in _ANSWER_LINE.finditer(text)]
    if len(answers) > 1:
        return Items(without_last_stop([undressed(answer) for answer in answers]), ANSWER_LINES)
    if cells := _table_items(text):
        return Items(cells, "table")
    if marked := _marked_lines(text):
        return Items(marked if in_full else _plain(marked), "list")
    return None


def plain_lines(text: str) -> list[str]:
    """Return the lines of a text that are not blank, without a line that announces them and what follows the list."""
    parts = [part for part in re.split(r"\n[ \t]*\n", text.strip()) if part.strip()]
    lines = [line.strip() for line in parts[0].split("\n")] if parts else []
    if lines and _LEAD_END.search(lines[0]) and (len(lines) > 1 or len(parts) > 1):
        return lines[1:] or [line.strip() for line in parts[1].split("\n")]
    return [line.strip() for part in parts for line in part.split("\n") if line.strip()]


def names_several(text: str) -> bool:
    """Tell whether a line without marks is plainly a list: `a, b and c`, or three short parts and more."""
    parts = sentence_items(text)
    if len(parts) < 2:
        return False
    joined = re.search(r",[^,\n]*\b(?:and|&|und|et|y)[ \t]", text) is not None
    return joined or (len(parts) > 2 and all(len(part.split()) <= _FEW_WORDS for part in parts))


def bare_item(line: str) -> str:
    """Return a line without its bullet, number, heading marks and the emphasis around the whole of it."""
    found = _MARKED.match(line)
    if found is None:
        heading = _HEADED.match(line)
        return undressed(line[heading.end() :] if heading else line)
    rest = line[found.end() :].strip()
    if found["bold"] and not found["after"]:
        rest = f"{found['bold']}{rest}"
    return undressed(rest)


def sentence_items(text: str, separator: str = ",") -> list[str]:
    """Return the items that a sentence names: `Paris, Rome and Oslo.` or, for single signs, `a b c`."""
    text = undressed(text.strip().rstrip(".。!").strip())
    mark = next((sign for sign in (separator, ";", "、", ",") if sign.strip() and sign in text), None)
    if mark is None:
        words = text.split()
        if len(words) > 1 and all(len(word) <= 2 for word in words if word not in ("and", "or")):
            return [word for word in words if word not in ("and", "or")]
        return [
            undressed(part) for part in re.split(r"[ \t]+(?:and|&|und|et|y|和)[ \t]+", text, maxsplit=1) if part.strip()
        ]
    parts = [part.strip() for part in text.split(mark) if part.strip()]
    *before, last = parts or [""]
    joined = re.match(r"(?:and|or|&|und|et|y)[ \t]+(?=\S)", last)
    if joined:
        parts = [*before, last[joined.end() :]]
    elif before and len(ends := re.split(r"[ \t]+(?:and|&|und|et|y)[ \t]+", last)) == 2:
        parts = [*before, *ends]
    return [undressed(part) for part in parts]


_QUOTED: Final = re.compile(r'"([^"“”]{1,500})"|“([^"“”]{1,500})”|(?<!\w)[\'‘]([^\'‘’]{1,500})[\'’](?!\w)')
_JOINS_QUOTES: Final = re.compile(r"[\s,;.]{0,9}(?:and|or|then|&|und|et|y)?[\s,;.]{0,9}", re.IGNORECASE)


def quoted_items(text: str) -> list[str]:
    """Return the items of a line that puts each in quotes, after the words that announce them: `first "a", then "b"`.

    One alone must follow a colon or nothing; without quotes, or with words after them, there is no item.
    """
    found = list(_QUOTED.finditer(text))
    if not found:
        return []
    announcing, colon, listed = text.rpartition(": ")
    if colon and _QUOTED.search(announcing):  # To answer "…", we need: "…"
        return quoted_items(listed)
    between = [text[one.end() : other.start()] for one, other in pairwise(found)]
    lead = text[: found[0].start()].strip()
    is_alone = len(found) == 1 and lead and not _LEAD_END.search(lead)
    if is_alone or not all(map(_JOINS_QUOTES.fullmatch, [*between, text[found[-1].end() :]])):
        return []
    return [item for match in found if (item := next(filter(None, match.groups())).strip())]


_NEXT_NUMBER: Final = re.compile(r"(?<=\S)[ \t]+(?=\(?[0-9]{1,2}[.)][ \t]+\S)")


def with_line_breaks(text: str) -> str:
    """Return a reply that numbers its items on one line (`1. a 2. b`) with a line for each; any other as it is."""
    if "\n" in text.strip():
        return text
    lines: list[str] = []
    for part in _NEXT_NUMBER.split(text.strip()):
        if part.lstrip("(").startswith((f"{len(lines) + 1}.", f"{len(lines) + 1})")):
            lines.append(part)
        elif lines:
            lines[-1] += f" {part}"
        else:
            return text
    return "\n".join(lines)


def without_last_stop(items: list[str]) -> list[str]:
    """Return items without a full stop after the last, where no other one has any."""
    if len(items) < 2 or not items[-1].endswith(".") or any(item.endswith((".", "!", "?")) for item in items[:-1]):
        return items
    return [*items[:-1], items[-1][:-1].rstrip()]


def _json_items(text: str) -> Items | None:
    """Return the scalars of the only JSON array in a reply, or of an object that holds nothing else."""
    stripped = text.strip()
    if stripped[:1] not in ("[", "{") and "```" not in text:
        return None
    try:
        readings = list(json_readings(stripped))
    except Unparsed:
        return None
    found = [(_array_of(reading.value), reading.rule) for reading in readings]
    arrays = [(items, rule) for items, rule in found if items is not None]
    if len(arrays) != 1 or arrays[0][1] == "JSON in prose":
        return None
    items, rule = arrays[0]
    return Items([_text(item) for item in items], "JSON list" if rule == WHOLE_REPLY else rule)


def _array_of(value: Any) -> list[Any] | None:
    if isinstance(value, dict) and len(value) == 1:
        value = next(iter(value.values()))
    plain = isinstance(value, list) and value and all(isinstance(item, str | int | float) for item in value)
    return value if plain else None


def _text(value: Any) -> str:
    return value if isinstance(value, str) else str(value).lower() if isinstance(value, bool) else str(value)


def _table_items(text: str) -> list[str]:
    """Return the cells of a table's first column that does not count its rows."""
    rows = [line.strip() for line in text.split("\n") if line.strip().startswith("|")]
    rule = next((at for at, row in enumerate(rows) if _TABLE_RULE.fullmatch(row)), None)
    if rule != 1 or len(rows) < 3:
        return []
    cells = [[cell.strip() for cell in row.strip("|").split("|")] for row in rows[2:]]
    counts = all(row[0].strip("*.#").isdigit() for row in cells) and all(len(row) > 1 for row in cells)
    return [undressed(row[1 if counts else 0]) for row in cells]


def _marked_lines(text: str) -> list[str]:
    """Return the items of marked lines, without their marks. A line that goes on is part of its item."""
    items: list[str] = []
    leads: list[str] = []
    level: int | None = None
    gap = second = False
    for line in text.split("\n"):
        if not line.strip():
            gap, leads = True, leads if level is not None else []
            continue
        found = _MARKED.match(line)
        indent = len(line) - len(line.lstrip())
        if found and (level is None or indent <= level + 1):
            second = second or (level is None and line.lstrip("( #").startswith("2"))
            level = indent if level is None else min(level, indent)
            items.append(bare_item(line))
        elif level is None:
            leads.append(line.strip())
        elif not found and not gap:
            _add_unmarked(items, line, indented=indent > level)
        gap = False if found else gap
    # A begun turn has the number of the first item.
    return [*leads, *items] if second and len(leads) == 1 else items


def _add_unmarked(items: list[str], line: str, *, indented: bool) -> None:
    """Add a line without a mark: to its item where it goes on with it, as a further item where it stands by itself."""
    text = line.strip()
    if text[:1].islower() and not _PROSE_END.search(items[-1]):
        items[-1] = f"{items[-1]} {text}"
    elif not indented and not _PROSE_END.search(text):
        items.append(undressed(text))


def _plain(items: Sequence[str]) -> list[str]:
    """Return items without explanations, where each has one after its name in bold, and without a last full stop."""
    heads = [_BOLD_HEAD.match(item) for item in items]
    if len(items) > 1 and all(heads):
        return [head["head"].strip() for head in heads if head]
    return without_last_stop(list(items))
