"""Evidence of a tuning for its report: rows that turned, the learning curve, and gains on rows of both."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from math import ceil
from typing import Any, Final

import numpy as np

from promptkit.evaluation.cells.cell import Cell, compared_values
from promptkit.tuning.confirmation.verdict import paired_gain, rows_to_detect
from promptkit.tuning.progress import Lead
from promptkit.tuning.search.race import ROWS_EACH
from promptkit.tuning.search.race_runner import DROP_REASONS
from promptkit.tuning.search_space.candidate import Candidate
from promptkit.tuning.trials import Estimates, Trial

MOST_TURNED: Final = 200
"""The most rows that turned in a record; the store has all of them."""
MOST_TEXT: Final = 300
"""The most characters of a field or an answer in a record."""
LEAST_PAIRS: Final = 2
START: Final = Candidate()


def turned_record(estimates: Estimates, incumbent: Candidate, rows: Sequence[int]) -> dict[str, Any]:
    """Return the confirm rows whose score the incumbent changed, those with the largest change first.

    A row that either side did not answer has turned for the worse, as in the verdict, unless neither did. `rows` are
    places; those that were not asked of both are left out.
    """
    evaluator = estimates.evaluator
    asked = [row for row in rows if evaluator.result(START, row) and evaluator.result(incumbent, row)]
    before, after = evaluator.scores(START, asked), evaluator.scores(incumbent, asked)
    change = np.where(np.isnan(before) | np.isnan(after), -1.0, after - before)
    change[np.isnan(before) & np.isnan(after)] = 0.0
    places = sorted(np.flatnonzero(np.abs(change) > 1e-9).tolist(), key=lambda at: (-abs(change[at]), asked[at]))
    better, worse = int((change > 1e-9).sum()), int((change < -1e-9).sum())
    kept = places[:MOST_TURNED]
    numbers = [asked[at] for at in kept]
    cells = [evaluator.cells(candidate, numbers) for candidate in (START, incumbent)]
    records = []
    for at, number in zip(kept, numbers, strict=True):
        if number not in cells[0] or number not in cells[1]:  # Damaged in the store.
            continue
        scores = [None if np.isnan(score) else estimates.in_units(float(score)) for score in (before[at], after[at])]
        records.append(
            {
                "row": evaluator.rows[number].row.number,
                "change": "better" if change[at] > 0 else "worse",
                "fields": {name: _short(value) for name, value in cells[0][number].fields.items()},
                "expected": _short(compared_values(cells[0][number], evaluator.metric.name)[0]),
                "before": _answer(cells[0][number], evaluator.metric.name, scores[0]),
                "after": _answer(cells[1][number], evaluator.metric.name, scores[1]),
            }
        )
    return {"better": better, "worse": worse, "rows": records}


def _answer(cell: Cell, metric: str, score: float | None) -> dict[str, Any]:
    return {"value": _short(compared_values(cell, metric)[1]), "flag": cell.flag, "score": score}


def _short(value: Any) -> Any:
    """Return a value as it is, and one of many characters as text that is cut."""
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
    return value if len(text) <= MOST_TEXT else f"{text[:MOST_TEXT]}…"


def gain_record(estimates: Estimates, candidate: Candidate, rows: Sequence[int]) -> dict[str, Any] | None:
    """Return the gain of a candidate over the start on the search rows of both, with its interval; None for too few."""
    evaluator = estimates.evaluator
    bounds = evaluator.metric.bounds
    before, after = evaluator.scores(START, rows), estimates.calibration.scores(candidate, rows)
    there = np.flatnonzero(~np.isnan(before) & ~np.isnan(after))
    if len(there) < LEAST_PAIRS or bounds is None or not evaluator.metric.is_mean:
        return None
    clusters = evaluator.clusters([rows[at] for at in there.tolist()])
    paired = paired_gain(after[there], before[there], clusters=clusters)
    width = bounds[1] - bounds[0]
    return {
        "difference": paired.difference * width,
        "low": paired.low * width,
        "high": paired.high * width,
        "n": len(there),
    }


def curve_record(estimates: Estimates, leads: Sequence[Lead]) -> list[dict[str, Any]]:
    """Return the learning curve: the leader at each block of the search on the whole target, with its score by then.

    `start` is the mean of the start on the same rows, where it has all of them.
    """
    evaluator, points = estimates.evaluator, []
    for lead in leads:
        rows = [row for row in lead.rows if evaluator.result(lead.candidate, row)]
        if not rows:  # It was searched on the labels of one step.
            continue
        estimate = estimates.estimate_record(lead.candidate, rows)
        if estimate["mean"] is None:
            continue
        has_all = all(evaluator.result(START, row) for row in rows)
        start = evaluator.estimate(START, rows).mean if has_all else None
        points.append({"calls": lead.calls, "name": evaluator.label(lead.candidate), **estimate, "start": start})
    return points


def shared_rows(estimates: Estimates, rows: Sequence[int]) -> list[int]:
    """Return those of a candidate's rows that the start has results on."""
    return [row for row in rows if estimates.evaluator.result(START, row) is not None]


def rows_for_gain(estimates: Estimates, incumbent: Candidate, rows: Sequence[int], level: float) -> int | None:
    """Return about how many confirm rows (or clusters) would show the measured gain four times in five.

    The number is as uncertain as the gain. None where nothing was gained, and for a metric that is not a mean.
    """
    evaluator = estimates.evaluator
    asked = [row for row in rows if evaluator.result(START, row) and evaluator.result(incumbent, row)]
    if not asked or not evaluator.metric.is_mean:
        return None
    paired = paired_gain(
        evaluator.scores(incumbent, asked),
        evaluator.scores(START, asked),
        clusters=evaluator.clusters(asked),
        level=level,
    )
    return rows_to_detect(paired, smallest=paired.difference, level=level) if paired.difference > 0 else None


def calls_for_all_candidates(estimates: Estimates, trials: Mapping[str, Trial], calls: int) -> tuple[int, int | None]:
    """Return the number of candidates that were not raced for want of calls, and about the calls that would race all.

    `calls` are those of this tuning. A race takes each candidate to at least a few rows.
    """
    left_out = [trial for trial in trials.values() if trial.why == DROP_REASONS["too many"]]
    if not left_out:
        return 0, None
    start = [row for trial in trials.values() if trial.candidate.key == START.key for row in trial.rows]
    cost = estimates.means(START, start).calls or 1.0
    return len(left_out), calls + ceil(sum(ROWS_EACH * cost * trial.candidate.requests for trial in left_out))
