"""Figures of a tuning's evidence: a forest plot of differences, and the learning curve of the search."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Literal, NamedTuple

from rich.text import Text

from promptkit.reports.evaluation.figures import difference_unit, is_percentage
from promptkit.reports.evaluation.plots import NAME_SHARE, POINT, RING, PlotRow, figure_lines
from promptkit.reports.layout import paragraph, shortened
from promptkit.tuning.tune_record import CandidateRecord, CurvePoint, EstimateRecord, TuneRecord

MOST_LATE = 4
"""The most late candidates in the forest plot."""
LEAST_PAIRS = 20
"""Fewer rows of both say next to nothing of a difference."""
LEAST_ROWS_SHARE = 0.5
"""A late candidate was asked at least this share of the rows of the one that was asked most."""
MOST_POINTS = 8
"""The most points of the learning curve in a terminal."""
ForestKind = Literal["verdict", "change", "candidate"]
OPTIMISTIC = "search rows: optimistic, as the search chose its candidates on them"


class ForestRow(NamedTuple):
    """A difference with its interval, in the metric's own units: its name, its kind, and how many rows it is of."""

    name: str
    kind: ForestKind
    rows: int
    difference: float
    low: float
    high: float


def forest_rows(record: TuneRecord) -> list[ForestRow]:
    """Return the verdict's difference, what each change brought on confirm rows, and late candidates against the start.

    Only differences with an interval. A candidate is named by how it differs from the incumbent.
    """
    rows: list[ForestRow] = []
    found = record.difference
    if found is not None:
        rows.append(ForestRow("incumbent", "verdict", found.n, found.mean, found.low, found.high))
    for change in record.ablation if len(record.ablation) > 1 else ():  # One alone is the whole difference.
        if (
            change.on == "confirm"
            and change.difference is not None
            and change.low is not None
            and change.high is not None
        ):
            n = found.n if found is not None else 0
            name = f"{change.axis}: {change.level}"
            rows.append(ForestRow(name, "change", n, change.difference, change.low, change.high))
    for candidate in late_candidates(record.candidates):
        gain = candidate.gain
        assert gain is not None, "late candidates have a gain"
        name = differing_choices(candidate, record)
        rows.append(ForestRow(name, "candidate", gain.n, gain.difference, gain.low, gain.high))
    return rows


def differing_choices(candidate: CandidateRecord, record: TuneRecord) -> str:
    """Return the choices of a candidate that differ from the incumbent's: `examples: 4 examples #4`."""
    pick = next((one.choices for one in record.candidates if one.pick), record.best.choices)
    parameters = [*dict.fromkeys([*candidate.choices, *pick])]
    has_steps = len({parameter.partition(".")[0] for parameter in parameters}) > 1
    differing = [
        f"{parameter if has_steps else parameter.partition('.')[2]}: {candidate.choices.get(parameter, 'as written')}"
        for parameter in parameters
        if candidate.choices.get(parameter) != pick.get(parameter)
    ]
    return " · ".join(differing) or candidate.name


def late_candidates(candidates: Sequence[CandidateRecord]) -> list[CandidateRecord]:
    """Return the candidates, other than the incumbent, that went furthest, the best first; each has a gain."""
    most = max((candidate.rows for candidate in candidates), default=0)
    far = [
        candidate
        for candidate in candidates
        if candidate.gain is not None
        and candidate.gain.n >= LEAST_PAIRS
        and not candidate.pick
        and candidate.rows >= LEAST_ROWS_SHARE * most
    ]
    return sorted(far, key=lambda candidate: (-candidate.rows, -(candidate.mean or 0.0)))[:MOST_LATE]


def forest_plot_lines(record: TuneRecord, width: int) -> Iterator[Text]:
    """Yield the differences on one axis with a line at no difference; nothing for fewer than two."""
    found = forest_rows(record)
    if len(found) < 2:
        return
    metric = record.metric.as_metric()
    factor = 100.0 if is_percentage(metric) else 1.0
    styles = {"verdict": "bold green" if record.verdict == "improved" else "bold yellow", "candidate": "dim"}
    rows = [
        PlotRow(
            f"{shortened(row.name, int(NAME_SHARE * width) - len(f', {row.rows:,} rows'))}, {row.rows:,} rows",
            factor * row.difference,
            factor * row.low,
            factor * row.high,
            styles.get(row.kind, ""),
            RING if row.kind == "candidate" else POINT,
        )
        for row in found
    ]
    unit = difference_unit(metric)
    yield from figure_lines(f"differences{f', {unit}' if unit else ''}", rows, width, null=0.0)
    if any(row.kind == "candidate" for row in found):
        text = "○ candidates that raced longest, against the start, named by how they differ from the incumbent"
        yield from _legend(f"{text}; {OPTIMISTIC}", width)


def curve_lines(record: TuneRecord, width: int) -> Iterator[Text]:
    """Yield the score of the search's leader by calls, and last that of the incumbent on the confirm rows."""
    points = thinned(record.curve)
    if len(points) < 2:
        return
    factor = 100.0 if is_percentage(record.metric.as_metric()) else 1.0
    shown: list[tuple[int, str, EstimateRecord, float | None, str]] = [
        (point.calls, f"{point.n:,} rows", point, point.start, "") for point in points
    ]
    confirmed, start = record.best.confirm, record.baseline.confirm
    if confirmed is not None:
        reference = None if start is None else start.mean
        shown.append((record.calls, f"{confirmed.n:,} confirm rows", confirmed, reference, "bold"))
    longest = max(len(f"{calls:,}") for calls, *_ in shown)
    rows = [
        PlotRow(
            f"{calls:>{longest},} calls  {of}",
            _scaled(mean.mean, factor),
            _scaled(mean.low, factor),
            _scaled(mean.high, factor),
            style,
            reference=_scaled(reference, factor),
        )
        for calls, of, mean, reference, style in shown
    ]
    bounds = [factor * end for end in record.metric.bounds]
    unit = ", %" if factor > 1 else ""
    yield from figure_lines(
        f"learning curve: {record.metric.name} of the leader{unit}", rows, width, bounds=bounds or None
    )
    yield from _legend(f"● the leader, ○ the start on the same rows; {OPTIMISTIC}", width)


def _scaled(value: float | None, factor: float) -> float | None:
    return None if value is None else factor * value


def thinned(points: Sequence[CurvePoint], most: int = MOST_POINTS) -> list[CurvePoint]:
    """Return at most so many points, evenly from the first to the last, of those at one number of calls the last."""
    points = list({point.calls: point for point in points}.values())
    if len(points) <= most:
        return points
    step = (len(points) - 1) / (most - 1)
    return [points[at] for at in sorted({round(number * step) for number in range(most)})]


def _legend(text: str, width: int) -> Iterator[Text]:
    for line in paragraph(text, width=width, first="  ", rest="  "):
        yield Text(line, style="dim")
