"""Whether a number is near enough to the expected one."""

from __future__ import annotations

from fractions import Fraction
from math import isfinite
from typing import Any

from pydantic import Field

from promptkit.engine import Closed
from promptkit.evaluation.metrics.base import Given, Score
from promptkit.evaluation.metrics.families import Proportion
from promptkit.evaluation.metrics.values import fault, number_of


class NumberParameters(Closed):
    """How far off a right number may be: in its unit, or as a share of the expected number; the wider one counts."""

    tolerance: float = Field(default=0.0, ge=0, allow_inf_nan=False)
    relative: float = Field(default=0.0, ge=0, allow_inf_nan=False)


class Number(Proportion):
    """A number within a tolerance of the expected one; texts are read as the answer type `number` reads them.

    The distance is reckoned in decimals, so that 0.51 is within 0.01 of 0.5.
    """

    kind = "number"
    about = "the number is within a tolerance of the expected one"
    Parameters = NumberParameters
    short = "tolerance"
    parameters: NumberParameters

    def measure(self, given: Given) -> Score:
        expected = exact(number_of(given.expected))
        try:
            got = exact(number_of(given.got))
        except ValueError as error:
            return Score(0.0, {"problem": str(error)})
        if near(got, expected, self.parameters.tolerance, self.parameters.relative):
            return Score(1.0)
        return Score(0.0, _off(got - expected))

    def wrong_expected(self, expected: Any) -> str | None:
        return fault(lambda: number_of(expected))


def exact(value: int | float) -> Fraction:
    """Return a finite number as the decimals that write it say."""
    return Fraction(value) if isinstance(value, int) else Fraction(repr(value))


def near(got: Fraction, expected: Fraction, tolerance: float, relative: float = 0.0) -> bool:
    """Tell whether two numbers are no further apart than the wider of an absolute and a relative tolerance."""
    return abs(got - expected) <= max(exact(tolerance), exact(relative) * abs(expected))


def _off(distance: Fraction) -> dict[str, Any]:
    try:
        off = float(distance)
    except OverflowError:
        return {}
    return {"off": off} if isfinite(off) else {}
