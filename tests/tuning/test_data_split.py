"""The data split: search rows in one order, some of them for demonstrations, the other rows held out."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from promptkit.errors import InputError
from promptkit.evaluation.suite.suite import Suite
from promptkit.tuning.data_split import (
    DataSplit,
    data_notes,
    holdout_share,
    read_data_split,
    row_content,
    row_labels,
    split_rows,
    step_data_split,
)
from tests.engine.helpers import Folder
from tests.evaluation.suites import SUITE
from tests.tuning.planted import ADVISED_SUITE, STEP_LABELS, advised
from tests.tuning.tunings import TuneBench, rows


@pytest.fixture
def bench(folder: Folder) -> TuneBench:
    return TuneBench(folder, 100)


def shares(found: DataSplit) -> tuple[list[int], list[int], list[int]]:
    return sorted(found.search), sorted(found.demo_pool), sorted(found.holdout)


def test_each_row_is_searched_shown_or_kept_and_only_that(bench: TuneBench) -> None:
    found = read_data_split(bench.start())

    assert sorted([*found.search, *found.demo_pool, *found.holdout]) == list(range(100))
    assert found.visible == (*found.search, *found.demo_pool)


def test_a_quarter_of_the_search_rows_is_for_demonstrations_and_at_most_sixteen(bench: TuneBench) -> None:
    small, large = read_data_split(bench.start()), TuneBench(bench.folder, 400)
    assert len(small.demo_pool) == len(small.visible) // 4
    assert len(read_data_split(large.start()).demo_pool) == 16


def test_without_a_pool_all_search_rows_are_scored(bench: TuneBench) -> None:
    assert read_data_split(bench.start(), pooled=False).demo_pool == ()


def test_the_order_is_that_of_a_seed_and_the_split_of_none(bench: TuneBench) -> None:
    first, same, other = (read_data_split(bench.start(), seed=seed) for seed in (0, 0, 1))

    assert first.search == same.search != other.search
    assert first.holdout == other.holdout


def test_labels_are_balanced_on_both_sides_and_in_the_pool(bench: TuneBench) -> None:
    found = read_data_split(bench.start())
    assert found.labels is not None
    for places in (found.search, found.demo_pool, found.holdout):
        good = sum(found.labels[place] == "good" for place in places)
        assert abs(good - len(places) / 2) <= 1


def test_a_recorded_split_is_kept(bench: TuneBench) -> None:
    before = read_data_split(bench.start())
    bench.rows(rows(150))
    after = read_data_split(bench.start(), (before.salt, before.share))

    assert set(before.holdout) <= set(after.holdout)
    assert not set(before.visible) & set(after.holdout)
    assert (after.salt, after.share) == (before.salt, before.share)


def test_rows_that_are_wrong_are_left_out_and_counted(bench: TuneBench) -> None:
    bench.rows([entry if number % 10 else {"text": entry["text"]} for number, entry in enumerate(rows(100))])
    found = read_data_split(bench.start())

    assert (found.wrong, len(found.rows)) == (10, 90)


def test_rows_that_the_objective_is_not_for_are_left_out_and_noted(bench: TuneBench) -> None:
    bench.rows([entry if number % 10 else {"text": entry["text"]} for number, entry in enumerate(rows(100))])
    found = read_data_split(bench.start(SUITE.replace("label", "{label: {when: row.expect is defined}}")))

    assert (found.wrong, found.exempt, len(found.rows)) == (0, 10, 90)
    assert "10 rows are left out: `accuracy` does not apply to them" in data_notes(found)


def test_rows_with_a_blank_cluster_are_split_one_by_one(bench: TuneBench) -> None:
    bench.rows([{**entry, "of": "" if number < 80 else "x"} for number, entry in enumerate(rows(100))])
    found = read_data_split(bench.start(SUITE.replace("rows.jsonl", "{file: rows.jsonl, cluster: of}")))

    assert 20 < len(found.holdout) < 80


def test_a_row_that_stands_several_times_counts_once_on_its_side(bench: TuneBench) -> None:
    once = read_data_split(bench.start())
    bench.rows(
        [
            {**entry, "text": entry["text"].upper() if again else entry["text"]}
            for again in (0, 1)
            for entry in rows(100)
        ]
    )
    twice = read_data_split(bench.start(), (once.salt, once.share))

    assert (twice.duplicates, len(twice.rows), twice.size) == (100, 200, 100)
    assert twice.holdout == once.holdout
    assert sorted(twice.visible) == sorted(once.visible)


def reworded_rows(count: int, times: int) -> list[dict[str, object]]:
    """Return rows of several numbers, each `times` over with something in front."""
    numbers = [" ".join(f"{number}{letter}" for letter in "abcdef") for number in range(count)]
    return [
        {"text": f"{before} {text}", "expect": ["good", "bad"][number % 2]}
        for before in ("Hello", "Dear all", "Well", "Please")[:times]
        for number, text in enumerate(numbers)
    ]


def test_rows_that_nearly_repeat_each_other_are_on_one_side_and_count_as_one(bench: TuneBench) -> None:
    bench.rows(reworded_rows(50, 4))
    found = read_data_split(bench.start())
    parts = [{place % 50 for place in places} for places in (found.search, found.demo_pool, found.holdout)]

    assert sorted(row for part in parts for row in part) == list(range(50))
    assert (found.size, found.independent_size, found.independent_holdout) == (200, 50, len(parts[2]))
    assert {place % 50 for place in found.independent(found.visible)} == parts[0] | parts[1]
    assert len(found.independent(found.visible)) == len(parts[0] | parts[1])
    assert data_notes(found)[0].startswith("200 rows, 50 independent: rows that nearly repeat each other count as one")


def test_a_declared_cluster_stands_in_place_of_near_duplicates(bench: TuneBench) -> None:
    bench.rows([{**entry, "of": at} for at, entry in enumerate(reworded_rows(20, 4))])
    found = read_data_split(bench.start(SUITE.replace("rows.jsonl", "{file: rows.jsonl, cluster: of}")))

    assert found.independent_size == 80
    assert data_notes(found) == []


def test_a_row_that_nearly_repeats_one_of_an_earlier_split_joins_it_and_moves_none(bench: TuneBench) -> None:
    bench.rows(reworded_rows(50, 1))
    before = read_data_split(bench.start())
    bench.rows(reworded_rows(50, 2))
    after = read_data_split(bench.start(), (before.salt, before.share))

    assert {place % 50 for place in after.holdout} == set(before.holdout)
    assert len(after.holdout) == 2 * len(before.holdout)


@pytest.mark.parametrize("together", [3, 5, 20])
def test_rows_for_demonstrations_are_of_other_clusters_than_those_that_are_scored(
    bench: TuneBench, together: int
) -> None:
    bench.rows([{**entry, "of": number // together} for number, entry in enumerate(rows(200))])
    found = read_data_split(bench.start(SUITE.replace("rows.jsonl", "{file: rows.jsonl, cluster: of}")))
    shown, scored = ({place // together for place in places} for places in (found.demo_pool, found.search))

    assert not shown & scored
    assert bool(shown) == (together < 16)


def test_where_no_row_can_be_used_the_rows_say_why(bench: TuneBench) -> None:
    bench.rows([{"words": "x", "expect": "good"}] * 3)

    with pytest.raises(InputError, match="text"):
        read_data_split(bench.start())


class TestSteps:
    def suite(self, folder: Folder, text: str) -> Suite:
        bench, target = advised(folder, 60)
        return bench.start(text, target=target)

    def test_a_steps_rows_are_split_as_those_of_the_target(self, folder: Folder) -> None:
        suite = self.suite(folder, ADVISED_SUITE + STEP_LABELS)
        whole = read_data_split(suite)
        for own in suite.steps:
            found = step_data_split(own, whole)
            assert shares(found) == shares(whole)
            assert found.search == whole.search

    def test_rows_that_a_step_cannot_take_are_out_of_its_search(self, folder: Folder) -> None:
        bench, target = advised(folder, 60)
        kept = rows(60)
        bench.rows([{**entry, "advice": "keep" if entry["expect"] == "good" else "drop"} for entry in kept])
        lines = (folder.root / "evals/rows.jsonl").read_text(encoding="utf-8").splitlines()
        some = [line.replace('"expect"', '"unknown"') if at % 5 == 0 else line for at, line in enumerate(lines)]
        (folder.root / "evals/rows.jsonl").write_text("\n".join(some) + "\n", encoding="utf-8")
        suite = bench.start(ADVISED_SUITE + STEP_LABELS, target=target)
        whole = read_data_split(suite)
        tone = step_data_split(next(each for each in suite.steps if each.source.step == "tone"), whole)

        assert tone.wrong == 12
        assert set(tone.search) == {place for place in whole.search if place % 5}
        assert set(tone.holdout) == {place for place in whole.holdout if place % 5}


@pytest.mark.parametrize(
    ("expected", "labels"),
    [
        (["a", "b"], ("a", "b")),
        ([True, False], (True, False)),
        ([["a"], ["b"]], None),
        ([None, "a"], None),
        ([0.5, 0.25], None),
        (list(range(21)), None),
    ],
)
def test_labels_are_plain_values_of_a_few_classes(expected: list[object], labels: tuple[object, ...] | None) -> None:
    assert row_labels(expected) == labels


contents = st.lists(st.text(max_size=5), min_size=1, max_size=80)


def test_up_to_twenty_different_answers_are_classes() -> None:
    assert row_labels([*range(20), 0]) is not None
    assert row_labels(range(21)) is None


@pytest.mark.parametrize(("count", "notes"), [(30, 0), (29, 1)])
def test_fewer_than_thirty_rows_are_noted(folder: Folder, count: int, notes: int) -> None:
    noted = data_notes(read_data_split(TuneBench(folder, count).start()))

    assert ["are too few" in note for note in noted] == [True] * notes


def numbered(rows: int) -> list[str]:
    return [f"row {number}" for number in range(rows)]


@given(contents)
def test_each_row_is_on_one_side(contents: list[str]) -> None:
    split = split_rows(contents)

    assert sorted(split.search + split.holdout) == list(range(len(contents)))


@given(contents)
def test_duplicates_are_on_one_side_and_counted(contents: list[str]) -> None:
    split = split_rows(contents)

    assert not {contents[row] for row in split.search} & {contents[row] for row in split.holdout}
    assert split.duplicates == len(contents) - len(set(contents))


@pytest.mark.parametrize(
    ("rows", "confirm"), [(10, 6), (30, 18), (60, 36), (200, 120), (300, 180), (400, 200), (1_000, 500), (4_000, 500)]
)
def test_sizes_follow_the_number_of_rows(rows: int, confirm: int) -> None:
    assert len(split_rows(numbered(rows)).holdout) == pytest.approx(confirm, abs=1)
    assert holdout_share(rows) == pytest.approx(confirm / rows)


@pytest.mark.parametrize("labels", [["yes"] * 30 + ["no"] * 70, ["a", "b", "c", "d"] * 25, ["a"] * 95 + ["b"] * 5])
def test_each_label_has_its_share_within_a_row(labels: list[str]) -> None:
    split = split_rows(numbered(100), labels=labels)
    for label in set(labels):
        kept = sum(labels[row] == label for row in split.holdout)
        assert kept == pytest.approx(0.6 * labels.count(label), abs=1)


def test_all_labels_together_have_their_share_within_a_row_too() -> None:
    labels = ["a", "b", "c", "d"] * 15
    for data in range(20):
        split = split_rows([f"{data}: {content}" for content in numbered(60)], labels=labels)
        assert len(split.holdout) == pytest.approx(36, abs=1)


def test_where_no_salt_balances_all_labels_the_nearest_is_taken() -> None:
    labels = [number % 20 for number in range(200)]
    split = split_rows(numbered(200), labels=labels)

    assert len(split.holdout) == pytest.approx(120, abs=4)
    assert all(abs(sum(labels[row] == label for row in split.holdout) - 6) <= 4 for label in range(20))


@given(st.integers(1, 40), st.integers(1, 40))
def test_rows_that_are_added_move_none(rows: int, more: int) -> None:
    before = split_rows(numbered(rows))
    after = split_rows(numbered(rows + more), recorded=(before.salt, before.share))

    assert after.search[: len(before.search)] == before.search
    assert after.holdout[: len(before.holdout)] == before.holdout


def test_the_cap_on_confirm_rows_moves_none_either() -> None:
    before = split_rows(numbered(900))
    after = split_rows(numbered(3_000), recorded=(before.salt, before.share))

    assert set(before.holdout) <= set(after.holdout)
    assert after.share == before.share == 0.5


def test_a_rows_side_is_that_of_its_content_alone() -> None:
    split = split_rows(numbered(50))
    alone = [split_rows([content], recorded=(split.salt, split.share)) for content in numbered(50)]

    assert [row for row, each in enumerate(alone) if each.holdout] == list(split.holdout)


def test_sides_stay_what_they_were_in_earlier_versions() -> None:
    # A recorded salt is worth nothing if the same salt means another split one day.
    assert split_rows(numbered(12), recorded=(7, 0.6)).holdout == (0, 2, 3, 4, 6, 9, 11)


def test_a_cluster_is_on_one_side() -> None:
    clusters = [f"document {number // 4}" for number in range(120)]
    split = split_rows(numbered(120), clusters=clusters)

    assert split.search
    assert split.holdout
    assert not {clusters[row] for row in split.search} & {clusters[row] for row in split.holdout}


def test_a_row_of_another_cluster_that_holds_what_a_confirm_row_holds_is_on_neither_side() -> None:
    clusters = [f"document {number // 4}" for number in range(120)]
    contents = ["the same" if number % 4 == 0 else f"row {number}" for number in range(120)]
    split = split_rows(contents, clusters=clusters)

    assert len(split.search) + len(split.holdout) < 120
    assert "the same" not in {contents[row] for row in split.search}
    assert "the same" in {contents[row] for row in split.holdout}


def test_rows_that_all_hold_the_same_leave_one_side_empty() -> None:
    split = split_rows(["same"] * 40)

    assert not (split.search and split.holdout)
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


labels = st.lists(st.sampled_from("abcdefg"), max_size=120)
seeds = st.integers(0, 1_000)


def test_rows_that_a_model_wrote_are_searched_on_and_real_ones_confirm(bench: TuneBench) -> None:
    made = [{**row, "generated": {"by": "tiny"}} for row in rows(100)]
    bench.rows([*made[:60], *rows(100)[60:]])
    found = read_data_split(bench.start())

    assert found.generated_holdout == 0
    assert abs(len(found.holdout) - 24) <= 1  # 0.6 of the 40 real rows
    assert len(found.visible) == 100 - len(found.holdout)
    assert not any("generated" in note for note in data_notes(found))


def test_a_generated_row_that_repeats_a_held_out_one_is_in_no_part(bench: TuneBench) -> None:
    real = rows(40)
    bench.rows([*real, *({**row, "generated": {"by": "tiny"}} for row in real)])
    found = read_data_split(bench.start())

    assert abs(len(found.holdout) - 24) <= 1
    assert not {row_content(found.rows[place].inputs[0]) for place in found.visible} & {
        row_content(found.rows[place].inputs[0]) for place in found.holdout
    }


def test_too_few_real_rows_confirm_together_with_generated_ones_and_a_note_says_so(bench: TuneBench) -> None:
    made = [{**row, "generated": {"by": "tiny"}} for row in rows(100)]
    bench.rows([*made[:71], *rows(100)[71:]])
    found = read_data_split(bench.start())

    assert found.generated_holdout > 0
    assert data_notes(found)[0].startswith(f"to confirm on, {found.generated_holdout} of {len(found.holdout)} rows are")
