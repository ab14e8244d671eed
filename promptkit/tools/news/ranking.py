"""Items of several feeds, each story once, ranked by words (BM25, Robertson et al. 1994) and by recency."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import Final

from promptkit.tools.news.feeds import Item
from promptkit.tools.search import words

HALF_LIFE: Final = 86_400.0
"""Seconds after which half of the bonus for recency is left."""
TITLE_WORDS: Final = 4
"""Words of a title from which equal titles in two feeds are one story; shorter ones, such as `Weather`, repeat."""
FUTURE_SECONDS: Final = 86_400.0
"""The time by which a date may be ahead of the clock; a later one is wrong, and counts as missing."""
_ENGLISH: Final = "EN_PLUS"
_OTHERS: Final = (
    "DANISH", "DUTCH", "FRENCH", "GERMAN", "ITALIAN", "NORWEGIAN", "PORTUGUESE", "RUSSIAN", "SPANISH", "SWEDISH",
)  # fmt: skip
_GENERIC: Final = frozenset(
    ("happened", "happening", "headlines", "latest", "new", "newest", "news", "recent", "tell", "today")
)
"""Words of a question about news that say nothing of its subject."""


@dataclass(frozen=True, slots=True)
class Story:
    """An item with the name of its feed, and the same story in other feeds, as pairs of feed and link."""

    item: Item
    feed: str
    others: tuple[tuple[str, str | None], ...] = ()


def merge(items: Mapping[str, Iterable[Item]], now: float) -> list[Story]:
    """Return the items of feeds, the newest first and those without a date last; a story of two feeds comes once."""
    stories = [Story(_dated(item, now), feed) for feed, found in items.items() for item in found]
    stories.sort(key=lambda story: -1.0 if story.item.date is None else story.item.date, reverse=True)
    merged: list[Story] = []
    places: dict[str, int] = {}
    for story in stories:
        keys = _keys(story.item)
        place = next((places[key] for key in keys if key in places), None)
        if place is None:
            places |= dict.fromkeys(keys, len(merged))
            merged.append(story)
            continue
        first = merged[place]
        if story.feed != first.feed and story.feed not in dict(first.others):
            merged[place] = replace(first, others=(*first.others, (story.feed, story.item.link)))
    return merged


def rank(stories: Sequence[Story], query: str, now: float) -> list[Story]:
    """Return the stories that share a word with the query, the best first: BM25, up to doubled for the newest."""
    from bm25s import BM25

    texts = [words(f"{story.item.title} {story.item.summary}") for story in stories]
    known = set().union(*texts)
    sought = [word for word in search_words(query) if word in known]
    if not sought:
        return []
    ranking = BM25()
    ranking.index(texts, show_progress=False)
    scores = ranking.get_scores(sought)
    found = [(float(score) * _recency(story.item, now), story) for score, story in zip(scores, stories, strict=True)]
    found.sort(key=lambda pair: pair[0], reverse=True)
    return [story for score, story in found if score > 0]


def search_words(query: str) -> list[str]:
    """Return the words of a query that name its subject: not those that its language has everywhere (`the`, `what`).

    It is English unless it has more of another language's common words: `war` is one of German, and one is no proof.
    """
    found = words(query)
    english, *others = _common_words()
    other = max(others, key=lambda listed: sum(word in listed for word in found))
    is_english = sum(word in other for word in found) <= 1 + sum(word in english for word in found)
    common = (english if is_english else other) | _GENERIC
    return [word for word in found if word not in common]


def _dated(item: Item, now: float) -> Item:
    is_wrong = item.date is not None and not 0 <= item.date <= now + FUTURE_SECONDS
    return item.model_copy(update={"date": None}) if is_wrong else item


def _keys(item: Item) -> list[str]:
    """Return the keys by which items are one story if they share one: the link, without its fragment, and the title."""
    title = words(item.title)
    keys = [item.link.partition("#")[0]] if item.link else []
    return [*keys, " ".join(title)] if len(title) >= TITLE_WORDS else keys


def _recency(item: Item, now: float) -> float:
    return 1.0 if item.date is None else 1.0 + 0.5 ** (max(0.0, now - item.date) / HALF_LIFE)


@cache
def _common_words() -> tuple[frozenset[str], ...]:
    from bm25s import stopwords

    return tuple(frozenset(getattr(stopwords, f"STOPWORDS_{language}")) for language in (_ENGLISH, *_OTHERS))
