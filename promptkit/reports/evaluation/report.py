"""Report of an evaluation in a terminal: failing rows first, metrics and notes last."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from rich.text import Text

from promptkit.evaluation.cells.cell import RunView
from promptkit.evaluation.record import Defect, EvalRecord, MetricRecord
from promptkit.evaluation.suite.generated import generated_note
from promptkit.reports.evaluation.comparisons import baseline_lines, comparison_lines, comparison_notes, threshold_lines
from promptkit.reports.evaluation.failing_rows import failing_row_lines
from promptkit.reports.evaluation.figures import metric_parts
from promptkit.reports.evaluation.judges import judge_lines
from promptkit.reports.evaluation.main_effects import main_effect_lines, main_effect_notes
from promptkit.reports.evaluation.plots import bar_lines, forest_lines
from promptkit.reports.evaluation.rankings import ranking_parts
from promptkit.reports.evaluation.score_cost import front_lines
from promptkit.reports.evaluation.serving import serving_lines
from promptkit.reports.evaluation.turns import simulated_user_notes, tool_call_notes, turn_lines
from promptkit.reports.evaluation.variants import (
    fallback_lines,
    metric_lines,
    metric_notes,
    spent_lines,
    unrecorded_notes,
    variant_tags,
    warning_lines,
)
from promptkit.reports.layout import TableCell, grid, paragraph, shortened
from promptkit.reports.output import PIPE_WIDTH, plain_text, print_report
from promptkit.reports.text import counted, one_line, seconds_text, visible

TIME_NOTE = "time is the model's own, that of cached answers included"
ENDED = ("done", "incomplete")
_STATUS = {"done": "bold green", "incomplete": "bold red", "interrupted": "bold yellow", "failed": "bold red"}


def evaluation_text(record: EvalRecord, view: RunView | None = None, *, width: int = PIPE_WIDTH) -> str:
    """Return the report without colours; with a `view` it has the run's failing rows too."""
    return plain_text(evaluation_lines(record, view, width))


def print_evaluation(record: EvalRecord, view: RunView | None = None, *, stderr: bool = False) -> None:
    """Print the report."""
    print_report(lambda width: evaluation_lines(record, view, width), stderr=stderr)


def evaluation_lines(record: EvalRecord, view: RunView | None, width: int) -> Iterator[Text]:
    """Yield the lines of the report: parts with a blank line between them."""
    has_ended = record.status in ENDED
    parts = [
        heading(record, width),
        failing_row_lines(view, record, width) if view is not None else (),
        class_lines(record, width) if has_ended else (),
        turn_lines(record, width) if has_ended else (),
        metric_lines(record.variants, width, mark="" if has_ended else "so far"),
        bar_lines(record, width) if has_ended else (),
        spent_lines(record.variants, width),
        warning_lines(record.variants, width),
        fallback_lines(record, width),
        judge_lines(record.variants, width) if has_ended else (),
        comparison_lines(record, width),
        forest_lines(record, width),
        front_lines(record, width) if has_ended else (),
        ranking_parts(record, width),
        main_effect_lines(record, width),
        baseline_lines(record, width),
        serving_lines(record.serving, record.variants, width),
        threshold_lines(record, width),
        note_lines(record, width) if has_ended else (),
    ]
    first = True
    for part in parts:
        lines = list(part)
        if lines and not first:
            yield Text()
        first = False
        yield from lines


def heading(record: EvalRecord, width: int) -> Iterator[Text]:
    """Yield the suite, how the run ended, the model that answered and why, and how requests were sent."""
    number = f"  run {record.run}" if record.run else ""
    size = [counted_large(record.rows, "row")]
    size += [counted(len(record.variants), "variant")] if len(record.variants) > 1 else []
    size += [f"{record.repeat} repeats"] if record.repeat > 1 else []
    yield Text.assemble(
        (one_line(record.suite, width // 2), "bold"),
        number,
        "  ",
        (record.status, _STATUS.get(record.status, "")),
        f"  {' × '.join(size)}, {seconds_text(record.seconds)}",
    )
    if record.generated:
        for line in paragraph(generated_note(record.generated, record.rows), width=width):
            yield Text(line, style="bold yellow")
    model = record.model
    why = f" (named by {model.why})" if model.why else ""
    name = f"{model.replayed}, a recording of {model.reference}" if model.replayed else model.reference
    facts = [f"answered by {name}{why} {model.short_digest}".rstrip()]
    for variant in record.variants:
        if (other := variant.sets.get("model")) and other != model.reference:
            facts.append(f"{variant.name}: answered by {other} (named by the variant)")
    for fact in (*facts, ", ".join(_request_facts(record))):
        for line in paragraph(visible(fact), width=width):
            yield Text(line, style="dim")


def counted_large(count: int, what: str) -> str:
    """Return a number of things with separators between thousands."""
    return f"{count:,} {what}" if count == 1 else f"{count:,} {what}s"


def _request_facts(record: EvalRecord) -> Iterator[str]:
    if record.exact:
        yield "one request at a time (exact)"
    else:
        at_once = record.in_flight
        yield f"{at_once} concurrent requests" if at_once and at_once > 1 else "one request at a time"
    if record.known:
        cells = sum(variant.cases for variant in record.variants)
        yield f"{record.known:,} of {counted_large(cells, 'cell')} cached"
    if record.limited:
        yield "limited by --limit or --filter: thresholds are off"


def note_lines(record: EvalRecord, width: int) -> Iterator[Text]:
    """Yield the notes on the numbers, each once."""
    tags = variant_tags(record.variants, width)
    in_heading = {generated_note(record.generated, record.rows)}
    own = (text for text in record.notes if text not in in_heading)
    notes = [*own, *comparison_notes(record, tags), *main_effect_notes(record)]
    notes += metric_notes(record.variants, tags)
    notes += [*tool_call_notes(record.variants, tags), *simulated_user_notes(record.variants, tags)]
    notes += [*unrecorded_notes(record.variants, tags), TIME_NOTE]
    for text in dict.fromkeys(notes):
        for at, line in enumerate(paragraph(visible(text), width=width - 2)):
            yield Text(("· " if not at else "  ") + line, style="dim")
    if record.status == "incomplete":
        yield from incomplete_lines(record, width)


def incomplete_lines(record: EvalRecord, width: int) -> Iterator[Text]:
    """Yield that answers are missing, and what that means for the numbers."""
    missing = sum(variant.missing for variant in record.variants)
    text = f"{counted_large(missing, 'cell')} without an answer: means are of those that have one"
    if not missing:
        text = "some answers have no score, since a metric or its judge failed: means are of those that have one"
    if len(record.variants) > 1 and not record.comparisons:
        text += "; nothing is compared before they are there"
    for line in paragraph(text, width=width):
        yield Text(line, style="bold red")


# Classes: a confusion matrix with each class's recall and precision where it fits, else the pairs most often confused.

MOST_CLASSES = 12
MOST_PAIRS = 5
WIDEST_LABEL = 16
FLAG_CLASSES = {"(unparsed)": "unparsed", "(truncated)": "cut off"}

_Confusion = Mapping[str, Mapping[str, int]]


def class_lines(record: EvalRecord, width: int) -> Iterator[Text]:
    """Yield the classes of the baseline's first metric that has some."""
    variant = record.variants[0]
    parts = next((metric.parts for metric in variant.metrics.values() if metric.parts.get("confusion")), None)
    if parts is None:
        return
    of = f"{shortened(visible(variant.name), width // 3)}: " if len(record.variants) > 1 else ""
    lines = _matrix(parts["confusion"], parts.get("classes") or {})
    if lines is not None and max(line.cell_len for line in lines) <= width:
        yield Text(f"{of}expected classes down, answers across", style="bold")
        yield from lines
        return
    pairs = _pairs(parts["confusion"])
    if pairs:
        yield Text(f"{of}most often confused", style="bold")
        yield from grid(pairs, right=(0,), width=width, indent=2)


def _matrix(confusion: _Confusion, classes: Mapping[str, Any]) -> list[Text] | None:
    """Return the matrix, right answers in bold; None where there are more classes than a person takes in at once."""
    predicted = list(confusion)
    others = {label for row in confusion.values() for label in row} - set(predicted)
    predicted += sorted(others - FLAG_CLASSES.keys()) + [label for label in FLAG_CLASSES if label in others]
    if len(predicted) > MOST_CLASSES:
        return None
    head: list[TableCell] = ["", *((_label(label), "dim") for label in predicted), ("recall", "dim"), ""]
    rows: list[list[TableCell]] = [head]
    for expected, row in confusion.items():
        counts = [_count(row.get(label, 0), right=label == expected) for label in predicted]
        value, interval = metric_parts(_class_metric(classes.get(expected, {}), "recall"))
        rows.append([_label(expected), *counts, value, interval])
    precisions = [
        metric_parts(_class_metric(classes.get(label, {}), "precision"))[0] if label in classes else ""
        for label in predicted
    ]
    rows.append([("precision", "dim"), *precisions])
    return grid(rows, right=range(1, len(predicted) + 2), indent=2)


def _class_metric(values: Mapping[str, Any], name: str) -> MetricRecord:
    """Return a class's recall or precision as a metric that is a share."""
    return MetricRecord(
        kind="label",
        bounds=[0, 1],
        mean=values.get(name),
        low=values.get(f"{name}_low"),
        high=values.get(f"{name}_high"),
    )


def _count(count: int, *, right: bool) -> TableCell:
    if not count:
        return ("·", "dim")
    return (f"{count:,}", "bold green" if right else "red")


def _label(label: str) -> str:
    return FLAG_CLASSES.get(label) or shortened(label, WIDEST_LABEL)


def _pairs(confusion: _Confusion) -> list[list[TableCell]]:
    pairs = [
        (count, expected, label)
        for expected, row in confusion.items()
        for label, count in row.items()
        if label != expected and count
    ]
    pairs.sort(key=lambda pair: (-pair[0], pair[1], pair[2]))
    return [[f"{count:,} ×", f"{_label(expected)} → {_label(label)}"] for count, expected, label in pairs[:MOST_PAIRS]]


# Exceptions that nothing foresaw, of an evaluation or a tuning run.

MOST_DEFECTS = 3


def defects_text(defects: Sequence[Defect], run: int | None) -> str:
    """Return the number of cells of a run that met a defect, with the defect and the way to report it; nothing where
    none did.
    """
    if not defects:
        return ""
    named = [f"{defect.defect} ({defect.cells})" for defect in defects[:MOST_DEFECTS]]
    more = [f"{len(defects) - MOST_DEFECTS} others"] if len(defects) > MOST_DEFECTS else []
    cells = counted(sum(defect.cells for defect in defects), "cell")
    command = "--json" if run is None else f"`promptkit runs show {run} --json`"
    return (
        f"{cells} failed by a defect of promptkit or of the project's code: {', '.join([*named, *more])}; "
        f"{command} has the traceback under `defects`, please report it"
    )
