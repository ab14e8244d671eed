"""A search by one of DSPy's optimizers: on the search rows, within a number of calls, to a candidate of ours."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from textwrap import shorten
from types import SimpleNamespace
from typing import Any, Final

import dspy
import gepa.core.engine
from dspy.evaluate import evaluate
from dspy.propose import dataset_summary_generator, grounded_proposer
from dspy.propose import utils as propose_utils
from dspy.teleprompt import bootstrap, random_search
from dspy.teleprompt import utils as teleprompt_utils
from dspy.utils import parallelizer
from tqdm import tqdm  # type: ignore[import-untyped]

from promptkit.errors import BudgetSpent, InputError
from promptkit.evaluation.statistics.interval import bounded_mean
from promptkit.project import LIBRARY
from promptkit.prompts.template_loader import render_file
from promptkit.runtimes.models import Models
from promptkit.tuning.dspy_bridge.model import Bridge, StepAdapter, Stopped, open_lm
from promptkit.tuning.dspy_bridge.optimizers import NO_LIMIT, OPTIMIZERS, OptimizerSettings
from promptkit.tuning.dspy_bridge.program import ROW, Exporter, Program, ProgramRunner, free_name
from promptkit.tuning.options import Optimizer
from promptkit.tuning.progress import TuningProgress
from promptkit.tuning.search.steps import Objective
from promptkit.tuning.search_space.candidate import Candidate, distinct
from promptkit.tuning.trials import SearchResult, Stage, Trial, limited_budget

LEAST_TRIAL_ROWS: Final = 8
"""The least number of rows of a candidate that can be the best so far."""
MOST_THREADS: Final = 32
MOST_ERROR_CHARACTERS: Final = 200
"""The most characters of DSPy's message when it breaks off."""
FEEDBACK: Final = LIBRARY / "templates" / "tuning" / "feedback.j2"


class DspySearch:
    """One run of an optimizer on an objective. `found` holds the result so far at any time.

    The incumbent in the end is the optimizer's own; if the calls run out first, or it breaks off, it is the candidate
    with the highest lower confidence bound on its rows.
    """

    def __init__(
        self,
        name: Optimizer,
        objective: Objective,
        *,
        progress: TuningProgress,
        models: Models,
        teacher: str | None = None,
        seed: int = 0,
    ) -> None:
        self.found = SearchResult()
        self._name = name
        self._estimates = objective.estimates
        self._evaluator = objective.estimates.evaluator
        self._split = objective.split
        self._progress = progress
        self._models = models
        self._teacher = teacher
        self._seed = seed
        self._asked: list[Candidate] = []
        self._broken_off = ""

    async def run(self, calls: int) -> SearchResult:
        """Search within a number of calls. Raises SearchFailed if the model is gone, StoreFailed, and InputError.

        When cancelled, it ends the optimizer's threads first.
        """
        before = self._evaluator.budget.spent
        self._progress.begin_stage(self._name, 0)
        with limited_budget(self._evaluator.budget, calls):
            bridge = Bridge()
            exporter = Exporter(self._evaluator, self._split.visible)
            if not exporter.parts:
                raise InputError(f"`{exporter.pipeline.name}` has no step of its own that asks a model")
            runner = ProgramRunner(
                self._evaluator, exporter, bridge, samples=await self._samples(exporter), on_candidate=self._note
            )
            program = Program(exporter.parts, runner)
            settings = await self._setting(bridge, calls, exporter, runner)
            work = asyncio.create_task(asyncio.to_thread(self._optimize, program, settings))
            try:
                compiled = await asyncio.shield(work)
            except asyncio.CancelledError as cancelled:
                await bridge.end(cancelled)
                await work
                self._end(None, exporter, runner, before)
                raise
            await bridge.settle()
        if bridge.ended is not None and not isinstance(bridge.ended, BudgetSpent):
            self._end(None, exporter, runner, before)
            raise bridge.ended
        if bridge.ended is not None:
            self._progress.note(f"the calls ran out before `{self._name}` ended: its best so far is taken")
        self._end(compiled, exporter, runner, before)
        return self.found

    def _optimize(self, program: Program, settings: OptimizerSettings) -> Program | None:
        """Return the optimized program; None if the optimizer did not finish. Runs in a thread."""
        try:
            with (
                quiet(),
                dspy.context(
                    lm=settings.lm,
                    adapter=StepAdapter(),
                    max_errors=NO_LIMIT,
                    num_threads=settings.threads,
                    disable_history=True,
                    warn_on_type_mismatch=False,
                ),
            ):
                return OPTIMIZERS[self._name](program, settings)
        except Stopped:
            return None
        except Exception as error:
            self._broken_off = shorten(f"{type(error).__name__}: {error}", MOST_ERROR_CHARACTERS, placeholder=" …")
            return None

    async def _setting(
        self, bridge: Bridge, calls: int, exporter: Exporter, runner: ProgramRunner
    ) -> OptimizerSettings:
        client = await self._models.within(self._evaluator.budget).get(
            self._teacher or self._evaluator.suite.baseline.model
        )
        tuned_model = await (await self._models.get(self._evaluator.suite.baseline.model)).model()
        train, val = self._rows()
        budget, steps = self._evaluator.budget, len(exporter.parts)
        a_row = self._calls_a_row(steps)

        def runs_left() -> int:
            return max(0, int((budget.most - budget.spent) / a_row))

        return OptimizerSettings(
            metric=_prediction_score,
            feedback=self._feedback,
            lm=open_lm(client, await client.model(), bridge, seed=self._seed),
            train=[self._example(row) for row in train],
            val=[self._example(row) for row in val],
            runs=max(1, int(calls / a_row)),
            runs_left=runs_left,
            can_ask=lambda program, examples: runner.lacking(program, examples) <= runs_left(),
            steps=steps,
            # More than may be in flight, as an answer is also scored and saved.
            threads=min(2 * tuned_model.parallel + 4, MOST_THREADS),
            seed=self._seed,
        )

    def _rows(self) -> tuple[Sequence[int], Sequence[int]]:
        """Return the rows to learn from, the pool with half of the others, and the rows that decide."""
        order = self._split.search
        half = len(order) // 2 if len(order) > 1 else len(order)
        return (*self._split.demo_pool, *order[:half]), order[half:] or order

    def _calls_a_row(self, steps: int) -> float:
        results = list(self._evaluator.results(Candidate(), self._split.visible))
        return sum(result.calls for result in results) / len(results) if results else max(1, steps)

    async def _samples(self, exporter: Exporter) -> list[str]:
        """Return the steps whose model gives further samples, told apart by seeds."""
        able = []
        for predictor in exporter.parts:
            reference = exporter.pipeline.steps[predictor.step].model or self._evaluator.suite.baseline.model
            model = await (await self._models.get(reference)).model()
            able += [predictor.step] if {"sampling", "seed"} <= model.capabilities else []
        return able

    def _example(self, row: int) -> dspy.Example:
        """Return a row as a DSPy example: its inputs, and its expected answer."""
        bound = self._evaluator.rows[row]
        fields: dict[str, Any] = {}
        for name, value in bound.inputs[0].items():
            fields[free_name(name, fields)] = value
        given = [ROW, *fields]
        if bound.expected and bound.expected[0] is not None:
            fields[free_name("expected", fields)] = bound.expected[0]
        return dspy.Example(**{ROW: row}, **fields).with_inputs(*given)

    def _feedback(
        self, gold: Any, prediction: Any, trace: Any = None, pred_name: Any = None, pred_trace: Any = None
    ) -> dspy.Prediction:
        """Return a score with feedback in words, for GEPA."""
        bound = self._evaluator.rows[gold[ROW]]
        expected = bound.expected[0] if bound.expected else None
        values = {
            "score": prediction.score,
            "problem": prediction.problem,
            "expected": "" if expected is None else _as_text(expected),
        }
        return dspy.Prediction(score=prediction.score, feedback=render_file(FEEDBACK, values))

    def _note(self, candidate: Candidate) -> None:
        """Record a candidate that is asked for the first time, and update the best so far."""
        self._asked.append(candidate)
        self._progress.begin_stage(self._name, len(self._asked))
        self._take(self._best())

    def _best(self) -> Candidate:
        """Return the candidate with the highest lower bound of its mean; the start if none has enough rows."""
        lows = {}
        for candidate in self._asked:
            scores = self._evaluator.scores(candidate, self._split.visible)
            there = scores[scores == scores]
            if len(there) >= LEAST_TRIAL_ROWS:
                binary = bool(((there == 0) | (there == 1)).all())
                lows[candidate.key] = bounded_mean(there, range(len(there)), binary=binary).low
        return max(
            (candidate for candidate in self._asked if candidate.key in lows),
            key=lambda candidate: lows[candidate.key],
            default=Candidate(),
        )

    def _take(self, candidate: Candidate) -> None:
        self.found.incumbent = self.found.calibrated = candidate
        rows = [row for row in self._split.visible if self._evaluator.result(candidate, row) is not None]
        self._progress.lead(candidate, rows, self._estimates.leader(candidate, rows))

    def _end(self, compiled: Program | None, exporter: Exporter, runner: ProgramRunner, before: int) -> None:
        """Set the incumbent, and record trials, notes and the stage."""
        incumbent = self._best()
        if compiled is not None:
            try:
                incumbent = exporter.candidate(compiled)
                self._evaluator.variant(incumbent)
            except InputError as error:
                runner.refused["; ".join(problem.message for problem in error.problems)] = None
                incumbent = self._best()
        elif self._broken_off:
            self._progress.note(f"`{self._name}` broke off, and its best so far is taken: {self._broken_off}")
        self._take(incumbent)
        notes = tuple(f"{problem}; such a program is not asked" for problem in runner.refused)
        for note in notes:
            self._progress.note(note)
        asked = distinct([incumbent, *self._asked])
        self.found.finalists = [incumbent]
        for candidate in asked:
            rows = tuple(row for row in self._split.visible if self._evaluator.result(candidate, row) is not None)
            is_incumbent = candidate.key == incumbent.key
            # A bootstrap asks each row without its own demonstration: these are no candidates.
            if is_incumbent or len(rows) >= LEAST_TRIAL_ROWS:
                why = "" if is_incumbent else f"`{self._name}` took another"
                at = None if is_incumbent else len(rows)
                self.found.add_trial(Trial(candidate=candidate, stage=self._name, rows=rows, dropped_at=at, why=why))
        most = max((len(trial.rows) for trial in self.found.trials.values()), default=0)
        calls = self._evaluator.budget.spent - before
        self.found.stages.append(
            Stage(
                name=self._name,
                step=None,
                candidates=len(self.found.trials),
                rows=most,
                calls=int(calls),
                notes=notes,
            )
        )


def _prediction_score(gold: Any, prediction: Any, trace: Any = None) -> float:
    """Return the score that the runner gave a prediction."""
    return float(prediction.score)


def _as_text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)


LOGGERS: Final = ("dspy", "optuna")
_PRINTING: Final = (
    bootstrap,
    random_search,
    teleprompt_utils,
    propose_utils,
    grounded_proposer,
    dataset_summary_generator,
)
_DRAWING: Final = (bootstrap, evaluate, parallelizer)


class _NoBar(tqdm):  # type: ignore[misc]
    def __init__(self, *arguments: Any, **settings: Any) -> None:
        super().__init__(*arguments, **{**settings, "disable": True})


def _print_nothing(*values: object, **settings: object) -> None:
    """Print nothing."""


@contextmanager
def quiet() -> Iterator[None]:
    """Silence DSPy's optimizers in the block, in all threads, and nothing else."""
    changed: list[tuple[Any, str, Any]] = [
        *((module, "print", _print_nothing) for module in _PRINTING),
        *((module, "tqdm", SimpleNamespace(tqdm=_NoBar)) for module in _DRAWING),
        (gepa.core.engine, "tqdm", _NoBar),
    ]
    before = [(module, name, vars(module).get(name)) for module, name, _ in changed]
    loggers = [logging.getLogger(name) for name in LOGGERS]
    levels = [logger.level for logger in loggers]
    try:
        for module, name, value in changed:
            setattr(module, name, value)
        for logger in loggers:
            logger.setLevel(logging.CRITICAL + 1)
        yield
    finally:
        for module, name, value in before:
            if value is None:
                delattr(module, name)
            else:
                setattr(module, name, value)
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
