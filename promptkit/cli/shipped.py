"""What is shipped with promptkit is not a person's own: nothing is written into it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from promptkit.errors import InputError

if TYPE_CHECKING:
    from promptkit.engine import Pipeline


def refuse_shipped(pipeline: Pipeline, cannot: str, then: str) -> None:
    """Raise InputError where a command would write into or beside a shipped file; the hint says what to copy first."""
    from promptkit.project import LIBRARY

    file, root = pipeline.file, pipeline.project.root
    shipped = [LIBRARY / folder for folder in ("pipelines", "templates")]
    if root == LIBRARY or not any(map(file.is_relative_to, shipped)):
        return
    own = Path.cwd() if any(map(root.is_relative_to, shipped)) else root
    hint = f"copy {file} to {own / file.relative_to(LIBRARY)}, then {then}"
    raise InputError(f"`{pipeline.name}` is shipped with promptkit; {cannot}", hint=hint)
