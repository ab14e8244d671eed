"""The task that rows are generated for: a target with its inputs, its answer, and the rows that it has."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any, Final

from promptkit.answers.base import AnswerType
from promptkit.engine.load import load_target
from promptkit.engine.pipeline import Input, Pipeline
from promptkit.engine.scope import CompiledValue
from promptkit.engine.single_step import single_step_pipeline
from promptkit.engine.step_rows import find_prompt_step
from promptkit.errors import InputError, Problem
from promptkit.evaluation.metrics.values import text_of
from promptkit.evaluation.suite.binding import EXPECT, Binder
from promptkit.evaluation.suite.generated import is_generated
from promptkit.evaluation.suite.reader import load_suite
from promptkit.evaluation.suite.suite import Suite, answer_type, read_variant
from promptkit.project import Project, is_suite

MOST_REAL: Final = 2_000
"""The most real rows that are compared with."""
WRITTEN_TYPES: Final = ("text", "number", "list")
LONGEST_INSTRUCTIONS: Final = 2_000


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelChoice:
    """One of a closed set of answers: its text, the value that a row expects, and its definition ('' for none)."""

    text: str
    value: Any
    definition: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelledInputs:
    """The inputs of a known row, with the text of its right answer; None where that is not known."""

    inputs: Mapping[str, Any]
    label: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class GenerationTask:
    """A target that rows are generated for.

    `pipeline` answers a row. `fields` maps each of its required inputs to the row's field, `expect` is the field of the
    right answer. `answer` is None where the output is not the answer of one step; `labels` is empty for open answers.
    `examples` are those of the prompt and the pinned cases, `real` the rows of the suite that no model wrote.
    """

    name: str
    file: Path
    pipeline: Pipeline
    instructions: str
    inputs: tuple[Input, ...]
    fields: Mapping[str, str]
    expect: str
    answer: AnswerType | None
    labels: tuple[LabelChoice, ...]
    examples: tuple[LabelledInputs, ...]
    real: tuple[LabelledInputs, ...] = ()

    @property
    def about(self) -> str:
        """The task in one sentence."""
        steps = self.pipeline.steps.values()
        return self.pipeline.about or next((step.prompt.about for step in steps if step.prompt), "") or self.name


def find_target(name: str, project: Project) -> Path:
    """Return the file of a suite, pipeline or prompt by name or path; of one name the suite comes first.

    Raises InputError.
    """
    if "/" not in name and name in project.names("evals"):
        return project.suite(name)
    return project.target(name)


def load_task(
    file: Path,
    project: Project,
    *,
    step: str | None = None,
    sets: Sequence[str] = (),
    changes: Mapping[str, Any] | None = None,
) -> GenerationTask:
    """Read the task of a suite, a pipeline or a prompt. Sends no request.

    `changes` apply to the steps that ask a model, as `technique: NAME`. Raises InputError for a target whose rows
    cannot be generated: without inputs, and with fields that the suite computes.
    """
    if is_suite(file):
        return _task_of_suite(file, project, step, sets, changes or {})
    pipeline = load_target(file, project, sets=sets)
    if changes:
        pipeline = load_target(file, project, sets=sets, changes=_of_steps(pipeline, step, changes))
    if step is not None:
        call = find_prompt_step(pipeline, step).prompt_call
        assert call is not None, "the step asks a model"
        pipeline = single_step_pipeline(pipeline, step, tuple(call.inputs))
    fields = {name: name for name in _required(pipeline)}
    return _task(pipeline.name, file, pipeline, fields, EXPECT, ())


def _of_steps(pipeline: Pipeline, only: str | None, changes: Mapping[str, Any]) -> dict[str, Any]:
    names = [name for name, step in pipeline.steps.items() if step.prompt_call is not None and only in (None, name)]
    return {f"{name}.{key}": value for name in names for key, value in changes.items()}


def _task_of_suite(
    file: Path, project: Project, step: str | None, sets: Sequence[str], changes: Mapping[str, Any]
) -> GenerationTask:
    suite = load_suite(file, project, sets=sets)
    if step is not None:
        found = next((other for other in suite.steps if other.name == f"{suite.name}.{step}"), None)
        if found is None:
            known = ", ".join(other.name.rpartition(".")[2] for other in suite.steps)
            raise InputError(f"the suite `{suite.name}` has no labels for a step `{step}`", hint=known or None)
        suite = found
    if suite.conversation is not None:
        raise InputError(f"`{suite.name}` plays conversations, for which no rows can be generated")
    pipeline = suite.baseline.pipeline
    if changes:
        of_steps = _of_steps(pipeline, None, changes)
        where = suite.data.where
        pipeline = read_variant("check", {**suite.baseline.sets, **of_steps}, suite.source, lambda _: where).pipeline
    given = suite.inputs
    problems: list[Problem] = []
    fields: dict[str, str] = {}
    for name in _required(pipeline):
        field = name if given is None else _plain_field(given.get(name))
        if field is None:
            problems.append(Problem(f"the suite computes the input `{name}`, so no row can be written for it"))
        else:
            fields[name] = field
    expected = suite.expect or (suite.measures[0].expect if suite.measures else None)
    expect = EXPECT if expected is None else _plain_field(expected)
    if expect is None:
        problems.append(Problem("the suite computes the expected answer, so no row can be written with it"))
    if problems or expect is None:
        hint = f"generate rows for the target itself: promptkit generate {suite.source.target.stem}"
        raise InputError([replace(suite.data.where, message=found.message, hint=hint) for found in problems])
    return _task(suite.name, suite.file, pipeline, fields, expect, _real_rows(suite, expect))


def _plain_field(value: CompiledValue | None) -> str | None:
    """Return the field that an expression reads as it is (`{{ row.FIELD }}`), None for any other expression."""
    if value is None or value.names != {"row"} or len(value.attributes) != 1:
        return None
    [(_, field)] = value.attributes
    marker = "\ue000 A"
    try:
        return field if value.evaluate({"row": {field: marker}}, ()) == marker else None
    except InputError:
        return None


def _real_rows(suite: Suite, expect: str) -> tuple[LabelledInputs, ...]:
    binder = Binder(suite)
    found: list[LabelledInputs] = []
    for index, row in enumerate(islice(suite.data.rows(), MOST_REAL)):
        if not is_generated(row.fields) and (bound := binder.bind(row, index)).inputs:
            label = row.fields.get(expect)
            found.append(LabelledInputs(inputs=bound.inputs[0], label=None if label is None else text_of(label)))
    return tuple(found)


def _required(pipeline: Pipeline) -> list[str]:
    return [name for name, spec in pipeline.inputs.items() if not spec.has_default]


def _task(
    name: str, file: Path, pipeline: Pipeline, fields: Mapping[str, str], expect: str, real: Sequence[LabelledInputs]
) -> GenerationTask:
    inputs = tuple(pipeline.inputs[name] for name in _required(pipeline))
    if not inputs:
        raise InputError(f"`{pipeline.name}` has no input without a default, so there is nothing to generate")
    answer = answer_type(pipeline)
    return GenerationTask(
        name=name,
        file=file,
        pipeline=pipeline,
        instructions=_instructions(pipeline),
        inputs=inputs,
        fields=fields,
        expect=expect,
        answer=answer,
        labels=_labels(answer),
        examples=tuple(_examples(pipeline, answer)),
        real=tuple(real),
    )


def _labels(answer: AnswerType | None) -> tuple[LabelChoice, ...]:
    if answer is None:
        return ()
    definitions = getattr(answer, "labels", {})
    return tuple(
        LabelChoice(
            text=text,
            value=answer.parse(text),
            definition=definitions.get(text, "") if isinstance(definitions, Mapping) else "",
        )
        for text in answer.alternatives()
    )


def _instructions(pipeline: Pipeline) -> str:
    """Return the instructions of the first step that asks a model, with `{name}` for each input that they show."""
    for step in pipeline.steps.values():
        if step.prompt_call is None:
            continue
        prompt = step.prompt_call.prompt
        try:
            sections = prompt.sections({name: f"{{{name}}}" for name in prompt.inputs}, only=("instructions",))
        except InputError:
            return ""
        return "\n".join(sections.values())[:LONGEST_INSTRUCTIONS]
    return ""


def _examples(pipeline: Pipeline, answer: AnswerType | None) -> list[LabelledInputs]:
    """Return the answering step's examples that have all of the target's inputs, and the pinned cases."""
    found: list[LabelledInputs] = []
    required = _required(pipeline)
    if answer is not None:
        step = pipeline.steps[next(iter(pipeline.output.names))]
        assert step.prompt_call is not None, "an answer type is that of a step that asks"
        for example in step.prompt_call.examples.all:
            if all(name in example.inputs for name in required):
                found.append(LabelledInputs(inputs=example.inputs, label=text_of(example.output)))
    for case in pipeline.cases:
        if all(name in case.inputs for name in required):
            found.append(LabelledInputs(inputs=case.inputs, label=text_of(case.expect) if case.has_expect else None))
    shown = {spec.name: spec.example for spec in pipeline.inputs.values() if spec.has_example}
    if all(name in shown for name in required):
        found.append(LabelledInputs(inputs=shown))
    return found
