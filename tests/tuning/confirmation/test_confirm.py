"""The confirmation: start and pick on all confirm rows, and what may be said of that."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest

from promptkit.errors import BudgetSpent, RequestRefused
from promptkit.runtimes.base import Reply, Request
from promptkit.runtimes.budget import Budget
from promptkit.runtimes.scripted import request_text
from promptkit.tuning.confirmation.confirm import Confirmation, confirm, holdout_key, measured_gain, pair_key
from promptkit.tuning.data_split import DataSplit, read_data_split
from promptkit.tuning.search_space.candidate import Candidate, Choice
from tests.engine.helpers import Folder
from tests.tuning.evaluators import Opened, open_evaluator
from tests.tuning.tunings import TuneBench, luck, row_of, rows, truth

START = Candidate()
PICK = Candidate({"mood.layout": Choice("markdown", {"mood.layout": "markdown"})})
MACRO = "data: rows.jsonl\ntarget: mood\nmetrics: {macro: f1}\n"


def says(right: dict[bool, float], tokens: dict[bool, int] | None = None) -> Callable[[Request], Reply]:
    """Return a script that is right on such a share of rows, without and with the pick's layout."""

    def answer(request: Request) -> Reply:
        number, is_pick = row_of(request), "##" in request_text(request)
        text = truth(number) if luck(number, right[is_pick]) else truth(number + 1)
        return Reply(text=text, tokens_in=(tokens or {}).get(is_pick, 10), tokens_out=0)

    return answer


@asynccontextmanager
async def opened(
    folder: Folder,
    script: Callable[[Request], Reply | Exception],
    count: int = 100,
    text: str | None = None,
    budget: Budget | None = None,
) -> AsyncIterator[tuple[Opened, DataSplit]]:
    bench = TuneBench(folder, count)
    suite = bench.start(text)
    async with open_evaluator(bench, script, suite, budget=budget) as found:
        yield found, read_data_split(suite)


async def test_a_large_gain_is_shown(folder: Folder) -> None:
    async with opened(folder, says({False: 0.5, True: 0.9})) as (found, split):
        confirmation = await confirm(found.evaluator, START, PICK, split, ordinal=1)

    assert (confirmation.outcome, confirmation.why) == ("improved", "the interval of the difference lies above 0")
    assert confirmation.difference is not None
    assert confirmation.difference.low > 0
    assert (confirmation.difference.level, confirmation.difference.n) == (0.95, len(split.holdout))
    assert confirmation.difference.mean == (confirmation.difference.better - confirmation.difference.worse) / len(
        split.holdout
    )
    assert confirmation.rows_needed is None


async def test_only_start_and_pick_are_asked_on_the_confirm_rows_and_each_once(folder: Folder) -> None:
    async with opened(folder, says({False: 0.5, True: 0.9})) as (found, split):
        await confirm(found.evaluator, START, PICK, split, ordinal=1)
        asked = sorted(row_of(request) for request in found.runtime.requests)

    assert asked == sorted([*split.holdout] * 2)


async def test_a_loss_is_not_shown_and_says_how_many_rows_could_tell(folder: Folder) -> None:
    async with opened(folder, says({False: 0.8, True: 0.7})) as (found, split):
        confirmation = await confirm(found.evaluator, START, PICK, split, ordinal=1)

    assert confirmation.outcome == "not shown"
    assert confirmation.difference is not None
    assert confirmation.difference.mean < 0
    assert confirmation.rows_needed is not None
    assert confirmation.rows_needed > len(split.holdout)


async def test_each_further_verdict_on_the_same_rows_has_a_wider_interval(folder: Folder) -> None:
    async with opened(folder, says({False: 0.5, True: 0.7})) as (found, split):
        widths = []
        for ordinal in (1, 2, 3):
            confirmation = await confirm(found.evaluator, START, PICK, split, ordinal=ordinal)
            assert confirmation.difference is not None
            widths.append(confirmation.difference.high - confirmation.difference.low)

    assert widths == sorted(widths)
    assert widths[0] < widths[2]


async def test_few_rows_show_nothing(folder: Folder) -> None:
    async with opened(folder, says({False: 0.0, True: 1.0}), count=29) as (found, split):
        confirmation = await confirm(found.evaluator, START, PICK, split, ordinal=1)

    assert confirmation.outcome == "not shown"
    assert "fewer than 30 rows" in confirmation.why


@pytest.mark.parametrize("text", [None, MACRO])
async def test_a_missing_answer_of_the_pick_does_not_help_it(folder: Folder, text: str | None) -> None:
    answer = says({False: 0.5, True: 0.9})

    def refusing(request: Request) -> Reply | Exception:
        is_lost = "##" in request_text(request) and row_of(request) % 9 == 0
        return RequestRefused("too long") if is_lost else answer(request)

    async with opened(folder, refusing, text=text) as (found, split):
        confirmation = await confirm(found.evaluator, START, PICK, split, ordinal=1)

    assert (confirmation.outcome, confirmation.why) == ("not shown", "too many confirm rows have no answer")


async def test_a_metric_that_is_no_mean_has_the_interval_of_its_own(folder: Folder) -> None:
    async with opened(folder, says({False: 0.5, True: 0.95}), text=MACRO) as (found, split):
        confirmation = await confirm(found.evaluator, START, PICK, split, ordinal=1)
        back = measured_gain(found.evaluator, PICK, START, split.holdout)
        metric, samples = (
            found.evaluator.metric,
            [found.evaluator.sample(candidate, split.holdout) for candidate in (PICK, START)],
        )
        own = metric.difference(*samples, level=0.95)

    assert own is not None
    assert confirmation.difference is not None
    assert (confirmation.difference.mean, confirmation.difference.low) == pytest.approx((own.difference, own.low))
    assert confirmation.outcome == "improved"
    assert confirmation.difference is not None
    assert (back.mean, back.low, back.high) == pytest.approx(
        (-confirmation.difference.mean, -confirmation.difference.high, -confirmation.difference.low)
    )


async def test_a_pick_that_is_shorter_and_as_good_is_told_as_cheaper(folder: Folder) -> None:
    same = says({False: 0.9, True: 0.9}, {False: 100, True: 80})
    async with opened(folder, same, count=400) as (found, split):
        cheaper = await confirm(found.evaluator, START, PICK, split, ordinal=1)
    assert (cheaper.outcome, cheaper.is_cheaper) == ("not shown", True)


async def test_the_margin_of_what_is_as_good_is_in_the_units_of_the_metric(folder: Folder) -> None:
    folder.write("own.py", "def score(output, expected):\n    return 50 if output == expected else 10\n")
    metric = "{python: {function: '../own.py:score', bounds: [10, 50]}}"
    same = says({False: 0.9, True: 0.9}, {False: 100, True: 80})
    text = f"data: rows.jsonl\ntarget: mood\nmetrics: {{rating: {metric}}}\n"
    async with opened(folder, same, count=400, text=text) as (found, split):
        cheaper = await confirm(found.evaluator, START, PICK, split, ordinal=1)

    assert cheaper.difference is not None
    assert -0.02 * 40 < cheaper.difference.low < -0.02
    assert cheaper.is_cheaper


@pytest.mark.parametrize(("share", "tokens"), [(0.9, 81), (0.8, 50)])
async def test_a_pick_that_is_hardly_shorter_or_worse_is_not(folder: Folder, share: float, tokens: int) -> None:
    async with opened(folder, says({False: 0.9, True: share}, {False: 100, True: tokens}), 400) as (found, split):
        assert not (await confirm(found.evaluator, START, PICK, split, ordinal=1)).is_cheaper


async def test_a_budget_that_ends_in_it_leaves_no_verdict_and_keeps_what_was_asked(folder: Folder) -> None:
    async with opened(folder, says({False: 0.5, True: 0.9}), budget=Budget(50)) as (found, split):
        with pytest.raises(BudgetSpent):
            await confirm(found.evaluator, START, PICK, split, ordinal=1)

        assert sum(len(list(found.evaluator.results(candidate, split.holdout))) for candidate in (START, PICK)) == 50


def test_confirm_rows_are_told_by_what_they_hold_in_whatever_order(folder: Folder) -> None:
    bench = TuneBench(folder, 60)
    first = holdout_key(read_data_split(bench.start()))
    bench.rows(list(reversed(rows(60))))
    turned = holdout_key(read_data_split(bench.start()))
    bench.rows(rows(61))
    longer = holdout_key(read_data_split(bench.start()))

    assert first == turned != longer


def test_a_pair_is_told_from_the_pair_the_other_way_round() -> None:
    assert pair_key(b"start", b"pick") == pair_key(b"start", b"pick") != pair_key(b"pick!", b"start"[:4])
    assert pair_key(b"a" * 16, b"b" * 16) != pair_key(b"b" * 16, b"a" * 16)


def test_keys_in_the_store_keep_their_length(folder: Folder) -> None:
    key = holdout_key(read_data_split(TuneBench(folder, 60).start()))

    assert len(key) == len(pair_key(b"start", b"pick")) == 16


def test_without_a_confirmation_no_verdict_is_counted() -> None:
    assert Confirmation(outcome="not shown", why="").ordinal == 0
