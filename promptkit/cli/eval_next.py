"""What a person would type after `promptkit eval`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import islice
from shlex import join
from typing import TYPE_CHECKING, Any

from promptkit.cli.options import Asking

if TYPE_CHECKING:
    from promptkit.evaluation import Evaluated

MOST = 3


def show_next(ended: Evaluated, named: str, asking: Asking, *, html: bool) -> None:
    """Show the two or three lines that go on from a run, with what was typed that decides its answers.

    `named` is the suite as it was typed, `html` tells that a page was written.
    """
    from promptkit.reports import note

    note("next:")
    for line, what in islice(_next(ended, named, asking, html=html), MOST):
        note(f"  {line}  # {what}")


def _next(ended: Evaluated, named: str, asking: Asking, *, html: bool) -> Iterator[tuple[str, str]]:
    options = ["--model", asking.model] if asking.model else []
    typed = join(["promptkit", "eval", named, *options, *(part for each in asking.sets for part in ("--set", each))])
    record = ended.record
    if ended.status == "incomplete":
        retry = "" if ended.gave_up else " --retry-errors"
        yield f"{typed}{retry}", "only what has no answer"
    if _fails(record["variants"][0]):
        yield f"promptkit runs show {ended.number} --failures", "what failed, with its messages"
    if record["limited"]:
        yield typed, "all rows, these not asked again"
    if not html:
        yield f"{typed} --html {record['suite']}.html", "as one page"
    yield f"promptkit runs show {ended.number}", "this again"


def _fails(variant: Mapping[str, Any]) -> bool:
    """Tell whether some of a variant's cells have no answer that can be read, or less than the best by the aim."""
    aim: Mapping[str, Any] = next(iter(variant["metrics"].values()))
    best = aim["bounds"] and aim["bounds"][1 if aim["higher_is_better"] else 0]
    short = best is not None and aim["mean"] not in (best, None)
    return bool(short or variant["missing"] or variant["unparsed"] or variant["truncated"])
