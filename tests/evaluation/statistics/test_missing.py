"""Missing cells counted against a variant."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from promptkit.evaluation.statistics.paired import against, paired_binary

score = st.sampled_from([0.0, 1.0])
maybe = st.sampled_from([0.0, 1.0, float("nan")])
fill = st.lists(score, min_size=20, max_size=20)


def test_a_missing_score_counts_against_the_first() -> None:
    nan = float("nan")
    a, b = against([1, nan, 1, nan], [0, 1, nan, nan])

    assert (a.tolist(), b.tolist()) == ([1, 0, 1, 0], [0, 1, 1, 1])


@given(st.lists(st.tuples(maybe, maybe), min_size=1, max_size=20), fill, fill)
def test_what_is_shown_with_these_is_shown_whatever_the_missing_would_score(
    rows: list[tuple[float, float]], in_a: list[float], in_b: list[float]
) -> None:
    a, b = np.array(rows).T
    one = np.where(np.isnan(a), in_a[: len(rows)], a)
    other = np.where(np.isnan(b), in_b[: len(rows)], b)

    assert paired_binary(*against(a, b)).low <= paired_binary(one, other).low + 1e-9
