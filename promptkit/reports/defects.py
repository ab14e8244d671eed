"""The exceptions that nothing foresaw in an evaluation or a tuning, in one line."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from promptkit.reports.numbers import counted

MOST_NAMED = 3


def defects_text(record: Mapping[str, Any]) -> str:
    """Return how many cells of a run met a defect, which, and how to report it; nothing where none did."""
    found = record.get("defects", [])
    if not found:
        return ""
    named = [f"{each['defect']} ({each['cells']})" for each in found[:MOST_NAMED]]
    more = [f"{len(found) - MOST_NAMED} others"] if len(found) > MOST_NAMED else []
    cells = counted(sum(each["cells"] for each in found), "cell")
    return (
        f"{cells} failed by a defect of promptkit or of the project's code: {', '.join([*named, *more])}; "
        f"`promptkit runs show {record['run']} --json` has the traceback under `defects`, please report it"
    )
