"""Levels: what is asked at once has one level, what had to wait for it the next; no clock is needed to tell."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from promptkit.techniques.levels import level, next_level, reset_level, run_concurrently
from promptkit.techniques.perform import perform
from tests.techniques.steps import Bench

MINE = """
from promptkit.techniques import Answer, Task, technique


@technique()
async def mine(task: Task) -> Answer:
    await task.each(lambda _: task.ask("answer"), range(2))
    return await task.decide(await task.ask("answer"))
"""
ANSWER = "---\nproduces: answer\n---\n{% extends prompt %}\n"


async def ask(times: int) -> list[int]:
    """Ask as often, one after the other, and return the level of each."""
    return [next_level() for _ in range(times)]


async def test_what_waits_for_each_other_has_rising_levels() -> None:
    reset_level()

    assert await ask(3) == [1, 2, 3]
    assert level() == 3


async def test_what_is_asked_at_once_has_one_level() -> None:
    reset_level()
    await ask(1)

    assert await run_concurrently(ask, [1, 1, 1]) == [[2], [2], [2]]


async def test_what_comes_after_has_waited_for_the_longest() -> None:
    reset_level()

    await run_concurrently(ask, [1, 4, 2])

    assert next_level() == 5


async def test_what_is_nested_counts_from_where_its_sender_stands() -> None:
    async def asked_twice(times: int) -> list[list[int]]:
        next_level()
        return await run_concurrently(ask, [times, 1])

    reset_level()

    assert await run_concurrently(asked_twice, [1, 2]) == [[[2], [2]], [[2, 3], [2]]]
    assert next_level() == 4


async def test_nothing_at_once_costs_no_level() -> None:
    reset_level()

    assert await run_concurrently(ask, []) == []
    assert next_level() == 1


async def test_results_are_in_the_order_of_the_items() -> None:
    async def late(number: int) -> int:
        for _ in range(number):
            await asyncio.sleep(0)
        return number

    assert await run_concurrently(late, [3, 0, 2]) == [3, 0, 2]


async def test_where_one_fails_the_others_are_cancelled_and_waited_for() -> None:
    ended: list[str] = []

    async def fail_or_wait(fails: bool) -> None:
        if fails:
            raise ValueError("it fails")
        try:
            await asyncio.Event().wait()
        finally:
            ended.append("cancelled")

    with pytest.raises(ValueError, match="it fails"):
        await run_concurrently(fail_or_wait, [False, True, False])

    assert ended == ["cancelled", "cancelled"]


async def test_each_asking_of_a_step_begins_at_the_first_level(tmp_path: Path) -> None:
    (tmp_path / "techniques").mkdir()
    (tmp_path / "techniques" / "mine.py").write_text(MINE)
    (tmp_path / "templates" / "techniques" / "mine").mkdir(parents=True)
    (tmp_path / "templates" / "techniques" / "mine" / "answer.j2").write_text(ANSWER)
    bench = Bench(tmp_path, ["7"] * 6)

    await perform("mine", bench.step())
    await perform("mine", bench.step())

    assert [number for _, number in bench.levels] == [1, 1, 2, 1, 1, 2]
