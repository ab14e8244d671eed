"""More than one aim: who is on the front, and who of those that came far is preferred."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from promptkit.errors import InputError
from promptkit.runtimes.base import Reply, Request
from promptkit.runtimes.scripted import request_text
from promptkit.tuning.calibration import CandidateCalibration
from promptkit.tuning.pareto import late_trials, pareto_front, preferred_candidate
from promptkit.tuning.preference import Preference
from promptkit.tuning.search_space.candidate import Candidate, Choice
from promptkit.tuning.trials import Estimates, Trial, TrialMeans
from tests.engine.helpers import Folder
from tests.tuning.evaluators import open_evaluator
from tests.tuning.tunings import TuneBench, row_of, truth

ROWS = 40
START, LONG, SHORT = (
    Candidate(),
    Candidate({"mood.layout": Choice("markdown", {"mood.layout": "markdown"})}),
    Candidate({"mood.layout": Choice("prefix", {"mood.layout": "prefix"})}),
)
aims = st.builds(
    TrialMeans,
    score=st.sampled_from([0.0, 0.5, 1.0]),
    tokens=st.sampled_from([1.0, 2.0]),
    latency=st.sampled_from([0.1, 0.2]),
    unparsed=st.sampled_from([0.0, 0.5]),
    calls=st.just(1.0),
)


def which(request: Request) -> str:
    text = request_text(request)
    return "start" if "<INPUT>" in text else "long" if "##" in text else "short"


@asynccontextmanager
async def measured(folder: Folder, wrong: dict[str, int], tokens: dict[str, int]) -> AsyncIterator[Estimates]:
    """Have the cells of three candidates of which each gets the last so many rows wrong, at so many tokens."""

    def answer(request: Request) -> Reply:
        number, name = row_of(request), which(request)
        is_right = number < ROWS - wrong[name]
        text = truth(number) if is_right else {"good": "bad", "bad": "good"}[truth(number)]
        return Reply(text=text, tokens_in=tokens[name], tokens_out=0, seconds=0.01)

    bench = TuneBench(folder, ROWS)
    async with open_evaluator(bench, answer, bench.start()) as opened:
        await opened.evaluator.evaluate([START, LONG, SHORT], range(ROWS))
        yield Estimates(opened.evaluator, CandidateCalibration(opened.evaluator, None))


def preferred(estimates: Estimates, best: Candidate, trials: Sequence[Trial], prefer: str) -> Candidate:
    """Return what `--prefer` takes of the same estimates."""
    estimates.preference = Preference(prefer)
    return preferred_candidate(estimates, best, trials)


def seen(candidate: Candidate, rows: int = ROWS) -> Trial:
    return Trial(candidate=candidate, stage="race", rows=tuple(range(rows)))


ALL = [seen(START), seen(LONG), seen(SHORT)]
TOKENS = {"start": 100, "long": 300, "short": 50}


async def test_best_is_what_the_race_picked_whatever_it_costs(folder: Folder) -> None:
    async with measured(folder, {"start": 20, "long": 0, "short": 1}, TOKENS) as estimates:
        assert preferred(estimates, LONG, ALL, "best") is LONG


async def test_cheap_is_the_shortest_that_is_not_shown_to_be_worse(folder: Folder) -> None:
    async with measured(folder, {"start": 20, "long": 0, "short": 2}, TOKENS) as estimates:
        assert preferred(estimates, LONG, ALL, "cheap").key == SHORT.key


async def test_what_is_shown_to_be_worse_is_not_taken_for_being_cheap(folder: Folder) -> None:
    async with measured(folder, {"start": 2, "long": 0, "short": 12}, TOKENS) as estimates:
        assert preferred(estimates, LONG, ALL, "cheap").key == START.key


@pytest.mark.parametrize("prefer", ["cheap", "balanced"])
@pytest.mark.parametrize("shows", [LONG, SHORT])
async def test_a_row_that_a_candidate_shows_as_an_example_counts_for_neither(
    folder: Folder, prefer: str, shows: Candidate
) -> None:
    (parameter, choice), *_ = shows.choices.items()
    showing = Candidate({parameter: replace(choice, rows=tuple(range(20, 30)))})
    async with measured(folder, {"start": 20, "long": 0, "short": 0}, TOKENS) as estimates:
        trials = [seen(showing) if trial.candidate.key == shows.key else trial for trial in ALL]
        best = showing if shows is LONG else LONG

        assert preferred(estimates, best, trials, prefer).key == SHORT.key


async def test_balanced_gives_away_two_points_at_most(folder: Folder) -> None:
    async with measured(folder, {"start": 1, "long": 0, "short": 0}, {**TOKENS, "short": 200}) as estimates:
        assert preferred(estimates, LONG, ALL, "balanced").key == SHORT.key


async def test_a_formula_takes_the_highest_value(folder: Folder) -> None:
    async with measured(folder, {"start": 4, "long": 0, "short": 12}, TOKENS) as estimates:
        assert preferred(estimates, LONG, ALL, "score").key == LONG.key
        assert preferred(estimates, LONG, ALL, "score - 0.001 * tokens").key == START.key
        assert preferred(estimates, LONG, ALL, "-tokens").key == SHORT.key


async def test_a_formula_compares_on_the_rows_that_both_have(folder: Folder) -> None:
    # On its own 20 rows the short one is all right, and so is the best on these.
    async with measured(folder, {"start": 30, "long": 10, "short": 20}, TOKENS) as estimates:
        short = [seen(START), seen(LONG), seen(SHORT, 20)]
        assert preferred(estimates, LONG, short, "score").key == LONG.key


@pytest.mark.parametrize("prefer", ["cheap", "balanced", "score"])
async def test_without_rows_of_the_best_there_is_nothing_to_compare(folder: Folder, prefer: str) -> None:
    async with measured(folder, {"start": 0, "long": 0, "short": 0}, TOKENS) as estimates:
        assert preferred(estimates, LONG, [], prefer) is LONG
        assert preferred(estimates, LONG, [seen(SHORT)], prefer) is LONG


async def test_a_formula_that_gives_no_number_is_refused(folder: Folder) -> None:
    async with measured(folder, {"start": 0, "long": 0, "short": 0}, TOKENS) as estimates:
        with pytest.raises(InputError, match="not a number"):
            preferred(estimates, LONG, ALL, "score > 0.5")


def test_those_that_saw_half_of_the_rows_of_whoever_went_furthest_are_compared() -> None:
    far = [seen(START, 40), seen(LONG, 20), seen(SHORT, 19)]

    assert [trial.candidate for trial in late_trials(far)] == [START, LONG]
    assert late_trials([]) == []


@given(st.lists(aims, min_size=1, max_size=8))
def test_the_front_is_who_no_other_dominates(found: Sequence[TrialMeans]) -> None:
    marks = pareto_front(found)

    assert any(marks)
    for one, is_on in zip(found, marks, strict=True):
        assert is_on == (not any(dominates(other, one) for other in found))


def dominates(one: TrialMeans, other: TrialMeans) -> bool:
    ours = (one.score, -one.tokens, -one.latency, -one.unparsed)
    theirs = (other.score, -other.tokens, -other.latency, -other.unparsed)
    return ours != theirs and all(a >= b for a, b in zip(ours, theirs, strict=True))
