"""What a teacher is shown of a step: what it is told now, and answers that were wrong."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final

from promptkit.answers import AnswerType, instruction
from promptkit.engine import step_inputs
from promptkit.errors import InputError
from promptkit.evaluation import APART, reply_of
from promptkit.project import LIBRARY
from promptkit.prompts import SECTIONS, render_file
from promptkit.runtimes import Message, Request
from promptkit.tuning.candidate import Level
from promptkit.tuning.edits import INSTRUCTIONS, edited, section_source
from promptkit.tuning.failing import find_failures
from promptkit.tuning.refusing import Original, Told, has_statements, text_of, told_rows
from promptkit.tuning.traces import step_nodes

if TYPE_CHECKING:
    from promptkit.evaluation import Failure
    from promptkit.runtimes import Model
    from promptkit.tuning.candidate import Candidate
    from promptkit.tuning.field import Cell, Field

TEMPLATE: Final = LIBRARY / "templates" / "tuning" / "reflect.j2"
MOST_GROUPS: Final = 6
LONGEST_TEXT: Final = 300
"""Characters of a row's text that are shown."""
CHARACTERS_A_TOKEN: Final = 2
"""At the least: what a reply may be long is not to end in the middle of instructions."""
AROUND, THOUGHTS = 512, 1_536
"""Tokens for what a teacher says beside the instructions, and for what one that thinks does before."""
WARMTH: Final = 0.7
LEAST_FENCE: Final = 3
_PRINTED: Final = re.compile(r"\{\{.*?\}\}", re.DOTALL)


class Lesson:
    """The instructions of a candidate's step, with what fails on `rows`, all that the search may see."""

    def __init__(self, field: Field, rows: Sequence[int], candidate: Candidate, step: str) -> None:
        self._field = field
        self._rows = tuple(rows)
        self._candidate = candidate
        self._pipeline = field.variant(candidate).pipeline
        self._step = self._pipeline.steps[step]
        asking = self._step.asking
        assert asking is not None, "only a step that asks is taught"
        self._asking = asking
        self._errors = find_failures(field, candidate, rows)
        self._places = {field.rows[row].row.number: row for row in rows}
        written = {name: section_source(asking.prompt, name) for name in SECTIONS}
        self._sections = {name: text for name, text in written.items() if text and name != INSTRUCTIONS}
        rest = "\n".join(self._sections.values())
        self.original = Original(written[INSTRUCTIONS] or "", rest, frozenset(asking.prompt.inputs))

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
    def told(self) -> tuple[Told, ...]:
        """What each row holds, which no proposal may give away; what is the same in all rows is no row's own."""
        expected = [self._field.rows[row].expected[0] for row in self._rows]
        return told_rows([self._shown(row) for row in self._rows], expected)

    def requests(self, model: Model, most: int) -> list[Request]:
        """Return up to `most` requests, each of which begins with another kind of failure.

        A model that cannot sample is asked once about each, for it would say the same again.
        """
        samples = "sampling" in model.capabilities
        thoughts = THOUGHTS if "think" in model.capabilities else 0
        most_tokens = self.original.longest // CHARACTERS_A_TOKEN + AROUND + thoughts
        groups = list(self._groups())
        return [
            Request(
                messages=(Message("user", self._text(groups, number % len(groups))),),
                max_tokens=most_tokens,
                temperature=WARMTH if samples else 0.0,
                sample=str(number),
            )
            for number in range(most if samples else min(most, len(groups)))
        ]

    def candidate_of(self, text: str, number: int) -> Candidate:
        """Return the candidate with other instructions. Raises InputError where the prompt cannot be edited."""
        axis = f"{self._step.name}.wording"
        before = self._candidate.choices.get(axis)
        changes = edited(self._pipeline, self._step.name, {INSTRUCTIONS: text})
        name = f"teacher {number}"
        return self._candidate.taking(axis, Level(name, {**(before.changes if before else {}), **changes}, text))

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
            if group.kind not in APART:
                told = {"kind": group.kind, "count": group.count, "expected": group.expected, "got": group.got}
                yield {**told, "cases": [self._case(each) for each in group.rows]}
        for each in self._errors.slices:
            told = {"kind": "slice", "count": each.failed, "of": each.rows, "field": each.field, "value": each.value}
            yield {**told, "cases": [self._case(failure) for failure in each.typical]}

    def _case(self, failure: Failure) -> dict[str, Any]:
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

    def _given(self, row: int, cell: Cell | None) -> Mapping[str, Any]:
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
