"""Exports of an evaluation, part by part: a cell a line of JSON, a table for spreadsheets, test cases for a CI."""

from __future__ import annotations

import re
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import groupby
from typing import Any
from xml.sax.saxutils import escape, quoteattr

from promptkit.evaluation.cells.cell import Cell, RunView
from promptkit.evaluation.metrics.score import Score
from promptkit.evaluation.record import EvalRecord, MetricRecord, VariantRecord
from promptkit.reports.batch import csv_line
from promptkit.reports.evaluation.failing_rows import normalized_score
from promptkit.reports.runs import COST_FIELDS
from promptkit.reports.text import counted, json_text, one_line, outline, visible

_NO_CHARACTER = re.compile("[\ufffe\uffff]")
_NAME_WIDTH = 60
_NEAR = 1e-9


def cell_record(cell: Cell) -> dict[str, Any]:
    """Return a cell as JSON, without its trace."""
    return {
        "variant": cell.variant,
        "row": cell.row,
        "repeat": cell.repeat,
        "fields": dict(cell.fields),
        "expect": cell.expect,
        "output": cell.output,
        "flag": cell.flag,
        "problem": cell.problem,
        "warnings": cell.warnings,
        "warned_by": dict(cell.warned_by),
        "scores": {name: score_record(score) for name, score in cell.scores.items()},
        "steps": dict(cell.steps),
        **{name: getattr(cell, name) for name in COST_FIELDS},
        "cell": cell.number,
    }


def score_record(score: Score) -> dict[str, Any]:
    """Return a score as JSON."""
    return {"value": score.value, "detail": dict(score.detail), "why": score.why}


def jsonl_parts(cells: Iterable[Cell]) -> Iterator[str]:
    """Yield each cell as a line of JSON."""
    return (json_text(cell_record(cell), indent=None) + "\n" for cell in cells)


def csv_parts(view: RunView, variant: str | None) -> Iterator[str]:
    """Yield a table, a cell a line, with `field.NAME` for each field of any row and `score.NAME` for each metric.

    A text that a spreadsheet would take for a formula has a quote before it; what is not a number or a text is JSON.
    """
    fields = list(dict.fromkeys(name for cell in view.cells(variant) for name in cell.fields))
    heads = [*(f"field.{name}" for name in fields), "expect", "output", "flag", "problem", "warnings"]
    yield csv_line(["variant", "row", "repeat", *heads, *(f"score.{name}" for name in view.metrics), *COST_FIELDS])
    for cell in view.cells(variant):
        scores = (cell.scores.get(name) for name in view.metrics)
        yield csv_line(
            [
                cell.variant,
                cell.row,
                cell.repeat,
                *(cell.fields.get(name) for name in fields),
                cell.expect,
                cell.output,
                cell.flag,
                cell.problem,
                " ".join(cell.warned),
                *(None if score is None else score.value for score in scores),
                *(getattr(cell, name) for name in COST_FIELDS),
            ]
        )


def junit_parts(view: RunView, record: EvalRecord, variant: str) -> Iterator[str]:
    """Yield JUnit XML: a test case for each row of a variant, failed where it is wrong, an error where it is missing.

    A row is right where most of its repeats have the best score of the suite's first metric, and skipped where that
    does not apply. Rows that the run did not reach are one more test case, an error: a wrong row may be among them.
    """
    summary = next(found for found in record.variants if found.name == variant)
    counts = {"": 0, "failure": 0, "error": 0, "skipped": 0}
    seconds = 0.0
    for cells in _cells_by_row(view, variant):
        counts[_junit_verdict(cells, summary.metrics, record.repeat)] += 1
        seconds += sum(cell.seconds for cell in cells)
    lacking = record.rows - sum(counts.values())
    counts["error"] += lacking > 0
    tests, failures, errors = sum(counts.values()), counts["failure"], counts["error"]
    totals = _attributes(tests=tests, failures=failures, errors=errors, skipped=counts["skipped"])
    when = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(view.started))
    name = _attributes(name=view.suite)
    yield '<?xml version="1.0" encoding="UTF-8"?>\n'
    yield f"<testsuites{name}{totals}{_attributes(time=f'{seconds:.3f}')}>\n"
    yield f"<testsuite{name}{totals}{_attributes(time=f'{seconds:.3f}', timestamp=when)}>\n<properties>\n"
    for key, value in _properties(view, record, summary).items():
        yield f"<property{_attributes(name=key, value=value)}/>\n"
    yield "</properties>\n"
    for cells in _cells_by_row(view, variant):
        yield from _test_case(cells, f"{view.suite}.{variant}", summary.metrics, record.repeat)
    if lacking > 0:
        text = f"the run is {view.status}: {counted(lacking, 'row')} of {record.rows} without an answer"
        name = counted(lacking, "further row")
        yield f"<testcase{_attributes(classname=f'{view.suite}.{variant}', name=name, time='0.000')}>\n"
        yield f"<error{_attributes(message=text, type='missing')}/>\n</testcase>\n"
    yield "</testsuite>\n</testsuites>\n"


def _cells_by_row(view: RunView, variant: str) -> Iterator[list[Cell]]:
    return (list(cells) for _, cells in groupby(view.cells(variant), key=lambda cell: cell.row))


def _properties(view: RunView, record: EvalRecord, variant: VariantRecord) -> dict[str, Any]:
    properties: dict[str, Any] = {
        "run": view.number,
        "status": view.status,
        "variant": variant.name,
        "model": record.model.reference,
        "digest": record.model.digest,
    }
    for name, metric in variant.metrics.items():
        values = {"mean": metric.mean, "low": metric.low, "high": metric.high, "n": metric.n}
        properties |= {f"{name}.{key}": value for key, value in values.items() if value is not None}
    return properties


def _junit_verdict(cells: Sequence[Cell], metrics: Mapping[str, MetricRecord], repeat: int) -> str:
    """Return `failure` where most repeats are wrong, `error` where missing ones decide it, nothing otherwise.

    It is `skipped` where the first metric does not apply.
    """
    first = next(iter(metrics), "")
    if all(first in cell.scores and not cell.scores[first].applies for cell in cells):
        return "skipped"
    right = sum(is_right(cell, metrics) for cell in cells)
    missing = sum(_is_missing(cell, metrics) for cell in cells) + repeat - len(cells)
    if 2 * right > repeat:
        return ""
    return "error" if 2 * (right + missing) > repeat else "failure"


def is_right(cell: Cell, metrics: Mapping[str, MetricRecord]) -> bool:
    """Tell whether a cell has an answer with the best score of the first metric; any answer where that has no best."""
    return not cell.flag and not _is_missing(cell, metrics) and normalized_score(cell, metrics) > 1 - _NEAR


def _is_missing(cell: Cell, metrics: Mapping[str, MetricRecord]) -> bool:
    score = cell.scores.get(next(iter(metrics), ""))
    return cell.flag == "error" or (score is not None and score.is_missing)


def _test_case(cells: Sequence[Cell], of: str, metrics: Mapping[str, MetricRecord], repeat: int) -> Iterator[str]:
    first = cells[0]
    name = f"row {first.row}: {one_line(next(iter(first.fields.values()), ''), _NAME_WIDTH)}"
    head = f"<testcase{_attributes(classname=of, name=name, time=f'{sum(cell.seconds for cell in cells):.3f}')}"
    verdict = _junit_verdict(cells, metrics, repeat)
    if not verdict:
        yield f"{head}/>\n"
        return
    if verdict == "skipped":
        yield f"{head}>\n<skipped/>\n</testcase>\n"
        return
    if verdict == "error" and not any(_is_missing(cell, metrics) for cell in cells):
        lack = f"{repeat - len(cells)} of {repeat} repeats without an answer"
        yield f"{head}>\n<error{_attributes(message=lack, type='missing')}/>\n</testcase>\n"
        return
    failing = (cell for cell in cells if not is_right(cell, metrics))
    wrong = next(cell for cell in failing if (verdict == "error") == _is_missing(cell, metrics))
    score = wrong.scores.get(next(iter(metrics), ""))
    kind = {"error": "missing", "": "no score" if verdict == "error" else "wrong"}.get(wrong.flag, wrong.flag)
    why = wrong.problem or (score.why if score else "") or f"expected {one_line(wrong.expect)}"
    message = f"{why}, the answer is {one_line(wrong.output)}" if kind == "wrong" else why
    details = {"row": dict(first.fields), "expected": wrong.expect, "answer": wrong.output, "problem": wrong.problem}
    scores = {name: score_record(score) for name, score in wrong.scores.items()}
    yield f"{head}>\n<{verdict}{_attributes(message=one_line(message), type=kind)}>"
    yield f"{_xml(outline({**details, 'scores': scores}))}</{verdict}>\n</testcase>\n"


def _attributes(**values: Any) -> str:
    return "".join(f" {name}={quoteattr(_xml_characters(str(value)))}" for name, value in values.items())


def _xml(text: str) -> str:
    return escape(_xml_characters(text))


def _xml_characters(text: str) -> str:
    """Return text in characters that XML has: control characters and halves of others are shown as escapes."""
    return _NO_CHARACTER.sub("", visible(text))
