"""The kind of a choice: a description that means the same in any project, without the project's own texts."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

from promptkit.answers.base import AnswerType
from promptkit.engine.pipeline import Pipeline, Step
from promptkit.errors import InputError
from promptkit.project import LIBRARY, TemplateKind
from promptkit.techniques.spec import parse_spec
from promptkit.tuning.search_space.candidate import Candidate, Choice, Parameter
from promptkit.tuning.search_space.settings import layout_cue, written_cue
from promptkit.tuning.search_space.wording import is_edit_by_rule

MOST_EXAMPLES: Final = 64

ChoiceKinds = dict[str, dict[str, str]]
"""The kind of each choice that has one, by parameter name and choice name."""


def choice_kinds(parameters: Sequence[Parameter], pipeline_of: Callable[[Candidate], Pipeline]) -> ChoiceKinds:
    """Return the kinds of parameters' choices. `pipeline_of` gives the target with a candidate's changes.

    A kind says how a step asks with the choice, not what the choice changes, so that it means the same whatever the
    start is. Without one are choices that are told apart by texts of the project: its own layouts and techniques,
    and free settings of `tune:`.
    """
    kinds: ChoiceKinds = {}
    for parameter in parameters:
        for choice in parameter.choices:
            try:
                pipeline = pipeline_of(Candidate().with_choice(parameter.name, choice))
            except InputError:  # The search leaves it out, with a note.
                continue
            if kind := _choice_kind(parameter, choice, pipeline):
                kinds.setdefault(parameter.name, {})[choice.name] = f"{parameter.kind}: {kind}"
    return kinds


def answer_name(step: Step) -> str:
    """Return the name of a step's answer type: effects are compared between steps of one. Empty if it is unknown."""
    asking = step.prompt_call
    return asking.answer.name if asking is not None and isinstance(asking.answer, AnswerType) else ""


def _choice_kind(parameter: Parameter, choice: Choice, pipeline: Pipeline) -> str | None:
    step = pipeline.steps[parameter.step]
    asking = step.prompt_call
    if asking is None:
        return None
    match parameter.kind:
        case "decide":
            return f"{asking.decide}, {_cue_kind(step)}"
        case "examples":
            if (nearest := asking.examples.nearest) is not None:
                return f"{nearest.count} nearest examples by {nearest.by or 'what there is'}"
            count = len(asking.examples.all)
            return f"{count} examples" if count <= MOST_EXAMPLES else None
        case "layout":
            layout = _shipped(pipeline, "layouts", asking.layout)
            return f"{layout}, messages {asking.messages}" if layout else None
        case "technique":
            return _shipped(pipeline, "techniques", parse_spec(asking.technique)[0])
        case "think":
            return str(asking.options.think)
        case "wording":
            return choice.name if is_edit_by_rule(choice.name) else None
    return None


def _cue_kind(step: Step) -> str:
    cue = written_cue(step)
    return "no cue" if not cue else "the layout's cue" if cue == layout_cue(step) else "a cue of its own"


def _shipped(pipeline: Pipeline, kind: TemplateKind, template: str | Path) -> str | None:
    """Return the name of a shipped template; None for one of the project."""
    path = template if isinstance(template, Path) else pipeline.project.find_template(kind, template)
    return path.stem if path is not None and path.is_relative_to(LIBRARY / "templates" / kind) else None
