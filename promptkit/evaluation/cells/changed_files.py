"""Kept cells and scores that were made of files which have changed since."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from pathlib import Path

from promptkit.storage.file_digests import CurrentDigests

MOST_NAMED = 3
"""Changed files that a note names."""


class ChangedFiles:
    """The files of a project that kept answers and scores were made of, compared with how they are in this run."""

    def __init__(self, root: Path) -> None:
        self._current = CurrentDigests(root)
        self._cells: Counter[tuple[str, ...]] = Counter()
        self._scores: Counter[tuple[str, tuple[str, ...]]] = Counter()

    def changed(self, reads: Mapping[str, str]) -> tuple[str, ...]:
        """Return the names of files that have changed since; it may be called in a thread, since files may be large."""
        return tuple(self._current.changed(reads)) if reads else ()

    def count_cells(self, changed: tuple[str, ...], cells: int) -> None:
        """Count cells that are asked again because files have changed."""
        self._cells[changed] += cells

    def has_stale_score(self, reads: Mapping[str, str], metric: str) -> bool:
        """Tell whether a kept score was made of other files, and count it."""
        changed = self.changed(reads)
        if changed:
            self._scores[metric, changed] += 1
        return bool(changed)

    def notes(self) -> list[str]:
        """Return the numbers of cells asked again and of scores made again, with the files that changed."""
        cells = [f"{_cells(count)} asked again: {_named(names)} changed" for names, count in self._cells.most_common()]
        return cells + [
            f"{metric}: {_scores(count)} made again: {_named(names)} changed"
            for (metric, names), count in self._scores.most_common()
        ]


def _cells(count: int) -> str:
    return "1 cell is" if count == 1 else f"{count:,} cells are"


def _scores(count: int) -> str:
    return "1 score is" if count == 1 else f"{count:,} scores are"


def _named(names: tuple[str, ...]) -> str:
    more = f" and {len(names) - MOST_NAMED} more" if len(names) > MOST_NAMED else ""
    return f"{', '.join(names[:MOST_NAMED])}{more}"
