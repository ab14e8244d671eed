"""A budget of requests: counted wherever the answer comes from, and no answer under way is lost."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from promptkit.errors import BudgetSpent, RequestRefused
from promptkit.runtimes.base import Reply, Request
from promptkit.runtimes.budget import Budget
from promptkit.runtimes.client import Client
from promptkit.runtimes.scripted import Scripted
from tests.runtimes.test_client import HELLO, Memory


def numbered(number: int) -> Request:
    return replace(HELLO, sample=str(number))


async def test_one_request_more_than_the_budget_is_refused() -> None:
    runtime = Scripted(lambda request: "yes")
    client = Client(runtime).within(Budget(2))
    await client.ask(numbered(1))
    await client.ask(numbered(2))

    with pytest.raises(BudgetSpent, match="the budget of 2 requests is spent"):
        await client.ask(numbered(3))

    assert len(runtime.requests) == 2


async def test_a_request_that_the_store_answers_counts_as_well() -> None:
    runtime, budget = Scripted(lambda request: "yes"), Budget(2)
    client = Client(runtime, store=Memory()).within(budget)
    await client.ask(HELLO)
    await client.ask(HELLO)

    assert (len(runtime.requests), budget.spent, budget.cached) == (1, 2, 1)


async def test_a_request_that_nobody_answered_is_begun_and_not_cached() -> None:
    budget = Budget(2)
    with pytest.raises(RequestRefused):
        await Client(Scripted([RequestRefused("no")]), attempts=1).within(budget).ask(HELLO)

    assert (budget.spent, budget.cached) == (1, 0)


async def test_what_is_under_way_when_the_budget_is_spent_is_answered_and_kept() -> None:
    store = Memory()
    client = Client(Scripted(lambda request: "yes", delay=0.02), store=store).within(Budget(3))

    with pytest.raises(ExceptionGroup) as raised:
        async with asyncio.TaskGroup() as group:  # The first that is refused cancels the others.
            for number in range(5):
                group.create_task(client.ask(numbered(number)))

    assert raised.group_contains(BudgetSpent)
    assert len(store.kept) == 3


async def test_the_client_that_it_is_taken_from_stays_without_a_budget() -> None:
    client = Client(Scripted(lambda request: "yes"))
    client.within(Budget(0))

    assert (await client.ask(HELLO)).text == "yes"


async def test_tokens_are_kept_to_though_many_ask_at_once() -> None:
    runtime = Scripted(lambda request: Reply(text="yes", tokens_in=9, tokens_out=1), delay=0.01)
    budget = Budget(100, tokens=45)
    client = Client(runtime).within(budget)

    with pytest.raises(ExceptionGroup) as raised:
        async with asyncio.TaskGroup() as group:
            for number in range(20):
                group.create_task(client.ask(numbered(number)))

    assert raised.group_contains(BudgetSpent, match="the budget of 45 tokens is spent")
    assert (budget.spent_tokens, budget.ended, len(runtime.requests)) == (40, "tokens", 4)


async def test_without_a_limit_of_tokens_the_first_request_holds_nobody_up() -> None:
    runtime = Scripted(lambda request: "yes", delay=0.01)
    client = Client(runtime).within(Budget(100))
    await asyncio.gather(*(client.ask(numbered(number)) for number in range(4)))

    assert runtime.peak == 4


async def test_no_request_is_begun_once_the_time_is_up() -> None:
    budget = Budget(100, seconds=0.0)

    with pytest.raises(BudgetSpent, match="the time is up"):
        await Client(Scripted(lambda request: "yes")).within(budget).ask(HELLO)

    assert (budget.spent, budget.ended) == (0, "minutes")


async def test_one_large_request_does_not_end_a_budget_that_holds_many_small_ones() -> None:
    def sized(request: Request) -> Reply:
        return Reply(text="yes", tokens_in=50 if request.sample == "0" else 4, tokens_out=1)

    runtime = Scripted(sized, delay=0.01)
    budget = Budget(100, tokens=200)
    client = Client(runtime).within(budget)
    await asyncio.gather(*(client.ask(numbered(number)) for number in range(20)))

    assert (budget.spent_tokens, len(runtime.requests)) == (51 + 19 * 5, 20)
