"""A suite over a small project with its rows split, and models that can do what a test wants."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from promptkit.runtimes.base import Capability, Model
from promptkit.tuning.data_split import DataSplit, read_data_split
from tests.evaluation.suites import SUITE, Bench

ABLE: tuple[Capability, ...] = ("chat", "continue", "system", "grammar", "logprobs", "sampling", "tokenize")


def model(*capabilities: Capability, context: int | None = 8_192, reference: str = "embedded/small") -> Model:
    """Return a model that can do these things; left out: all that a search may want."""
    return Model(reference=reference, digest="d", capabilities=frozenset(capabilities or ABLE), context=context)


def reviews(count: int) -> list[dict[str, Any]]:
    """Return rows of two labels whose texts have a word of the label in common, and differ by several numbers."""
    words = {"good": ("splendid", "lovely", "fresh"), "bad": ("dreadful", "stale", "broken")}
    labels = ["good" if number % 2 else "bad" for number in range(count)]
    return [
        {"text": f"{words[label][number % 3]} {number} {number}a {number}b {number}c {number}d", "expect": label}
        for number, label in enumerate(labels)
    ]


def data_split(bench: Bench, rows: Sequence[dict[str, Any]] | None = None, suite: str = SUITE) -> DataSplit:
    """Write rows and a suite, and read its data split."""
    bench.rows(reviews(80) if rows is None else rows)
    return read_data_split(bench.suite(suite))
