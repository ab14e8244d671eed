"""The race as a machine of decisions: what is due next, who is dropped and why, how it ends, what it may cost."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from promptkit.tuning.search.race import Block, Race, default_budget
from tests.tuning.simulated import Floats, run


def scored(rates: Sequence[float], rows: int, seed: int = 0) -> Floats:
    """Answers right at these rates, (candidates, rows)."""
    return (np.random.default_rng(seed).random((len(rates), rows)) < np.array(rates)[:, None]).astype(float)


def all_right(candidates: int, rows: int) -> Floats:
    return np.ones((candidates, rows))


def blocks(race: Race, scores: Floats) -> list[Block]:
    """Run a race to its end and return its blocks."""
    due = []
    while (block := race.ask()) is not None:
        due.append(block)
        give(race, block, scores)
    return due


def give(
    race: Race,
    block: Block,
    scores: Floats,
    *,
    unparsed: NDArray[np.bool_] | None = None,
    calls: float | None = None,
    tokens: Sequence[float] = (),
) -> None:
    """Give a block its scores, of all rows so far; a cell costs one call where nothing else is said."""
    stop = block.rows.stop
    failed = np.zeros(scores.shape, dtype=bool) if unparsed is None else unparsed
    race.tell(
        {number: scores[number, :stop] for number in block.alive},
        {number: failed[number, :stop] for number in block.alive},
        len(block.alive) * len(block.rows) if calls is None else calls,
        dict(enumerate(tokens)),
    )


def equal_race(candidates: int, rows: int, budget: float, **options: object) -> Race:
    return Race(costs=[1] * candidates, rows=rows, budget=budget, **options)  # type: ignore[arg-type]


class TestTheWay:
    def test_all_see_the_same_rows_of_the_order_without_a_gap(self) -> None:
        due = blocks(equal_race(16, 200, 1_600), scored([0.7] * 16, 200))

        assert [block.rows.start for block in due] == [0, *(block.rows.stop for block in due[:-1])]
        assert all(set(later.alive) <= set(block.alive) for block, later in pairwise(due))

    def test_it_begins_with_a_smoke_block_of_8_rows(self) -> None:
        assert equal_race(4, 100, 200).ask() == Block((0, 1, 2, 3), range(8))

    def test_from_row_20_on_something_is_decided_every_10_rows(self) -> None:
        due = blocks(equal_race(2, 100, 200), all_right(2, 100))

        assert [block.rows.stop for block in due] == [8, 20, 30, 40, 50, 60, 70, 80, 90, 100]

    def test_the_field_halves_and_the_rows_double(self) -> None:
        due = blocks(equal_race(16, 160, 16 * 160 // 4), all_right(16, 160))
        went = {len(block.alive): block.rows.stop for block in due}

        # The first rung is the largest for which 16·t + 8·t + 4·2t + 2·4t does not cost more: none is dropped for
        # being behind, and what is over keeps none more alive.
        assert went == {16: 16, 8: 32, 4: 64, 2: 128}

    def test_what_drops_save_does_not_put_the_first_rung_off(self) -> None:
        scores = all_right(16, 200)
        scores[12:] = 0
        whole = blocks(equal_race(16, 200, 1_067), all_right(16, 200))
        fewer = blocks(equal_race(16, 200, 1_067), scores)

        assert [(len(block.alive), block.rows) for block in whole[:3]] == [
            (16, range(8)),
            (16, range(8, 20)),
            (16, range(20, 27)),
        ]
        assert [(len(block.alive), block.rows) for block in fewer[:3]] == [
            (16, range(8)),
            (16, range(8, 20)),
            (12, range(20, 27)),
        ]

    def test_the_same_block_is_due_until_its_scores_are_given(self) -> None:
        race = equal_race(4, 100, 200)

        assert race.ask() is race.ask()

    def test_the_same_scores_make_the_same_race(self) -> None:
        scores = scored(np.linspace(0.6, 0.8, 16).tolist(), 200)
        one, other = equal_race(16, 200, 1_000), equal_race(16, 200, 1_000)

        assert blocks(one, scores) == blocks(other, scores)
        assert [entry.dropped_at for entry in one.entries] == [entry.dropped_at for entry in other.entries]
        assert one.incumbent == other.incumbent


class TestTheBudget:
    @given(
        costs=st.lists(st.sampled_from([0, 1, 1, 2, 5]), min_size=1, max_size=20),
        rows=st.integers(1, 120),
        budget=st.integers(0, 2_000),
        seed=st.integers(0, 99),
    )
    def test_it_is_kept_to_the_call(self, costs: list[int], rows: int, budget: int, seed: int) -> None:
        race = Race(costs=costs, rows=rows, budget=budget)
        ended = run(race, scored([0.7] * len(costs), rows, seed), costs=np.array(costs)[:, None])

        assert ended.calls <= budget
        assert race.budget_left == budget - ended.calls
        assert race.ended
        assert race.incumbent in race.finalists

    @given(st.integers(0, 99), st.floats(0.5, 3))
    def test_a_block_that_cost_more_than_expected_leaves_less_for_the_rest(self, seed: int, dearer: float) -> None:
        scores, race, spent = scored([0.7] * 12, 100, seed), equal_race(12, 100, 400), 0.0
        while (block := race.ask()) is not None:
            expected = len(block.alive) * len(block.rows)
            assert expected <= 400 - spent
            give(race, block, scores, calls=dearer * expected)
            spent += dearer * expected

    def test_where_the_way_to_the_next_rung_became_too_dear_fewer_go_on(self) -> None:
        scores, race = all_right(16, 400), equal_race(16, 400, 1_600)
        while (block := race.ask()) is not None and block.rows.stop < 50:
            give(race, block, scores)
        assert block == Block(tuple(range(8)), range(40, 50))

        # 160 are left of 960, and 8 would need 240 to the rung at 80.
        give(race, block, scores, calls=800)
        assert race.ask() == Block((0, 1), range(50, 60))

    def test_calls_that_are_saved_keep_more_alive(self) -> None:
        scores = scored([0.7] * 16, 200)
        paid, saved = equal_race(16, 200, 800), equal_race(16, 200, 800)
        blocks(paid, scores)
        while (block := saved.ask()) is not None:
            give(saved, block, scores, calls=0)

        assert sum(entry.rows for entry in saved.entries) > sum(entry.rows for entry in paid.entries)

    def test_what_is_known_costs_nothing(self) -> None:
        fresh, known = equal_race(8, 100, 300), equal_race(8, 100, 300, known=[10] * 8)
        block = known.ask()

        assert block == fresh.ask()
        assert block is not None
        give(known, block, all_right(8, 100), calls=0)
        assert known.budget_left == 300

    def test_known_rows_let_a_field_go_further(self) -> None:
        def first_cut(race: Race) -> int:
            return next(block.rows.start for block in blocks(race, scores) if len(block.alive) < 12)

        scores = all_right(12, 100)

        assert first_cut(equal_race(12, 100, 400, known=[10] * 12)) > first_cut(equal_race(12, 100, 400))

    def test_with_too_little_for_one_block_the_start_is_the_pick(self) -> None:
        race = equal_race(4, 100, 7)

        assert race.ask() is None
        assert race.incumbent == 0


class TestWhoEnters:
    def test_no_more_than_a_twelfth_of_the_budget(self) -> None:
        race = equal_race(20, 100, 120)

        assert race.finalists == tuple(range(10))
        assert {entry.why for entry in race.entries[10:]} == {"too many"}
        assert all(entry.dropped_at == 0 and entry.rows == 0 for entry in race.entries[10:])

    def test_what_costs_five_calls_takes_the_place_of_five(self) -> None:
        race = Race(costs=[1, 5, *[1] * 10], rows=20, budget=240)

        assert race.finalists == (0, *range(1, 12))
        assert len(Race(costs=[1, 5, *[1] * 18], rows=20, budget=240).finalists) == 16

    def test_nobody_much_dearer_than_the_start_enters_whose_rows_are_half_of_the_budget(self) -> None:
        race = Race(costs=[1, 3, 2], rows=100, budget=500)

        assert race.finalists == (0, 2)
        assert race.entries[1].why == "too costly"

    def test_a_screen_before_it_is_of_the_same_budget(self) -> None:
        assert Race(costs=[1, 2], rows=100, budget=200).finalists == (0,)
        assert Race(costs=[1, 2], rows=100, budget=200, spent=200).finalists == (0, 1)

    def test_all_enter_who_cost_about_what_the_start_costs(self) -> None:
        assert Race(costs=[5] * 3, rows=100, budget=200).finalists == (0, 1, 2)
        assert Race(costs=[1, 1.1, 1.6], rows=100, budget=200).finalists == (0, 1)

    def test_nobody_and_no_rows_are_refused(self) -> None:
        for costs, rows, known in (([], 10, None), ([1], 0, None), ([1, 1], 10, [0])):
            with pytest.raises(ValueError, match="a race needs candidates, rows"):
                Race(costs=costs, rows=rows, budget=100, known=known)


class TestTheSmokeBlock:
    def failing(self, counts: Sequence[int], rows: int = 100) -> NDArray[np.bool_]:
        return np.arange(rows) < np.array(counts)[:, None]

    def after(self, counts: Sequence[int], scores: Floats | None = None) -> Race:
        race = equal_race(len(counts), 100, 100 * len(counts))
        block = race.ask()
        assert block is not None
        failed = self.failing(counts)
        give(race, block, np.where(failed, 0.0, 1.0) if scores is None else scores, unparsed=failed)
        return race

    def test_who_has_four_more_unparsed_answers_than_the_start_is_dropped(self) -> None:
        race = self.after([1, 4, 5, 8])

        assert race.finalists == (0, 1)
        assert [(entry.why, entry.dropped_at) for entry in race.entries[2:]] == [("format", 8)] * 2
        assert not race.unreadable

    def test_a_start_that_does_not_parse_drops_nobody(self) -> None:
        assert self.after([8, 8, 0, 2]).finalists == (0, 1, 2, 3)

    def test_where_nobody_can_be_read_the_two_best_are_kept_and_the_format_is_the_problem(self) -> None:
        race = self.after([8, 6, 8, 5, 7])

        assert race.unreadable
        assert race.finalists == (1, 3)

    def test_of_those_that_can_be_read_as_little_the_better_is_kept(self) -> None:
        scores = np.zeros((4, 100))
        scores[2, 7] = scores[3, 6:8] = 1

        assert self.after([6, 6, 6, 6], scores).finalists == (2, 3)

    def test_a_start_without_answers_drops_nobody(self) -> None:
        scores = all_right(3, 100)
        scores[0, :7] = scores[2, :6] = np.nan

        assert self.after([0, 0, 0], scores).finalists == (0, 1, 2)

    def test_who_has_no_answers_is_dropped(self) -> None:
        scores = all_right(3, 100)
        scores[2, :8] = np.nan
        race = self.after([0, 0, 0], scores)

        assert race.finalists == (0, 1)
        assert race.entries[2].why == "no answer"


class TestDrops:
    def test_who_is_far_behind_is_dropped_between_rungs(self) -> None:
        scores = all_right(3, 100)
        scores[1, ::2] = 0
        race = equal_race(3, 100, 300)
        blocks(race, scores)

        assert (race.entries[1].why, race.entries[1].dropped_at) == ("behind", 20)
        assert race.finalists == (0, 2)

    def test_who_is_far_behind_at_a_rung_is_dropped_before_it_is_cut(self) -> None:
        scores = all_right(16, 160)
        scores[[3, 5]] = 0
        race = equal_race(16, 160, 16 * 160 // 4)
        blocks(race, scores)

        assert [(race.entries[each].why, race.entries[each].dropped_at) for each in (3, 5)] == [("behind", 16)] * 2

    def test_mc_nemars_statistic_decides_where_scores_are_right_or_wrong(self) -> None:
        # 7 rows that one alone gets right: 7/√7 = 2.65; 6: 2.45.
        for lost, finalists in ((7, (0,)), (6, (0, 1))):
            scores = all_right(2, 20)
            scores[1, :lost] = 0
            race = equal_race(2, 20, 40)
            blocks(race, scores)
            assert race.finalists == finalists

    def test_graded_scores_are_told_by_their_spread(self) -> None:
        chance = np.random.default_rng(0)
        noise = chance.normal(0, 0.05, (2, 100))
        near, far = np.array([[0.6], [0.595]]) + noise, np.array([[0.6], [0.4]]) + noise

        for scores, finalists in ((near, (0, 1)), (far, (0,))):
            race = equal_race(2, 100, 200)
            blocks(race, scores)
            assert race.finalists == finalists

    def test_a_few_graded_rows_that_differ_alike_drop_nobody(self) -> None:
        # Without the two pseudo-rows one differing row in many would be certain.
        scores = np.full((2, 40), 0.5)
        scores[1, :2] = 0.4
        race = equal_race(2, 40, 80)
        blocks(race, scores)

        assert race.finalists == (0, 1)

    def test_at_a_rung_ties_keep_who_takes_fewer_tokens(self) -> None:
        race = equal_race(8, 100, 200)
        scores = all_right(8, 100)
        while (block := race.ask()) is not None:
            give(race, block, scores, tokens=[80, 70, 60, 50, 40, 30, 20, 10])
        cut = [entry.dropped_at or 101 for entry in race.entries]

        assert cut == sorted(cut)
        assert cut[0] < cut[-1]
        assert {entry.why for entry in race.entries} == {"cut", None}

    def test_scores_of_earlier_rows_may_change(self) -> None:
        race = equal_race(2, 20, 40)
        first = race.ask()
        assert first is not None
        give(race, first, np.array([[1.0] * 20, [0.0] * 20]))
        second = race.ask()
        assert second is not None
        give(race, second, np.array([[0.0] * 20, [1.0] * 20]))

        assert race.incumbent == 1
        assert race.entries[1].scores.tolist() == [1.0] * 20


class TestMissing:
    def test_a_row_that_one_lacks_is_out_of_their_difference(self) -> None:
        # Both get the same rows right; one was not answered where the other failed, so that its own mean is higher.
        scores = np.array([[1.0] * 8 + [1.0, 0.0] * 16, [1.0] * 8 + [1.0, np.nan] + [1.0, 0.0] * 15])
        race = equal_race(2, 40, 80)
        blocks(race, scores)

        assert race.finalists == (0, 1)
        assert race.incumbent == 0

    def test_one_that_is_never_answered_is_not_picked(self) -> None:
        scores = np.array([[0.0] * 7, [np.nan] * 7])
        race = equal_race(2, 7, 20)
        blocks(race, scores)

        assert race.incumbent == 0

    def test_one_that_lacks_more_answers_than_another_is_dropped_though_it_leads_where_it_has_some(self) -> None:
        scores = scored([0.5, 0.9], 100)
        scores[1, 10::7] = np.nan
        race = equal_race(2, 100, 200)
        blocks(race, scores)

        assert (race.entries[1].why, race.incumbent) == ("no answer", 0)

    def test_an_answer_that_is_missing_now_and_then_drops_nobody(self) -> None:
        scores = scored([0.5, 0.9], 100)
        scores[1, [30, 60]] = np.nan
        race = equal_race(2, 100, 200)
        blocks(race, scores)

        assert race.incumbent == 1

    def test_where_nothing_is_answered_the_start_is_picked(self) -> None:
        race = equal_race(3, 30, 90)
        blocks(race, np.full((3, 30), np.nan))

        assert race.incumbent == 0


class TestThePick:
    def pick(self, sums: Sequence[int], tokens: Sequence[float], **options: float) -> int:
        """The pick among candidates that get the first so many of 400 rows right."""
        race = equal_race(len(sums), 400, 400 * len(sums), **options)
        scores = (np.arange(400) >= 400 - np.array(sums)[:, None]).astype(float)
        while (block := race.ask()) is not None:
            give(race, block, scores, tokens=tokens)
        assert race.ended == "all rows"
        return race.incumbent

    def test_it_is_the_best_mean(self) -> None:
        assert self.pick([300, 304, 301], [10, 90, 20]) == 1

    def test_within_half_a_point_it_is_the_one_of_fewer_tokens(self) -> None:
        assert self.pick([298, 301, 300], [5, 90, 20]) == 2

    def test_how_near_is_equal_can_be_said(self) -> None:
        assert self.pick([298, 301, 300], [5, 90, 20], equal=0.01) == 0

    def test_of_equal_tokens_it_is_the_better_one(self) -> None:
        assert self.pick([300, 301, 301], [10, 10, 10]) == 1


class TestTheEnd:
    def test_all_rows_are_seen(self) -> None:
        race = equal_race(2, 30, 60)
        blocks(race, all_right(2, 30))

        assert race.ended == "all rows"
        assert race.ask() is None

    def test_one_is_left(self) -> None:
        race = equal_race(2, 100, 200)
        blocks(race, np.array([[0.0] * 100, [1.0] * 100]))

        assert race.ended == "one left"
        assert race.incumbent == 1

    def test_there_is_no_money_for_two_to_go_on(self) -> None:
        race = equal_race(2, 1_000, 60)
        blocks(race, all_right(2, 1_000))

        assert race.ended == "budget"
        assert race.finalists == (0, 1)

    def test_nothing_more_is_taken(self) -> None:
        race = equal_race(2, 8, 16)
        block = race.ask()
        assert block is not None
        give(race, block, all_right(2, 8))

        with pytest.raises(ValueError, match="no block is due"):
            give(race, block, all_right(2, 8))

    def test_before_it_the_pick_is_the_best_so_far(self) -> None:
        race = equal_race(3, 100, 300)
        block = race.ask()
        assert block is not None
        assert race.incumbent == 0
        scores = all_right(3, 100)
        scores[0, :3] = scores[2, :2] = 0
        give(race, block, scores)

        assert race.ended is None
        assert race.incumbent == 1


def test_scores_of_another_number_of_rows_are_refused() -> None:
    race = equal_race(2, 100, 200)

    with pytest.raises(ValueError, match="one score of each of 8 rows"):
        race.tell({0: [1.0] * 8, 1: [1.0] * 7}, {0: [False] * 8, 1: [False] * 8}, 16)


@pytest.mark.parametrize(("candidates", "calls"), [(8, 400), (16, 800), (20, 800), (32, 1_280), (64, 2_134)])
def test_a_budget_that_is_not_named_is_a_share_of_all_cells(candidates: int, calls: int) -> None:
    assert default_budget(candidates, 100) == calls


class TestNumbersThatDecide:
    @pytest.mark.parametrize(("rows", "lacks", "is_dropped"), [(50, 2, False), (50, 3, True), (200, 5, False)])
    def test_two_answers_and_two_in_a_hundred_rows_may_be_lacked(self, rows: int, lacks: int, is_dropped: bool) -> None:
        scores = np.tile([1.0, 0.0], (2, rows // 2))
        scores[1, rows - lacks : rows] = np.nan
        race = equal_race(2, rows, 2 * rows)
        blocks(race, scores)

        assert (race.entries[1].why == "no answer") is is_dropped

    @pytest.mark.parametrize("lacks", [4, 8])
    def test_rows_that_a_candidate_shows_as_examples_are_not_lacked(self, lacks: int) -> None:
        scores = np.tile([1.0, 0.0], (2, 20))
        scores[1, 20 : 20 + lacks] = np.nan
        for shown, is_dropped in ((lacks, False), (0, True)):
            race = equal_race(2, 40, 80)
            while (block := race.ask()) is not None:
                stop = block.rows.stop
                given = {candidate: scores[candidate, :stop] for candidate in block.alive}
                failed = {candidate: np.zeros(stop) for candidate in block.alive}
                calls = len(block.alive) * len(block.rows)
                race.tell(given, failed, calls, None, {1: min(shown, max(0, stop - 20))})

            assert (race.entries[1].why == "no answer") is is_dropped

    @pytest.mark.parametrize(("ahead", "incumbent"), [(0.0045, 0), (0.0055, 1)])
    def test_means_within_half_a_point_are_equal_and_the_fewer_tokens_decide(
        self, ahead: float, incumbent: int
    ) -> None:
        start = np.tile([0.4, 0.6], 20)
        scores = np.stack([start, start[::-1] + ahead])
        race = equal_race(2, 40, 80)
        while (block := race.ask()) is not None:
            give(race, block, scores, tokens=[10, 20])

        assert race.incumbent == incumbent


class TestCheap:
    def cut(self, scores: Floats, tokens: Sequence[float], **options: object) -> list[int]:
        """Race 6 candidates and return those that were alive when 2 were left or it ended."""
        race = equal_race(6, 64, 6 * 64 // 3, **options)
        while (block := race.ask()) is not None:
            give(race, block, scores, tokens=tokens)
        return list(race.finalists)

    def test_of_the_last_two_one_is_the_cheapest_that_is_not_shown_to_be_worse(self) -> None:
        scores = all_right(6, 64)
        for candidate in (2, 3, 4, 5):
            scores[candidate, candidate] = 0  # one row behind, each on a row of its own
        tokens = [90, 80, 70, 60, 50, 40]

        assert self.cut(scores, tokens) == [0, 1]
        assert self.cut(scores, tokens, keeps_cheap=True) == [1, 5]

    def test_who_is_shown_to_be_worse_is_not_kept_for_being_cheap(self) -> None:
        scores = all_right(6, 64)
        scores[4, 4] = 0
        scores[5, ::2] = 0  # 1.96 standard errors behind from 8 rows on
        tokens = [90, 80, 70, 60, 50, 40]

        assert self.cut(scores, tokens, keeps_cheap=True)[-1] == 4

    def test_a_difference_in_costs_alone_is_not_certain_after_a_few_rows(self) -> None:
        # Both answer alike so far, and the values differ by a constant price.
        values = np.stack([np.ones(20), np.full(20, 0.9)])

        for swing, finalists in ((0.0, (0,)), (1.0, (0, 1))):
            race = equal_race(2, 20, 40, swing=swing)
            blocks(race, values)
            assert race.finalists == finalists
