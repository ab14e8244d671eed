"""Advice after a tuning, by its verdict, and the meaning of names in its report."""

from __future__ import annotations

import re
from collections.abc import Iterator
from math import ceil, floor, log10

from promptkit.evaluation.record import DifferenceRecord
from promptkit.reports.evaluation.figures import difference_parts, difference_unit
from promptkit.reports.text import counted
from promptkit.tuning.tune_record import TuneRecord

MOST_TIMES = 10
"""A gain that takes more than so many times the present rows to show is not worth them."""
_CALIBRATIONS = {
    "batch": "label scores minus their mean over search rows",
    "quantile": "label scores cut where the labels' shares fit",
    "labelled": "label scores with the offsets that were right most often on search rows",
}


def advice(record: TuneRecord) -> Iterator[str]:
    """Yield sentences on what to do next; nothing for a run that did not end."""
    if record.status != "done":
        return
    if record.verdict == "improved":
        command = f": promptkit eval SUITE --target {record.written[-1]}" if record.written else ""
        yield f"measure it on new rows{command}"
        yield from _idle_changes(record)
    else:
        yield from _not_shown(record)
    if record.left_out and record.calls_for_all is not None:
        left_out = counted(record.left_out, "candidate")
        were = "was" if record.left_out == 1 else "were"
        yield (
            f"{left_out} {were} not raced for want of calls: about --budget calls={rounded_up(record.calls_for_all)} "
            "would race all"
        )


def _idle_changes(record: TuneRecord) -> Iterator[str]:
    """Yield a sentence on the changes that brought nothing on the confirm rows, if others did."""
    measured = [change for change in record.ablation if change.on == "confirm" and change.difference is not None]
    idle = [f"{change.axis}: {change.level}" for change in measured if (change.difference or 0.0) <= 0]
    if idle and len(idle) < len(record.ablation):
        yield (
            f"{' · '.join(idle)} brought nothing on the confirm rows: where that makes the prompt longer, measure the "
            "tuned target without it too"
        )


def _not_shown(record: TuneRecord) -> Iterator[str]:
    found, needed = record.difference, record.rows_for_gain
    if found is None or needed is None or needed > MOST_TIMES * found.n:
        yield (
            "this search found nothing clearly better than the start: widen it with a teacher (--teacher), a larger "
            "model (--model) or more rows to draw examples from"
        )
        return
    metric = record.metric.as_metric()
    gain = difference_parts(metric, DifferenceRecord(difference=found.mean, low=found.low, high=found.high))[0]
    unit = difference_unit(metric)
    measured = " ".join(filter(None, (gain, unit)))
    if needed <= found.n:
        yield f"{measured} is at the edge of what {counted(found.n, found.unit)} can show: new rows decide it"
        return
    available = record.rows.confirm if found.unit == "row" else found.n
    text = f"if {measured} is the true gain, about {needed:,} confirm {found.unit}s would show it four times in five"
    share = float(record.rows.share)
    if needed <= available:
        text += f": the suite has {available:,}, and a larger budget asks more of them"
    elif found.unit == "row" and share > 0:
        text += f": some {rounded_up(ceil((needed - available) / share)):,} more rows like these in the suite"
    yield text


def rounded_up(count: int) -> int:
    """Return a count rounded up to two digits, as it is an estimate."""
    unit = int(10 ** max(0, floor(log10(max(1, count))) - 1))
    return ceil(count / unit) * unit


def legend(record: TuneRecord) -> Iterator[str]:
    """Yield the meaning of what stands in the names of the incumbent's choices."""
    choices = " ".join([*record.best.choices.values()])
    if re.search(r"#\d", choices):
        yield "#1: one of several random draws of that many examples"
    for method in dict.fromkeys(re.findall(r"calibrated \((\w+)\)", choices)):
        if method in _CALIBRATIONS:
            yield f"calibrated ({method}): {_CALIBRATIONS[method]}, as fixed numbers"
