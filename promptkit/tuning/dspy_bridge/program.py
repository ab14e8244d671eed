"""A pipeline as a program of DSPy's: a row is answered by the engine, as the program's predictors say."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final, Self

import dspy

from promptkit.errors import InputError
from promptkit.tuning.candidate import Level
from promptkit.tuning.dspy_bridge.adapter import ANSWERED
from promptkit.tuning.dspy_bridge.parts import ROW, answers
from promptkit.tuning.field import SearchFailed

if TYPE_CHECKING:
    from collections.abc import Callable

    from promptkit.tuning.candidate import Candidate
    from promptkit.tuning.dspy_bridge.bridge import Bridge
    from promptkit.tuning.dspy_bridge.export import Exporter
    from promptkit.tuning.dspy_bridge.parts import Part
    from promptkit.tuning.field import Cell, Field

GOES_ON: Final = "what was answered is kept: the same command goes on from there"


class Program(dspy.Module):  # type: ignore[misc]  # DSPy has no types
    """A pipeline whose steps are predictors: each has instructions, and demonstrations of its inputs and answers."""

    def __init__(self, parts: Sequence[Part], desk: Desk) -> None:
        super().__init__()
        self.desk = desk
        for part in parts:
            setattr(self, part.attribute, dspy.Predict(part.signature))

    def forward(self, **example: Any) -> dspy.Prediction:
        """Return what the pipeline answers to the row of an example."""
        return self.desk.answer(self, example[ROW])


class Desk:
    """Has the programs of an optimizer answered, from its threads: each is a candidate, whose cells the field has.

    `samples` are the steps that can be asked for several different answers. `on_candidate` hears of each candidate when
    it is first asked, but for samples.
    """

    def __init__(
        self,
        field: Field,
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
        for each in answers(self._field, pipeline, self._exporter.parts, row, cell):
            getattr(program, each.part.attribute)(**each.inputs, config={ANSWERED: dict(each.outputs)})
        return dspy.Prediction(output=cell.output, score=cell.score or 0.0, problem=cell.problem)

    async def _cell(self, candidate: Candidate, asked: Candidate, row: int) -> Cell:
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
            candidate = candidate.taking(f"{step}.sample", Level(f"sample {options['seed']}", changes))
        return candidate
