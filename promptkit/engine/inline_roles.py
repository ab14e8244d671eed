"""The inputs of an inline prompt that only its technique reads: it has no front matter to name them in."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace
from typing import Any

from promptkit.errors import InputError
from promptkit.project import Project
from promptkit.prompts import InputSpec, Prompt
from promptkit.techniques import SECTION, choose, with_nested


def with_role_inputs(prompt: Prompt, technique: Any, given: Collection[str], project: Project) -> Prompt:
    """Return the prompt with an input for each role of the technique, and of those beneath it, that is among `given`.

    `given` are the names that the step could fill it from. The question is left out unless the step binds it: what the
    prompt shows as its input is asked. A technique that is wrong is told of where it is checked.
    """
    if technique is None:
        return prompt
    try:
        chain = list(with_nested(choose(technique, project), project))
    except InputError:
        return prompt
    roles = [(each, role) for each in chain for role in each.technique.roles]
    names = [each.roles.get(role.name, role.name if role.name != SECTION else "") for each, role in roles]
    return replace(prompt, inputs={**{name: InputSpec() for name in names if name in given}, **prompt.inputs})
