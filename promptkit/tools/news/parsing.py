"""Feeds and articles read as plain text. These functions run in a worker process: their cost is decided by a server."""

from __future__ import annotations

import calendar
import io
import json
import math
import re
import unicodedata
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from itertools import islice
from typing import Any, Final, NamedTuple
from urllib.parse import urljoin, urlsplit

MOST_ITEMS: Final = 500
"""Items that are kept of one feed, the newest."""
LONGEST_TITLE: Final = 200
LONGEST_MADE_TITLE: Final = 80
LONGEST_SUMMARY: Final = 400
LONGEST_ARTICLE: Final = 8_000
"""Characters of the text that is kept of an article."""
_LONGEST_LINK: Final = 1_000
_LONGEST_READ: Final = 20_000
"""Characters of a title or summary, with its markup, that are read."""
_CONTROL: Final = re.compile(r"[\x00-\x20\x7f-\xa0\u2028\u2029]+")
_NOT_A_FEED: Final = "it is not a feed in RSS, Atom or JSON Feed"
_JOINERS: Final = "\u200c\u200d"
_BLOCKS: Final = ("p", "div", "br", "li", "tr", "td", "th", "h1", "h2", "h3", "h4", "h5", "h6", "blockquote")
_ENTITIES: Final = re.compile(rb"<!DOCTYPE[^>\[]*\[[^\]]*<!ENTITY", re.IGNORECASE)
_CHARSET: Final = re.compile(r"charset\s*=\s*[\"']?([\w.:-]+)", re.IGNORECASE)


def parse_feed(body: bytes, content_type: str, url: str) -> list[dict[str, Any]]:
    """Return the newest items of an RSS, Atom or JSON feed, the newest first and those without a date last.

    An item has a `title`, a `link` (None without a usable one), a `date` (seconds of the epoch, or None) and a
    `summary`, all without markup and control characters. Raises ValueError for what is not a feed.
    """
    is_json = body.removeprefix(b"\xef\xbb\xbf").lstrip()[:1] == b"{"
    entries = list(_json_entries(body, url) if is_json else _xml_entries(body, content_type, url))
    entries.sort(key=lambda entry: -math.inf if entry.date is None else entry.date, reverse=True)
    items = (item for entry in entries if (item := _item(entry))["title"])
    return list(islice(items, MOST_ITEMS))


def extract_article(body: bytes, content_type: str) -> str:
    """Return the text of the article on a page, its paragraphs on lines. Raises ValueError where there is none."""
    import trafilatura

    text: str | None
    if content_type.lower().startswith("text/plain"):
        text = _decoded(body, content_type) or body.decode("utf-8", "replace")
    else:
        page = _decoded(body, content_type) or body
        text = trafilatura.extract(page, include_comments=False, include_images=False, include_links=False)
    lines = [line for part in (text or "").splitlines() if (line := clean(part))]
    if not lines:
        raise ValueError("the page holds no text of an article")
    return "\n".join(lines)


def clean(text: str) -> str:
    """Return text on one line, without control characters, invisible ones and unpaired surrogates."""
    if not text.isascii() or not text.isprintable():
        text = "".join(
            sign
            for sign in _CONTROL.sub(" ", text)
            if unicodedata.category(sign) not in ("Cf", "Co", "Cs") or sign in _JOINERS
        )
    return " ".join(text.split())


def plain_text(text: str, longest: int, *, is_markup: bool = True) -> str:
    """Return a text or HTML as clean text of at most `longest` characters, cut between words."""
    text = clean(text[:_LONGEST_READ])
    if is_markup and ("<" in text or "&" in text):
        text = clean(_without_markup(text))
    if len(text) <= longest:
        return text
    return text[: longest - 1].rpartition(" ")[0].rstrip(" ,;:") + "…"


def _without_markup(html: str) -> str:
    from lxml import etree
    from lxml.html import fragment_fromstring

    try:
        root = fragment_fromstring(html, create_parent="div")
    except (etree.LxmlError, ValueError):
        return re.sub(r"<[^>]*>", " ", html)
    for part in list(root.iter("script", "style", "template", etree.Comment, etree.ProcessingInstruction)):
        part.drop_tree()
    for part in root.iter(*_BLOCKS):
        part.tail = f" {part.tail or ''}"
    return str(root.text_content())


class _Entry(NamedTuple):
    """An entry of a feed as its feed gave it: texts with their markup, where they have any."""

    title: str
    summary: str
    link: Any
    base: str
    date: float | None
    is_title_markup: bool
    is_summary_markup: bool


def _xml_entries(body: bytes, content_type: str, url: str) -> Iterator[_Entry]:
    import feedparser

    if _ENTITIES.search(body):
        raise ValueError("it declares entities of its own, which are not read")
    # A stream, because feedparser opens texts that look like an address or a path.
    feed = feedparser.parse(
        io.BytesIO(body),
        response_headers={"content-type": content_type, "content-location": url},
        sanitize_html=False,
        resolve_relative_uris=False,
    )
    if not feed.get("version") and not feed.entries:
        raise ValueError(_NOT_A_FEED)
    # Only Atom says whether a text is HTML; of others feedparser guesses.
    is_typed = str(feed.get("version")).startswith("atom")
    for entry in feed.entries:
        title = entry.get("title_detail") or {}
        summary = entry.get("summary_detail") or (entry.get("content") or [{}])[0]
        yield _Entry(
            title=title.get("value", ""),
            summary=summary.get("value", ""),
            link=entry.get("link"),
            base=url,
            date=_seconds(_date(entry)),
            is_title_markup=not is_typed or title.get("type") != "text/plain",
            is_summary_markup=not is_typed or summary.get("type") != "text/plain",
        )


def _json_entries(body: bytes, url: str) -> Iterator[_Entry]:
    try:
        feed = json.loads(body)
    except (ValueError, RecursionError):
        feed = None
    entries = feed.get("items") if isinstance(feed, Mapping) else None
    if not isinstance(entries, list):
        raise ValueError(_NOT_A_FEED)
    for entry in entries:
        given = entry if isinstance(entry, Mapping) else {}
        texts = {name: value for name, value in given.items() if isinstance(value, str)}
        plain = texts.get("summary") or texts.get("content_text")
        yield _Entry(
            title=texts.get("title", ""),
            summary=plain or texts.get("content_html", ""),
            link=texts.get("url") or texts.get("external_url"),
            base=url,
            date=_iso_seconds(texts.get("date_published")) or _iso_seconds(texts.get("date_modified")),
            is_title_markup=False,
            is_summary_markup=plain is None,
        )


def _item(entry: _Entry) -> dict[str, Any]:
    """Return an item without markup. One without a title has the beginning of its summary for it."""
    summary = plain_text(entry.summary, LONGEST_SUMMARY, is_markup=entry.is_summary_markup)
    title = plain_text(entry.title, LONGEST_TITLE, is_markup=entry.is_title_markup)
    title = title or plain_text(summary, LONGEST_MADE_TITLE, is_markup=False)
    return {"title": title, "link": _link(entry.link, entry.base), "date": entry.date, "summary": summary}


def _link(link: Any, base: str) -> str | None:
    """Return an absolute address of http or https without a password, None for anything else."""
    if not isinstance(link, str) or not link.strip():
        return None
    try:
        whole = urljoin(base, link.strip())
        parts = urlsplit(whole)
        is_usable = parts.scheme in ("http", "https") and bool(parts.hostname) and "@" not in parts.netloc
    except ValueError:
        return None
    is_clean = len(whole) <= _LONGEST_LINK and clean(whole) == whole and not set(whole) & set(' <>"`')
    return whole if is_usable and is_clean else None


def _date(entry: dict[str, Any]) -> Any:
    """Return when an entry was published, else updated, without the fallback of which feedparser warns."""
    return dict.get(entry, "published_parsed") or dict.get(entry, "updated_parsed")


def _seconds(parsed: Any) -> float | None:
    try:
        return float(calendar.timegm(parsed)) if parsed else None
    except (ValueError, OverflowError, TypeError):
        return None


def _iso_seconds(text: str | None) -> float | None:
    try:
        date = datetime.fromisoformat(text) if text else None
        return None if date is None else (date if date.tzinfo else date.replace(tzinfo=UTC)).timestamp()
    except (ValueError, OverflowError):
        return None


def _decoded(body: bytes, content_type: str) -> str | None:
    """Return a body in the charset that its server names, None where it names none or a wrong one."""
    named = _CHARSET.search(content_type)
    try:
        return body.decode(named[1]) if named else None
    except (LookupError, UnicodeError):
        return None
