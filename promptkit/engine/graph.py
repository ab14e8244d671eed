"""Which step needs which, why, and in what order they can run."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from graphlib import CycleError, TopologicalSorter

from promptkit.engine.pipeline import Edge


def order(steps: Iterable[str], edges: Iterable[Edge]) -> list[str]:
    """Return the steps in an order in which they can run, else as they are written. Raises Cycle."""
    names = list(steps)
    place = {name: number for number, name in enumerate(names)}
    graph: dict[str, set[str]] = {name: set() for name in names}
    for edge in edges:
        graph[edge.step].add(edge.needs)
    sorter = TopologicalSorter(graph)
    try:
        sorter.prepare()
    except CycleError as error:
        raise Cycle(error.args[1][::-1]) from None
    ordered: list[str] = []
    while sorter.is_active():
        ready = sorted(sorter.get_ready(), key=place.__getitem__)
        ordered += ready
        sorter.done(*ready)
    return ordered


class Cycle(Exception):
    """Steps that need each other. `steps` begins and ends with the same one, each needing the next."""

    def __init__(self, steps: Sequence[str]) -> None:
        super().__init__(" → ".join(f"`{step}`" for step in steps))
        self.steps = tuple(steps)
