"""The rows that a step is trained on, each with the right answer."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from promptkit.answers.base import AnswerType
from promptkit.engine.pipeline import Pipeline, Step
from promptkit.engine.step_rows import StepRows, find_prompt_step, read_step_rows
from promptkit.errors import InputError


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelledRows:
    """The rows of one step with their right answers.

    `pipeline` has the step, as the rows feed it. `hashes` are those by which an evaluation knows the rows again.
    """

    pipeline: Pipeline
    step: Step
    rows: StepRows
    hashes: tuple[str, ...]

    @property
    def answer(self) -> AnswerType | None:
        """The type of the answers, None where it differs by row."""
        assert self.step.prompt_call is not None, "only a step that asks is trained"
        answer = self.step.prompt_call.answer
        return answer if isinstance(answer, AnswerType) else None

    def counts(self) -> Counter[str]:
        """Return how often each answer of a closed set is the right one; empty for an open set."""
        if self.answer is None or not self.answer.alternatives():
            return Counter()
        return Counter(self.answer.write(row.expect) for row in self.rows.rows)


def read_labelled_file(
    pipeline: Pipeline, steps: Sequence[str], path: Path, *, expect: str | None, limit: int | None
) -> LabelledRows:
    """Read the rows of a data file for one step. Raises InputError with everything that is wrong in them."""
    if len(steps) > 1:
        raise InputError(f"--data has the answers of one step, not of {len(steps)}")
    step = find_prompt_step(pipeline, steps[0] if steps else None)
    rows = read_step_rows(pipeline, step, path, expect=expect, labelled=True, limit=limit)
    return LabelledRows(pipeline=pipeline, step=step, rows=rows, hashes=tuple(sorted({row.hash for row in rows.rows})))
