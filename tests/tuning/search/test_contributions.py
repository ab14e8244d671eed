"""The contributions of a candidate's changes: what screening says of them, and what pairs of candidates add."""

from __future__ import annotations

from math import inf, sqrt

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from promptkit.tuning.search.contributions import (
    INTERACTION_SD,
    Contributions,
    paired_lead,
    screened_contributions,
)
from promptkit.tuning.search.effects import PRIOR_SD, main_effects
from promptkit.tuning.search_space.candidate import Candidate, Choice, Parameter

CUE, LAYOUT = Choice("cue", {"s.cue": "C:"}), Choice("json", {"s.layout": "json"})
PARAMETERS = (
    Parameter(name="s.decide", step="s", kind="decide", choices=(Choice("as written"), CUE)),
    Parameter(name="s.layout", step="s", kind="layout", choices=(Choice("as written"), LAYOUT)),
)
BOTH = Candidate({"s.decide": CUE, "s.layout": LAYOUT})
UNKNOWN = Contributions(("a", "b"), np.array([0.05, 0.0]), np.diag([0.01, 0.0025]))


def test_the_screen_gives_the_mean_and_its_posterior_error() -> None:
    configurations = [Candidate(), BOTH.with_choice("s.layout", None), BOTH.with_choice("s.decide", None), BOTH]
    effects = main_effects(configurations, [0.5, 0.7, 0.5, 0.7], [200] * 4, PARAMETERS)
    known = screened_contributions(BOTH, effects)

    assert known.of(["s.decide"])[0] == pytest.approx(0.2, abs=0.02)
    assert known.of(["s.layout"])[0] == pytest.approx(0.0, abs=0.02)
    # 800 rows, half with the choice: two means of 400 rows of variance 0.2, shrunk by a prior of variance 0.02.
    data, prior = 0.2 * 2 / 400, 2 * PRIOR_SD**2
    assert known.of(["s.decide"])[1] ** 2 == pytest.approx(1 / (1 / data + 1 / prior) + INTERACTION_SD**2, rel=0.01)


def test_without_a_screen_only_the_prior_is_known() -> None:
    assert screened_contributions(BOTH, None).of(["s.decide"]) == pytest.approx(
        (0.0, sqrt(2 * PRIOR_SD**2 + INTERACTION_SD**2))
    )


def test_a_lead_moves_the_changes_that_were_taken_back_by_their_share_of_the_doubt() -> None:
    known = UNKNOWN.observe(["a", "b"], 0.30, 0.0)

    assert known.of(["a"])[0] > 0.2 > known.of(["b"])[0] > 0.0
    assert known.of(["a", "b"])[0] == pytest.approx(0.05 + 0.25 * 0.0125 / (0.0125 + INTERACTION_SD**2))


def test_a_lead_by_one_change_tells_nothing_of_the_others() -> None:
    known = UNKNOWN.observe(["a"], 0.0, 0.0)

    assert known.of(["a"]) == pytest.approx((0.0, 0.0))
    assert known.of(["b"]) == UNKNOWN.of(["b"])


@given(st.floats(-1, 1), st.floats(1e-4, 1), st.sampled_from([("a",), ("b",), ("a", "b")]))
def test_what_is_observed_never_makes_anything_less_certain(
    lead: float, variance: float, names: tuple[str, ...]
) -> None:
    known = UNKNOWN.observe(names, lead, variance)

    for group in (["a"], ["b"], ["a", "b"]):
        assert known.of(group)[1] <= UNKNOWN.of(group)[1] + 1e-9


def test_a_lead_is_that_of_the_rows_that_both_have() -> None:
    lead, variance, pairs = paired_lead([1, 1, 0, np.nan, 1], [0, 1, 0, 1, np.nan])

    assert pairs == 3
    assert lead == pytest.approx(1 / 3)
    assert variance == pytest.approx((2 / 3 + 1) / 4 / 3)
    assert paired_lead([np.nan], [1.0]) == (0.0, inf, 0)


def test_rows_that_all_agree_leave_a_doubt_that_falls_with_their_number() -> None:
    few, many = (paired_lead(np.ones(rows), np.ones(rows))[1] for rows in (10, 100))

    assert sqrt(few) == pytest.approx(0.095, abs=0.001)
    assert sqrt(many) == pytest.approx(0.00995, abs=0.0001)


def test_rows_of_a_cluster_say_as_much_as_one_of_them() -> None:
    ours, theirs = np.array([1.0, 1.0, 0.0, 1.0, np.nan]), np.array([0.0, 1.0, 0.0, 1.0, 1.0])
    lead, variance, pairs = paired_lead(np.repeat(ours, 4), np.repeat(theirs, 4), np.repeat([7, 3, 5, 9, 1], 4))

    assert (lead, variance) == pytest.approx(paired_lead(ours, theirs)[:2])
    assert pairs == 16
