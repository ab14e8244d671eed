"""Choices of `STEP.examples` that show each row the nearest of all search rows, and the files that hold these."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from promptkit.engine.pipeline import Pipeline
from promptkit.prompts.nearest_examples import NearestBy
from promptkit.storage.files import make_folder, write_atomic
from promptkit.storage.hashes import content_key
from promptkit.tuning.search_space.candidate import Choice
from promptkit.tuning.search_space.demonstration import Demonstration
from promptkit.tuning.search_space.example_draws import SIZES

FOLDER: Final = Path("tuning") / "examples"
"""The folder of pools in the project's store."""
INLINE: Final = 16
"""A pool of at most this many examples stands in the pipeline itself."""
LEAST_TIMES: Final = 2
"""A pool has at least this many times the examples that are shown; of a smaller one nearly all would be."""
HASH_BYTES: Final = 6


def nearest_choices(
    pipeline: Pipeline, step: str, pool: Sequence[Demonstration], *, by: NearestBy = "words", room: int | None = None
) -> tuple[Choice, ...]:
    """Return choices of `STEP.examples` with the 2, 4 and 8 nearest to each row, in Liu et al.'s order (2022, DeeLIO).

    The pool may hold rows that are scored: no row is shown itself, or what nearly repeats it. `by` is written down, so
    that another model is shown the same ones where words are compared. `room`: the most characters that the longest
    examples may have together. Writes a large pool to the store's folder.
    """
    longest = sorted((demo.length for demo in pool), reverse=True)
    sizes = [
        size for size in SIZES if LEAST_TIMES * size <= len(pool) and (room is None or sum(longest[:size]) <= room)
    ]
    if not sizes:
        return ()
    source = _pool_source(pipeline, step, [demo.example for demo in pool])
    return tuple(
        Choice(f"{size} nearest", {f"{step}.examples": {"nearest": size, "by": by, "from": source}}, f"of {len(pool)}")
        for size in sizes
    )


def _pool_source(pipeline: Pipeline, step: str, examples: list[dict[str, Any]]) -> str | list[dict[str, Any]]:
    """Return the value of `from`: the examples, or a file with them, as the pipeline names it."""
    folder = pipeline.project.store_folder / FOLDER
    if len(examples) <= INLINE or not pipeline.project.inside(folder):
        return examples
    text = "".join(f"{json.dumps(example, ensure_ascii=False, default=str)}\n" for example in examples)
    path = folder / f"{step}.{content_key(text, HASH_BYTES).hex()}.jsonl"
    if not path.is_file():
        make_folder(path.parent)
        write_atomic(path, text)
    return Path(os.path.relpath(path.resolve(), pipeline.file.resolve().parent)).as_posix()
