"""The model that proposes wordings: the named teacher, or the tuned model itself if it is large enough."""

from __future__ import annotations

from dataclasses import replace
from math import inf
from typing import Final

from promptkit.engine.step_settings import resolve_model
from promptkit.errors import InputError, RuntimeFailure
from promptkit.project import Project
from promptkit.runtimes.base import Model
from promptkit.runtimes.client import Client
from promptkit.runtimes.model_size import parameter_bounds
from promptkit.runtimes.models import Models
from promptkit.tuning.progress import TuningProgress

NO_TEACHER: Final = "none"
"""As the name of a teacher: nobody proposes."""
LEAST_PARAMETERS, FEW_PARAMETERS = 7e9, 1e9
"""The size from which a model is its own teacher, and the size below which its wording matters little."""


def named_teacher(option: str | None, project: Project) -> str | None:
    """Return the teacher that `--teacher` or `promptkit.yaml` names; None if neither does. Raises InputError."""
    if option is not None or project.settings.teacher is None:
        return option
    if project.settings.teacher == NO_TEACHER:
        return NO_TEACHER
    try:
        return resolve_model(project.settings.teacher, project.root, project)
    except InputError as error:
        problems = (
            replace(problem, message=f"teacher of promptkit.yaml: {problem.message}") for problem in error.problems
        )
        raise InputError(problems) from None


async def find_teacher(
    named: str | None, tuned: str | None, model: Model, models: Models, progress: TuningProgress
) -> Client | None:
    """Return the client of the teacher: the named one, otherwise the tuned model if it is large enough.

    None, with a note of the reason, if there is none. `tuned` is the tuned model's reference, None for the default.
    """
    if named == NO_TEACHER:
        return None
    if named is not None:
        try:
            return await models.get(named)
        except RuntimeFailure as failure:
            progress.note(f"the teacher is gone, and the tuning goes on without it: {failure}")
            return None
    if why := why_not_own_teacher(model):
        progress.note(why)
        return None
    return await models.get(tuned)


def why_not_own_teacher(model: Model) -> str | None:
    """Return the reason why a model does not teach itself unless it is named as the teacher; None if it does.

    Its size is read from its name (`qwen2.5:7b`), otherwise bounded by the bytes of its weights.
    """
    least, most = parameter_bounds(model) or (0.0, inf)
    if least >= LEAST_PARAMETERS:
        return None
    if most < FEW_PARAMETERS:
        why = f"{model.reference} has fewer than 1B parameters, too few to rewrite its own prompts well"
    elif most < LEAST_PARAMETERS:
        why = f"{model.reference} has fewer than 7B parameters, too few to rewrite its own prompts"
    else:
        why = f"{model.reference} is not known to have at least 7B parameters"
    return f"no teacher: {why}; name one with --teacher"
