"""What leaves a space before it is searched: levels that cost too much, and ways to decide that do not parse."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from promptkit.tuning.candidate import Axis, Level
    from promptkit.tuning.standing import Standing


def within_cost(axes: Sequence[Axis], most: float | None, standing: Standing) -> tuple[Axis, ...]:
    """Return axes without the levels that cost more requests a row than could be confirmed, which is told."""
    kept = []
    for axis in axes:
        dear = [each for each in axis.levels if most is not None and each.requests > most]
        for level in dear:
            told = f"about {level.requests:g} requests a row, whose confirmation the budget does not hold"
            standing.note(f"`{axis.name}: {level.name}` is not tried: {told}")
        kept.append(replace(axis, levels=tuple(each for each in axis.levels if each not in dear)))
    return tuple(kept)


def ways_to_decide(axes: Sequence[Axis]) -> Iterator[tuple[Axis, Level]]:
    """Yield the first level of each way to decide that an axis names."""
    for axis in axes:
        known: set[Any] = set()
        for level in axis.levels[1:]:
            way = tuple(way_of(level).values())
            if way and way not in known:
                known.add(way)
                yield axis, level


def way_of(level: Level) -> dict[str, Any]:
    """Return what a level says of how the answer is decided."""
    return {key: value for key, value in level.changes.items() if key.endswith(".decide")}


def without_way(axes: Sequence[Axis], axis: Axis, level: Level) -> tuple[Axis, ...]:
    """Return axes of which one has no level that decides as this one does."""
    way = way_of(level).items()
    kept = tuple(each for each in axis.levels if not way <= each.changes.items())
    return tuple(replace(each, levels=kept) if each.name == axis.name else each for each in axes)
