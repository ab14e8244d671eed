"""DSPy's optimizers, each with settings that fit a number of calls. Their defaults where the calls hold them."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import dspy
from dspy.teleprompt.gepa import InstructionProposer

from promptkit.tuning.dspy_bridge.model import StepAdapter
from promptkit.tuning.search_space.bootstrap import RIGHT

if TYPE_CHECKING:
    from promptkit.tuning.dspy_bridge.program import Program

NO_LIMIT: Final = 10**9
"""Of errors: DSPy counts failed rows as wrong up to its limit. What fails of ours ends the optimizer at once."""
DEMOS: Final = 4
"""Demonstrations of each kind at most: DSPy's own number where contexts are not large."""
ATTEMPTS: Final = 2 * DEMOS
"""About how many rows it takes to bootstrap a set of demonstrations."""
PROPOSAL_CALLS: Final = 20
MINIBATCH, LEAST_MINIBATCHED, FULL_EVALUATIONS = 35, 50, 5
"""Of MIPROv2: rows of a minibatch, from how many rows on there are any, and after how many trials all are asked."""
AUTOMATIC: Final = {"heavy": (18, 1_000), "medium": (12, 300), "light": (6, 100)}
"""Of MIPROv2: its candidates and validation rows."""
REFLECTION_TEMPERATURE: Final = 1.0
"""Of GEPA: what its authors reflect at."""
LEAST_ROWS: Final = 8
ENOUGH_CALLS: Final = 0.85
"""The share of an optimizer's reckoned calls that must be there: the reckoning is rough, and what is cut is the end."""

Metric = Callable[..., Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class OptimizerSettings:
    """What an optimizer works with. `runs` is how often the calls let a row be answered, `steps` are the predictors.

    `metric` scores an example's prediction in [0, 1]; `feedback` does so with words. `train` and `val` are examples.
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


def bootstrap_few_shot(program: Program, setting: OptimizerSettings) -> Program:
    """Demonstrations from the program's own right answers; nothing is compared."""
    optimizer = dspy.BootstrapFewShot(
        metric=setting.metric,
        metric_threshold=RIGHT,
        max_bootstrapped_demos=DEMOS,
        max_labeled_demos=DEMOS,
        max_errors=NO_LIMIT,
    )
    return optimizer.compile(program, trainset=setting.all[: setting.runs])  # type: ignore[no-any-return]


def random_search(program: Program, setting: OptimizerSettings) -> Program:
    """Sets of such demonstrations, the best on the validation rows."""
    rows = _clamp(setting.runs // ATTEMPTS, LEAST_ROWS, len(setting.val))
    optimizer = dspy.BootstrapFewShotWithRandomSearch(
        metric=setting.metric,
        metric_threshold=RIGHT,
        max_bootstrapped_demos=DEMOS,
        max_labeled_demos=DEMOS,
        num_candidate_programs=_clamp(setting.runs // (rows + ATTEMPTS) - 3, 1, 16),
        num_threads=setting.threads,
        max_errors=NO_LIMIT,
    )
    found = optimizer.compile(program, trainset=list(setting.train), valset=list(setting.val[:rows]))
    return found  # type: ignore[no-any-return]


def miprov2(program: Program, setting: OptimizerSettings) -> Program:
    """Sets of demonstrations and proposed instructions, searched by a tree-structured Parzen estimator."""
    auto = next((name for name in AUTOMATIC if ENOUGH_CALLS * _mipro_calls(name, setting) <= setting.runs), None)
    candidates = 4
    rows = _clamp(setting.runs // ATTEMPTS, LEAST_ROWS, len(setting.val))
    before = candidates * ATTEMPTS + PROPOSAL_CALLS + rows
    optimizer = dspy.MIPROv2(
        metric=setting.metric,
        metric_threshold=RIGHT,
        auto=auto,
        num_candidates=None if auto else candidates,
        max_bootstrapped_demos=DEMOS,
        max_labeled_demos=DEMOS,
        num_threads=setting.threads,
        max_errors=NO_LIMIT,
        seed=setting.seed,
    )
    # Its description of the program would be one of this bridge.
    given: dict[str, Any] = {"program_aware_proposer": False}
    if auto is None:
        given |= {"num_trials": _clamp((setting.runs - before) // rows, 1, 20), "minibatch": False}
    val = list(setting.val if auto else setting.val[:rows])
    return optimizer.compile(program, trainset=list(setting.train), valset=val, **given)  # type: ignore[no-any-return]


def _mipro_calls(auto: str, setting: OptimizerSettings) -> float:
    candidates, most = AUTOMATIC[auto]
    rows = min(most, len(setting.val))
    trials = int(max(4 * setting.steps * math.log2(candidates), 1.5 * candidates))
    if rows > LEAST_MINIBATCHED:
        asked = rows + MINIBATCH * trials + rows * (trials // FULL_EVALUATIONS)
    else:
        asked = rows + rows * trials
    return asked + candidates * ATTEMPTS / 2 + PROPOSAL_CALLS * setting.steps


def copro(program: Program, setting: OptimizerSettings) -> Program:
    """Instructions proposed in rounds, each from the best of those before."""
    depth = 2 if setting.runs < 1_000 else 3
    breadth = _clamp(int(math.sqrt(setting.runs) / depth / setting.steps), 2, 10)
    rows = _clamp(setting.runs // (breadth * depth * setting.steps), LEAST_ROWS, len(setting.all))
    optimizer = dspy.COPRO(metric=setting.metric, breadth=breadth, depth=depth)
    how = {"num_threads": setting.threads}
    return optimizer.compile(program, trainset=setting.all[:rows], eval_kwargs=how)  # type: ignore[no-any-return]


def simba(program: Program, setting: OptimizerSettings) -> Program:
    """Demonstrations and rules from rows on which samples of one program differ."""
    candidates = 6 if setting.runs >= 2_000 else 4
    rows = _clamp(setting.runs // (3 * (candidates + 1)), LEAST_ROWS, len(setting.all))
    batch = _clamp(setting.runs // (6 * candidates), min(4, rows), min(32, rows))
    left = setting.runs - (candidates + 1) * rows
    optimizer = dspy.SIMBA(
        metric=setting.metric,
        bsize=batch,
        num_candidates=candidates,
        max_steps=_clamp(left // ((2 * candidates + 1) * batch), 1, 8),
        max_demos=DEMOS,
        num_threads=setting.threads,
    )
    return optimizer.compile(program, trainset=setting.all[:rows], seed=setting.seed)  # type: ignore[no-any-return]


def gepa(program: Program, setting: OptimizerSettings) -> Program:
    """Instructions rewritten by what is said of wrong answers, parents drawn from the Pareto front over rows."""
    rows = _clamp(setting.runs // 10, LEAST_ROWS, len(setting.val))
    optimizer = dspy.GEPA(
        metric=setting.feedback,
        max_metric_calls=max(rows + 1, setting.runs - setting.runs // ATTEMPTS),
        reflection_lm=setting.lm.copy(temperature=REFLECTION_TEMPERATURE),
        instruction_proposer=InstructionProposer(adapter=StepAdapter()),
        num_threads=setting.threads,
        seed=setting.seed,
    )
    found = optimizer.compile(program, trainset=list(setting.train), valset=list(setting.val[:rows]))
    return found  # type: ignore[no-any-return]


def _clamp(number: int, least: int, most: int) -> int:
    return max(min(number, most), min(least, most))


OPTIMIZERS: Final[Mapping[str, Callable[[Program, OptimizerSettings], Program]]] = {
    each.__name__: each for each in (bootstrap_few_shot, random_search, miprov2, copro, simba, gepa)
}
