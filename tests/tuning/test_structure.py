"""Invariants of every tuning, checked in every request and every cell, with no tolerance."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from statistics import fmean
from typing import Any

import pytest

from promptkit.runtimes.base import Request
from promptkit.runtimes.scripted import Scripted
from promptkit.storage.store import Store
from promptkit.tuning.confirmation.confirm import measured_gain
from promptkit.tuning.data_split import holdout_units, read_data_split
from promptkit.tuning.search_space.candidate import AS_WRITTEN, Candidate
from tests.engine.helpers import Folder
from tests.tuning.evaluators import open_evaluator
from tests.tuning.logs import Sides, cells, number_in, numbers_in, shown_in, sides, stored
from tests.tuning.tunings import Ran, TuneBench, right_where, row_of, rows

CALLS = 500
KINDS = ("decide", "examples", "layout", "wording")
"""Without techniques, whose second requests would stand between those that are looked at."""
IN_FLIGHT = 8


def share_of(text: str) -> float:
    return (0.85 if "Mood:" in text else 0.5) + (0.07 if "##" in text else 0.0)


@dataclass
class Told:
    """One tuning with all that can be known of it. `at_confirm` is its record when the first confirm row was asked."""

    bench: TuneBench
    ran: Ran
    sides: Sides
    cells: Mapping[str, list[tuple[int, float]]]
    at_confirm: Mapping[str, Any]

    @property
    def paired(self) -> int:
        """How many confirm rows start and pick were asked."""
        return int(self.ran.record["confirmation"]["rows"])

    @property
    def pick(self) -> str:
        return str(next(entry["name"] for entry in self.ran.record["candidates"] if entry["pick"]))

    def rows_of(self, variant: str) -> list[int]:
        return [row for row, _ in self.cells[variant]]


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> Told:
    bench = TuneBench(Folder(tmp_path_factory.mktemp("tuning")), 100)
    split = sides(bench)
    answer = right_where(share_of)
    at_confirm: list[Mapping[str, Any]] = []

    def script(request: Request) -> str:
        if row_of(request) in split.confirm and not at_confirm:
            at_confirm.append(stored(bench, 1))
        return answer(request)

    ran = asyncio.run(bench.tune(script, calls=CALLS, only=KINDS))
    return Told(bench, ran, split, cells(bench, ran.tuned.number), at_confirm[0])


def test_the_search_cells_of_each_candidate_are_a_prefix_of_the_one_row_order(told: Told) -> None:
    order, pool = list(told.sides.order), set(told.sides.pool)
    assert len(told.cells) > 20
    for variant in told.cells:
        searched = set(told.rows_of(variant)) - told.sides.confirm - pool
        assert searched == set(order[: len(searched)]), variant


def test_rows_for_demonstrations_are_asked_of_the_start_alone_and_score_nobody(told: Told) -> None:
    pool = set(told.sides.pool)
    asked = {variant for variant in told.cells if pool & set(told.rows_of(variant))}

    assert all(variant == AS_WRITTEN or variant.startswith("thoughts") for variant in asked)
    assert not asked & {entry["name"] for entry in told.ran.record["candidates"] if not entry["start"]}


def test_confirm_cells_are_start_and_pick_on_the_same_confirm_rows_each_once_before_the_ablation(told: Told) -> None:
    requests = told.ran.runtime.requests
    first = next(at for at, request in enumerate(requests) if row_of(request) in told.sides.confirm)
    asked = [row_of(request) for request in requests[first : first + 2 * told.paired]]

    assert sorted(asked) == sorted([*set(asked)] * 2)
    for variant in (AS_WRITTEN, told.pick):
        assert {row for row in told.rows_of(variant) if row in told.sides.confirm} == set(asked)


def test_confirm_rows_are_asked_in_one_order_that_their_content_gives(told: Told) -> None:
    split = read_data_split(told.bench.start())
    ordered = [number_in(split.rows[place].row.fields["text"]) for unit in holdout_units(split) for place in unit]
    asked = {row for row in told.rows_of(AS_WRITTEN) if row in told.sides.confirm}

    assert asked == set(ordered[: told.paired])
    assert ordered != sorted(ordered)


def test_start_and_pick_are_asked_row_by_row(told: Told) -> None:
    requests = told.ran.runtime.requests
    first = next(at for at, request in enumerate(requests) if row_of(request) in told.sides.confirm)
    asked = [row_of(request) for request in requests[first : first + 2 * told.paired]]
    apart = [abs(at - asked.index(row)) for at, row in enumerate(asked)]

    assert max(apart) <= 2 * IN_FLIGHT + 4


def test_no_other_candidate_meets_a_confirm_row_but_the_pick_with_one_change_taken_back(told: Told) -> None:
    asked = {variant for variant in told.cells if told.sides.confirm & set(told.rows_of(variant))}
    changes = len(told.ran.record["best"]["choices"])

    assert len(asked - {AS_WRITTEN, told.pick}) <= changes
    paired = {row for row in told.rows_of(AS_WRITTEN) if row in told.sides.confirm}
    for variant in asked:
        assert set(told.rows_of(variant)) & told.sides.confirm == paired


def test_the_pick_is_in_the_store_before_a_confirm_row_is_asked(told: Told) -> None:
    assert told.at_confirm["best"]["changes"] == told.ran.record["best"]["changes"] != {}
    assert told.at_confirm["verdict"] == "not shown"
    assert told.at_confirm["best"]["confirm"] is None


def test_no_request_shows_a_confirm_row_beside_the_one_that_it_asks(told: Told) -> None:
    shown = {number for request in told.ran.runtime.requests for number in shown_in(request)}

    assert shown & set(told.sides.pool) and shown & set(told.sides.order)
    assert shown <= {*told.sides.pool, *told.sides.order}


def test_no_request_shows_the_row_that_it_asks_with_its_answer(told: Told) -> None:
    assert all(row_of(request) not in shown_in(request) for request in told.ran.runtime.requests)


def test_reported_means_are_those_of_the_confirm_cells(told: Told) -> None:
    for variant, side in ((AS_WRITTEN, "baseline"), (told.pick, "best")):
        scores = [value for row, value in told.cells[variant] if row in told.sides.confirm]
        assert told.ran.record[side]["confirm"]["mean"] == fmean(scores)
        assert told.ran.record[side]["confirm"]["n"] == len(scores)


def test_what_chose_is_told_apart_from_the_result_without_the_rows_that_the_pick_shows(told: Told) -> None:
    best = told.ran.record["best"]
    shown = numbers_in(str(best["changes"].get("mood.examples")))
    scores = [value for row, value in told.cells[told.pick] if row in told.sides.order and row not in shown]

    assert best["search"]["mean"] == fmean(scores)
    assert best["search"] != best["confirm"]


def test_calls_are_those_that_the_model_got_and_within_the_budget(told: Told) -> None:
    record = told.ran.record

    assert record["cached"] == 0
    assert len(told.ran.runtime.requests) == record["calls"] <= CALLS


def test_the_stages_count_all_calls_but_those_that_measure_the_start(told: Told) -> None:
    counted = sum(entry["calls"] for entry in told.ran.record["stages"])

    assert told.ran.record["calls"] - counted == 2 * 8


async def test_start_and_pick_the_other_way_round_turn_the_interval_round(told: Told) -> None:
    kept, start, pick = told.ran.record["difference"], Candidate(), told.ran.tuned.candidate
    assert pick is not None
    units = holdout_units(read_data_split(told.bench.start()))
    confirm = [row for unit in units for row in unit][: told.paired]
    level = told.ran.record["confirmation"]["look_level"]
    async with open_evaluator(told.bench, right_where(share_of), told.bench.start()) as opened:
        await opened.evaluator.evaluate([start, pick], confirm)
        there = measured_gain(opened.evaluator, start, pick, confirm, level=level)
        back = measured_gain(opened.evaluator, pick, start, confirm, level=level)

    assert (there.mean, there.low, there.high) == (kept["mean"], kept["low"], kept["high"])
    assert (back.mean, back.low, back.high) == pytest.approx((-there.mean, -there.high, -there.low), abs=1e-6)
    assert (back.better, back.worse) == (there.worse, there.better)


class TestMadeAgain:
    async def test_the_same_tuning_asks_nothing_and_ends_the_same(self, told: Told) -> None:
        again = await told.bench.tune(right_where(share_of), calls=CALLS, only=KINDS)

        assert again.runtime.requests == []
        assert without_times(again.record) == without_times(told.ran.record)
        assert again.record["cached"] == again.record["calls"]

    @pytest.mark.parametrize("after", [3, 200, 330, 440])
    async def test_one_that_was_interrupted_goes_on_from_there(self, told: Told, folder: Folder, after: int) -> None:
        bench = TuneBench(folder, 100)
        first = await interrupted(bench, after)
        again = await bench.tune(right_where(share_of), calls=CALLS, only=KINDS)

        assert without_times(again.record) == without_times(told.ran.record)
        assert len(first.requests) + len(again.runtime.requests) <= told.ran.record["calls"] + IN_FLIGHT
        assert cells(bench, again.tuned.number) == dict(told.cells)

    async def test_an_interrupted_one_leaves_what_it_had(self, folder: Folder) -> None:
        bench = TuneBench(folder, 100)
        await interrupted(bench, 200)

        record = stored(bench, 1)
        assert (record["status"], record["stopped_by"], record["verdict"]) == (
            "interrupted",
            "interrupted",
            "not shown",
        )
        assert record["candidates"]


async def interrupted(bench: TuneBench, after: int) -> Scripted:
    """Cancel a tuning when its model has been asked so often; return the model."""
    answer = right_where(share_of)
    asked = 0

    async def script(request: Request) -> str:
        nonlocal asked
        asked += 1
        if asked == after:
            task.cancel()
        await asyncio.sleep(0)
        return answer(request)

    runtime = Scripted(script)
    task = asyncio.ensure_future(bench.tune(runtime, calls=CALLS, only=KINDS))
    with pytest.raises(asyncio.CancelledError):
        await task
    return runtime


def without_times(record: Mapping[str, Any]) -> dict[str, Any]:
    """Return a record without what is another each time: its number, the clock, and what came from the store."""
    left_out = ("run", "seconds", "cached")
    values = {key: value for key, value in record.items() if key not in left_out}
    values["candidates"] = [
        {key: value for key, value in entry.items() if key not in ("latency", "front")}
        for entry in values["candidates"]
    ]
    return values


class TestOtherTunings:
    async def test_two_tunings_share_what_they_ask(self, told: Told) -> None:
        narrower = await told.bench.tune(right_where(share_of), calls=CALLS, only=("decide",))

        assert narrower.record["cached"] > 0
        assert len(narrower.runtime.requests) == narrower.record["calls"] - narrower.record["cached"]

    async def test_cells_of_an_evaluation_are_not_asked_again(self, folder: Folder) -> None:
        bench = TuneBench(folder, 100)
        await bench.run("data: rows.jsonl\ntarget: mood\nmetrics: {accuracy: label}\n", right_where(share_of))
        ran = await bench.tune(right_where(share_of), calls=CALLS, only=KINDS)

        start = {row for row, _ in cells(bench, ran.tuned.number)[AS_WRITTEN]}
        assert ran.record["cached"] >= len(start)


async def test_rows_that_are_added_move_none_across_the_split(folder: Folder) -> None:
    bench = TuneBench(folder, 100)
    await bench.tune(right_where(share_of), calls=CALLS, only=("decide",))
    before = sides(bench)
    bench.rows(rows(110))
    ran = await bench.tune(right_where(share_of), calls=CALLS, only=("decide",))
    asked = cells(bench, ran.tuned.number)[AS_WRITTEN]

    searched = {row for row, _ in asked} - before.confirm
    assert {row for row, _ in asked} & before.confirm
    assert not searched & before.confirm
    assert ran.record["rows"]["salt"] == told_salt(bench)


def told_salt(bench: TuneBench) -> int:
    with Store.open(bench.store_folder) as store:
        found = store.tunings.split("evals/test.yaml")
    assert found is not None
    return found[0]
