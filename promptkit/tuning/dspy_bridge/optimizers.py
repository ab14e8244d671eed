"""DSPy's optimizers, each with settings that fit a number of calls. Their defaults where the calls hold them."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import dspy
from dspy.teleprompt.gepa import InstructionProposer

from promptkit.tuning.dspy_bridge.mipro import ATTEMPTS, LEAST_ROWS, FittedMIPROv2, fitting_settings
from promptkit.tuning.dspy_bridge.model import StepAdapter
from promptkit.tuning.dspy_bridge.program import Program
from promptkit.tuning.search_space.bootstrap import RIGHT

NO_LIMIT: Final = 10**9
"""The limit of errors: DSPy counts failed rows as wrong up to its limit. Failures of ours end the optimizer at once."""
DEMOS: Final = 4
"""The most demonstrations of each kind: DSPy's own number for contexts that are not large."""
REFLECTION_TEMPERATURE: Final = 1.0
"""GEPA: the temperature of its authors."""

Metric = Callable[..., Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class OptimizerSettings:
    """The settings of an optimizer.

    `runs`: how often the calls allow a row to be answered; `runs_left` returns how often they still do. `steps`: the
    number of predictors. `can_ask` tells whether a program can be asked, and about these examples with what is left.
    `metric` scores an example's prediction in [0, 1]; `feedback` does so with words. `train` and `val` are examples.
    """

    metric: Metric
    feedback: Metric
    lm: dspy.LM
    train: Sequence[dspy.Example]
    val: Sequence[dspy.Example]
    runs: int
    runs_left: Callable[[], int]
    can_ask: Callable[[Program, Sequence[dspy.Example]], bool]
    steps: int
    threads: int
    seed: int

    @property
    def all(self) -> list[dspy.Example]:
        return [*self.train, *self.val]


def bootstrap_few_shot(program: Program, settings: OptimizerSettings) -> Program:
    """Demonstrations from the program's own right answers; nothing is compared."""
    optimizer = dspy.BootstrapFewShot(
        metric=settings.metric,
        metric_threshold=RIGHT,
        max_bootstrapped_demos=DEMOS,
        max_labeled_demos=DEMOS,
        max_errors=NO_LIMIT,
    )
    return optimizer.compile(program, trainset=settings.all[: settings.runs])  # type: ignore[no-any-return]


def random_search(program: Program, settings: OptimizerSettings) -> Program:
    """Sets of bootstrapped demonstrations, the best on the validation rows."""
    rows = _clamp(settings.runs // ATTEMPTS, LEAST_ROWS, len(settings.val))
    optimizer = dspy.BootstrapFewShotWithRandomSearch(
        metric=settings.metric,
        metric_threshold=RIGHT,
        max_bootstrapped_demos=DEMOS,
        max_labeled_demos=DEMOS,
        num_candidate_programs=_clamp(settings.runs // (rows + ATTEMPTS) - 3, 1, 16),
        num_threads=settings.threads,
        max_errors=NO_LIMIT,
    )
    compiled = optimizer.compile(program, trainset=list(settings.train), valset=list(settings.val[:rows]))
    return compiled  # type: ignore[no-any-return]


def miprov2(program: Program, settings: OptimizerSettings) -> Program:
    """Sets of demonstrations and proposed instructions, searched by a tree-structured Parzen estimator."""
    fitting = fitting_settings(settings.runs, rows=len(settings.all), steps=settings.steps)
    optimizer = FittedMIPROv2(
        runs_left=settings.runs_left,
        can_ask=settings.can_ask,
        metric=settings.metric,
        metric_threshold=RIGHT,
        auto=fitting["auto"],
        num_candidates=fitting.get("sets"),
        max_bootstrapped_demos=DEMOS,
        max_labeled_demos=DEMOS,
        num_threads=settings.threads,
        max_errors=NO_LIMIT,
        seed=settings.seed,
    )
    # Otherwise it would describe the code of this bridge as the program.
    given: dict[str, Any] = {"program_aware_proposer": False}
    if fitting["auto"] is None:
        optimizer.num_instruct_candidates = fitting["instructions"]
        given |= {"num_trials": fitting["trials"], "minibatch": False}
    return optimizer.compile(program, trainset=settings.all, **given)  # type: ignore[no-any-return]


def copro(program: Program, settings: OptimizerSettings) -> Program:
    """Instructions proposed in rounds, each from the best of earlier ones."""
    depth = 2 if settings.runs < 1_000 else 3
    breadth = _clamp(int(math.sqrt(settings.runs) / depth / settings.steps), 2, 10)
    rows = _clamp(settings.runs // (breadth * depth * settings.steps), LEAST_ROWS, len(settings.all))
    optimizer = dspy.COPRO(metric=settings.metric, breadth=breadth, depth=depth)
    how = {"num_threads": settings.threads}
    return optimizer.compile(program, trainset=settings.all[:rows], eval_kwargs=how)  # type: ignore[no-any-return]


def simba(program: Program, settings: OptimizerSettings) -> Program:
    """Demonstrations and rules from rows on which samples of one program differ."""
    candidates = 6 if settings.runs >= 2_000 else 4
    rows = _clamp(settings.runs // (3 * (candidates + 1)), LEAST_ROWS, len(settings.all))
    batch = _clamp(settings.runs // (6 * candidates), min(4, rows), min(32, rows))
    left = settings.runs - (candidates + 1) * rows
    optimizer = dspy.SIMBA(
        metric=settings.metric,
        bsize=batch,
        num_candidates=candidates,
        max_steps=_clamp(left // ((2 * candidates + 1) * batch), 1, 8),
        max_demos=DEMOS,
        num_threads=settings.threads,
    )
    return optimizer.compile(program, trainset=settings.all[:rows], seed=settings.seed)  # type: ignore[no-any-return]


def gepa(program: Program, settings: OptimizerSettings) -> Program:
    """Instructions rewritten by feedback on wrong answers, with parents from the Pareto front over rows."""
    rows = _clamp(settings.runs // 10, LEAST_ROWS, len(settings.val))
    optimizer = dspy.GEPA(
        metric=settings.feedback,
        max_metric_calls=max(rows + 1, settings.runs - settings.runs // ATTEMPTS),
        reflection_lm=settings.lm.copy(temperature=REFLECTION_TEMPERATURE),
        instruction_proposer=InstructionProposer(adapter=StepAdapter()),
        num_threads=settings.threads,
        seed=settings.seed,
    )
    compiled = optimizer.compile(program, trainset=list(settings.train), valset=list(settings.val[:rows]))
    return compiled  # type: ignore[no-any-return]


def _clamp(number: int, least: int, most: int) -> int:
    return max(min(number, most), min(least, most))


OPTIMIZERS: Final[Mapping[str, Callable[[Program, OptimizerSettings], Program]]] = {
    optimizer.__name__: optimizer for optimizer in (bootstrap_few_shot, random_search, miprov2, copro, simba, gepa)
}
