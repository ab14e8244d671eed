"""The search space: for each step that asks a model the parameters that may vary."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from promptkit.answers.base import AnswerType
from promptkit.engine.inputs import step_inputs
from promptkit.engine.load import load_target
from promptkit.engine.pipeline import Pipeline, Step
from promptkit.engine.requirements import step_fallbacks
from promptkit.engine.tune_keys import tune_problems
from promptkit.errors import InputError, Problem, nearest
from promptkit.evaluation.suite.suite import Suite, read_variant
from promptkit.runtimes.base import Model
from promptkit.runtimes.models import Models
from promptkit.techniques.spec import spec_text
from promptkit.tuning.data_split import DataSplit
from promptkit.tuning.search_space.candidate import AS_WRITTEN, KINDS, Candidate, Choice, Parameter, ParameterKind
from promptkit.tuning.search_space.demonstration import GeneratedDemos, gold_demonstrations
from promptkit.tuning.search_space.examples import examples_parameter
from promptkit.tuning.search_space.settings import (
    answer_of,
    decide_parameter,
    layout_parameter,
    technique_parameter,
    technique_requests,
    think_parameter,
)
from promptkit.tuning.search_space.wording import wording_parameter

KIND_OF: Final[Mapping[str, ParameterKind]] = {
    "cue": "decide",
    "decide": "decide",
    "calibrate": "decide",
    "examples": "examples",
    "layout": "layout",
    "messages": "layout",
    "technique": "technique",
    "think": "think",
    "prompt": "wording",
    "answer": "wording",
}
"""The kind of parameter of a key of `tune:`; any other key is `given`."""
LONGEST_NAME: Final = 40


@dataclass(frozen=True, slots=True)
class SearchSpace:
    """The parameters, each with more than one choice, and notes for people on what is not tried and why.

    `kinds` are those that further choices may be of; a target with `tune:` has none. `own`: a person's variants.
    """

    parameters: tuple[Parameter, ...]
    notes: tuple[str, ...] = ()
    kinds: frozenset[ParameterKind] = frozenset()
    own: tuple[Candidate, ...] = ()


async def step_models(suite: Suite, models: Models) -> dict[str, Model]:
    """Return the model of each step that asks one, opened. Raises the error of a missing model."""
    variant = suite.baseline
    asking = [step for step in variant.pipeline.steps.values() if step.prompt_call is not None]
    return {step.name: await (await models.get(step.model or variant.model)).model() for step in asking}


def derive_search_space(
    split: DataSplit,
    models: Mapping[str, Model],
    *,
    only: Sequence[str] = (),
    seed: int = 0,
    generated: GeneratedDemos | None = None,
) -> SearchSpace:
    """Return the search space of a suite's target: as its `tune:` declares, otherwise the usual parameters of each
    step.

    `models` are those of the steps. `only` selects kinds, steps, `STEP.KIND` and names of parameters. `generated` are
    demonstrations that a model made, by step and pool. A choice is included only if the target can take it. Raises
    InputError for problems in `tune:` and for unknown names in `only`.
    """
    suite = split.suite
    pipeline = suite.baseline.pipeline
    if pipeline.tune and (problems := tune_problems(load_target(suite.source.target, suite.project))):
        raise InputError(problems)
    selection = _Selection(only, pipeline)
    notes = [
        f"the start: {fallback}"
        for step in pipeline.steps.values()
        if step.prompt_call is not None and step.name in models
        for fallback in step_fallbacks(step.name, step.prompt_call, models[step.name], pipeline.project)
    ]
    if pipeline.tune:
        named = [
            parameter
            for parameter in _declared_parameters(pipeline)
            if selection.takes(parameter.step, parameter.kind, parameter.name)
        ]
        inner = {parameter.name: of for parameter in named if (of := _inner_pipeline(pipeline, parameter)) is not None}
        notes += [f"{name}: not tried: it belongs to `{of}`, which is tuned by itself" for name, of in inner.items()]
        parameters = [parameter for parameter in named if parameter.name not in inner]
    else:
        notes += _untuned_notes(pipeline)
        builder = _SpaceBuilder(split, models, selection, seed, generated or {}, notes)
        parameters = [
            parameter for step in pipeline.steps.values() if _is_tuned(step) for parameter in builder.parameters(step)
        ]
    able = [_valid_choices(parameter, suite, notes) for parameter in parameters]
    tuned = [] if pipeline.tune else [step.name for step in pipeline.steps.values() if _is_tuned(step)]
    kinds = frozenset(kind for kind in KINDS for step in tuned if selection.takes(step, kind))
    return SearchSpace(
        tuple(parameter for parameter in able if len(parameter.choices) > 1), tuple(dict.fromkeys(notes)), kinds
    )


def _inner_pipeline(pipeline: Pipeline, parameter: Parameter) -> str | None:
    """Return the pipeline that a step runs, if a parameter changes a step of that pipeline's own file."""
    inner = pipeline.steps[parameter.step].pipeline
    below = parameter.name.partition(".")[2].partition(".")[0]
    return inner.name if inner is not None and below in inner.steps else None


async def open_named_models(parameters: Sequence[Parameter], suite: Suite, models: Models) -> None:
    """Open the models that choices name, before any request. Raises the error of a missing model."""
    named = [
        (parameter.step, choice)
        for parameter in parameters
        for choice in parameter.choices
        if f"{parameter.step}.model" in choice.changes
    ]
    for step, choice in named:
        variant = read_variant(choice.name, choice.changes, suite.source, Problem)
        await (await models.get(variant.pipeline.steps[step].model)).model()


class _Selection:
    """The part of a space that `only` selects; all of it if `only` is empty."""

    def __init__(self, only: Sequence[str], pipeline: Pipeline) -> None:
        self._names = {part.strip() for text in only for part in text.split(",") if part.strip()}
        steps = [step.name for step in pipeline.steps.values() if step.prompt_call or step.pipeline]
        known = [*KINDS, *steps, *(f"{step}.{kind}" for step in steps for kind in KINDS), *pipeline.tune]
        unknown = sorted(self._names - set(known))
        if unknown:
            raise InputError(
                Problem(f"there is nothing to tune called `{name}`", hint=_kind_hint(name) or nearest(name, known))
                for name in unknown
            )

    def takes(self, step: str, kind: ParameterKind, name: str = "") -> bool:
        return not self._names or not self._names.isdisjoint({step, kind, f"{step}.{kind}", name})


def _kind_hint(name: str) -> str | None:
    """Return a hint for a setting (`topic.cue`): the kind that it belongs to."""
    step, _, setting = name.rpartition(".")
    kind = KIND_OF.get(setting)
    return f"did you mean `{step}.{kind}`?" if kind and step else f"did you mean `{kind}`?" if kind else None


def _is_tuned(step: Step) -> bool:
    return step.prompt_call is not None and step.uses_cache


def _untuned_notes(pipeline: Pipeline) -> Iterator[str]:
    for step in pipeline.steps.values():
        if step.pipeline is not None:
            yield f"{step.name}: not tuned: it runs the pipeline `{step.pipeline.name}`, which is tuned by itself"
        elif step.prompt_call is None:
            yield f"{step.name}: not tuned: it asks no model"
        elif not step.uses_cache:
            yield f"{step.name}: not tuned: with `cache: false` a row's answer changes each time"


@dataclass(frozen=True, slots=True)
class _SpaceBuilder:
    """Derives the parameters of steps; what is not tried goes into `notes`."""

    split: DataSplit
    models: Mapping[str, Model]
    selection: _Selection
    seed: int
    generated: GeneratedDemos
    notes: list[str]

    def parameters(self, step: Step) -> Iterator[Parameter]:
        """Yield the parameters of a step, from the usually largest gain to the smallest."""
        pipeline, model = self.split.suite.baseline.pipeline, self.models[step.name]
        asking = step.prompt_call
        assert asking is not None
        if self._wants(step, "decide"):
            yield self._noted(decide_parameter(pipeline, step, model, self._answer(step)))
        has_examples = bool(asking.examples.all)
        if self._wants(step, "examples"):
            made = self.generated.get(step.name)
            parameter = self._noted(examples_parameter(self.split, step.name, model, seed=self.seed, made=made))
            has_examples |= len(parameter.choices) > 1
            yield parameter
        if self._wants(step, "layout"):
            yield layout_parameter(pipeline, step, model, has_examples=has_examples)
        if self._wants(step, "technique"):
            if asking.tools:
                self.notes.append(f"{step.name}: its technique is not varied, as the step has tools")
            else:
                yield self._noted(technique_parameter(pipeline, step, model))
        if self._wants(step, "think"):
            yield think_parameter(step, model)
        if self._wants(step, "wording"):
            # Rows that repeat each other would make their words typical.
            places = self.split.independent(self.split.visible)
            labelled = gold_demonstrations(self.split.suite, self.split.rows, step.name, places)
            yield self._noted(wording_parameter(pipeline, step, labelled))

    def _wants(self, step: Step, kind: ParameterKind) -> bool:
        return self.selection.takes(step.name, kind)

    def _noted(self, derived: tuple[Parameter, Sequence[str]]) -> Parameter:
        parameter, notes = derived
        self.notes.extend(notes)
        return parameter

    def _answer(self, step: Step) -> AnswerType | None:
        """Return the step's answer type for the first row that gives it one."""
        pipeline = self.split.suite.baseline.pipeline
        for place in self.split.visible:
            scope = self.split.rows[place].inputs[0]
            try:
                return answer_of(step, next(iter(step_inputs(pipeline, step, scope)), {}), scope)
            except InputError:
                continue
        return None


def _declared_parameters(pipeline: Pipeline) -> Iterator[Parameter]:
    """Yield the parameters that `tune:` declares for steps of the target, usually largest gain first."""
    named: list[Parameter] = []
    for key, values in pipeline.tune.items():
        name, _, below = key.partition(".")
        if name in pipeline.steps:
            kind = KIND_OF.get(below.partition(".")[0], "given")
            step = pipeline.steps[name]
            choices = [
                _declared_choice(pipeline, step, key, value) for value in values if not _is_written(step, below, value)
            ]
            named.append(
                Parameter(name=key, step=name, kind=kind, choices=(Choice(AS_WRITTEN), *_with_distinct_names(choices)))
            )
    places = {name: place for place, name in enumerate(pipeline.steps)}
    yield from sorted(named, key=lambda parameter: (places[parameter.step], KINDS.index(parameter.kind)))


def _declared_choice(pipeline: Pipeline, step: Step, key: str, value: Any) -> Choice:
    text = spec_text(value)
    name = text if len(text) <= LONGEST_NAME else f"{text[: LONGEST_NAME - 1]}…"
    is_technique = key == f"{step.name}.technique" and step.prompt_call is not None
    return Choice(name, {key: value}, "", technique_requests(pipeline, step, value) if is_technique else 1.0)


def _with_distinct_names(choices: Sequence[Choice]) -> Iterator[Choice]:
    """Yield choices, with a number after a name that an earlier one has."""
    taken: dict[str, int] = {}
    for choice in choices:
        taken[choice.name] = count = taken.get(choice.name, 0) + 1
        yield choice if count == 1 else replace(choice, name=f"{choice.name} #{count}")


def _is_written(step: Step, key: str, value: Any) -> bool:
    """Tell whether a step is written with this setting, as far as that shows without a request."""
    asking = step.prompt_call
    if asking is None:
        return False
    layout = asking.layout if isinstance(asking.layout, str) else asking.layout.stem
    written = {
        "technique": asking.technique,
        "decide": asking.decide,
        "messages": asking.messages,
        "cue": asking.cue,
        "layout": layout,
    }
    return key in written and written[key] == value


def _valid_choices(parameter: Parameter, suite: Suite, notes: list[str]) -> Parameter:
    """Return a parameter with the choices that the target can take."""
    choices = []
    for choice in parameter.choices:
        try:
            if choice.changes:
                read_variant(choice.name, choice.changes, suite.source, Problem)
            choices.append(choice)
        except InputError as error:
            notes.append(f"{parameter.name}: `{choice.name}` is not tried: {error.problems[0].message}")
    return replace(parameter, choices=tuple(choices))
