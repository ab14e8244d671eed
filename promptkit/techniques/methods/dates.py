"""Dates as tables write them, as keys that sort in time."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

DateKey = tuple[int, int, int, str]
"""Year, month, day and time of day; 0 and an empty text for what a cell does not say, so that it comes first."""

_MONTHS: Final = (
    "january",
    "february",
    "march",
    "april",
    "may",
    "june",
    "july",
    "august",
    "september",
    "october",
    "november",
    "december",
)
_MONTH: Final = rf"(?P<name>{'|'.join(_MONTHS)}|jan|feb|mar|apr|jun|jul|aug|sept?|oct|nov|dec)\b\.?"
_WEEKDAY: Final = r"(?:(?:mon|tues?|wed(?:nes)?|thu(?:rs)?|fri|sat(?:ur)?|sun)(?:day)?\.?,?\s+)?"
_DAY: Final = r"(?P<day>\d{1,2})(?!\d)(?:st|nd|rd|th)?"
_YEAR: Final = r"(?:,?\s+(?P<year>\d{3,4}))?"
_FORMS: Final = tuple(
    re.compile(form, re.IGNORECASE)
    for form in (
        rf"{_WEEKDAY}{_MONTH}\s+{_DAY}{_YEAR}",
        rf"{_WEEKDAY}(?:{_DAY}\s+(?:of\s+)?)?{_MONTH}{_YEAR}",
        r"(?P<year>\d{4})[-/](?P<month>\d{1,2})(?!\d)(?:[-/](?P<day>\d{1,2})(?!\d))?"
        r"(?:[T ](?P<time>\d\d:\d\d[:.\d]*))?",
        r"(?P<first>\d{1,2})[-/.](?P<second>\d{1,2})[-/.](?P<year>\d{4})(?!\d)",
        r"(?P<year>\d{3,4})$",
    )
)


def date_keys(cells: Sequence[str]) -> list[DateKey | None] | None:
    """Return a key for each cell of a column of dates, None for a blank one; None where a cell is not a date.

    Years alone are numbers, not dates. In `3/4/2021` the month comes first, unless a first number of the column is
    above 12 or its numbers stand between full stops.
    """
    parts: list[dict[str, str | None]] = []
    for cell in cells:
        match = _match(cell)
        if match is None and cell.strip():
            return None
        parts.append(match.groupdict() if match else {})
    if not any(part.get("name") or part.get("month") or part.get("first") for part in parts):
        return None
    numbered = [int(first) for part in parts if (first := part.get("first"))]
    day_first = any(number > 12 for number in numbered) or any("." in cell for cell in cells)
    keys = [_key(part, day_first) if part else None for part in parts]
    return keys if all(key is None or (key[1] <= 12 and key[2] <= 31) for key in keys) else None


def _match(cell: str) -> re.Match[str] | None:
    return next((match for form in _FORMS if (match := form.match(cell.strip()))), None)


def _key(part: dict[str, str | None], day_first: bool) -> DateKey:
    year, time = int(part.get("year") or 0), part.get("time") or ""
    if part.get("first"):
        first, second = int(part["first"] or 0), int(part["second"] or 0)
        return (year, second, first, time) if day_first else (year, first, second, time)
    name = (part.get("name") or "")[:3].lower()
    month = next((number for number, full in enumerate(_MONTHS, start=1) if name and full.startswith(name)), 0)
    return year, month or int(part.get("month") or 0), int(part.get("day") or 0), time
