"""`Brief`: a step's task in words, for calls that hide the user's sections or judge, plan and write programs."""

from __future__ import annotations

from functools import cached_property

from promptkit.answers.build import description
from promptkit.techniques.context import StepContext


class Brief:
    """The task of a step as its templates read it, under `call.brief`.

    `instructions` are the prompt's instructions and constraints, and `form` is a statement of what its answer is: the
    labels with their definitions, the options, the schema, and the prompt's own `output_format`. Each is empty where
    there is nothing to say.
    """

    def __init__(self, step: StepContext) -> None:
        self._step = step

    @cached_property
    def instructions(self) -> str:
        return self._joined("instructions", "constraints")

    @cached_property
    def form(self) -> str:
        stated = description(self._step.answer, project=self._step.project)
        return "\n".join(filter(None, (stated, self._joined("output_format"))))

    def _joined(self, *sections: str) -> str:
        step = self._step
        found = step.prompt.sections(step.values, layers=step.layers, only=sections)
        return "\n".join(text for name in sections if (text := found.get(name, "").strip()))
