"""The order of rows: each beginning of it has the labels' shares, and clusters stay together."""

from __future__ import annotations

from collections import Counter
from itertools import pairwise
from math import ceil, floor

import pytest
from hypothesis import given
from hypothesis import strategies as st

from promptkit.evaluation.suite.row_order import row_order

labels = st.lists(st.sampled_from("abcdefg"), max_size=120)
seeds = st.integers(0, 1_000)


@given(labels, seeds)
def test_each_row_is_met_once(labels: list[str], seed: int) -> None:
    assert sorted(row_order(len(labels), labels=labels, seed=seed)) == list(range(len(labels)))


@given(labels, seeds)
def test_every_prefix_has_each_labels_share_rounded_down_or_up(labels: list[str], seed: int) -> None:
    order = row_order(len(labels), labels=labels, seed=seed)
    whole = Counter(labels)
    for length in range(len(labels) + 1):
        prefix = Counter(labels[row] for row in order[:length])
        for label, count in whole.items():
            share = count * length / len(labels)
            assert floor(share + 1e-9) <= prefix[label] <= ceil(share - 1e-9)


def test_ten_rare_labels_do_not_meet_in_one_block() -> None:
    labels = ["common"] * 90 + [f"rare {number}" for number in range(10)]
    order = row_order(100, labels=labels, seed=3)

    assert [sum(labels[row] != "common" for row in order[at : at + 10]) for at in range(0, 100, 10)] == [1] * 10


@given(st.lists(st.integers(0, 9), max_size=60), seeds)
def test_rows_of_a_cluster_stay_together(clusters: list[int], seed: int) -> None:
    met = [clusters[row] for row in row_order(len(clusters), clusters=clusters, seed=seed)]
    changes = sum(one != other for one, other in pairwise(met))

    assert changes == max(0, len(set(clusters)) - 1)


def test_clusters_are_dealt_by_the_label_that_most_of_their_rows_have() -> None:
    clusters = [number // 3 for number in range(60)]
    labels = ["yes" if number % 3 and number < 30 else "no" for number in range(60)]
    order = row_order(60, labels=labels, clusters=clusters, seed=1)

    for at in range(0, 60, 6):
        assert sum(row < 30 for row in order[at : at + 6]) == 3


def test_the_seed_alone_decides() -> None:
    labels = ["yes", "no"] * 20

    assert row_order(40, labels=labels, seed=1) == row_order(40, labels=labels, seed=1)
    assert row_order(40, labels=labels, seed=1) != row_order(40, labels=labels, seed=2)
    assert row_order(40, seed=1) != row_order(40, seed=2)


def test_as_many_labels_as_rows_are_wanted() -> None:
    with pytest.raises(ValueError, match="one value for each"):
        row_order(3, labels=["yes"])
