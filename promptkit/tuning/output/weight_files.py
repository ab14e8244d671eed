"""The weights that a search trained, as files beside the tuned pipeline."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any

from promptkit.engine.pipeline import Pipeline
from promptkit.storage.files import read_bytes
from promptkit.tuning.weights.trained_files import FOLDER


@dataclass(frozen=True, slots=True)
class WeightFile:
    """Weights that a search trained (`made`), the `setting` of a step that names them, and the file that they become.

    `reference`: the value of the setting; None where the file is found by its name.
    """

    step: str
    setting: str
    made: Path
    file: Path
    reference: str | None


def weight_files(
    changes: Mapping[str, Mapping[str, Any]], searched: Pipeline, pipeline: Path, taken: Collection[Path]
) -> Iterator[WeightFile]:
    """Yield the weights that the changes of a searched pipeline's steps name, for the pipeline that is written.

    They become `PIPELINE.STEP.ENDING`, or `PIPELINE.STEP-2.ENDING` … where a file of that name is `taken` or is none of
    a tuning's.
    """
    made_in, folder = searched.project.store_folder.resolve() / FOLDER, searched.file.resolve().parent
    for step, change in changes.items():
        for setting, value in change.items():
            made = (folder / value).resolve() if isinstance(value, str) else None
            if made is not None and made.parent == made_in:
                ending = made.name.removeprefix(f"{step}.").partition(".")[2]  # Without the key between them.
                number, file = _free_file(made, pipeline, step, ending, taken)
                is_found = number == 1 and ending.startswith(f"{setting}.")
                yield WeightFile(step, setting, made, file, None if is_found else file.name)


def _free_file(made: Path, pipeline: Path, step: str, ending: str, taken: Collection[Path]) -> tuple[int, Path]:
    """Return the first number whose file is free, and the file."""
    for number in count(1):
        suffix = "" if number == 1 else f"-{number}"
        file = pipeline.parent / f"{pipeline.stem}.{step}{suffix}.{ending}"
        if not os.path.lexists(file) or (file.is_file() and read_bytes(file) == read_bytes(made)):
            return number, file
        # A tuned pipeline that is written over takes its weights with it.
        if file not in taken and os.path.lexists(pipeline) and ".tuned" in pipeline.stem:
            return number, file
    raise AssertionError("unreachable: there is always a further number")
