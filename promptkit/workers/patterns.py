"""Regular expressions from data, searched in a worker process, because some searches never end."""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any, Final

from promptkit.workers.process import WorkFailed, run_in_worker, run_in_worker_blocking

PATTERN_SECONDS: Final = 5.0
"""The time limit of a search."""
MATCH_SECONDS: Final = 1.0
"""The time limit of a search that blocks its caller."""
MOST_CHARACTERS: Final = 10_000
"""The length limit of a pattern."""
MOST_CHECKED: Final = 1_000
"""The length limit of a pattern that is compiled in this process, which takes some 10 ms."""
MOST_RANGES: Final = 8
"""The limit of ranges (`a-z`) in such a pattern: one can take 6 ms."""

_LONGEST_FOUND: Final = 200


class PatternFailed(ValueError):
    """A wrong regular expression, or one whose search takes too long. The message is one line."""


def pattern_fault(pattern: Any) -> str | None:
    """Return the problem of a pattern, None for a right one and for one that only a worker may compile."""
    if not isinstance(pattern, str):
        return f"{_shown(pattern)} is not a regular expression"
    if len(pattern) > MOST_CHARACTERS:
        return f"{_shown(pattern)} is longer than {MOST_CHARACTERS:,} characters"
    if len(pattern) > MOST_CHECKED or pattern.count("-") > MOST_RANGES:
        return None
    try:
        _compiled(pattern, False)
    except ValueError as error:
        return str(error)
    return None


async def find_pattern(pattern: str, text: str, *, full: bool = False, ignore_case: bool = False) -> str | None:
    """Return the first 200 characters of the match of a pattern in a text, None where there is none.

    With `full` it must match the whole text. Raises PatternFailed.
    """
    if fault := pattern_fault(pattern):
        raise PatternFailed(fault)
    found = await _in_worker(_shown(pattern), search_pattern, pattern, text, full, ignore_case)
    return None if found is None else str(found)


async def matching_patterns(patterns: Sequence[str], text: str) -> set[str]:
    """Return the patterns that match somewhere in a text. Raises PatternFailed."""
    if not patterns:
        return set()
    return set(await _in_worker(" or ".join(map(_shown, patterns)), search_patterns, list(patterns), text))


@lru_cache(maxsize=1_000)
def pattern_matches(pattern: str, text: str) -> bool:
    """Tell whether a pattern matches somewhere in a text. Blocks. Raises PatternFailed."""
    try:
        return bool(run_in_worker_blocking(search_patterns, [pattern], text, seconds=MATCH_SECONDS))
    except ValueError as error:
        raise PatternFailed(str(error)) from None
    except WorkFailed as failed:
        raise PatternFailed(f"the search for {_shown(pattern)} {failed}") from None


async def _in_worker(sought: str, function: Callable[..., Any], *arguments: Any) -> Any:
    try:
        return await run_in_worker(function, *arguments, seconds=PATTERN_SECONDS)
    except ValueError as error:
        raise PatternFailed(str(error)) from None
    except WorkFailed as failed:
        raise PatternFailed(f"the search for {sought} {failed}") from None


def search_patterns(patterns: Sequence[str], text: str) -> list[str]:
    """Return the patterns that match somewhere in a text. Raises ValueError for a wrong one. Runs in a worker."""
    return [pattern for pattern in patterns if _compiled(pattern, False).search(text)]


def search_pattern(pattern: str, text: str, full: bool, ignore_case: bool) -> str | None:
    """Return the match of a pattern in a text, cut. Raises ValueError for a wrong pattern. Runs in a worker."""
    compiled = _compiled(pattern, ignore_case)
    found = compiled.fullmatch(text) if full else compiled.search(text)
    return found.group()[:_LONGEST_FOUND] if found else None


def _compiled(pattern: str, ignore_case: bool) -> re.Pattern[str]:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about syntax that a later Python reads differently
            return re.compile(pattern, re.IGNORECASE if ignore_case else 0)
    except (re.error, OverflowError, RecursionError) as error:
        raise ValueError(f"{_shown(pattern)} is not a regular expression: {error}") from None


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:79]}…"
