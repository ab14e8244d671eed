"""The check of a suite's thresholds after a run, with the text of each result.

Thresholds apply to the first variant. Each is one test, so that a suite with many fails a good target more often than
one with few; that an interval's end must hold errs on that side already.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import ROUND_CEILING, ROUND_FLOOR, ROUND_HALF_EVEN, Decimal
from functools import partial
from math import ceil, log10
from typing import TYPE_CHECKING

from promptkit.evaluation.cells.tally import Tally
from promptkit.evaluation.comparison.matching import Beside, Compared, right_ones
from promptkit.evaluation.comparison.run_rows import RowScores, RunRows
from promptkit.evaluation.metrics.base import Metric
from promptkit.evaluation.metrics.estimation import Proportion, bounded_estimate
from promptkit.evaluation.record import ThresholdRecord, VariantRecord
from promptkit.evaluation.suite.suite import Measure, Suite, Threshold
from promptkit.evaluation.summary import MOST_MISSING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

LIMITED = "not judged, since --limit or --filter leave rows out"


@dataclass(frozen=True, slots=True, kw_only=True)
class ThresholdInput:
    """What thresholds are judged by: the first variant's record and tally, and of how many `cells` these should be.

    `beside` has the run's rows; `references` what thresholds compare with, as `bounds.threshold_references` gives it.
    """

    suite: Suite
    variant: VariantRecord
    tally: Tally
    clusters: NDArray[np.int64] | None
    cells: int
    limited: bool
    beside: Beside
    references: Mapping[str, RunRows | str | None]

    def may_lack(self, missing: int) -> bool:
        """Tell whether something may be said though so many cells are missing."""
        return not missing or (self.beside.allow_missing and missing <= MOST_MISSING * self.cells)


@dataclass(frozen=True, slots=True, kw_only=True)
class ThresholdResult:
    """Whether a bound is met; None where nothing can be said, for `missing` cells or another reason that `says` has."""

    passed: bool | None
    says: str
    shown: float | None = None
    missing: int = 0
    rows: Sequence[int] = ()


def check_thresholds(run: ThresholdInput) -> list[ThresholdRecord]:
    """Return the thresholds of a run that ended, as `promptkit eval --json` prints them.

    While cells are missing nothing is met or missed; with `allow_missing`, and at most a share of MOST_MISSING missing,
    a bound is met that is met whatever they would be, and missed that is missed whatever they would be. That is known
    of means of cells alone.
    """
    return [
        ThresholdRecord(
            metric=threshold.name,
            variant=run.variant.name,
            kind=kind,
            wanted=threshold.bounds[kind],
            # A key that only these have.
            **({"against": threshold.bounds["against"]} if kind == "drop_at_most" else {}),
            shown=verdict.shown,
            passed=verdict.passed,
            missing=verdict.missing,
            says=verdict.says,
            rows=list(verdict.rows),
        )
        for threshold in run.suite.thresholds
        for kind, verdict in _results(threshold, run)
    ]


def _results(threshold: Threshold, run: ThresholdInput) -> Iterator[tuple[str, ThresholdResult]]:
    judges: dict[str, Callable[[Threshold, ThresholdInput], ThresholdResult]] = {
        "at_least": partial(_check_end, kind="at_least"),
        "at_most": partial(_check_end, kind="at_most"),
        "per_case": _check_per_case,
        "drop_at_most": _check_drop,
    }
    for kind, judge_one in judges.items():
        if kind not in threshold.bounds:
            continue
        if run.limited:
            yield kind, ThresholdResult(passed=None, says=f"{threshold.name}: {LIMITED}")
        else:
            yield kind, judge_one(threshold, run)


def _check_end(threshold: Threshold, run: ThresholdInput, *, kind: str) -> ThresholdResult:
    """Judge an end of an interval."""
    wanted, amount = float(threshold.bounds[kind]), _measurement(threshold.name, run)
    up = kind == "at_least"
    end = amount.low if up else amount.high
    missing = run.cells - amount.cells
    if not run.may_lack(missing) or (missing and (amount.bounds is None or not amount.is_mean)):
        return _undecided(threshold.name, missing, run.cells)
    told = f"{threshold.name}: {'at least' if up else 'at most'} {number_text(wanted, wanted, amount)} is wanted"
    if end is None:
        return ThresholdResult(
            passed=False, says=f"{told}, but {amount.lack or 'there are too few rows for an interval'}"
        )
    worst, best = _worst_and_best(end, missing / run.cells, amount.bounds, up)
    said = shown_text(amount, worst, wanted, up)
    counted = f", each of {missing} missing cells counted against it" if missing else ""
    if worst >= wanted if up else worst <= wanted:
        return ThresholdResult(passed=True, shown=worst, says=f"{told}; {said}{counted}")
    if best < wanted if up else best > wanted:
        return ThresholdResult(
            passed=False, shown=end, says=f"{told}, but {said}; {remedy_text(amount, end, wanted, up)}"
        )
    return ThresholdResult(passed=None, shown=worst, missing=missing, says=f"{told}, but {said}{counted}")


def _worst_and_best(end: float, share: float, bounds: tuple[float, float] | None, up: bool) -> tuple[float, float]:
    """Return an end with a share of missing cells counted against it, and with it counted for it (Manski 1989)."""
    if not share or bounds is None:
        return end, end
    worst, best = bounds if up else (bounds[1], bounds[0])
    return end * (1 - share) + worst * share, end * (1 - share) + best * share


def _undecided(name: str, missing: int, cells: int) -> ThresholdResult:
    told = f"{name}: not judged while {missing} of {cells} cells are missing"
    allowed = f" (--allow-missing allows {MOST_MISSING * 100:.0f} %)" if missing > MOST_MISSING * cells else ""
    return ThresholdResult(passed=None, missing=missing, says=f"{told}{allowed}")


def _measurement(name: str, run: ThresholdInput) -> Measurement:
    """Return what is known of a metric, or of a total that has no metric."""
    measure = _measure(name, run.suite)
    if measure is not None:
        metric, record = measure.metric, run.variant.metrics[name]
        cells = len(run.tally.sample(metric))
        return Measurement(
            mean=record.mean,
            low=record.low,
            high=record.high,
            cells=cells,
            rows=record.clusters,
            bounds=metric.bounds,
            is_mean=metric.is_mean,
            what="" if isinstance(metric, Proportion) else "observed" if metric.bounds else "in the median",
            noun="right" if isinstance(metric, Proportion) else "",
            lack="; ".join(record.notes),
        )
    if name == "cost":
        cost = run.variant.cost
        lack = "no price of its model stands under `prices` in promptkit.yaml"
        there = run.cells - run.variant.missing
        return Measurement(mean=cost, low=cost, high=cost, cells=there, rows=0, bounds=None, what="in all", lack=lack)
    assert name == "unparsed", "the reader knows no other total without a metric"
    found = bounded_estimate(sample := run.tally.unanswered(run.clusters), (0.0, 1.0), binary=True)
    return Measurement(
        mean=found.mean,
        low=found.low,
        high=found.high,
        cells=len(sample),
        rows=found.clusters,
        bounds=(0.0, 1.0),
        noun="without an answer that parses",
        lack="; ".join(found.notes),
    )


def _measure(name: str, suite: Suite) -> Measure | None:
    return next((each for each in suite.measures if each.name == name), None)


def _check_per_case(threshold: Threshold, run: ThresholdInput) -> ThresholdResult:
    """Judge every row by its repeats."""
    measure = _measure(threshold.name, run.suite)
    assert measure is not None, "the reader allows `per_case` of a metric alone"
    metric, wanted, repeat = measure.metric, float(threshold.bounds["per_case"]), run.suite.repeat
    rows = list(run.beside.rows.values())
    shares = [(row, *_share(metric, row)) for row in rows]
    short = [row for row, _, most in shares if most < wanted]
    undecided = sum(least < wanted <= most for _, least, most in shares) + run.cells // repeat - len(rows)
    missing = run.cells - len(run.tally.sample(metric))
    if not run.may_lack(missing):
        return _undecided(threshold.name, missing, run.cells)
    told = f"{threshold.name}: of each row's answers a share of {wanted:g} is to be right"
    least = min((share for _, share, _ in shares), default=None)
    if short:
        names = [f"{row.number} ({right_ones(metric, row, repeat)} of {repeat})" for row in short]
        said = f"but {len(short)} of {len(rows)} rows have less: row {listed(names)}"
        return ThresholdResult(passed=False, shown=least, says=f"{told}, {said}", rows=[row.number for row in short])
    if undecided:
        return _undecided(threshold.name, missing, run.cells)
    return ThresholdResult(passed=True, shown=least, says=f"{told}; all {len(rows)} rows have it")


def _share(metric: Metric, row: RowScores) -> tuple[float, float]:
    """Return how right a row's repeats are on average, from 0 to 1, if those missing were wrong and if they were right.

    Of scores of 0 and 1 that is the share that is right.
    """
    assert metric.bounds is not None, "the reader allows `per_case` of a metric with bounds alone"
    low, high = metric.bounds if metric.higher_is_better else (metric.bounds[1], metric.bounds[0])
    values = [scores[metric.name].value if metric.name in scores else None for scores in row.repeats]
    known = [(value - low) / (high - low) for value in values if value is not None]
    return sum(known) / len(values), (sum(known) + len(values) - len(known)) / len(values)


def _check_drop(threshold: Threshold, run: ThresholdInput) -> ThresholdResult:
    """Judge the difference to a reference by its worse end; where no row is worse there is nothing to judge."""
    measure, wanted = _measure(threshold.name, run.suite), float(threshold.bounds["drop_at_most"])
    assert measure is not None, "the reader allows `against` of a metric alone"
    reference = run.references[str(threshold.bounds["against"])]
    if reference is None:
        return ThresholdResult(
            passed=None, says=f"{measure.name}: not judged, since `{run.suite.name}` has no earlier run"
        )
    if isinstance(reference, str):
        return ThresholdResult(
            passed=False, says=f"{measure.name}: compared with nothing, since {reference}; {_export_hint(run)}"
        )
    missing = run.cells - len(run.tally.sample(measure.metric))
    if not run.may_lack(missing):
        return _undecided(measure.name, missing, run.cells)
    found = run.beside.compare(measure, reference)
    if found.missing and (found.difference is None or measure.metric.bounds is None):
        why = found.why or f"{found.missing} cells have no score on a side"
        return ThresholdResult(passed=None, missing=found.missing, says=f"{measure.name}: not judged, since {why}")
    if found.difference is None:
        return ThresholdResult(
            passed=False, says=f"{measure.name}: compared with nothing, since {found.why}; {_export_hint(run)}"
        )
    return _drop_result(measure.metric, wanted, found, reference.name, run.beside.notes(reference))


def _export_hint(run: ThresholdInput) -> str:
    return f"to keep this run as the baseline: promptkit runs export {run.beside.number} --baseline FILE"


def _drop_result(metric: Metric, wanted: float, found: Compared, name: str, notes: Sequence[str]) -> ThresholdResult:
    difference = found.difference
    assert difference is not None, "what has no difference is not judged by one"
    end = difference.low if metric.higher_is_better else difference.high
    loss, most = _loss(difference.difference, metric, difference.is_ratio), _loss(end, metric, difference.is_ratio)
    is_steady = difference.worse == 0 and difference.n > 0
    passed: bool | None = is_steady or (most is not None and most <= wanted)
    if not (most is not None and most <= wanted) and found.missing:
        passed = None
    return ThresholdResult(
        passed=passed,
        shown=end,
        says="; ".join([drop_text(metric, wanted, loss, most, found, name), *notes]),
        missing=found.missing if passed is None else 0,
        rows=found.regressions,
    )


def _loss(value: float | None, metric: Metric, is_ratio: bool) -> float | None:
    """Return how much worse a difference is, a ratio's as a share."""
    if value is None:
        return None
    change = value - 1 if is_ratio else value
    return -change if metric.higher_is_better else change


MOST_LISTED = 10
FEWEST_DIGITS, MOST_DIGITS = 2, 6


@dataclass(frozen=True, slots=True, kw_only=True)
class Measurement:
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


def number_text(value: float, wanted: float, amount: Measurement, rounding: str = ROUND_HALF_EVEN) -> str:
    """Return a number with as many digits as what is wanted has, and at least two where it is small."""
    digits = -int(Decimal(repr(wanted)).normalize().as_tuple().exponent)
    least = FEWEST_DIGITS if amount.bounds or abs(wanted) < 10 else 0
    return rounded(value, min(MOST_DIGITS, max(least, digits)), rounding)


def rounded(value: float, digits: int, rounding: str = ROUND_HALF_EVEN) -> str:
    """Return a number with so many digits after the point."""
    return str(Decimal(repr(value)).quantize(Decimal(1).scaleb(-digits), rounding=rounding))


def shown_text(amount: Measurement, end: float, wanted: float, up: bool) -> str:
    """Return what the rows show: `20 rows only show ≥ 0.69 (18 of 20 right)`. Ends are rounded to the safe side."""
    is_met = end >= wanted if up else end <= wanted
    shown = number_text(end, wanted, amount, ROUND_FLOOR if up else ROUND_CEILING)
    if amount.rows == 0:
        return f"it is {shown} {amount.what}"
    assert amount.mean is not None, "what has an end has a middle"
    middle = number_text(amount.mean, wanted, amount)
    counted = (
        f"{round(amount.mean * amount.cells)} of {amount.cells} {amount.noun}"
        if amount.noun
        else f"{middle} {amount.what}"
    )
    return f"{amount.rows} rows {'show' if is_met else 'only show'} {'≥' if up else '≤'} {shown} ({counted})"


def remedy_text(amount: Measurement, end: float, wanted: float, up: bool) -> str:
    """Return how many rows would show it at this rate, or that none would."""
    mean = end if amount.mean is None else amount.mean
    if amount.rows == 0:
        return "it would have to cost less"
    name = "rate" if amount.noun else "median" if amount.bounds is None else "value"
    if mean <= wanted if up else mean >= wanted:
        told = number_text(mean, wanted, amount)
        if mean == wanted:
            return f"no number of rows would do: the {name} itself is no better than {told}"
        return f"no number of rows would do: the {name} itself is {told}"
    if amount.bounds is None:
        return "more rows would narrow it"
    return f"about {needed_rows(amount, end, wanted):,} rows at this {name} would do"


def needed_rows(amount: Measurement, end: float, wanted: float) -> int:
    """Return about how many rows would bring an interval's end to what is wanted, were the mean to stay.

    An end b of Wilson's form around p stands for z² b(1 - b) / (p - b)² independent rows. That number grows with the
    rows, however much one of them says.
    """
    from promptkit.evaluation.statistics.power import rows_for_bound

    assert amount.bounds is not None and amount.mean is not None, "what has no bounds is not reckoned so"
    low, width = amount.bounds[0], amount.bounds[1] - amount.bounds[0]
    rate, bound, now = ((value - low) / width for value in (amount.mean, wanted, end))
    if not 0 < now < 1:
        return max(amount.rows + 1, rows_for_bound(rate, bound) or 0)
    more = bound * (1 - bound) / (rate - bound) ** 2 / (now * (1 - now) / (rate - now) ** 2)
    return max(amount.rows + 1, _rounded_up(amount.rows * more))


def drop_text(metric: Metric, wanted: float, loss: float | None, most: float | None, found: Compared, name: str) -> str:
    """Return what is said of a drop: `loss` is how much worse it is, `most` how much worse it may be."""
    difference = found.difference
    assert difference is not None, "what has no difference has another text"
    worse = partial(_loss_text, wanted=wanted, is_ratio=difference.is_ratio)
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
    needed = max(rows + 1, _rounded_up(rows * ((most - loss) / (wanted - loss)) ** 2))
    return f"about {needed:,} rows with such differences would do"


def _loss_text(loss: float, *, wanted: float, is_ratio: bool, rounding: str = ROUND_HALF_EVEN) -> str:
    """Return a loss in words: of a ratio in percent, else in the metric's own unit."""
    digits = max(0 if is_ratio else FEWEST_DIGITS, -int(Decimal(repr(wanted)).normalize().as_tuple().exponent))
    word = "worse" if loss >= 0 else "better"
    if loss < 0 and rounding == ROUND_CEILING:
        rounding = ROUND_FLOOR
    if is_ratio:
        return f"{rounded(abs(loss) * 100, max(0, digits - 2), rounding)} % {word}"
    return f"{rounded(abs(loss), min(MOST_DIGITS, digits), rounding)} {word}"


def _rounded_up(rows: float) -> int:
    """Return a number of rows rounded up to two digits: more would be more than is known."""
    unit = int(10 ** max(0, int(log10(max(1.0, rows))) - 1))
    return ceil(rows / unit) * unit


def listed(names: Sequence[str]) -> str:
    """Return the first names of many."""
    more = len(names) - MOST_LISTED
    return ", ".join(names[:MOST_LISTED]) + (f" and {more} more" if more > 0 else "")
