"""pass@k and pass^k without bias."""

from __future__ import annotations

from collections.abc import Callable
from itertools import combinations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from promptkit.evaluation.metrics.repeats import pass_all, pass_at

samples = st.integers(1, 9).flatmap(lambda n: st.tuples(st.just(n), st.integers(0, n), st.integers(1, n)))
both = pytest.mark.parametrize("passes", [pass_at, pass_all])


@given(samples)
def test_they_are_the_shares_of_all_draws_of_k(given_samples: tuple[int, int, int]) -> None:
    n, c, k = given_samples
    draws = list(combinations([True] * c + [False] * (n - c), k))

    assert pass_at(n, c, k) == pytest.approx(sum(map(any, draws)) / len(draws))
    assert pass_all(n, c, k) == pytest.approx(sum(map(all, draws)) / len(draws))


@given(samples)
def test_that_all_are_right_is_that_none_is_wrong(given_samples: tuple[int, int, int]) -> None:
    n, c, k = given_samples

    assert pass_all(n, c, k) == pytest.approx(1 - pass_at(n, n - c, k))


@pytest.mark.parametrize("rate", [0.1, 0.5, 0.9])
def test_they_are_without_bias_where_the_share_of_right_ones_is_not(rate: float) -> None:
    from scipy.stats import binom

    n, k = 5, 3
    expected = {c: float(binom.pmf(c, n, rate)) for c in range(n + 1)}

    assert sum(p * pass_at(n, c, k) for c, p in expected.items()) == pytest.approx(1 - (1 - rate) ** k)
    assert sum(p * pass_all(n, c, k) for c, p in expected.items()) == pytest.approx(rate**k)
    assert sum(p * (1 - (1 - c / n) ** k) for c, p in expected.items()) < 1 - (1 - rate) ** k - 1e-4


@both
@pytest.mark.parametrize(("n", "c", "k"), [(3, 4, 1), (3, -1, 1), (3, 1, 4), (3, 1, 0), (0, 0, 1)])
def test_counts_that_are_none_are_refused(passes: Callable[[int, int, int], float], n: int, c: int, k: int) -> None:
    with pytest.raises(ValueError, match=f"of {n} samples cannot"):
        passes(n, c, k)
