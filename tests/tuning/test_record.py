"""The record of a tuning: what `--json` prints, the store keeps and reports read."""

from __future__ import annotations

import asyncio
import json
from math import log
from statistics import fmean
from typing import Any

import pytest

from promptkit.runtimes.base import Alternative, Reply, Request, Token
from promptkit.runtimes.scripted import request_text
from promptkit.tuning.search_space.candidate import AS_WRITTEN
from tests.engine.helpers import Folder
from tests.tuning.logs import cells, sides, stored
from tests.tuning.scoring import REFERENCE, model
from tests.tuning.tunings import PROMPT, Ran, TuneBench, right_where, row_of, truth

SCORED = PROMPT.replace("decide: generate\ncue: none", 'decide: score\ncue: "Mood:"')


@pytest.fixture(scope="module")
def scored(tmp_path_factory: pytest.TempPathFactory) -> tuple[TuneBench, Ran]:
    """Return a tuning of a target that scores labels, of whose score only the calibration is wrong."""
    bench = TuneBench(Folder(tmp_path_factory.mktemp("tuning")), 100, prompt=SCORED)
    return bench, asyncio.run(bench.tune(model(), calls=400, only=("decide",)))


def test_it_is_json_and_what_the_store_keeps(scored: tuple[TuneBench, Ran]) -> None:
    bench, ran = scored

    assert json.loads(json.dumps(ran.record)) == ran.record == stored(bench, ran.tuned.number)


def test_it_says_what_was_asked_for_and_on_what(scored: tuple[TuneBench, Ran]) -> None:
    bench, ran = scored
    record, split = ran.record, sides(bench)

    assert (record["target"], record["suite"], record["optimizer"], record["mode"]) == ("mood", "test", "race", "both")
    assert record["metric"] == {"name": "accuracy", "kind": "label", "bounds": [0.0, 1.0], "higher_is_better": True}
    assert record["model"]["reference"] == REFERENCE
    assert record["budget"] == {"calls": 400, "tokens": None, "minutes": None}
    assert record["rows"]["search"] == len(split.order)
    assert record["rows"]["pool"] == len(split.pool)
    assert record["rows"]["confirm"] == len(split.confirm)


def test_what_search_rows_say_of_the_start_is_what_it_gave_as_it_is_written(scored: tuple[TuneBench, Ran]) -> None:
    bench, ran = scored
    order = set(sides(bench).order)
    given = [value for row, value in cells(bench, ran.tuned.number)[AS_WRITTEN] if row in order]
    told = ran.record["baseline"]["search"]

    assert told["n"] == len(given)
    assert told["mean"] == pytest.approx(fmean(given))


def test_the_pick_is_confirmed_with_offsets_and_no_candidate_was_asked_for_them(scored: tuple[TuneBench, Ran]) -> None:
    _, ran = scored
    best, searched = ran.record["best"], next(entry for entry in ran.record["candidates"] if entry["pick"])

    assert ran.record["verdict"] == "improved"
    assert best["changes"]["mood.calibrate"]["model"] == REFERENCE
    assert "mood.calibrate" not in searched["changes"]
    assert best["search"]["mean"] == searched["mean"]


def test_one_candidate_is_the_start_and_one_the_pick_and_the_front_holds_the_pick_or_better(
    scored: tuple[TuneBench, Ran],
) -> None:
    records: list[dict[str, Any]] = scored[1].record["candidates"]
    furthest = max(entry["rows"] for entry in records)

    assert [sum(entry[mark] for entry in records) for mark in ("start", "pick")] == [1, 1]
    assert any(entry["front"] for entry in records)
    assert all(entry["rows"] * 2 >= furthest for entry in records if entry["front"])
    assert [entry["rows"] for entry in records] == sorted((entry["rows"] for entry in records), reverse=True)


def test_whoever_was_dropped_says_why_and_nobody_else(scored: tuple[TuneBench, Ran]) -> None:
    for entry in scored[1].record["candidates"]:
        if entry["dropped"] is not None:
            assert 0 < entry["dropped"]["at"] <= entry["rows"]
            assert entry["dropped"]["why"]
    assert next(entry for entry in scored[1].record["candidates"] if entry["pick"])["dropped"] is None


async def test_of_a_metric_that_counts_downwards_means_are_its_own_and_a_gain_is_a_gain(folder: Folder) -> None:
    def surer(request: Request) -> Reply:
        """Say what is right, and be sure of it only where there are headings."""
        label, share = truth(row_of(request)), 0.95 if "##" in request_text(request) else 0.55
        shares = {label: share, truth(row_of(request) + 1): 1 - share}
        shown = tuple(Alternative(f" {text}".encode(), log(share)) for text, share in shares.items())
        return Reply(text=f" {label}", tokens=(Token(shown[0].piece, shown[0].logprob, shown),))

    bench = TuneBench(folder, 100, prompt=SCORED)
    text = "data: rows.jsonl\ntarget: mood\nmetrics: {misses: calibration}\n"
    ran = await bench.tune(model(surer), text=text, calls=400, only=("layout",))
    start, best = (ran.record[each]["confirm"]["mean"] for each in ("baseline", "best"))

    assert ran.record["metric"]["higher_is_better"] is False
    assert ran.record["best"]["changes"] == {"mood.layout": "markdown"}
    assert best < start
    assert ran.record["difference"]["mean"] == pytest.approx(start - best)
    assert ran.record["verdict"] == "improved"
    searched = next(entry for entry in ran.record["candidates"] if entry["pick"])
    assert searched["mean"] == pytest.approx(best)


async def test_a_pick_that_was_compared_with_nothing_has_no_score_on_search_rows(folder: Folder) -> None:
    ran = await TuneBench(folder, 60).tune(
        right_where(lambda text: 0.9 if text.count("row ") > 1 else 0.5), calls=300, optimizer="bootstrap_few_shot"
    )

    assert ran.record["best"]["changes"]
    assert ran.record["best"]["search"] is None
    assert ran.record["best"]["confirm"]["n"] == ran.record["confirmation"]["rows"]
