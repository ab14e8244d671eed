"""A tuning's own estimates of effects by kind of choice: what it leaves for later ones."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from promptkit.tuning.prior.effect_prior import Estimate
from promptkit.tuning.search_space.candidate import Candidate, Parameter

CELL_VARIANCE: Final = 0.12
"""The variance of one score that neither its row nor its configuration explains."""
ROW_EFFECT: Final = 0.1
"""The variance of rows: some are hard for all configurations."""
CONFIGURATION_EFFECT: Final = 0.08**2
"""The variance of configurations around the sum of their effects, by interaction."""
WEAK_VARIANCE: Final = 0.5**2
"""A prior variance of effects so large that it only settles what the answers leave open."""
LEAST_INFORMATION: Final = 0.5
"""An effect is left out unless the answers leave less than this share of `WEAK_VARIANCE`."""

Kinds = Mapping[str, Mapping[str, str]]
"""The kind of each choice that means the same in any project, by parameter name and choice name."""


@dataclass(frozen=True, slots=True)
class Scores:
    """The scores of one candidate on rows: (rows,) in [0, 1], NaN if missing; rows are named by their places."""

    candidate: Candidate
    rows: Sequence[int]
    scores: NDArray[np.float64]


def estimated_effects(found: Sequence[Scores], parameters: Sequence[Parameter], kinds: Kinds) -> dict[str, Estimate]:
    """Return the effect of each kind of choice relative to the mean kind of its parameter, from scores alone.

    A mixed model (Henderson 1975, Biometrics 31:423) of kinds, rows and configurations: rows that only few candidates
    saw, and the many answers of a race's winner, mislead no effect. A choice without a kind is a nuisance of its own.
    No earlier tuning enters, so that pooling counts each answer once.
    """
    cells = [
        (number, row, score)
        for number, of_candidate in enumerate(found)
        for row, score in zip(of_candidate.rows, of_candidate.scores.tolist(), strict=True)
        if score == score
    ]
    if not cells:
        return {}
    taken = [[_column(kinds, parameter, of_candidate.candidate) for parameter in parameters] for of_candidate in found]
    columns = sorted({(at, name) for names in taken for at, name in enumerate(names)})
    place = {column: at for at, column in enumerate(columns, 1)}
    rows = {row: at for at, row in enumerate(dict.fromkeys(row for _, row, _ in cells), 1 + len(columns))}
    first = 1 + len(columns) + len(rows)
    design = np.zeros((len(cells), first + len(found)))
    design[:, 0] = 1.0
    for at, (number, row, _) in enumerate(cells):
        design[at, [place[column] for column in enumerate(taken[number])]] = 1.0
        design[at, [rows[row], first + number]] = 1.0
    variances = [WEAK_VARIANCE] * len(columns) + [ROW_EFFECT] * len(rows) + [CONFIGURATION_EFFECT] * len(found)
    penalty = np.diag([0.0, *(CELL_VARIANCE / variance for variance in variances)])
    inverse = np.linalg.inv(design.T @ design + penalty)
    fitted = inverse @ (design.T @ np.array([score for _, _, score in cells]))
    estimates: dict[str, Estimate] = {}
    for at, parameter in enumerate(parameters):
        known = set(kinds.get(parameter.name, {}).values())
        places = [place[column] for column in columns if column[0] == at]
        centring = np.eye(len(places)) - 1 / len(places)
        covariance = CELL_VARIANCE * centring @ inverse[np.ix_(places, places)] @ centring
        for column, effect, variance in zip(
            places, (centring @ fitted[places]).tolist(), np.diag(covariance), strict=True
        ):
            name = columns[column - 1][1]
            if name in known and variance < LEAST_INFORMATION * WEAK_VARIANCE:
                estimates[name] = Estimate(effect, float(variance))
    return estimates


def _column(kinds: Kinds, parameter: Parameter, candidate: Candidate) -> str:
    """Return the name of the column of a candidate's choice: its kind, otherwise one that no kind has."""
    choice = candidate.choices.get(parameter.name, parameter.choices[0])
    return kinds.get(parameter.name, {}).get(choice.name, f"\0{choice.name}")
