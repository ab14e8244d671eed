"""From a target's name or path to a `Pipeline` in which nothing is wrong, or to everything that is."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from promptkit.engine.pipeline import Pipeline
from promptkit.errors import Problem

if TYPE_CHECKING:
    from promptkit.project import Project


def load_target(target: str | Path, project: Project, *, sets: Sequence[str] = ()) -> Pipeline:
    """Read a pipeline or a prompt, by name or path, with `--set STEP.KEY=VALUE` applied; no model is called.

    Raises InputError with every problem in it and in the files that it names.
    """
    raise NotImplementedError


def check(target: str | Path, project: Project) -> list[Problem]:
    """Return everything that is wrong with a pipeline or prompt, in file order; empty when nothing is."""
    raise NotImplementedError
