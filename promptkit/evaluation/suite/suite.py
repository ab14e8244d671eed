"""A suite: its target, rows, variants, metrics and thresholds.

A variant is the target under one configuration: those that a suite names, times the products of its matrix.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import chain, count, product
from pathlib import Path
from typing import TYPE_CHECKING, Any

from promptkit.engine.dependencies import code_of, model_code, without_shipped
from promptkit.engine.load import load_target
from promptkit.engine.pipeline import Pipeline
from promptkit.engine.single_step import find_step, pipeline_up_to, single_step_pipeline
from promptkit.engine.step_settings import resolve_model
from promptkit.errors import InputError, Problem, place
from promptkit.evaluation.cells.cell import content_hash
from promptkit.project import Project
from promptkit.project_code.reference import CodeUse
from promptkit.storage.models import Problems

if TYPE_CHECKING:
    from promptkit.answers.base import AnswerType
    from promptkit.engine.scope import CompiledValue
    from promptkit.evaluation.metrics.base import Metric
    from promptkit.evaluation.suite.data import Data

BASELINE = "baseline"
MODEL = "model"
MOST_VARIANTS = 1_000


@dataclass(frozen=True, slots=True, kw_only=True)
class TargetSource:
    """A target before its variants: `step` is the one that is measured, `recorded` tells that the steps before it run,
    and `given` are the names that the data gives it. Paths of models in variants are relative to `folder`, the suite's.
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
    """Yield each variant's name with what it sets: named ones times all products of the matrix, in order.

    A variant of the matrix alone is called by its values: `layout=xml decide=score`. Of two with one name the second
    has a number.
    """
    keys = _short_keys(matrix)
    taken: set[str] = set()
    for name, sets in (named or {"": {}}).items():
        for values in product(*matrix.values()):
            own = dict(zip(matrix, values, strict=True))
            told = " ".join(f"{short}={_short_text(value)}" for short, value in zip(keys, values, strict=True))
            full = " ".join(part for part in (name, told) if part) or BASELINE
            numbered = (f"{full} #{number}" for number in count(2))
            free = next(each for each in chain([full], numbered) if each not in taken)
            taken.add(free)
            yield free, {**sets, **own}


def read_variant(name: str, sets: Mapping[str, Any], wanted: TargetSource, where: Callable[[str], Problem]) -> Variant:
    """Return the target as a variant changes it. `where` gives the place of a key. Raises InputError with all problems.

    A variant's keys are those of `--set`, and `model`, the model of all steps that name none.
    """
    sets = dict(sets)
    changes = {key: value for key, value in sets.items() if key != MODEL}
    problems = Problems()
    model = sets.get(MODEL)
    if model is not None:
        try:
            model = resolve_model(str(model), wanted.folder, wanted.project)
        except InputError as error:
            problems.add(replace(where(MODEL), message=each.message, hint=each.hint) for each in error.problems)
    pipeline: Pipeline | None = None
    try:
        before = load_target(wanted.target, wanted.project, sets=wanted.sets)
        pipeline = load_target(wanted.target, wanted.project, sets=wanted.sets, changes=changes) if changes else before
        if wanted.step is not None:
            find_step(pipeline, wanted.step)
            if wanted.recorded:
                # The model is that of the step alone: what it is given must be the same in all variants.
                pipeline, model = (
                    pipeline_up_to(_with_step_model(pipeline, wanted.step, model), wanted.step, before),
                    None,
                )
            else:
                pipeline = single_step_pipeline(pipeline, wanted.step, wanted.given)
    except InputError as error:
        problems.add(_problem_of_variant(each, name, changes, where) for each in error.problems)
    problems.check()
    assert pipeline is not None, "a target without problems is a pipeline"
    counted = wanted.step if wanted.recorded else None
    typed = [text for text in wanted.sets if not text.partition("=")[0].endswith(".options.timeout")]
    content = content_hash(pipeline, typed, wanted.step, wanted.recorded)
    return Variant(name=name, sets=sets, pipeline=pipeline, content=content, model=model, counted=counted)


def _with_step_model(pipeline: Pipeline, step: str, model: str | None) -> Pipeline:
    """Return the pipeline with what answers one of its steps, where that names none."""
    changed = replace(pipeline.steps[step], model=pipeline.steps[step].model or model)
    return replace(pipeline, steps={**pipeline.steps, step: changed})


def _problem_of_variant(
    problem: Problem, name: str, changes: Mapping[str, Any], where: Callable[[str], Problem]
) -> Problem:
    """Return a problem of what a variant sets at its place in the suite; one in another file stays there."""
    if problem.file is not None:
        return problem
    message = problem.message.removeprefix("--set ")
    key = next((key for key in changes if message.startswith((f"{key}:", f"`{key}`"))), "")
    return replace(where(key), message=f"variant `{name}`: {message}", hint=problem.hint)


def _short_keys(matrix: Mapping[str, Sequence[Any]]) -> list[str]:
    """Return the keys without their steps where that tells them apart."""
    last = [key.rpartition(".")[2] for key in matrix]
    return last if len(set(last)) == len(last) else list(matrix)


def _short_text(value: Any) -> str:
    if isinstance(value, Mapping) and len(value) == 1:
        name, parameters = next(iter(value.items()))
        if isinstance(parameters, Mapping):
            return f"{name}({','.join(f'{key}={_short_text(each)}' for key, each in parameters.items())})"
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    return text if len(text) <= 40 else f"{text[:39]}…"


MEASURE_KEY_BYTES = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Variant:
    """One way of asking. `sets` is what it changes, as in `--set`; `model` answers steps that name none.

    `pipeline` is the target so changed: a pipeline, or the step that is measured as one; `content` tells apart the
    files and settings it was read from. `counted` is the step whose requests count, where the steps before it run too.
    """

    name: str
    sets: Mapping[str, Any]
    pipeline: Pipeline
    content: bytes
    model: str | None = None
    counted: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Measure:
    """A metric with what it compares: `of` (None: the output) and `expect` (None: the suite's).

    `texts` are both as they are written, that of `expect` the suite's where the metric has none.
    """

    metric: Metric
    of: CompiledValue | None = None
    expect: CompiledValue | None = None
    texts: tuple[Any, Any] = (None, None)

    @property
    def name(self) -> str:
        return self.metric.name

    @property
    def key(self) -> str:
        """What tells its scores from those that another measure gives to the same answers to the same rows."""
        text = json.dumps([self.metric.key, *self.texts], sort_keys=True, default=str)
        return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=MEASURE_KEY_BYTES).hexdigest()


@dataclass(frozen=True, slots=True, kw_only=True)
class Threshold:
    """What a metric, or `tokens`, `latency`, `cost`, `unparsed`, must hold: `evaluation.gates` says how.

    `bounds` are the keys that were given, `where` their place in the suite.
    """

    name: str
    bounds: Mapping[str, Any]
    where: Problem


@dataclass(frozen=True, slots=True, kw_only=True)
class Suite:
    """A suite, ready to run. The first variant is the baseline, the first measure the aim.

    `sets` are those of the command line, which change all variants. `inputs` and `expect` are left out (None) where
    fields of the same names, and the field `expect`, are meant. `steps` are the suites of steps that have labels of
    their own, each measured alone. `wanted` is the target before its variants.
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
    wanted: TargetSource
    repeat: int = 1
    thresholds: tuple[Threshold, ...] = ()
    concurrency: int | None = None
    sets: tuple[str, ...] = ()
    steps: tuple[Suite, ...] = field(default=())

    @property
    def baseline(self) -> Variant:
        return self.variants[0]


def answer_type(pipeline: Pipeline) -> AnswerType | None:
    """Return the type of a target's output, where it is the answer of one step and the same for all rows."""
    from promptkit.answers.base import AnswerType

    if len(pipeline.output.names) != 1 or pipeline.output.attributes:
        return None
    step = pipeline.steps.get(next(iter(pipeline.output.names)))
    if step is None or step.prompt_call is None or step.for_each is not None:
        return None
    return step.prompt_call.answer if isinstance(step.prompt_call.answer, AnswerType) else None


def suite_code(suite: Suite, *, model: str | None = None) -> list[CodeUse]:
    """Return the Python that a run of the suite would load, each use once; nothing is loaded for that.

    `model` is the one that a person names before all files.
    """
    return without_shipped(
        [*_named_by_suite(suite, model), *(each for step in suite.steps for each in suite_code(step))], suite.project
    )


def _named_by_suite(suite: Suite, model: str | None) -> Iterator[CodeUse]:
    file, folder = place(suite.file), suite.file.parent
    if suite.data.function is not None:
        yield CodeUse(suite.data.function.code, f"data of {file}")
    for measure in suite.measures:
        yield from (CodeUse(code, f"metric `{measure.name}` of {file}") for code in measure.metric.code)
        if measure.metric.model is not None:
            yield from model_code(measure.metric.model, folder, f"judge of metric `{measure.name}` of {file}")
    for variant in suite.variants:
        if variant.model is not None:
            yield from model_code(variant.model, folder, f"model of variant `{variant.name}` of {file}")
        yield from code_of(variant.pipeline, model=model)
