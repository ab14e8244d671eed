"""Two answers compared word by word."""

from __future__ import annotations

import re
from collections.abc import Iterator
from difflib import SequenceMatcher
from typing import Literal

from rich.text import Text

from promptkit.reports.text import visible

Change = Literal["kept", "removed", "added"]
MOST_WORDS = 3000
_WORD = re.compile(r"\w+\s*|[^\w\s]\s*|\s+")


def diff_words(old: str, new: str) -> Iterator[tuple[Change, str]]:
    """Yield the parts of both texts in reading order, each kept, removed or added.

    Texts of more than MOST_WORDS words are compared by lines, since the cost grows with the square.
    """
    before, after = _WORD.findall(old), _WORD.findall(new)
    if max(len(before), len(after)) > MOST_WORDS:
        before, after = old.splitlines(keepends=True), new.splitlines(keepends=True)
    matcher = SequenceMatcher(None, before, after, autojunk=False)
    for kind, start, end, new_start, new_end in matcher.get_opcodes():
        if kind == "equal":
            yield "kept", "".join(before[start:end])
            continue
        if end > start:
            yield "removed", "".join(before[start:end])
        if new_end > new_start:
            yield "added", "".join(after[new_start:new_end])


def marked_diff(old: str, new: str) -> Text:
    """Return the comparison as `[-old-]{+new+}` with colours; control characters are visible."""
    forms = {"kept": ("", "", ""), "removed": ("[-", "-]", "red"), "added": ("{+", "+}", "green")}
    text = Text()
    for change, part in diff_words(visible(old), visible(new)):
        opening, closing, style = forms[change]
        words = part.rstrip() if opening else part
        text.append(f"{opening}{words}{closing}", style=style)
        text.append(part[len(words) :])
    return text
