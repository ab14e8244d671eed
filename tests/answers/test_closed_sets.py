"""Texts of a closed set among other words: as a regular expression of all of them finds them, in one pass."""

from __future__ import annotations

import asyncio
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from promptkit.answers.base import Unparsed
from promptkit.answers.build import build_answer_type
from promptkit.answers.closed_sets import MANY_NAMES, ClosedSet, MentionFinder, mention_finder

WORDS = st.text("abAB +-", min_size=1, max_size=6).filter(lambda text: text == text.strip())


def found_by_expression(names: list[str], text: str) -> list[tuple[int, int]]:
    def bounded(name: str) -> str:
        before = r"(?<!\w)" if re.match(r"\w", name) else ""
        after = r"(?!\w)" if re.search(r"\w\Z", name) else ""
        return before + re.escape(name) + after

    expression = "|".join(bounded(name) for name in sorted(names, key=len, reverse=True))
    places = re.finditer(f"(?=({expression}))", text, re.IGNORECASE)
    return [(place.start(), place.end(1)) for place in places]


@given(st.lists(WORDS, min_size=1, max_size=8), st.text("abAB +-.", max_size=30))
def test_at_each_place_the_longest_text_is_found(names: list[str], text: str) -> None:
    assert list(MentionFinder(names).places(text)) == found_by_expression(names, text)


def test_names_that_overlap_are_found_from_the_left() -> None:
    names = ClosedSet(("new york", "york city hall", "city", "hall"))
    assert list(names.places("NEW YORK city hall")) == [(0, 8, "new york"), (9, 13, "city"), (14, 18, "hall")]
    assert list(names.mentions("york city, york city hall")) == ["city", "york city hall"]


def test_names_that_differ_by_case_alone_are_told_apart_by_it() -> None:
    assert list(ClosedSet(("US", "us")).mentions("of us in the US, not Us")) == ["us", "US"]


def test_letters_of_two_cases_are_one_in_any_script() -> None:
    assert list(ClosedSet(("straße", "Łódź")).mentions("the STRASSE of łódź")) == ["straße", "Łódź"]


MANY = [f"category {number} {'abcdefgh'[number % 8]}" for number in range(5_000)]
NEAR = "category 77 x and category " * 750


@pytest.mark.attack("number")
@pytest.mark.parametrize("kind", ["label", "labels"])
@pytest.mark.parametrize(
    "reply",
    [
        NEAR,
        " or ".join(MANY)[:20_000],
        "category " * 2_200,
        "\n".join(["category 7"] * 2_000),
        "a" * 20_000,
        "category 1 b, " * 1_500 + "x",
    ],
    ids=["near", "all", "begun", "lines", "a", "separated"],
)
async def test_a_reply_of_near_labels_is_read_without_holding_up_others(kind: str, reply: str) -> None:
    answer = build_answer_type({kind: MANY})
    await asyncio.sleep(0)
    for read in (answer.parse, answer.find):
        try:
            assert read(reply)
        except Unparsed as error:
            assert len(str(error)) < 3_000
        await asyncio.sleep(0)


@pytest.mark.attack("number")
async def test_labels_of_which_each_continues_the_last_are_read_in_one_pass() -> None:
    names = ClosedSet(tuple(" ".join(["a"] * count) for count in range(1, 200)))
    await asyncio.sleep(0)
    assert set(names.mentions("a " * 10_000)) == {names.names[-1], names.names[10_000 % 199 - 1]}


async def test_of_fifty_thousand_labels_the_right_one_is_read() -> None:
    answer = build_answer_type({"label": [f"category {number}" for number in range(50_000)]})
    assert answer.parse("It is category 41234.") == "category 41234"
    with pytest.raises(Unparsed, match="and 49,900 more"):
        answer.parse("none of them")


def test_what_finds_many_names_is_made_with_the_set_and_not_with_the_first_reply() -> None:
    few, many = ([f"name {number} of {size}" for number in range(size)] for size in (MANY_NAMES - 1, MANY_NAMES))
    mention_finder.cache_clear()
    ClosedSet(few)
    assert mention_finder.cache_info().currsize == 0
    names = ClosedSet(many)
    assert mention_finder.cache_info().currsize == 1
    assert list(names.mentions(f"it is name 7 of {MANY_NAMES}, I think")) == [many[7]]
