"""Calibrations of what is asked already: what they would give, at no call, and as numbers that give just that."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager

import pytest

from promptkit.runtimes.base import Alternative, Reply, Request, Token
from promptkit.runtimes.scripted import Scripted
from promptkit.tuning.calibration import CandidateCalibration
from promptkit.tuning.evaluator import RowResult
from promptkit.tuning.search_space.candidate import Candidate, Choice
from tests.engine.helpers import Folder
from tests.tuning.evaluators import Opened, open_evaluator
from tests.tuning.scoring import PLAIN, REFERENCE, SCORE, WRITTEN, biased, model, odds
from tests.tuning.tunings import TuneBench, row_of, truth

ROWS = 60


@asynccontextmanager
async def calibrating(
    folder: Folder,
    candidates: Sequence[Candidate],
    script: Callable[[Request], Reply] = biased,
    rows: int = ROWS,
) -> AsyncIterator[tuple[Opened, CandidateCalibration]]:
    bench = TuneBench(folder, rows)
    async with open_evaluator(bench, model(script), bench.start()) as opened:
        await opened.evaluator.evaluate(candidates, range(rows))
        yield opened, CandidateCalibration(opened.evaluator, [row.expected[0] for row in opened.evaluator.rows])


async def test_scores_are_what_the_calibrated_answers_would_get(folder: Folder) -> None:
    async with calibrating(folder, [SCORE]) as (opened, found):
        plain, calibrated = opened.evaluator.scores(SCORE, range(ROWS)), found.scores(SCORE, range(ROWS))

    assert plain.mean() == sum((odds(number) > 0) == (truth(number) == "good") for number in range(ROWS)) / ROWS
    assert calibrated.mean() > plain.mean() + 0.2


async def test_they_cost_no_call(folder: Folder) -> None:
    async with calibrating(folder, [SCORE]) as (opened, found):
        before = len(opened.runtime.requests), opened.budget.spent
        found.scores(SCORE, range(ROWS))
        await found.freeze(SCORE, range(ROWS))

        assert (len(opened.runtime.requests), opened.budget.spent) == before


async def test_frozen_numbers_decide_the_rows_that_are_asked_with_them(folder: Folder) -> None:
    async with calibrating(folder, [SCORE]) as (opened, found):
        before = opened.evaluator.scores(SCORE, range(ROWS)).mean()
        frozen = await found.freeze(SCORE, range(ROWS))
        await opened.evaluator.evaluate([frozen], range(ROWS))
        scores = opened.evaluator.scores(frozen, range(ROWS))

    numbers = frozen.changes["mood.calibrate"]
    shift = numbers["offsets"]["good"] - numbers["offsets"]["bad"]
    assert numbers["model"] == REFERENCE
    assert frozen.choices["mood.decide"].name == f"score, calibrated ({numbers['method']})"
    assert scores.tolist() == [(odds(number) + shift > 0) == (truth(number) == "good") for number in range(ROWS)]
    assert scores.mean() > before + 0.2


async def test_offsets_that_no_model_can_be_named_for_are_not_added(folder: Folder) -> None:
    bench = TuneBench(folder, ROWS)
    async with open_evaluator(bench, Scripted(biased, reference="a recording"), bench.start()) as opened:
        await opened.evaluator.evaluate([SCORE], range(ROWS))

        assert await CandidateCalibration(opened.evaluator, None).freeze(SCORE, range(ROWS)) is SCORE


async def test_offsets_come_of_the_rows_that_are_asked_for_and_no_others(folder: Folder) -> None:
    async with calibrating(folder, [SCORE]) as (_, found):
        first = (await found.freeze(SCORE, range(30))).changes["mood.calibrate"]["offsets"]
        other = (await found.freeze(SCORE, range(30, 60))).changes["mood.calibrate"]["offsets"]

    assert first != other


@pytest.mark.parametrize("candidate", [PLAIN, WRITTEN])
async def test_what_scores_no_labels_or_has_offsets_stays_as_it_is(folder: Folder, candidate: Candidate) -> None:
    async with calibrating(folder, [candidate]) as (opened, found):
        assert found.step(candidate) is None
        assert found.scores(candidate, range(ROWS)).tolist() == opened.evaluator.scores(candidate, range(ROWS)).tolist()
        assert await found.freeze(candidate, range(ROWS)) is candidate


async def test_a_model_without_a_bias_is_left_without_offsets(folder: Folder) -> None:
    def unbiased(request: Request) -> Reply:
        label = truth(row_of(request))
        shown = tuple(Alternative(f" {each}".encode(), -0.05 if each == label else -3.0) for each in ("good", "bad"))
        tokens = (Token(f" {label}".encode(), -0.05, shown),) if request.alternatives else ()
        return Reply(text=f" {label}", tokens=tokens)

    async with calibrating(folder, [SCORE], unbiased) as (_, found):
        frozen = await found.freeze(SCORE, range(ROWS))

    offsets = frozen.changes.get("mood.calibrate", {}).get("offsets", {"good": 0.0, "bad": 0.0})
    assert offsets["good"] == pytest.approx(offsets["bad"], abs=0.2)


async def test_rows_that_were_not_asked_have_no_score(folder: Folder) -> None:
    async with calibrating(folder, []) as (_, found):
        nothing = found.scores(SCORE, range(ROWS))
        assert (nothing != nothing).all()
        assert await found.freeze(SCORE, range(ROWS)) is SCORE


async def test_labels_that_the_model_does_not_show_are_told(folder: Folder) -> None:
    def elsewhere(request: Request) -> Reply:
        shown = (Alternative(b" the", -0.1),)
        return Reply(text=" the", tokens=(Token(b" the", -0.1, shown),) if request.alternatives else ())

    async with calibrating(folder, [SCORE], elsewhere) as (_, found):
        assert found.outside(SCORE, range(ROWS))


async def test_labels_that_it_shows_are_evidence(folder: Folder) -> None:
    async with calibrating(folder, [SCORE]) as (_, found):
        assert not found.outside(SCORE, range(ROWS))


async def test_labels_scored_after_the_nearest_examples_are_calibrated_over_the_rows(folder: Folder) -> None:
    bench = TuneBench(folder, ROWS)
    async with open_evaluator(bench, model(), bench.start()) as opened:
        rows = [(dict(row.inputs[0]), row.expected[0]) for row in opened.evaluator.rows]
        pool = [{"input": inputs, "output": label} for inputs, label in rows]
        nearest = Choice("4 nearest", {"mood.examples": {"nearest": 4, "from": pool}})
        candidate = SCORE.with_choice("mood.examples", nearest)
        await opened.evaluator.evaluate([candidate], range(ROWS))
        found = CandidateCalibration(opened.evaluator, [label for _, label in rows])

        shown = [opened.evaluator.trace(result)["parts"][0]["examples"] for result in all_results(opened, candidate)]
        assert all(len(numbers) == 4 and row + 1 not in numbers for row, numbers in enumerate(shown))
        assert len({tuple(numbers) for numbers in shown}) > 1
        plain, calibrated = opened.evaluator.scores(candidate, range(ROWS)), found.scores(candidate, range(ROWS))
        assert calibrated.mean() > plain.mean() + 0.2
        frozen = await found.freeze(candidate, range(ROWS))
        assert set(frozen.changes["mood.calibrate"]["offsets"]) == {"good", "bad"}
        await opened.evaluator.evaluate([frozen], range(ROWS))
        assert opened.evaluator.scores(frozen, range(ROWS)).mean() >= calibrated.mean()


def all_results(opened: Opened, candidate: Candidate) -> list[RowResult]:
    return list(opened.evaluator.results(candidate, range(ROWS)))


async def test_a_row_that_a_candidate_shows_has_no_part_in_its_offsets(folder: Folder) -> None:
    shows = SCORE.with_choice("mood.note", Choice("shows", {"mood.about": "x"}, rows=tuple(range(30))))
    async with calibrating(folder, [SCORE, shows]) as (_, found):
        later = (await found.freeze(SCORE, range(30, 60))).changes["mood.calibrate"]["offsets"]

        assert (await found.freeze(shows, range(60))).changes["mood.calibrate"]["offsets"] == later
