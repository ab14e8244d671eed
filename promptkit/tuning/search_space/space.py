"""The search space: for each step that asks a model the parameters that may vary."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

from promptkit.engine.inputs import step_inputs
from promptkit.engine.load import load_target
from promptkit.engine.requirements import step_fallbacks
from promptkit.engine.tune_keys import tune_problems
from promptkit.errors import InputError, Problem, nearest
from promptkit.evaluation.recommendation.technique_comparison import spec_text
from promptkit.evaluation.suite.suite import read_variant
from promptkit.tuning.search_space.candidate import AS_WRITTEN, KINDS, Choice, Parameter, ParameterKind
from promptkit.tuning.search_space.examples import examples_parameter, gold_demonstrations
from promptkit.tuning.search_space.settings import (
    answer_of,
    decide_parameter,
    layout_parameter,
    technique_parameter,
    technique_requests,
)
from promptkit.tuning.search_space.wording import wording_parameter

if TYPE_CHECKING:
    from promptkit.answers.base import AnswerType
    from promptkit.engine.pipeline import Pipeline, Step
    from promptkit.evaluation.suite.suite import Suite
    from promptkit.runtimes.base import Model
    from promptkit.runtimes.models import Models
    from promptkit.tuning.data_split import DataSplit
    from promptkit.tuning.search_space.examples import GeneratedDemos

KIND_OF: Final[Mapping[str, ParameterKind]] = {
    "cue": "decide",
    "decide": "decide",
    "calibrate": "decide",
    "examples": "examples",
    "layout": "layout",
    "messages": "layout",
    "technique": "technique",
    "prompt": "wording",
    "answer": "wording",
}
"""Of what kind the axis of a key of `tune:` is; of any other it is `given`."""
LONGEST_NAME: Final = 40


@dataclass(frozen=True, slots=True)
class SearchSpace:
    """The axes, each with more than one level, and what is not tried and why, for people.

    `kinds` are those that further levels may be of: of what `tune:` names there are none.
    """

    axes: tuple[Parameter, ...]
    notes: tuple[str, ...] = ()
    kinds: frozenset[ParameterKind] = frozenset()


async def step_models(suite: Suite, models: Models) -> dict[str, Model]:
    """Return for each step that asks a model which one answers, opening it. Raises what its absence raises."""
    variant = suite.baseline
    asking = [step for step in variant.pipeline.steps.values() if step.prompt_call is not None]
    return {step.name: await (await models.get(step.model or variant.model)).model() for step in asking}


def derive_search_space(
    ground: DataSplit,
    models: Mapping[str, Model],
    *,
    only: Sequence[str] = (),
    seed: int = 0,
    made: GeneratedDemos | None = None,
) -> SearchSpace:
    """Return what may vary of the target of a suite: what its `tune:` names, else what usually pays, of each step.

    `models` are those of the steps. `only` narrows it: kinds of axes, steps, `STEP.KIND` and names of axes. `made` are
    demonstrations that a model made, by step and by what tells them apart. A level is only there where the target can
    be so. Raises InputError for what is wrong in `tune:`, and for what `only` names that there is not.
    """
    suite = ground.suite
    pipeline = suite.baseline.pipeline
    if pipeline.tune and (problems := tune_problems(load_target(suite.wanted.target, suite.project))):
        raise InputError(problems)
    wanted = _Selection(only, pipeline)
    notes = [
        f"the start: {told}"
        for step in pipeline.steps.values()
        if step.prompt_call is not None and step.name in models
        for told in step_fallbacks(step.name, step.prompt_call, models[step.name])
    ]
    if pipeline.tune:
        named = [each for each in _declared_parameters(pipeline) if wanted.takes(each.step, each.kind, each.name)]
        inner = {each.name: of for each in named if (of := _inner_pipeline(pipeline, each)) is not None}
        notes += [f"{name}: not tried: it is of `{of}`, which is tuned by itself" for name, of in inner.items()]
        axes = [each for each in named if each.name not in inner]
    else:
        notes += _untuned_notes(pipeline)
        deriving = _SpaceBuilder(ground, models, wanted, seed, made or {}, notes)
        axes = [axis for step in pipeline.steps.values() if _is_tuned(step) for axis in deriving.axes(step)]
    able = [_valid_choices(axis, suite, notes) for axis in axes]
    tuned = [] if pipeline.tune else [step.name for step in pipeline.steps.values() if _is_tuned(step)]
    kinds = frozenset(kind for kind in KINDS for step in tuned if wanted.takes(step, kind))
    return SearchSpace(tuple(axis for axis in able if len(axis.levels) > 1), tuple(dict.fromkeys(notes)), kinds)


def _inner_pipeline(pipeline: Pipeline, axis: Parameter) -> str | None:
    """Return the pipeline that a step runs where an axis changes a step of that, which has a file of its own."""
    inner = pipeline.steps[axis.step].pipeline
    below = axis.name.partition(".")[2].partition(".")[0]
    return inner.name if inner is not None and below in inner.steps else None


async def open_named_models(axes: Sequence[Parameter], suite: Suite, models: Models) -> None:
    """Open the models that levels name. Raises what their absence raises, before anything is asked."""
    named = [(axis.step, level) for axis in axes for level in axis.levels if f"{axis.step}.model" in level.changes]
    for step, level in named:
        variant = read_variant(level.name, level.changes, suite.wanted, Problem)
        await (await models.get(variant.pipeline.steps[step].model)).model()


class _Selection:
    """What `only` leaves of a space; all where it says nothing."""

    def __init__(self, only: Sequence[str], pipeline: Pipeline) -> None:
        self._names = {part.strip() for text in only for part in text.split(",") if part.strip()}
        steps = [step.name for step in pipeline.steps.values() if step.prompt_call or step.pipeline]
        known = [*KINDS, *steps, *(f"{step}.{kind}" for step in steps for kind in KINDS), *pipeline.tune]
        unknown = sorted(self._names - set(known))
        if unknown:
            raise InputError(
                Problem(
                    f"there is nothing to tune that is called `{name}`", hint=_kind_hint(name) or nearest(name, known)
                )
                for name in unknown
            )

    def takes(self, step: str, kind: ParameterKind, name: str = "") -> bool:
        return not self._names or not self._names.isdisjoint({step, kind, f"{step}.{kind}", name})


def _kind_hint(name: str) -> str | None:
    """Return what is meant by a setting (`topic.cue`): the kind that it is of."""
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
            yield f"{step.name}: not tuned: with `cache: false` a row's answer is another each time"


@dataclass(frozen=True, slots=True)
class _SpaceBuilder:
    """Derives the axes of steps; what is not tried goes into `notes`."""

    ground: DataSplit
    models: Mapping[str, Model]
    wanted: _Selection
    seed: int
    made: GeneratedDemos
    notes: list[str]

    def axes(self, step: Step) -> Iterator[Parameter]:
        """Yield the axes of a step, from what usually pays most to what pays least."""
        pipeline, model = self.ground.suite.baseline.pipeline, self.models[step.name]
        asking = step.prompt_call
        assert asking is not None
        if self._wants(step, "decide"):
            yield self._told(decide_parameter(pipeline, step, model, self._answer(step)))
        has_examples = bool(asking.examples.all)
        if self._wants(step, "examples"):
            made = self.made.get(step.name)
            axis = self._told(examples_parameter(self.ground, step.name, model, seed=self.seed, made=made))
            has_examples |= len(axis.levels) > 1
            yield axis
        if self._wants(step, "layout"):
            yield layout_parameter(pipeline, step, model, has_examples=has_examples)
        if self._wants(step, "technique"):
            if asking.tools:
                self.notes.append(f"{step.name}: its technique stays, for its tools")
            else:
                yield self._told(technique_parameter(pipeline, step, model))
        if self._wants(step, "wording"):
            labelled = gold_demonstrations(self.ground.suite, self.ground.rows, step.name, self.ground.search)
            yield self._told(wording_parameter(pipeline, step, labelled))

    def _wants(self, step: Step, kind: ParameterKind) -> bool:
        return self.wanted.takes(step.name, kind)

    def _told(self, found: tuple[Parameter, Sequence[str]]) -> Parameter:
        axis, notes = found
        self.notes.extend(notes)
        return axis

    def _answer(self, step: Step) -> AnswerType | None:
        """Return the type of a step's answer to the first row that gives it one."""
        pipeline = self.ground.suite.baseline.pipeline
        for place in self.ground.search:
            scope = self.ground.rows[place].inputs[0]
            try:
                return answer_of(step, next(iter(step_inputs(pipeline, step, scope)), {}), scope)
            except InputError:
                continue
        return None


def _declared_parameters(pipeline: Pipeline) -> Iterator[Parameter]:
    """Yield the axes that `tune:` names, of the steps that the target has, those first that usually pay most."""
    named: list[Parameter] = []
    for key, values in pipeline.tune.items():
        name, _, below = key.partition(".")
        if name in pipeline.steps:
            kind = KIND_OF.get(below.partition(".")[0], "given")
            step = pipeline.steps[name]
            levels = [
                _declared_choice(pipeline, step, key, value) for value in values if not _is_written(step, below, value)
            ]
            named.append(
                Parameter(name=key, step=name, kind=kind, levels=(Choice(AS_WRITTEN), *_with_distinct_names(levels)))
            )
    places = {name: place for place, name in enumerate(pipeline.steps)}
    yield from sorted(named, key=lambda axis: (places[axis.step], KINDS.index(axis.kind)))


def _declared_choice(pipeline: Pipeline, step: Step, key: str, value: Any) -> Choice:
    text = spec_text(value)
    name = text if len(text) <= LONGEST_NAME else f"{text[: LONGEST_NAME - 1]}…"
    is_technique = key == f"{step.name}.technique" and step.prompt_call is not None
    return Choice(name, {key: value}, "", technique_requests(pipeline, step, value) if is_technique else 1.0)


def _with_distinct_names(levels: Sequence[Choice]) -> Iterator[Choice]:
    """Yield levels with a number after a name that an earlier one has."""
    taken: dict[str, int] = {}
    for level in levels:
        taken[level.name] = count = taken.get(level.name, 0) + 1
        yield level if count == 1 else replace(level, name=f"{level.name} #{count}")


def _is_written(step: Step, key: str, value: Any) -> bool:
    """Tell whether a step says so as it is written, as far as that shows without asking."""
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


def _valid_choices(axis: Parameter, suite: Suite, notes: list[str]) -> Parameter:
    """Return an axis with the levels that the target can have."""
    levels = []
    for level in axis.levels:
        try:
            if level.changes:
                read_variant(level.name, level.changes, suite.wanted, Problem)
            levels.append(level)
        except InputError as error:
            notes.append(f"{axis.name}: `{level.name}` is not tried: {error.problems[0].message}")
    return replace(axis, levels=tuple(levels))
