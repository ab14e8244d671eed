"""Score against tokens as an inline drawing, with the front of those that no other beats in both."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from typing import Any

from promptkit.reports.evaluation.figures import is_share, metric_text
from promptkit.reports.page.markup import ends, figure, text

WIDTH, HEIGHT = 820, 380
LEFT, RIGHT, TOP, BOTTOM = 64, 24, 26, 44
TICKS = 5

Candidate = Mapping[str, Any]


def scatter(record: Mapping[str, Any]) -> str:
    """Return a drawing of all candidates that have a score; a paragraph where there are none."""
    known = [each for each in record["candidates"] if each["mean"] is not None and each["tokens"] is not None]
    if not known:
        return '<p class="aside">No candidate has a score.</p>'
    metric = record["metric"]
    scores = ends(each["mean"] for each in known)
    if metric["bounds"]:
        scores = max(scores[0], metric["bounds"][0]), min(scores[1], metric["bounds"][1])
    place = _Places(ends(each["tokens"] for each in known), scores)
    far = [each for each in known if 2 * each["rows"] >= max(one["rows"] for one in known)]
    joined = front_of(far, higher_is_better=metric["higher_is_better"])
    name = f"{metric['name']} against tokens a row, {len(known)} candidates"
    # The start and the pick lie on top.
    drawn = sorted(known, key=lambda each: (each["pick"], each["start"], each["front"]))
    return (
        f'<svg class="scatter" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{text(name)}">'
        f"{''.join(_grid(place, record))}{_line(place, joined)}"
        f"{''.join(_point(place, each, record) for each in drawn)}</svg>"
    )


def front_of(candidates: Sequence[Candidate], *, higher_is_better: bool = True) -> list[Candidate]:
    """Return the candidates that no other beats in score and tokens, the cheapest first."""
    sign = 1 if higher_is_better else -1
    found: list[Candidate] = []
    for each in sorted(candidates, key=lambda one: (one["tokens"], -sign * one["mean"])):
        if not found or sign * each["mean"] > sign * found[-1]["mean"]:
            found.append(each)
    return found


class _Places:
    """Where tokens and scores lie in the drawing."""

    def __init__(self, tokens: tuple[float, float], scores: tuple[float, float]) -> None:
        self.tokens, self.scores = tokens, scores

    def x(self, tokens: float) -> float:
        share = (tokens - self.tokens[0]) / (self.tokens[1] - self.tokens[0])
        return LEFT + share * (WIDTH - LEFT - RIGHT)

    def y(self, score: float) -> float:
        share = (score - self.scores[0]) / (self.scores[1] - self.scores[0])
        return HEIGHT - BOTTOM - share * (HEIGHT - TOP - BOTTOM)


def _grid(place: _Places, record: Mapping[str, Any]) -> Iterator[str]:
    bottom, right = HEIGHT - BOTTOM, WIDTH - RIGHT
    for at in range(TICKS):
        score = place.scores[0] + (place.scores[1] - place.scores[0]) * at / (TICKS - 1)
        tokens = place.tokens[0] + (place.tokens[1] - place.tokens[0]) * at / (TICKS - 1)
        y, x = place.y(score), place.x(tokens)
        yield f'<line class="grid" x1="{LEFT}" x2="{right}" y1="{y:.1f}" y2="{y:.1f}"/>'
        yield f'<text x="{LEFT - 8}" y="{y + 4:.1f}" text-anchor="end">{score_text(record["metric"], score)}</text>'
        yield f'<text x="{x:.1f}" y="{bottom + 18}" text-anchor="middle">{figure(tokens)}</text>'
    yield f'<line class="axis" x1="{LEFT}" x2="{right}" y1="{bottom}" y2="{bottom}"/>'
    yield f'<text x="{right}" y="{HEIGHT - 6}" text-anchor="end">tokens a row</text>'
    yield f'<text x="{LEFT + 4}" y="{TOP - 6}">{text(record["metric"]["name"])}</text>'


def score_text(metric: Mapping[str, Any], score: float) -> str:
    """Return a score at an axis: in percent where the metric is."""
    return f"{100 * score:.0f} %" if is_share(metric) else figure(score)


def _line(place: _Places, joined: Sequence[Candidate]) -> str:
    """Return the front as steps: with the tokens in between the cheaper one can be had."""
    if len(joined) < 2:
        return ""
    points = [f"M{place.x(joined[0]['tokens']):.1f},{place.y(joined[0]['mean']):.1f}"]
    points += [f"H{place.x(after['tokens']):.1f}V{place.y(after['mean']):.1f}" for _, after in pairwise(joined)]
    return f'<path class="front" d="{"".join(points)}"/>'


def _point(place: _Places, each: Candidate, record: Mapping[str, Any]) -> str:
    x, y = place.x(each["tokens"]), place.y(each["mean"])
    marks = (("on", each["front"]), ("start", each["start"]), ("pick", each["pick"]))
    kinds = " ".join(kind for kind, on in marks if on)
    score = metric_text({**record["metric"], **each})
    told = f"{each['name']}: {score}, {figure(each['tokens'])} tokens, {each['rows']} rows"
    label = " and ".join(kind for kind in ("start", "pick") if each[kind])
    # At the right edge a label stands to the left of its point.
    end = ' text-anchor="end"' if x > WIDTH - 120 else ""
    beside = (
        f'<text class="label" x="{x - 9 if end else x + 9:.1f}" y="{y + 4:.1f}"{end}>{label}</text>' if label else ""
    )
    radius = 6 if label else 4
    return (
        f'<circle class="{kinds}" cx="{x:.1f}" cy="{y:.1f}" r="{radius}"><title>{text(told)}</title></circle>{beside}'
    )
