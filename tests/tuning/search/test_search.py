"""A search on one field: what leaves the space, what is screened and raced, and what it ends with."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from math import inf
from typing import Any

import pytest

from promptkit.errors import BudgetSpent
from promptkit.runtimes.base import Request
from promptkit.runtimes.budget import Budget
from promptkit.runtimes.scripted import CAPABILITIES, Script, Scripted, request_text
from promptkit.tuning.calibration import CandidateCalibration
from promptkit.tuning.progress import TuningProgress
from promptkit.tuning.search.race import Block
from promptkit.tuning.search.race_runner import RaceRunner
from promptkit.tuning.search.screening import Screen
from promptkit.tuning.search.search import Search
from promptkit.tuning.search_space.candidate import Candidate, Choice, Parameter, prune_costly
from promptkit.tuning.trials import Estimates, SearchResult
from tests.engine.helpers import Folder
from tests.tuning.evaluators import open_evaluator
from tests.tuning.tunings import TuneBench, luck, row_of, truth

ROWS = 60


def axis(kind: str, *choices: Choice) -> Parameter:
    return Parameter(name=f"mood.{kind}", step="mood", kind=kind, choices=(Choice("as written"), *choices))  # type: ignore[arg-type]


LAYOUTS = axis("layout", *(Choice(name, {"mood.layout": name}) for name in ("markdown", "json", "prefix")))
CUES = axis("decide", *(Choice(cue, {"mood.cue": cue}) for cue in ("Mood:", "Answer:")))
WAYS = axis("decide", Choice("constrain", {"mood.decide": "constrain"}), Choice("cue", {"mood.cue": "Mood:"}))
SAMPLED = axis("technique", Choice("samples", {"mood.technique": "self_consistency"}, requests=5.0))


def pays(request: Request) -> str:
    """Markdown and the mood's cue are better, and best together."""
    text = request_text(request)
    share = 0.5 + 0.2 * ("##" in text) + 0.2 * ("Mood:" in text)
    return truth(row_of(request) + (not luck(row_of(request), share)))


@asynccontextmanager
async def searching(
    folder: Folder, axes: Sequence[Parameter], script: Script | Scripted = pays, **how: Any
) -> AsyncIterator[tuple[Search, Budget, Scripted, TuningProgress]]:
    bench, budget, progress = TuneBench(folder, ROWS), Budget(inf), TuningProgress()
    runtime = script if isinstance(script, Scripted) else Scripted(script)
    async with open_evaluator(bench, runtime, bench.start(), budget=budget) as opened:
        estimates = Estimates(opened.evaluator, CandidateCalibration(opened.evaluator, None))
        search = Search(estimates, range(ROWS), axes, progress=progress, seed=0, **how)
        yield search, budget, runtime, progress


def stages(result: SearchResult) -> list[str]:
    return [stage.name for stage in result.stages]


async def test_levels_that_pay_together_are_picked(folder: Folder) -> None:
    async with searching(folder, [CUES, LAYOUTS]) as (search, budget, _, _):
        result = await search.run(500)

    assert result.incumbent.changes == {"mood.cue": "Mood:", "mood.layout": "markdown"}
    assert stages(result) == ["smoke", "screen", "race"]
    assert result.finalists[0] == result.incumbent
    assert budget.spent <= 500
    assert budget.most == inf


async def test_the_start_catches_up_with_the_incumbents_rows_where_calls_are_left(folder: Folder) -> None:
    async with searching(folder, [CUES]) as (search, budget, _, _):
        result = await search.run(700)

    start, best = (result.trials[candidate.key] for candidate in (Candidate(), result.incumbent))
    assert start.dropped_at is not None
    assert start.dropped_at < len(best.rows)
    assert start.rows == best.rows
    assert budget.spent <= 700


@pytest.mark.parametrize("calls", [16, 40, 90, 119, 121, 200])
async def test_no_more_is_asked_than_it_may_and_few_calls_are_not_screened(folder: Folder, calls: int) -> None:
    async with searching(folder, [CUES, LAYOUTS]) as (search, _, runtime, _):
        result = await search.run(calls)

        assert len(runtime.requests) <= calls
    assert ("screen" in stages(result)) == (calls - 8 >= 120)


async def test_few_calls_race_candidates_of_one_change_ways_to_decide_and_examples_first(folder: Folder) -> None:
    shown = [
        Choice(f"2 examples #{n}", {"mood.examples": [{"input": {"text": f"{n}"}, "output": "good"}]}) for n in "12"
    ]
    async with searching(folder, [CUES, LAYOUTS, axis("examples", *shown)]) as (search, *_):
        result = await search.run(80)

    raced = [trial.candidate.record() for trial in result.trials.values()]
    assert all(len(choices) <= 1 for choices in raced)
    kinds = [name for choices in raced for name in choices]
    assert sorted(kinds) == ["mood.decide", "mood.decide", "mood.examples", "mood.examples", "mood.layout"]


async def test_no_two_screened_candidates_send_the_same(folder: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    written = axis("layout", *(Choice(name, {"mood.layout": name}) for name in ("xml", "markdown", "json", "prefix")))
    lengths = axis("given", *(Choice(str(size), {"mood.options.max_tokens": size}) for size in (7, 8, 9)))
    screened: list[Candidate] = []
    screen = Search._screened

    def seen(search: Search, drawn: Sequence[Candidate], rows: Sequence[int]) -> Screen:
        screened[:] = drawn
        return screen(search, drawn, rows)

    monkeypatch.setattr(Search, "_screened", seen)
    async with searching(folder, [CUES, written, lengths]) as (search, *_):
        await search.run(500)
        sent = [(await search._evaluator.rehearse(candidate, range(2))).key for candidate in screened]

    assert len(sent) == len(set(sent)) > 16


async def test_two_searches_of_the_same_end_the_same(folder: Folder) -> None:
    async with searching(folder, [CUES, LAYOUTS]) as (search, *_):
        first = await search.run(300)
    async with searching(folder, [CUES, LAYOUTS]) as (search, _, runtime, _):
        again = await search.run(300)

        assert runtime.requests == []
    assert (again.incumbent, again.stages, again.trials) == (first.incumbent, first.stages, first.trials)


async def test_a_way_to_decide_whose_answers_do_not_parse_leaves_the_space(folder: Folder) -> None:
    def unread(request: Request) -> str:
        return "perhaps" if request.grammar else pays(request)

    # The answer is under a grammar by name alone: nobody holds the model to it.
    runtime = Scripted(unread, capabilities=CAPABILITIES)
    async with searching(folder, [WAYS, LAYOUTS], runtime) as (search, _, _, progress):
        result = await search.run(400)

    assert any("`mood.decide: constrain` is left out" in text for text in progress.notes)
    screened = [trial for trial in result.trials.values() if trial.stage != "smoke"]
    assert screened
    assert all("mood.decide" not in trial.candidate.changes for trial in screened)


def test_what_the_race_would_not_admit_leaves_the_space_with_a_note() -> None:
    (sampled, layouts), notes = prune_costly([SAMPLED, LAYOUTS], 4.9)

    assert [choice.name for choice in sampled.choices] == ["as written"]
    assert layouts == LAYOUTS
    assert notes == [
        "skipped samples for `mood.technique`: at about 5 requests a row it alone would take half of the search's calls"
    ]
    assert prune_costly([SAMPLED], 5.0) == ((SAMPLED,), [])


async def test_a_level_that_cannot_be_is_told_and_left_out(folder: Folder) -> None:
    broken = axis("layout", Choice("nowhere", {"mood.layout": "nowhere"}), *LAYOUTS.choices[1:])
    async with searching(folder, [broken, CUES]) as (search, _, _, progress):
        result = await search.run(300)

    assert any("is not possible" in text and "nowhere" in text for text in progress.notes)
    assert result.incumbent.changes["mood.layout"] == "markdown"


async def test_entrants_are_raced_in_any_case(folder: Folder) -> None:
    entrant = Candidate({"mood.layout": LAYOUTS.choices[3]})
    async with searching(folder, [CUES], entrants=[entrant]) as (search, *_):
        result = await search.run(300)

    assert result.trials[entrant.key].stage == "race"


async def test_a_search_on_a_base_changes_only_its_own_axes(folder: Folder) -> None:
    base = Candidate({"mood.layout": LAYOUTS.choices[1]})
    async with searching(folder, [CUES], base=base) as (search, *_):
        result = await search.run(300)

    assert result.incumbent.changes == {"mood.layout": "markdown", "mood.cue": "Mood:"}
    assert all(trial.candidate.changes["mood.layout"] == "markdown" for trial in result.trials.values())


async def test_where_the_start_is_best_it_is_the_pick(folder: Folder) -> None:
    def worsened(request: Request) -> str:
        share = 0.9 if "<INPUT>" in request_text(request) else 0.4
        return truth(row_of(request) + (not luck(row_of(request), share)))

    async with searching(folder, [LAYOUTS], worsened) as (search, *_):
        result = await search.run(300)

    assert result.incumbent == result.calibrated == Candidate()


async def test_whoever_is_out_is_told_while_it_goes_on(folder: Folder) -> None:
    async with searching(folder, [CUES, LAYOUTS]) as (search, _, _, progress):
        result = await search.run(400)

    dropped = {trial.candidate.name for trial in result.trials.values() if trial.stage == "race" and trial.why}
    assert dropped
    assert {name for name, _ in progress.dropped} == dropped
    assert progress.best is not None
    assert progress.best.mean is not None


async def test_where_the_first_block_of_the_race_breaks_off_the_screen_says_what_is_best(
    folder: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def breaks_off(runner: RaceRunner) -> AsyncIterator[Block]:
        raise BudgetSpent("the budget is spent")
        yield Block((0,), range(0))

    monkeypatch.setattr(RaceRunner, "blocks", breaks_off)
    async with searching(folder, [CUES, LAYOUTS]) as (search, _, _, progress):
        result = await search.run(500)

    assert result.incumbent.changes
    assert progress.best is not None and progress.best.name == result.incumbent.name
