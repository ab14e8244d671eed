"""Texts of feeds."""

from __future__ import annotations

from datetime import UTC, datetime
from email.utils import format_datetime
from html import escape

NOW = datetime(2026, 12, 2, 12, 0, tzinfo=UTC).timestamp()
HOUR = 3_600.0


def rss_item(title: str, *, link: str = "", age: float | None = None, summary: str = "") -> str:
    """Return an item of an RSS feed, of so many hours ago."""
    date = "" if age is None else format_datetime(datetime.fromtimestamp(NOW - age * HOUR, UTC))
    parts = {"title": title, "link": link, "description": summary, "pubDate": date}
    return "<item>" + "".join(f"<{name}>{escape(text)}</{name}>" for name, text in parts.items() if text) + "</item>"


def rss(*items: str) -> str:
    """Return an RSS feed."""
    return f'<?xml version="1.0"?><rss version="2.0"><channel><title>A feed</title>{"".join(items)}</channel></rss>'
