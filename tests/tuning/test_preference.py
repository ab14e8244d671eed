"""The preferred trade-off is what the search itself goes by: of its values, its race, and whom it keeps."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest

from promptkit.runtimes.base import Reply, Request
from promptkit.runtimes.scripted import request_text
from promptkit.tuning.calibration import CandidateCalibration
from promptkit.tuning.evaluator import RowResult
from promptkit.tuning.preference import Preference
from promptkit.tuning.progress import TuningProgress
from promptkit.tuning.search.search import Search
from promptkit.tuning.search_space.candidate import Choice, Parameter
from promptkit.tuning.trials import Estimates
from tests.engine.helpers import Folder
from tests.tuning.evaluators import open_evaluator
from tests.tuning.tunings import TuneBench, luck, row_of, truth

ROWS = 100
CALLS = 400
SHOWN = [{"input": {"text": f"Ice {number} melts"}, "output": "good"} for number in range(4)]


def axis(kind: str, *choices: Choice) -> Parameter:
    return Parameter(name=f"mood.{kind}", step="mood", kind=kind, choices=(Choice("as written"), *choices))  # type: ignore[arg-type]


SPACE = [
    axis("decide", *(Choice(cue, {"mood.cue": cue}) for cue in ("Mood:", "Answer:"))),
    axis("examples", *(Choice(f"{count} examples", {"mood.examples": SHOWN[:count]}) for count in (2, 4))),
]


def answer(request: Request) -> Reply:
    """A cue makes 50 into 85 %; examples add 2 points on top of it, at two to four times the tokens."""
    text, number = request_text(request), row_of(request)
    shown = text.count("melts")
    share = 0.5 + 0.35 * ("Mood:" in text) + 0.02 * bool(shown)
    return Reply(text=truth(number + (not luck(number, share))), tokens_in=60 + 40 * shown, tokens_out=1, seconds=0.01)


async def searched(folder: Folder, prefer: str) -> list[Mapping[str, Any]]:
    """Search for a preference; return the changes of those alive at the end of the race, the winner first."""
    bench = TuneBench(folder, ROWS)
    async with open_evaluator(bench, answer, bench.start()) as opened:
        estimates = Estimates(opened.evaluator, CandidateCalibration(opened.evaluator, None), Preference(prefer))
        result = await Search(estimates, range(ROWS), SPACE, progress=TuningProgress(), seed=0).run(CALLS)
        return [candidate.changes for candidate in result.finalists]


async def test_a_race_for_a_formula_ends_with_the_candidate_of_the_highest_value(folder: Folder) -> None:
    assert (await searched(folder, "score - 0.002 * tokens"))[0] == {"mood.cue": "Mood:"}


async def test_a_race_for_the_score_alone_takes_what_costs_more(folder: Folder) -> None:
    assert "mood.examples" in (await searched(folder, "best"))[0]


async def test_for_cheap_the_cheapest_that_is_not_shown_to_be_worse_is_in_the_race_to_the_end(folder: Folder) -> None:
    assert {"mood.cue": "Mood:"} in await searched(folder, "cheap")


def took(tokens: int, seconds: float = 0.0) -> RowResult:
    """Return the result of a row that took so many tokens."""
    return RowResult(
        score=1.0,
        values=((1.0,),),
        unparsed=0.0,
        calls=1,
        tokens=tokens,
        judge_tokens=0,
        seconds=seconds,
        output="good",
        steps={},
        problem="",
        cell_numbers=(1,),
    )


def test_a_formula_is_evaluated_on_each_row_and_a_missing_score_stays_missing() -> None:
    values = Preference("score / tokens").values(np.array([1.0, 1.0, np.nan]), [took(10), took(40), took(40)])

    assert values.tolist() == pytest.approx([0.1, 0.025, np.nan], nan_ok=True)


def test_an_answer_that_took_no_time_does_not_end_the_search() -> None:
    assert Preference("score - 0.001 / latency").values(np.array([1.0]), [took(10)]).tolist() == [0.0]


@pytest.mark.parametrize(
    ("prefer", "swing"), [("best", 0.0), ("100 * score - tokens", 100.0), ("score / tokens", 0.05), ("-tokens", 0.0)]
)
def test_the_swing_is_the_difference_in_value_that_one_answer_makes(prefer: str, swing: float) -> None:
    assert Preference(prefer).swing([took(10), took(30)]) == pytest.approx(swing)


def test_by_the_score_equal_means_take_fewer_tokens_and_a_formula_prices_them() -> None:
    assert Preference().equal == 0.005
    assert Preference("score - 0.001 * tokens").equal == 0.0
    assert [Preference(text).keeps_cheap for text in ("best", "balanced", "cheap", "-tokens")] == [
        False,
        True,
        True,
        False,
    ]
