"""The confirmation: start and pick in pairs and looks on the confirm rows, and what may be said of that."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest

from promptkit.errors import RequestRefused
from promptkit.evaluation.statistics.group_sequential import look_levels
from promptkit.runtimes.base import Reply, Request
from promptkit.runtimes.budget import Budget
from promptkit.runtimes.scripted import request_text
from promptkit.tuning.confirmation.confirm import Confirmation, confirm, holdout_key, measured_gain, pair_key
from promptkit.tuning.data_split import DataSplit, holdout_units, read_data_split
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
    assert (confirmation.difference.level, confirmation.difference.n) == (0.95, len(confirmation.rows))
    assert confirmation.difference.mean == (confirmation.difference.better - confirmation.difference.worse) / len(
        confirmation.rows
    )
    assert confirmation.rows_needed is None


async def test_a_very_large_gain_ends_it_at_the_first_look(folder: Folder) -> None:
    async with opened(folder, says({False: 0.0, True: 1.0})) as (found, split):
        confirmation = await confirm(found.evaluator, START, PICK, split, ordinal=1)
        asked = sorted(row_of(request) for request in found.runtime.requests)

    assert (confirmation.look, confirmation.looks, confirmation.units) == (1, 4, len(split.holdout))
    assert asked == sorted([*confirmation.rows] * 2)
    assert confirmation.rows == tuple(row for unit in holdout_units(split) for row in unit)[:25]


async def test_a_pick_that_is_behind_is_given_up_and_is_said_to_be(folder: Folder) -> None:
    async with opened(folder, says({False: 0.8, True: 0.5})) as (found, split):
        confirmation = await confirm(found.evaluator, START, PICK, split, ordinal=1)

    assert (confirmation.outcome, confirmation.look) == ("not shown", 1)
    assert confirmation.why.startswith("ended early")


async def test_a_shorter_pick_is_not_given_up_as_it_may_turn_out_to_be_no_worse(folder: Folder) -> None:
    async with opened(folder, says({False: 0.8, True: 0.5}, {False: 100, True: 80})) as (found, split):
        confirmation = await confirm(found.evaluator, START, PICK, split, ordinal=1)

    assert (confirmation.outcome, confirmation.look) == ("not shown", confirmation.looks)


async def test_the_interval_is_the_one_that_the_look_decides_by(folder: Folder) -> None:
    async with opened(folder, says({False: 0.5, True: 0.9})) as (found, split):
        confirmation = await confirm(found.evaluator, START, PICK, split, ordinal=1)
        alone = measured_gain(found.evaluator, START, PICK, confirmation.rows, level=confirmation.look_level)

    assert confirmation.difference is not None
    assert confirmation.look_level > 0.95
    assert (confirmation.difference.low, confirmation.difference.high) == (alone.low, alone.high)


@pytest.mark.parametrize("most", [40, 17, 1, 0])
async def test_no_more_rows_are_asked_than_are_planned_and_their_last_look_spends_the_whole_error(
    folder: Folder, most: int
) -> None:
    async with opened(folder, says({False: 0.7, True: 0.7}, {False: 100, True: 80})) as (found, split):
        confirmation = await confirm(found.evaluator, START, PICK, split, ordinal=1, most_rows=most)

    assert (len(confirmation.rows), confirmation.units) == (most, most)
    assert (confirmation.difference is None) == (most == 0)
    assert "no pair" in confirmation.why if most == 0 else confirmation.look == confirmation.looks


async def test_a_cluster_is_asked_as_a_whole(folder: Folder) -> None:
    bench = TuneBench(folder, 120)
    bench.rows([{**row, "document": number // 3} for number, row in enumerate(rows(120))])
    suite = bench.start("data: {file: rows.jsonl, cluster: document}\ntarget: mood\nmetrics: {accuracy: label}\n")
    split = read_data_split(suite)
    async with open_evaluator(bench, says({False: 0.0, True: 1.0}), suite, clusters=split.clusters) as found:
        confirmation = await confirm(found.evaluator, START, PICK, split, ordinal=1)

    clusters = {row // 3 for row in confirmation.rows}
    assert confirmation.difference is not None
    assert confirmation.difference.n == len(clusters) == len(confirmation.rows) / 3 < confirmation.units


async def test_a_loss_is_not_shown_and_says_how_many_rows_could_tell(folder: Folder) -> None:
    async with opened(folder, says({False: 0.8, True: 0.7})) as (found, split):
        confirmation = await confirm(found.evaluator, START, PICK, split, ordinal=1)

    assert confirmation.outcome == "not shown"
    assert confirmation.difference is not None
    assert confirmation.difference.mean < 0
    assert confirmation.rows_needed is not None
    assert confirmation.rows_needed > len(split.holdout)


async def test_each_further_verdict_on_the_same_rows_has_a_wider_interval(folder: Folder) -> None:
    async with opened(folder, says({False: 0.5, True: 0.4})) as (found, split):
        widths = []
        for ordinal in (1, 2, 3):
            confirmation = await confirm(found.evaluator, START, PICK, split, ordinal=ordinal)
            assert confirmation.difference is not None
            assert confirmation.look == 1
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
        back = measured_gain(found.evaluator, PICK, START, confirmation.rows, level=confirmation.look_level)
        metric, samples = (
            found.evaluator.metric,
            [found.evaluator.sample(candidate, confirmation.rows) for candidate in (PICK, START)],
        )
        own = metric.difference(*samples, level=confirmation.look_level)

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
    assert -0.021 * 40 < cheaper.difference.low < -0.02
    assert cheaper.is_cheaper


@pytest.mark.parametrize(("share", "tokens"), [(0.9, 81), (0.8, 50)])
async def test_a_pick_that_is_hardly_shorter_or_worse_is_not(folder: Folder, share: float, tokens: int) -> None:
    async with opened(folder, says({False: 0.9, True: share}, {False: 100, True: tokens}), 400) as (found, split):
        assert not (await confirm(found.evaluator, START, PICK, split, ordinal=1)).is_cheaper


async def test_a_budget_that_ends_between_two_looks_gives_the_verdict_on_the_pairs_there_are(folder: Folder) -> None:
    same = says({False: 0.7, True: 0.7}, {False: 100, True: 80})
    async with opened(folder, same, budget=Budget(61)) as (found, split):
        confirmation = await confirm(found.evaluator, START, PICK, split, ordinal=1)

    units, difference = len(split.holdout), confirmation.difference
    assert 25 < len(confirmation.rows) <= 30
    assert difference is not None and difference.n == len(confirmation.rows)
    fractions = [25 / units, len(confirmation.rows) / units]
    assert confirmation.look_level == look_levels(fractions)[-1]
    assert (confirmation.outcome, confirmation.look, confirmation.looks) == ("not shown", 2, 4)


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
    assert pair_key(b"start", b"pick") != pair_key(b"start", b"pick", rows=40) != pair_key(b"start", b"pick", rows=41)
    assert pair_key(b"a" * 16, b"b" * 16) != pair_key(b"b" * 16, b"a" * 16)


def test_keys_in_the_store_keep_their_length(folder: Folder) -> None:
    key = holdout_key(read_data_split(TuneBench(folder, 60).start()))

    assert len(key) == len(pair_key(b"start", b"pick")) == 16


def test_without_a_confirmation_no_verdict_is_counted() -> None:
    assert Confirmation(outcome="not shown", why="").ordinal == 0
