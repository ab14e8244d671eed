"""The sources of `news.yaml`: of the items that were found, those that the answer cites."""

from typing import Any


def cited(items: list[dict[str, Any]], numbers: list[int]) -> list[dict[str, Any]]:
    """Return title, date and link of the items with these numbers, counted from 1, each once."""
    chosen = [items[number - 1] for number in dict.fromkeys(numbers) if 0 < number <= len(items)]
    return [{key: item[key] for key in ("title", "date", "link")} for item in chosen]
