"""p over several comparisons: Holm, and Benjamini and Hochberg."""

from __future__ import annotations

import gc
from collections.abc import Callable, Sequence
from unittest.mock import patch

import pytest
from hypothesis import given
from hypothesis import strategies as st

from promptkit.evaluation.statistics.multiple_comparisons import benjamini_hochberg, holm

Adjust = Callable[[Sequence[float]], list[float]]
ps = st.lists(st.floats(0, 1), min_size=1, max_size=30)
both = pytest.mark.parametrize("adjust", [holm, benjamini_hochberg])


def test_known_values() -> None:
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert benjamini_hochberg([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.02, 0.04, 0.04, 0.02])


@given(ps)
def test_they_are_what_statsmodels_says(given_ps: list[float]) -> None:
    from statsmodels.stats.multitest import multipletests

    with patch.object(gc, "collect"):  # statsmodels collects garbage each time
        theirs = [multipletests(given_ps, method=method)[1] for method in ("holm", "fdr_bh")]
    assert holm(given_ps) == pytest.approx(theirs[0], abs=1e-12)
    assert benjamini_hochberg(given_ps) == pytest.approx(theirs[1], abs=1e-12)


@given(ps)
def test_benjamini_and_hochberg_is_what_scipy_says(given_ps: list[float]) -> None:
    from scipy.stats import false_discovery_control

    assert benjamini_hochberg(given_ps) == pytest.approx(list(false_discovery_control(given_ps)), abs=1e-12)


@both
@given(ps)
def test_no_p_gets_smaller_and_their_order_stays(adjust: Adjust, given_ps: list[float]) -> None:
    adjusted = adjust(given_ps)

    assert all(p <= one <= 1 for p, one in zip(given_ps, adjusted, strict=True))
    assert all(
        one <= other
        for p, one in zip(given_ps, adjusted, strict=True)
        for q, other in zip(given_ps, adjusted, strict=True)
        if p < q
    )


@given(ps)
def test_a_false_discovery_rate_is_never_stricter_than_holm(given_ps: list[float]) -> None:
    assert all(q <= p for q, p in zip(benjamini_hochberg(given_ps), holm(given_ps), strict=True))


@both
def test_one_comparison_and_none_stay_as_they_are(adjust: Adjust) -> None:
    assert adjust([0.03]) == [0.03]
    assert adjust([]) == []


@both
@pytest.mark.parametrize("p", [-0.1, 1.1, float("nan")])
def test_what_is_no_p_is_refused(adjust: Adjust, p: float) -> None:
    with pytest.raises(ValueError, match="is not a p"):
        adjust([0.5, p])
