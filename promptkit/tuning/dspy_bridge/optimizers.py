"""DSPy's optimizers, each with settings that fit a number of calls. Their defaults where the calls hold them."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import dspy
from dspy.teleprompt.gepa import InstructionProposer

from promptkit.tuning.dspy_bridge.model import StepAdapter
from promptkit.tuning.dspy_bridge.program import Program
from promptkit.tuning.search_space.bootstrap import RIGHT

NO_LIMIT: Final = 10**9
"""The limit of errors: DSPy counts failed rows as wrong up to its limit. Failures of ours end the optimizer at once."""
DEMOS: Final = 4
"""The most demonstrations of each kind: DSPy's own number for contexts that are not large."""
ATTEMPTS: Final = 2 * DEMOS
"""About how many rows bootstrapping a set of demonstrations takes."""
PROPOSAL_CALLS: Final = 20
MINIBATCH, LEAST_MINIBATCHED, FULL_EVALUATIONS = 35, 50, 5
"""MIPROv2: rows of a minibatch, the number of rows from which it uses any, and the trials between full evaluations."""
AUTOMATIC: Final = {"heavy": (18, 1_000), "medium": (12, 300), "light": (6, 100)}
"""MIPROv2: its candidates and validation rows."""
REFLECTION_TEMPERATURE: Final = 1.0
"""GEPA: the temperature of its authors."""
LEAST_ROWS: Final = 8
ENOUGH_CALLS: Final = 0.85
"""The share of an optimizer's estimated calls that must be available. The estimate is rough; a shortage cuts the
end.
"""

Metric = Callable[..., Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class OptimizerSettings:
    """The settings of an optimizer.

    `runs`: how often the calls allow a row to be answered. `steps`: the number of predictors. `metric` scores an
    example's prediction in [0, 1]; `feedback` does so with words. `train` and `val` are examples.
    """

    metric: Metric
    feedback: Metric
    lm: dspy.LM
    train: Sequence[dspy.Example]
    val: Sequence[dspy.Example]
    runs: int
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
    auto = next((name for name in AUTOMATIC if ENOUGH_CALLS * _mipro_calls(name, settings) <= settings.runs), None)
    candidates = 4
    rows = _clamp(settings.runs // ATTEMPTS, LEAST_ROWS, len(settings.val))
    before = candidates * ATTEMPTS + PROPOSAL_CALLS + rows
    optimizer = dspy.MIPROv2(
        metric=settings.metric,
        metric_threshold=RIGHT,
        auto=auto,
        num_candidates=None if auto else candidates,
        max_bootstrapped_demos=DEMOS,
        max_labeled_demos=DEMOS,
        num_threads=settings.threads,
        max_errors=NO_LIMIT,
        seed=settings.seed,
    )
    # Otherwise it would describe the code of this bridge as the program.
    given: dict[str, Any] = {"program_aware_proposer": False}
    if auto is None:
        given |= {"num_trials": _clamp((settings.runs - before) // rows, 1, 20), "minibatch": False}
    val = list(settings.val if auto else settings.val[:rows])
    return optimizer.compile(program, trainset=list(settings.train), valset=val, **given)  # type: ignore[no-any-return]


def _mipro_calls(auto: str, settings: OptimizerSettings) -> float:
    candidates, most = AUTOMATIC[auto]
    rows = min(most, len(settings.val))
    trials = int(max(4 * settings.steps * math.log2(candidates), 1.5 * candidates))
    if rows > LEAST_MINIBATCHED:
        asked = rows + MINIBATCH * trials + rows * (trials // FULL_EVALUATIONS)
    else:
        asked = rows + rows * trials
    return asked + candidates * ATTEMPTS / 2 + PROPOSAL_CALLS * settings.steps


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
