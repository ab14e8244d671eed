"""The words about an answer that a model reads; all of them are in `templates/answers/`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from promptkit.answers.base import AnswerType
from promptkit.project import LIBRARY, Project
from promptkit.prompts import render_file


def instruction(answer_type: AnswerType, *, project: Project | None = None) -> str:
    """Return how the answer is to be written: the section output_format of a prompt that has none ('' for text)."""
    values = {"name": answer_type.name, "form": answer_type.form, **answer_type.description()}
    return _rendered(answer_type.name, values, project)


def repair_text(answer_type: AnswerType, problem: str, *, project: Project | None = None) -> str:
    """Return what to say to a model whose reply could not be read, or failed a guard."""
    values = {"problem": problem, "instruction": instruction(answer_type, project=project)}
    return _rendered("repair", values, project)


def content_free_inputs(*, project: Project | None = None) -> tuple[str, ...]:
    """Return the inputs that say nothing, on which contextual calibration measures the model's bias; one is empty."""
    return (*_rendered("content_free", {}, project).splitlines(), "")


def _rendered(name: str, values: Mapping[str, Any], project: Project | None) -> str:
    return render_file(_file(name, project), values)


def _file(name: str, project: Project | None) -> Path:
    own = project.find_template("answers", name) if project else None
    return own or LIBRARY / "templates" / "answers" / f"{name}.j2"
