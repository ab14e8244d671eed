"""MIPROv2 on a number of calls: its own settings where the calls hold them, fewer rows or more trials where not."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from math import ceil, log2, prod
from typing import Any, Final

import dspy
from dspy.teleprompt.utils import get_signature, set_signature

AUTOMATIC: Final = {"heavy": (18, 1_000), "medium": (12, 300), "light": (6, 100)}
"""DSPy's settings: the number of sets of demonstrations, and the most validation rows."""
FEWEST_SETS, LIGHT_SETS = 4, 6
"""The sets of demonstrations with fewer calls than `light` takes; the first three are none, labelled, and in order."""
LEAST_ROWS, LIGHT_LEAST_ROWS = 8, 12
"""The fewest validation rows, and the fewest on which the sets of `light` are compared."""
MINIBATCH, LEAST_MINIBATCHED, FULL_EVALUATIONS = 35, 50, 5
"""Rows of a minibatch, the number of rows above which it is used, and the trials between full evaluations."""
ATTEMPTS: Final = 8
"""About how many rows bootstrapping a set of four demonstrations takes, if half of the answers are right."""
SURPLUS_TRIALS: Final = 3
"""Times the usual trials: repeated combinations cost nothing, and a trial that the calls do not hold is not asked."""
TRAIN_SHARE: Final = 0.2
"""DSPy's share of the rows for demonstrations if it is given no validation rows."""
MOST_SUMMARIES, SUMMARIZED_ROWS = 11, 10
"""The most calls that summarize the data for proposals, and the rows that each reads."""
ENOUGH_CALLS: Final = 0.85
"""The share of an automatic setting's estimated calls that must be available: the estimate is rough."""


class FittedMIPROv2(dspy.MIPROv2):  # type: ignore[misc]  # DSPy has no types
    """MIPROv2 whose trials use the calls that are left after its demonstrations and proposals.

    `runs_left` returns how many answers to a row are left. `can_ask` tells whether a program can be asked, and whether
    that many hold the rows on which it has no answer yet.
    """

    def __init__(
        self, *, runs_left: Callable[[], int], can_ask: Callable[[Any, Sequence[Any]], bool], **settings: Any
    ) -> None:
        super().__init__(**settings)
        self._runs_left = runs_left
        self._can_ask = can_ask

    def _optimize_prompt_parameters(
        self,
        program: Any,
        instruction_candidates: Mapping[int, Sequence[str]],
        demo_candidates: Mapping[int, Sequence[Any]],
        evaluate: Any,
        valset: Sequence[Any],
        num_trials: int,
        minibatch: bool,
        *others: Any,
    ) -> Any:
        """Return the best program, from as many rows and trials as the calls hold.

        Refused instructions are left out: their trials would count as wrong.
        """
        instructions = {
            place: [text for text in texts if self._can_ask(_instructed(program, place, text), ())]
            for place, texts in instruction_candidates.items()
        }
        if not minibatch:
            combinations = prod(len(texts) * len(demo_candidates[place]) for place, texts in instructions.items())
            valset = valset[: max(LEAST_ROWS, self._runs_left() // min(1 + num_trials, combinations))]

        def evaluate_within(candidate: Any, *, devset: Sequence[Any], **how: Any) -> Any:
            if not self._can_ask(candidate, devset):
                raise ValueError("the calls left do not hold it")  # DSPy counts it as wrong.
            return evaluate(candidate, devset=devset, **how)

        return super()._optimize_prompt_parameters(
            program,
            instructions,
            demo_candidates,
            evaluate_within,
            valset,
            SURPLUS_TRIALS * num_trials,
            minibatch,
            *others,
        )


def _instructed(program: Any, place: int, instructions: str) -> Any:
    """Return a copy of a program with other instructions of one predictor."""
    changed = program.deepcopy()
    predictor = changed.predictors()[place]
    set_signature(predictor, get_signature(predictor).with_instructions(instructions))
    return changed


def fitting_settings(runs: int, *, rows: int, steps: int) -> dict[str, Any]:
    """Return `auto`, or the numbers of sets of demonstrations, of instructions and of trials, for MIPROv2.

    The largest automatic setting that `runs` answers to a row hold; with fewer, the sets of `light` or fewer on as many
    rows as they allow. `rows`: those of the data, before DSPy's own split. `steps`: the number of predictors.
    """
    train = rows - int((1 - TRAIN_SHARE) * rows)
    val = rows - train
    for name, (sets, most) in AUTOMATIC.items():
        if ENOUGH_CALLS * _calls(sets, min(most, val), train, steps) <= runs:
            return {"auto": name}
    fits = _calls(LIGHT_SETS, min(LIGHT_LEAST_ROWS, val), train, steps) <= runs
    sets = LIGHT_SETS if fits else FEWEST_SETS
    return {"auto": None, "sets": sets, "instructions": sets // 2, "trials": trial_count(sets, steps)}


def trial_count(sets: int, steps: int) -> int:
    """Return DSPy's number of trials for so many sets of demonstrations and predictors."""
    return int(max(4 * steps * log2(sets), 1.5 * sets))


def _calls(sets: int, val: int, train: int, steps: int) -> float:
    """Return about how many calls MIPROv2 takes with these numbers of sets and of rows."""
    trials = trial_count(sets, steps)
    if val > LEAST_MINIBATCHED:
        evaluations = val + MINIBATCH * trials + val * (trials // FULL_EVALUATIONS)
    else:
        evaluations = val + val * trials
    summaries = min(MOST_SUMMARIES, 1 + ceil(train / SUMMARIZED_ROWS))
    return evaluations + (sets - 2) * ATTEMPTS / 2 + summaries + sets // 2 * steps
