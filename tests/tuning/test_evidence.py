"""Evidence for the report of a tuning: rows that turned, gains on rows of both, the learning curve."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from promptkit.errors import RequestRefused
from promptkit.evaluation.statistics.paired import paired_binary
from promptkit.evaluation.statistics.power import rows_needed
from promptkit.runtimes.base import Request
from promptkit.runtimes.scripted import request_text
from promptkit.tuning import evidence
from promptkit.tuning.calibration import CandidateCalibration
from promptkit.tuning.evidence import (
    calls_for_all_candidates,
    curve_record,
    gain_record,
    rows_for_gain,
    shared_rows,
    turned_record,
)
from promptkit.tuning.progress import Lead
from promptkit.tuning.search.race_runner import DROP_REASONS
from promptkit.tuning.search_space.candidate import Candidate, Choice
from promptkit.tuning.trials import Estimates, Trial
from tests.engine.helpers import Folder
from tests.tuning.evaluators import open_evaluator
from tests.tuning.tunings import TuneBench, row_of, truth

START = Candidate()
PREFIX = Candidate({"mood.layout": Choice("prefix", {"mood.layout": "prefix"})})
BETTER, WORSE, UNPARSED, SILENT = (1, 2, 3, 4, 5), (6, 7), 8, 9


def answer(request: Request) -> str:
    """Answer right on all rows but five as written; with the prefix wrong on two others, unreadable on one."""
    number, is_prefix = row_of(request), "TASK:" in request_text(request)
    if number == SILENT and is_prefix:
        raise RequestRefused("no answer")
    if number == UNPARSED and is_prefix:
        return "perhaps"
    return truth(number + (number in (WORSE if is_prefix else BETTER)))


@asynccontextmanager
async def asked(folder: Folder, *, start: int = 20, prefix: int = 20) -> AsyncIterator[Estimates]:
    """Have the first rows of 40 asked as written, and with the prefix."""
    bench = TuneBench(folder, 40)
    async with open_evaluator(bench, answer, bench.start()) as opened:
        await opened.evaluator.evaluate([START], range(start))
        await opened.evaluator.evaluate([PREFIX], range(prefix))
        yield Estimates(opened.evaluator, CandidateCalibration(opened.evaluator, None))


async def test_rows_that_turned_have_both_answers_their_scores_and_what_is_expected(folder: Folder) -> None:
    async with asked(folder) as estimates:
        found = turned_record(estimates, PREFIX, range(40))

    rows = {row["row"] - 1: row for row in found["rows"]}
    assert (found["better"], found["worse"]) == (5, 4)
    assert {at: row["change"] for at, row in rows.items()} == {
        **dict.fromkeys(BETTER, "better"),
        **dict.fromkeys((*WORSE, UNPARSED, SILENT), "worse"),
    }
    assert rows[1]["fields"] == {"text": "row 1 was bad", "expect": "bad"}
    assert rows[1]["expected"] == "bad"
    assert rows[1]["before"] == {"value": "good", "flag": "", "score": 0.0}
    assert rows[1]["after"] == {"value": "bad", "flag": "", "score": 1.0}


async def test_a_row_without_an_answer_has_turned_for_the_worse_and_says_why(folder: Folder) -> None:
    async with asked(folder) as estimates:
        rows = {row["row"] - 1: row for row in turned_record(estimates, PREFIX, range(40))["rows"]}

    assert (rows[UNPARSED]["after"]["flag"], rows[UNPARSED]["after"]["score"]) == ("unparsed", 0.0)
    assert (rows[SILENT]["after"]["flag"], rows[SILENT]["after"]["score"]) == ("error", None)


async def test_rows_that_were_asked_of_one_alone_have_not_turned(folder: Folder) -> None:
    async with asked(folder, prefix=4) as estimates:
        found = turned_record(estimates, PREFIX, range(40))
    assert [row["row"] - 1 for row in found["rows"]] == [1, 2, 3]


async def test_a_record_holds_the_first_rows_and_counts_all(folder: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(evidence, "MOST_TURNED", 2)
    monkeypatch.setattr(evidence, "MOST_TEXT", 5)
    async with asked(folder) as estimates:
        found = turned_record(estimates, PREFIX, range(40))
    assert (len(found["rows"]), found["better"], found["worse"]) == (2, 5, 4)
    assert found["rows"][0]["fields"]["text"] == "row 1…"


async def test_a_gain_is_of_the_rows_that_both_have(folder: Folder) -> None:
    async with asked(folder, start=6) as estimates:
        found = gain_record(estimates, PREFIX, range(20))
        nothing = gain_record(estimates, PREFIX, range(6, 20))
        shared = shared_rows(estimates, range(20))

    expected = paired_binary([1] * 6, [1, 0, 0, 0, 0, 0])
    assert found == {"difference": expected.difference, "low": expected.low, "high": expected.high, "n": 6}
    assert nothing is None and shared == list(range(6))


async def test_the_curve_has_the_start_where_it_has_all_rows_and_no_point_without_results(folder: Folder) -> None:
    leads = [Lead(PREFIX, tuple(rows), calls) for calls, rows in ((10, range(5)), (20, range(8)), (30, range(30, 40)))]
    async with asked(folder, start=5) as estimates:
        points = curve_record(estimates, leads)

    assert [(point["calls"], point["n"], point["start"]) for point in points] == [(10, 5, 0.2), (20, 8, None)]
    assert points[0]["mean"] == 1.0 and points[1]["mean"] == 6 / 8
    assert points[0]["name"] == "layout: prefix"


async def test_the_rows_that_would_show_the_gain_follow_from_the_gain_and_the_rows_that_differ(folder: Folder) -> None:
    async with asked(folder) as estimates:
        needed = rows_for_gain(estimates, PREFIX, range(8), 0.95)
        wider = rows_for_gain(estimates, PREFIX, range(8), 0.975)
        lost = rows_for_gain(estimates, PREFIX, [*WORSE, 10], 0.95)

    assert needed == rows_needed(8 / 10, 3 / 8)  # Seven of eight rows differ, five for the better.
    assert wider is not None and wider > needed
    assert lost is None


def trials(*left_out: float) -> dict[str, Trial]:
    """Return trials of the start and of candidates that were left out, with these requests a row."""
    found = [Trial(candidate=START, stage="race", rows=tuple(range(8)))]
    for at, requests in enumerate(left_out):
        candidate = Candidate({"mood.cue": Choice(f"{at}", {"mood.cue": f"{at}"}, requests=requests)})
        found.append(Trial(candidate=candidate, stage="race", rows=(), dropped_at=0, why=DROP_REASONS["too many"]))
    return {trial.candidate.key: trial for trial in found}


async def test_calls_that_would_race_all_take_each_candidate_to_twelve_rows(folder: Folder) -> None:
    async with asked(folder) as estimates:
        assert calls_for_all_candidates(estimates, trials(1.0, 3.0), 100) == (2, 100 + 12 + 36)
        assert calls_for_all_candidates(estimates, trials(), 100) == (0, None)
