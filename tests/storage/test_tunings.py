"""What a later tuning must know of earlier ones: the split of a suite's rows, and the verdicts on its confirm rows."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from promptkit.storage.store import Store


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store.open(tmp_path) as store:
        yield store


def test_a_suite_has_no_split_before_its_first_tuning(store: Store) -> None:
    assert store.tunings.split("evals/mood.yaml") is None


def test_a_split_is_kept_by_suite(store: Store, tmp_path: Path) -> None:
    store.tunings.keep_split("evals/mood.yaml", 3, 0.6)
    store.tunings.keep_split("evals/other.yaml", 4, 0.5)

    with Store.open(tmp_path) as again:
        assert again.tunings.split("evals/mood.yaml") == (3, 0.6)


def test_verdicts_on_the_same_rows_are_counted(store: Store) -> None:
    assert [store.tunings.ordinal(b"rows", pair) for pair in (b"one", b"two", b"three")] == [1, 2, 3]


def test_the_same_pair_on_the_same_rows_is_the_same_verdict(store: Store) -> None:
    assert [store.tunings.ordinal(b"rows", pair) for pair in (b"one", b"two", b"one")] == [1, 2, 1]


def test_other_rows_are_counted_from_one(store: Store) -> None:
    store.tunings.ordinal(b"rows", b"one")

    assert store.tunings.ordinal(b"new rows", b"two") == 1
