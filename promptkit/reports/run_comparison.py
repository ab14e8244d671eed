"""The comparison of two runs for people, what differs, the differences, and the rows that changed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import zip_longest
from typing import TYPE_CHECKING, Any

from promptkit.evaluation.cells.cell import compared_values
from promptkit.evaluation.record import MetricDifference, MetricRecord
from promptkit.reports.evaluation.comparisons import comparison_grid, power_text
from promptkit.reports.evaluation.figures import verdict_of
from promptkit.reports.export import score_record
from promptkit.reports.layout import (
    GAP,
    HANG,
    LEAST_WIDTH,
    TableCell,
    column_width,
    fitted,
    grid,
    paragraph,
    value_line,
)
from promptkit.reports.output import PIPE_WIDTH, WIDEST_REPORT, report_console
from promptkit.reports.runs import score_text, when_text
from promptkit.reports.text import counted, one_line, outline, visible
from promptkit.reports.trace import SentPrompt, sent_prompts
from promptkit.reports.word_diff import marked_diff

if TYPE_CHECKING:
    from rich.console import Console
    from rich.text import Text

    from promptkit.evaluation.cells.cell import Cell
    from promptkit.evaluation.comparison.compare import Comparison, Flip
    from promptkit.evaluation.comparison.sides import Side

MOST_LISTED = 10
"""How many of the rows that became better, and of those that became worse, stand in the table."""

INDENT = 2
_STYLES = {"worse": "red", "better": "green"}
"""What became of a row, in the order in which rows are shown."""
FlipCells = tuple["Flip", "Cell", "Cell"]


def find_flips(versus: Comparison, full: int) -> list[FlipCells]:
    """Return the flips to show with their cells: those that differ most, worse ones first; all of `full` are there."""
    most = max(MOST_LISTED, full)
    chosen = [flip for change in _STYLES for flip in [each for each in versus.flips if each.change == change][:most]]
    return [(flip, *versus.cells_of(flip)) for flip in chosen]


def flip_record(versus: Comparison, found: FlipCells) -> dict[str, Any]:
    """Return a row that flipped as JSON, with both answers and all that was said for them."""
    flip, a, b = found
    return {
        "row": flip.row,
        "row_b": flip.row_b,
        "repeat": a.repeat,
        "change": flip.change,
        "difference": flip.a_minus_b,
        "fields": dict(a.fields),
        "expect": a.expect,
        "a": _answer_record(versus.a, a),
        "b": _answer_record(versus.b, b),
    }


def _answer_record(side: Side, cell: Cell) -> dict[str, Any]:
    return {
        "output": cell.output,
        "flag": cell.flag,
        "problem": cell.problem,
        "scores": {name: score_record(score) for name, score in cell.scores.items()},
        "prompts": [prompt._asdict() for prompt in _prompts(side, cell)],
    }


def _prompts(side: Side, cell: Cell) -> list[SentPrompt]:
    trace = side.view.trace(cell.cell)
    return [] if trace is None else list(sent_prompts(trace))


def print_comparison(versus: Comparison, record: Mapping[str, Any], found: Sequence[FlipCells], full: int) -> None:
    """Print a comparison as a result; of each change the first `full` rows are shown with their prompts."""
    console = report_console()
    width = min(console.width, WIDEST_REPORT) if console.is_terminal else PIPE_WIDTH
    for line in comparison_lines(versus, record, found, full, width):
        for part in _folded(line, console) if console.is_terminal else (line,):
            console.print(part)


def _folded(line: Text, console: Console) -> Iterator[Text]:
    """Yield a line in parts that fit a terminal, the further ones hanging under its indent."""
    from rich.text import Text

    if line.cell_len <= console.width:
        yield line
        return
    indent = " " * (len(line.plain) - len(line.plain.lstrip(" ")))
    room = max(console.width - len(indent + HANG), LEAST_WIDTH)
    for at, part in enumerate(line[len(indent) :].wrap(console, room)):
        yield Text(indent + (HANG if at else "")) + part


def comparison_lines(
    versus: Comparison, record: Mapping[str, Any], found: Sequence[FlipCells], full: int, width: int
) -> Iterator[Text]:
    """Yield the lines of a comparison."""
    from rich.text import Text

    parts = [
        _sides(versus, width),
        _differences(versus, record, width),
        _listed(versus, found, width),
        *(_full(versus, each) for each in _first(found, full)),
    ]
    for number, part in enumerate(parts):
        lines = list(part)
        if lines and number:
            yield Text()
        yield from lines


def _first(found: Sequence[FlipCells], full: int) -> list[FlipCells]:
    return [each for change in _STYLES for each in [one for one in found if one[0].change == change][:full]]


def _sides(versus: Comparison, width: int) -> Iterator[Text]:
    from rich.text import Text

    yield Text(visible(f"{versus.a.name} against {versus.b.name}"), style="bold")
    rows: list[list[TableCell]] = []
    for side in (versus.a, versus.b):
        view, model = side.view, side.model["reference"]
        rows.append([side.name, view.suite, side.variant, view.status, when_text(view.started), one_line(model)])
    yield from grid(rows, width=width, indent=2)
    for each in versus.differs:
        yield from _wrapped(each.says, width, "yellow")
    if not versus.differs:
        yield from _wrapped("suite, data, model, settings and the way of asking are the same", width, "dim")


def _differences(versus: Comparison, record: Mapping[str, Any], width: int) -> Iterator[Text]:
    from rich.text import Text

    rows = record["rows"]
    yield Text(f"on the {counted(rows['both'], 'row')} of both", style="bold")
    said = [("", MetricDifference.model_validate(each)) for each in record["comparisons"]]
    yield from comparison_grid(said, _metrics(record), width)
    for line in _notes(versus, record):
        yield from _wrapped(line, width, "dim")


def _metrics(record: Mapping[str, Any]) -> dict[str, MetricRecord]:
    return {name: MetricRecord.model_validate(metric) for name, metric in record["metrics"].items()}


def _notes(versus: Comparison, record: Mapping[str, Any]) -> Iterator[str]:
    yield f"a difference is {versus.a.name} minus {versus.b.name}, better and worse are rows of {versus.a.name}"
    if versus.only_a or versus.only_b:
        only_a = counted(versus.only_a, "row")
        yield f"left out: {only_a} of {versus.a.name} alone, {versus.only_b} of {versus.b.name} alone"
    if versus.kept:
        yield (
            f"{versus.kept} of {versus.cells} answers are the same kept one on both sides:"
            " nothing was asked anew for them (`--fresh` asks)"
        )
    for each in record["comparisons"]:
        metric, difference = _metrics(record)[each["metric"]], MetricDifference.model_validate(each)
        if (
            each["metric"] == versus.aim
            and verdict_of(metric, difference) == "not shown"
            and (told := power_text(metric, difference))
        ):
            yield told
        yield from (f"{each['metric']}: {note}" for note in each["notes"])
    if len(record["comparisons"]) > 1 and versus.aim in versus.differences:
        yield f"{versus.aim} is the primary metric; differences in other metrics are exploratory"
    for name, why in versus.unsaid.items():
        yield f"{name}: {why}"


def _listed(versus: Comparison, found: Sequence[FlipCells], width: int) -> Iterator[Text]:
    from rich.text import Text

    if not versus.flips:
        return
    counts = {change: sum(flip.change == change for flip in versus.flips) for change in _STYLES}
    told = ", ".join(f"{count:,} {change}" for change, count in counts.items())
    yield Text(f"rows that differ by {visible(versus.aim)}: {told}", style="bold")
    listed = _first(found, MOST_LISTED)
    texts = [["expected", versus.b.name, versus.a.name, "of"], *(_texts(versus.aim, a, b) for _, a, b in listed)]
    first = [["", "row"], *([_change(versus, each), _number(each[0])] for each in listed)]
    room = width - INDENT - sum(column_width(column) + GAP for column in zip(*first, strict=True))
    head, *cut = fitted(texts, room, alike=3)
    rows: list[list[TableCell]] = [[(text, "dim") for text in (*first[0], *head)]]
    for (flip, _, _), (change, number), (expected, old, new, of) in zip(listed, first[1:], cut, strict=True):
        style = _STYLES[flip.change]
        rows.append([(change, style), number, expected, old, (new, style), of])
    yield from grid(rows, right=(1,), width=width, indent=INDENT)
    if len(versus.flips) > len(listed):
        yield from _wrapped(f"and {len(versus.flips) - len(listed):,} more (--json has all numbers)", width, "dim")


def _number(flip: Flip) -> str:
    return str(flip.row) if flip.row == flip.row_b else f"{flip.row} ({flip.row_b})"


def _texts(aim: str, a: Cell, b: Cell) -> list[str]:
    """Return what was expected of a row, what both sides gave, as the metric compared them, and its inputs."""
    expected, new = compared_values(a, aim)
    _, old = compared_values(b, aim)
    inputs = " · ".join(one_line(each) for each in a.fields.values() if each != expected)
    return [value_line(expected), b.flag or value_line(old), a.flag or value_line(new), inputs]


def _change(versus: Comparison, found: FlipCells) -> str:
    """Return what became of a row, with both scores where they are not right or wrong."""
    flip, *cells = found
    scores = [cell.scores.get(versus.aim) for cell in reversed(cells)]
    values = [score.value for score in scores if score is not None and score.value is not None]
    if len(values) < len(cells) or all(value in (0, 1) for value in values):
        return flip.change
    return f"{flip.change} {' → '.join(f'{value:.2g}' for value in values)}"


def _full(versus: Comparison, found: FlipCells) -> Iterator[Text]:
    """Yield one row: its fields, both answers with their scores, and the prompts word by word."""
    from rich.text import Text

    flip, a, b = found
    repeat = f", repeat {a.repeat + 1}" if versus.a.view.how["repeat"] > 1 else ""
    yield Text.assemble((f"row {flip.row}{repeat}  ", "bold"), (flip.change, _STYLES[flip.change]))
    yield from _indented(Text(outline(dict(a.fields))))
    if a.expect is not None and a.expect not in a.fields.values():
        yield from _indented(Text(outline({"expected": a.expect})))
    for side, cell in ((versus.b, b), (versus.a, a)):
        answer = {cell.flag: cell.problem} if cell.flag else cell.output
        yield from _indented(Text(outline({f"{side.name} answers": answer})))
        score = cell.scores.get(versus.aim)
        if score is not None:
            yield from _indented(Text(f"  {visible(versus.aim)}: {score_text(score)}", style="dim"))
    yield from _prompt_lines(_prompts(versus.b, b), _prompts(versus.a, a), versus)


def _prompt_lines(old: Sequence[SentPrompt], new: Sequence[SentPrompt], versus: Comparison) -> Iterator[Text]:
    from rich.text import Text

    if [each.text for each in old] == [each.text for each in new]:
        yield Text("  both were asked the same:" if old else "  no prompts are kept of it", style="dim")
        for prompt in new:
            yield from _indented(Text(f"{visible(prompt.call)}\n{prompt.text}"))
        return
    yield Text(visible(f"  prompts, [-{versus.b.name}-] {{+{versus.a.name}+}}:"), style="dim")
    for before, after in zip_longest(old, new, fillvalue=SentPrompt("")):
        yield Text(f"  {visible(after.call or before.call)}", style="dim")
        yield from _indented(marked_diff(before.text, after.text))


def _indented(text: Text) -> Iterator[Text]:
    from rich.text import Text

    return (Text("  ") + line for line in text.split("\n", allow_blank=True))


def _wrapped(told: str, width: int, style: str) -> Iterator[Text]:
    from rich.text import Text

    for at, line in enumerate(paragraph(visible(told), width=width - 2)):
        yield Text(("  " if at else "· ") + line, style=style)
