"""The pools of nearest examples that a search made, as files beside the tuned pipeline."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from itertools import count
from pathlib import Path

from promptkit.engine.pipeline import Pipeline
from promptkit.storage.files import read_bytes
from promptkit.tuning.search_space.nearest_choices import FOLDER


@dataclass(frozen=True, slots=True)
class ExamplePool:
    """A pool that a search made (`made`) for a step, and the file that it becomes."""

    step: str
    made: Path
    file: Path


def example_pools(searched: Pipeline, pipeline: Path, taken: Collection[Path]) -> Iterator[ExamplePool]:
    """Yield the pools that a search made for the steps of a pipeline that is written to a file.

    A pool becomes `PIPELINE.STEP.jsonl`, or `PIPELINE.STEP-2.jsonl` … where a file of that name is `taken` or is none
    of a tuning's.
    """
    folder = searched.project.store_folder.resolve() / FOLDER
    for name, step in searched.steps.items():
        for made in step.prompt_call.data if step.prompt_call else ():
            if made.parent == folder:
                yield ExamplePool(name, made, _free_file(made, pipeline, name, taken))


def _free_file(made: Path, pipeline: Path, step: str, taken: Collection[Path]) -> Path:
    for number in count(1):
        suffix = "" if number == 1 else f"-{number}"
        file = pipeline.parent / f"{pipeline.stem}.{step}{suffix}.jsonl"
        if not os.path.lexists(file) or (file.is_file() and read_bytes(file) == read_bytes(made)):
            return file
        # A tuned pipeline that is written over takes its pool with it.
        if file not in taken and os.path.lexists(pipeline) and ".tuned" in pipeline.stem:
            return file
    raise AssertionError("unreachable: there is always a further number")
