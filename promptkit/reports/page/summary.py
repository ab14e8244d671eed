"""What is said of the run and of each variant, as HTML."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from promptkit.reports.evaluation.variants import fallback_notes
from promptkit.reports.page.markup import NONE, bar, count, ends, facts, figure, notes, table, text
from promptkit.reports.text import seconds_text

if TYPE_CHECKING:
    from promptkit.evaluation.cells.cell import RunView

_BAD = {"incomplete", "interrupted", "failed"}
_SO_FAR = {"running", "interrupted"}


def headline(view: RunView) -> str:
    """Return the page's heading: suite, status and what the run was made of."""
    record = view.record
    moment = datetime.fromtimestamp(view.started, UTC)
    when = f'<time datetime="{moment:%Y-%m-%dT%H:%M:%SZ}">{moment:%Y-%m-%d %H:%M} UTC</time>'
    made = [
        ("Target", text(record.get("target", NONE))),
        ("Model", _model(record.get("model") or {})),
        ("When", f"{when}, {seconds_text(record['seconds'])}" if record.get("seconds") is not None else when),
        ("Rows", _rows(record)),
        ("Sent", _sent(record)),
    ]
    return (
        f"<h1>{text(view.suite)} <small>run {view.number}</small></h1>"
        f'<p class="chips">{_chips(view)}</p>{facts(made)}{notes([*record.get("notes", ()), *fallback_notes(record)])}'
    )


def _chips(view: RunView) -> str:
    record = view.record
    chips = [("bad" if view.status in _BAD else "good" if view.status == "done" else "warn", view.status)]
    chips += [("warn", "so far")] if view.status in _SO_FAR else []
    missing = sum(variant.get("missing") or 0 for variant in record.get("variants", ()))
    chips += [("bad", f"{count(missing)} missing")] if missing else []
    chips += [("warn", "limited: thresholds are off")] if record.get("limited") else []
    fallen = sum(1 for threshold in record.get("thresholds", ()) if threshold.get("passed") is False)
    chips += [("bad", f"{fallen} of {len(record['thresholds'])} thresholds fell short")] if fallen else []
    return " ".join(f'<span class="chip {kind}">{text(word)}</span>' for kind, word in chips)


def _model(model: Mapping[str, Any]) -> str:
    digest = f' <code title="digest">{text(str(model["digest"])[:19])}</code>' if model.get("digest") else ""
    why = f' <span class="aside">({text(model["why"])})</span>' if model.get("why") else ""
    return f"{text(model.get('reference') or NONE)}{digest}{why}"


def _rows(record: Mapping[str, Any]) -> str:
    rows = count(record.get("rows"))
    return f"{rows}, each {record['repeat']} times" if (record.get("repeat") or 1) > 1 else rows


def _sent(record: Mapping[str, Any]) -> str:
    if record.get("exact"):
        return "one at a time (exact)"
    return f"{record['in_flight']} at once" if record.get("in_flight") else NONE


def summary(view: RunView) -> str:
    """Return the table of variants and metrics, and what the metrics note."""
    said = list(view.record.get("variants", ()))
    if not said:
        return '<p class="aside">There is no summary: the run did not come to its end.</p>'
    scales = {name: _scale(said, name) for name in view.metrics}
    priced = any(variant.get("cost") is not None for variant in said)
    head = ["Variant", *(_metric_head(name, scales[name], said) for name in view.metrics), *_counts_head(priced)]
    rows = [
        [
            _named(variant, view.settings.get(variant["name"]) or variant.get("sets") or {}, first=number == 0),
            *(_estimate(variant.get("metrics", {}).get(name), scales[name], f"v{number % 8}") for name in view.metrics),
            *_counts(variant, priced),
        ]
        for number, variant in enumerate(said)
    ]
    told = _notes(said, view.metrics)
    shown = table("Mean of each metric with its 95 % interval, and what it took", head, rows, kind="summary")
    return shown + notes(told) + _more(said, view.metrics)


def _scale(said: Iterable[Mapping[str, Any]], name: str) -> tuple[float, float]:
    each = [variant.get("metrics", {}).get(name) or {} for variant in said]
    least, most = ends(metric.get(key) for metric in each for key in ("mean", "low", "high"))
    low, high = each[0].get("bounds") or (least, most)
    return max(least, low), min(most, high)


def _metric_head(name: str, scale: tuple[float, float], said: Iterable[Mapping[str, Any]]) -> str:
    found = [variant["metrics"][name] for variant in said if name in variant.get("metrics", {})]
    lower = found and found[0].get("higher_is_better") is False
    hint = ' <span class="aside">lower is better</span>' if lower else ""
    return (
        f'{text(name)}{hint}<span class="scale" aria-hidden="true"><span>{figure(scale[0])}</span>'
        f"<span>{figure(scale[1])}</span></span>"
    )


def _named(variant: Mapping[str, Any], sets: Mapping[str, Any], *, first: bool) -> str:
    baseline = ' <span class="aside">baseline</span>' if first else ""
    settings = "".join(f"<div><code>{text(key)}: {text(value)}</code></div>" for key, value in sets.items())
    return f'<span class="name">{text(variant["name"])}</span>{baseline}{settings}'


def _estimate(metric: Mapping[str, Any] | None, scale: tuple[float, float], kind: str) -> str:
    if metric is None:
        return NONE
    mean, low, high = (metric.get(key) for key in ("mean", "low", "high"))
    interval = f' <span class="interval">[{figure(low)}, {figure(high)}]</span>' if low is not None else ""
    return f"<b>{figure(mean)}</b>{interval}{bar(mean, low, high, scale, kind=kind)}"


def _counts_head(priced: bool) -> list[str]:
    return ["Missing", "Unparsed", "Cut off", "Calls", "Tokens in + out", "Time", *(["Cost"] if priced else [])]


def _counts(variant: Mapping[str, Any], priced: bool) -> list[str]:
    missing, cases = variant.get("missing") or 0, variant.get("cases")
    cached = f' <span class="aside">{count(variant["cached"])} cached</span>' if variant.get("cached") else ""
    seconds, cost = variant.get("seconds"), variant.get("cost")
    return [
        _alarm(missing, f"{count(missing)} of {count(cases)}"),
        _alarm(variant.get("unparsed") or 0, count(variant.get("unparsed"))),
        _alarm(variant.get("truncated") or 0, count(variant.get("truncated"))),
        count(variant.get("calls")) + cached,
        f"{count(variant.get('tokens_in'))} + {count(variant.get('tokens_out'))}",
        NONE if seconds is None else seconds_text(seconds),
        *([NONE if cost is None else f"{cost:.4f}"] if priced else []),
    ]


def _alarm(number: float, shown: str) -> str:
    return f'<b class="bad">{shown}</b>' if number else shown


def _notes(said: Iterable[Mapping[str, Any]], metrics: Iterable[str]) -> Iterator[str]:
    """Yield each note once, with the metric that makes it and the variants that it is of."""
    variants = list(said)
    for name in metrics:
        of: dict[str, list[str]] = {}
        for variant in variants:
            for line in variant.get("metrics", {}).get(name, {}).get("notes") or ():
                of.setdefault(line, []).append(variant["name"])
        for line, names in of.items():
            of_some = "" if len(names) == len(variants) else f" ({', '.join(names)})"
            yield f"{name}{of_some}: {line}"


def _more(said: Iterable[Mapping[str, Any]], metrics: Iterable[str]) -> str:
    """Return the parts of metrics that are single numbers or words: a 95th percentile, a coverage."""
    rows = []
    for variant in said:
        for name in metrics:
            parts = variant.get("metrics", {}).get(name, {}).get("parts") or {}
            single = {key: part for key, part in parts.items() if isinstance(part, int | float | str)}
            rows += [[text(variant["name"]), text(name), text(key), _part(part)] for key, part in single.items()]
    if not rows:
        return ""
    body = table("More of each metric", ["Variant", "Metric", "What", "Value"], rows)
    return f"<details><summary>More of each metric</summary>{body}</details>"


def _part(value: float | str) -> str:
    return text(value) if isinstance(value, bool | str) else figure(value)
