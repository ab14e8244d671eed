"""The process of a verb that asks models: its event loop, ctrl-C, stdout, and the files it must not write."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

from promptkit.engine.pipeline import Pipeline
from promptkit.errors import InputError, Interrupted
from promptkit.project import LIBRARY
from promptkit.reports.output import results_alone
from promptkit.reports.progress import Progress

T = TypeVar("T")


def run_to_end(work: Coroutine[Any, Any, T]) -> T:
    """Run to the end, or until ctrl-C, with stdout kept for results. Raises Interrupted."""
    gc.freeze()  # loaded modules stay: scanning them in each collection costs a tenth of a call
    gc.set_threshold(10_000)  # fewer collections while many requests are in flight save as much again
    try:
        with results_alone():
            return asyncio.run(work)
    except KeyboardInterrupt:
        hint = "the same command asks only what is missing"
        raise Interrupted("interrupted; what was answered is kept", hint=hint) from None


@contextmanager
def keeping_partial_text(progress: Progress) -> Iterator[None]:
    """Leave what has arrived of replies on the screen where ctrl-C ends the block."""
    try:
        yield
    except asyncio.CancelledError:
        progress.stopped()
        raise


def refuse_shipped(pipeline: Pipeline, cannot: str, then: str) -> None:
    """Raise InputError where a command would write into or beside a shipped file, with a hint what to copy first."""
    file, root = pipeline.file, pipeline.project.root
    shipped = [LIBRARY / folder for folder in ("pipelines", "templates")]
    if root == LIBRARY or not any(map(file.is_relative_to, shipped)):
        return
    folder = Path.cwd() if any(map(root.is_relative_to, shipped)) else root
    hint = f"copy {file} to {folder / file.relative_to(LIBRARY)}, then {then}"
    raise InputError(f"`{pipeline.name}` is shipped with promptkit; {cannot}", hint=hint)
