"""Weighted MAX-SAT: the truth values that satisfy the weightiest set of clauses."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Clause:
    """Literals of which one should hold, and the clause's weight. Variable 3 is written 3, its negation -3."""

    literals: tuple[int, ...]
    weight: float = 1.0

    def holds(self, values: Sequence[bool]) -> bool:
        """Tell whether the clause holds under values of the variables from 1 on."""
        return any(values[abs(literal) - 1] == (literal > 0) for literal in self.literals)


def satisfy(variables: int, clauses: Sequence[Clause]) -> tuple[bool, ...]:
    """Return truth values of the variables 1 to `variables` that maximize the weight of the satisfied clauses.

    A variable without a clause is false. Solved as an integer program. Raises ValueError for a negative weight and for
    a literal of an unknown variable.
    """
    for clause in clauses:
        if clause.weight < 0 or not all(1 <= abs(literal) <= variables for literal in clause.literals):
            raise ValueError(f"no clause over {variables} variables: {clause}")
    if not clauses:
        return (False,) * variables
    import numpy
    from scipy.optimize import Bounds, LinearConstraint, milp

    # Row by row: a clause's indicator <= its positive literals + (1 - each negated one).
    rows = numpy.zeros((len(clauses), variables + len(clauses)))
    for row, clause in enumerate(clauses):
        for literal in set(clause.literals):
            rows[row, abs(literal) - 1] -= 1 if literal > 0 else -1
        rows[row, variables + row] = 1
    negated = [sum(literal < 0 for literal in set(clause.literals)) for clause in clauses]
    solved = milp(
        c=[0.0] * variables + [-clause.weight for clause in clauses],
        integrality=[1] * variables + [0] * len(clauses),
        bounds=Bounds(0, 1),
        constraints=LinearConstraint(rows, ub=negated),
        options={"mip_rel_gap": 0.0},
    )
    named = {abs(literal) for clause in clauses for literal in clause.literals}
    return tuple(variable in named and bool(solved.x[variable - 1] > 0.5) for variable in range(1, variables + 1))
