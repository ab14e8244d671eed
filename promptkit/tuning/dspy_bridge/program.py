"""A pipeline as a DSPy program whose rows the engine answers, and a program as a candidate."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import inf
from sys import maxsize
from textwrap import shorten
from typing import Any, Final, Self

import dspy
from jinja2 import TemplateError

from promptkit.answers.base import AnswerType
from promptkit.engine.inputs import step_inputs
from promptkit.engine.pipeline import Pipeline, Step
from promptkit.errors import InputError, Problem
from promptkit.tuning.dspy_bridge.model import ANSWERED, Bridge
from promptkit.tuning.evaluator import RESUMES, Evaluator, RowResult, SearchFailed, step_nodes
from promptkit.tuning.prompt_edits import INSTRUCTIONS, edit_sections, section_source
from promptkit.tuning.proposals.checks import (
    OriginalInstructions,
    has_statements,
    proposal_problem,
    protected_rows,
    words,
)
from promptkit.tuning.search_space.bootstrap import can_be_written, thoughts_of
from promptkit.tuning.search_space.candidate import Candidate, Choice
from promptkit.tuning.search_space.demonstration import Demonstration, gold_demonstrations


class Program(dspy.Module):  # type: ignore[misc]  # DSPy has no types
    """A pipeline whose steps are predictors with instructions, and demonstrations of their inputs and answers."""

    def __init__(self, predictors: Sequence[StepPredictor], runner: ProgramRunner) -> None:
        super().__init__()
        self.runner = runner
        for predictor in predictors:
            setattr(self, predictor.attribute, dspy.Predict(predictor.signature))

    def forward(self, **example: Any) -> dspy.Prediction:
        """Return the pipeline's answer to the row of an example."""
        return self.runner.answer(self, example[ROW])


class ProgramRunner:
    """Answers the programs of an optimizer from its threads: each is a candidate that the evaluator evaluates.

    `samples` are the steps that can be asked for several different answers. `on_candidate` is called with each
    candidate when it is first asked, except for samples.
    """

    def __init__(
        self,
        evaluator: Evaluator,
        exporter: Exporter,
        bridge: Bridge,
        *,
        samples: Sequence[str],
        on_candidate: Callable[[Candidate], None],
    ) -> None:
        self.refused: dict[str, None] = {}
        self._evaluator = evaluator
        self._exporter = exporter
        self._bridge = bridge
        self._samples = samples
        self._on_candidate = on_candidate
        self._seen: set[str] = set()
        self._asking: dict[tuple[str, int], asyncio.Task[None]] = {}

    def __deepcopy__(self, memo: object) -> Self:
        """Return itself: copies of a program share one runner."""
        return self

    def answer(self, program: Program, row: int) -> dspy.Prediction:
        """Return a program's prediction for a row: `output`, its `score` in [0, 1], and its `problem`, if any.

        Each step that was asked is traced as a call of its predictor. An impossible candidate counts as wrong, and so
        does a request that the model refuses. Raises Stopped if nothing more is to be asked: a failed server says
        nothing about the program.
        """
        try:
            candidate = self._exporter.candidate(program)
            asked = self._sampled(program, candidate)
            result = self._bridge.wait(lambda: self._cell(candidate, asked, row), passing=(InputError,))
        except InputError as error:
            return dspy.Prediction(output=None, score=0.0, problem=self._refuse(error))
        pipeline = self._evaluator.variant(asked).pipeline
        for call in predictor_calls(self._evaluator, pipeline, self._exporter.parts, row, result):
            getattr(program, call.part.attribute)(**call.inputs, config={ANSWERED: dict(call.outputs)})
        return dspy.Prediction(output=result.output, score=result.score or 0.0, problem=result.problem)

    def lacking(self, program: Program, examples: Sequence[Mapping[str, Any]]) -> float:
        """Return on how many examples a program has no answer yet; infinite if it cannot be asked.

        Why it cannot is then among `refused`.
        """
        try:
            candidate = self._exporter.candidate(program)
            self._evaluator.variant(candidate)
        except InputError as error:
            self._refuse(error)
            return inf
        return sum(self._evaluator.result(candidate, example[ROW]) is None for example in examples)

    def _refuse(self, error: InputError) -> str:
        message = "; ".join(problem.message for problem in error.problems)
        self.refused[message] = None
        return message

    async def _cell(self, candidate: Candidate, asked: Candidate, row: int) -> RowResult:
        self._evaluator.variant(asked)
        if asked is candidate and candidate.key not in self._seen:
            self._seen.add(candidate.key)
            self._on_candidate(candidate)
        # DSPy repeats slow requests, and two threads may ask for one result.
        key = asked.key, row
        if key not in self._asking:
            self._asking[key] = self._bridge.begin(self._evaluator.evaluate([asked], [row]))
        await asyncio.shield(self._asking[key])
        result = self._evaluator.result(asked, row)
        if result is None or (result.score is None and self._evaluator.last_failure):
            raise SearchFailed(self._evaluator.last_failure or "a row has no answer", hint=RESUMES)
        return result

    def _sampled(self, program: Program, candidate: Candidate) -> Candidate:
        """Return the candidate at the LM's temperature, by which optimizers ask for further samples."""
        settings = (program.get_lm() or dspy.settings.lm).kwargs
        if not settings.get("temperature"):
            return candidate
        options = {"temperature": settings["temperature"], "seed": settings.get("rollout_id", 0)}
        for step in self._samples:
            changes = {f"{step}.options.{key}": value for key, value in options.items()}
            candidate = candidate.with_choice(f"{step}.sample", Choice(f"sample {options['seed']}", changes))
        return candidate


ROW: Final = "row"
"""The name under which examples hold their place in the evaluator's rows."""
THOUGHTS: Final = "thoughts"
"""The name under which demonstrations hold thoughts, which are not a field of a signature."""
RESERVED: Final = frozenset(
    {ROW, THOUGHTS, "self", "base", "augmented", "signature", "new_signature", "demos", "config", "lm", "prediction"}
)
"""Names that have a meaning in DSPy's calls."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StepPredictor:
    """A step that asks, as a predictor.

    `attribute`: the program's attribute for it. `inputs` and `output`: the signature's fields for the prompt's inputs
    and the answer. `written`: its instructions as the prompt has them.
    """

    step: str
    attribute: str
    inputs: Mapping[str, str]
    output: str
    written: str
    signature: Any


def step_predictors(pipeline: Pipeline) -> tuple[StepPredictor, ...]:
    """Return the steps of a pipeline that ask a model, in order."""
    predictors: list[StepPredictor] = []
    for step in pipeline.steps.values():
        if step.prompt_call is not None:
            taken = {*dir(dspy.Module), "forward", "desk", *(predictor.attribute for predictor in predictors)}
            predictors.append(_step_predictor(step, free_name(step.name, taken)))
    return tuple(predictors)


def _step_predictor(step: Step, attribute: str) -> StepPredictor:
    asking = step.prompt_call
    assert asking is not None, "only a step that asks is a part"
    taken = {*dir(dspy.Signature), *dir(type(dspy.Signature))}
    inputs: dict[str, str] = {}
    for name in asking.inputs:
        inputs[name] = free_name(name, taken)
        taken.add(inputs[name])
    output = free_name("answer", taken)
    fields = {
        field: (str, dspy.InputField(desc=asking.inputs[name].about or name)) for name, field in inputs.items()
    } | {output: (str, dspy.OutputField())}
    signature = dspy.Signature(fields, section_source(asking.prompt, INSTRUCTIONS) or "")
    return StepPredictor(
        step=step.name,
        attribute=attribute,
        inputs=inputs,
        output=output,
        written=signature.instructions,
        signature=signature,
    )


def free_name(name: str, taken: Collection[str]) -> str:
    """Return a name for a field or attribute of DSPy: the given one, changed if it is taken or reserved."""
    name = re.sub(r"\W", "_", name).strip("_") or "value"
    name = f"value_{name}" if name[0].isdigit() else name
    while name in taken or name in RESERVED:
        name += "_"
    return name


@dataclass(frozen=True, slots=True)
class PredictorCall:
    """A step's inputs and outputs in one result, by the fields of its signature."""

    part: StepPredictor
    inputs: Mapping[str, Any]
    outputs: Mapping[str, Any]


def predictor_calls(
    evaluator: Evaluator, pipeline: Pipeline, predictors: Sequence[StepPredictor], row: int, result: RowResult
) -> Iterator[PredictorCall]:
    """Yield each step's calls in a result, one per item of a `for_each`; a step in rounds is left out.

    An answer that does not parse is the reply as it came.
    """
    trace = evaluator.trace(result)
    scope = {**evaluator.rows[row].inputs[0], **result.steps}
    for predictor in predictors:
        nodes = [node for node in step_nodes(trace, predictor.step) if node["status"] != "skipped"]
        try:
            given = step_inputs(pipeline, pipeline.steps[predictor.step], scope)
        except InputError:
            continue
        for inputs, node in zip(given, nodes, strict=False):
            calls = node["calls"]
            if not calls:
                continue
            value = calls[-1]["reply"] if node["value"] is None else node["value"]
            thoughts = thoughts_of(node)
            outputs = {predictor.output: value} | ({THOUGHTS: thoughts} if thoughts else {})
            yield PredictorCall(
                predictor,
                {predictor.inputs[name]: inputs[name] for name in predictor.inputs if name in inputs},
                outputs,
            )


NAME_CHARACTERS: Final = 40


@dataclass(frozen=True, slots=True)
class _OfAnyLength(OriginalInstructions):
    """Instructions of any length: the optimizer's own search decides whether length pays."""

    @property
    def longest(self) -> int:
        return maxsize


class Exporter:
    """Makes candidates of programs. `search` are the rows that a search may see: instructions may not quote them."""

    def __init__(self, evaluator: Evaluator, search: Sequence[int]) -> None:
        self.pipeline = evaluator.suite.baseline.pipeline
        self.parts = step_predictors(self.pipeline)
        self._evaluator = evaluator
        inputs = [list(evaluator.rows[row].inputs[0].values()) for row in search]
        self._protected = protected_rows(inputs, [evaluator.rows[row].expected[0] for row in search])
        self._wordings: dict[tuple[str, str], Choice | InputError | None] = {}

    def candidate(self, program: Program) -> Candidate:
        """Return a program as a candidate; what the program leaves unchanged is as written.

        Without demonstrations a step keeps its examples. A demonstration that does not fit its step is left out. Raises
        InputError for instructions that cannot be the step's: they drop an input, quote a row, or are not a template.
        """
        candidate = Candidate()
        for part in self.parts:
            predictor = getattr(program, part.attribute)
            wording = self._wording(part, predictor.signature.instructions)
            examples = self._examples(part, predictor.demos)
            candidate = candidate.with_choice(f"{part.step}.wording", wording).with_choice(
                f"{part.step}.examples", examples
            )
        return candidate

    def _wording(self, predictor: StepPredictor, text: str) -> Choice | None:
        key = predictor.step, text
        if key not in self._wordings:
            try:
                self._wordings[key] = self._new_wording(predictor, text)
            except InputError as error:
                self._wordings[key] = error
        wording = self._wordings[key]
        if isinstance(wording, InputError):
            raise wording
        return wording

    def _new_wording(self, predictor: StepPredictor, text: str) -> Choice | None:
        if text == predictor.written:
            return None
        prompt = self._step(predictor).prompt
        assert prompt is not None, "only a step that asks is a part"
        source = section_source(prompt, INSTRUCTIONS) or ""
        if words(text) == words(source):
            return None
        wrong = self._wrong(prompt.blocks, source) or proposal_problem(
            text, self._original(predictor, source), (), self._protected
        )
        if wrong:
            raise InputError(Problem(f"instructions of `{predictor.step}` are refused: {wrong}"))
        changes = edit_sections(self.pipeline, predictor.step, {INSTRUCTIONS: text})
        return Choice(f'"{shorten(text, NAME_CHARACTERS, placeholder="…")}"', changes, about=text)

    def _wrong(self, blocks: frozenset[str], source: str) -> str | None:
        try:
            if (not source and INSTRUCTIONS in blocks) or has_statements(source):
                return "the current ones are a template that does more than print"
        except TemplateError as error:
            return str(error)
        return None

    def _original(self, predictor: StepPredictor, source: str) -> OriginalInstructions:
        prompt = self._step(predictor).prompt
        assert prompt is not None, "only a step that asks is a part"
        rest = (section_source(prompt, name) or "" for name in sorted(prompt.blocks - {INSTRUCTIONS}))
        return _OfAnyLength(source, "\n".join(rest), frozenset(prompt.inputs))

    def _examples(self, predictor: StepPredictor, demos: Sequence[Mapping[str, Any]]) -> Choice | None:
        shown = [made for demo in demos if (made := self._demonstration(predictor, demo)) is not None]
        if not shown:
            return None
        count = f"{len(shown)} example{'s' if len(shown) > 1 else ''}"
        return Choice(count, {f"{predictor.step}.examples": [demo.example for demo in shown]})

    def _demonstration(self, predictor: StepPredictor, demo: Mapping[str, Any]) -> Demonstration | None:
        """Return a demonstration of a step: as it was answered, or a row with its label if it has one."""
        if predictor.output not in demo:
            return self._labelled(predictor, demo[ROW]) if ROW in demo else None
        inputs = {name: demo[field] for name, field in predictor.inputs.items() if field in demo}
        answer = self._step(predictor).prompt_call
        assert answer is not None, "only a step that asks is a part"
        if isinstance(answer.answer, AnswerType) and not can_be_written(answer.answer, demo[predictor.output]):
            return None
        return Demonstration(inputs, demo[predictor.output], demo.get(THOUGHTS))

    def _labelled(self, predictor: StepPredictor, row: int) -> Demonstration | None:
        demos = gold_demonstrations(self._evaluator.suite, self._evaluator.rows, predictor.step, [row])
        return demos[0] if len(demos) == 1 else None

    def _step(self, predictor: StepPredictor) -> Step:
        return self.pipeline.steps[predictor.step]
