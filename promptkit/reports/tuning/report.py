"""Report of a tuning run in a terminal: the first screen with the verdict and its reasons, then the details."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from rich.text import Text

from promptkit.evaluation.record import DifferenceRecord
from promptkit.evaluation.suite.generated import generated_note
from promptkit.reports.evaluation.figures import (
    difference_decimals,
    difference_parts,
    difference_unit,
    metric_decimals,
    metric_parts,
    number_text,
)
from promptkit.reports.layout import TableCell, grid, paragraph
from promptkit.reports.output import PIPE_WIDTH, plain_text, print_report
from promptkit.reports.text import counted, one_line, seconds_text, visible, warning_texts
from promptkit.reports.tuning.advice import advice, legend
from promptkit.reports.tuning.contributions import contribution_notes, measured_on, taken_back_texts
from promptkit.reports.tuning.evidence import ForestRow, curve_lines, forest_plot_lines
from promptkit.reports.tuning.turned import turned_lines
from promptkit.reports.tuning.weights import weights_texts
from promptkit.tuning.tune_record import (
    AblationRecord,
    CandidateRecord,
    ConfirmedDifference,
    RepeatabilityRecord,
    SplitMean,
    TuneRecord,
)

MOST_FRONT = 8
MOST_DECIMALS = 3

FEW_KEPT = 0.1
"""A share of the rows confirmed: start and incumbent may differ so far in answers from earlier runs unmentioned."""

_DIFF_COLOURS = {"+": "green", "-": "red", "@": "cyan"}
_STATUS = {"done": "bold green", "incomplete": "bold red", "interrupted": "bold yellow", "failed": "bold red"}
_STOP_REASONS = {
    "calls": "the budget held no more calls",
    "tokens": "the budget held no more tokens",
    "minutes": "the time of the budget is up",
    "interrupted": "interrupted: this is the best so far, and answers are kept",
    "failed": "a model, server or tool failed: this is the best so far, and answers are kept",
}


def tuning_text(record: TuneRecord, *, width: int = PIPE_WIDTH) -> str:
    """Return the report without colours."""
    return plain_text(tuning_lines(record, width))


def print_tuning(record: TuneRecord, *, stderr: bool = False) -> None:
    """Print the report."""
    print_report(lambda width: tuning_lines(record, width), stderr=stderr)


def tuning_lines(record: TuneRecord, width: int) -> Iterator[Text]:
    """Yield the lines of the report: parts with a blank line between them, those of the first screen first."""
    first_screen = (_heading, _verdict, _means, _ablation, turned_lines, _advice)
    details = (_legend, forest_plot_lines, curve_lines, _pareto_front, _diff, _written, _notes)
    parts = (*first_screen, *details)
    first = True
    for part in parts:
        lines = list(part(record, width))
        if lines and not first:
            yield Text()
        first = first and not lines
        yield from lines


def _heading(record: TuneRecord, width: int) -> Iterator[Text]:
    model, rows = record.model, record.rows
    yield Text.assemble(
        (one_line(f"{record.target} on {record.suite}", width // 2), "bold"),
        f"  run {record.run}  ",
        (record.status, _STATUS.get(record.status, "")),
        f"  {spent_text(record)}",
    )
    why = f" (named by {model.why})" if model.why else ""
    facts = [
        f"answered by {model.reference}{why} {model.short_digest}".rstrip(),
        f"optimizer {record.optimizer}, seed {record.seed}; {counted(rows.search, 'row')} to search on, "
        f"{rows.pool} for examples, {rows.confirm} to confirm",
    ]
    if reason := _STOP_REASONS.get(record.stopped_by):
        facts.append(reason)
    yield from _paragraphs(facts, width, "dim")


def spent_text(record: TuneRecord) -> str:
    """Return the cost of the run: `597 calls (12 cached), 40,111 tokens, 1 min 11 s`."""
    cached = f" ({record.cached:,} cached)" if record.cached else ""
    return f"{record.calls:,} calls{cached}, {record.tokens:,} tokens, {seconds_text(record.seconds)}"


def _verdict(record: TuneRecord, width: int) -> Iterator[Text]:
    found = record.difference
    by = f": {difference_text(record, found)} by {record.metric.name}" if found is not None else ""
    style = "bold green" if record.verdict == "improved" else "bold yellow"
    for line in paragraph(visible(f"{record.verdict}{by}{holdout_text(found)}{record.verdict_limit}"), width=width):
        yield Text(line, style=style)
    yield from _paragraphs(verdict_reasons(record), width)
    yield from _paragraphs(weights_texts(record), width)


def holdout_text(found: ConfirmedDifference | None) -> str:
    """Return the rows that a difference was measured on: ` on 142 rows that the search never saw`."""
    return f" on {counted(found.n, found.unit)} that the search never saw" if found is not None else ""


def _looks_text(record: TuneRecord) -> str:
    """Return the extent of a confirmation in looks; nothing for one that asked all rows."""
    found, course = record.difference, record.confirmation
    if found is None or course is None or course.looks < 2 or found.n >= course.units:
        return ""
    pairs = f"{found.n} of {course.units} {found.unit}s"
    return f"asked in pairs, ended after {pairs}, at look {course.look} of {course.looks}"


def verdict_reasons(record: TuneRecord) -> Iterator[str]:
    """Yield the reasons for the verdict, and its limits."""
    found, needed = record.difference, record.rows_needed
    yield record.why
    if record.rows.generated:
        yield f"of the rows to confirm on, {generated_note(record.rows.generated, record.rows.confirm)}"
    if found is not None:
        better = counted(found.better, found.unit)
        interval = "" if record.ordinal > 1 else f"; the interval is at {100 * found.level:g} %"
        yield f"{better} better, {found.worse} worse{interval}"
        if looks := _looks_text(record):
            yield looks
    constant = record.constant
    if constant is not None and constant.difference is not None and not constant.beaten:
        gain = difference_text(record, constant.difference)
        yield f"against always answering `{one_line(constant.answer)}`, which takes no model: {gain}"
    if record.repeatability is not None and record.repeatability.changed:
        yield from _repeatability_texts(record, record.repeatability)
    if needed is not None and record.verdict != "improved":
        unit = found.unit if found is not None else "row"
        yield f"about {needed:,} confirm {unit}s would show a gain of 5 points four times in five"
    if record.ordinal > 1:
        level = f", so its interval is at {100 * found.level:g} %" if found is not None else ""
        yield (
            f"this is verdict {record.ordinal} on these confirm rows{level}: each further one halves the error rate; "
            "new rows start again at 95 %"
        )


def _repeatability_texts(record: TuneRecord, found: RepeatabilityRecord) -> Iterator[str]:
    """Yield the limits of a verdict on answers that differ when they are asked again."""
    text = f"the model answered {found.changed} of {counted(found.rows, 'row')} otherwise when asked again"
    if found.margin is not None:
        margin = DifferenceRecord(difference=found.margin, low=-found.margin, high=found.margin)
        value, _ = difference_parts(record.metric.as_metric(), margin)
        unit = difference_unit(record.metric.as_metric(), margin)
        text += f": a score on the confirm rows may differ by about ±{value.lstrip('+')} {unit} in a second run"
    yield f"{text.rstrip()}; the interval includes this" if record.difference is not None else text.rstrip()
    asked = record.confirmation.rows if record.confirmation else record.rows.confirm
    if abs(found.start_kept - found.incumbent_kept) > FEW_KEPT * asked:
        yield (
            f"answers of an earlier run: {found.start_kept} of the start, {found.incumbent_kept} of the incumbent; if "
            "the model was served otherwise then, the difference includes that too"
        )


def difference_text(record: TuneRecord, found: ConfirmedDifference | AblationRecord | ForestRow) -> str:
    """Return a difference of the objective with its interval: `+10 points [+2, +18]`."""
    metric, difference = record.metric.as_metric(), _as_difference(found)
    value, interval = difference_parts(metric, difference)
    return " ".join(filter(None, (value, difference_unit(metric, difference), interval)))


def _as_difference(found: ConfirmedDifference | AblationRecord | ForestRow) -> DifferenceRecord:
    value = found.mean if isinstance(found, ConfirmedDifference) else found.difference
    return DifferenceRecord(difference=value, low=found.low, high=found.high)


def _means(record: TuneRecord, width: int) -> Iterator[Text]:
    """Yield the means of start and incumbent on both sides of the split."""
    name = best_name(record)
    sides = compared_sides(record, name)
    known = [mean for _, *means in sides for mean in means if mean is not None]
    if not known:
        if record.best.choices:
            yield from _paragraphs([f"{name}: {choices_text(record)}"], width)
        return
    decimals = metric_decimals(record.metric.with_mean(mean) for mean in known)
    has_shared = any(shared for _, _, shared in sides)
    heads = ["confirm rows", *(["search rows of both, optimistic"] if has_shared else [])]
    rows: list[list[TableCell]] = [["", *((head, "dim") for head in heads)]]
    for title, *means in sides:
        cells: list[TableCell] = [(title, "bold")]
        for mean in means[: len(heads)]:
            parts = () if mean is None else metric_parts(record.metric.with_mean(mean), decimals)
            cells.append("–" if mean is None else " ".join([*parts, f"of {mean.n}"]))
        rows.append(cells)
    yield from grid(rows, width=width)
    yield from _paragraphs(warning_notes(record), width)
    yield from _paragraphs([f"{name}: {choices_text(record)}"], width)
    yield from _paragraphs(taken_back_texts(record), width, "dim")


def compared_sides(record: TuneRecord, name: str) -> list[tuple[str, SplitMean | None, SplitMean | None]]:
    """Return start, best candidate, its prompt without weights and constant answer by name, each with its means on
    confirm rows and search rows.

    Start and best candidate are compared on the search rows of both.
    """
    sides = [
        ("start", record.baseline.confirm, record.baseline.shared),
        (name, record.best.confirm, record.best.shared),
    ]
    if record.weights is not None and record.weights.prompt.confirm is not None:
        sides.append(("without weights", record.weights.prompt.confirm, None))
    if (constant := record.constant) is not None:
        sides.append((f"always `{one_line(constant.answer)}`", constant.confirm, constant.search))
    return sides


def warning_notes(record: TuneRecord) -> Iterator[str]:
    """Yield the counts of each warning of start and incumbent, on the rows that decide as far as there are."""
    for title, side in (("start", record.baseline), (best_name(record), record.best)):
        mean = side.confirm or side.search
        if mean is not None and mean.warnings:
            of = "confirm" if side.confirm else "search"
            yield f"{title}: {', '.join(warning_texts(mean.warnings, mean.warned_by))}, of {mean.n} {of} rows"


def best_name(record: TuneRecord) -> str:
    """Return the name of the best candidate: "so far" where the run ended before its choice."""
    return "incumbent" if record.status == "done" or record.ordinal else "so far"


def choices_text(record: TuneRecord) -> str:
    """Return the choices of the best candidate."""
    choices = record.best.choices
    return (
        " · ".join(f"{parameter}: {choice}" for parameter, choice in choices.items()) or "the target as it is written"
    )


def _ablation(record: TuneRecord, width: int) -> Iterator[Text]:
    changes = record.ablation
    if not changes:
        return
    metric = record.metric.as_metric()
    unit = difference_unit(metric)
    decimals = min(difference_decimals(metric, map(_as_difference, changes)), 1 if unit == "points" else MOST_DECIMALS)
    yield Text(f"what each change brought{f', {unit}' if unit else ''}", style="bold")
    rows: list[list[TableCell]] = []
    for change in changes:
        value, interval = difference_parts(metric, _as_difference(change), decimals)
        rows.append([f"{change.axis}: {change.level}", value, (interval, "dim"), (measured_on(change), "dim")])
    yield from grid(rows, right=(1,), width=width, indent=2)
    yield from _paragraphs(contribution_notes(record), width, "dim")


def _advice(record: TuneRecord, width: int) -> Iterator[Text]:
    texts = list(advice(record))
    if texts:
        yield Text("what to do next", style="bold")
    yield from _paragraphs(texts, width, indent="  ")


def _legend(record: TuneRecord, width: int) -> Iterator[Text]:
    yield from _paragraphs(legend(record), width, "dim")


def _pareto_front(record: TuneRecord, width: int) -> Iterator[Text]:
    """Yield the candidates that no other dominates, the cheapest first."""
    front = sorted(
        (candidate for candidate in record.candidates if candidate.front), key=lambda candidate: candidate.tokens or 0
    )
    if len(front) < 2:
        return
    yield from _paragraphs(
        ["candidates that no other beats in score, tokens, time and unparsed answers at once (search rows)"],
        width,
        "bold",
    )
    shown = _spread(front)
    metrics = [record.metric.with_mean(candidate) for candidate in shown]
    decimals = metric_decimals(metrics)
    is_unparsed = any(candidate.unparsed for candidate in shown)
    heads = [record.metric.name, "", "tokens", "time", "rows", *(["unparsed"] if is_unparsed else [])]
    rows: list[list[TableCell]] = [[(name, "dim") for name in heads]]
    for candidate, metric in zip(shown, metrics, strict=True):
        value, interval = metric_parts(metric, decimals)
        unparsed = candidate.unparsed or 0.0
        rows.append(
            [
                value,
                (interval, "dim"),
                number_text(candidate.tokens, 0),
                seconds_text(candidate.latency or 0.0),
                str(candidate.rows),
                *([(f"{100 * unparsed:.0f} %", "red" if unparsed else "")] if is_unparsed else []),
            ]
        )
    head, *lines = grid(rows, right=(0, 2, 3, 4, 5), width=width, indent=2)
    yield head
    # A name under its numbers may be long without pushing them off the screen.
    for candidate, line in zip(shown, lines, strict=True):
        yield line
        mark = "incumbent: " if candidate.pick else "start: " if candidate.start else ""
        yield from _paragraphs([mark + one_line(candidate.name, 2 * width - 24)], width, "dim", indent="    ")
    if left := len(front) - len(shown):
        yield Text(f"  and {left} between these", style="dim")


def _spread(front: list[CandidateRecord]) -> list[CandidateRecord]:
    """Return some candidates of a front, evenly from the cheapest to the dearest, with the incumbent and the start."""
    if len(front) <= MOST_FRONT:
        return front
    step = (len(front) - 1) / (MOST_FRONT - 1)
    chosen = {round(at * step) for at in range(MOST_FRONT)}
    chosen |= {at for at, candidate in enumerate(front) if candidate.pick or candidate.start}
    return [front[at] for at in sorted(chosen)]


def _diff(record: TuneRecord, width: int) -> Iterator[Text]:
    for line in record.diff.splitlines():
        yield Text(visible(line), style=_DIFF_COLOURS.get(line[:1], "") if line[:3] not in ("+++", "---") else "bold")


def _written(record: TuneRecord, width: int) -> Iterator[Text]:
    if record.written:
        yield from _paragraphs(written_texts(record), width)


def written_texts(record: TuneRecord) -> Iterator[str]:
    """Yield the files that were written, and the one that was replaced: with `--apply` the last."""
    replaced = record.written[-1:] if record.applied else []
    for verb, names in (("written", record.written[: len(record.written) - len(replaced)]), ("replaced", replaced)):
        if names:
            yield f"{verb}: {', '.join(names)}"


def _notes(record: TuneRecord, width: int) -> Iterator[Text]:
    notes = [*record.notes, *(line for stage in record.stages for line in stage.notes)]
    for text in dict.fromkeys(notes):
        for at, line in enumerate(paragraph(visible(text), width=width - 2)):
            yield Text(("· " if not at else "  ") + line, style="dim")


def _paragraphs(texts: Iterable[str], width: int, style: str = "", *, indent: str = "") -> Iterator[Text]:
    for text in texts:
        for line in paragraph(visible(text), width=width, first=indent, rest=indent):
            yield Text(line, style=style)
