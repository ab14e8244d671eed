"""A tuning as one HTML page that asks nothing of a network: what `print_tuning` says, all candidates, and a plot."""

from __future__ import annotations

import re
from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path
from typing import Any

from promptkit.reports.evaluation.figures import metric_parts
from promptkit.reports.numbers import seconds_text
from promptkit.reports.page.markup import NONE, bar, count, ends, facts, figure, notes, table, text
from promptkit.reports.page.write import policy
from promptkit.reports.tuning.scatter import scatter
from promptkit.reports.tuning.text import (
    difference_text,
    measured_on,
    pick_text,
    picked_text,
    reasons,
    spent_text,
    unseen_text,
    written_texts,
)
from promptkit.storage import write_private

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
    where = unseen_text(found)
    improved = "good" if record["verdict"] == "improved" else "warn"
    lines = "; ".join(reasons(record))
    return f'<p class="said {improved}">{text(said + where)}</p><p>{text(lines)}</p>{_sides(record)}'


def _sides(record: Mapping[str, Any]) -> str:
    sides = [("start", record["baseline"]), (f"{picked_text(record)}: {pick_text(record)}", record["best"])]
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
