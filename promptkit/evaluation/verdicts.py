"""The verdict of an interval of a difference: better or worse, and with a margin also equivalent or no worse."""

from __future__ import annotations

from math import log1p, sqrt
from typing import Literal

from promptkit.evaluation.metrics.base import Difference
from promptkit.evaluation.statistics.power import rows_needed_within

Verdict = Literal["better", "worse", "equivalent", "no worse", "not shown"]


def verdict_of(
    low: float | None,
    high: float | None,
    *,
    higher_is_better: bool,
    is_ratio: bool = False,
    margin: float | None = None,
) -> Verdict | None:
    """Return the verdict of the interval of `a` minus `b` (with `is_ratio`, `a` over `b`); None without an interval.

    `margin` is the largest loss that does not matter, in the unit of the difference; of a ratio a share. An interval
    within the margin on both sides is `equivalent`, also where it excludes 0; one that ends above the loss is `no
    worse`. An interval of 95 % makes each of these a one-sided test at 2.5 % (Schuirmann 1987, J. of Pharmacokinetics
    and Biopharmaceutics 15:657; Piaggio et al. 2012, JAMA 308:2594).
    """
    if low is None or high is None:
        return None
    null = 1.0 if is_ratio else 0.0
    least, most = margin_ends(margin, is_ratio=is_ratio) if margin is not None else (null, null)
    if least < low and high < most:
        return "equivalent"
    if low > null or high < null:
        return "better" if (low > null) == higher_is_better else "worse"
    if margin is not None and (least < low if higher_is_better else high < most):
        return "no worse"
    return "not shown"


def margin_ends(margin: float, *, is_ratio: bool) -> tuple[float, float]:
    """Return the differences at which a margin ends; those of a ratio are equally far from 1 as factors."""
    return (1 / (1 + margin), 1 + margin) if is_ratio else (-margin, margin)


def rows_for_margin(difference: Difference, margin: float, *, level: float) -> int | None:
    """Return about how many rows would show `no worse` with a power of 80 %, if the two were equal.

    None where the spread of the pairs is not known.
    """
    if difference.spread is None or not difference.n:
        return None
    # Of 0/1 pairs `spread` is the share that differs, which is the variance of one pair without a true difference.
    deviation = sqrt(difference.spread) if "Tango" in difference.method else difference.spread
    return rows_needed_within(deviation, log1p(margin) if difference.is_ratio else margin, two_sided=False, level=level)
