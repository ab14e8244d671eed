"""The parameters of a step's settings: how its answer is decided and after which cue, its layout, its technique."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from promptkit.answers.base import AnswerType
from promptkit.answers.constraints.forms import reply_form
from promptkit.answers.decide import score_needs
from promptkit.engine.pipeline import Pipeline, Step
from promptkit.engine.single_step import with_technique
from promptkit.errors import InputError
from promptkit.evaluation.recommendation.recommend import StepProfile, recommend
from promptkit.evaluation.recommendation.step_profile import available_for, cost_inputs, likely_task, thinks_by_itself
from promptkit.project import LIBRARY
from promptkit.prompts.messages import open_layout
from promptkit.prompts.prompt import Example
from promptkit.prompts.template_loader import render_file
from promptkit.runtimes.base import Model
from promptkit.runtimes.model_size import billions
from promptkit.techniques.context import Spec
from promptkit.techniques.cost import cost
from promptkit.techniques.spec import configure, parse_spec, spec_text
from promptkit.techniques.thinking import Think
from promptkit.tuning.prompt_edits import section_source
from promptkit.tuning.search_space.candidate import AS_WRITTEN, Choice, Parameter

NO_CUE: Final = "none"
MOST_DECIDE_CHOICES: Final = 8
CUE_TEMPLATE: Final = LIBRARY / "templates" / "tuning" / "cue.j2"
SCORED_ANSWERS: Final = ("label", "choice", "boolean")


def answer_of(step: Step, inputs: Mapping[str, Any], scope: Mapping[str, Any]) -> AnswerType:
    """Return the step's answer type for these inputs of its prompt. Raises InputError if they give none."""
    asking = step.prompt_call
    assert asking is not None, "only a step that asks has an answer"
    if isinstance(asking.answer, AnswerType):
        return asking.answer
    seen = {**asking.prompt.defaults, **inputs} if asking.answer_in_prompt else scope
    return asking.answer.of_example(Example(inputs, None), seen)


def layout_cue(step: Step) -> str:
    """Return the cue of a step's layout; empty if it has none."""
    assert step.prompt_call is not None, "only a step that asks has a layout"
    return open_layout(step.prompt_call.layout).cue.strip()


def written_cue(step: Step) -> str:
    """Return the cue that a step's answer follows: the step's, its prompt's or its layout's; empty for none."""
    asking = step.prompt_call
    assert asking is not None, "only a step that asks has a cue"
    written = (asking.cue, section_source(asking.prompt, "cue"), layout_cue(step))
    chosen = next((text.strip() for text in written if text and text.strip()), "")
    return "" if chosen == NO_CUE else chosen


def decide_parameter(
    pipeline: Pipeline, step: Step, model: Model, answer: AnswerType | None
) -> tuple[Parameter, tuple[str, ...]]:
    """Return the parameter `STEP.decide`, cues times ways to decide, and notes on what is not tried.

    The cues are none, the layout's, one made of the task, and the written one. Each is decided under a grammar or as
    written and, where the model can, by `score`; generating freely is tried after the task's cue only. `answer` is the
    answer type for one row, None if unknown.
    """
    deciding = _DecideSettings(pipeline, step, answer)
    ways, notes = deciding.ways(model)
    pairs = dict.fromkeys(_pairs(deciding.cues(), ways))
    pairs.pop((deciding.cue, deciding.decide), None)
    choices = [deciding.choice(cue, way) for cue, way in pairs]
    name = f"{step.name}.decide"
    return Parameter(
        name=name, step=step.name, kind="decide", choices=(Choice(AS_WRITTEN), *choices[:MOST_DECIDE_CHOICES])
    ), tuple(notes)


def _pairs(cues: Sequence[str], ways: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Yield cues (blank: none) with ways to decide, the likeliest to gain first."""
    spoken = [cue for cue in cues if cue]
    yield from ((cue, ways[0]) for cue in spoken)
    if "score" in ways:
        # Without a cue, the first token of a reply is rarely a label's.
        yield from ((cue, "score") for cue in spoken)
    yield from ((spoken[0], way) for way in ways[1:] if way != "score")
    yield "", ways[0]


class _DecideSettings:
    """The written cue and way to decide of a step, and the alternatives. A blank cue is none."""

    def __init__(self, pipeline: Pipeline, step: Step, answer: AnswerType | None) -> None:
        assert step.prompt_call is not None, "only a step that asks decides"
        self._pipeline = pipeline
        self._step = step
        self._asking = step.prompt_call
        self._answer = answer
        self._layouts = layout_cue(step)
        self.decide: str = step.prompt_call.decide
        self.cue = written_cue(step)

    def cues(self) -> list[str]:
        """Return the cues to try, the task's first."""
        answer = self._answer.name if self._answer else ""
        values = {"step": self._step.name, "answer": answer, "each": self._step.for_each is not None}
        return list(dict.fromkeys([render_file(CUE_TEMPLATE, values), self.cue, self._layouts]))

    def ways(self, model: Model) -> tuple[list[str], list[str]]:
        """Return the ways to decide that the model can do, the one for free text first, and notes on the others."""
        name, answer = self._step.name, self._answer
        notes: list[str] = []
        form = None if answer is None else reply_form(answer, model.capabilities)
        can_hold = form is None or form.form.capability is not None
        if form and form.notice:
            notes.append(f"{name}: {form.notice}")
        # For a model that cannot be constrained, both are the same request.
        ways = ["constrain", "generate"] if can_hold else [self.decide if self.decide != "score" else "generate"]
        if answer is not None and answer.name in SCORED_ANSWERS:
            lacking = sorted(score_needs(answer) - model.capabilities)
            if lacking:
                notes.append(f"{name}: `score` is not tried: {model.reference} lacks {' and '.join(lacking)}")
            else:
                ways.append("score")
        return ways, notes

    def choice(self, cue: str, decide: str) -> Choice:
        """Return the choice of a cue and a way to decide."""
        changes: dict[str, Any] = {}
        parts = []
        if decide != self.decide:
            changes[f"{self._step.name}.decide"] = decide
            parts.append(decide)
        if cue != self.cue:
            changes[f"{self._step.name}.cue"] = cue or NO_CUE
            parts.append(f"cue `{cue}`" if cue else "no cue")
        about = f"{decide} after {f'`{cue}`' if cue else 'no cue'}"
        return Choice(", ".join(parts), changes, about, self._requests(decide) / self._requests(self.decide))

    def _requests(self, decide: str) -> float:
        """Return about how many requests per row this way to decide takes."""
        technique, project = self._asking.technique, self._pipeline.project
        try:
            requests = cost(configure(technique, project), project, decide=decide).requests
        except InputError:  # A cost formula of the project that fails.
            requests = 1.0
        return max(1.0, requests) + (scored_requests(self._answer) - 1 if decide == "score" else 0)


def scored_requests(answer: AnswerType | None) -> int:
    """Return about how many requests scoring an answer takes: one wherever labels part, estimated by words."""
    next_words: dict[tuple[str, ...], set[str]] = {}
    for label in answer.alternatives() if answer else ():
        words = label.split()
        for length, word in enumerate(words):
            next_words.setdefault(tuple(words[:length]), set()).add(word)
    return max(1, sum(len(words) > 1 for words in next_words.values()))


MESSAGE_MODES: Final = {
    "one": "all in one message",
    "turns": "examples as turns",
    "system": "what never changes as system message",
}


def layout_parameter(pipeline: Pipeline, step: Step, model: Model, *, has_examples: bool) -> Parameter:
    """Return the parameter `STEP.layout`: each layout of the project and the shipped ones, then the message modes.

    `has_examples`: some candidate shows examples. Without any, turns equal one message.
    """
    asking = step.prompt_call
    assert asking is not None, "only a step that asks has a layout"
    names = [
        name for name in pipeline.project.names("layouts") if not _is_written_layout(pipeline, name, asking.layout)
    ]
    choices = [Choice(name, {f"{step.name}.layout": name}) for name in names]
    modes: dict[str, Any] = {"one": True, "turns": has_examples, "system": "system" in model.capabilities}
    choices += [
        Choice(f"messages {mode}", {f"{step.name}.messages": mode}, MESSAGE_MODES[mode])
        for mode, can in modes.items()
        if can and mode != asking.messages
    ]
    return Parameter(name=f"{step.name}.layout", step=step.name, kind="layout", choices=(Choice(AS_WRITTEN), *choices))


def _is_written_layout(pipeline: Pipeline, name: str, layout: str | Path) -> bool:
    return layout == name or layout == pipeline.project.find_template("layouts", name)


TRIED_THOUGHTS: Final[Mapping[str, tuple[Think, str]]] = {
    "off": (False, "answers without thoughts"),
    "low": ("low", "short thoughts"),
    "on": (True, "thinks before it answers"),
    "high": ("high", "long thoughts"),
}


def think_parameter(step: Step, model: Model) -> Parameter:
    """Return the parameter `STEP.think` of a step whose model's thoughts can be switched; else it has no choice.

    The tokens that thoughts take are in the cost of a trial.
    """
    assert step.prompt_call is not None, "only a step that asks has thoughts"
    written = step.prompt_call.options.think
    if written is None:
        written = "thinks" in model.capabilities
    name = f"{step.name}.think"
    tried = TRIED_THOUGHTS if "think" in model.capabilities else {}
    choices = [Choice(word, {name: word}, about) for word, (think, about) in tried.items() if think != written]
    return Parameter(name=name, step=step.name, kind="think", choices=(Choice(AS_WRITTEN), *choices))


MOST_TECHNIQUES: Final = 3
MOST_REQUESTS: Final = 5
GENERAL_TASK: Final = "free_response"
"""The task of a step that does not say which it is; only techniques for any task are tried."""
ANY_TASK_TECHNIQUES: Final = ("vanilla", "chain_of_thought")
VOTED_TECHNIQUES: Final = (*ANY_TASK_TECHNIQUES, "self_consistency")


def technique_parameter(pipeline: Pipeline, step: Step, model: Model) -> tuple[Parameter, tuple[str, ...]]:
    """Return the parameter `STEP.technique`, and notes on what is not tried.

    The choices are the best recommended for the step's task that take at most 5 requests per row and need nothing
    prepared. Measurements in the store are not used: they may rest on held-out rows.
    """
    asking = step.prompt_call
    assert asking is not None, "only a step that asks has a technique"
    task = likely_task(step)
    situation = StepProfile(
        task=task[0] if task else GENERAL_TASK,
        available=available_for(pipeline, step, model),
        size=billions(model),
        budget=MOST_REQUESTS,
        thinks=thinks_by_itself(step, model),
        **cost_inputs(step, None),
    )
    recommendation = recommend(situation, pipeline.project)
    specs = [
        technique.spec
        for technique in recommendation.ranked
        if not technique.prepares and technique.spec != asking.technique
    ]
    if task is None:
        closed = isinstance(asking.answer, AnswerType) and asking.answer.alternatives()
        suiting = VOTED_TECHNIQUES if closed else ANY_TASK_TECHNIQUES
        specs = [spec for spec in specs if parse_spec(spec)[0] in suiting]
    choices = list(_technique_choices(pipeline, step, specs))
    notes = (
        []
        if task
        else [f"{step.name}: only techniques for any task are tried, as neither answer nor inputs show the task"]
    )
    expensive = [dropped.name for dropped in recommendation.dropped if "requests" in dropped.reason]
    if expensive and task:
        notes.append(f"{step.name}: not tried, as over {MOST_REQUESTS} requests a row: {', '.join(expensive)}")
    parameter = Parameter(
        name=f"{step.name}.technique",
        step=step.name,
        kind="technique",
        choices=(Choice(AS_WRITTEN), *choices[:MOST_TECHNIQUES]),
    )
    return parameter, tuple(notes)


def _technique_choices(pipeline: Pipeline, step: Step, specs: list[Spec]) -> Iterator[Choice]:
    for spec in specs:
        try:
            with_technique(pipeline, step, spec)
            yield Choice(
                spec_text(spec),
                {f"{step.name}.technique": spec},
                configure(spec, pipeline.project).technique.card.title,
                technique_requests(pipeline, step, spec),
            )
        except InputError:  # No input plays a role, or the project's own technique has a problem.
            continue


def written_requests(pipeline: Pipeline, step: Step) -> float:
    """Return about how many requests a step takes per item as it is written."""
    assert step.prompt_call is not None, "only a step that asks has a technique"
    known = cost_inputs(step, None)
    return cost(configure(step.prompt_call.technique, pipeline.project), pipeline.project, **known).requests


def technique_requests(pipeline: Pipeline, step: Step, spec: Any) -> float:
    """Return a technique's requests relative to the step's written one. Raises InputError for an unknown one."""
    assert step.prompt_call is not None, "only a step that asks has a technique"
    known = cost_inputs(step, None)
    taken = cost(configure(spec, pipeline.project), pipeline.project, **known).requests
    return taken / max(written_requests(pipeline, step), 1.0)
