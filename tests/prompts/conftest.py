"""A project folder to write prompts into."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from promptkit.errors import InputError, Problem
from promptkit.project import Project
from promptkit.prompts.load import Prompts
from promptkit.prompts.prompt import Prompt

Write = Callable[[str, str], Path]
Load = Callable[[str], Prompt]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Write a file of the project, whose folder has a parent to lie outside in."""
    root = tmp_path / "project"
    root.mkdir()
    (root / "promptkit.yaml").touch()

    def write(name: str, text: str) -> Path:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        return path

    return write


@pytest.fixture
def load(write: Write) -> Load:
    """Load a prompt by its text, from a fresh snapshot of the project."""

    def load(text: str) -> Prompt:
        path = write("templates/prompts/main.j2", text)
        return Prompts(Project.find(path)).load(path)

    return load


def problems_of(function: Callable[[], Any]) -> tuple[Problem, ...]:
    """Return the problems that a call raises."""
    with pytest.raises(InputError) as caught:
        function()
    return caught.value.problems
