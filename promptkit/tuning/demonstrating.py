"""Demonstrations that a tuning has the model make before it searches: where data has none, and with thoughts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Final

from promptkit.tuning.bootstrap import THINKING, from_runs, with_thoughts
from promptkit.tuning.candidate import Axis, Candidate

if TYPE_CHECKING:
    from promptkit.runtimes import Model
    from promptkit.tuning.demonstration import Demonstration, Made
    from promptkit.tuning.steps import Beds

SHARE: Final = 0.1
"""Of the search's calls, for each of the two."""
LEAST_CALLS: Final = 20
FROM_RUNS, SOLVED = "from its own runs", "that it solved"


async def made_demonstrations(
    beds: Beds, axes: Sequence[Axis], models: Mapping[str, Model], *, calls: int, most_requests: float
) -> Made:
    """Return what the model made, by step and by what tells the pools apart; nothing where there are few calls.

    Of several steps those without examples from the data get their own inputs and answers in runs that ended right.
    A step that may think gets rows that it solved, with its thoughts, which are shown where its technique thinks.
    `models` are those of the steps that may vary in their examples. Raises what `Field.have` raises.
    """
    share = int(SHARE * calls)
    made: dict[str, dict[str, Sequence[Demonstration]]] = {}
    if share < LEAST_CALLS:
        return made
    has = {axis.step for axis in axes if any(level.changes.get(f"{axis.step}.examples") for level in axis.levels)}
    lacking = [step for step in models if step not in has]
    whole = beds.whole
    if lacking and len(models) > 1:
        found = await from_runs(whole.evidence.field, whole.ground.pool, Candidate(), most_calls=share)
        made |= {step: {FROM_RUNS: pool} for step, pool in found.items() if step in lacking and pool}
    thinking = [step for step in models if _may_think(step, axes, most_requests)]
    for step in thinking:
        bed = beds.alone.get(step, whole)
        pool = await with_thoughts(
            bed.evidence.field,
            bed.ground.pool,
            Candidate(),
            step,
            model=models[step],
            most_calls=share // len(thinking),
        )
        if pool:
            made.setdefault(step, {})[SOLVED] = pool
    return made


def _may_think(step: str, axes: Sequence[Axis], most_requests: float) -> bool:
    """Tell whether a level of a step thinks in one go before it answers, at a price that can be confirmed."""
    levels = (level for axis in axes if axis.step == step and axis.kind == "technique" for level in axis.levels)
    return any(
        level.requests <= most_requests and THINKING in str(level.changes.get(f"{step}.technique", ""))
        for level in levels
    )
