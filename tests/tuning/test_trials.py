"""Estimates of a candidate on search rows: in the metric's own units, with an interval, from the results there are."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import pytest

from promptkit.evaluation.statistics.interval import bounded_mean
from promptkit.runtimes.base import Reply, Request
from promptkit.tuning.calibration import CandidateCalibration
from promptkit.tuning.search_space.candidate import Candidate
from promptkit.tuning.trials import Estimates, Stage, Trial
from tests.engine.helpers import Folder
from tests.tuning.evaluators import open_evaluator
from tests.tuning.scoring import PLAIN, SCORE, model
from tests.tuning.tunings import TuneBench, row_of, truth


@asynccontextmanager
async def evidence(
    folder: Folder, candidates: Sequence[Candidate] = (PLAIN,), asked: int = 20
) -> AsyncIterator[Estimates]:
    """Have so many rows asked of 40; a third of the answers is wrong, a tenth does not parse."""

    def answer(request: Request) -> Reply:
        number = row_of(request)
        text = "perhaps" if number % 10 == 0 else truth(number) if number % 3 else truth(number + 1)
        return Reply(text=text, tokens_in=number, tokens_out=1, seconds=0.5)

    bench = TuneBench(folder, 40)
    async with open_evaluator(bench, model() if SCORE in candidates else answer, bench.start()) as opened:
        await opened.evaluator.evaluate(candidates, range(asked))
        yield Estimates(
            opened.evaluator, CandidateCalibration(opened.evaluator, [row.expected[0] for row in opened.evaluator.rows])
        )


async def test_aims_are_means_over_the_rows_that_are_there(folder: Folder) -> None:
    async with evidence(folder) as found:
        means = found.means(PLAIN, range(40))

    right = [number % 10 != 0 and number % 3 != 0 for number in range(20)]
    assert (means.score, means.unparsed, means.calls) == (sum(right) / 20, 0.1, 1.0)
    assert (means.tokens, means.latency) == pytest.approx((10.5, 0.5))


async def test_of_no_rows_the_score_is_nothing(folder: Folder) -> None:
    async with evidence(folder) as found:
        assert found.means(PLAIN, []).score == 0.0
        assert found.means(SCORE, range(20)).score == 0.0


async def test_the_interval_is_that_of_the_metric(folder: Folder) -> None:
    async with evidence(folder) as found:
        record = found.estimate_record(PLAIN, range(20))
        estimate = found.evaluator.estimate(PLAIN, range(20))

    assert record == {"mean": estimate.mean, "low": estimate.low, "high": estimate.high, "n": 20}


async def test_what_scores_labels_has_the_interval_of_its_calibrated_scores(folder: Folder) -> None:
    async with evidence(folder, [SCORE]) as found:
        record = found.estimate_record(SCORE, range(20))
        scores = found.calibration.scores(SCORE, range(20))
        wanted = bounded_mean(scores, range(20), binary=True)

    assert (record["mean"], record["low"], record["high"]) == (wanted.mean, wanted.low, wanted.high)


async def test_a_candidate_that_scores_and_was_not_asked_has_no_mean(folder: Folder) -> None:
    async with evidence(folder) as found:
        assert found.estimate_record(SCORE, range(20)) == {"mean": None, "low": None, "high": None, "n": 0}


async def test_a_candidate_that_was_dropped_says_when_and_why(folder: Folder) -> None:
    async with evidence(folder) as found:
        stayed = found.trial_record(Trial(candidate=PLAIN, stage="race", rows=tuple(range(20))))
        dropped = found.trial_record(
            Trial(candidate=PLAIN, stage="race", rows=tuple(range(8)), dropped_at=8, why="its answers do not parse")
        )

    assert (stayed["rows"], stayed["dropped"]) == (20, None)
    assert (dropped["rows"], dropped["dropped"]) == (8, {"at": 8, "why": "its answers do not parse"})


def test_a_stage_is_told_as_json() -> None:
    stage = Stage(name="race", step=None, candidates=3, rows=20, calls=60, notes=("x",))

    assert stage.record() == {"name": "race", "step": None, "candidates": 3, "rows": 20, "calls": 60, "notes": ["x"]}
