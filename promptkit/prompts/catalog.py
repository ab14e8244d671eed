"""Finding and loading prompts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from promptkit.errors import Problem
from promptkit.prompts.prompt import Prompt

if TYPE_CHECKING:
    from promptkit.project import Project
    from promptkit.storage import Document


class Prompts:
    """One snapshot of a project's prompt files: each file is read once. Make a new one after an edit (it is cheap:
    compiled templates are kept by their content)."""

    def __init__(self, project: Project) -> None:
        raise NotImplementedError

    def load(self, name: str | Path, *, beside: Path | None = None, at: Problem | None = None) -> Prompt:
        """Return the prompt of that name or path, checked. `at` is where it is named, for the error of an unknown one.

        Raises InputError with every problem of the prompt and its parents.
        """
        raise NotImplementedError

    def inline(self, value: str | Mapping[str, Any], document: Document, path: Sequence[str | int]) -> Prompt:
        """Return the prompt written in a pipeline at `path`: one string (its instructions) or a mapping of sections."""
        raise NotImplementedError


def split_front_matter(text: str, file: str) -> tuple[Document | None, str, int]:
    """Return the front matter, the body below it and the body's first line number. Raises InputError."""
    raise NotImplementedError


def render_file(path: Path, values: Mapping[str, Any]) -> str:
    """Return one template file rendered in the sandbox, stripped (front matter left out). Raises InputError."""
    raise NotImplementedError
