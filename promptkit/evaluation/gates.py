"""Thresholds: whether a run shows what its suite demands, and where not, what would.

They are on the first variant, which is what is in use: the others are tried. Each is one test, so that a suite with
many fails a good target more often than one with few; that an interval's end must hold errs on that side already.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from promptkit.evaluation.gate_texts import Amount, apart, drop_told, listed, remedy_told, rows_told
from promptkit.evaluation.matching import Beside, Compared, right_ones
from promptkit.evaluation.metrics import Metric
from promptkit.evaluation.metrics.families import Proportion, bounded
from promptkit.evaluation.reference import Reference, RowScores
from promptkit.evaluation.suite import Measure, Suite, Threshold
from promptkit.evaluation.summary import MOST_MISSING
from promptkit.evaluation.tally import Tally

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

LIMITED = "not judged, since --limit or --filter leave rows out"


@dataclass(frozen=True, slots=True, kw_only=True)
class Gated:
    """What thresholds are judged by: the first variant's record and tally, and of how many `cells` these should be.

    `beside` has the run's rows; `references` what thresholds compare with, as `bounds.threshold_references` gives it.
    """

    suite: Suite
    variant: Mapping[str, Any]
    tally: Tally
    clusters: NDArray[np.int64] | None
    cells: int
    limited: bool
    beside: Beside
    references: Mapping[str, Reference | str | None]

    def may_lack(self, missing: int) -> bool:
        """Tell whether something may be said though so many cells are missing."""
        return not missing or (self.beside.allow_missing and missing <= MOST_MISSING * self.cells)


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """Whether a bound is met; None where nothing can be said, for `missing` cells or another reason that `says` has."""

    passed: bool | None
    says: str
    shown: float | None = None
    missing: int = 0
    rows: Sequence[int] = ()


def judge(run: Gated) -> list[dict[str, Any]]:
    """Return the thresholds of a run that ended, as `promptkit eval --json` prints them.

    While cells are missing nothing is met or missed; with `allow_missing`, and at most a share of MOST_MISSING missing,
    a bound is met that is met whatever they would be, and missed that is missed whatever they would be. That is known
    of means of cells alone.
    """
    return [
        {
            "metric": threshold.name,
            "variant": run.variant["name"],
            "kind": kind,
            "wanted": threshold.bounds[kind],
            **({"against": threshold.bounds["against"]} if kind == "drop_at_most" else {}),
            "shown": verdict.shown,
            "passed": verdict.passed,
            "missing": verdict.missing,
            "says": verdict.says,
            "rows": list(verdict.rows),
        }
        for threshold in run.suite.thresholds
        for kind, verdict in _verdicts(threshold, run)
    ]


def _verdicts(threshold: Threshold, run: Gated) -> Iterator[tuple[str, Verdict]]:
    judges: dict[str, Callable[[Threshold, Gated], Verdict]] = {
        "at_least": partial(_end, kind="at_least"),
        "at_most": partial(_end, kind="at_most"),
        "per_case": _per_case,
        "drop_at_most": _drop,
    }
    for kind, judge_one in judges.items():
        if kind not in threshold.bounds:
            continue
        if run.limited:
            yield kind, Verdict(passed=None, says=f"{threshold.name}: {LIMITED}")
        else:
            yield kind, judge_one(threshold, run)


def _end(threshold: Threshold, run: Gated, *, kind: str) -> Verdict:
    """Judge an end of an interval."""
    wanted, amount = float(threshold.bounds[kind]), _amount(threshold.name, run)
    up = kind == "at_least"
    end = amount.low if up else amount.high
    missing = run.cells - amount.cells
    if not run.may_lack(missing) or (missing and (amount.bounds is None or not amount.is_mean)):
        return _open(threshold.name, missing, run.cells)
    told = f"{threshold.name}: {'at least' if up else 'at most'} {apart(wanted, wanted, amount)} is wanted"
    if end is None:
        return Verdict(passed=False, says=f"{told}, but {amount.lack or 'there are too few rows for an interval'}")
    worst, best = _whatever(end, missing / run.cells, amount.bounds, up)
    said = rows_told(amount, worst, wanted, up)
    counted = f", each of {missing} missing cells counted against it" if missing else ""
    if worst >= wanted if up else worst <= wanted:
        return Verdict(passed=True, shown=worst, says=f"{told}; {said}{counted}")
    if best < wanted if up else best > wanted:
        return Verdict(passed=False, shown=end, says=f"{told}, but {said}; {remedy_told(amount, end, wanted, up)}")
    return Verdict(passed=None, shown=worst, missing=missing, says=f"{told}, but {said}{counted}")


def _whatever(end: float, share: float, bounds: tuple[float, float] | None, up: bool) -> tuple[float, float]:
    """Return an end with a share of missing cells counted against it, and with it counted for it (Manski 1989)."""
    if not share or bounds is None:
        return end, end
    worst, best = bounds if up else (bounds[1], bounds[0])
    return end * (1 - share) + worst * share, end * (1 - share) + best * share


def _open(name: str, missing: int, cells: int) -> Verdict:
    told = f"{name}: not judged while {missing} of {cells} cells are missing"
    allowed = f" (--allow-missing allows {MOST_MISSING * 100:.0f} %)" if missing > MOST_MISSING * cells else ""
    return Verdict(passed=None, missing=missing, says=f"{told}{allowed}")


def _amount(name: str, run: Gated) -> Amount:
    """Return what is known of a metric, or of a total that has no metric."""
    measure = _measure(name, run.suite)
    if measure is not None:
        metric, record = measure.metric, run.variant["metrics"][name]
        cells = len(run.tally.sample(metric))
        return Amount(
            mean=record["mean"],
            low=record["low"],
            high=record["high"],
            cells=cells,
            rows=record["clusters"],
            bounds=metric.bounds,
            is_mean=metric.is_mean,
            what="" if isinstance(metric, Proportion) else "observed" if metric.bounds else "in the median",
            noun="right" if isinstance(metric, Proportion) else "",
            lack="; ".join(record["notes"]),
        )
    if name == "cost":
        cost = run.variant["cost"]
        lack = "no price of its model stands under `prices` in promptkit.yaml"
        there = run.cells - run.variant["missing"]
        return Amount(mean=cost, low=cost, high=cost, cells=there, rows=0, bounds=None, what="in all", lack=lack)
    assert name == "unparsed", "the reader knows no other total without a metric"
    found = bounded(sample := run.tally.unanswered(run.clusters), (0.0, 1.0), binary=True)
    return Amount(
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


def _per_case(threshold: Threshold, run: Gated) -> Verdict:
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
        return _open(threshold.name, missing, run.cells)
    told = f"{threshold.name}: of each row's answers a share of {wanted:g} is to be right"
    least = min((share for _, share, _ in shares), default=None)
    if short:
        names = [f"{row.number} ({right_ones(metric, row, repeat)} of {repeat})" for row in short]
        said = f"but {len(short)} of {len(rows)} rows have less: row {listed(names)}"
        return Verdict(passed=False, shown=least, says=f"{told}, {said}", rows=[row.number for row in short])
    if undecided:
        return _open(threshold.name, missing, run.cells)
    return Verdict(passed=True, shown=least, says=f"{told}; all {len(rows)} rows have it")


def _share(metric: Metric, row: RowScores) -> tuple[float, float]:
    """Return how right a row's repeats are on average, from 0 to 1, if those missing were wrong and if they were right.

    Of scores of 0 and 1 that is the share that is right.
    """
    assert metric.bounds is not None, "the reader allows `per_case` of a metric with bounds alone"
    low, high = metric.bounds if metric.higher_is_better else (metric.bounds[1], metric.bounds[0])
    values = [scores[metric.name].value if metric.name in scores else None for scores in row.repeats]
    known = [(value - low) / (high - low) for value in values if value is not None]
    return sum(known) / len(values), (sum(known) + len(values) - len(known)) / len(values)


def _drop(threshold: Threshold, run: Gated) -> Verdict:
    """Judge the difference to a reference by its worse end; where no row is worse there is nothing to judge."""
    measure, wanted = _measure(threshold.name, run.suite), float(threshold.bounds["drop_at_most"])
    assert measure is not None, "the reader allows `against` of a metric alone"
    reference = run.references[str(threshold.bounds["against"])]
    if reference is None:
        return Verdict(passed=None, says=f"{measure.name}: not judged, since `{run.suite.name}` has no earlier run")
    if isinstance(reference, str):
        return Verdict(passed=False, says=f"{measure.name}: compared with nothing, since {reference}; {_anew(run)}")
    missing = run.cells - len(run.tally.sample(measure.metric))
    if not run.may_lack(missing):
        return _open(measure.name, missing, run.cells)
    found = run.beside.compare(measure, reference)
    if found.missing and (found.difference is None or measure.metric.bounds is None):
        why = found.why or f"{found.missing} cells have no score on a side"
        return Verdict(passed=None, missing=found.missing, says=f"{measure.name}: not judged, since {why}")
    if found.difference is None:
        return Verdict(passed=False, says=f"{measure.name}: compared with nothing, since {found.why}; {_anew(run)}")
    return _drop_verdict(measure.metric, wanted, found, reference.name, run.beside.notes(reference))


def _anew(run: Gated) -> str:
    return f"to keep this run as the baseline: promptkit runs export {run.beside.number} --baseline FILE"


def _drop_verdict(metric: Metric, wanted: float, found: Compared, name: str, notes: Sequence[str]) -> Verdict:
    difference = found.difference
    assert difference is not None, "what has no difference is not judged by one"
    end = difference.low if metric.higher_is_better else difference.high
    loss, most = _loss(difference.difference, metric, difference.is_ratio), _loss(end, metric, difference.is_ratio)
    is_steady = difference.worse == 0 and difference.n > 0
    passed: bool | None = is_steady or (most is not None and most <= wanted)
    if not (most is not None and most <= wanted) and found.missing:
        passed = None
    return Verdict(
        passed=passed,
        shown=end,
        says="; ".join([drop_told(metric, wanted, loss, most, found, name), *notes]),
        missing=found.missing if passed is None else 0,
        rows=found.regressions,
    )


def _loss(value: float | None, metric: Metric, is_ratio: bool) -> float | None:
    """Return how much worse a difference is, a ratio's as a share."""
    if value is None:
        return None
    change = value - 1 if is_ratio else value
    return -change if metric.higher_is_better else change
