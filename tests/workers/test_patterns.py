"""Regular expressions from data: what is wrong with one is told, and a search without end is stopped."""

from __future__ import annotations

import asyncio
import re
import time
from typing import Any

import pytest

from promptkit.workers import PatternFailed, find_pattern, pattern_fault
from promptkit.workers.patterns import MOST_CHARACTERS

# Compiling the first costs 6 ms a class, so all of it some seconds.
COSTLY = "(?i)" + "[\x00-\U0010ffff]" * 1_000


async def test_what_is_found_is_cut_where_it_is_long() -> None:
    assert await find_pattern("a+", "b" + "a" * 500) == "a" * 200
    assert await find_pattern("a+", "bbb") is None
    assert await find_pattern("", "x") == ""


async def test_half_characters_are_searched_as_any_other() -> None:
    assert await find_pattern("\ud800.", "x\ud800y") == "\ud800y"


@pytest.mark.parametrize("pattern", ["(", "a{2,1}", "(?P<a>x)(?P<a>y)", "\\", 7, None, "(?<=a+)b"])
async def test_what_is_no_regular_expression_is_told(pattern: Any) -> None:
    assert "is no regular expression" in str(pattern_fault(pattern))
    with pytest.raises(PatternFailed, match="is no regular expression"):
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
def test_what_is_wrong_with_a_pattern_is_told_in_little_time() -> None:
    for pattern in (COSTLY, "[" + "\x00-\U0010ffff" * 333, "(?i)" + "[\x00-\U0010ffff]" * 10, "(" * 1_000, "a" * 10**6):
        re.purge()
        began = time.thread_time()
        pattern_fault(pattern)
        assert time.thread_time() - began < 0.5
    assert "is longer than 10,000 characters" in str(pattern_fault("a" * (MOST_CHARACTERS + 1)))
    assert pattern_fault("a" * MOST_CHARACTERS) is None
