"""No budget ends without a verdict, whatever a row of the pick costs beside one of the start."""

from __future__ import annotations

import pytest

from tests.engine.helpers import Folder
from tests.tuning.dear_picks import A_ROW, tuned
from tests.tuning.test_budget import Clock

ROWS = 36
BEYOND = [(0, 1), (0, 2), (10, 3), (20, 4), (40, 5), (60, 6), (200, 6)]
"""Rows of the start that a budget holds beyond the least, and how many times as much a row of the pick takes."""


@pytest.mark.parametrize(
    ("limit", "beyond", "times"),
    [(limit, *budget) for limit in A_ROW for budget in BEYOND if (limit, budget) != ("minutes", BEYOND[-1])],
)
async def test_a_budget_ends_with_a_verdict_on_the_pairs_that_it_holds(
    folder: Folder, monkeypatch: pytest.MonkeyPatch, limit: str, beyond: int, times: int
) -> None:
    ran = await tuned(folder, Clock(monkeypatch), limit, beyond=beyond, times=times, rows=ROWS)
    record = ran.record

    assert record["status"] == "done"
    assert record["best"]["changes"] == {"mood.layout": "markdown"}
    assert record["confirmation"]["rows"] > 0
    assert record["difference"]["n"] == record["confirmation"]["rows"]
    assert record["calls"] <= record["budget"]["calls"]
    assert record["tokens"] <= (record["budget"]["tokens"] or record["tokens"])
