"""Error analysis of an evaluation: groups of failures, the largest first, each with typical rows."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from rich.text import Text

from promptkit.evaluation.cells.cell import RunView
from promptkit.evaluation.error_analysis.cases import ErrorCase
from promptkit.evaluation.error_analysis.groups import NOT_THE_PROMPTS, ErrorAnalysis, ErrorGroup, reply_of
from promptkit.evaluation.error_analysis.slices import ErrorCluster, ErrorSlice
from promptkit.evaluation.record import MetricRecord
from promptkit.reports.evaluation.failing_rows import inputs_line
from promptkit.reports.evaluation.figures import metric_parts, p_text
from promptkit.reports.layout import GAP, TableCell, column_width, fitted, grid, paragraph, value_line
from promptkit.reports.output import print_report
from promptkit.reports.text import one_line, visible

KINDS = {
    "unparsed": "unparsed",
    "truncated": "cut off",
    "other": "other wrong answers",
    "low": "the lowest scores",
    "unscored": "without a score (not the prompt's)",
    "missing": "missing: a server or tool failed (not the prompt's)",
    "defect": "failed unexpectedly",
}
INDENT = 4
ARROW = " → "
EXPLORATORY_NOTE = "exploratory: this was found in the same rows; evaluate on new ones before you believe it"
Q_NOTE = "q is the expected share of such finds that are due to chance"


def print_errors(errors: ErrorAnalysis, view: RunView) -> None:
    """Print the report."""
    print_report(lambda width: errors_lines(errors, view, width))


def errors_lines(errors: ErrorAnalysis, view: RunView, width: int) -> Iterator[Text]:
    """Yield the lines of the report, none wider than `width`."""
    for line in _lines(errors, view, width):
        line.truncate(width, overflow="ellipsis")
        yield line


def _lines(errors: ErrorAnalysis, view: RunView, width: int) -> Iterator[Text]:
    yield from _heading(errors, width)
    for group in errors.groups:
        yield Text()
        yield from _group_lines(group, view, width)
    if errors.slices:
        yield Text()
        yield from _slice_lines(errors, width)
    if errors.similar:
        yield Text()
        yield Text("failing rows with similar texts", style="bold")
        for cluster in errors.similar:
            yield from _similar_lines(cluster, width)
    notes = [*([Q_NOTE] if errors.slices else []), *([EXPLORATORY_NOTE] if errors.slices or errors.similar else [])]
    for number, text in enumerate([*notes, *errors.notes]):
        if not number:
            yield Text()
        for line in paragraph(visible(text), width=width, first="· ", rest="  "):
            yield Text(line, style="dim")


def _heading(errors: ErrorAnalysis, width: int) -> Iterator[Text]:
    yield Text.assemble(
        (one_line(errors.suite, width // 3), "bold"),
        f"  run {errors.run}  {one_line(errors.variant, width // 4)}, by {one_line(errors.metric, width // 4)}",
    )
    apart = sum(group.count for group in errors.groups if group.kind in NOT_THE_PROMPTS)
    text = f"{errors.failed:,} of {errors.read - apart:,} answers fail"
    if errors.graded and errors.low is not None:
        text = f"the lowest {text.removesuffix(' fail')}, with at most {errors.low:.3g} of 1"
    yield Text(text if errors.failed else "no answer fails")


def _group_lines(group: ErrorGroup, view: RunView, width: int) -> Iterator[Text]:
    if group.kind == "pair":
        expected, got = one_line(group.expected, width // 4), one_line(group.got, width // 4)
        title = f"{expected} → {got}"
        share = f"{_percent(group.share)} of failures, {group.count} of {group.of_expected:,} that should be {expected}"
    else:
        title = KINDS[group.kind] + (f": {one_line(group.defect, width // 2)}" if group.defect else "")
        share = f"{_percent(group.share)} of {'all cells' if group.kind in NOT_THE_PROMPTS else 'failures'}"
    yield Text.assemble((f"{group.count:,} × ", "bold red"), (title, "bold"), (f"  {share}", "dim"))
    yield from _rows(group, view, width)


def _rows(group: ErrorGroup, view: RunView, width: int) -> Iterator[Text]:
    """Yield typical rows: number, expected answer and answer unless the heading has them, and inputs."""
    first = [[_number(case), *([f"{case.goodness:.2f}"] if group.kind == "low" else [])] for case in group.rows]
    middle = [_middle(group.kind, case, view) for case in group.rows]
    texts = [
        [*(text for text, _ in cells), inputs_line(case.cell.fields, case.expected)]
        for cells, case in zip(middle, group.rows, strict=True)
    ]
    room = width - INDENT - sum(column_width(column) + GAP for column in zip(*first, strict=True))
    rows: list[list[TableCell]] = [
        [*numbers, *zip(line, [*(style for _, style in cells), ""], strict=True)]
        for numbers, line, cells in zip(first, fitted(texts, room, alike=len(middle[0])), middle, strict=True)
    ]
    yield from grid(rows, right=(0,), width=width, indent=INDENT)


def _middle(kind: str, case: ErrorCase, view: RunView) -> list[tuple[str, str]]:
    """Return the expected answer and the answer, or why there is none, with their styles; nothing of a pair."""
    expected = (value_line(case.expected), "green")
    if kind in ("unparsed", "truncated"):
        reply = reply_of(view.trace(case.cell.number))
        return [expected, (one_line(case.why) if reply is None else f"“{one_line(reply)}”", "yellow")]
    if kind in NOT_THE_PROMPTS:
        return [(one_line(case.why), "yellow")]
    return [expected, (value_line(case.got), "red")] if kind in ("low", "other") else []


def _percent(share: float) -> str:
    return f"{100 * share:.0f} %"


def _number(case: ErrorCase) -> str:
    """Return a cell's row, with its repeat where that is not the first."""
    cell = case.cell
    return f"{cell.row}/{cell.repeat + 1}" if cell.repeat else str(cell.row)


def _slice_lines(errors: ErrorAnalysis, width: int) -> Iterator[Text]:
    by = one_line(errors.by, width // 3) if errors.by is not None else None
    title = f"by {by}" if by is not None else "where more rows fail than elsewhere"
    yield Text.assemble((title, "bold"), (f"  of {errors.slices_tried} slices tried" if by is None else "", "dim"))
    head: list[TableCell] = [(name, "dim") for name in ("", "fail", "", "95 %", "elsewhere", "q")]
    yield from grid([head, *map(_slice_row, errors.slices)], right=(1, 2, 4, 5), width=width, indent=2)
    for slice_ in errors.slices if by is None else ():
        if len(errors.slices) > 1:
            yield Text(f"  {_slice_name(slice_)}", style="dim")
        yield from _inputs_of(slice_.typical, width)


def _slice_name(slice_: ErrorSlice) -> str:
    return f"{one_line(slice_.field, 24)} = {one_line(slice_.value, 24)}"


def _slice_row(slice_: ErrorSlice) -> list[TableCell]:
    rate = MetricRecord(kind="label", bounds=[0, 1], mean=slice_.rate, low=slice_.low, high=slice_.high)
    value, interval = metric_parts(rate)
    elsewhere = "" if slice_.elsewhere is None else _percent(slice_.elsewhere)
    return [
        _slice_name(slice_),
        f"{slice_.failed} of {slice_.rows}",
        value,
        interval,
        elsewhere,
        p_text(slice_.q),
    ]


def _similar_lines(cluster: ErrorCluster, width: int) -> Iterator[Text]:
    words = ", ".join(one_line(keyword.word, 24) for keyword in cluster.words)
    first = cluster.words[0]
    share = f"  {first.failed} of {first.rows} rows with “{one_line(first.word, 24)}” fail"
    yield Text.assemble((f"{cluster.count:,} × ", "bold red"), (words, "bold"), (share, "dim"))
    yield from _inputs_of(cluster.rows, width)


def _inputs_of(cases: Sequence[ErrorCase], width: int) -> Iterator[Text]:
    numbers = [_number(case) for case in cases]
    texts = [[*_expected_and_answer(case), inputs_line(case.cell.fields, case.expected)] for case in cases]
    # An arrow stands in the gap between the two values.
    room = width - INDENT - column_width(numbers) - GAP - len(ARROW) + GAP
    rows: list[list[TableCell]] = [
        [number, (ARROW.join(filter(None, line[:2])), "yellow" if case.fails != "wrong" else "red"), line[2]]
        for number, line, case in zip(numbers, fitted(texts, room, alike=2), cases, strict=True)
    ]
    yield from grid(rows, right=(0,), width=width, indent=INDENT)


def _expected_and_answer(case: ErrorCase) -> list[str]:
    """Return the expected answer and the answer; of a cell without one what is wrong with it."""
    if case.fails != "wrong":
        return ["", KINDS[case.fails]]
    return [value_line(case.expected), value_line(case.got)]
