"""The confirm rows that turned: for the terminal the first of each direction, for the page all of the record."""

from __future__ import annotations

from collections.abc import Iterator

from rich.text import Text

from promptkit.reports.changed_rows import CHANGE_STYLES, ChangedTexts, change_label, changed_row_lines
from promptkit.reports.evaluation.failing_rows import FLAG_TEXTS, inputs_line
from promptkit.reports.layout import value_line
from promptkit.tuning.tune_record import TuneRecord, TurnedAnswer, TurnedRow

MOST_SHOWN = 2
"""The most rows of each direction in a terminal."""


def turned_lines(record: TuneRecord, width: int) -> Iterator[Text]:
    """Yield the first rows that got worse and the first that got better, a line each; nothing where none turned."""
    if not record.turned.rows:
        return
    rows = turned_rows(record, MOST_SHOWN)
    yield Text(turned_title(record), style="bold")
    yield from changed_row_lines([turned_texts(row) for row in rows], "start", "incumbent", width)
    if record.turned.better + record.turned.worse > len(rows):
        yield Text(f"  all: promptkit runs compare {record.run}", style="dim")


def turned_title(record: TuneRecord) -> str:
    """Return the counts of rows that turned: `confirm rows that turned: 5 worse, 37 better`."""
    return f"confirm rows that turned: {record.turned.worse:,} worse, {record.turned.better:,} better"


def turned_rows(record: TuneRecord, most: int | None = None) -> list[TurnedRow]:
    """Return the rows that turned, those that got worse first, at most so many of each direction."""
    rows = record.turned.rows
    return [row for change in CHANGE_STYLES for row in [row for row in rows if row.change == change][:most]]


def turned_texts(row: TurnedRow) -> ChangedTexts:
    """Return a row that turned as texts."""
    return ChangedTexts(
        change=row.change,
        label=change_label(row.change, [row.before.score, row.after.score]),
        number=str(row.row),
        expected=value_line(row.expected),
        before=_answer_text(row.before),
        after=_answer_text(row.after),
        input=inputs_line(row.fields, row.expected),
    )


def _answer_text(answer: TurnedAnswer) -> str:
    return FLAG_TEXTS[answer.flag] if answer.flag in FLAG_TEXTS else value_line(answer.value)
