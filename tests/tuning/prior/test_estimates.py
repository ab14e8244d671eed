"""What a tuning leaves for later ones: effects of kinds, from its answers alone."""

from __future__ import annotations

import numpy as np
import pytest

from promptkit.tuning.prior.estimates import Scores, estimated_effects
from promptkit.tuning.search_space.candidate import Candidate, Choice, Parameter

LAYOUTS = Parameter(
    name="t.layout",
    step="t",
    kind="layout",
    choices=(Choice("as written"), Choice("json", {"t.layout": "json"}), Choice("own", {"t.layout": "own"})),
)
SETS = Parameter(
    name="t.examples",
    step="t",
    kind="examples",
    choices=(Choice("as written"), *(Choice(f"2 examples #{n}", {"t.examples": [n]}) for n in (1, 2))),
)
KINDS = {
    "t.layout": {"as written": "layout: xml", "json": "layout: json"},
    "t.examples": {"as written": "examples: 0", "2 examples #1": "examples: 2", "2 examples #2": "examples: 2"},
}
HARD = np.array([0.3 if row % 3 == 0 else -0.1 for row in range(60)])


def scores(layout: int, examples: int, rows: int, gain: dict[tuple[str, int], float]) -> Scores:
    candidate = Candidate().with_choice("t.layout", LAYOUTS.choices[layout])
    candidate = candidate.with_choice("t.examples", SETS.choices[examples])
    mean = 0.5 + gain.get(("layout", layout), 0.0) + gain.get(("examples", examples), 0.0)
    return Scores(candidate, range(rows), mean - HARD[:rows])


def test_effects_are_relative_to_the_mean_kind_and_draws_of_one_size_are_one_kind() -> None:
    gain = {("layout", 1): 0.12, ("layout", 2): -0.06, ("examples", 1): 0.15, ("examples", 2): 0.05}
    found = estimated_effects(
        [scores(layout, examples, 30, gain) for layout in range(3) for examples in range(3)], [LAYOUTS, SETS], KINDS
    )

    assert found.keys() == {"layout: xml", "layout: json", "examples: 0", "examples: 2"}
    assert found["layout: json"].mean == pytest.approx(0.10, abs=0.02)
    assert found["examples: 2"].mean - found["examples: 0"].mean == pytest.approx(0.10, abs=0.02)


def test_easy_rows_that_only_one_candidate_saw_count_little_for_it() -> None:
    easy_later = np.concatenate([np.full(20, 0.3), np.full(40, -0.3)])
    found = estimated_effects(
        [
            Scores(of.candidate, of.rows, 0.5 - easy_later[: len(of.rows)])
            for of in (scores(0, 0, 20, {}), scores(1, 0, 60, {}), scores(0, 1, 20, {}), scores(1, 1, 20, {}))
        ],
        [LAYOUTS, SETS],
        KINDS,
    )

    assert abs(found["layout: json"].mean) < 0.07  # Its mean is 0.4 above the others', so it would be 0.2.


def test_more_rows_make_an_estimate_surer() -> None:
    few, many = (
        estimated_effects([scores(layout, 0, rows, {}) for layout in range(2)], [LAYOUTS], KINDS) for rows in (5, 50)
    )

    assert many["layout: json"].variance < few["layout: json"].variance / 1.5


def test_missing_scores_are_left_out_and_none_leave_nothing() -> None:
    none = Scores(Candidate(), range(3), np.full(3, np.nan))

    assert estimated_effects([none], [LAYOUTS], KINDS) == {}
    assert estimated_effects([], [LAYOUTS], KINDS) == {}
