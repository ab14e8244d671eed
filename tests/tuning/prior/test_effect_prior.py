"""The prior of effects, pooled over tunings: how much they count, by how far they agree."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from promptkit.tuning.prior.effect_prior import LEAST_VARIANCE, EffectPrior, Estimate, pooled_effects

SURE = 0.001
KINDS = ("decide: score, no cue", "decide: constrain, no cue", "decide: generate, no cue")


def tuning(*means: float, variance: float = SURE) -> dict[str, Estimate]:
    return {kind: Estimate(mean, variance) for kind, mean in zip(KINDS, means, strict=False)}


def test_tunings_that_agree_give_their_effect() -> None:
    pooled = pooled_effects([tuning(0.2, -0.1, -0.1)] * 3)

    assert 0.15 < pooled[KINDS[0]].mean < 0.2
    assert pooled[KINDS[1]].mean < -0.07


def test_tunings_that_contradict_each_other_give_next_to_nothing() -> None:
    pooled = pooled_effects([tuning(0.2, -0.2, 0.0), tuning(-0.2, 0.2, 0.0), tuning(0.2, -0.2, 0.0)])

    assert abs(pooled[KINDS[0]].mean) < 0.03
    assert pooled[KINDS[0]].variance > 0.02


def test_one_odd_tuning_does_not_outweigh_others() -> None:
    pooled = pooled_effects([tuning(0.2, -0.1, -0.1)] * 4 + [tuning(-0.3, 0.2, 0.1)])

    assert pooled[KINDS[0]].mean > 0.03


def test_a_single_tuning_counts_by_less_than_half() -> None:
    assert 0.03 < pooled_effects([tuning(0.2, -0.1, -0.1)])[KINDS[0]].mean < 0.1


def test_many_tunings_bind_no_more_than_sixty_rows() -> None:
    pooled = pooled_effects([tuning(0.02, -0.01, -0.01, variance=1e-6)] * 50)

    assert pooled[KINDS[0]].variance == LEAST_VARIANCE == pytest.approx(0.2 / 60)


def test_an_uncertain_estimate_counts_less_than_a_sure_one() -> None:
    sure, unsure = (pooled_effects([tuning(0.2, variance=variance)] * 2)[KINDS[0]].mean for variance in (0.001, 0.05))

    assert unsure < sure / 2


@given(
    st.lists(
        st.dictionaries(
            st.sampled_from(KINDS),
            st.builds(Estimate, st.floats(-1, 1), st.floats(1e-6, 0.25)),
        ),
        max_size=6,
    )
)
def test_a_pooled_effect_is_a_shrunk_one(tunings: list[dict[str, Estimate]]) -> None:
    pooled = pooled_effects(tunings)

    assert pooled.keys() == {kind for effects in tunings for kind in effects}
    for kind, effect in pooled.items():
        found = [effects[kind].mean for effects in tunings if kind in effects]
        assert min(0.0, *found) - 1e-9 <= effect.mean <= max(0.0, *found) + 1e-9
        assert LEAST_VARIANCE <= effect.variance < 1


def prior(**effects: float) -> EffectPrior:
    kinds = {"t.layout": {name: f"layout: {name}" for name in ("a", "b", "c", "d")}}
    return EffectPrior(kinds, {"t": {f"layout: {name}": Estimate(mean, 0.005) for name, mean in effects.items()}})


def test_likelier_choices_are_drawn_more_often_and_none_is_left_out() -> None:
    weights = prior(a=0.2, b=0.01, c=-0.3).draw_weights("t.layout", ["a", "b", "c", "d"])

    assert weights[0] > weights[1] > weights[2] > 0
    assert max(weights) <= 16 * min(weights)


def test_a_choice_of_another_step_has_no_prior() -> None:
    assert prior(a=0.2).mean("t.layout", "a") == 0.2
    assert prior(a=0.2).mean("other.layout", "a") == 0.0
