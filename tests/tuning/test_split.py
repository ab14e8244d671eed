"""Search and confirm rows: by what they hold, balanced by label, duplicates on one side, and for ever."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from promptkit.tuning.split import confirm_share, row_content, split_rows

contents = st.lists(st.text(max_size=5), min_size=1, max_size=80)


def numbered(rows: int) -> list[str]:
    return [f"row {number}" for number in range(rows)]


@given(contents)
def test_each_row_is_on_one_side(contents: list[str]) -> None:
    split = split_rows(contents)

    assert sorted(split.search + split.confirm) == list(range(len(contents)))


@given(contents)
def test_duplicates_are_on_one_side_and_counted(contents: list[str]) -> None:
    split = split_rows(contents)

    assert not {contents[row] for row in split.search} & {contents[row] for row in split.confirm}
    assert split.duplicates == len(contents) - len(set(contents))


@pytest.mark.parametrize(
    ("rows", "confirm"), [(10, 6), (30, 18), (60, 36), (200, 120), (300, 180), (400, 200), (1_000, 500), (4_000, 500)]
)
def test_sizes_follow_the_number_of_rows(rows: int, confirm: int) -> None:
    assert len(split_rows(numbered(rows)).confirm) == pytest.approx(confirm, abs=1)
    assert confirm_share(rows) == pytest.approx(confirm / rows)


@pytest.mark.parametrize("labels", [["yes"] * 30 + ["no"] * 70, ["a", "b", "c", "d"] * 25, ["a"] * 95 + ["b"] * 5])
def test_each_label_has_its_share_within_a_row(labels: list[str]) -> None:
    split = split_rows(numbered(100), labels=labels)
    for label in set(labels):
        kept = sum(labels[row] == label for row in split.confirm)
        assert kept == pytest.approx(0.6 * labels.count(label), abs=1)


def test_all_labels_together_have_their_share_within_a_row_too() -> None:
    labels = ["a", "b", "c", "d"] * 15
    for data in range(20):
        split = split_rows([f"{data}: {content}" for content in numbered(60)], labels=labels)
        assert len(split.confirm) == pytest.approx(36, abs=1)


def test_where_no_salt_balances_all_labels_the_nearest_is_taken() -> None:
    labels = [number % 20 for number in range(200)]
    split = split_rows(numbered(200), labels=labels)

    assert len(split.confirm) == pytest.approx(120, abs=4)
    assert all(abs(sum(labels[row] == label for row in split.confirm) - 6) <= 4 for label in range(20))


@given(st.integers(1, 40), st.integers(1, 40))
def test_rows_that_are_added_move_none(rows: int, more: int) -> None:
    before = split_rows(numbered(rows))
    after = split_rows(numbered(rows + more), recorded=(before.salt, before.share))

    assert after.search[: len(before.search)] == before.search
    assert after.confirm[: len(before.confirm)] == before.confirm


def test_the_cap_on_confirm_rows_moves_none_either() -> None:
    before = split_rows(numbered(900))
    after = split_rows(numbered(3_000), recorded=(before.salt, before.share))

    assert set(before.confirm) <= set(after.confirm)
    assert after.share == before.share == 0.5


def test_a_rows_side_is_that_of_its_content_alone() -> None:
    split = split_rows(numbered(50))
    alone = [split_rows([content], recorded=(split.salt, split.share)) for content in numbered(50)]

    assert [row for row, each in enumerate(alone) if each.confirm] == list(split.confirm)


def test_sides_stay_what_they_were_in_earlier_versions() -> None:
    # A recorded salt is worth nothing if the same salt means another split one day.
    assert split_rows(numbered(12), recorded=(7, 0.6)).confirm == (0, 2, 3, 4, 6, 9, 11)


def test_a_cluster_is_on_one_side() -> None:
    clusters = [f"document {number // 4}" for number in range(120)]
    split = split_rows(numbered(120), clusters=clusters)

    assert split.search
    assert split.confirm
    assert not {clusters[row] for row in split.search} & {clusters[row] for row in split.confirm}


def test_a_row_of_another_cluster_that_holds_what_a_confirm_row_holds_is_on_neither_side() -> None:
    clusters = [f"document {number // 4}" for number in range(120)]
    contents = ["the same" if number % 4 == 0 else f"row {number}" for number in range(120)]
    split = split_rows(contents, clusters=clusters)

    assert len(split.search) + len(split.confirm) < 120
    assert "the same" not in {contents[row] for row in split.search}
    assert "the same" in {contents[row] for row in split.confirm}


def test_rows_that_all_hold_the_same_leave_one_side_empty() -> None:
    split = split_rows(["same"] * 40)

    assert not (split.search and split.confirm)
    assert split.duplicates == 39


class TestContent:
    def test_case_blanks_and_the_order_of_keys_are_left_aside(self) -> None:
        one = row_content({"text": "A  good\nfilm ", "about": ["X", {"k": " Y"}]})

        assert one == row_content({"about": ["x", {"k": "y"}], "text": "a good film"})

    @pytest.mark.parametrize("other", [{"text": "good", "stars": 5}, {"text": "goods"}, {"title": "good"}, {"text": 1}])
    def test_other_inputs_are_other_content(self, other: dict[str, object]) -> None:
        assert row_content(other) != row_content({"text": "good"})


def test_no_rows_and_unlike_lengths_are_refused() -> None:
    with pytest.raises(ValueError, match="0 rows"):
        split_rows([])
    with pytest.raises(ValueError, match="2 rows"):
        split_rows(["a", "b"], labels=["x"])
