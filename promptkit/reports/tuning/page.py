"""The HTML page of a tuning run: its report, a plot of score against tokens, and all candidates."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

from markupsafe import Markup

from promptkit.reports.evaluation.figures import is_percentage, metric_parts, metric_text
from promptkit.reports.page.html import NONE, BarPlaces, Ends, asset, bar_places, figure, policy, scale, templates
from promptkit.reports.tuning.report import (
    best_name,
    choices_text,
    compared_sides,
    difference_text,
    holdout_text,
    measured_on,
    spent_text,
    verdict_reasons,
    written_texts,
)
from promptkit.storage.files import write_private
from promptkit.tuning.tune_record import (
    AblationRecord,
    CandidateRecord,
    EstimateRecord,
    ObjectiveRecord,
    SplitMean,
    TuneRecord,
)

_LINES = {"+++": "file", "---": "file", "@@": "place", "+": "added", "-": "removed"}


def write_tuning_page(record: TuneRecord, path: Path) -> None:
    """Write a tuning run as one page, which loads nothing from a network. Raises StoreFailed."""
    write_private(path, tuning_page(record))


def tuning_page(record: TuneRecord) -> str:
    """Return the page."""
    style = asset("page", "page.css") + asset("tuning", "page.css")
    found = record.difference
    changed = f": {difference_text(record, found)}" if found is not None else ""
    return (
        templates()
        .get_template("tuning/page.html")
        .render(
            policy=policy(style),
            style=Markup(style),
            record=record,
            status_chips=list(_chips(record)),
            spent=spent_text(record),
            verdict=f"{record.verdict}{changed}{holdout_text(found)}{record.verdict_limit}",
            reasons=list(verdict_reasons(record)),
            sides=_sides(record),
            changes=_changes(record),
            written=list(written_texts(record)),
            diff=[(_line_kind(line), line) for line in record.diff.splitlines()],
            plot=make_plot(record),
            candidates=_candidates(record),
        )
    )


def _chips(record: TuneRecord) -> Iterator[tuple[str, str]]:
    yield "good" if record.verdict == "improved" else "warn", record.verdict
    yield "good" if record.status == "done" else "bad", record.status
    if record.stopped_by != "done":
        yield "warn", f"stopped by {record.stopped_by}"


def _line_kind(line: str) -> str:
    """Return the class of a line of a unified diff."""
    return next((kind for start, kind in _LINES.items() if line.startswith(start)), "")


class ShownMean(NamedTuple):
    """A mean with its interval, of how many rows it is, and its drawing."""

    value: str
    interval: str
    n: int | None
    places: BarPlaces | None
    kind: str


class Side(NamedTuple):
    """The start, the incumbent or the constant answer, with its means on holdout and search rows."""

    name: str
    confirm: ShownMean | None
    search: ShownMean | None


def _sides(record: TuneRecord) -> list[Side]:
    sides = compared_sides(record, f"{best_name(record)}: {choices_text(record)}")
    known = [mean for _, side in sides for mean in (side.confirm, side.search) if mean is not None]
    ends = scale(value for mean in known for value in (mean.mean, mean.low, mean.high))
    return [
        Side(name, *(_mean(record.metric, mean, ends, kind) for mean in (side.confirm, side.search)))
        for (name, side), kind in zip(sides, ("v7", "v2", "v5"), strict=False)
    ]


def _mean(metric: ObjectiveRecord, found: EstimateRecord | None, ends: Ends, kind: str) -> ShownMean | None:
    if found is None or found.mean is None:
        return None
    value, interval = metric_parts(metric.with_mean(found))
    n = found.n if isinstance(found, SplitMean) else None
    return ShownMean(value, interval, n, bar_places(found.mean, found.low, found.high, ends), kind)


class Change(NamedTuple):
    """A change of the incumbent, what it brought, and on which rows that was measured."""

    record: AblationRecord
    difference: str
    places: BarPlaces | None
    basis: str


def _changes(record: TuneRecord) -> list[Change]:
    ends = scale(
        (value for change in record.ablation for value in (change.difference, change.low, change.high)), around=0.0
    )
    return [
        Change(
            record=change,
            difference=NONE if change.difference is None else difference_text(record, change),
            places=bar_places(change.difference, change.low, change.high, ends),
            basis="; ".join(filter(None, (measured_on(change), change.skipped))),
        )
        for change in record.ablation
    ]


class ShownCandidate(NamedTuple):
    """A candidate with its marks and its mean."""

    record: CandidateRecord
    marks: Sequence[str]
    mean: ShownMean | None


def _candidates(record: TuneRecord) -> list[ShownCandidate]:
    ends = scale(value for candidate in record.candidates for value in (candidate.mean, candidate.low, candidate.high))
    return [
        ShownCandidate(
            record=candidate,
            marks=[
                name
                for name, is_on in (
                    ("incumbent", candidate.pick),
                    ("start", candidate.start),
                    ("front", candidate.front),
                )
                if is_on
            ],
            mean=_mean(record.metric, candidate, ends, "v2" if candidate.pick else "v0"),
        )
        for candidate in record.candidates
    ]


WIDTH, HEIGHT = 820, 380
LEFT, RIGHT, TOP, BOTTOM = 64, 24, 26, 44
TICKS = 5
LABEL_ROOM = 120
"""The room that a label needs to the right of its point; nearer to the edge it stands to the left."""


class Tick(NamedTuple):
    """A line of the grid with its score, and a number of tokens under the axis."""

    y: str
    score_y: str
    score: str
    x: str
    tokens: str


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
    ticks: Sequence[Tick]
    front: str
    points: Sequence[Point]
    width: int = WIDTH
    height: int = HEIGHT
    left: int = LEFT
    right: int = WIDTH - RIGHT
    top: int = TOP
    bottom: int = HEIGHT - BOTTOM


class Axes(NamedTuple):
    """Tokens and scores as coordinates."""

    tokens: Ends
    scores: Ends

    def x(self, tokens: float) -> float:
        """Return the place of a number of tokens."""
        share = (tokens - self.tokens[0]) / (self.tokens[1] - self.tokens[0])
        return LEFT + share * (WIDTH - LEFT - RIGHT)

    def y(self, score: float) -> float:
        """Return the place of a score."""
        share = (score - self.scores[0]) / (self.scores[1] - self.scores[0])
        return HEIGHT - BOTTOM - share * (HEIGHT - TOP - BOTTOM)


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
    scores = scale(place.score for place in known)
    if metric.bounds:
        scores = max(scores[0], metric.bounds[0]), min(scores[1], metric.bounds[1])
    axes = Axes(scale(place.tokens for place in known), scores)
    most_rows = max(place.candidate.rows for place in known)
    joined = front_of(
        [place.candidate for place in known if 2 * place.candidate.rows >= most_rows],
        higher_is_better=metric.higher_is_better,
    )
    # The start and the incumbent lie on top.
    drawn = sorted(known, key=lambda place: (place.candidate.pick, place.candidate.start, place.candidate.front))
    return Plot(
        name=f"{metric.name} against tokens a row, {len(known)} candidates",
        ticks=[_tick(axes, metric, at / (TICKS - 1)) for at in range(TICKS)],
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


def _tick(axes: Axes, metric: ObjectiveRecord, share: float) -> Tick:
    score = axes.scores[0] + (axes.scores[1] - axes.scores[0]) * share
    tokens = axes.tokens[0] + (axes.tokens[1] - axes.tokens[0]) * share
    text = f"{100 * score:.0f} %" if is_percentage(metric.as_metric()) else figure(score)
    y = axes.y(score)
    return Tick(f"{y:.1f}", f"{y + 4:.1f}", text, f"{axes.x(tokens):.1f}", figure(tokens))


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
