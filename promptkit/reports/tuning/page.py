"""The HTML page of a tuning run: its report, a plot of score against tokens, and all candidates."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

from markupsafe import Markup

from promptkit.reports.evaluation.figures import is_percentage, metric_parts, metric_text
from promptkit.reports.page.html import NONE, BarPlaces, Ends, asset, bar_places, figure, policy, scale, templates
from promptkit.reports.tuning.report import (
    best_name,
    choices_text,
    difference_text,
    holdout_text,
    measured_on,
    spent_text,
    verdict_reasons,
    written_texts,
)
from promptkit.storage.files import write_private

_LINES = {"+++": "file", "---": "file", "@@": "place", "+": "added", "-": "removed"}
_MARKS = ("pick", "start", "front")

Candidate = Mapping[str, Any]


def write_tuning_page(record: Mapping[str, Any], path: Path) -> None:
    """Write a tuning run as one page, which loads nothing from a network. Raises StoreFailed."""
    write_private(path, tuning_page(record))


def tuning_page(record: Mapping[str, Any]) -> str:
    """Return the page."""
    style = asset("page", "page.css") + asset("tuning", "page.css")
    found = record["difference"]
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
            verdict=f"{record['verdict']}{changed}{holdout_text(found)}",
            reasons=list(verdict_reasons(record)),
            sides=_sides(record),
            changes=_changes(record),
            written=list(written_texts(record)),
            diff=[(_line_kind(line), line) for line in record["diff"].splitlines()],
            plot=make_plot(record),
            candidates=_candidates(record),
        )
    )


def _chips(record: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    yield "good" if record["verdict"] == "improved" else "warn", record["verdict"]
    yield "good" if record["status"] == "done" else "bad", record["status"]
    if record["stopped_by"] != "done":
        yield "warn", f"stopped by {record['stopped_by']}"


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
    """The start or the pick, with its means on holdout and search rows."""

    name: str
    confirm: ShownMean | None
    search: ShownMean | None


def _sides(record: Mapping[str, Any]) -> list[Side]:
    sides = [("start", record["baseline"]), (f"{best_name(record)}: {choices_text(record)}", record["best"])]
    known = [side[part] for _, side in sides for part in ("confirm", "search") if side[part]]
    ends = scale(each[key] for each in known for key in ("mean", "low", "high"))
    return [
        Side(name, *(_mean(record, side[part], ends, kind) for part in ("confirm", "search")))
        for (name, side), kind in zip(sides, ("v7", "v2"), strict=True)
    ]


def _mean(record: Mapping[str, Any], found: Mapping[str, Any] | None, ends: Ends, kind: str) -> ShownMean | None:
    if not found or found["mean"] is None:
        return None
    value, interval = metric_parts({**record["metric"], **found})
    places = bar_places(found["mean"], found["low"], found["high"], ends)
    return ShownMean(value, interval, found.get("n"), places, kind)


class Change(NamedTuple):
    """A change of the pick, what it brought, and on which rows that was measured."""

    record: Mapping[str, Any]
    difference: str
    places: BarPlaces | None
    basis: str


def _changes(record: Mapping[str, Any]) -> list[Change]:
    changes = record["ablation"]
    ends = scale((each[key] for each in changes for key in ("difference", "low", "high")), around=0.0)
    return [
        Change(
            record=each,
            difference=NONE if each["difference"] is None else difference_text(record, each),
            places=bar_places(each["difference"], each["low"], each["high"], ends),
            basis="; ".join(filter(None, (measured_on(each), each["skipped"]))),
        )
        for each in changes
    ]


class ShownCandidate(NamedTuple):
    """A candidate with its marks and its mean."""

    record: Candidate
    marks: Sequence[str]
    mean: ShownMean | None


def _candidates(record: Mapping[str, Any]) -> list[ShownCandidate]:
    candidates = record["candidates"]
    ends = scale(each[key] for each in candidates for key in ("mean", "low", "high"))
    return [
        ShownCandidate(
            record=each,
            marks=[mark for mark in _MARKS if each[mark]],
            mean=_mean(record, {**each, "n": None}, ends, "v2" if each["pick"] else "v0"),
        )
        for each in candidates
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
    """A candidate in the plot; the start and the pick have a label."""

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


def make_plot(record: Mapping[str, Any]) -> Plot | None:
    """Return the plot of all candidates that have a score; None where there are none."""
    known = [each for each in record["candidates"] if each["mean"] is not None and each["tokens"] is not None]
    if not known:
        return None
    metric = record["metric"]
    scores = scale(each["mean"] for each in known)
    if metric["bounds"]:
        scores = max(scores[0], metric["bounds"][0]), min(scores[1], metric["bounds"][1])
    axes = Axes(scale(each["tokens"] for each in known), scores)
    most_rows = max(each["rows"] for each in known)
    joined = front_of(
        [each for each in known if 2 * each["rows"] >= most_rows], higher_is_better=metric["higher_is_better"]
    )
    # The start and the pick lie on top.
    drawn = sorted(known, key=lambda each: (each["pick"], each["start"], each["front"]))
    return Plot(
        name=f"{metric['name']} against tokens a row, {len(known)} candidates",
        ticks=[_tick(axes, metric, at / (TICKS - 1)) for at in range(TICKS)],
        front=_front_path(axes, joined),
        points=[_point(axes, each, metric) for each in drawn],
    )


def front_of(candidates: Sequence[Candidate], *, higher_is_better: bool = True) -> list[Candidate]:
    """Return the candidates that no other beats in score and tokens, the cheapest first."""
    sign = 1 if higher_is_better else -1
    found: list[Candidate] = []
    for each in sorted(candidates, key=lambda one: (one["tokens"], -sign * one["mean"])):
        if not found or sign * each["mean"] > sign * found[-1]["mean"]:
            found.append(each)
    return found


def _tick(axes: Axes, metric: Mapping[str, Any], share: float) -> Tick:
    score = axes.scores[0] + (axes.scores[1] - axes.scores[0]) * share
    tokens = axes.tokens[0] + (axes.tokens[1] - axes.tokens[0]) * share
    shown = f"{100 * score:.0f} %" if is_percentage(metric) else figure(score)
    y = axes.y(score)
    return Tick(f"{y:.1f}", f"{y + 4:.1f}", shown, f"{axes.x(tokens):.1f}", figure(tokens))


def _front_path(axes: Axes, joined: Sequence[Candidate]) -> str:
    """Return the front as steps: for the tokens in between, the cheaper candidate can be had."""
    if len(joined) < 2:
        return ""
    points = [f"M{axes.x(joined[0]['tokens']):.1f},{axes.y(joined[0]['mean']):.1f}"]
    points += [f"H{axes.x(after['tokens']):.1f}V{axes.y(after['mean']):.1f}" for _, after in pairwise(joined)]
    return "".join(points)


def _point(axes: Axes, candidate: Candidate, metric: Mapping[str, Any]) -> Point:
    x, y = axes.x(candidate["tokens"]), axes.y(candidate["mean"])
    marks = (("on", candidate["front"]), ("start", candidate["start"]), ("pick", candidate["pick"]))
    score = metric_text({**metric, **candidate, "kind": metric["kind"]})
    label = " and ".join(kind for kind in ("start", "pick") if candidate[kind])
    is_at_edge = x > WIDTH - LABEL_ROOM
    return Point(
        x=f"{x:.1f}",
        y=f"{y:.1f}",
        kinds=" ".join(kind for kind, is_on in marks if is_on),
        radius=6 if label else 4,
        title=f"{candidate['name']}: {score}, {figure(candidate['tokens'])} tokens, {candidate['rows']} rows",
        label=label,
        label_x=f"{x - 9 if is_at_edge else x + 9:.1f}",
        label_y=f"{y + 4:.1f}",
        is_at_edge=is_at_edge,
    )
