"""Rows that count as one: those of a field's value, and those with equal inputs."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from promptkit.evaluation.cells.clusters import Clusters
from promptkit.evaluation.comparison.compare import compare_runs
from promptkit.evaluation.comparison.run_rows import run_rows
from promptkit.evaluation.stored_run import recomputed_record
from tests.engine.helpers import Folder
from tests.evaluation.suites import SUITE, Bench, Ran, moods

CLUSTERED = SUITE.replace("rows.jsonl", "{file: rows.jsonl, cluster: who}")


@pytest.fixture
def bench(folder: Folder) -> Bench:
    return Bench(folder)


def interval(ran: Ran) -> tuple[float, float, int]:
    found = ran.metric()
    return found["low"], found["high"], found["clusters"]


async def test_rows_that_are_copied_narrow_no_interval(bench: Bench) -> None:
    alone, copied = moods(12), moods(12) * 10
    bench.rows(alone)
    one = await bench.run()
    bench.rows(copied)
    ten = await bench.run()
    bench.rows([{**row, "who": row["text"]} for row in copied])
    named = await bench.run(CLUSTERED)

    assert one.record["notes"] == []
    assert ten.record["notes"] == ["12 different rows among 120: rows with equal inputs are one cluster"]
    assert interval(ten) == interval(named)
    assert ten.metric()["clusters"] == 12 and ten.metric()["n"] == 120
    assert ten.metric()["high"] - ten.metric()["low"] >= 0.9 * (one.metric()["high"] - one.metric()["low"])


async def test_equal_inputs_count_and_not_other_fields(bench: Bench) -> None:
    bench.rows([{**row, "note": number} for number, row in enumerate(moods(6) * 2)])
    ran = await bench.run()

    assert ran.metric()["clusters"] == 6


async def test_no_threshold_is_met_by_copies(bench: Bench) -> None:
    bounds = SUITE + "thresholds: {accuracy: {at_least: 0.6}}\n"
    bench.rows([{"text": f"good {at}", "expect": "good"} for at in range(3)] * 20)
    ran = await bench.run(bounds)

    assert [found["passed"] for found in ran.record["thresholds"]] == [False]


async def test_equal_rows_of_different_clusters_join_them(bench: Bench) -> None:
    rows = [("a", "good 1"), ("a", "good 2"), ("b", "good 2"), ("b", "good 3"), ("c", "good 4")]
    bench.rows([{"who": who, "text": text, "expect": "good"} for who, text in rows])
    ran = await bench.run(CLUSTERED)

    assert ran.metric()["clusters"] == 2
    assert "4 different rows among 5: rows with equal inputs are one cluster" in ran.record["notes"]


@pytest.mark.parametrize("blank", ["", " ", None])
async def test_rows_with_a_blank_cluster_are_clusters_of_their_own(bench: Bench, blank: Any) -> None:
    bench.rows([{**row, "who": "ada" if number < 3 else blank} for number, row in enumerate(moods(6))])
    ran = await bench.run(CLUSTERED)

    assert ran.metric()["clusters"] == 4
    assert ran.record["notes"] == ["`who` is blank in 3 rows: a blank names no cluster"]


async def test_a_row_without_the_field_is_wrong_and_not_blank(bench: Bench) -> None:
    bench.rows([{**row, "who": number} if number else row for number, row in enumerate(moods(6))])
    ran = await bench.run(CLUSTERED)

    assert ran.evaluated.wrong == 1 and ran.record["notes"] == []


async def test_a_stored_run_and_a_comparison_know_which_rows_are_equal(bench: Bench) -> None:
    bench.rows(moods(6) * 3)
    one = await bench.run()
    other = await bench.run(SUITE + "variants: {mine: {mood.layout: prefix}}\n")
    view, project = other.view, bench.folder.project
    found = compare_runs(run_rows(view, "mine", "b"), run_rows(one.view, "baseline", "a"), project)

    assert recomputed_record(view, project).variants[0].metrics["accuracy"].clusters == 6
    assert found.metrics["accuracy"].difference is not None
    assert found.metrics["accuracy"].difference.n == 6
    assert found.row_notes == ["6 different rows among 18: rows with equal inputs are one cluster"]


@given(rows=st.lists(st.tuples(st.sampled_from(["", "a", "b", "c", "d"]), st.integers(0, 6)), max_size=20))
def test_clusters_are_the_connected_rows(rows: list[tuple[str, int]]) -> None:
    clusters = Clusters("who")
    for who, cell in rows:
        clusters.add({"who": who}, [cell])
    found = clusters.array()
    groups: list[set[tuple[str, Any]]] = []
    for who, cell in rows:
        keys = {("cell", cell), ("who", who)} if who else {("cell", cell)}
        joined = [group for group in groups if group & keys]
        groups = [group for group in groups if not group & keys] + [keys.union(*joined)]
    places = [next(at for at, group in enumerate(groups) if ("cell", cell) in group) for _, cell in rows]

    if found is None:
        assert len(set(places)) == len(rows)
    else:
        pairs = [(a, b) for a in range(len(rows)) for b in range(a)]
        assert all((found[a] == found[b]) == (places[a] == places[b]) for a, b in pairs)
