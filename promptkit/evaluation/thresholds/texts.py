"""The texts of threshold results: what the rows show, and how many would reach the limit."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import ROUND_CEILING, ROUND_FLOOR, ROUND_HALF_EVEN, Decimal
from functools import partial
from math import ceil, log10

from promptkit.evaluation.comparison.compare import MetricComparison
from promptkit.evaluation.metrics.base import Difference
from promptkit.evaluation.statistics.power import rows_for_bound

MOST_LISTED = 10
"""The most failing rows that a text names."""
FEWEST_DIGITS, MOST_DIGITS = 2, 6


@dataclass(frozen=True, slots=True, kw_only=True)
class Measurement:
    """A metric or total as measured: `mean` with its interval, from `cells` cells in `rows` independent rows.

    With `is_mean` the mean is that of the cells. The text names it by `noun` where it is a share (`right`), else by
    `what`. `exempt` cells are those to which it does not apply. `lack` is the reason why there is no mean. `unrecorded`
    answers are of an earlier promptkit, which did not record what is measured.
    """

    mean: float | None
    low: float | None
    high: float | None
    cells: int
    rows: int
    bounds: tuple[float, float] | None
    is_mean: bool = True
    what: str = ""
    noun: str = ""
    lack: str = ""
    exempt: int = 0
    unrecorded: int = 0


def number_text(value: float, limit: float, measurement: Measurement, rounding: str = ROUND_HALF_EVEN) -> str:
    """Return a number with as many digits as the limit, and at least two where it is small."""
    digits = -int(Decimal(repr(limit)).normalize().as_tuple().exponent)
    least = FEWEST_DIGITS if measurement.bounds or abs(limit) < 10 else 0
    return rounded(value, min(MOST_DIGITS, max(least, digits)), rounding)


def rounded(value: float, digits: int, rounding: str = ROUND_HALF_EVEN) -> str:
    """Return a number with this many digits after the decimal point."""
    return str(Decimal(repr(value)).quantize(Decimal(1).scaleb(-digits), rounding=rounding))


def shown_text(measurement: Measurement, end: float, limit: float, up: bool) -> str:
    """Return the text of an end: `20 rows only show ≥ 0.69 (18 of 20 right)`. It is rounded to the safe side."""
    is_met = end >= limit if up else end <= limit
    shown = number_text(end, limit, measurement, ROUND_FLOOR if up else ROUND_CEILING)
    if measurement.rows == 0:
        return f"it is {shown} {measurement.what}"
    assert measurement.mean is not None, "an interval has a mean"
    middle = number_text(measurement.mean, limit, measurement)
    counted = (
        f"{round(measurement.mean * measurement.cells)} of {measurement.cells} {measurement.noun}"
        if measurement.noun
        else f"{middle} {measurement.what}"
    )
    return f"{measurement.rows} rows {'show' if is_met else 'only show'} {'≥' if up else '≤'} {shown} ({counted})"


def remedy_text(measurement: Measurement, end: float, limit: float, up: bool) -> str:
    """Return the text that says how many rows would reach the limit at this rate, if any number would."""
    mean = end if measurement.mean is None else measurement.mean
    if measurement.rows == 0:
        return "it would have to cost less"
    name = "rate" if measurement.noun else "median" if measurement.bounds is None else "value"
    if mean <= limit if up else mean >= limit:
        value = number_text(mean, limit, measurement)
        if mean == limit:
            return f"no number of rows would be enough: the {name} itself is not better than {value}"
        return f"no number of rows would be enough: the {name} itself is {value}"
    if measurement.bounds is None:
        return "more rows would narrow it"
    return f"about {needed_rows(measurement, end, limit):,} rows at this {name} would be enough"


def needed_rows(measurement: Measurement, end: float, limit: float) -> int:
    """Return about how many rows would bring an interval's end to the limit if the mean stayed as it is.

    An end b of Wilson's form around p stands for z² b(1 - b) / (p - b)² independent rows. That number grows in
    proportion to the rows.
    """
    assert measurement.bounds is not None and measurement.mean is not None, "a metric without bounds has no such number"
    low, width = measurement.bounds[0], measurement.bounds[1] - measurement.bounds[0]
    rate, bound, now = ((value - low) / width for value in (measurement.mean, limit, end))
    if not 0 < now < 1:
        return max(measurement.rows + 1, rows_for_bound(rate, bound) or 0)
    more = bound * (1 - bound) / (rate - bound) ** 2 / (now * (1 - now) / (rate - now) ** 2)
    return max(measurement.rows + 1, _rounded_up(measurement.rows * more))


def drop_text(
    limit: float,
    loss: float | None,
    most: float | None,
    found: MetricComparison,
    difference: Difference,
    baseline: str,
) -> str:
    """Return the text of a drop below a baseline: `loss` is the observed one, `most` the largest that it may be."""
    worse = partial(_loss_text, limit=limit, is_ratio=difference.is_ratio)
    demand = f"{found.metric.name}: at most {worse(limit)} than in {baseline} is required"
    if difference.worse == 0 and difference.n > 0:
        return f"{demand}; none of {difference.n} rows is worse ({difference.better} better)"
    if loss is None or most is None:
        return f"{demand}, but {difference.n} rows are too few to show it"
    is_met = most <= limit
    shown = f"{difference.n} rows {'show' if is_met else 'only show'} at most {worse(most, rounding=ROUND_CEILING)}"
    counted = f"{worse(loss)}: {difference.better} better, {difference.worse} worse"
    parts = [f"{demand}{';' if is_met else ', but'} {shown} ({counted})"]
    if not is_met:
        parts.append(_drop_remedy(limit, loss, most, difference.n, worse(loss)))
    if found.regressions:
        rows = listed([str(number) for number in found.regressions])
        parts.append(f"right there and wrong here: row {rows}")
    return "; ".join(parts)


def _drop_remedy(limit: float, loss: float, most: float, rows: int, loss_text: str) -> str:
    if loss >= limit:
        return f"no number of rows would be enough: it is {loss_text} itself"
    needed = max(rows + 1, _rounded_up(rows * ((most - loss) / (limit - loss)) ** 2))
    return f"about {needed:,} rows with such differences would be enough"


def _loss_text(loss: float, *, limit: float, is_ratio: bool, rounding: str = ROUND_HALF_EVEN) -> str:
    """Return a loss as text: a ratio's in percent, any other in the metric's unit."""
    digits = max(0 if is_ratio else FEWEST_DIGITS, -int(Decimal(repr(limit)).normalize().as_tuple().exponent))
    word = "worse" if loss >= 0 else "better"
    if loss < 0 and rounding == ROUND_CEILING:
        rounding = ROUND_FLOOR
    if is_ratio:
        return f"{rounded(abs(loss) * 100, max(0, digits - 2), rounding)} % {word}"
    return f"{rounded(abs(loss), min(MOST_DIGITS, digits), rounding)} {word}"


def _rounded_up(rows: float) -> int:
    """Return a number of rows rounded up to two digits, since more are not significant."""
    unit = int(10 ** max(0, int(log10(max(1.0, rows))) - 1))
    return ceil(rows / unit) * unit


def listed(names: Sequence[str]) -> str:
    """Return the first names of a list, with the number of the others."""
    more = len(names) - MOST_LISTED
    return ", ".join(names[:MOST_LISTED]) + (f" and {more} more" if more > 0 else "")
