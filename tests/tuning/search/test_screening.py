"""The screen: which configurations are drawn, what levels are taken to bring, and who is raced then."""

from __future__ import annotations

from collections import Counter
from math import nan, prod

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from promptkit.tuning.prior.effect_prior import EffectPrior, Estimate
from promptkit.tuning.search.effects import Effects, are_related, main_effects
from promptkit.tuning.search.screening import (
    Screen,
    affordable_candidates,
    draw,
    draw_likely,
    finalists,
    first_part,
    screen_rows,
    screen_size,
)
from promptkit.tuning.search.single_changes import single_changes
from promptkit.tuning.search_space.candidate import Candidate, Choice, Parameter
from tests.tuning.simulated import axes_of

Sizes = list[int]


def of_sizes(sizes: Sizes) -> list[Parameter]:
    return axes_of({f"axis {number}": (size, 0.0) for number, size in enumerate(sizes)})


def levels(candidate: Candidate, parameters: list[Parameter]) -> list[int]:
    return [
        parameter.choices.index(candidate.choices.get(parameter.name, parameter.choices[0])) for parameter in parameters
    ]


spaces = st.lists(st.integers(1, 6), min_size=1, max_size=5)
sizes = st.integers(1, 64)
seeds = st.integers(0, 99)


class TestDraw:
    @given(spaces, sizes, seeds)
    def test_the_start_is_first_and_all_are_distinct(self, space: Sizes, size: int, seed: int) -> None:
        drawn = draw(of_sizes(space), size, seed)

        assert drawn[0] == Candidate()
        assert len({candidate.key for candidate in drawn}) == len(drawn) == min(size, prod(space))

    def test_each_level_is_drawn_as_often_as_the_others(self) -> None:
        parameters = of_sizes([4, 12, 4, 6])
        drawn = [levels(candidate, parameters) for candidate in draw(parameters, 40, 0)]
        for at, parameter in enumerate(parameters):
            counts = Counter(group[at] for group in drawn)
            assert set(counts) == set(range(len(parameter.choices)))
            assert max(counts.values()) - min(counts.values()) <= 2

    def test_axes_are_drawn_independently_of_each_other(self) -> None:
        parameters = of_sizes([2, 2])
        together = Counter[tuple[int, ...]]()
        for seed in range(400):
            together.update(tuple(levels(candidate, parameters)) for candidate in draw(parameters, 2, seed)[1:])

        # The second takes what the start has not, where that is left.
        assert together == {(1, 1): 400}

        parameters = of_sizes([3, 3])
        pairs = Counter(tuple(levels(draw(parameters, 2, seed)[1], parameters)) for seed in range(400))
        assert set(pairs) == {(1, 1), (1, 2), (2, 1), (2, 2)}
        assert all(70 <= count <= 130 for count in pairs.values())

    def test_a_space_too_large_to_list_is_drawn_from_too(self) -> None:
        parameters = of_sizes([12] * 8)
        drawn = draw(parameters, 64, 1)
        counts = Counter(levels(candidate, parameters)[3] for candidate in drawn)

        assert len(drawn) == 64
        assert set(counts) == set(range(12))

    def test_the_seed_alone_decides(self) -> None:
        parameters = of_sizes([4, 5, 6])

        assert draw(parameters, 20, 3) == draw(parameters, 20, 3)
        assert draw(parameters, 20, 3) != draw(parameters, 20, 4)

    def test_without_axes_there_is_the_start(self) -> None:
        assert draw([], 10, 0) == [Candidate()]

    def test_pairs_of_related_choices_are_drawn_as_often_as_other_pairs(self) -> None:
        parameters = axes_of({"examples": (5, 0.0), "technique": (4, 0.0), "wording": (6, 0.0)})
        drawn = [tuple(levels(candidate, parameters)[:2]) for candidate in draw(parameters, 20, 0)]

        assert are_related(parameters[0], parameters[1])
        assert not are_related(parameters[0], parameters[2])
        assert len(set(drawn)) >= 19  # of 20 pairs, where 20 random ones would be 13 different ones


class TestDrawLikely:
    def of(self, size: int) -> tuple[list[Candidate], list[Candidate], list[Parameter]]:
        """Draw after 16 configurations of which the second choice of each parameter is the better."""
        parameters = of_sizes([4, 4, 4])
        drawn = draw(parameters, 16, 0)
        scores = [0.4 + 0.15 * levels(candidate, parameters).count(1) for candidate in drawn]
        return drawn, draw_likely(drawn, scores, 10, parameters, size=size, seed=0), parameters

    def test_what_is_predicted_to_be_good_comes_first(self) -> None:
        _, likely, parameters = self.of(8)

        assert levels(likely[0], parameters).count(1) >= 2
        assert np.mean([levels(candidate, parameters).count(1) for candidate in likely]) > 1.5

    def test_none_is_drawn_twice(self) -> None:
        drawn, likely, _ = self.of(60)

        assert len({candidate.key for candidate in (*drawn, *likely)}) == 64

    def test_what_is_as_good_and_less_known_comes_first(self) -> None:
        parameters = of_sizes([3, 2])
        seen = [levels_of([at, 0], parameters) for at in (0, 0, 0, 1)]
        likely = draw_likely(seen, [0.5] * 4, 10, parameters, size=1, seed=0)

        assert levels(likely[0], parameters) == [2, 1]


def levels_of(places: list[int], parameters: list[Parameter]) -> Candidate:
    """Return the candidate with these choices."""
    return Candidate(
        {parameter.name: parameter.choices[place] for parameter, place in zip(parameters, places, strict=True) if place}
    )


class TestSizes:
    @pytest.mark.parametrize(("size", "first"), [(8, 8), (15, 15), (16, 11), (64, 43)])
    def test_two_thirds_of_many_are_drawn_before_any_is_evaluated(self, size: int, first: int) -> None:
        assert first_part(size) == first

    @pytest.mark.parametrize(("budget", "size"), [(40, 8), (120, 12), (400, 40), (640, 64), (5_000, 64)])
    def test_a_configuration_for_ten_calls_within_limits(self, budget: int, size: int) -> None:
        assert screen_size(budget) == size

    @pytest.mark.parametrize(
        ("budget", "costs", "rows", "seen"),
        [(400, [1] * 40, 100, 5), (2_000, [1] * 64, 100, 15), (120, [2] * 12, 100, 3), (9_000, [1] * 8, 100, 100)],
    )
    def test_half_of_the_budget_is_spent_on_rows_that_all_see(
        self, budget: int, costs: list[int], rows: int, seen: int
    ) -> None:
        assert screen_rows(budget, costs, rows) == seen

    def test_dear_configurations_are_as_many_as_half_of_the_budget_pays_for(self) -> None:
        dear = Choice("five samples", {"step.x": 5}, requests=5.0)
        cheap = [Candidate({"step.y": Choice(str(n), {"step.y": n})}) for n in range(20)]
        field = [Candidate(), *(candidate.with_choice("step.x", dear) for candidate in cheap[:3]), *cheap]

        kept = affordable_candidates(field, 100)
        assert 3 * sum(candidate.requests for candidate in kept) <= 50
        assert kept == [*field[:4]]
        assert affordable_candidates(field, 4) == [Candidate()]


def fitted(sizes: Sizes, added: list[list[float]], *, rows: int, noise: float = 0.0) -> tuple[Effects, list[Parameter]]:
    """Effects of a screen of 64 configurations whose scores are 0.5 and the sum of what their levels add."""
    parameters = of_sizes(sizes)
    drawn = draw(parameters, 64, 0)
    chance = np.random.default_rng(0)
    scores = [
        0.5 + sum(added[at][level] for at, level in enumerate(levels(candidate, parameters))) for candidate in drawn
    ]
    noisy = np.array(scores) + noise * chance.standard_normal(len(scores))
    return main_effects(drawn, noisy, [rows] * len(drawn), parameters), parameters


class TestMainEffects:
    def test_many_rows_tell_what_each_level_adds(self) -> None:
        effects, parameters = fitted([3, 4], [[-0.1, 0.0, 0.1], [0.05, -0.05, 0.0, 0.0]], rows=10_000)

        assert [effects.of(parameters[0].name, choice) for choice in parameters[0].choices] == pytest.approx(
            [-0.1, 0, 0.1], abs=0.01
        )
        assert effects.predict(Candidate()) == pytest.approx(0.45, abs=0.01)

    def test_few_rows_shrink_it_towards_nothing(self) -> None:
        added = [[-0.1, 0.0, 0.1], [0.0] * 4]
        few, parameters = fitted([3, 4], added, rows=3)
        many, _ = fitted([3, 4], added, rows=300)
        best = parameters[0].choices[2]

        assert 0 < few.of(parameters[0].name, best) < many.of(parameters[0].name, best) < 0.1

    def test_it_is_the_mean_of_what_normal_effects_are_likely_to_be(self) -> None:
        # One axis of two levels, each seen once on m rows: d/2 · n/(n + λ), with λ = 0.2/m/0.1² and n = 1.
        parameters = of_sizes([2])
        effects = main_effects(draw(parameters, 2, 0), [0.4, 0.6], [5, 5], parameters)

        assert effects.mean == pytest.approx(0.5)
        assert effects.of(parameters[0].name, parameters[0].choices[1]) == pytest.approx(0.1 / (1 + 0.2 / 5 / 0.1**2))

    def test_what_was_seen_counts_the_more_the_more_rows_it_was_seen_on(self) -> None:
        few, _ = fitted([3], [[0.0] * 3], rows=5)
        many, _ = fitted([3], [[0.0] * 3], rows=20)

        # Half of it where the noise of a mean is as large as what an effect is taken to be: 0.2/20 = 0.1².
        assert many.likely(Candidate(), 0.7) == pytest.approx(0.6)
        assert few.likely(Candidate(), 0.7) == pytest.approx(0.54)

    def test_what_is_seen_of_a_level_tells_of_those_that_have_a_setting_in_common(self) -> None:
        cues = [Choice("a", {"s.cue": "A:"}), Choice("a, scored", {"s.cue": "A:", "s.decide": "score"})]
        others = [Choice("b", {"s.cue": "B:"}), Choice("c", {"s.cue": "C:"})]
        parameter = Parameter(name="s.decide", step="s", kind="decide", choices=(Choice("as written"), *cues, *others))
        asked = [Candidate(), Candidate({"s.decide": cues[0]}), Candidate({"s.decide": others[0]})]
        effects = main_effects(asked, [0.5, 0.9, 0.5], [20] * 3, [parameter])

        # Neither was asked; one has the cue that did well.
        assert effects.of(parameter.name, cues[1]) > effects.of(parameter.name, others[1]) + 0.05

    def test_levels_are_ranked(self) -> None:
        effects, parameters = fitted([4, 2], [[0.0, 0.2, -0.1, 0.1], [0.0, 0.0]], rows=50, noise=0.02)

        assert [choice.name for choice in effects.ranked(parameters[0])] == ["1", "3", "0", "2"]

    def test_configurations_without_a_score_say_nothing(self) -> None:
        parameters = of_sizes([2])
        drawn = draw(parameters, 2, 0)

        missing = main_effects(drawn, [0.5, nan], [4, 4], parameters)
        assert missing.predict(drawn[0]) == pytest.approx(0.5)
        assert missing.of(parameters[0].name, parameters[0].choices[1]) == pytest.approx(0)
        assert main_effects(drawn, [nan, nan], [4, 4], parameters).predict(drawn[1]) == 0

    def test_equal_scores_have_no_effects(self) -> None:
        effects, parameters = fitted([3, 3], [[0.0] * 3] * 2, rows=5)

        assert all(
            abs(effects.of(parameter.name, choice)) < 1e-9 for parameter in parameters for choice in parameter.choices
        )


class TestPairs:
    def screened(self) -> tuple[Effects, list[Parameter]]:
        """Two related parameters of which each change costs 10 points, and two of them together gain 40."""
        parameters = axes_of({"examples": (3, 0.0), "technique": (3, 0.0)})
        drawn = draw(parameters, 9, 0)
        scores = []
        for candidate in drawn:
            one, other = levels(candidate, parameters)
            scores.append(0.9 if (one, other) == (1, 2) else 0.5 - 0.1 * bool(one) - 0.1 * bool(other))
        return main_effects(drawn, scores, [100] * 9, parameters), parameters

    def test_two_changes_that_hurt_alone_are_predicted_to_pay_together(self) -> None:
        effects, parameters = self.screened()

        assert levels(effects.best(), parameters) == [1, 2]
        assert effects.predict(effects.best()) > effects.predict(Candidate()) + 0.2

    def test_parameters_that_are_not_related_have_no_effects_as_pairs(self) -> None:
        effects, _ = fitted([3, 4], [[0.0] * 3, [0.0] * 4], rows=10)

        assert effects.pairs == {}


class TestFinalists:
    def test_for_cheap_ones_the_best_at_some_prices_of_tokens_are_raced(self) -> None:
        effects, parameters = fitted([2, 3], [[0.0, 0.3], [0.0, 0.02, 0.04]], rows=1_000)
        tokens, _ = fitted([2, 3], [[0.0, 0.0], [0.0, 1.0, 2.0]], rows=1_000)
        raced = [levels(candidate, parameters) for candidate in finalists(Screen(effects, [], tokens))]

        assert raced[:3] == [[0, 0], [1, 2], [1, 0]]

    def field(self) -> tuple[list[list[int]], Effects, list[Parameter]]:
        effects, parameters = fitted([3, 4], [[0.0, 0.2, 0.1], [0.05, 0.0, 0.1, -0.3]], rows=100)
        seen = [
            (
                Candidate()
                .with_choice(parameters[0].name, parameters[0].choices[2])
                .with_choice(parameters[1].name, parameters[1].choices[3]),
                0.9,
            ),
            (Candidate().with_choice(parameters[1].name, parameters[1].choices[3]), nan),
            (
                Candidate()
                .with_choice(parameters[0].name, parameters[0].choices[1])
                .with_choice(parameters[1].name, parameters[1].choices[1]),
                0.8,
            ),
        ]
        return [levels(candidate, parameters) for candidate in finalists(Screen(effects, seen))], effects, parameters

    def test_first_the_start_the_predicted_best_and_the_best_seen(self) -> None:
        raced, _, _ = self.field()

        assert raced[:4] == [[0, 0], [1, 2], [2, 3], [1, 1]]

    def test_then_the_predicted_best_with_each_axis_at_its_next_two_levels(self) -> None:
        raced, _, _ = self.field()

        # [1, 1] is there already, as one that was seen.
        assert sorted(raced[4:]) == [[0, 2], [1, 0], [2, 2]]
        assert raced[4] == [1, 0]

    def test_last_come_up_to_eight_further_configurations_that_were_seen_the_likeliest_first(self) -> None:
        parameters = of_sizes([20])
        flat = Effects(0.5, {parameters[0].name: {str(n): 0.0 for n in range(20)}}, tuple(parameters), 5)
        seen = [(levels_of([n], parameters), n / 20) for n in range(5, 20)]
        raced = [levels(candidate, parameters)[0] for candidate in finalists(Screen(flat, seen))]

        assert raced == [0, 19, 18, 17, 1, 2, 16, 15, 14, 13, 12, 11, 10, 9]

    def test_none_is_raced_twice(self) -> None:
        raced, _, _ = self.field()

        assert len({tuple(group) for group in raced}) == len(raced)

    def test_where_nothing_has_an_effect_the_predicted_best_is_the_start(self) -> None:
        effects, parameters = fitted([2, 2], [[0.0] * 2] * 2, rows=5)
        flat = Effects(
            0.5,
            {parameter.name: {choice.name: 0.0 for choice in parameter.choices} for parameter in parameters},
            effects.parameters,
            5,
        )

        assert [levels(candidate, parameters) for candidate in finalists(Screen(flat, []))] == [[0, 0], [1, 0], [0, 1]]


AXIS = of_sizes([4, 3])
STEP_KINDS = {axis.name: {choice.name: f"{axis.name}: {choice.name}" for choice in axis.choices} for axis in AXIS}


def with_prior(effects: dict[str, float], variance: float = 0.004) -> EffectPrior:
    known = {kind: Estimate(mean, variance) for kind, mean in effects.items()}
    return EffectPrior(STEP_KINDS, {"step": known})


class TestPrior:
    def test_without_answers_effects_are_those_of_the_prior(self) -> None:
        effects = main_effects((), (), (), AXIS, prior=with_prior({"step.axis 0: 2": 0.1, "step.axis 0: 3": -0.1}))

        assert effects.added["step.axis 0"] == pytest.approx({"0": 0.0, "1": 0.0, "2": 0.1, "3": -0.1})

    def test_answers_outweigh_a_prior_that_is_wrong(self) -> None:
        drawn = draw(AXIS, 12, 0)
        scores = [0.8 if levels(candidate, AXIS)[0] == 1 else 0.4 for candidate in drawn]
        prior = with_prior({"step.axis 0: 2": 0.1, "step.axis 0: 1": -0.1})

        few, many = (main_effects(drawn, scores, [rows] * 12, AXIS, prior=prior) for rows in (1, 40))
        assert few.ranked(AXIS[0])[0].name == "2"
        assert many.ranked(AXIS[0])[0].name == "1"

    def test_a_surer_prior_yields_less(self) -> None:
        drawn = draw(AXIS, 12, 0)
        scores = [0.8 if levels(candidate, AXIS)[0] == 1 else 0.4 for candidate in drawn]

        gains = [
            main_effects(drawn, scores, [5] * 12, AXIS, prior=with_prior(dict.fromkeys(names, 0.0), variance)).added
            for variance in (0.0033, 0.01, 0.04)
            for names in [[f"step.axis 0: {level}" for level in range(4)]]
        ]
        found = [added["step.axis 0"]["1"] for added in gains]
        assert found == sorted(found)
        assert found[1] == pytest.approx(main_effects(drawn, scores, [5] * 12, AXIS).added["step.axis 0"]["1"])

    def test_likelier_choices_are_drawn_more_often_and_none_is_left_out(self) -> None:
        parameters = of_sizes([4, 12, 4])
        name = parameters[0].name
        kinds = {name: {choice.name: f"k: {choice.name}" for choice in parameters[0].choices}}
        prior = EffectPrior(kinds, {"step": {"k: 3": Estimate(0.05, 0.004), "k: 1": Estimate(-0.05, 0.004)}})
        counts = Counter(levels(candidate, parameters)[0] for candidate in draw(parameters, 40, 0, prior))

        assert counts[3] > counts[2] > counts[1] > 0

    def test_a_race_without_screening_has_what_is_expected_most_of_right_after_the_start(self) -> None:
        prior = with_prior({"step.axis 0: 2": 0.1, "step.axis 1: 1": 0.05})
        raced = single_changes(AXIS, 8, 0, prior)

        assert levels(raced[0], AXIS) == [0, 0]
        assert levels(raced[1], AXIS) == [2, 1]
        assert len(raced) == 8
        assert levels(single_changes(AXIS, 8, 0)[1], AXIS) != [2, 1]
