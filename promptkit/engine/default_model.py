"""The model that answers what names none: who named it, and what paths in its reference are relative to."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from promptkit.errors import InputError
from promptkit.runtimes import default_reference, parse_reference

if TYPE_CHECKING:
    from promptkit.engine.pipeline import Pipeline
    from promptkit.project import Project


def default_model(project: Project, pipeline: Pipeline | None, option: str | None) -> tuple[str, str, Path]:
    """Return the model of what names none, who named it, and what paths in it are relative to.

    `option` is what a person names before all files. Raises InputError.
    """
    reference, why = default_reference(option, pipeline.model if pipeline else None, project.settings.model)
    _check_named(reference, why)
    if pipeline and why == "the pipeline":
        return reference, why, pipeline.file.parent
    return reference, why, project.root if why == "promptkit.yaml" else Path.cwd()


def _check_named(reference: str, why: str) -> None:
    """Raise InputError, with who named it, for what is no model reference."""
    try:
        parse_reference(reference)
    except InputError as error:
        raise InputError(replace(problem, message=f"{why}: {problem.message}") for problem in error.problems) from None
