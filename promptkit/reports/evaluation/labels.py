"""Labels in the terminal: the screen of an answer that is asked, and the result of the labels."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from rich.text import Text

from promptkit.evaluation.answer_labels import AnswerLabel
from promptkit.evaluation.labelling.items import LabelItem
from promptkit.evaluation.labelling.levels import LabelLevels
from promptkit.evaluation.labelling.summary import FEWEST_PAIRS, Agreement, LabelledMean, LabelSummary
from promptkit.evaluation.record import MetricRecord
from promptkit.reports.evaluation.figures import metric_text
from promptkit.reports.layout import broken_text, grid, shortened
from promptkit.reports.text import counted, one_line, outline

MOST_INPUT_LINES = 8
MOST_ANSWER_LINES = 16
"""Lines of a text that are shown before the person asks for all of it."""
MOST_DIFFERENCES = 20
INDENT = "  "

KEYS = {
    "v": "type the right answer",
    "w": "type a reason for the label",
    "s": "skip this answer for now",
    "u": "undo: take the last label out of the file",
    "b": "back to the answer before",
    "a": "all of a text that is cut",
    "?": "this help, with the rubric",
    "q": "quit; all labels are kept",
}

OTHER_KEYS = "v value  w why  s skip  u undo  b back  a all  ? help  q quit"


def level_keys(levels: LabelLevels) -> dict[str, str]:
    """Return the key of each level, from the worst to the best: its own digit where it is one, else the next free one.

    `y` and `n`, for the best and the worst, are not among them.
    """
    digits = {name for name in levels.names if len(name) == 1 and name.isdigit()}
    free = iter([key for key in "1234567890-" if key not in digits])
    return {name if name in digits else next(free): name for name in levels.names}


def item_lines(
    item: LabelItem, levels: LabelLevels, width: int, *, head: str, label: AnswerLabel | None, whole: bool
) -> Iterator[Text]:
    """Yield the screen of an answer: what was asked, the answer, and the levels; never its variant or a judge's score.

    `head` tells how far the person is. Long texts are cut, unless `whole`.
    """
    rule = shortened(head, width)
    yield Text(f"── {rule} ".ljust(width, "─")[:width] if len(rule) + 4 < width else rule, style="dim")
    for name, value in item.shown.items():
        yield from _named_lines(str(name), value, width, None if whole else MOST_INPUT_LINES)
    if item.expected is not None:
        yield from _named_lines("a right answer", item.expected, width, None if whole else MOST_INPUT_LINES)
    yield from _named_lines("answer", item.answer, width, None if whole else MOST_ANSWER_LINES, style="bold")
    if label is not None:
        why = f", since {one_line(label.why)}" if label.why else ""
        yield from (Text(line, style="green") for line in broken_text(f"your label: {label.level}{why}", width))
    if levels.rubric:
        yield Text(shortened(one_line(levels.rubric), width), style="dim")
    yield from (Text(line, style="cyan") for line in broken_text(_choices(levels), width))
    yield from (Text(line, style="dim") for line in broken_text(OTHER_KEYS, width))


def _named_lines(name: str, value: Any, width: int, most: int | None, style: str = "") -> Iterator[Text]:
    yield Text(shortened(one_line(name), width), style="dim")
    text = outline(value) if value not in (None, "") else "(nothing)"
    room = max(1, width - len(INDENT))
    lines = [part for line in text.expandtabs(4).split("\n") for part in broken_text(line, room)]
    # Cutting one line off to say that it is cut would gain nothing.
    shown = lines if most is None or len(lines) <= most + 1 else lines[:most]
    yield from (Text(INDENT + line, style=style) for line in shown)
    if len(shown) < len(lines):
        rest = f"… {counted(len(lines) - len(shown), 'more line')}: a shows all"
        yield from (Text(INDENT + line, style="dim") for line in broken_text(rest, room))


def _choices(levels: LabelLevels) -> str:
    named = [f"{key} {name}" for key, name in level_keys(levels).items()] if len(levels.names) > 2 else []
    return "   ".join([*named, f"y {levels.best}", f"n {levels.worst}"])


def help_lines(levels: LabelLevels, width: int) -> Iterator[Text]:
    """Yield the rubric, the levels with their meanings and keys, and the other keys."""
    for line in levels.rubric.split("\n") if levels.rubric else ():
        yield from (Text(part) for part in broken_text(one_line(line), width))
    names = {"y": levels.best, "n": levels.worst}
    if len(levels.names) > 2 or levels.meanings:
        names = {**level_keys(levels), **names}
    rows = [(key, name, levels.meanings.get(name, "")) for key, name in names.items()]
    yield from grid(rows, width=width, indent=len(INDENT))
    yield from grid(list(KEYS.items()), width=width, indent=len(INDENT))


def start_lines(
    metric: str, run: int, answers: int, labelled: int, asked: int, variants: int, widths: Mapping[int, float]
) -> Iterator[str]:
    """Yield the number of answers, and the interval that so many labels give."""
    known = f", {labelled} labelled" if labelled else ""
    yield f"`{metric}` of run {run}: {counted(answers, 'answer')} of {counted(variants, 'variant')}{known}"
    if widths:
        shown = ", ".join(f"{count} ±{100 * half:.0f}" for count, half in widths.items())
        whose = " of each variant" if variants > 1 else ""
        yield f"labels drawn at random, and the points by which the share{whose} is then known: {shown}"
    yield f"{counted(asked, 'answer')} to label now; ? explains the keys, q ends and keeps all labels"


def second_start_lines(metric: str, run: int, others: int, asked: int) -> Iterator[str]:
    """Yield the number of answers that others have labelled, and of those that are asked."""
    yield f"`{metric}` of run {run}: {counted(others, 'answer')} labelled by others, in another order"
    yield f"{counted(asked, 'answer')} to label now; ? explains the keys, q ends and keeps all labels"


def summary_lines(summary: LabelSummary, width: int) -> Iterator[Text]:
    """Yield the result of labels: each variant's mean, the judge's agreement with people, and people's."""
    drawn = f"{summary.at_random} drawn at random, {summary.chosen} chosen"
    yield Text(f"{summary.metric}: {counted(summary.labelled, 'labelled answer')}, {drawn}", style="bold")
    rows = [(_variant_name(mean), *_mean_texts(mean, summary)) for mean in summary.means if mean.n]
    if rows:
        yield from grid([("", summary.levels[-1], "of", "mean"), *rows], right=(1, 2), width=width, indent=2)
    if summary.judge is not None:
        yield from _folded(f"judge against labels: {agreement_text(summary.judge)}", width)
    for agreement in summary.people:
        yield from _folded(f"{' and '.join(agreement.raters)}: {agreement_text(agreement)}", width)
    yield from _folded_all(_summary_notes(summary), width)


def _variant_name(mean: LabelledMean) -> str:
    return one_line(mean.variant)


def _mean_texts(mean: LabelledMean, summary: LabelSummary) -> tuple[str, str, str]:
    kind = "exact" if len(summary.levels) == 2 else "judge"
    record = MetricRecord(mean=mean.mean, low=mean.low, high=mean.high, n=mean.n, bounds=[0.0, 1.0], kind=kind)
    return str(mean.right), str(mean.n), metric_text(record)


def _summary_notes(summary: LabelSummary) -> Iterator[str]:
    known = any(mean.n for mean in summary.means)
    if summary.left_out and known:
        chosen = counted(summary.left_out, "chosen answer")
        yield f"{chosen} outside of the random sample, not counted in these figures: chosen answers are harder"
    if summary.gaps:
        gaps = f"{counted(summary.gaps, 'answer')} before the last of the random order without a label"
        if known:
            yield f"{gaps}: the figures hold if these are like the others"
        else:
            yield f"{gaps}, since answers changed or labels were imported: the labelled ones are no random sample yet"
    if summary.other:
        yield f"{counted(summary.other, 'label')} of answers that this run does not have: not used here"
    if summary.outdated:
        named = ", ".join(f"{level} ({count})" for level, count in sorted(summary.outdated.items()))
        yield f"labels by levels that the metric does not have any more, not used: {named}"


def agreement_text(agreement: Agreement) -> str:
    """Return an agreement: `42 of 50 equal, 84 % [71, 92]; Cohen's kappa 0.62 [0.41, 0.80]`."""
    share = f"{agreement.equal} of {agreement.n} equal"
    if agreement.low is not None and agreement.high is not None:
        mean = MetricRecord(
            mean=agreement.equal / agreement.n, low=agreement.low, high=agreement.high, bounds=[0.0, 1.0], kind="exact"
        )
        share = f"{share}, {metric_text(mean)}"
    if agreement.n < FEWEST_PAIRS:
        return f"{share}; no coefficient below {FEWEST_PAIRS} answers"
    if agreement.value is None:
        return f"{share}; no coefficient beyond chance, since all labels are alike"
    interval = ""
    if agreement.value_low is not None and agreement.value_high is not None:
        interval = f" [{agreement.value_low:.2f}, {agreement.value_high:.2f}]"
    return f"{share}; {agreement.method} {agreement.value:.2f}{interval}"


def disagreement_lines(summary: LabelSummary, width: int) -> Iterator[Text]:
    """Yield the counts of the levels that two people gave, and the answers on which they differ."""
    if summary.table:
        rows = sorted(summary.table.items(), key=lambda pair: (-pair[1], pair[0]))
        yield from grid([("levels", "answers"), *((pair, str(count)) for pair, count in rows)], right=(1,), indent=2)
    if not summary.disagreements:
        return
    yield Text(f"they differ on {counted(len(summary.disagreements), 'answer')}", style="bold")
    for found in summary.disagreements[:MOST_DIFFERENCES]:
        yield Text(shortened(f"row {found.item.row}: {_one_line(found.item.answer)}", width))
        for label in found.labels:
            why = f": {one_line(label.why)}" if label.why else ""
            yield from (
                Text(INDENT + line)
                for line in broken_text(f"{label.person or 'unnamed'} {label.level}{why}", width - len(INDENT))
            )
    if len(summary.disagreements) > MOST_DIFFERENCES:
        yield Text(f"and {len(summary.disagreements) - MOST_DIFFERENCES} more; --json has all", style="dim")


def _one_line(value: Any) -> str:
    return one_line(value if isinstance(value, str) else json.dumps(value, ensure_ascii=False))


def _folded(text: str, width: int) -> Iterator[Text]:
    yield from (Text(line if not at else INDENT + line) for at, line in enumerate(broken_text(text, width - 2)))


def _folded_all(texts: Iterator[str], width: int) -> Iterator[Text]:
    for text in texts:
        yield from _folded(f"· {text}", width)
