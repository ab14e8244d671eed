"""The tool `news`: the items of the feeds that a project names, and the articles behind them."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from typing import Any, Final

from promptkit.errors import InputError, ToolFailed, nearest
from promptkit.project import Project
from promptkit.tools.base import Effect, Tool
from promptkit.tools.fetching import FetchFailed, names_inside
from promptkit.tools.news.feeds import Feed, FeedReader, Item
from promptkit.tools.news.ranking import Story, merge, rank

USUAL_LIMIT: Final = 10
MOST_LISTED: Final = 50
MOST_REMEMBERED: Final = 2_000
"""Items whose articles can be asked for: the last that were listed."""
_HOUR: Final = 3_600
_SPAN: Final = re.compile(r"(\d{1,5}(?:\.\d{1,3})?)\s*(?:(h|d)[a-z]*)?", re.IGNORECASE)
_NO_FEEDS: Final = (
    "add the feeds to promptkit.yaml, such as `feeds: {world: https://feeds.bbci.co.uk/news/world/rss.xml}`"
)


class NewsTool(Tool):
    """Lists items of feeds, and reads the article of an item that it has listed."""

    effects: frozenset[Effect] = frozenset({"network"})
    extra = "news"

    def __init__(self, name: str, feeds: Sequence[Feed], reader: FeedReader, now: Callable[[], float]) -> None:
        self.name = name
        self.description = (
            "Search the latest news. Returns items with id, title, date, feed, link and summary, the best match first, "
            "or the newest first if there is no query. With `article` it returns the text of one article instead."
        )
        self.parameters = _parameters([feed.name for feed in feeds])
        self._feeds = {feed.name: feed for feed in feeds}
        self._reader = reader
        self._now = now
        self._listed: dict[str, Story] = {}

    @classmethod
    def of(cls, name: str, settings: Any, folder: Path, project: Project) -> NewsTool:
        """Return the tool over the feeds of a project that `settings` names: a name, a list of names, None for all.

        Raises InputError for other settings, for a name that is not in `promptkit.yaml`, and where there are no feeds.
        """
        known = {feed: Feed(feed, given.url, given.private) for feed, given in project.settings.feeds.items()}
        if not known:
            raise InputError("the tool `news` has no feeds", hint=_NO_FEEDS)
        names = [settings] if isinstance(settings, str) else list(known) if settings is None else settings
        if not isinstance(names, list) or not names or not all(isinstance(one, str) for one in names):
            raise InputError("`news` takes the name of a feed, or a list of names", hint=nearest("", known))
        for one in names:
            if one not in known:
                raise InputError(f"there is no feed `{one}` in promptkit.yaml", hint=nearest(one, known))
            if names_inside(known[one].url) and not known[one].private:
                hint = f"`{one}: {{url: …, private: true}}` under `feeds` in promptkit.yaml allows it"
                raise InputError(f"the feed `{one}` is in this machine or its network", hint=hint)
        reader = FeedReader(project.store_folder, time.time)
        return cls(name, [known[one] for one in dict.fromkeys(names)], reader, time.time)

    @property
    def identity(self) -> Mapping[str, Any]:
        """The feeds, each with a digest of its address, which may hold a key."""
        return {"feeds": {feed.name: sha256(feed.url.encode()).hexdigest()[:16] for feed in self._feeds.values()}}

    async def call(self, arguments: Mapping[str, Any]) -> Any:
        """Return `items` and `notes`, or an item with the `text` of its article. Raises ToolFailed."""
        if article := arguments.get("article"):
            return await self._article(str(article))
        feed, now = arguments.get("feed"), self._now()
        if feed and feed not in self._feeds:
            raise ToolFailed(f"there is no feed `{feed}`; the feeds are {', '.join(self._feeds)}")
        oldest = _since(arguments.get("since"), now)
        limit = arguments.get("limit") or USUAL_LIMIT
        if not isinstance(limit, int) or not 0 < limit <= MOST_LISTED:
            raise ToolFailed(f"`limit` must be a whole number from 1 to {MOST_LISTED}")
        feeds = [self._feeds[feed]] if feed else list(self._feeds.values())
        read, notes = await self._reader.read(feeds)
        if not read:
            raise ToolFailed("; ".join(notes))
        query = str(arguments.get("query") or "")
        stories, further = await asyncio.to_thread(_found, read, query, oldest, now)
        return {"items": [self._shown(story) for story in stories[:limit]], "notes": [*notes, *further]}

    def _shown(self, story: Story) -> dict[str, Any]:
        """Return a story as a model is shown it, and remember it under its id."""
        item = story.item
        shown: dict[str, Any] = {
            "id": self._remember(story),
            "title": item.title,
            "date": _iso(item.date),
            "feed": story.feed,
        }
        shown |= {"link": item.link, "summary": item.summary}
        if story.others:
            shown["also"] = [{"feed": feed, "link": link} for feed, link in story.others]
        return shown

    def _remember(self, story: Story) -> str:
        """Return the id of a story: a digest, so that it does not depend on the order of calls."""
        ids = _ids(sha256(_content(story).encode()).hexdigest())
        known = next(one for one in ids if one not in self._listed or _content(self._listed[one]) == _content(story))
        self._listed.pop(known, None)
        self._listed[known] = story
        while len(self._listed) > MOST_REMEMBERED:
            del self._listed[next(iter(self._listed))]
        return known

    async def _article(self, name: str) -> dict[str, Any]:
        story = self._listed.get(name)
        if story is None:
            raise ToolFailed(f"no item `{name[:40]}` has been listed; `article` takes the id of an item")
        if story.item.link is None:
            raise ToolFailed(f"the item `{name}` has no link to an article")
        try:
            text = await self._reader.article(story.item.link, self._feeds[story.feed])
        except FetchFailed as error:
            raise ToolFailed(str(error)) from None
        shown = self._shown(story)
        del shown["summary"]
        return {**shown, "text": text}


def _found(
    read: Mapping[str, tuple[Item, ...]], query: str, oldest: float | None, now: float
) -> tuple[list[Story], list[str]]:
    """Return the stories to list, in order, and notes about them. A query takes some 70 ms for each thousand items."""
    stories = merge(read, now)
    if oldest is not None:
        stories = [story for story in stories if story.item.date is not None and story.item.date >= oldest]
    if not stories:
        return [], ["no item is that new" if oldest is not None else "the feeds have no items"]
    if not query:
        return stories, []
    ranked = rank(stories, query, now)
    return (ranked, []) if ranked else (stories, ["no item matches the query; these are the newest"])


def _content(story: Story) -> str:
    """Return the link of a story, else its title, from which its id is made."""
    return story.item.link or story.item.title


def _ids(digest: str) -> Iterator[str]:
    """Yield the ids that a story may have, the shortest first: a longer one where two stories share the shorter."""
    for size in range(4, len(digest) + 1):
        yield f"n{digest[:size]}"


def _iso(seconds: float | None) -> str | None:
    return None if seconds is None else datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%MZ")


def _since(since: Any, now: float) -> float | None:
    """Return the time from which items count, None for all. Raises ToolFailed."""
    if since is None or since == "":
        return None
    span = _SPAN.fullmatch(str(since).strip())
    if span:
        return now - float(span[1]) * _HOUR * (24 if (span[2] or "").lower() == "d" else 1)
    try:
        date = datetime.fromisoformat(str(since))
        return (date if date.tzinfo else date.replace(tzinfo=UTC)).timestamp()
    except (ValueError, OverflowError):
        raise ToolFailed(f"`since` must be hours, such as 24, or a date, such as {_iso(now)}") from None


def _parameters(feeds: list[str]) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": {
            "query": {"type": "string", "description": "Words to search for. Leave out for the newest items."},
            "feed": {"type": "string", "enum": feeds, "description": "The only feed to search. Leave out for all."},
            "since": {
                "type": ["string", "number"],
                "description": "Only items since then: hours, such as `24`, or a date, such as `2026-01-31`.",
            },
            "limit": {
                "type": "integer",
                "minimum": 1,
                "maximum": MOST_LISTED,
                "description": f"The most items to return, by default {USUAL_LIMIT}.",
            },
            "article": {"type": "string", "description": "The id of a listed item, to read its article."},
        },
        "additionalProperties": False,
    }
