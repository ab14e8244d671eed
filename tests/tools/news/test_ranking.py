"""Stories of several feeds: each once, in the right order."""

from __future__ import annotations

import pytest

from promptkit.tools.news.feeds import Item
from promptkit.tools.news.ranking import FUTURE_SECONDS, HALF_LIFE, TITLE_WORDS, Story, merge, rank, search_words
from tests.tools.news.feeds import HOUR, NOW


def item(title: str, *, link: str | None = None, age: float | None = 1.0, summary: str = "") -> Item:
    return Item(title=title, link=link, date=None if age is None else NOW - age * HOUR, summary=summary)


def titles(stories: list[Story]) -> list[str]:
    return [story.item.title for story in stories]


def found(query: str, *items: Item) -> list[str]:
    return titles(rank(merge({"world": items}, NOW), query, NOW))


@pytest.mark.parametrize(
    ("query", "words"),
    [
        ("What happened to the bridge?", ["bridge"]),
        ("What is the latest news today?", []),
        ("war", ["war"]),
        ("the war in Ukraine", ["war", "ukraine"]),
        ("Was ist mit der Brücke in der Stadt?", ["brücke", "stadt"]),
        ("", []),
    ],
)
def test_the_words_of_a_query_are_those_of_its_subject(query: str, words: list[str]) -> None:
    assert search_words(query) == words


def test_the_newest_stories_come_first_and_those_without_a_date_last() -> None:
    items = {"a": [item("none", age=None), item("old", age=50)], "b": [item("new", age=1), item("middle", age=9)]}
    assert titles(merge(items, NOW)) == ["new", "middle", "old", "none"]


def test_a_story_of_two_feeds_comes_once_with_both_links() -> None:
    first = item("Harbour closed after the storm", link="https://a.example/1", age=1)
    second = item("Harbour closed after the storm!", link="https://b.example/2", age=3)
    (story,) = merge({"b": [second], "a": [first]}, NOW)
    assert story == Story(first, "a", (("b", "https://b.example/2"),))


def test_items_with_one_link_are_one_story_whatever_its_fragment() -> None:
    items = {"a": [item("One", link="https://x.example/1#a")], "b": [item("Two", link="https://x.example/1", age=2)]}
    assert titles(merge(items, NOW)) == ["One"]


def test_short_titles_do_not_make_two_items_one_story() -> None:
    assert TITLE_WORDS == 4
    short = {"a": [item("Weather this week", link="https://a.example/")], "b": [item("Weather this week")]}
    assert len(merge(short, NOW)) == 2
    longer = {"a": [item("Weather in this week", link="https://a.example/")], "b": [item("Weather in this week")]}
    assert len(merge(longer, NOW)) == 1


def test_a_date_too_far_in_the_future_counts_as_missing() -> None:
    soon, late = item("soon", age=-FUTURE_SECONDS / HOUR), item("late", age=-FUTURE_SECONDS / HOUR - 1)
    stories = merge({"a": [late, item("now", age=0), soon]}, NOW)
    assert [(story.item.title, story.item.date is None) for story in stories] == [
        ("soon", False),
        ("now", False),
        ("late", True),
    ]


def test_only_stories_that_share_a_word_are_found_the_best_first() -> None:
    items = [
        item("The bridge opens", summary="Cars use the bridge again"),
        item("Concert on Sunday", summary="Near the bridge"),
        item("Election in spring"),
    ]
    assert found("What happened to the bridge?", *items) == ["The bridge opens", "Concert on Sunday"]
    assert found("zebra", *items) == []
    assert found("latest news", *items) == []


def test_of_equal_matches_the_newer_is_better() -> None:
    assert found(
        "ferry", item("Ferry stops", age=None), item("Ferry stops ", age=40), item("Ferry stops  ", age=2)
    ) == [
        "Ferry stops  ",
        "Ferry stops ",
        "Ferry stops",
    ]


def test_recency_at_most_doubles_a_score() -> None:
    """The old item matches better by more than the bonus of a day's half-life makes good, or by less."""
    assert HALF_LIFE == 24 * HOUR
    old = item("Ferry harbour strike", age=24 * 365)
    new = item("Ferry on time, say its passengers", age=0)
    others = [item(f"Other {number}") for number in range(20)]
    assert found("ferry harbour strike", old, new, *others)[0] == "Ferry harbour strike"
    assert found("ferry", old, new, *others)[0] == "Ferry on time, say its passengers"


def test_items_without_words_can_be_searched() -> None:
    assert found("bridge", item("!!!"), item("Bridge")) == ["Bridge"]
    assert found("bridge", item("!!!")) == []
    assert found("bridge") == []
