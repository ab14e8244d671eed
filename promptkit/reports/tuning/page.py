"""The HTML page of a tuning run: its report, a plot of score against tokens, and all candidates."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from importlib.resources import files
from itertools import pairwise
from pathlib import Path
from typing import Any

from promptkit.reports.evaluation.figures import is_percentage, metric_parts, metric_text
from promptkit.reports.page.markup import NONE, bar, count, ends, facts, figure, notes, table, text
from promptkit.reports.page.write import policy
from promptkit.reports.text import seconds_text
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
    place = _Axes(ends(each["tokens"] for each in known), scores)
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


class _Axes:
    """Where tokens and scores lie in the drawing."""

    def __init__(self, tokens: tuple[float, float], scores: tuple[float, float]) -> None:
        self.tokens, self.scores = tokens, scores

    def x(self, tokens: float) -> float:
        share = (tokens - self.tokens[0]) / (self.tokens[1] - self.tokens[0])
        return LEFT + share * (WIDTH - LEFT - RIGHT)

    def y(self, score: float) -> float:
        share = (score - self.scores[0]) / (self.scores[1] - self.scores[0])
        return HEIGHT - BOTTOM - share * (HEIGHT - TOP - BOTTOM)


def _grid(place: _Axes, record: Mapping[str, Any]) -> Iterator[str]:
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
    return f"{100 * score:.0f} %" if is_percentage(metric) else figure(score)


def _line(place: _Axes, joined: Sequence[Candidate]) -> str:
    """Return the front as steps: with the tokens in between the cheaper one can be had."""
    if len(joined) < 2:
        return ""
    points = [f"M{place.x(joined[0]['tokens']):.1f},{place.y(joined[0]['mean']):.1f}"]
    points += [f"H{place.x(after['tokens']):.1f}V{place.y(after['mean']):.1f}" for _, after in pairwise(joined)]
    return f'<path class="front" d="{"".join(points)}"/>'


def _point(place: _Axes, each: Candidate, record: Mapping[str, Any]) -> str:
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


_PLACE = re.compile(r"<!--(\w+)-->")
_LINES = {"+++": "file", "---": "file", "@@": "place", "+": "added", "-": "removed"}


def write_tuning_page(record: Mapping[str, Any], path: Path) -> None:
    """Write what a tuning found as one page. Raises StoreFailed where it cannot be written."""
    write_private(path, tuning_page(record))


def tuning_page(record: Mapping[str, Any]) -> str:
    """Return the page; everything that comes from the record is escaped."""
    style = _asset("promptkit.reports.page", "page.css") + _asset(__package__, "page.css")
    parts = {
        "policy": policy(style),
        "title": text(f"{record['target']}, tuning {record['run']}"),
        "style": style,
        "headline": _headline(record),
        "verdict": _verdict(record),
        "changes": _changes(record),
        "scatter": scatter(record),
        "candidates": _candidates(record),
        "stages": _stages(record),
    }
    return _PLACE.sub(lambda place: parts[place.group(1)], _asset(__package__, "page.html"))


def _headline(record: Mapping[str, Any]) -> str:
    rows, model = record["rows"], record["model"]
    digest = f' <code title="digest">{text(str(model["digest"])[:19])}</code>' if model.get("digest") else ""
    why = f' <span class="aside">({text(model["why"])})</span>' if model.get("why") else ""
    split = (
        f"{count(rows['search'])} to search on, {count(rows['pool'])} for examples, {count(rows['confirm'])} to confirm"
    )
    made = [
        ("Suite", text(f"{record['suite']}, by {record['metric']['name']}")),
        ("Model", f"{text(model['reference'])}{digest}{why}"),
        ("Rows", split),
        (
            "Optimizer",
            text(f"{record['optimizer']}, {record['mode']}, seed {record['seed']}, prefer {record['prefer']}"),
        ),
        ("Spent", text(spent_text(record))),
    ]
    improved = record["verdict"] == "improved"
    done = record["status"] == "done"
    chips = [("good" if improved else "warn", record["verdict"]), ("good" if done else "bad", record["status"])]
    chips += [("warn", f"stopped by {record['stopped_by']}")] if record["stopped_by"] != "done" else []
    shown = " ".join(f'<span class="chip {kind}">{text(word)}</span>' for kind, word in chips)
    return (
        f"<h1>{text(record['target'])} <small>tuning, run {record['run']}</small></h1>"
        f'<p class="chips">{shown}</p>{facts(made)}{notes(record["notes"])}'
    )


def _verdict(record: Mapping[str, Any]) -> str:
    found = record["difference"]
    said = f"{record['verdict']}: {difference_text(record, found)}" if found is not None else record["verdict"]
    where = holdout_text(found)
    improved = "good" if record["verdict"] == "improved" else "warn"
    lines = "; ".join(verdict_reasons(record))
    return f'<p class="said {improved}">{text(said + where)}</p><p>{text(lines)}</p>{_sides(record)}'


def _sides(record: Mapping[str, Any]) -> str:
    sides = [("start", record["baseline"]), (f"{best_name(record)}: {choices_text(record)}", record["best"])]
    known = [side[part] for _, side in sides for part in ("confirm", "search") if side[part]]
    scale = ends(each[key] for each in known for key in ("mean", "low", "high"))
    rows = [
        [text(name), *(_estimate(record, side[part], scale, kind) for part in ("confirm", "search"))]
        for (name, side), kind in zip(sides, ("v7", "v2"), strict=True)
    ]
    head = ["", "Confirm rows", 'Search rows <span class="aside">the pick was chosen by these</span>']
    return table("Start and pick, each mean with its interval", head, rows)


def _estimate(record: Mapping[str, Any], said: Mapping[str, Any] | None, scale: tuple[float, float], kind: str) -> str:
    if not said or said["mean"] is None:
        return NONE
    value, interval = metric_parts({**record["metric"], **said})
    rows = f' <span class="aside">of {count(said["n"])}</span>' if said.get("n") is not None else ""
    return (
        f'<b>{text(value)}</b> <span class="interval">{text(interval)}</span>{rows}'
        f"{bar(said['mean'], said['low'], said['high'], scale, kind=kind)}"
    )


def _changes(record: Mapping[str, Any]) -> str:
    files_told = "".join(f'<p class="aside">{text(told)}</p>' for told in written_texts(record))
    return _ablation(record) + files_told + diff_markup(record["diff"])


def _ablation(record: Mapping[str, Any]) -> str:
    said = record["ablation"]
    if not said:
        return ""
    known = [each[key] for each in said for key in ("difference", "low", "high")]
    scale = ends(known, around=0.0)
    rows = []
    for each in said:
        shown = text(difference_text(record, each)) if each["difference"] is not None else NONE
        drawn = bar(each["difference"], each["low"], each["high"], scale, kind="v2")
        about = f'<div class="aside">{text(each["about"])}</div>' if each["about"] else ""
        name = f"{text(each['axis'])}: {text(each['level'])}{about}"
        rows.append([name, f"{shown}{drawn}", text("; ".join(filter(None, (measured_on(each), each["skipped"]))))])
    title = "What each change brought: the pick against the pick with that change taken back"
    return table(title, ["Change", "Brought", ""], rows, kind="ablation")


def diff_markup(diff: str) -> str:
    """Return a unified diff with what was added and removed marked."""
    if not diff:
        return '<p class="aside">Nothing changes.</p>'
    lines = (
        f'<span class="line {next((kind for start, kind in _LINES.items() if line.startswith(start)), "")}">'
        f"{text(line) or ' '}</span>"
        for line in diff.splitlines()
    )
    return f'<pre class="diff">{"".join(lines)}</pre>'


def _candidates(record: Mapping[str, Any]) -> str:
    said = record["candidates"]
    if not said:
        return '<p class="aside">Nothing was asked of a candidate.</p>'
    scale = ends(each[key] for each in said for key in ("mean", "low", "high"))
    head = ["Candidate", text(record["metric"]["name"]), "Rows", "Tokens", "Time", "Calls", "Unparsed", "Stage", "Out"]
    rows = [_candidate(record, each, scale) for each in said]
    return table("Candidates, those that saw most rows first", head, rows, kind="candidates")


def _candidate(record: Mapping[str, Any], each: Mapping[str, Any], scale: tuple[float, float]) -> list[str]:
    marks = [name for name in ("pick", "start", "front") if each[name]]
    chips = "".join(f' <span class="chip {"good" if mark == "pick" else ""}">{mark}</span>' for mark in marks)
    value = _estimate(record, {**each, "n": None}, scale, "v2" if each["pick"] else "v0")
    out = each["dropped"]
    return [
        f'<span class="name">{text(each["name"])}</span>{chips}',
        value,
        count(each["rows"]),
        figure(each["tokens"]),
        NONE if each["latency"] is None else seconds_text(each["latency"]),
        figure(each["calls"]),
        NONE if each["unparsed"] is None else f"{100 * each['unparsed']:.0f} %",
        text(each["stage"]),
        text(f"after {out['at']} rows: {out['why']}") if out else "",
    ]


def _stages(record: Mapping[str, Any]) -> str:
    rows = [
        [
            text(" · ".join(filter(None, (each["step"], each["name"])))),
            count(each["candidates"]),
            count(each["rows"]),
            count(each["calls"]),
            text("; ".join(each["notes"])),
        ]
        for each in record["stages"]
    ]
    return table("Stages in their order", ["Stage", "Candidates", "Rows", "Calls", "Notes"], rows, kind="stages")


def _asset(package: str | None, name: str) -> str:
    return files(package or "").joinpath(name).read_text(encoding="utf-8")
