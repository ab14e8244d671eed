"""The start measured on a few rows: what a row costs, and whether the budget holds a search and a confirmation."""

from __future__ import annotations

from promptkit.errors import BudgetSpent, InputError, place
from promptkit.tuning.budget import TuningBudget, check_budget, estimated_calls
from promptkit.tuning.costs import RowCost, row_cost
from promptkit.tuning.data_split import DataSplit
from promptkit.tuning.evaluator import Evaluator, SearchFailed
from promptkit.tuning.options import Limits
from promptkit.tuning.repeatability import is_asked_again
from promptkit.tuning.search.race import SMOKE_ROWS
from promptkit.tuning.search_space.candidate import AGAIN, Candidate


async def measured_start(
    evaluator: Evaluator, split: DataSplit, budget: TuningBudget, limits: Limits, *, parallel: int
) -> RowCost:
    """Evaluate the start on the first search rows, twice if that is cheap, and return the cost of a row.

    `parallel` requests run at the same time. Raises SearchFailed if the start answers none of the rows, and InputError
    if the limits hold no search and no confirmation at this cost.
    """
    rows, before = split.search[:SMOKE_ROWS], budget.seconds
    starts = [Candidate()]
    spent: BudgetSpent | None = None
    try:
        likely, rest = RowCost(calls=estimated_calls(split), tokens=0.0, seconds=0.0), rows
        if limits.tokens is not None or limits.minutes is not None:
            await evaluator.evaluate([Candidate()], rows[:1])
            results, rest = list(evaluator.results(Candidate(), rows[:1])), rows[1:]
            likely = row_cost(results, seconds=budget.seconds - before, parallel=parallel)
        if is_asked_again(split, likely, budget.limits_left, rows=len(rest)):
            starts.append(AGAIN)
        await evaluator.evaluate(starts, rest)
    except BudgetSpent as error:
        spent = error
    results = list(evaluator.results(Candidate(), rows))
    if results and all(result.score is None for result in results):
        hint = f"`promptkit eval {place(evaluator.suite.file)} --limit {len(rows)}` shows each row"
        message = f"the start answers none of the first {len(rows)} rows: {results[0].problem}"
        raise SearchFailed(message, hint=hint)
    elapsed = budget.seconds
    asked = sum(not result.kept for again in starts for result in evaluator.results(again, rows))
    is_asked = evaluator.requests_sent and asked
    seconds = (elapsed - before) * len(rows) / asked if is_asked else 0.0
    cost = row_cost(results, seconds=seconds, parallel=parallel)
    began = 0.0 if evaluator.requests_sent else elapsed
    check_budget(limits, cost, len(split.holdout), search_rows=len(split.search), elapsed=began)
    if spent is not None:
        limit = budget.budget.ended or "calls"
        given = limits.record().get(limit) or 0
        message = f"--budget {limit}={given:g} is too small: it does not cover the start on {len(rows)} rows"
        raise InputError(message, hint=f"give several times as much, such as {limit}={10 * given:g}") from spent
    return cost
