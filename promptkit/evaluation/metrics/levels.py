"""The levels that a judge or a person gives an answer, from the worst to the best."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

WRONG: Final = "wrong"
RIGHT: Final = "right"
MOST_LEVELS: Final = 11


def level_named(text: str, names: Sequence[str]) -> str | None:
    """Return the level that a text names, in any case; None for no level.

    `right` is the best and `wrong` the worst one, whatever they are called.
    """
    named = {WRONG: names[0], RIGHT: names[-1]} | {name.casefold(): name for name in names}
    return named.get(text.strip().casefold())


def check_levels(names: Sequence[str], rater: str) -> None:
    """Raise ValueError for levels that a `rater` (`a judge`, `a person`) cannot give."""
    if not 2 <= len(names) <= MOST_LEVELS:
        raise ValueError(f"{rater} distinguishes 2 to {MOST_LEVELS} levels, not {len(names)}")
    if len({name.strip().casefold() for name in names}) < len(names) or not all(map(str.strip, names)):
        raise ValueError("`levels` must be different words")
