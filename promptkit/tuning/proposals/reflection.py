"""The reflection prompt: the instructions of a step, and the failures that a teacher is shown."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final

from promptkit.answers.base import AnswerType
from promptkit.answers.build import instruction
from promptkit.engine.inputs import step_inputs
from promptkit.errors import InputError
from promptkit.evaluation.cells.cell import Cell
from promptkit.evaluation.error_analysis.groups import NOT_THE_PROMPTS, ErrorAnalysis, find_errors, reply_of
from promptkit.evaluation.metrics.base import Score
from promptkit.project import LIBRARY
from promptkit.prompts.sections import SECTIONS
from promptkit.prompts.template_loader import render_file
from promptkit.runtimes.base import Message, Request
from promptkit.tuning.evaluator import step_nodes
from promptkit.tuning.prompt_edits import INSTRUCTIONS, edit_sections, section_source
from promptkit.tuning.proposals.checks import (
    OriginalInstructions,
    ProtectedRow,
    has_statements,
    protected_rows,
    text_of,
)
from promptkit.tuning.search_space.candidate import Choice

if TYPE_CHECKING:
    from promptkit.evaluation.error_analysis.groups import ErrorCase
    from promptkit.evaluation.suite.binding import BoundRow
    from promptkit.runtimes.base import Model
    from promptkit.tuning.evaluator import Evaluator, RowResult
    from promptkit.tuning.search_space.candidate import Candidate

TEMPLATE: Final = LIBRARY / "templates" / "tuning" / "reflect.j2"
MOST_GROUPS: Final = 6
LONGEST_TEXT: Final = 300
"""Characters of a row's text that are shown."""
CHARACTERS_A_TOKEN: Final = 2
"""At the least: what a reply may be long is not to end in the middle of instructions."""
REPLY_TOKENS, THOUGHT_TOKENS = 512, 1_536
"""Tokens for what a teacher says beside the instructions, and for what one that thinks does before."""
PROPOSAL_TEMPERATURE: Final = 0.7
LEAST_FENCE: Final = 3
_PRINTED: Final = re.compile(r"\{\{.*?\}\}", re.DOTALL)


class ReflectionPrompt:
    """The instructions of a candidate's step, with what fails on `rows`, all that the search may see."""

    def __init__(self, field: Evaluator, rows: Sequence[int], candidate: Candidate, step: str) -> None:
        self._field = field
        self._rows = tuple(rows)
        self._candidate = candidate
        self._pipeline = field.variant(candidate).pipeline
        self._step = self._pipeline.steps[step]
        asking = self._step.prompt_call
        assert asking is not None, "only a step that asks is taught"
        self._asking = asking
        self._errors = find_failures(field, candidate, rows)
        self._places = {field.rows[row].row.number: row for row in rows}
        written = {name: section_source(asking.prompt, name) for name in SECTIONS}
        self._sections = {name: text for name, text in written.items() if text and name != INSTRUCTIONS}
        rest = "\n".join(self._sections.values())
        self.original = OriginalInstructions(written[INSTRUCTIONS] or "", rest, frozenset(asking.prompt.inputs))

    def why_none(self) -> str | None:
        """Return why there is nothing to teach, None where there is."""
        source = self.original.source
        if not source and INSTRUCTIONS in self._asking.prompt.blocks:
            return f"the instructions of `{self._step.name}` cannot be rewritten: they are made of other files"
        if has_statements(source):
            return f"the instructions of `{self._step.name}` cannot be rewritten: they have template statements"
        return None if self._errors.failed else f"nothing fails of `{self._step.name}`: there is nothing to learn from"

    @property
    def fence(self) -> str:
        """What stands around instructions: more backticks than they have in a row."""
        runs = re.findall("`+", self.original.source)
        return "`" * max(LEAST_FENCE, 1 + max(map(len, runs), default=0))

    @cached_property
    def told(self) -> tuple[ProtectedRow, ...]:
        """What each row holds, which no proposal may give away; what is the same in all rows is no row's own."""
        expected = [self._field.rows[row].expected[0] for row in self._rows]
        return protected_rows([self._shown(row) for row in self._rows], expected)

    def requests(self, model: Model, most: int) -> list[Request]:
        """Return up to `most` requests, each of which begins with another kind of failure.

        A model that cannot sample is asked once about each, for it would say the same again.
        """
        samples = "sampling" in model.capabilities
        thoughts = THOUGHT_TOKENS if "think" in model.capabilities else 0
        most_tokens = self.original.longest // CHARACTERS_A_TOKEN + REPLY_TOKENS + thoughts
        groups = list(self._groups())
        return [
            Request(
                messages=(Message("user", self._text(groups, number % len(groups))),),
                max_tokens=most_tokens,
                temperature=PROPOSAL_TEMPERATURE if samples else 0.0,
                sample=str(number),
            )
            for number in range(most if samples else min(most, len(groups)))
        ]

    def candidate_of(self, text: str, number: int) -> Candidate:
        """Return the candidate with other instructions. Raises InputError where the prompt cannot be edited."""
        axis = f"{self._step.name}.wording"
        before = self._candidate.choices.get(axis)
        changes = edit_sections(self._pipeline, self._step.name, {INSTRUCTIONS: text})
        name = f"teacher {number}"
        return self._candidate.taking(axis, Choice(name, {**(before.changes if before else {}), **changes}, text))

    def instructions_of(self, candidate: Candidate) -> str:
        """Return what a candidate's step is told; empty where it cannot be said."""
        prompt = self._field.variant(candidate).pipeline.steps[self._step.name].prompt
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
        """Yield what fails by its kind, then the slices in which more fails than elsewhere."""
        for group in self._errors.groups:
            if group.kind not in NOT_THE_PROMPTS:
                told = {"kind": group.kind, "count": group.count, "expected": group.expected, "got": group.got}
                yield {**told, "cases": [self._case(each) for each in group.rows]}
        for each in self._errors.slices:
            told = {"kind": "slice", "count": each.failed, "of": each.rows, "field": each.field, "value": each.value}
            yield {**told, "cases": [self._case(failure) for failure in each.typical]}

    def _case(self, failure: ErrorCase) -> dict[str, Any]:
        row = self._places[failure.cell.row]
        cell = self._field.cell(self._candidate, row)
        assert cell is not None, "what fails was asked"
        said = cell.steps.get(self._step.name)
        reply = None
        if said is None:
            reply = reply_of({"parts": step_nodes(self._field.trace(cell), self._step.name)})
        return {
            "inputs": [{"name": name, "text": _excerpt(value)} for name, value in self._given(row, cell).items()],
            "reply": _excerpt(reply),
            "said": _excerpt(said),
            "ended": "" if said is None or cell.output == said else _excerpt(cell.output),
            "expected": _excerpt(failure.expected),
        }

    def _given(self, row: int, cell: RowResult | None) -> Mapping[str, Any]:
        """Return what the step was given of a row; what the target was given, where that is not one thing."""
        inputs = self._field.rows[row].inputs[0]
        if cell is None:
            return inputs
        try:
            given = step_inputs(self._pipeline, self._step, {**inputs, **cell.steps})
        except InputError:
            return inputs
        return given[0] if len(given) == 1 else inputs

    def _shown(self, row: int) -> list[Any]:
        cell = self._field.cell(self._candidate, row)
        return [*self._field.rows[row].inputs[0].values(), *self._given(row, cell).values()]


def _excerpt(value: Any) -> str:
    """Return a value in one line, cut where it is long."""
    text = " ".join(text_of(value).split())
    return text if len(text) <= LONGEST_TEXT else f"{text[: LONGEST_TEXT - 1].rstrip()}…"


MOST_CASES: Final = 3
"""How many rows of a group are typical of it."""
_UNPARSED_SHARE: Final = 0.5


@dataclass(frozen=True, slots=True)
class _TrialView:
    """The cells of one candidate as the view of a run of its own."""

    found: Sequence[Cell]
    record: Mapping[str, Any]
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


def find_failures(field: Evaluator, candidate: Candidate, rows: Sequence[int]) -> ErrorAnalysis:
    """Return how a candidate fails by the aim on those of `rows` that it was asked, in groups and slices.

    The row of a failure's cell is its number in the data; the scores are in [0, 1], the higher the better.
    """
    aim, variant = field.metric.name, candidate.name
    cells = [(row, cell) for row in rows if (cell := field.cell(candidate, row)) is not None]
    bounded = {"bounds": (0.0, 1.0), "higher_is_better": True, "kind": field.metric.kind}
    view = _TrialView(
        found=[_cell_view(field.rows[row], cell, aim, variant) for row, cell in cells],
        record={"variants": [{"name": variant, "cases": len(cells), "metrics": {aim: bounded}}]},
        variants=(variant,),
        metrics=(aim,),
        settings={variant: candidate.changes},
    )
    return find_errors(view, view.record, most=MOST_CASES)


def _cell_view(row: BoundRow, cell: RowResult, aim: str, variant: str) -> Cell:
    unparsed = cell.unparsed >= _UNPARSED_SHARE
    return Cell(
        variant=variant,
        row=row.row.number,
        repeat=0,
        fields=row.row.fields,
        output=cell.output,
        expect=row.expected[0],
        flag="error" if cell.score is None else "unparsed" if unparsed else "",
        problem=cell.problem,
        scores={aim: Score(cell.score)},
        steps=cell.steps,
        cell=cell.numbers[0],
    )
