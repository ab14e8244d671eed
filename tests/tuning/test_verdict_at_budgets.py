"""No budget ends without a verdict, whatever a row of the pick costs beside one of the start."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest

from promptkit.runtimes.base import Reply, Request
from promptkit.runtimes.scripted import request_text
from promptkit.tuning.options import Limits
from tests.engine.helpers import Folder
from tests.tuning.test_budget import Clock
from tests.tuning.tunings import Ran, TuneBench, luck, row_of, truth

ROWS = 36
TOKENS, SECONDS = 10, 1.0
"""The cost of a row of the start, beside one request."""
PIPELINE = """
name: mood
inputs: {text: {example: fine}}
steps:
  mood: {prompt: mood, repairs: 5}
tune:
  mood.layout: [markdown]
"""


def answering(times: Counter[str], clock: Clock) -> Callable[[Request], Reply]:
    """Return a script whose answers to markdown are right, and take so many times the start's calls, tokens and
    seconds."""
    asked: Counter[int] = Counter()

    def answer(request: Request) -> Reply:
        number, pays = row_of(request), "##" in request_text(request)
        dearer = times if pays else Counter(calls=1, tokens=1, minutes=1)
        clock.now += SECONDS * dearer["minutes"]
        asked[number] += pays
        is_last = not pays or asked[number] % dearer["calls"] == 0
        text = truth(number + (not luck(number, 1.0 if pays else 0.4))) if is_last else "perhaps"
        return Reply(text=text, tokens_in=TOKENS * dearer["tokens"], tokens_out=0)

    return answer


async def tuned(folder: Folder, clock: Clock, limits: Limits, **times: int) -> Ran:
    bench = TuneBench(folder, ROWS)
    folder.write("pipelines/mood.yaml", PIPELINE)
    dearer = Counter({"calls": 1, "tokens": 1, "minutes": 1, **times})
    return await bench.tune(answering(dearer, clock), limits=limits)


LEAST_ROWS = 2 * 22 + 2 * 12
"""Rows of start and pick on the confirm rows, and a block of both."""


A_ROW = {"calls": 1.0, "tokens": TOKENS, "minutes": 1.2 * SECONDS / 60}
BEYOND = [(0, 1), (0, 2), (10, 3), (20, 4), (40, 5), (60, 6), (200, 6)]
"""Rows of the start that a budget holds beyond the least, and how many times as much a row of the pick takes."""


@pytest.mark.parametrize(
    ("limit", "more", "times"),
    [(limit, *beyond) for limit in A_ROW for beyond in BEYOND if (limit, beyond) != ("minutes", BEYOND[-1])],
)
async def test_a_budget_ends_with_a_verdict_on_the_pairs_that_it_holds(
    folder: Folder, monkeypatch: pytest.MonkeyPatch, limit: str, more: int, times: int
) -> None:
    budget = (LEAST_ROWS + more) * A_ROW[limit]
    limits: dict[str, Any] = {"calls": 1_000, limit: budget if limit == "minutes" else int(budget)}
    ran = await tuned(folder, Clock(monkeypatch), Limits(**limits), **{limit: times})
    record = ran.record

    assert record["status"] == "done"
    assert record["best"]["changes"] == {"mood.layout": "markdown"}
    assert record["confirmation"]["rows"] > 0
    assert record["difference"]["n"] == record["confirmation"]["rows"]
    assert record["calls"] <= limits["calls"]
    assert record["tokens"] <= limits.get("tokens", record["tokens"])
