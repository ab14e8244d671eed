"""The minimal incumbent: changes that are not sent, and those that bring nothing, are taken back."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from typing import Any, Final, Literal

from promptkit.errors import BudgetSpent
from promptkit.evaluation.statistics.interval import NORMAL_QUANTILE
from promptkit.tuning.evaluator import Evaluator, partition_valid
from promptkit.tuning.pareto import is_as_good
from promptkit.tuning.search.contributions import Contributions, paired_lead, screened_contributions
from promptkit.tuning.search.elimination import LEAST_PAIRS, WORTH, Elimination, WithoutGroup
from promptkit.tuning.search_space.candidate import Candidate, Choice
from promptkit.tuning.search_space.equal_requests import FINGERPRINT_ROWS
from promptkit.tuning.trials import Estimates, SearchResult, Trial, limited_budget

ELIMINATION_SHARE: Final = 0.1
"""The share of the search's calls that is kept for taking changes back."""
DEAR_SHARE: Final = 0.2
"""The largest share of the search's calls that is kept where an incumbent may take several requests a row."""
DEAR_TESTS: Final = 3
"""The tests on the fewest rows that such an incumbent should have."""
UNSENT_ROWS: Final = 8
"""The rows on which the requests with a change and without it are compared."""
TEST_ROWS: Final = 40
"""The rows on which a candidate without some changes is compared, as far as calls reach."""
STAGE: Final = "eliminate"
NEEDED: Final = "the incumbent needs what was taken back"
"""Why a candidate without some changes was dropped."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TakenBack:
    """A change that was taken back, or some of its settings, and why.

    `difference`, `low` and `high`: its expected contribution, in the metric's own units, with a 95 % interval; None for
    one that was not sent. `rows`: the search rows that the candidate without it was compared on.
    """

    parameter: str
    choice: str
    why: Literal["not sent", "same answers", "no gain", "preferred"]
    difference: float | None = None
    low: float | None = None
    high: float | None = None
    rows: int = 0

    def record(self) -> dict[str, Any]:
        """Return it as JSON has it."""
        return {
            "axis": self.parameter,
            "level": self.choice,
            "why": self.why,
            "difference": self.difference,
            "low": self.low,
            "high": self.high,
            "rows": self.rows,
        }


def search_calls(calls: int, calls_a_row: float, dearest: float) -> int:
    """Return the calls of a search without those that are kept for taking changes back.

    A row of the start takes `calls_a_row`, one of the dearest candidate `dearest`: more is kept for one that is dearer
    than the start. None are kept if they would not pay for one test at the start's cost.
    """
    kept = int(ELIMINATION_SHARE * calls)
    if kept < LEAST_PAIRS * calls_a_row:
        return calls
    if dearest > calls_a_row:
        kept = max(kept, int(min(DEAR_SHARE * calls, DEAR_TESTS * LEAST_PAIRS * dearest)))
    return calls - kept


async def minimize(
    estimates: Estimates,
    result: SearchResult,
    order: Sequence[int],
    calls: int,
    *,
    only: Collection[str] | None = None,
) -> list[TakenBack]:
    """Take back what is not sent and what brings nothing from a result's incumbent, within a number of calls.

    `order` holds the search rows in the order in which they were asked. `only`: the parameters whose changes may be
    taken back because they bring nothing; None for all, whose requests are then compared first. The result gets the
    smaller incumbent and its calibration. Returns what was taken back. Raises SearchFailed and StoreFailed.
    """
    before = result.incumbent
    taken_back = await _take_back_unsent(estimates.evaluator, result, order) if only is None else []
    with limited_budget(estimates.evaluator.budget, calls):
        taken_back += await _eliminate(estimates, result, order, only)
    if result.incumbent.key != before.key:
        trial = result.trials.get(result.incumbent.key)
        result.calibrated = await estimates.calibration.freeze(result.incumbent, trial.rows if trial else ())
    return taken_back


async def _take_back_unsent(evaluator: Evaluator, result: SearchResult, order: Sequence[int]) -> list[TakenBack]:
    """Take back each change, or setting of a change, without which all requests are the same."""
    taken_back = []
    for parameter, choice in tuple(result.incumbent.choices.items()):
        for unsent, rest in ((choice.name, None), *_without_settings(choice)):
            without = result.incumbent.with_choice(parameter, rest)
            if await _sends_the_same(evaluator, result.incumbent, without, order[:UNSENT_ROWS]):
                _replace_incumbent(evaluator, result, without)
                taken_back.append(TakenBack(parameter=parameter, choice=unsent, why="not sent"))
                break
    return taken_back


def _without_settings(choice: Choice) -> Iterator[tuple[str, Choice]]:
    """Yield the settings of a choice that may go, the most first: their names, and the choice without them."""
    settings = list(choice.changes)
    for count in range(len(settings) - 1, 0, -1):
        for unsent in combinations(settings, count):
            kept = [setting for setting in settings if setting not in unsent]
            named = [setting.partition(".")[2] for setting in (*unsent, *kept)]
            rest = f"{choice.name} (only {', '.join(named[count:])})"
            changes = {setting: choice.changes[setting] for setting in kept}
            yield f"{', '.join(named[:count])} of {choice.name}", replace(choice, name=rest, changes=changes)


async def _sends_the_same(evaluator: Evaluator, candidate: Candidate, without: Candidate, rows: Sequence[int]) -> bool:
    if not partition_valid(evaluator, [without])[0]:
        return False
    one, other = [await evaluator.rehearse(compared, rows) for compared in (candidate, without)]
    return one.key == other.key


def _replace_incumbent(evaluator: Evaluator, result: SearchResult, without: Candidate) -> None:
    """Put a candidate that sends the same requests in the incumbent's place, with its results and its trial."""
    evaluator.share_results(without, result.incumbent)
    trial = result.trials.pop(result.incumbent.key, None)
    if trial is not None:
        _add_trial(result, replace(trial, candidate=without))
    result.incumbent = without


async def _eliminate(
    estimates: Estimates, result: SearchResult, order: Sequence[int], only: Collection[str] | None
) -> list[TakenBack]:
    """Take back the changes that bring nothing, as far as the calls reach."""
    evaluator, first = estimates.evaluator, result.incumbent
    if first.key not in result.trials:
        return []
    names = [name for name in first.choices if only is None or name in only]
    removable = [name for name in names if await _may_go(evaluator, first, name, order)]
    elimination = Elimination(known_contributions(estimates, result), removable)
    taken_back: list[TakenBack] = []
    while group := elimination.ask():
        without = result.incumbent
        for name in group:
            without = without.with_choice(name, None)
        test = await _test(estimates, elimination, group, result.incumbent, without, order)
        if test is None:
            break
        compared, rows = test
        stays_out = elimination.tell(group, compared)
        at, why = (None, "") if stays_out else (len(rows), NEEDED)
        _add_trial(result, Trial(candidate=result.incumbent, stage=STAGE, rows=rows))
        _add_trial(result, Trial(candidate=without, stage=STAGE, rows=rows, dropped_at=at, why=why))
        if stays_out:
            result.incumbent = without
            taken_back += [
                _taken_back(estimates, first, elimination.contributions, name, compared, len(rows)) for name in group
            ]
    return taken_back


async def _test(
    estimates: Estimates,
    elimination: Elimination,
    group: Sequence[str],
    incumbent: Candidate,
    without: Candidate,
    order: Sequence[int],
) -> tuple[WithoutGroup, tuple[int, ...]] | None:
    """Compare the incumbent without a group on a few rows, and on more unless these show that it is needed.

    Returns the comparison and its rows; None if the calls do not hold the fewest rows.
    """
    test: tuple[WithoutGroup, tuple[int, ...]] | None = None
    for most in (LEAST_PAIRS, TEST_ROWS):
        rows = _affordable_rows(estimates.evaluator, incumbent, without, order[:most])
        if len(rows) < LEAST_PAIRS:
            return None
        try:
            await estimates.evaluator.evaluate([incumbent, without], rows)
        except BudgetSpent:
            return None
        test = _compared(estimates, incumbent, without, rows), rows
        if elimination.is_needed(group, test[0]):
            break
    return test


async def _may_go(evaluator: Evaluator, candidate: Candidate, name: str, order: Sequence[int]) -> bool:
    """Tell whether the target can do without a change, and takes no more then, as far as is known without a call."""
    without = candidate.with_choice(name, None)
    if candidate.choices[name].requests < 1 or not partition_valid(evaluator, [without])[0]:
        return False
    rows = order[:FINGERPRINT_ROWS]
    length, shorter = [(await evaluator.rehearse(compared, rows)).length for compared in (candidate, without)]
    return length is None or shorter is None or shorter <= length


def _affordable_rows(
    evaluator: Evaluator, incumbent: Candidate, without: Candidate, order: Sequence[int]
) -> tuple[int, ...]:
    """Return the first rows whose missing results by both candidates the calls hold."""
    known = list(evaluator.results(incumbent, order))
    cost = max(1.0, sum(result.calls for result in known) / max(1, len(known)))
    left, rows = evaluator.budget.most - evaluator.budget.spent, list[int]()
    for row in order:
        left -= cost * sum(evaluator.result(candidate, row) is None for candidate in (incumbent, without))
        if left < 0:
            break
        rows.append(row)
    return tuple(rows)


def _compared(estimates: Estimates, incumbent: Candidate, without: Candidate, rows: Sequence[int]) -> WithoutGroup:
    lead, variance, pairs = _lead(estimates, incumbent, without, rows)
    tokens, others = (estimates.means(candidate, rows).tokens for candidate in (incumbent, without))
    pairs_of_results = (
        [estimates.evaluator.result(candidate, row) for candidate in (incumbent, without)] for row in rows
    )
    is_same = lead == 0 and all(one and other and one.output == other.output for one, other in pairs_of_results)
    is_preferred = estimates.preference.keeps_cheap and is_as_good(estimates, incumbent, without, rows)
    return WithoutGroup(
        lead=lead,
        variance=variance,
        pairs=pairs,
        is_same=is_same,
        is_shorter=others <= tokens,
        is_preferred=is_preferred,
    )


def _lead(
    estimates: Estimates, candidate: Candidate, other: Candidate, rows: Sequence[int]
) -> tuple[float, float, int]:
    ours, theirs = (estimates.calibration.scores(compared, rows) for compared in (candidate, other))
    return paired_lead(ours, theirs, estimates.evaluator.clusters(rows))


def _add_trial(result: SearchResult, trial: Trial) -> None:
    """Add a trial; an earlier one of the same candidate on as many rows keeps its stage and rows."""
    before = result.trials.get(trial.candidate.key)
    if before is not None and len(before.rows) >= len(trial.rows):
        trial = replace(before, dropped_at=trial.dropped_at, why=trial.why)
    result.add_trial(trial)


def _taken_back(
    estimates: Estimates,
    candidate: Candidate,
    contributions: Contributions,
    name: str,
    compared: WithoutGroup,
    rows: int,
) -> TakenBack:
    low, mean, high = contribution_interval(estimates.evaluator, contributions, name)
    is_preferred = compared.is_preferred and contributions.of([name])[0] >= WORTH
    return TakenBack(
        parameter=name,
        choice=candidate.choices[name].name,
        why="same answers" if compared.is_same else "preferred" if is_preferred else "no gain",
        difference=mean,
        low=low,
        high=high,
        rows=rows,
    )


def known_contributions(estimates: Estimates, result: SearchResult) -> Contributions:
    """Return the contributions of the incumbent's changes, as the search knows them.

    The screen's estimates, updated by each trial of a candidate that has only some of the changes, on the rows that
    both have.
    """
    incumbent = result.incumbent
    contributions = screened_contributions(incumbent, result.effects)
    rows = set(result.trials[incumbent.key].rows) if incumbent.key in result.trials else set[int]()
    for trial in result.trials.values():
        taken_back = _taken_back_names(incumbent, trial.candidate)
        shared = [row for row in trial.rows if row in rows]
        lead, variance, pairs = _lead(estimates, incumbent, trial.candidate, shared)
        if taken_back and pairs:
            contributions = contributions.observe(taken_back, lead, variance)
    return contributions


def _taken_back_names(candidate: Candidate, other: Candidate) -> Collection[str]:
    """Return the changes that another candidate lacks; empty if it has any that the first has not."""
    if any(candidate.choices.get(name) != choice for name, choice in other.choices.items()):
        return ()
    return [name for name in candidate.choices if name not in other.choices]


def contribution_interval(evaluator: Evaluator, contributions: Contributions, name: str) -> tuple[float, float, float]:
    """Return the contribution of a change with its 95 % interval, in the metric's own units: low, mean, high."""
    bounds = evaluator.metric.bounds
    assert bounds is not None, "an objective has bounds"
    width = bounds[1] - bounds[0]
    mean, error = contributions.of([name])
    return width * (mean - NORMAL_QUANTILE * error), width * mean, width * (mean + NORMAL_QUANTILE * error)
