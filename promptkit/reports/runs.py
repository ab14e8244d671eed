"""Runs of the store as text: a table of them, one run of a target, and rows of an evaluation in full."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from promptkit.engine.run import BATCH
from promptkit.evaluation.metrics.score import JUDGE_DETAIL, REASON_DETAIL
from promptkit.evaluation.metrics.turns import TURNS
from promptkit.evaluation.provenance import Provenance
from promptkit.evaluation.record import MetricRecord, shortened_digest
from promptkit.reports.batch import batch_summary
from promptkit.reports.evaluation.figures import metric_text
from promptkit.reports.evaluation.turns import conversation_lines, is_conversation
from promptkit.reports.layout import GAP, cell_width, columns, shortened
from promptkit.reports.text import (
    calls_text,
    display_text,
    one_line,
    outline,
    seconds_text,
    tokens_text,
    visible,
    warning_texts,
    when_text,
)
from promptkit.reports.trace import stored_trace_text, text_block, tool_call_line, tree, turn_lines
from promptkit.reports.tuning.report import difference_text
from promptkit.storage.records import check_shape
from promptkit.techniques.warnings import warning_text
from promptkit.tuning.tune_record import stored_tune_record

if TYPE_CHECKING:
    from promptkit.evaluation.cells.cell import Cell, RunView
    from promptkit.evaluation.metrics.score import Score
    from promptkit.storage.store import Run

RUN_COLUMNS = ("run", "when", "kind", "target", "status", "model", "time", "result")
COST_FIELDS = ("calls", "cached", "tokens_in", "tokens_out", "seconds")
"""What a cell cost, by the names of its attributes."""

LEAST_RESULT_WIDTH = 28
"""Columns that are left to the result of a run, before other columns are left out for it."""
_RESULT_WIDTH = 60
OWN_LINES = (JUDGE_DETAIL, REASON_DETAIL, TURNS)
"""The parts of a score's detail that stand in lines of their own."""

_LONGEST = 200


def run_record(run: Run) -> dict[str, Any]:
    """Return a run as `runs list --json` prints it; `metric` is the first one of an evaluation's first variant."""
    name, metric = _first_metric(run)
    first = {"name": name, **{key: metric[key] for key in ("mean", "low", "high", "n")}} if metric else None
    return {
        "run": run.number,
        "kind": run.kind,
        "target": run.target,
        "status": run.status,
        "model": dict(run.model),
        "started": run.started,
        "ended": run.ended,
        "seconds": None if run.ended is None else round(run.ended - run.started, 3),
        "metric": first,
    }


def runs_text(runs: Sequence[Run], *, width: int) -> str:
    """Return runs as a table, a run a line; the last column is cut to the width.

    Where little room is left for it, first the model and then the time have no column, and the date is short.
    """
    for left_out in ((), ("model",), ("model", "time")):
        shown = [at for at, name in enumerate(RUN_COLUMNS) if name not in left_out]
        lines = [_run_line(run, year=not left_out) for run in runs]
        rows = [tuple(row[at] for at in shown) for row in (RUN_COLUMNS, *lines)]
        fixed = sum(max(map(cell_width, column)) + GAP for column in list(zip(*rows, strict=True))[:-1])
        if width - fixed >= LEAST_RESULT_WIDTH:
            break
    rows = [(*row[:-1], shortened(row[-1], max(width - fixed, 1))) for row in rows]
    right = [at for at, name in enumerate(shown) if RUN_COLUMNS[name] in ("run", "time")]
    return "\n".join(columns(rows, right=right, width=width))


def _run_line(run: Run, *, year: bool) -> tuple[str, ...]:
    return (
        str(run.number),
        when_text(run.started).removeprefix("" if year else time.strftime("%Y-")),
        run.kind,
        one_line(run.target),
        run.status,
        one_line(run.model.get("reference", "")),
        "" if run.ended is None else seconds_text(run.ended - run.started),
        _result_text(run),
    )


def _result_text(run: Run) -> str:
    name, metric = _first_metric(run)
    if metric:
        return f"{name} {metric_text(check_shape(metric, MetricRecord, f'runs {run.number}, `record`'))}"
    if "verdict" in run.record:
        tuning = stored_tune_record(run)
        found = tuning.difference
        return " ".join([tuning.verdict, *([difference_text(tuning, found)] if found is not None else [])])
    if run.kind == BATCH:
        return batch_summary(run.record)
    result = run.record.get("error") or run.record.get("output")
    return "" if result is None else one_line(result, _RESULT_WIDTH)


def _first_metric(run: Run) -> tuple[str, Mapping[str, Any]]:
    variants = run.record.get("variants") or [{}]
    return next(iter(variants[0].get("metrics", {}).items()), ("", {}))


def run_text(run: Run, calls: Sequence[Mapping[str, Any]]) -> str:
    """Return a run of a target: its inputs, its steps, each request with its reply, and the output."""
    lines = [f"{visible(run.target)}  run {run.number}  {run.status}  {when_text(run.started)}"]
    if run.model:
        lines.append(f"answered by {one_line(run.model['reference'])}")
    if run.inputs:
        lines += ["", *outline(run.inputs).split("\n")]
    steps = run.record.get("steps", {})
    if steps:
        lines += ["", *columns([_step_line(name, step) for name, step in steps.items()])]
    for call in calls:
        lines += ["", *tree([(_call_title(call), _call_lines(call))])]
    made = [
        f"{visible(name)}: {tool_call_line(call)}"
        for name, step in steps.items()
        for call in step.get("tool_calls", ())
    ]
    lines += ["", *made] if made else []
    for name in ("traceback", "error", "output"):
        if run.record.get(name) is not None:
            lines += ["", f"{name}:", display_text(run.record[name])]
    if not run.record:
        lines += ["", "it ended before any of this was kept"]
    return "\n".join(lines)


def _step_line(name: str, step: Mapping[str, Any]) -> tuple[str, ...]:
    spent = calls_text(step["calls"], step["cached"]), tokens_text(step["tokens_in"], step["tokens_out"])
    warnings = ", ".join(warning_texts(step.get("warnings", {}), step.get("warned_by")))
    return (name, step["status"], *spent, seconds_text(step["seconds"]), warnings)


def _call_title(call: Mapping[str, Any]) -> str:
    reply = call["reply"]
    marks = [name for name in ("cached", "repair") if call[name]]
    marks += [f"window of {reply['context']} tokens"] if reply.get("context") else []
    spent = tokens_text(reply.get("tokens_in") or 0, reply.get("tokens_out") or 0)
    marks += map(warning_text, call.get("warnings", ()))
    return visible(" · ".join(["/".join([*call["path"], call["call"]]), spent, *marks]))


def _call_lines(call: Mapping[str, Any]) -> Iterator[str]:
    request = call["request"]
    for message in request.get("messages") or ():
        yield from turn_lines(message["role"], message["content"], message.get("calls", ()))
    for name in ("prompt", "begun"):
        if request.get(name):
            yield from text_block(name, request[name])
    yield from turn_lines("reply", call["reply"]["text"], call["reply"].get("calls", ()))
    if call.get("rule"):
        yield from text_block("read by", call["rule"])
    if call["problem"]:
        yield from text_block("problem", call["problem"])


def cells_text(view: RunView, cells: Sequence[Cell], origins: Mapping[int, Provenance] | None = None) -> str:
    """Return a row in full: its fields, the expected answer, and each cell with its scores and requests.

    `origins` are those of the cells by their numbers, where they are to be shown.
    """
    first = cells[0]
    lines = [f"row {first.row}", *_indented(outline(dict(first.fields)))]
    if first.expect is not None and first.expect not in first.fields.values():
        lines += _named_lines("expected", first.expect)
    several = len({cell.repeat for cell in cells}) > 1
    for cell in cells:
        lines += ["", f"{visible(cell.variant)}{f', repeat {cell.repeat + 1}' if several else ''}"]
        lines += answer_lines(cell)
        lines += provenance_lines(origins[cell.number]) if origins else []
        trace = view.trace(cell.number)
        lines += _indented(stored_trace_text(trace)) if trace is not None else []
    return "\n".join(lines)


def answer_lines(cell: Cell) -> Iterator[str]:
    """Yield a cell's answer or what is wrong with it, its scores and its cost."""
    if cell.flag:
        yield f"  {'missing' if cell.flag == 'error' else cell.flag}: {one_line(cell.problem)}"
    if is_conversation(cell.output):
        yield from (f"  {line}" for line in conversation_lines(cell))
    elif cell.output is not None:
        yield from _named_lines("answer", cell.output)
    if cell.warned:
        yield f"  warnings: {', '.join(warning_text(name, cell.warned_by) for name in cell.warned)}"
    for name, score in cell.scores.items():
        yield f"  {visible(name)}: {score_text(score)}"
        if reason := score.detail.get(REASON_DETAIL):
            yield from ("    " + line for line in display_text(f"reason: {reason}").split("\n"))
        for exchange in score.detail.get(JUDGE_DETAIL, ()):
            yield from _indented(outline(exchange))
    spent = {name: getattr(cell, name) for name in COST_FIELDS}
    calls, tokens = calls_text(spent["calls"], spent["cached"]), tokens_text(spent["tokens_in"], spent["tokens_out"])
    yield f"  {calls} · {tokens} · {seconds_text(spent['seconds'])}"
    if user := cell.simulated_user:
        calls, tokens = calls_text(user["calls"], user["cached"]), tokens_text(user["tokens_in"], user["tokens_out"])
        yield f"  simulated user: {calls} · {tokens} · {seconds_text(user['seconds'])}"


def score_text(score: Score) -> str:
    """Return a score with its details, in one line."""
    if not score.applies:
        return f"n/a · {one_line(score.why)}"
    value = "no score" if score.value is None else f"{score.value:.4g}"
    details = [f"{name} {one_line(detail, _LONGEST)}" for name, detail in score.detail.items() if name not in OWN_LINES]
    return " · ".join([value, *details, *([one_line(score.why)] if score.why else [])])


def _named_lines(name: str, value: Any) -> list[str]:
    """Return a named value: in one line where it has one, otherwise under its name."""
    lines = outline(value).split("\n")
    if len(lines) == 1:
        return [f"  {name}: {lines[0]}"]
    return [f"  {name}:", *(f"    {line}" for line in lines)]


def _indented(text: str) -> list[str]:
    return [f"  {line}" for line in text.split("\n")]


def provenance_lines(origin: Provenance) -> Iterator[str]:
    """Yield the time of a cell and what answered it, and the files that it was made of, with their digests."""
    when = "at a time that is not recorded" if origin.asked is None else when_text(origin.asked)
    by = f" by promptkit {origin.release}" if origin.release else ""
    yield f"  asked {when}{by}"
    for reference, digest in origin.models.items():
        yield f"    model {one_line(reference)} {shortened_digest(digest or '') or 'without a digest'}"
    yield from _named_files("of", origin.files, ())
    yield from _named_files("read", origin.reads, origin.changed)


def _named_files(word: str, files: Mapping[str, str], changed: tuple[str, ...]) -> Iterator[str]:
    for name, digest in files.items():
        since = ", changed since" if name in changed else ""
        yield f"    {word} {one_line(name)} {shortened_digest(digest)}{since}"
