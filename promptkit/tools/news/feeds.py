"""The feeds of a project: fetched together, each within its time, and kept on disk for as long as their servers say."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib.util import find_spec
from pathlib import Path
from typing import Final

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from promptkit.errors import InputError, MissingExtra, StoreFailed
from promptkit.storage.files import make_folder, open_file, write_private
from promptkit.storage.hashes import content_key
from promptkit.storage.store import make_store_folder
from promptkit.tools.fetching import Fetched, FetchFailed, fetch
from promptkit.tools.news.parsing import LONGEST_ARTICLE, extract_article, parse_feed
from promptkit.workers.process import WorkFailed, run_in_worker

FEED_BYTES: Final = 5 * 2**20
ARTICLE_BYTES: Final = 5 * 2**20
FETCH_SECONDS: Final = 15.0
PARSE_SECONDS: Final = 20.0
USUAL_AGE: Final = 300.0
"""Seconds for which a feed is not fetched again where its server names none."""
AGES: Final = (60.0, 3_600.0)
"""The bounds of the seconds that a server may name."""
RETRY_SECONDS: Final = 30.0
"""Seconds for which a feed that failed is not tried again."""
STALE_SECONDS: Final = 86_400.0
"""The age up to which the last items of a feed stand in for one that fails."""
_KEPT_BYTES: Final = 4 * 2**20
_ACCEPTED: Final = "application/rss+xml, application/atom+xml, application/feed+json, application/xml;q=0.9, */*;q=0.5"
_MEDIA: Final = ("image/", "audio/", "video/", "font/", "application/pdf", "application/zip")
_MAX_AGE: Final = re.compile(r"(?:^|[\s,])max-age\s*=\s*\"?(\d{1,9})")


@dataclass(frozen=True, slots=True)
class Feed:
    """A feed of `promptkit.yaml`. The host and port of a `private` one may be inside the machine or its network."""

    name: str
    url: str
    private: bool = False

    @property
    def private_origin(self) -> str | None:
        """The address whose host and port need not be public."""
        return self.url if self.private else None


class Item(BaseModel):
    """An item of a feed, without markup. `date` is in seconds of the epoch; None where it has none."""

    model_config = ConfigDict(frozen=True)
    title: str
    link: str | None
    date: float | None
    summary: str


class KeptFeed(BaseModel):
    """The items of a feed as they were read, and the validators of a conditional request. Times are epoch seconds."""

    model_config = ConfigDict(frozen=True)
    fetched: float
    fresh_until: float
    etag: str | None = Field(default=None, max_length=500)
    modified: str | None = Field(default=None, max_length=100)
    items: tuple[Item, ...]


@dataclass
class FeedReader:
    """Reads feeds. Several callers may read at once: each feed is fetched by one of them.

    `store_folder` is that of the project: its folder `feeds` keeps what was read. `now` is the clock, in seconds of the
    epoch. `fetch_seconds` bounds each fetch.
    """

    store_folder: Path
    now: Callable[[], float]
    fetch_seconds: float = FETCH_SECONDS
    _kept: dict[str, KeptFeed] = field(default_factory=dict)
    _failed: dict[str, tuple[float, str]] = field(default_factory=dict)
    _locks: dict[str, asyncio.Lock] = field(default_factory=dict)

    async def read(self, feeds: Sequence[Feed]) -> tuple[dict[str, tuple[Item, ...]], list[str]]:
        """Return the items of the feeds that could be read, by name, and a note about each that could not.

        Raises MissingExtra without the packages.
        """
        if find_spec("feedparser") is None:
            raise MissingExtra("the tool `news`", "news")
        results = await asyncio.gather(*(self._read(feed) for feed in feeds))
        read = {feed.name: items for feed, (items, _) in zip(feeds, results, strict=True) if items is not None}
        return read, [note for _, note in results if note]

    async def article(self, link: str, feed: Feed) -> str:
        """Return the text of the article at a link of an item of `feed`. Raises FetchFailed."""
        fetched = await fetch(
            link, most_bytes=ARTICLE_BYTES, seconds=self.fetch_seconds, private_origin=feed.private_origin
        )
        _refuse_media(fetched)
        try:
            text: str = await run_in_worker(
                extract_article, fetched.body, fetched.content_type, seconds=PARSE_SECONDS, imports=["trafilatura"]
            )
        except ValueError as error:
            raise FetchFailed(f"the article could not be read: {error}") from None
        except WorkFailed as failed:
            raise FetchFailed(f"the article could not be read: extracting its text {failed}") from None
        return text if len(text) <= LONGEST_ARTICLE else f"{text[:LONGEST_ARTICLE].rpartition(' ')[0]} … (cut here)"

    async def _read(self, feed: Feed) -> tuple[tuple[Item, ...] | None, str]:
        """Return a feed's items, None where there are none to use, and a note about its failure."""
        async with self._locks.setdefault(feed.name, asyncio.Lock()):
            kept = self._kept.get(feed.name) or await asyncio.to_thread(self._load, feed)
            now = self.now()
            if kept is not None and now < kept.fresh_until:
                self._kept[feed.name] = kept
                return kept.items, ""
            until, problem = self._failed.get(feed.name, (0.0, ""))
            if now >= until:
                try:
                    kept = self._kept[feed.name] = await self._fetched(feed, kept)
                except (FetchFailed, ValueError) as error:
                    problem = f"the feed `{feed.name}` could not be read: {error}"
                    self._failed[feed.name] = (now + RETRY_SECONDS, problem)
                else:
                    self._failed.pop(feed.name, None)
                    await asyncio.to_thread(self._save, feed, kept)
                    return kept.items, ""
        if kept is None or now - kept.fetched > STALE_SECONDS:
            return None, problem
        then = datetime.fromtimestamp(kept.fetched, UTC).strftime("%Y-%m-%dT%H:%MZ")
        return kept.items, f"{problem}; its items are those of {then}"

    async def _fetched(self, feed: Feed, kept: KeptFeed | None) -> KeptFeed:
        """Fetch a feed, and parse it where it has changed. Raises FetchFailed and ValueError."""
        headers = {"Accept": _ACCEPTED}
        if kept is not None and kept.etag:
            headers["If-None-Match"] = kept.etag
        if kept is not None and kept.modified:
            headers["If-Modified-Since"] = kept.modified
        fetched = await fetch(
            feed.url,
            most_bytes=FEED_BYTES,
            seconds=self.fetch_seconds,
            headers=headers,
            private_origin=feed.private_origin,
        )
        now = self.now()
        times = {"fetched": now, "fresh_until": now + max_age(fetched.headers.get("Cache-Control", ""))}
        if fetched.status == 304:
            if kept is None:
                raise FetchFailed("its server answered 304 (not modified) to a first request")
            return kept.model_copy(update=times)
        _refuse_media(fetched)
        try:
            items = await run_in_worker(
                parse_feed,
                fetched.body,
                fetched.content_type,
                fetched.url,
                seconds=PARSE_SECONDS,
                imports=["feedparser", "lxml.html"],
            )
        except WorkFailed as failed:
            raise FetchFailed(f"parsing it {failed}") from None
        return KeptFeed(
            **times,
            etag=_validator(fetched.headers.get("ETag"), 500),
            modified=_validator(fetched.headers.get("Last-Modified"), 100),
            items=tuple(Item(**item) for item in items),
        )

    def _file(self, feed: Feed) -> Path:
        return self.store_folder / "feeds" / f"{content_key(f'{feed.private} {feed.url}').hex()}.json"

    def _load(self, feed: Feed) -> KeptFeed | None:
        """Return the copy of a feed on disk, None where there is nothing of use."""
        try:
            with open_file(self._file(feed)) as file:
                kept = KeptFeed.model_validate_json(file.read(_KEPT_BYTES))
        except (OSError, InputError, ValidationError):
            return None
        return kept if kept.fetched <= self.now() and kept.fresh_until <= kept.fetched + AGES[1] else None

    def _save(self, feed: Feed, kept: KeptFeed) -> None:
        file = self._file(feed)
        with suppress(StoreFailed):  # A project that cannot be written is read all the same.
            make_store_folder(self.store_folder)
            make_folder(file.parent)
            write_private(file, kept.model_dump_json())


def max_age(cache_control: str) -> float:
    """Return the seconds for which a feed stays fresh: those that its server names, within bounds."""
    directives = cache_control.lower()
    if "no-cache" in directives or "no-store" in directives:
        return AGES[0]
    named = _MAX_AGE.search(directives)
    return min(max(float(named[1]), AGES[0]), AGES[1]) if named else USUAL_AGE


def _validator(value: str | None, longest: int) -> str | None:
    """Return a header's value that may be sent back, None for any other."""
    return value if value and len(value) <= longest and value.isascii() and value.isprintable() else None


def _refuse_media(fetched: Fetched) -> None:
    kind = fetched.content_type.partition(";")[0].strip().lower()
    if kind.startswith(_MEDIA):
        raise FetchFailed(f"its server sent {kind[:60]}")
