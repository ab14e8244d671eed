"""A pipeline as a DSPy program whose rows the engine answers, and a program as a candidate."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from sys import maxsize
from textwrap import shorten
from typing import TYPE_CHECKING, Any, Final, Self

import dspy
from jinja2 import TemplateError

from promptkit.answers.base import AnswerType
from promptkit.engine.inputs import step_inputs
from promptkit.errors import InputError, Problem
from promptkit.tuning.dspy_bridge.model import ANSWERED
from promptkit.tuning.evaluator import SearchFailed, step_nodes
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
from promptkit.tuning.search_space.examples import Demonstration, gold_demonstrations

if TYPE_CHECKING:
    from collections.abc import Callable

    from promptkit.engine.pipeline import Pipeline, Step
    from promptkit.tuning.dspy_bridge.model import Bridge
    from promptkit.tuning.evaluator import Evaluator, RowResult

GOES_ON: Final = "what was answered is kept: the same command goes on from there"


class Program(dspy.Module):  # type: ignore[misc]  # DSPy has no types
    """A pipeline whose steps are predictors: each has instructions, and demonstrations of its inputs and answers."""

    def __init__(self, parts: Sequence[StepPredictor], desk: ProgramRunner) -> None:
        super().__init__()
        self.desk = desk
        for part in parts:
            setattr(self, part.attribute, dspy.Predict(part.signature))

    def forward(self, **example: Any) -> dspy.Prediction:
        """Return what the pipeline answers to the row of an example."""
        return self.desk.answer(self, example[ROW])


class ProgramRunner:
    """Has the programs of an optimizer answered, from its threads: each is a candidate, whose cells the field has.

    `samples` are the steps that can be asked for several different answers. `on_candidate` hears of each candidate when
    it is first asked, but for samples.
    """

    def __init__(
        self,
        field: Evaluator,
        exporter: Exporter,
        bridge: Bridge,
        *,
        samples: Sequence[str],
        on_candidate: Callable[[Candidate], None],
    ) -> None:
        self.refused: dict[str, None] = {}
        self._field = field
        self._exporter = exporter
        self._bridge = bridge
        self._samples = samples
        self._on_candidate = on_candidate
        self._seen: set[str] = set()
        self._asking: dict[tuple[str, int], asyncio.Task[None]] = {}

    def __deepcopy__(self, memo: object) -> Self:
        """Return itself: copies of a program are answered at one desk."""
        return self

    def answer(self, program: Program, row: int) -> dspy.Prediction:
        """Return what a row gets from a program: `output`, its `score` in [0, 1], and the `problem` if there is one.

        Each step that was asked is traced as a call of its predictor. A candidate that cannot be is wrong, and so is
        a request that the model refuses. Raises Stopped where nothing more is asked: a server that failed says nothing
        of the program.
        """
        try:
            candidate = self._exporter.candidate(program)
            asked = self._sampled(program, candidate)
            cell = self._bridge.wait(lambda: self._cell(candidate, asked, row), passing=(InputError,))
        except InputError as error:
            told = "; ".join(each.message for each in error.problems)
            self.refused[told] = None
            return dspy.Prediction(output=None, score=0.0, problem=told)
        pipeline = self._field.variant(asked).pipeline
        for each in predictor_calls(self._field, pipeline, self._exporter.parts, row, cell):
            getattr(program, each.part.attribute)(**each.inputs, config={ANSWERED: dict(each.outputs)})
        return dspy.Prediction(output=cell.output, score=cell.score or 0.0, problem=cell.problem)

    async def _cell(self, candidate: Candidate, asked: Candidate, row: int) -> RowResult:
        self._field.variant(asked)
        if asked is candidate and candidate.key not in self._seen:
            self._seen.add(candidate.key)
            self._on_candidate(candidate)
        # DSPy asks anew for what takes long, and two threads may ask for one cell.
        key = asked.key, row
        if key not in self._asking:
            self._asking[key] = asyncio.create_task(self._field.have([asked], [row]))
        await asyncio.shield(self._asking[key])
        cell = self._field.cell(asked, row)
        if cell is None or (cell.score is None and self._field.broken):
            raise SearchFailed(self._field.broken or "a row has no answer", hint=GOES_ON)
        return cell

    def _sampled(self, program: Program, candidate: Candidate) -> Candidate:
        """Return the candidate at the temperature of the program's LM, by which optimizers ask for further samples."""
        settings = (program.get_lm() or dspy.settings.lm).kwargs
        if not settings.get("temperature"):
            return candidate
        options = {"temperature": settings["temperature"], "seed": settings.get("rollout_id", 0)}
        for step in self._samples:
            changes = {f"{step}.options.{key}": value for key, value in options.items()}
            candidate = candidate.taking(f"{step}.sample", Choice(f"sample {options['seed']}", changes))
        return candidate


ROW: Final = "row"
"""Under this name examples carry their place in the field's rows."""
THOUGHTS: Final = "thoughts"
"""Under this name demonstrations carry thoughts, which are no field of a signature."""
RESERVED: Final = frozenset(
    {ROW, THOUGHTS, "self", "base", "augmented", "signature", "new_signature", "demos", "config", "lm", "prediction"}
)
"""What calls of DSPy's give a meaning of its own."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StepPredictor:
    """A step that asks. `attribute` is the program's that holds its predictor, `inputs` and `output` are the fields of
    the signature that the prompt's inputs and the answer are; `written` are its instructions as the prompt has them."""

    step: str
    attribute: str
    inputs: Mapping[str, str]
    output: str
    written: str
    signature: Any


def step_predictors(pipeline: Pipeline) -> tuple[StepPredictor, ...]:
    """Return the steps of a pipeline that ask a model, in their order."""
    parts: list[StepPredictor] = []
    for step in pipeline.steps.values():
        if step.prompt_call is not None:
            taken = {*dir(dspy.Module), "forward", "desk", *(each.attribute for each in parts)}
            parts.append(_step_predictor(step, free_name(step.name, taken)))
    return tuple(parts)


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
    """Return a name for a field or attribute of DSPy's: that name, but for what is taken or means something there."""
    name = re.sub(r"\W", "_", name).strip("_") or "value"
    name = f"value_{name}" if name[0].isdigit() else name
    while name in taken or name in RESERVED:
        name += "_"
    return name


@dataclass(frozen=True, slots=True)
class PredictorCall:
    """What a step was given in a cell and what it made of it, by the fields of its signature."""

    part: StepPredictor
    inputs: Mapping[str, Any]
    outputs: Mapping[str, Any]


def predictor_calls(
    field: Evaluator, pipeline: Pipeline, parts: Sequence[StepPredictor], row: int, cell: RowResult
) -> Iterator[PredictorCall]:
    """Yield what each step was asked in a cell, item by item of a `for_each`; a step in rounds is left out.

    Where an answer does not parse it is the reply as it came.
    """
    trace = field.trace(cell)
    scope = {**field.rows[row].inputs[0], **cell.steps}
    for part in parts:
        nodes = [each for each in step_nodes(trace, part.step) if each["status"] != "skipped"]
        try:
            given = step_inputs(pipeline, pipeline.steps[part.step], scope)
        except InputError:
            continue
        for inputs, node in zip(given, nodes, strict=False):
            calls = node["calls"]
            if not calls:
                continue
            value = calls[-1]["reply"] if node["value"] is None else node["value"]
            thoughts = thoughts_of(node)
            outputs = {part.output: value} | ({THOUGHTS: thoughts} if thoughts else {})
            yield PredictorCall(
                part, {part.inputs[name]: inputs[name] for name in part.inputs if name in inputs}, outputs
            )


NAME_CHARACTERS: Final = 40


@dataclass(frozen=True, slots=True)
class _OfAnyLength(OriginalInstructions):
    """Instructions that may become as long as an optimizer makes them: its own search says whether that pays."""

    @property
    def longest(self) -> int:
        return maxsize


class Exporter:
    """Makes candidates of programs. `search` are the rows that a search may see: no instructions may quote them."""

    def __init__(self, field: Evaluator, search: Sequence[int]) -> None:
        self.pipeline = field.suite.baseline.pipeline
        self.parts = step_predictors(self.pipeline)
        self._field = field
        inputs = [list(field.rows[row].inputs[0].values()) for row in search]
        self._told = protected_rows(inputs, [field.rows[row].expected[0] for row in search])
        self._wordings: dict[tuple[str, str], Choice | InputError | None] = {}

    def candidate(self, program: Program) -> Candidate:
        """Return the candidate that a program is; what the program leaves as it was is as written.

        Without demonstrations a step keeps the examples that it has. One that does not fit its step is left out. Raises
        InputError for instructions that cannot be the step's: they drop an input, quote a row, or are no template.
        """
        candidate = Candidate()
        for part in self.parts:
            predictor = getattr(program, part.attribute)
            wording = self._wording(part, predictor.signature.instructions)
            examples = self._examples(part, predictor.demos)
            candidate = candidate.taking(f"{part.step}.wording", wording).taking(f"{part.step}.examples", examples)
        return candidate

    def _wording(self, part: StepPredictor, text: str) -> Choice | None:
        key = part.step, text
        if key not in self._wordings:
            try:
                self._wordings[key] = self._new_wording(part, text)
            except InputError as error:
                self._wordings[key] = error
        found = self._wordings[key]
        if isinstance(found, InputError):
            raise found
        return found

    def _new_wording(self, part: StepPredictor, text: str) -> Choice | None:
        if text == part.written:
            return None
        prompt = self._step(part).prompt
        assert prompt is not None, "only a step that asks is a part"
        source = section_source(prompt, INSTRUCTIONS) or ""
        if words(text) == words(source):
            return None
        wrong = self._wrong(prompt.blocks, source) or proposal_problem(
            text, self._original(part, source), (), self._told
        )
        if wrong:
            raise InputError(Problem(f"instructions of `{part.step}` are refused: {wrong}"))
        changes = edit_sections(self.pipeline, part.step, {INSTRUCTIONS: text})
        return Choice(f'"{shorten(text, NAME_CHARACTERS, placeholder="…")}"', changes, about=text)

    def _wrong(self, blocks: frozenset[str], source: str) -> str | None:
        try:
            if (not source and INSTRUCTIONS in blocks) or has_statements(source):
                return "what they would replace is a template that does more than print"
        except TemplateError as error:
            return str(error)
        return None

    def _original(self, part: StepPredictor, source: str) -> OriginalInstructions:
        prompt = self._step(part).prompt
        assert prompt is not None, "only a step that asks is a part"
        rest = (section_source(prompt, name) or "" for name in sorted(prompt.blocks - {INSTRUCTIONS}))
        return _OfAnyLength(source, "\n".join(rest), frozenset(prompt.inputs))

    def _examples(self, part: StepPredictor, demos: Sequence[Mapping[str, Any]]) -> Choice | None:
        found = [each for demo in demos if (each := self._demonstration(part, demo)) is not None]
        if not found:
            return None
        count = f"{len(found)} example{'s' if len(found) > 1 else ''}"
        return Choice(count, {f"{part.step}.examples": [each.example for each in found]})

    def _demonstration(self, part: StepPredictor, demo: Mapping[str, Any]) -> Demonstration | None:
        """Return what a demonstration shows a step: as it was answered, or a row with its label where it has one."""
        if part.output not in demo:
            return self._labelled(part, demo[ROW]) if ROW in demo else None
        inputs = {name: demo[field] for name, field in part.inputs.items() if field in demo}
        answer = self._step(part).prompt_call
        assert answer is not None, "only a step that asks is a part"
        if isinstance(answer.answer, AnswerType) and not can_be_written(answer.answer, demo[part.output]):
            return None
        return Demonstration(inputs, demo[part.output], demo.get(THOUGHTS))

    def _labelled(self, part: StepPredictor, row: int) -> Demonstration | None:
        found = gold_demonstrations(self._field.suite, self._field.rows, part.step, [row])
        return found[0] if len(found) == 1 else None

    def _step(self, part: StepPredictor) -> Step:
        return self.pipeline.steps[part.step]
