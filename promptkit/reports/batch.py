"""Batches: the rows of a file with the answer to each, as text and as tables."""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from io import StringIO
from itertools import islice
from typing import TYPE_CHECKING, Any

from promptkit.reports.layout import paragraph
from promptkit.reports.text import (
    calls_text,
    counted,
    display_text,
    json_text,
    one_line,
    outline,
    seconds_text,
    tokens_text,
    visible,
    warning_texts,
)
from promptkit.reports.trace import stored_trace_text

if TYPE_CHECKING:
    from promptkit.storage.store import Run

MOST_FAILED = 10
ANSWER = "answer"
ERROR = "error"

_FORMULA = ("=", "+", "-", "@", "\t", "\r")
_NUMBER = re.compile(r"[+-]?[0-9]+([.,][0-9]+)?")


class AnswerTable:
    """Rows of a file with their answers as lines of CSV, otherwise of JSONL; `error` says why an answer is missing.

    The answer is one column, `answer`, or one for each of `keys`, the keys of a mapping. Where the file has a column of
    that name, the answer's is `answer.NAME`.
    """

    def __init__(self, rows: Iterable[Mapping[str, Any]], keys: Sequence[str] | None, *, csv: bool) -> None:
        self._csv = csv
        self._columns = list(dict.fromkeys(name for row in rows for name in row))
        self._keys = keys or None
        self._answers = [self._free(name) for name in self._keys or (ANSWER,)]
        self._error = self._free(ERROR)

    @property
    def head(self) -> str:
        """The first line of a CSV file; JSONL has none."""
        return csv_line([*self._columns, *self._answers, self._error]) if self._csv else ""

    def line(self, fields: Mapping[str, Any], output: Any, error: str | None) -> str:
        """Return a row with its answer as a line."""
        parts = [output] if self._keys is None else [(output or {}).get(key) for key in self._keys]
        if self._csv:
            return csv_line([*(fields.get(name) for name in self._columns), *parts, error], numbers=True)
        record = {**fields, **dict(zip(self._answers, parts, strict=True)), self._error: error}
        return json_text(record, indent=None) + "\n"

    def _free(self, name: str) -> str:
        while name in self._columns:
            name = f"{ANSWER}.{name}"
        return name


def batch_summary(record: Mapping[str, Any]) -> str:
    """Return the result of a batch in one line: `30 rows: 28 answered, 2 failed · 5459+24 tokens`."""
    if not record:
        return ""
    ended = record["answered"] + record["failed"]
    rows = counted(record["rows"], "row") if ended == record["rows"] else f"{ended} of {counted(record['rows'], 'row')}"
    failed = f", {record['failed']} failed" if record["failed"] else ""
    totals = record["totals"]
    return f"{rows}: {record['answered']} answered{failed} · {tokens_text(totals['tokens_in'], totals['tokens_out'])}"


def batch_text(run: Run, record: Mapping[str, Any], failed: Iterable[tuple[int, Mapping[str, Any]]], width: int) -> str:
    """Return a batch as text: its result, and its first rows that failed, with the reasons."""
    lines = [f"{visible(run.target)}  run {run.number}  {run.status}", f"rows of {one_line(run.inputs['file'])}"]
    if run.model:
        lines.append(f"answered by {one_line(run.model['reference'])}")
    totals = record["totals"]
    spent = [batch_summary(record), calls_text(totals["calls"], totals["cached"]), seconds_text(totals["seconds"])]
    lines.append(" · ".join([*spent, *warning_texts(totals.get("warnings", {}), totals.get("warned_by"))]))
    if record["failed"]:
        lines += ["", "rows that failed:"]
    for row, result in islice(failed, MOST_FAILED):
        lines += paragraph(one_line(result["error"]), width=width, first=f"{row:>6}  ", rest=" " * 8)
    if record["failed"] > MOST_FAILED:
        lines.append(
            f"the first {MOST_FAILED} of {record['failed']}; `promptkit runs export {run.number} --csv -` has all"
        )
    return "\n".join(lines)


def batch_row_text(row: int, record: Mapping[str, Any]) -> str:
    """Return a row of a batch in full: its fields, each request, and its answer or the error."""
    lines = [f"row {row}", *(f"  {line}" for line in outline(record["fields"]).split("\n")), ""]
    lines += stored_trace_text(record["trace"]).split("\n")
    name = ERROR if "error" in record else "output"
    return "\n".join([*lines, "", f"{name}:", display_text(record[name])])


def answer_lines(rows: Iterable[Mapping[str, Any]], table: AnswerTable) -> Iterator[str]:
    """Yield the rows of a batch as lines of a table."""
    yield table.head
    for row in rows:
        yield table.line(row["fields"], row["output"], row.get("error"))


def csv_line(values: Sequence[Any], *, numbers: bool = False) -> str:
    """Return a line of CSV. A text that a spreadsheet would take for a formula has a quote before it.

    With `numbers`, texts that are only a number (`-5`, `+3,2`) stay as they are.
    """
    text = StringIO()
    csv.writer(text, lineterminator="\n").writerow([_csv_value(value, numbers) for value in values])
    return text.getvalue()


def _csv_value(value: Any, numbers: bool) -> Any:
    if value is None or (isinstance(value, int | float) and not isinstance(value, bool)):
        return value
    text = visible(value if isinstance(value, str) else json.dumps(value, ensure_ascii=False))
    is_formula = text.startswith(_FORMULA) and not (numbers and _NUMBER.fullmatch(text))
    return f"'{text}" if is_formula else text
