"""A trained head as people read it."""

from __future__ import annotations

from collections.abc import Iterator
from shlex import join
from typing import TYPE_CHECKING

from promptkit.reports.layout import columns
from promptkit.reports.text import counted, seconds_text, visible

if TYPE_CHECKING:
    from promptkit.answers.head import Head, MeasuredShare


def head_text(head: Head, seconds: float) -> str:
    """Return the report of a training: accuracies beside those of plain baselines, and what the head answers."""
    lines = [
        f"{visible(head.step)}: {counted(len(head.rows), 'row')}, vectors of {head.where} · {seconds_text(seconds)}"
    ]
    rows = [("", "accuracy", "95 % interval")]
    rows += [
        _row("head", head.accuracy),
        _row("TF-IDF of words and characters", head.tfidf),
        _row("the most frequent label", head.majority),
    ]
    lines += columns(rows, right=[1])
    lines += _cascade(head)
    return "\n".join(lines)


def _row(name: str, share: MeasuredShare) -> tuple[str, str, str]:
    return name, f"{100 * share.mean:.1f} %", f"{100 * share.low:.1f} to {100 * share.high:.1f} %"


def _cascade(head: Head) -> Iterator[str]:
    cascade = head.cascade
    if cascade.among_answered is None:
        yield f"at a risk of {head.risk:g} it answers no row by itself: more rows, or a larger --risk, would let it"
        return
    yield (
        f"at a risk of {head.risk:g} it answers {cascade.answers:.0%} of the rows by itself, "
        f"{cascade.among_answered:.1%} of these rightly ({cascade.wrongly:.1%} of all rows wrongly)"
    )
    yield "the accuracies are cross-validated; the threshold was chosen on the same rows"
    if head.tfidf.mean >= head.accuracy.mean:
        yield "TF-IDF is as good here: rows like these need no language model"


def next_lines(head: Head, target: str, evaluation: str, *, decides: bool) -> Iterator[str]:
    """Yield what to do next with a head: `evaluation` is the command that measures it.

    `decides` tells that the step has `decide: head` already.
    """
    yield "next:"
    if not decides:
        yield f"  decide: head    # in the step `{head.step}`; `otherwise: score` for what it abstains from"
    yield f"  {join(['promptkit', 'run', target])}"
    yield f"  {evaluation}    # rows that the training has not seen"
