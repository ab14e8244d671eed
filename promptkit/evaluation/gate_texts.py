"""What is said of thresholds: what is wanted, what the rows show, and what would show it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import ROUND_CEILING, ROUND_FLOOR, ROUND_HALF_EVEN, Decimal
from functools import partial
from math import ceil, log10

from promptkit.evaluation.matching import Compared
from promptkit.evaluation.metrics import Metric

MOST_LISTED = 10
FEWEST_DIGITS, MOST_DIGITS = 2, 6


@dataclass(frozen=True, slots=True, kw_only=True)
class Amount:
    """What is known of a metric: `mean` with its interval, from `cells`, of which `rows` are independent.

    `is_mean` tells that it is the mean of the cells. `noun` says what the mean is a share of (`right`), `what` else
    what it is; `lack` why there is none.
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


def apart(value: float, wanted: float, amount: Amount, rounding: str = ROUND_HALF_EVEN) -> str:
    """Return a number with as many digits as what is wanted has, and at least two where it is small."""
    digits = -int(Decimal(repr(wanted)).normalize().as_tuple().exponent)
    least = FEWEST_DIGITS if amount.bounds or abs(wanted) < 10 else 0
    return rounded(value, min(MOST_DIGITS, max(least, digits)), rounding)


def rounded(value: float, digits: int, rounding: str = ROUND_HALF_EVEN) -> str:
    """Return a number with so many digits after the point."""
    return str(Decimal(repr(value)).quantize(Decimal(1).scaleb(-digits), rounding=rounding))


def rows_told(amount: Amount, end: float, wanted: float, up: bool) -> str:
    """Return what the rows show: `20 rows only show ≥ 0.69 (18 of 20 right)`. Ends are rounded to the safe side."""
    is_met = end >= wanted if up else end <= wanted
    shown = apart(end, wanted, amount, ROUND_FLOOR if up else ROUND_CEILING)
    if amount.rows == 0:
        return f"it is {shown} {amount.what}"
    assert amount.mean is not None, "what has an end has a middle"
    middle = apart(amount.mean, wanted, amount)
    counted = (
        f"{round(amount.mean * amount.cells)} of {amount.cells} {amount.noun}"
        if amount.noun
        else f"{middle} {amount.what}"
    )
    return f"{amount.rows} rows {'show' if is_met else 'only show'} {'≥' if up else '≤'} {shown} ({counted})"


def remedy_told(amount: Amount, end: float, wanted: float, up: bool) -> str:
    """Return how many rows would show it at this rate, or that none would."""
    mean = end if amount.mean is None else amount.mean
    if amount.rows == 0:
        return "it would have to cost less"
    name = "rate" if amount.noun else "median" if amount.bounds is None else "value"
    if mean <= wanted if up else mean >= wanted:
        told = apart(mean, wanted, amount)
        if mean == wanted:
            return f"no number of rows would do: the {name} itself is no better than {told}"
        return f"no number of rows would do: the {name} itself is {told}"
    if amount.bounds is None:
        return "more rows would narrow it"
    return f"about {needed_rows(amount, end, wanted):,} rows at this {name} would do"


def needed_rows(amount: Amount, end: float, wanted: float) -> int:
    """Return about how many rows would bring an interval's end to what is wanted, were the mean to stay.

    An end b of Wilson's form around p stands for z² b(1 - b) / (p - b)² independent rows. That number grows with the
    rows, however much one of them says.
    """
    from promptkit.evaluation.statistics import rows_for_bound

    assert amount.bounds is not None and amount.mean is not None, "what has no bounds is not reckoned so"
    low, width = amount.bounds[0], amount.bounds[1] - amount.bounds[0]
    rate, bound, now = ((value - low) / width for value in (amount.mean, wanted, end))
    if not 0 < now < 1:
        return max(amount.rows + 1, rows_for_bound(rate, bound) or 0)
    more = bound * (1 - bound) / (rate - bound) ** 2 / (now * (1 - now) / (rate - now) ** 2)
    return max(amount.rows + 1, _about(amount.rows * more))


def drop_told(metric: Metric, wanted: float, loss: float | None, most: float | None, found: Compared, name: str) -> str:
    """Return what is said of a drop: `loss` is how much worse it is, `most` how much worse it may be."""
    difference = found.difference
    assert difference is not None, "what has no difference has another text"
    worse = partial(_worse, wanted=wanted, is_ratio=difference.is_ratio)
    told = f"{metric.name}: at most {worse(wanted)} than in {name} is wanted"
    if difference.worse == 0 and difference.n > 0:
        return f"{told}; none of {difference.n} rows is worse ({difference.better} better)"
    if loss is None or most is None:
        return f"{told}, but {difference.n} rows are too few to show it"
    is_met = most <= wanted
    shown = f"{difference.n} rows {'show' if is_met else 'only show'} at most {worse(most, rounding=ROUND_CEILING)}"
    counted = f"{worse(loss)}: {difference.better} better, {difference.worse} worse"
    said = [f"{told}{';' if is_met else ', but'} {shown} ({counted})"]
    if not is_met:
        said.append(_drop_remedy(wanted, loss, most, difference.n, worse(loss)))
    if found.regressions:
        rows = listed([str(number) for number in found.regressions])
        said.append(f"right there and wrong here: row {rows}")
    return "; ".join(said)


def _drop_remedy(wanted: float, loss: float, most: float, rows: int, told: str) -> str:
    if loss >= wanted:
        return f"no number of rows would do: it is {told} itself"
    needed = max(rows + 1, _about(rows * ((most - loss) / (wanted - loss)) ** 2))
    return f"about {needed:,} rows with such differences would do"


def _worse(loss: float, *, wanted: float, is_ratio: bool, rounding: str = ROUND_HALF_EVEN) -> str:
    """Return a loss in words: of a ratio in percent, else in the metric's own unit."""
    digits = max(0 if is_ratio else FEWEST_DIGITS, -int(Decimal(repr(wanted)).normalize().as_tuple().exponent))
    word = "worse" if loss >= 0 else "better"
    if loss < 0 and rounding == ROUND_CEILING:
        rounding = ROUND_FLOOR
    if is_ratio:
        return f"{rounded(abs(loss) * 100, max(0, digits - 2), rounding)} % {word}"
    return f"{rounded(abs(loss), min(MOST_DIGITS, digits), rounding)} {word}"


def _about(rows: float) -> int:
    """Return a number of rows rounded up to two digits: more would be more than is known."""
    unit = int(10 ** max(0, int(log10(max(1.0, rows))) - 1))
    return ceil(rows / unit) * unit


def listed(names: Sequence[str]) -> str:
    """Return the first names of many."""
    more = len(names) - MOST_LISTED
    return ", ".join(names[:MOST_LISTED]) + (f" and {more} more" if more > 0 else "")
