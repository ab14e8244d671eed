"""The keys by which the cells of a column sort: as numbers, as dates or as texts."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, Final

from promptkit.techniques.methods.dates import date_keys
from promptkit.techniques.methods.tables import cell_text

_WHOLE: Final = r"(?:\d{1,3}(?:[ \u00a0\u202f]\d{3})+(?!\d)|\d[\d,]*)"
_NUMBER: Final = re.compile(rf"([-−–]?)[^\d.]{{0,2}}({_WHOLE}(?:\.\d+)?|\.\d+)")
_PLAIN: Final = re.compile(rf"[-−–]?{_WHOLE}(?:\.\d+)?")
_SEPARATORS: Final = str.maketrans("", "", ", \u00a0\u202f")
_CLOCK: Final = re.compile(r"(?:(\d+):)?(\d{1,3}):(\d\d(?:\.\d+)?)(?!\d)")


def sort_keys(cells: Sequence[Any], datatype: str = "") -> list[Any] | None:
    """Return a key for each cell, None for one without a value; None where the cells cannot be sorted.

    A column of dates sorts in time and one of numbers by these, whatever `datatype` a model names for it. Else
    `numerical` sorts by the first number of each cell, `string` by the text, and no datatype by numbers if each cell
    has one. Other datatypes cannot be sorted, as in the paper's release.
    """
    texts = [cell_text(cell) for cell in cells]
    dates = date_keys(texts)
    if dates is not None:
        return dates
    numbers = [number_in(cell) for cell in cells]
    have_numbers = all(number is not None for number, text in zip(numbers, texts, strict=True) if text)
    are_numbers = all(_PLAIN.fullmatch(text) for text in texts if text)
    kind = datatype.casefold()
    if kind.startswith("num") or are_numbers or (not kind and have_numbers):
        return numbers if any(number is not None for number in numbers) else None
    return [text.casefold() or None for text in texts] if not kind or kind in ("string", "text") else None


def number_in(cell: Any) -> float | None:
    """Return the first number in a cell (`$1,234`, `about 5`), times (`1:02:03`) in seconds; None without one."""
    text = cell_text(cell)
    if clock := _CLOCK.match(text.strip()):
        return 3600 * float(clock[1] or 0) + 60 * float(clock[2]) + float(clock[3])
    found = _NUMBER.search(text)
    if found is None:
        return None
    number = float(found[2].translate(_SEPARATORS))
    return -number if found[1] else number
