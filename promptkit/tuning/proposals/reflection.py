"""The reflection prompt: the instructions of a step, and the failures that a teacher is shown."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Final

from promptkit.answers.base import AnswerType
from promptkit.answers.build import instruction
from promptkit.engine.inputs import step_inputs
from promptkit.errors import InputError
from promptkit.evaluation.cells.cell import Cell
from promptkit.evaluation.error_analysis.cases import ErrorCase
from promptkit.evaluation.error_analysis.groups import NOT_THE_PROMPTS, ErrorAnalysis, find_errors, reply_of
from promptkit.evaluation.labelling.reasons import label_reasons
from promptkit.evaluation.metrics.score import Score
from promptkit.evaluation.record import EvalRecord, MetricRecord, VariantRecord
from promptkit.evaluation.suite.data import BoundRow
from promptkit.project import LIBRARY
from promptkit.prompts.sections import SECTIONS
from promptkit.prompts.template_loader import render_file
from promptkit.runtimes.base import Message, Model, Request
from promptkit.techniques.thinking import thoughts_of
from promptkit.tuning.evaluator import Evaluator, RowResult, step_nodes
from promptkit.tuning.prompt_edits import INSTRUCTIONS, edit_sections, section_source
from promptkit.tuning.proposals.checks import (
    OriginalInstructions,
    ProtectedRow,
    has_statements,
    protected_rows,
    text_of,
)
from promptkit.tuning.search_space.candidate import Candidate, Choice

TEMPLATE: Final = LIBRARY / "templates" / "tuning" / "reflect.j2"
MOST_GROUPS: Final = 6
MOST_LABELS: Final = 10
LONGEST_TEXT: Final = 300
"""The most characters of a row's text that are shown."""
CHARACTERS_A_TOKEN: Final = 2
"""The least characters per token: a reply must not be cut off in the middle of instructions."""
REPLY_TOKENS = 512
"""Tokens for the teacher's text around the instructions."""
PROPOSAL_TEMPERATURE: Final = 0.7
LEAST_FENCE: Final = 3
_PRINTED: Final = re.compile(r"\{\{.*?\}\}", re.DOTALL)


class ReflectionPrompt:
    """The prompt for a teacher: the instructions of a candidate's step, with its failures on `rows`."""

    def __init__(self, evaluator: Evaluator, rows: Sequence[int], candidate: Candidate, step: str) -> None:
        self._evaluator = evaluator
        self._rows = tuple(rows)
        self._candidate = candidate
        self._pipeline = evaluator.variant(candidate).pipeline
        self._step = self._pipeline.steps[step]
        asking = self._step.prompt_call
        assert asking is not None, "only a step that asks has instructions"
        self._asking = asking
        self._errors = find_failures(evaluator, candidate, rows)
        self._places = {evaluator.rows[row].row.number: row for row in rows}
        written = {name: section_source(asking.prompt, name) for name in SECTIONS}
        self._sections = {name: text for name, text in written.items() if text and name != INSTRUCTIONS}
        rest = "\n".join(self._sections.values())
        self.original = OriginalInstructions(written[INSTRUCTIONS] or "", rest, frozenset(asking.prompt.inputs))

    def why_unusable(self) -> str | None:
        """Return the reason why there is nothing to propose, None if there is."""
        source = self.original.source
        if not source and INSTRUCTIONS in self._asking.prompt.blocks:
            return f"the instructions of `{self._step.name}` cannot be rewritten: they are made of other files"
        if has_statements(source):
            return f"the instructions of `{self._step.name}` cannot be rewritten: they have template statements"
        return None if self._errors.failed else f"nothing fails of `{self._step.name}`: there is nothing to learn from"

    @property
    def fence(self) -> str:
        """The fence around instructions: more backticks than they contain in a row."""
        runs = re.findall("`+", self.original.source)
        return "`" * max(LEAST_FENCE, 1 + max(map(len, runs), default=0))

    @cached_property
    def protected(self) -> tuple[ProtectedRow, ...]:
        """The content of each row, which no proposal may give away."""
        expected = [self._evaluator.rows[row].expected[0] for row in self._rows]
        return protected_rows([self._row_values(row) for row in self._rows], expected)

    def requests(self, model: Model, most: int) -> list[Request]:
        """Return at most `most` requests, each of which begins with another kind of failure.

        A model that cannot sample is asked once about each kind, as it would repeat itself.
        """
        samples = "sampling" in model.capabilities
        most_tokens = self.original.longest // CHARACTERS_A_TOKEN + REPLY_TOKENS
        groups = list(self._groups())
        return [
            Request(
                messages=(Message("user", self._text(groups, number % len(groups))),),
                max_tokens=most_tokens,
                temperature=PROPOSAL_TEMPERATURE if samples else 0.0,
                sample=str(number),
                **thoughts_of(None, model.capabilities).fields,
            )
            for number in range(most if samples else min(most, len(groups)))
        ]

    def candidate_of(self, text: str, number: int) -> Candidate:
        """Return the candidate with other instructions. Raises InputError if the prompt cannot be edited."""
        parameter = f"{self._step.name}.wording"
        before = self._candidate.choices.get(parameter)
        changes = edit_sections(self._pipeline, self._step.name, {INSTRUCTIONS: text})
        name = f"teacher {number}"
        return self._candidate.with_choice(
            parameter, Choice(name, {**(before.changes if before else {}), **changes}, text)
        )

    def instructions_of(self, candidate: Candidate) -> str:
        """Return the instructions of a candidate's step; empty if they cannot be read."""
        prompt = self._evaluator.variant(candidate).pipeline.steps[self._step.name].prompt
        return (section_source(prompt, INSTRUCTIONS) if prompt else None) or ""

    def _text(self, groups: Sequence[Mapping[str, Any]], first: int) -> str:
        answer, prompt = self._asking.answer, self._asking.prompt
        shown = [*groups[first:], *groups[:first]][:MOST_GROUPS]
        form = ""
        if isinstance(answer, AnswerType) and "output_format" not in self._sections:
            form = instruction(answer, project=self._pipeline.project)
        return render_file(
            TEMPLATE,
            {
                "about": self._step.about or prompt.about or self._pipeline.about,
                "fence": self.fence,
                "instructions": self.original.source,
                "sections": [{"name": name, "text": text} for name, text in self._sections.items()],
                "answer": form,
                "asked": self._errors.read,
                "failed": self._errors.failed,
                "groups": shown,
                "variables": list(dict.fromkeys(_PRINTED.findall(self.original.source))),
                "longest": self.original.longest,
            },
        )

    def _groups(self) -> Iterator[dict[str, Any]]:
        """Yield failures by kind, then the slices of rows in which more fail than elsewhere."""
        for group in self._errors.groups:
            if group.kind not in NOT_THE_PROMPTS:
                yield {
                    "kind": group.kind,
                    "count": group.count,
                    "expected": group.expected,
                    "got": group.got,
                    "cases": [self._case(failure) for failure in group.rows],
                }
        for error_slice in self._errors.slices:
            values = {
                "kind": "slice",
                "count": error_slice.failed,
                "of": error_slice.rows,
                "field": error_slice.field,
                "value": error_slice.value,
            }
            yield {**values, "cases": [self._case(failure) for failure in error_slice.typical]}

    def _case(self, failure: ErrorCase) -> dict[str, Any]:
        row = self._places[failure.cell.row]
        result = self._evaluator.result(self._candidate, row)
        assert result is not None, "what fails was asked"
        answer = result.steps.get(self._step.name)
        reply = None
        if answer is None:
            reply = reply_of({"parts": step_nodes(self._evaluator.trace(result), self._step.name)})
        return {
            "inputs": [
                {"name": name, "text": _excerpt(value)} for name, value in self._step_inputs(row, result).items()
            ],
            "reply": _excerpt(reply),
            "said": _excerpt(answer),
            "ended": "" if answer is None or result.output == answer else _excerpt(result.output),
            "score": result.score,
            "labels": self._labels(result),
            "expected": _excerpt(failure.expected),
            "reasons": [_excerpt(reason) for reason in self._reasons(row, result)],
        }

    def _labels(self, result: RowResult) -> list[dict[str, Any]]:
        """Return the log-probability of each label of a scored answer, the likeliest first."""
        nodes = step_nodes(self._evaluator.trace(result), self._step.name)
        if len(nodes) != 1 or not (logprobs := nodes[0].get("extra", {}).get("scores")):
            return []
        ranked = sorted(logprobs.items(), key=lambda pair: -pair[1])[:MOST_LABELS]
        return [{"label": _excerpt(label), "logprob": logprob} for label, logprob in ranked]

    def _reasons(self, row: int, result: RowResult) -> list[str]:
        bound = self._evaluator.rows[row]
        fields = bound.row.fields
        cell = Cell(variant="", row=row, repeat=0, fields=fields, output=result.output, steps=result.steps)
        return label_reasons(self._evaluator.suite, bound.inputs[0], cell)

    def _step_inputs(self, row: int, result: RowResult | None) -> Mapping[str, Any]:
        """Return the step's inputs on a row; the target's inputs if the step has none or several."""
        inputs = self._evaluator.rows[row].inputs[0]
        if result is None:
            return inputs
        try:
            given = step_inputs(self._pipeline, self._step, {**inputs, **result.steps})
        except InputError:
            return inputs
        return given[0] if len(given) == 1 else inputs

    def _row_values(self, row: int) -> list[Any]:
        result = self._evaluator.result(self._candidate, row)
        return [*self._evaluator.rows[row].inputs[0].values(), *self._step_inputs(row, result).values()]


def _excerpt(value: Any) -> str:
    """Return a value in one line, cut if it is long."""
    text = " ".join(text_of(value).split())
    return text if len(text) <= LONGEST_TEXT else f"{text[: LONGEST_TEXT - 1].rstrip()}…"


MOST_CASES: Final = 3
"""The number of typical rows of a group."""
_UNPARSED_SHARE: Final = 0.5


@dataclass(frozen=True, slots=True)
class _TrialView:
    """The results of one candidate as the view of a run of its own."""

    found: Sequence[Cell]
    record: EvalRecord
    variants: tuple[str, ...]
    metrics: tuple[str, ...]
    settings: Mapping[str, Mapping[str, Any]]
    number: int = 0
    suite: str = ""
    status: str = "done"
    started: float = 0.0
    traces: Mapping[int, Mapping[str, Any]] = field(default_factory=dict)

    def cells(self, variant: str | None = None) -> Iterator[Cell]:
        return iter(self.found)

    def trace(self, cell: int) -> Mapping[str, Any] | None:
        return self.traces.get(cell)


def find_failures(evaluator: Evaluator, candidate: Candidate, rows: Sequence[int]) -> ErrorAnalysis:
    """Return a candidate's failures by the metric on those of `rows` that it was evaluated on, in groups and slices.

    The row of a failure's cell is its number in the data; scores are in [0, 1], higher is better.
    """
    metric, variant = evaluator.metric.name, candidate.name
    results = [(row, result) for row in rows if (result := evaluator.result(candidate, row)) is not None]
    bounded = MetricRecord(bounds=[0.0, 1.0], higher_is_better=True, kind=evaluator.metric.kind)
    view = _TrialView(
        found=[_cell_view(evaluator.rows[row], result, metric, variant) for row, result in results],
        record=EvalRecord(variants=[VariantRecord(name=variant, cases=len(results), metrics={metric: bounded})]),
        variants=(variant,),
        metrics=(metric,),
        settings={variant: candidate.changes},
    )
    return find_errors(view, view.record, most=MOST_CASES)


def _cell_view(row: BoundRow, result: RowResult, metric: str, variant: str) -> Cell:
    unparsed = result.unparsed >= _UNPARSED_SHARE
    return Cell(
        variant=variant,
        row=row.row.number,
        repeat=0,
        fields=row.row.fields,
        output=result.output,
        expect=row.expected[0],
        flag="error" if result.score is None else "unparsed" if unparsed else "",
        problem=result.problem,
        scores={metric: Score(result.score)},
        steps=result.steps,
        number=result.cell_numbers[0],
    )
