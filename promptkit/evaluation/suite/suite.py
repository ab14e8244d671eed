"""A suite: its target, rows, variants, metrics and thresholds.

A variant is the target under one configuration: those that a suite names, times the products of its matrix.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from importlib.metadata import version
from itertools import chain, count, product
from pathlib import Path
from typing import Any

from promptkit.answers.base import AnswerType
from promptkit.engine.dependencies import code_in, code_of, model_code, without_shipped
from promptkit.engine.load import load_target
from promptkit.engine.pipeline import Pipeline
from promptkit.engine.scope import CompiledValue
from promptkit.engine.single_step import find_step, pipeline_up_to, single_step_pipeline
from promptkit.engine.step_settings import resolve_model
from promptkit.errors import InputError, Problem, place
from promptkit.evaluation.cells.keys import CELL_VERSION, content_hash, modules_of_programs, without_timeouts
from promptkit.evaluation.metrics.base import Metric
from promptkit.evaluation.serving.spec import ServingSpec
from promptkit.evaluation.suite.comparison_settings import ComparisonSettings
from promptkit.evaluation.suite.conversation import Conversation
from promptkit.evaluation.suite.data import Data
from promptkit.project import Project
from promptkit.project_code.reference import CodeUse
from promptkit.runtimes.base import Model
from promptkit.storage.hashes import content_key
from promptkit.storage.models import Problems

BASELINE = "baseline"
MODEL = "model"
MOST_VARIANTS = 1_000


@dataclass(frozen=True, slots=True, kw_only=True)
class TargetSource:
    """A target before its variants.

    `step` is the one that is measured; with `recorded` the steps before it run too. `given` are the names that the data
    gives the target. Paths of models in variants are relative to `folder`, the suite's.
    """

    target: Path
    folder: Path
    project: Project
    sets: Sequence[str] = ()
    step: str | None = None
    recorded: bool = False
    given: frozenset[str] = frozenset()


def expand_variants(
    named: Mapping[str, Mapping[str, Any]], matrix: Mapping[str, Sequence[Any]]
) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield each variant's name with its settings: named variants times all products of the matrix, in order.

    A variant of the matrix alone is named by its values: `layout=xml decide=score`. Of two with one name the second
    gets a number.
    """
    keys = short_keys(matrix)
    taken: set[str] = set()
    for name, sets in (named or {"": {}}).items():
        for values in product(*matrix.values()):
            chosen = dict(zip(matrix, values, strict=True))
            shown = " ".join(f"{short}={short_text(value)}" for short, value in zip(keys, values, strict=True))
            full = " ".join(part for part in (name, shown) if part) or BASELINE
            numbered = (f"{full} #{number}" for number in count(2))
            free = next(candidate for candidate in chain([full], numbered) if candidate not in taken)
            taken.add(free)
            yield free, {**sets, **chosen}


def read_variant(name: str, sets: Mapping[str, Any], source: TargetSource, where: Callable[[str], Problem]) -> Variant:
    """Return the target as a variant changes it. `where` gives a key's place. Raises InputError with all problems.

    A variant's keys are those of `--set`, and `model`, the model of all steps that name none.
    """
    sets = dict(sets)
    changes = {key: value for key, value in sets.items() if key != MODEL}
    problems = Problems()
    model = sets.get(MODEL)
    if model is not None:
        try:
            model = resolve_model(str(model), source.folder, source.project)
        except InputError as error:
            problems.add(
                replace(where(MODEL), message=problem.message, hint=problem.hint) for problem in error.problems
            )
    pipeline: Pipeline | None = None
    try:
        pipeline = load_target(source.target, source.project, sets=source.sets, changes=changes)
        if source.step is not None:
            find_step(pipeline, source.step)
            if source.recorded:
                before = load_target(source.target, source.project, sets=source.sets)
                # The model is that of the step alone: its inputs must be the same in all variants.
                pipeline, model = (
                    pipeline_up_to(_with_step_model(pipeline, source.step, model), source.step, before),
                    None,
                )
            else:
                pipeline = single_step_pipeline(pipeline, source.step, source.given)
    except InputError as error:
        problems.add(_problem_of_variant(problem, name, changes, where) for problem in error.problems)
    problems.check()
    assert pipeline is not None, "a target without problems is a pipeline"
    counted = source.step if source.recorded else None
    typed = [text for text in source.sets if not text.partition("=")[0].endswith(".options.timeout")]
    content = content_hash(pipeline, typed, source.step, source.recorded)
    return Variant(name=name, sets=sets, pipeline=pipeline, content=content, model=model, counted=counted)


def _with_step_model(pipeline: Pipeline, step: str, model: str | None) -> Pipeline:
    """Return the pipeline with a model for one of its steps, where that names none."""
    changed = replace(pipeline.steps[step], model=pipeline.steps[step].model or model)
    return replace(pipeline, steps={**pipeline.steps, step: changed})


def _problem_of_variant(
    problem: Problem, name: str, changes: Mapping[str, Any], where: Callable[[str], Problem]
) -> Problem:
    """Return a problem of a variant's setting at its place in the suite; one in another file stays there."""
    if problem.file is not None:
        return problem
    message = problem.message.removeprefix("--set ")
    key = next((key for key in changes if message.startswith((f"{key}:", f"`{key}`"))), "")
    return replace(where(key), message=f"variant `{name}`: {message}", hint=problem.hint)


def short_keys(matrix: Mapping[str, Sequence[Any]]) -> list[str]:
    """Return the keys without their steps where that tells them apart."""
    last = [key.rpartition(".")[2] for key in matrix]
    return last if len(set(last)) == len(last) else list(matrix)


def short_text(value: Any) -> str:
    """Return a value of a matrix as the names of its variants have it."""
    if isinstance(value, Mapping) and len(value) == 1:
        name, parameters = next(iter(value.items()))
        if isinstance(parameters, Mapping):
            return f"{name}({','.join(f'{key}={short_text(part)}' for key, part in parameters.items())})"
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    return text if len(text) <= 40 else f"{text[:39]}…"


MEASURE_KEY_BYTES = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Variant:
    """The target under one configuration.

    `sets` are its changes, as in `--set`; `model` answers steps that name none. `pipeline` is the changed target: a
    pipeline, or the measured step as one; `content` is the key of the files and settings that it was read from.
    `counted` is the step whose requests count, where the steps before it run too.
    """

    name: str
    sets: Mapping[str, Any]
    pipeline: Pipeline
    content: bytes
    model: str | None = None
    counted: str | None = None

    def key(self, models: Mapping[str | None, Model], *, exact: bool, strict_on: frozenset[str] = frozenset()) -> bytes:
        """Return the variant's part of a cell's key: all that the target can read, but for the row.

        These are its files as they were read, its settings, and the models by their digests. `exact` cells were asked
        one at a time, and those with a warning of `strict_on` have failed.
        """
        content = {
            "version": [CELL_VERSION, _installed_version()],
            "target": [self.pipeline.name, *self.pipeline.steps],
            "files": self.content.hex(),
            "sets": without_timeouts(self.sets),
            "counted": self.counted,
            "models": sorted([str(name), model.reference, model.digest] for name, model in models.items()),
            "exact": exact,
            **({"strict_on": sorted(strict_on)} if strict_on else {}),
        }
        if modules := modules_of_programs(self.pipeline):
            content["programs"] = modules
        return content_key(json.dumps(content, default=str))


@cache
def _installed_version() -> str:
    """Return the version of promptkit, read once: a tuning makes thousands of keys."""
    return version("promptkit")


@dataclass(frozen=True, slots=True, kw_only=True)
class Measure:
    """A metric with the values that it compares: `of` (None: the output) and `expect` (None: the suite's).

    `when` tells whether it applies to a row (None: to all). `texts` are `of`, `expect` and, where there is one, `when`
    as they are written; that of `expect` is the suite's where the metric has none. The measure of each `turn` is given
    where the metric is of the turns of a conversation; its own `of` and `expect` count then.
    """

    metric: Metric
    of: CompiledValue | None = None
    expect: CompiledValue | None = None
    when: CompiledValue | None = None
    texts: tuple[Any, ...] = (None, None)
    turn: Measure | None = None

    @property
    def name(self) -> str:
        return self.metric.name

    @property
    def key(self) -> str:
        """The key of its scores: another measure gives other scores to the same answers."""
        text = json.dumps([self.metric.key, *self.texts], sort_keys=True, default=str)
        return content_key(text, MEASURE_KEY_BYTES).hex()


@dataclass(frozen=True, slots=True, kw_only=True)
class Threshold:
    """A condition on a metric, or on `tokens`, `latency`, `cost` or `unparsed`; `thresholds.check` tests it.

    `bounds` are the keys that were given, `where` their place in the suite.
    """

    name: str
    bounds: Mapping[str, Any]
    where: Problem


@dataclass(frozen=True, slots=True, kw_only=True)
class Suite:
    """A suite, ready to run. The first variant is the baseline, the first measure the primary metric.

    `sets` are those of the command line, which change all variants. `inputs` and `expect` are None where fields of the
    same names, and the field `expect`, are meant. `steps` are the suites of steps that have labels of their own, each
    measured alone. `source` is the target before its variants; `matrix` maps each of its keys to the values that the
    variants combine. `serving` says how serving is measured, None: it is not. A `conversation` is played against the
    target. `notes` are for the record of a run.
    """

    name: str
    about: str
    file: Path
    project: Project
    target: str
    data: Data
    inputs: Mapping[str, CompiledValue] | None
    expect: CompiledValue | None
    measures: tuple[Measure, ...]
    variants: tuple[Variant, ...]
    source: TargetSource
    repeat: int = 1
    thresholds: tuple[Threshold, ...] = ()
    concurrency: int | None = None
    sets: tuple[str, ...] = ()
    compare: ComparisonSettings = field(default_factory=ComparisonSettings)
    matrix: Mapping[str, Sequence[Any]] = field(default_factory=dict)
    steps: tuple[Suite, ...] = field(default=())
    serving: ServingSpec | None = None
    serving_thresholds: tuple[Threshold, ...] = ()
    conversation: Conversation | None = None
    notes: tuple[str, ...] = ()

    @property
    def baseline(self) -> Variant:
        return self.variants[0]

    @property
    def other_models(self) -> list[str]:
        """The models besides the target's: of metrics that name some (judges, embeddings), and of a simulated user."""
        user = self.conversation.user if self.conversation else None
        named = [*(model for measure in self.measures for model in measure.metric.models), user.model if user else None]
        return [model for model in named if model]


def answer_type(pipeline: Pipeline) -> AnswerType | None:
    """Return the type of a target's output, where it is the answer of one step and the same for all rows."""

    if len(pipeline.output.names) != 1 or pipeline.output.attributes:
        return None
    step = pipeline.steps.get(next(iter(pipeline.output.names)))
    if step is None or step.prompt_call is None or step.for_each is not None:
        return None
    return step.prompt_call.answer if isinstance(step.prompt_call.answer, AnswerType) else None


def suite_code(suite: Suite, *, model: str | None = None) -> list[CodeUse]:
    """Return the Python code that a run of the suite would load, each use once; nothing is loaded for that.

    `model` is the command line's, which comes before all files.
    """
    return without_shipped(
        [*_named_by_suite(suite, model), *(use for step in suite.steps for use in suite_code(step))], suite.project
    )


def _named_by_suite(suite: Suite, model: str | None) -> Iterator[CodeUse]:
    file, folder = place(suite.file), suite.file.parent
    if suite.data.function is not None:
        yield CodeUse(suite.data.function.code, f"data of {file}")
    for measure in suite.measures:
        yield from (CodeUse(code, f"metric `{measure.name}` of {file}") for code in measure.metric.code)
        for judge in filter(None, measure.metric.models):
            yield from model_code(judge, folder, f"judge of metric `{measure.name}` of {file}")
    if suite.conversation is not None and (user := suite.conversation.user) is not None:
        yield from code_in(user.pipeline, with_models=model is None)
        if user.model is not None:
            yield from model_code(user.model, folder, f"model of the simulated user of {file}")
    for variant in suite.variants:
        if variant.model is not None:
            yield from model_code(variant.model, folder, f"model of variant `{variant.name}` of {file}")
        yield from code_of(variant.pipeline, model=model)
