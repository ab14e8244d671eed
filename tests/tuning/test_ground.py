"""What a search stands on: rows that can be asked, in one order, some of them for demonstrations, the rest unseen."""

from __future__ import annotations

import pytest

from promptkit.errors import InputError
from promptkit.evaluation import Suite
from promptkit.tuning.ground import POOL_ROWS, Ground, read_ground, row_labels, step_ground
from tests.engine.helpers import Folder
from tests.evaluation.suites import SUITE
from tests.tuning.planted import ADVISED_SUITE, STEP_LABELS, advised
from tests.tuning.tunings import TuneBench, rows


@pytest.fixture
def bench(folder: Folder) -> TuneBench:
    return TuneBench(folder, 100)


def shares(found: Ground) -> tuple[list[int], list[int], list[int]]:
    return sorted(found.order), sorted(found.pool), sorted(found.confirm)


def test_each_row_is_searched_shown_or_kept_and_only_that(bench: TuneBench) -> None:
    found = read_ground(bench.start())

    assert sorted([*found.order, *found.pool, *found.confirm]) == list(range(100))
    assert found.search == (*found.order, *found.pool)


def test_a_quarter_of_the_search_rows_is_for_demonstrations_and_at_most_sixteen(bench: TuneBench) -> None:
    small, large = read_ground(bench.start()), TuneBench(bench.folder, 400)
    assert len(small.pool) == len(small.search) // 4
    assert len(read_ground(large.start()).pool) == POOL_ROWS


def test_without_a_pool_all_search_rows_are_scored(bench: TuneBench) -> None:
    assert read_ground(bench.start(), pooled=False).pool == ()


def test_the_order_is_that_of_a_seed_and_the_split_of_none(bench: TuneBench) -> None:
    first, same, other = (read_ground(bench.start(), seed=seed) for seed in (0, 0, 1))

    assert first.order == same.order != other.order
    assert first.confirm == other.confirm


def test_labels_are_balanced_on_both_sides_and_in_the_pool(bench: TuneBench) -> None:
    found = read_ground(bench.start())
    assert found.labels is not None
    for places in (found.order, found.pool, found.confirm):
        good = sum(found.labels[place] == "good" for place in places)
        assert abs(good - len(places) / 2) <= 1


def test_a_recorded_split_is_kept(bench: TuneBench) -> None:
    before = read_ground(bench.start())
    bench.rows(rows(150))
    after = read_ground(bench.start(), (before.salt, before.share))

    assert set(before.confirm) <= set(after.confirm)
    assert not set(before.search) & set(after.confirm)
    assert (after.salt, after.share) == (before.salt, before.share)


def test_rows_that_are_wrong_are_left_out_and_counted(bench: TuneBench) -> None:
    bench.rows([each if number % 10 else {"text": each["text"]} for number, each in enumerate(rows(100))])
    found = read_ground(bench.start())

    assert (found.wrong, len(found.rows)) == (10, 90)


def test_a_row_that_stands_several_times_counts_once_on_its_side(bench: TuneBench) -> None:
    once = read_ground(bench.start())
    bench.rows(
        [{**each, "text": each["text"].upper() if again else each["text"]} for again in (0, 1) for each in rows(100)]
    )
    twice = read_ground(bench.start(), (once.salt, once.share))

    assert (twice.duplicates, len(twice.rows), twice.size) == (100, 200, 100)
    assert twice.confirm == once.confirm
    assert sorted(twice.search) == sorted(once.search)


@pytest.mark.parametrize("together", [3, 5, 20])
def test_rows_for_demonstrations_are_of_other_clusters_than_those_that_are_scored(
    bench: TuneBench, together: int
) -> None:
    bench.rows([{**each, "of": number // together} for number, each in enumerate(rows(200))])
    found = read_ground(bench.start(SUITE.replace("rows.jsonl", "{file: rows.jsonl, cluster: of}")))
    shown, scored = ({place // together for place in places} for places in (found.pool, found.order))

    assert not shown & scored
    assert bool(shown) == (together < POOL_ROWS)


def test_where_no_row_can_be_used_the_rows_say_why(bench: TuneBench) -> None:
    bench.rows([{"words": "x", "expect": "good"}] * 3)

    with pytest.raises(InputError, match="text"):
        read_ground(bench.start())


class TestSteps:
    def suite(self, folder: Folder, text: str) -> Suite:
        bench, target = advised(folder, 60)
        return bench.start(text, target=target)

    def test_a_steps_rows_are_split_as_those_of_the_target(self, folder: Folder) -> None:
        suite = self.suite(folder, ADVISED_SUITE + STEP_LABELS)
        whole = read_ground(suite)
        for own in suite.steps:
            found = step_ground(own, whole)
            assert shares(found) == shares(whole)
            assert found.order == whole.order

    def test_rows_that_a_step_cannot_take_are_out_of_its_search(self, folder: Folder) -> None:
        bench, target = advised(folder, 60)
        kept = rows(60)
        bench.rows([{**each, "advice": "keep" if each["expect"] == "good" else "drop"} for each in kept])
        lines = (folder.root / "evals/rows.jsonl").read_text(encoding="utf-8").splitlines()
        some = [line.replace('"expect"', '"unknown"') if at % 5 == 0 else line for at, line in enumerate(lines)]
        (folder.root / "evals/rows.jsonl").write_text("\n".join(some) + "\n", encoding="utf-8")
        suite = bench.start(ADVISED_SUITE + STEP_LABELS, target=target)
        whole = read_ground(suite)
        tone = step_ground(next(each for each in suite.steps if each.wanted.step == "tone"), whole)

        assert tone.wrong == 12
        assert set(tone.order) == {place for place in whole.order if place % 5}
        assert set(tone.confirm) == {place for place in whole.confirm if place % 5}


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
