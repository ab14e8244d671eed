"""The report of two runs compared: other differences between them, differences by metric, and the rows that changed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import zip_longest
from typing import TYPE_CHECKING, Any

from promptkit.evaluation.cells.cell import Cell, compared_values
from promptkit.reports.changed_rows import CHANGE_STYLES, ChangedTexts, change_label, changed_row_lines
from promptkit.reports.evaluation.comparisons import comparison_grid, margin_notes, power_text
from promptkit.reports.evaluation.figures import verdict_of
from promptkit.reports.evaluation.plots import shared_unit_lines
from promptkit.reports.evaluation.serving import served_runs_lines
from promptkit.reports.evaluation.variants import counts_by_warning
from promptkit.reports.export import score_record
from promptkit.reports.layout import (
    HANG,
    LEAST_WIDTH,
    TableCell,
    grid,
    paragraph,
    value_line,
)
from promptkit.reports.output import PIPE_WIDTH, WIDEST_REPORT, encodable, report_console
from promptkit.reports.runs import score_text
from promptkit.reports.text import counted, one_line, outline, visible, when_text
from promptkit.reports.trace import SentPrompt, sent_prompts
from promptkit.reports.word_diff import marked_diff
from promptkit.techniques.warnings import merged_sources, warning_text

if TYPE_CHECKING:
    from rich.console import Console
    from rich.text import Text

    from promptkit.evaluation.comparison.compare import ChangedRow, Comparison
    from promptkit.evaluation.comparison.records import CompareRecord
    from promptkit.evaluation.comparison.run_rows import RunRows

MOST_LISTED = 10
"""The most rows of each change that the table lists."""

ChangedCells = tuple["ChangedRow", "Cell", "Cell"]
"""A row that changed, with the cells of both runs that show it."""


def find_changed_rows(comparison: Comparison, full: int) -> list[ChangedCells]:
    """Return the rows to list: of each change those that differ most, at least `full`, worse ones first."""
    most = max(MOST_LISTED, full)
    chosen = [row for change in CHANGE_STYLES for row in _of_change(comparison.changed, change)[:most]]
    return [(row, *comparison.cells_of(row)) for row in chosen]


def _of_change(rows: Sequence[ChangedRow], change: str) -> list[ChangedRow]:
    return [row for row in rows if row.change == change]


def changed_row_record(comparison: Comparison, changed: ChangedCells) -> dict[str, Any]:
    """Return a row that changed as JSON, with the answers, scores and prompts of both runs."""
    row, a, b = changed
    return {
        "row": row.row,
        "row_b": row.row_b,
        "repeat": a.repeat,
        "change": row.change,
        "difference": row.a_minus_b,
        "fields": dict(a.fields),
        "expect": a.expect,
        "a": _answer_record(comparison.a, a),
        "b": _answer_record(comparison.b, b),
    }


def _answer_record(side: RunRows, cell: Cell) -> dict[str, Any]:
    return {
        "output": cell.output,
        "flag": cell.flag,
        "problem": cell.problem,
        "scores": {name: score_record(score) for name, score in cell.scores.items()},
        "prompts": [prompt._asdict() for prompt in _prompts(side, cell)],
    }


def _prompts(side: RunRows, cell: Cell) -> list[SentPrompt]:
    trace = None if side.run is None else side.run.trace(cell.number)
    return [] if trace is None else list(sent_prompts(trace))


def print_comparison(comparison: Comparison, record: CompareRecord, changed: Sequence[ChangedCells], full: int) -> None:
    """Print a comparison as a result, with the prompts of the first `full` rows of each change."""
    console = report_console()
    width = min(console.width, WIDEST_REPORT) if console.is_terminal else PIPE_WIDTH
    for line in comparison_lines(comparison, record, changed, full, width):
        for part in _folded(line, console) if console.is_terminal else (line,):
            console.print(encodable(part, console))


def _folded(line: Text, console: Console) -> Iterator[Text]:
    """Yield a line in parts that fit a terminal; the later ones hang under its indent."""
    from rich.text import Text

    if line.cell_len <= console.width:
        yield line
        return
    indent = " " * (len(line.plain) - len(line.plain.lstrip(" ")))
    room = max(console.width - len(indent + HANG), LEAST_WIDTH)
    for at, part in enumerate(line[len(indent) :].wrap(console, room)):
        yield Text(indent + (HANG if at else "")) + part


def comparison_lines(
    comparison: Comparison, record: CompareRecord, changed: Sequence[ChangedCells], full: int, width: int
) -> Iterator[Text]:
    """Yield the lines of a comparison."""
    from rich.text import Text

    parts = [
        _sides(record, width),
        _differences(record, width),
        shared_unit_lines(record.comparisons, record.metrics, width),
        _warnings(record, width),
        _serving(record, width),
        _listed(record, comparison.changed, changed, width),
        *(_full_row(comparison, row) for row in _first(changed, full)),
    ]
    for number, part in enumerate(parts):
        lines = list(part)
        if lines and number:
            yield Text()
        yield from lines


def _first(changed: Sequence[ChangedCells], most: int) -> list[ChangedCells]:
    """Return the first rows of each change."""
    return [row for change in CHANGE_STYLES for row in [row for row in changed if row[0].change == change][:most]]


def _sides(record: CompareRecord, width: int) -> Iterator[Text]:
    from rich.text import Text

    yield Text(visible(f"{record.a.name} against {record.b.name}"), style="bold")
    rows: list[list[TableCell]] = [
        [side.name, side.suite, side.variant, side.status, when_text(side.started), one_line(side.model["reference"])]
        for side in (record.a, record.b)
    ]
    yield from grid(rows, width=width, indent=2)
    for difference in record.differs:
        yield from _wrapped(difference.says, width, "yellow")
    if not record.differs:
        yield from _wrapped("suite, data, model, settings and the way of asking are the same", width, "dim")


def _differences(record: CompareRecord, width: int) -> Iterator[Text]:
    from rich.text import Text

    yield Text(f"on the {counted(record.rows['both'], 'row')} of both", style="bold")
    yield from comparison_grid([("", found) for found in record.comparisons], record.metrics, width)
    for line in _notes(record):
        yield from _wrapped(line, width, "dim")


def _warnings(record: CompareRecord, width: int) -> Iterator[Text]:
    """Yield the number of answers of both runs with each warning that occurred, on all rows of each."""
    sides = (record.b, record.a)
    counts = counts_by_warning([(side.warnings, side.recorded) for side in sides])
    rows: list[list[TableCell]] = [["answers with a warning", *((side.name, "dim") for side in sides)]]
    warned_by = merged_sources(side.warned_by for side in sides)
    rows += [[warning_text(name, warned_by), *((text, "yellow") for text in texts)] for name, texts in counts.items()]
    return iter(grid(rows, right=(1, 2), width=width) if counts else ())


def _serving(record: CompareRecord, width: int) -> Iterator[Text]:
    sides = [(side.name, side.serving) for side in (record.b, record.a)]
    return served_runs_lines(sides, width, is_one_run=record.a.run == record.b.run)


def _notes(record: CompareRecord) -> Iterator[str]:
    a, b = record.a.name, record.b.name
    yield f"a difference is {a} minus {b}, better and worse are rows of {a}"
    only_a, only_b = record.rows["only_a"], record.rows["only_b"]
    if only_a or only_b:
        yield f"left out: {counted(only_a, 'row')} of {a} alone, {only_b} of {b} alone"
    yield from record.notes
    if same := record.cells["same_answer"]:
        yield f"{same} of {record.cells['both']} answers are the same stored one in both (`--fresh` asks again)"
    for found in record.comparisons:
        metric = record.metrics[found.metric]
        is_undecided = found.metric == record.aim and verdict_of(metric, found) == "not shown"
        if is_undecided and (needed := power_text(metric, found)):
            yield needed
        yield from (f"{found.metric}: {note}" for note in found.notes)
    yield from margin_notes([("", found) for found in record.comparisons], record.metrics)
    if len(record.comparisons) > 1 and any(found.metric == record.aim for found in record.comparisons):
        yield f"{record.aim} is the primary metric; differences in other metrics are exploratory"
    for name, why in record.unsaid.items():
        yield f"{name}: {why}"


def _listed(
    record: CompareRecord, rows: Sequence[ChangedRow], changed: Sequence[ChangedCells], width: int
) -> Iterator[Text]:
    from rich.text import Text

    if not rows:
        return
    counts = ", ".join(f"{len(_of_change(rows, change)):,} {change}" for change in CHANGE_STYLES)
    yield Text(f"rows that differ by {visible(record.aim)}: {counts}", style="bold")
    listed = _first(changed, MOST_LISTED)
    texts = [_texts(record.aim, row) for row in listed]
    yield from changed_row_lines(texts, record.b.name, record.a.name, width)
    if len(rows) > len(listed):
        yield from _wrapped(f"and {len(rows) - len(listed):,} more (--json has all numbers)", width, "dim")


def _number_text(row: ChangedRow) -> str:
    return str(row.row) if row.row == row.row_b else f"{row.row} ({row.row_b})"


def _texts(metric: str, changed: ChangedCells) -> ChangedTexts:
    """Return a row's expected answer, the answers of both runs as the metric compared them, and its inputs."""
    row, a, b = changed
    expected, new = compared_values(a, metric)
    _, old = compared_values(b, metric)
    inputs = " · ".join(one_line(value) for value in a.fields.values() if value != expected)
    scores = [None if (score := cell.scores.get(metric)) is None else score.value for cell in (b, a)]
    return ChangedTexts(
        row.change,
        change_label(row.change, scores),
        _number_text(row),
        value_line(expected),
        b.flag or value_line(old),
        a.flag or value_line(new),
        inputs,
    )


def _full_row(comparison: Comparison, changed: ChangedCells) -> Iterator[Text]:
    """Yield one row: its fields, both answers with their scores, and the prompts word by word."""
    from rich.text import Text

    row, a, b = changed
    repeat = f", repeat {a.repeat + 1}" if comparison.a.repeat > 1 else ""
    yield Text.assemble((f"row {row.row}{repeat}  ", "bold"), (row.change, CHANGE_STYLES[row.change]))
    yield from _indented(Text(outline(dict(a.fields))))
    if a.expect is not None and a.expect not in a.fields.values():
        yield from _indented(Text(outline({"expected": a.expect})))
    for side, cell in ((comparison.b, b), (comparison.a, a)):
        answer = {cell.flag: cell.problem} if cell.flag else cell.output
        yield from _indented(Text(outline({f"{side.name} answers": answer})))
        score = cell.scores.get(comparison.primary)
        if score is not None:
            yield from _indented(Text(f"  {visible(comparison.primary)}: {score_text(score)}", style="dim"))
    yield from _prompt_lines(_prompts(comparison.b, b), _prompts(comparison.a, a), comparison)


def _prompt_lines(old: Sequence[SentPrompt], new: Sequence[SentPrompt], comparison: Comparison) -> Iterator[Text]:
    from rich.text import Text

    if [prompt.text for prompt in old] == [prompt.text for prompt in new]:
        yield Text("  both were asked the same:" if old else "  no prompts are stored for it", style="dim")
        for prompt in new:
            yield from _indented(Text(f"{visible(prompt.call)}\n{prompt.text}"))
        return
    yield Text(visible(f"  prompts, [-{comparison.b.name}-] {{+{comparison.a.name}+}}:"), style="dim")
    for before, after in zip_longest(old, new, fillvalue=SentPrompt("")):
        yield Text(f"  {visible(after.call or before.call)}", style="dim")
        yield from _indented(marked_diff(before.text, after.text))


def _indented(text: Text) -> Iterator[Text]:
    from rich.text import Text

    return (Text("  ") + line for line in text.split("\n", allow_blank=True))


def _wrapped(text: str, width: int, style: str) -> Iterator[Text]:
    from rich.text import Text

    for at, line in enumerate(paragraph(visible(text), width=width - 2)):
        yield Text(("  " if at else "· ") + line, style=style)
