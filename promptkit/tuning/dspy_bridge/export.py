"""From a program of DSPy's to a candidate: its instructions as the prompt's section, its demonstrations as examples."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from sys import maxsize
from textwrap import shorten
from typing import TYPE_CHECKING, Any, Final

from jinja2 import TemplateError

from promptkit.answers import AnswerType
from promptkit.errors import InputError, Problem
from promptkit.tuning.bootstrap import can_be_written
from promptkit.tuning.candidate import Candidate, Level
from promptkit.tuning.demonstration import Demonstration
from promptkit.tuning.demonstrations import gold_demonstrations
from promptkit.tuning.dspy_bridge.parts import ROW, THOUGHTS, Part, read_parts
from promptkit.tuning.edits import INSTRUCTIONS, edited, section_source
from promptkit.tuning.refusing import Original, has_statements, told_rows, what_is_wrong, words

if TYPE_CHECKING:
    from promptkit.engine import Step
    from promptkit.tuning.dspy_bridge.program import Program
    from promptkit.tuning.field import Field

NAME_CHARACTERS: Final = 40


@dataclass(frozen=True, slots=True)
class _OfAnyLength(Original):
    """Instructions that may become as long as an optimizer makes them: its own search says whether that pays."""

    @property
    def longest(self) -> int:
        return maxsize


class Exporter:
    """Makes candidates of programs. `search` are the rows that a search may see: no instructions may quote them."""

    def __init__(self, field: Field, search: Sequence[int]) -> None:
        self.pipeline = field.suite.baseline.pipeline
        self.parts = read_parts(self.pipeline)
        self._field = field
        inputs = [list(field.rows[row].inputs[0].values()) for row in search]
        self._told = told_rows(inputs, [field.rows[row].expected[0] for row in search])
        self._wordings: dict[tuple[str, str], Level | InputError | None] = {}

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

    def _wording(self, part: Part, text: str) -> Level | None:
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

    def _new_wording(self, part: Part, text: str) -> Level | None:
        if text == part.written:
            return None
        prompt = self._step(part).prompt
        assert prompt is not None, "only a step that asks is a part"
        source = section_source(prompt, INSTRUCTIONS) or ""
        if words(text) == words(source):
            return None
        wrong = self._wrong(prompt.blocks, source) or what_is_wrong(text, self._original(part, source), (), self._told)
        if wrong:
            raise InputError(Problem(f"instructions of `{part.step}` are refused: {wrong}"))
        changes = edited(self.pipeline, part.step, {INSTRUCTIONS: text})
        return Level(f'"{shorten(text, NAME_CHARACTERS, placeholder="…")}"', changes, about=text)

    def _wrong(self, blocks: frozenset[str], source: str) -> str | None:
        try:
            if (not source and INSTRUCTIONS in blocks) or has_statements(source):
                return "what they would replace is a template that does more than print"
        except TemplateError as error:
            return str(error)
        return None

    def _original(self, part: Part, source: str) -> Original:
        prompt = self._step(part).prompt
        assert prompt is not None, "only a step that asks is a part"
        rest = (section_source(prompt, name) or "" for name in sorted(prompt.blocks - {INSTRUCTIONS}))
        return _OfAnyLength(source, "\n".join(rest), frozenset(prompt.inputs))

    def _examples(self, part: Part, demos: Sequence[Mapping[str, Any]]) -> Level | None:
        found = [each for demo in demos if (each := self._demonstration(part, demo)) is not None]
        if not found:
            return None
        count = f"{len(found)} example{'s' if len(found) > 1 else ''}"
        return Level(count, {f"{part.step}.examples": [each.example for each in found]})

    def _demonstration(self, part: Part, demo: Mapping[str, Any]) -> Demonstration | None:
        """Return what a demonstration shows a step: as it was answered, or a row with its label where it has one."""
        if part.output not in demo:
            return self._labelled(part, demo[ROW]) if ROW in demo else None
        inputs = {name: demo[field] for name, field in part.inputs.items() if field in demo}
        answer = self._step(part).asking
        assert answer is not None, "only a step that asks is a part"
        if isinstance(answer.answer, AnswerType) and not can_be_written(answer.answer, demo[part.output]):
            return None
        return Demonstration(inputs, demo[part.output], demo.get(THOUGHTS))

    def _labelled(self, part: Part, row: int) -> Demonstration | None:
        found = gold_demonstrations(self._field.suite, self._field.rows, part.step, [row])
        return found[0] if len(found) == 1 else None

    def _step(self, part: Part) -> Step:
        return self.pipeline.steps[part.step]
