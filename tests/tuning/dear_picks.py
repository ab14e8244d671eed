"""Tunings whose pick is right on every row, and costs several times the start in calls, tokens or time."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

from promptkit.runtimes.base import Reply, Request
from promptkit.runtimes.scripted import request_text
from promptkit.tuning.data_split import read_data_split
from promptkit.tuning.options import Limits
from tests.engine.helpers import Folder
from tests.tuning.test_budget import Clock
from tests.tuning.tunings import Ran, TuneBench, luck, row_of, truth

TOKENS, SECONDS = 10, 1.0
"""The cost of a row of the start, beside one request."""
A_ROW = {"calls": 1.0, "tokens": TOKENS, "minutes": 1.2 * SECONDS / 60}
"""The cost of a row of the start by limit, with the slack of times."""
PIPELINE = """
name: mood
inputs: {text: {example: fine}}
steps:
  mood: {prompt: mood, repairs: 5}
tune:
  mood.layout: [markdown]
"""


def answering(limit: str, times: int, clock: Clock) -> Callable[[Request], Reply]:
    """Return a script whose answers to markdown are right, and take so many times the start's cost by a limit."""
    asked: Counter[int] = Counter()

    def answer(request: Request) -> Reply:
        number, pays = row_of(request), "##" in request_text(request)
        dearer = {limit: times} if pays else {}
        seconds = SECONDS * dearer.get("minutes", 1)
        clock.now += seconds
        asked[number] += pays
        is_last = not pays or asked[number] % dearer.get("calls", 1) == 0
        text = truth(number + (not luck(number, 1.0 if pays else 0.4))) if is_last else "perhaps"
        return Reply(text=text, tokens_in=TOKENS * dearer.get("tokens", 1), tokens_out=0, seconds=seconds)

    return answer


async def tuned(folder: Folder, clock: Clock, limit: str, *, beyond: int, times: int, rows: int) -> Ran:
    """Tune with a budget of so many rows of the start beyond the least that is not refused."""
    bench = TuneBench(folder, rows)
    folder.write("pipelines/mood.yaml", PIPELINE)
    held_out = len(bench_holdout(bench))
    budget = (2 * held_out + 2 * 12 + beyond) * A_ROW[limit]
    limits = {"calls": 10_000, limit: budget if limit == "minutes" else int(budget)}
    return await bench.tune(answering(limit, times, clock), limits=Limits(**limits))  # type: ignore[arg-type]


def bench_holdout(bench: TuneBench) -> tuple[int, ...]:
    """Return the places of the rows that a tuning on a bench confirms on."""
    return read_data_split(bench.start()).holdout
