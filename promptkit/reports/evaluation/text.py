"""A run of a suite as a person reads it: failures first, the numbers last, where the eye is when it ends."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from promptkit.reports.columns import paragraph
from promptkit.reports.evaluation.classes import class_lines
from promptkit.reports.evaluation.comparisons import comparison_lines, comparison_notes, threshold_lines
from promptkit.reports.evaluation.failures import failure_lines
from promptkit.reports.evaluation.fallbacks import fallback_lines
from promptkit.reports.evaluation.reference import reference_lines
from promptkit.reports.evaluation.tags import variant_tags
from promptkit.reports.evaluation.variants import metric_lines, metric_notes, spent_lines
from promptkit.reports.numbers import counted, seconds_text
from promptkit.reports.screen import report_console
from promptkit.reports.text import one_line, visible

if TYPE_CHECKING:
    from rich.text import Text

    from promptkit.evaluation import RunView

WIDTH = 80
"""How wide a report is where no terminal says it."""

WIDEST = 140
TIME = "time is the model's own, that of kept answers included"
OVER = ("done", "incomplete")
_STATUS = {"done": "bold green", "incomplete": "bold red", "interrupted": "bold yellow", "failed": "bold red"}


def evaluation_text(record: Mapping[str, Any], view: RunView | None = None, *, width: int = WIDTH) -> str:
    """Return what a run says, without colours; with a `view` its failing rows too."""
    return "\n".join(line.plain.rstrip() for line in evaluation_lines(record, view, width))


def print_evaluation(record: Mapping[str, Any], view: RunView | None = None, *, stderr: bool = False) -> None:
    """Print what a run says as a result: as wide as the terminal, in its colours; 80 characters wide elsewhere."""
    console = report_console(stderr=stderr)
    width = min(console.width, WIDEST) if console.is_terminal else WIDTH
    for line in evaluation_lines(record, view, width):
        console.print(line)


def evaluation_lines(record: Mapping[str, Any], view: RunView | None, width: int) -> Iterator[Text]:
    """Yield the lines of a run's report: parts with a blank line between them."""
    from rich.text import Text

    over = record["status"] in OVER
    parts = [
        heading(record, width),
        failure_lines(view, record, width) if view is not None else (),
        class_lines(record, width) if over else (),
        metric_lines(record["variants"], width, mark="" if over else "so far"),
        spent_lines(record["variants"], width),
        fallback_lines(record, width),
        comparison_lines(record, width),
        reference_lines(record, width),
        threshold_lines(record, width),
        note_lines(record, width) if over else (),
    ]
    first = True
    for part in parts:
        lines = list(part)
        if lines and not first:
            yield Text()
        first = False
        yield from lines


def heading(record: Mapping[str, Any], width: int) -> Iterator[Text]:
    """Yield what was run, how it ended, which model answered and why, and how it was made."""
    from rich.text import Text

    number = f"  run {record['run']}" if record.get("run") else ""
    status = record["status"]
    cells = sum(each["cases"] for each in record["variants"])
    size = [counted_large(record["rows"], "row")]
    size += [counted(len(record["variants"]), "variant")] if len(record["variants"]) > 1 else []
    size += [f"{record['repeat']} repeats"] if record["repeat"] > 1 else []
    yield Text.assemble(
        (one_line(record["suite"], width // 2), "bold"),
        number,
        "  ",
        (status, _STATUS.get(status, "")),
        f"  {' × '.join(size)}, {seconds_text(record['seconds'])}",
    )
    model = record["model"]
    why = f" (named by {model['why']})" if model["why"] else ""
    who = f"{model['replayed']}, a recording of {model['reference']}" if model.get("replayed") else model["reference"]
    told = [f"answered by {who}{why}{_digest(model)}"]
    for each in record["variants"]:
        if (other := each["sets"].get("model")) and other != model["reference"]:
            told.append(f"{each['name']}: answered by {other} (named by the variant)")
    for each in (*told, ", ".join(_made(record, cells))):
        for line in paragraph(visible(each), width=width):
            yield Text(line, style="dim")


def counted_large(count: int, what: str) -> str:
    """Return a number of things with separators between thousands."""
    return f"{count:,} {what}" if count == 1 else f"{count:,} {what}s"


def _digest(model: Mapping[str, Any]) -> str:
    digest = str(model.get("digest") or "").removeprefix("sha256:")
    return f" {digest[:12]}" if digest else ""


def _made(record: Mapping[str, Any], cells: int) -> Iterator[str]:
    if record["exact"]:
        yield "asked one at a time (exact)"
    else:
        at_once = record.get("in_flight")
        yield f"asked {at_once} at once" if at_once and at_once > 1 else "asked one at a time"
    if record.get("known"):
        yield f"{record['known']:,} of {counted_large(cells, 'cell')} known before"
    if record["limited"]:
        yield "limited by --limit or --filter: thresholds are off"


def note_lines(record: Mapping[str, Any], width: int) -> Iterator[Text]:
    """Yield what is to be known of the numbers, each once."""
    from rich.text import Text

    tags = variant_tags(record["variants"], width)
    said = (*record.get("notes", ()), *comparison_notes(record, tags), *metric_notes(record["variants"], tags), TIME)
    for told in dict.fromkeys(said):
        for at, line in enumerate(paragraph(visible(told), width=width - 2)):
            yield Text(("· " if not at else "  ") + line, style="dim")
    if record["status"] == "incomplete":
        yield from incomplete_lines(record, width)


def incomplete_lines(record: Mapping[str, Any], width: int) -> Iterator[Text]:
    """Yield that answers are missing, and what that means for the numbers."""
    from rich.text import Text

    missing = sum(each["missing"] for each in record["variants"])
    told = f"{counted_large(missing, 'cell')} without an answer: means are of those that have one"
    if not missing:
        told = "some answers have no score, since a metric or its judge failed: means are of those that have one"
    if len(record["variants"]) > 1 and not record["comparisons"]:
        told += "; nothing is compared before they are there"
    for line in paragraph(told, width=width):
        yield Text(line, style="bold red")
