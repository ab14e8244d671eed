"""Score against tokens as a drawing of the page: a point for each candidate, and the front of those not beaten."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

from promptkit.reports.evaluation.figures import metric_text
from promptkit.reports.page.html import figure
from promptkit.reports.tuning.axes import WIDTH, Axes, make_axes
from promptkit.tuning.tune_record import CandidateRecord, ObjectiveRecord, TuneRecord

LABEL_ROOM = 120
"""The room that a label needs to the right of its point; nearer to the edge it stands to the left."""


class Point(NamedTuple):
    """A candidate in the plot; the start and the incumbent have a label."""

    x: str
    y: str
    kinds: str
    radius: int
    title: str
    label: str
    label_x: str
    label_y: str
    is_at_edge: bool


class Plot(NamedTuple):
    """Candidates by tokens and score; `front` is the path that joins those that no other beats in both."""

    name: str
    axes: Axes
    front: str
    points: Sequence[Point]


class Place(NamedTuple):
    """A candidate that has a score, with its tokens a row."""

    candidate: CandidateRecord
    tokens: float
    score: float


def make_plot(record: TuneRecord) -> Plot | None:
    """Return the plot of all candidates that have a score; None where there are none."""
    known = _places(record.candidates)
    if not known:
        return None
    metric = record.metric
    axes = make_axes([place.tokens for place in known], [place.score for place in known], metric, "tokens a row")
    most_rows = max(place.candidate.rows for place in known)
    joined = front_of(
        [place.candidate for place in known if 2 * place.candidate.rows >= most_rows],
        higher_is_better=metric.higher_is_better,
    )
    # The start and the incumbent lie on top.
    drawn = sorted(known, key=lambda place: (place.candidate.pick, place.candidate.start, place.candidate.front))
    return Plot(
        name=f"{metric.name} against tokens a row, {len(known)} candidates",
        axes=axes,
        front=_front_path(axes, joined),
        points=[_point(axes, place, metric) for place in drawn],
    )


def _places(candidates: Sequence[CandidateRecord]) -> list[Place]:
    return [
        Place(candidate, candidate.tokens, candidate.mean)
        for candidate in candidates
        if candidate.tokens is not None and candidate.mean is not None
    ]


def front_of(candidates: Sequence[CandidateRecord], *, higher_is_better: bool = True) -> list[Place]:
    """Return the candidates that no other beats in score and tokens, the cheapest first."""
    sign = 1 if higher_is_better else -1
    front: list[Place] = []
    for place in sorted(_places(candidates), key=lambda place: (place.tokens, -sign * place.score)):
        if not front or sign * place.score > sign * front[-1].score:
            front.append(place)
    return front


def _front_path(axes: Axes, joined: Sequence[Place]) -> str:
    """Return the front as steps: for the tokens in between, the cheaper candidate can be had."""
    if len(joined) < 2:
        return ""
    points = [f"M{axes.x(joined[0].tokens):.1f},{axes.y(joined[0].score):.1f}"]
    points += [f"H{axes.x(after.tokens):.1f}V{axes.y(after.score):.1f}" for _, after in pairwise(joined)]
    return "".join(points)


def _point(axes: Axes, place: Place, metric: ObjectiveRecord) -> Point:
    candidate = place.candidate
    x, y = axes.x(place.tokens), axes.y(place.score)
    marks = (("on", candidate.front), ("start", candidate.start), ("incumbent", candidate.pick))
    score = metric_text(metric.with_mean(candidate))
    label = " and ".join(kind for kind, is_on in marks[1:] if is_on)
    is_at_edge = x > WIDTH - LABEL_ROOM
    return Point(
        x=f"{x:.1f}",
        y=f"{y:.1f}",
        kinds=" ".join(kind for kind, is_on in marks if is_on),
        radius=6 if label else 4,
        title=f"{candidate.name}: {score}, {figure(place.tokens)} tokens, {candidate.rows} rows",
        label=label,
        label_x=f"{x - 9 if is_at_edge else x + 9:.1f}",
        label_y=f"{y + 4:.1f}",
        is_at_edge=is_at_edge,
    )
