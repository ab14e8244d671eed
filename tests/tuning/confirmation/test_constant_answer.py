"""The best constant answer beside start and incumbent."""

from __future__ import annotations

from typing import Any

import pytest

from promptkit.reports.tuning.page import tuning_page
from promptkit.reports.tuning.report import tuning_text
from promptkit.runtimes.base import Request
from promptkit.runtimes.scripted import request_text
from promptkit.tuning.confirmation.constant_answer import ConstantAnswer, constant_answer
from promptkit.tuning.data_split import data_notes, read_data_split
from promptkit.tuning.output.write import heading
from promptkit.tuning.search_space.candidate import Candidate
from tests.engine.helpers import Folder
from tests.evaluation.suites import SUITE
from tests.tuning.evaluators import open_evaluator
from tests.tuning.tunings import TuneBench, luck, right_where, row_of, rows

FEW = {number for number in range(200) if number % 20 == 1}


def imbalanced(count: int = 200) -> list[dict[str, Any]]:
    """Return rows of which one in twenty is bad."""
    return [{"text": f"row {at} was seen", "expect": "bad" if at in FEW else "good"} for at in range(count)]


def says_good_after_a_cue(request: Request) -> str:
    """Answer right on 80 % of the rows, and `good` to every row once there is a cue."""
    number = row_of(request)
    right, wrong = ("bad", "good") if number in FEW else ("good", "bad")
    return "good" if "Mood:" in request_text(request) else right if luck(number, 0.8) else wrong


@pytest.fixture
def bench(folder: Folder) -> TuneBench:
    return TuneBench(folder, 200)


async def compared(bench: TuneBench, answer: Any, suite: str = SUITE) -> ConstantAnswer | None:
    """Evaluate the target as written on the held-out rows, and compare it with the constant answer."""
    split = read_data_split(bench.start(suite))
    async with open_evaluator(bench, answer, split.suite, clusters=split.clusters) as opened:
        await opened.evaluator.evaluate([Candidate()], split.holdout)
        asked = len(opened.runtime.requests)
        found = constant_answer(opened.evaluator, split, Candidate())
        assert len(opened.runtime.requests) == asked
    return found


async def test_an_improvement_by_the_majority_answer_says_that_it_is_none_over_it(bench: TuneBench) -> None:
    bench.rows(imbalanced())
    ran = await bench.tune(says_good_after_a_cue, calls=500, only=("decide",))
    constant, text = ran.record["constant"], tuning_text(ran.tuned.record)

    assert ran.record["verdict"] == "improved"
    assert (constant["answer"], constant["beaten"], constant["difference"]["mean"]) == ("good", False, 0.0)
    assert constant["confirm"]["mean"] == ran.record["best"]["confirm"]["mean"]
    assert "but not shown to be better than always answering `good`" in " ".join(text.split())
    assert "against always answering `good`, which takes no model: 0 points" in text
    assert "always answering `good`" in tuning_page(ran.tuned.record)
    assert "shown to be better than always answering `good`" in " ".join(heading(ran.tuned.record))
    assert any("`good` is expected in 190 of 200 rows" in note for note in ran.record["notes"])


async def test_an_improvement_over_the_constant_answer_is_one_without_a_limit(bench: TuneBench) -> None:
    ran = await bench.tune(right_where(lambda text: 0.9 if "Mood:" in text else 0.5), calls=500, only=("decide",))

    assert ran.record["verdict"] == "improved"
    assert ran.record["constant"]["beaten"]
    assert "always `" in tuning_text(ran.tuned.record)
    assert "not shown to be better" not in tuning_text(ran.tuned.record)


async def test_the_constant_answer_is_that_of_the_objective(bench: TuneBench) -> None:
    bench.rows(imbalanced())
    by_accuracy = await compared(bench, right_where(lambda text: 1.0))
    balanced = await compared(
        bench, right_where(lambda text: 1.0), SUITE.replace("{accuracy: label}", "{balanced: balanced_accuracy}")
    )

    assert by_accuracy is not None
    assert balanced is not None
    assert by_accuracy.confirm["mean"] == pytest.approx(0.95, abs=0.01)
    assert balanced.confirm["mean"] == 0.5
    assert by_accuracy.confirm["n"] == by_accuracy.difference.n == pytest.approx(120, abs=1)


@pytest.mark.parametrize(
    "expected", [lambda number: f"answer {number}", lambda number: f"one of {number % 70}", lambda number: number]
)
async def test_answers_that_are_no_few_classes_have_no_constant_answer(bench: TuneBench, expected: Any) -> None:
    bench.rows([{**entry, "expect": expected(number)} for number, entry in enumerate(rows(100))])

    assert await compared(bench, right_where(lambda text: 1.0), SUITE.replace("label", "normalized")) is None


@pytest.mark.parametrize(("bad", "notes"), [(30, 0), (29, 1), (2, 1)])
def test_balanced_accuracy_is_proposed_from_a_share_of_seven_in_ten_on(bench: TuneBench, bad: int, notes: int) -> None:
    bench.rows([{"text": f"row {at} was seen", "expect": "bad" if at < bad else "good"} for at in range(99)])

    noted = [note for note in data_notes(read_data_split(bench.start())) if "balanced_accuracy" in note]
    assert len(noted) == notes


def test_balanced_accuracy_is_not_proposed_to_those_who_have_it(bench: TuneBench) -> None:
    bench.rows(imbalanced())
    suite = SUITE.replace("{accuracy: label}", "{balanced: balanced_accuracy}")

    assert data_notes(read_data_split(bench.start(suite))) == []
