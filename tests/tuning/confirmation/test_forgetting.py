"""Forgetting: the start against the incumbent on a second suite."""

from __future__ import annotations

import json
from typing import Any

import pytest

from promptkit.errors import InputError
from promptkit.reports.tuning.report import tuning_text
from promptkit.runtimes.base import Request
from promptkit.runtimes.budget import Budget
from promptkit.runtimes.scripted import request_text
from promptkit.tuning.confirmation.forgetting import load_kept_suite, measure_forgetting
from promptkit.tuning.search_space.candidate import Candidate, Choice
from promptkit.tuning.tune_record import TuneRecord
from tests.engine.helpers import Folder
from tests.tuning.evaluators import open_evaluator
from tests.tuning.tunings import Ran, TuneBench, luck, right_where, row_of, truth

CALLS = 420
OTHERS = 60


def other_rows(first: int = 1_000, count: int = OTHERS) -> str:
    """Return rows of another suite, with numbers of their own."""
    rows = [
        {"text": f"row {number} was {truth(number)}", "expect": truth(number)} for number in range(first, first + count)
    ]
    return "".join(f"{json.dumps(row)}\n" for row in rows)


@pytest.fixture
def bench(folder: Folder) -> TuneBench:
    bench = TuneBench(folder, 100)
    folder.write("evals/others.jsonl", other_rows())
    folder.write("evals/others.yaml", "data: others.jsonl\ntarget: mood\nmetrics: {accuracy: label}\n")
    return bench


def answer(request: Request) -> str:
    """Answer the suite better with a cue, and its other rows worse."""
    number, has_cue = row_of(request), "Mood:" in request_text(request)
    share = (0.6 if has_cue else 0.9) if number >= 1_000 else (0.9 if has_cue else 0.5)
    wrong = {"good": "bad", "bad": "good"}
    return truth(number) if luck(number, share) else wrong[truth(number)]


async def tuned(bench: TuneBench, **options: Any) -> Ran:
    return await bench.tune(answer, calls=CALLS, only=("decide",), keep="others", **options)


async def test_what_is_lost_on_the_second_suite_is_in_record_and_report(bench: TuneBench) -> None:
    ran = await tuned(bench)

    keep = ran.record["keep"]
    assert ran.record["verdict"] == "improved"
    assert (keep["rows"], keep["of"], keep["verdict"]) == (OTHERS, OTHERS, "worse")
    assert keep["difference"]["high"] < 0
    assert keep["difference"]["worse"] > keep["difference"]["better"] == 0
    text = tuning_text(TuneRecord.model_validate(ran.record))
    assert "kept on others:" in text
    assert f"{keep['difference']['worse']} rows lost, 0 won" in " ".join(text.split())


@pytest.mark.parametrize(("margin", "verdict"), [(0.2, "equivalent"), (0.05, "not shown")])
async def test_a_margin_is_the_largest_loss_that_does_not_matter(bench: TuneBench, margin: float, verdict: str) -> None:
    def level(text: str) -> float:
        return 0.88 if "Mood:" in text else 0.9

    def script(request: Request) -> str:
        number = row_of(request)
        return right_where(level)(request) if number >= 1_000 else answer(request)

    ran = await bench.tune(script, calls=CALLS, only=("decide",), keep="others", margins=(str(margin),))

    assert ran.record["keep"]["margin"] == margin
    assert ran.record["keep"]["verdict"] == verdict


async def test_the_margin_of_the_suite_itself_counts_without_an_option(bench: TuneBench) -> None:
    text = "data: others.jsonl\ntarget: mood\nmetrics: {accuracy: label}\ncompare: {margin: {accuracy: 0.5}}\n"
    bench.folder.write("evals/others.yaml", text)

    ran = await tuned(bench)

    assert (ran.record["keep"]["margin"], ran.record["keep"]["verdict"]) == (0.5, "equivalent")


async def test_rows_that_the_search_sees_are_left_out(bench: TuneBench) -> None:
    bench.folder.write("evals/others.jsonl", other_rows(0, 100) + other_rows())

    ran = await tuned(bench)

    keep, rows = ran.record["keep"], ran.record["rows"]
    assert keep["left_out"] == rows["search"] + rows["pool"]
    assert keep["of"] == OTHERS + 100 - keep["left_out"]


async def test_rows_that_the_budget_does_not_hold_are_not_counted(bench: TuneBench) -> None:
    kept = load_kept_suite("others", bench.start())
    with_cue = Candidate({"mood.decide": Choice("cue", {"mood.cue": "Mood:"})})
    for calls, rows in ((OTHERS, OTHERS // 2), (2, None)):
        async with open_evaluator(bench, answer, kept.suite, budget=Budget(calls)) as opened:
            found = await measure_forgetting(opened.evaluator, kept, with_cue)

        assert (found and found.rows) == rows


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"keep": "test"}, "the tuning itself is measured by it"),
        ({"keep": "nothing"}, "nothing"),
        ({"keep": "others", "margins": ("2",)}, "must be above 0 and below 1"),
        ({"margins": ("0.02",)}, "the largest loss on the suite of --keep"),
    ],
)
async def test_a_wrong_suite_or_margin_is_refused_before_a_request(
    bench: TuneBench, options: dict[str, Any], message: str
) -> None:
    with pytest.raises(InputError, match=message):
        await bench.tune(answer, calls=CALLS, **options)


async def test_a_suite_whose_rows_are_all_searched_is_refused(bench: TuneBench) -> None:
    seen = (await bench.tune(answer, calls=CALLS, only=("decide",))).tuning._setup
    assert seen is not None
    numbers = [seen.split.rows[place].inputs[0]["text"].split()[1] for place in seen.split.search]
    bench.folder.write("evals/others.jsonl", "".join(other_rows(int(number), 1) for number in numbers))

    with pytest.raises(InputError, match=r"0 of its \d+ rows are not among the search rows"):
        await tuned(bench)
