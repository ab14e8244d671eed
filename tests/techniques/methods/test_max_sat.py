"""Weighted MAX-SAT against all assignments there are."""

from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from promptkit.techniques.methods.max_sat import Clause, satisfy

VARIABLES = 5
LITERALS = st.integers(1, VARIABLES).flatmap(lambda variable: st.sampled_from([variable, -variable]))
CLAUSES = st.builds(
    Clause, st.lists(LITERALS, max_size=4).map(tuple), st.integers(0, 100).map(lambda hundredths: hundredths / 100)
)


def weight(values: tuple[bool, ...], clauses: list[Clause]) -> float:
    return sum(clause.weight for clause in clauses if clause.holds(values))


def brute_force(variables: int, clauses: list[Clause]) -> tuple[bool, ...]:
    return max(product([True, False], repeat=variables), key=lambda values: weight(values, clauses))


def test_a_contradiction_is_resolved_against_the_weaker_belief() -> None:
    clauses = [Clause((1,), 0.9), Clause((2,), 0.8), Clause((3,), 0.3), Clause((-1, -3))]

    assert satisfy(3, clauses) == (True, True, False) == brute_force(3, clauses)


def test_what_is_entailed_by_a_belief_is_true() -> None:
    assert satisfy(3, [Clause((1,), 0.5), Clause((-1, 2)), Clause((-2, 3))]) == (True, True, True)


@given(st.lists(CLAUSES, max_size=12))
def test_no_assignment_satisfies_more(clauses: list[Clause]) -> None:
    found, best = satisfy(VARIABLES, clauses), brute_force(VARIABLES, clauses)

    assert weight(found, clauses) == pytest.approx(weight(best, clauses))


@given(st.lists(CLAUSES, max_size=6))
def test_a_variable_that_no_clause_names_is_false(clauses: list[Clause]) -> None:
    assert satisfy(VARIABLES + 1, clauses)[VARIABLES] is False


@pytest.mark.parametrize("clause", [Clause((3,)), Clause((0,)), Clause((1,), -0.1)])
def test_a_clause_of_no_variable_or_of_a_negative_weight_is_refused(clause: Clause) -> None:
    with pytest.raises(ValueError, match="no clause over 2 variables"):
        satisfy(2, [clause])
