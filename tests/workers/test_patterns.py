"""Regular expressions from data: what is wrong with one is told, and a search without end is stopped."""

from __future__ import annotations

import asyncio
import re
from typing import Any

import pytest

from promptkit.workers.patterns import MOST_CHARACTERS, MOST_RANGES, PatternFailed, find_pattern, pattern_fault

# To compile one class of it takes 6 ms.
COSTLY = "(?i)" + "[\x00-\U0010ffff]" * 1_000


async def test_what_is_found_is_cut_where_it_is_long() -> None:
    assert await find_pattern("a+", "b" + "a" * 500) == "a" * 200
    assert await find_pattern("a+", "bbb") is None
    assert await find_pattern("", "x") == ""


async def test_half_characters_are_searched_as_any_other() -> None:
    assert await find_pattern("\ud800.", "x\ud800y") == "\ud800y"


@pytest.mark.parametrize("pattern", ["(", "a{2,1}", "(?P<a>x)(?P<a>y)", "\\", 7, None, "(?<=a+)b"])
async def test_what_is_no_regular_expression_is_told(pattern: Any) -> None:
    assert "is not a regular expression" in str(pattern_fault(pattern))
    with pytest.raises(PatternFailed, match="is not a regular expression"):
        await find_pattern(pattern, "text")


@pytest.mark.attack("regex")
@pytest.mark.parametrize(
    ("pattern", "text"),
    [
        ("(a+)+$", "a" * 40 + "b"),
        ("(a|a)*$", "a" * 40 + "b"),
        ("(a|b|ab)*c", "ab" * 60),
        (r"^(\w+\s?)*$", "word " * 40 + "!"),
        (".*.*.*.*x", "a" * 20_000),
        (r"(?=(a+)+$)b|(a*)*\1$", "a" * 40 + "b"),
        (COSTLY, ""),
    ],
    ids=lambda value: value[:8],
)
async def test_a_search_without_end_is_stopped_while_others_are_served(
    pattern: str, text: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    await find_pattern("warm", "warm")
    monkeypatch.setattr("promptkit.workers.patterns.PATTERN_SECONDS", 0.3)
    hostile = asyncio.create_task(find_pattern(pattern, text))
    assert await find_pattern("b+", "abb") == "bb"
    with pytest.raises(PatternFailed, match=r"the search for .* took longer than 0.3 seconds"):
        await hostile


@pytest.mark.attack("regex")
@pytest.mark.parametrize(
    "pattern",
    [
        COSTLY,
        "[" + "\x00-\U0010ffff" * 333,
        "(?i)" + "[\x00-\U0010ffff]" * MOST_RANGES,
        "(?i)[" + "\x00-\U0010ffff" * MOST_RANGES + "]",
        "(" * 1_000,
        "(?i)" + "[^a]" * 249,
        "(a|b)" * 200,
        "a" * 1_000_000,
    ],
    ids=lambda pattern: pattern[:8],
)
async def test_what_is_wrong_with_a_pattern_is_told_without_holding_up_others(pattern: str) -> None:
    re.purge()
    await asyncio.sleep(0)
    pattern_fault(pattern)


def test_a_pattern_may_be_long_and_not_too_long() -> None:
    assert pattern_fault("a" * MOST_CHARACTERS) is None
    assert "is longer than 10,000 characters" in str(pattern_fault("a" * (MOST_CHARACTERS + 1)))
