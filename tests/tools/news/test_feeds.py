"""Reading feeds over loopback: together, kept as long as their servers say, each failure by itself."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from promptkit.errors import MissingExtra
from promptkit.tools.fetching import FetchFailed
from promptkit.tools.news import feeds
from promptkit.tools.news.feeds import (
    AGES,
    FEED_BYTES,
    RETRY_SECONDS,
    STALE_SECONDS,
    USUAL_AGE,
    Feed,
    FeedReader,
    max_age,
)
from promptkit.tools.news.parsing import LONGEST_ARTICLE
from tests.runtimes.servers.fault_server import drip, faulty
from tests.tools.news.feeds import NOW, rss, rss_item
from tests.tools.web import Site, serving


@dataclass
class Clock:
    now: float = NOW

    def __call__(self) -> float:
        return self.now


@pytest.fixture
async def site() -> AsyncIterator[Site]:
    async with serving() as site:
        yield site


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def reader(tmp_path: Path, clock: Clock) -> FeedReader:
    return FeedReader(tmp_path / "store", clock, fetch_seconds=5.0)


def own(name: str, url: str) -> Feed:
    return Feed(name, url, private=True)


async def titles(reader: FeedReader, *asked: Feed) -> dict[str, list[str]]:
    read, _ = await reader.read(asked)
    return {name: [item.title for item in items] for name, items in read.items()}


async def test_feeds_that_fail_are_named_and_do_not_end_the_others(site: Site, reader: FeedReader) -> None:
    good = own("good", site.put("/good", rss(rss_item("A story"))))
    bad = {
        own("gone", site.put("/gone", "", status=410)): "gone",
        own("page", site.put("/page", "<html><body>Hello</body></html>", kind="text/html")): "not a feed",
        own("picture", site.put("/picture", b"\x89PNG", kind="image/png")): "image/png",
        own("huge", site.put("/huge", b" " * (FEED_BYTES + 1))): "too large",
        Feed("inside", site.put("/inside", rss(rss_item("Secret")))): "leads into",
    }
    read, notes = await reader.read([good, *bad])
    assert {name: [item.title for item in items] for name, items in read.items()} == {"good": ["A story"]}
    assert [note.split(":")[0] for note in notes] == [f"the feed `{feed.name}` could not be read" for feed in bad]
    for note, words in zip(notes, bad.values(), strict=True):
        assert words in note


async def test_a_slow_feed_does_not_hold_up_the_others(site: Site, reader: FeedReader) -> None:
    good = own("good", site.put("/good", rss(rss_item("A story"))))
    await reader.read([good])
    reader.fetch_seconds = 0.1
    async with faulty(drip) as server:
        read, (note,) = await reader.read([own("slow", server.url), good])
    assert list(read) == ["good"]
    assert note.startswith("the feed `slow` could not be read") and note.endswith("within 0.1 s")


async def test_feeds_are_fetched_at_once(site: Site, reader: FeedReader) -> None:
    """Each feed answers only when the other has been asked for."""
    both = asyncio.Barrier(2)
    for path in ("/a", "/b"):
        site.put(path, rss(rss_item(path)))
        answer = site.pages[path]

        async def together(request: Any, answer: Any = answer) -> Any:
            await both.wait()
            return await answer(request)

        site.pages[path] = together
    assert await titles(reader, own("a", f"{site.url}/a"), own("b", f"{site.url}/b")) == {"a": ["/a"], "b": ["/b"]}


async def test_many_readers_of_a_feed_fetch_it_once(site: Site, reader: FeedReader) -> None:
    feed = own("a", site.put("/a", rss(rss_item("A"))))
    await asyncio.gather(*(reader.read([feed]) for _ in range(10)))
    assert len(site.requests) == 1


async def test_a_feed_is_fetched_again_when_its_time_is_over_and_only_if_it_changed(
    site: Site, reader: FeedReader, clock: Clock
) -> None:
    modified = "Wed, 02 Dec 2026 08:00:00 GMT"
    feed = own(
        "a", site.put("/a", rss(rss_item("First")), ETag='"v1"', Last_Modified=modified, Cache_Control="max-age=100")
    )
    assert await titles(reader, feed) == {"a": ["First"]}
    site.put("/a", "", status=304, Cache_Control="max-age=100")
    clock.now += 99
    assert await titles(reader, feed) == {"a": ["First"]}
    assert len(site.requests) == 1
    clock.now += 1
    assert await titles(reader, feed) == {"a": ["First"]}
    assert site.requests[1].headers["If-None-Match"] == '"v1"'
    assert site.requests[1].headers["If-Modified-Since"] == modified
    clock.now += 100
    site.put("/a", rss(rss_item("Second")))
    assert await titles(reader, feed) == {"a": ["Second"]}
    assert len(site.requests) == 3


async def test_what_was_read_is_kept_for_the_next_process(
    site: Site, reader: FeedReader, clock: Clock, tmp_path: Path
) -> None:
    feed = own("a", site.put("/a", rss(rss_item("First")), ETag='"v1"'))
    await reader.read([feed])
    assert await titles(FeedReader(tmp_path / "store", clock), feed) == {"a": ["First"]}
    assert len(site.requests) == 1
    (kept,) = (tmp_path / "store" / "feeds").iterdir()
    assert kept.stat().st_mode & 0o777 == 0o600
    assert (tmp_path / "store" / ".gitignore").read_text() == "*\n"


async def test_what_was_read_inside_is_not_shown_when_that_is_no_longer_allowed(site: Site, reader: FeedReader) -> None:
    url = site.put("/a", rss(rss_item("Secret")))
    await reader.read([own("a", url)])
    fresh = FeedReader(reader.store_folder, reader.now)
    assert await titles(fresh, Feed("a", url)) == {}


@pytest.mark.parametrize(
    "damage", [b"", b"{", b"[]", b"\xff", b'{"fetched": 9e99, "fresh_until": 9e99, "items": []}', b'{"items": 3}']
)
async def test_a_damaged_copy_is_not_used(site: Site, reader: FeedReader, clock: Clock, damage: bytes) -> None:
    feed = own("a", site.put("/a", rss(rss_item("First"))))
    await reader.read([feed])
    (kept,) = (reader.store_folder / "feeds").iterdir()
    kept.write_bytes(damage)
    assert await titles(FeedReader(reader.store_folder, clock), feed) == {"a": ["First"]}
    assert len(site.requests) == 2


async def test_a_project_that_cannot_be_written_is_read(site: Site, clock: Clock, tmp_path: Path) -> None:
    (tmp_path / "store").write_text("not a folder")
    feed = own("a", site.put("/a", rss(rss_item("First"))))
    assert await titles(FeedReader(tmp_path / "store", clock), feed) == {"a": ["First"]}


async def test_the_last_items_stand_in_for_a_feed_that_fails_for_a_day(
    site: Site, reader: FeedReader, clock: Clock
) -> None:
    feed = own("a", site.put("/a", rss(rss_item("First"))))
    await reader.read([feed])
    site.put("/a", "", status=500)
    clock.now = NOW + STALE_SECONDS
    read, notes = await reader.read([feed])
    assert [item.title for item in read["a"]] == ["First"]
    assert notes[0].endswith("its items are those of 2026-12-02T12:00Z")
    clock.now += 1
    assert (await reader.read([feed]))[0] == {}


async def test_a_feed_that_failed_is_left_alone_for_a_while(site: Site, reader: FeedReader, clock: Clock) -> None:
    feed = own("a", f"{site.url}/missing")
    first = await reader.read([feed])
    clock.now += RETRY_SECONDS - 1
    assert await reader.read([feed]) == first
    assert len(site.requests) == 1
    clock.now += 1
    site.put("/missing", rss(rss_item("Here")))
    assert await titles(reader, feed) == {"a": ["Here"]}
    assert len(site.requests) == 2


async def test_not_modified_is_no_answer_to_a_first_request(site: Site, reader: FeedReader) -> None:
    read, notes = await reader.read([own("a", site.put("/a", "", status=304))])
    assert (read, len(notes)) == ({}, 1)


@pytest.mark.attack("feed")
async def test_a_feed_that_takes_too_long_to_read_is_given_up(
    site: Site, reader: FeedReader, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(feeds, "PARSE_SECONDS", 0.02)
    many = rss(*(rss_item(f"Item {number}") for number in range(2_000)))
    read, notes = await reader.read([own("a", site.put("/a", many))])
    assert read == {}
    assert "took longer" in notes[0]


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        ("", USUAL_AGE),
        ("max-age=600", 600),
        ("public, MAX-AGE=600", 600),
        ("s-maxage=900", USUAL_AGE),
        ("max-age=1", AGES[0]),
        ("max-age=99999999", AGES[1]),
        ("no-cache, max-age=600", AGES[0]),
        ("no-store", AGES[0]),
        ("max-age=soon", USUAL_AGE),
    ],
)
def test_the_server_decides_how_long_a_feed_is_fresh_within_bounds(header: str, seconds: float) -> None:
    assert max_age(header) == seconds
    assert (AGES[0], USUAL_AGE, AGES[1]) == (60, 300, 3_600)


async def test_an_article_is_read_and_cut(site: Site, reader: FeedReader) -> None:
    feed = own("a", f"{site.url}/feed")
    page = (
        "<html><body><article><p>" + "The bridge is open again, the mayor said. " * 500 + "</p></article></body></html>"
    )
    text = await reader.article(site.put("/a", page, kind="text/html"), feed)
    assert text.startswith("The bridge is open") and text.endswith("… (cut here)")
    assert len(text) <= LONGEST_ARTICLE + len(" … (cut here)")


async def test_an_article_elsewhere_inside_is_not_fetched(site: Site, reader: FeedReader) -> None:
    async with serving() as other:
        secret = other.put("/a", "secret", kind="text/plain")
        with pytest.raises(FetchFailed, match="leads into"):
            await reader.article(secret, own("a", f"{site.url}/feed"))
        assert other.requests == []


async def test_an_article_that_is_no_text_fails(site: Site, reader: FeedReader) -> None:
    feed = own("a", site.url)
    with pytest.raises(FetchFailed, match="application/pdf"):
        await reader.article(site.put("/a", b"%PDF", kind="application/pdf"), feed)
    with pytest.raises(FetchFailed, match="no text of an article"):
        await reader.article(site.put("/b", "<html></html>", kind="text/html"), feed)


async def test_without_the_packages_the_error_names_the_extra(
    site: Site, reader: FeedReader, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(feeds, "find_spec", lambda name: None)
    with pytest.raises(MissingExtra) as caught:
        await reader.read([own("a", site.put("/a", rss()))])
    assert caught.value.hint == "pip install 'promptkit[news]'"
