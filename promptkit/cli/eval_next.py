"""What a person would type after `promptkit eval`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from shlex import join
from typing import TYPE_CHECKING, Any

from promptkit.cli.options import Asking

if TYPE_CHECKING:
    from promptkit.evaluation import Evaluated

MOST = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Typed:
    """What was typed that decides which cells a run has: the suite's name, `how` its rows are asked, and `rows`: which
    of them are."""

    named: str
    how: Sequence[str] = ()
    rows: Sequence[str] = ()


def typed_options(**values: str | int | bool | Sequence[str] | None) -> list[str]:
    """Return options as they are typed: `exact=True` as `--exact`, one with several values once for each."""
    found: list[str] = []
    for name, value in values.items():
        option = f"--{name.replace('_', '-')}"
        if value is True:
            found.append(option)
        elif isinstance(value, list | tuple):
            found += [part for each in value for part in (option, str(each))]
        elif value is not None and value is not False:
            found += [option, str(value)]
    return found


def show_next(ended: Evaluated, typed: Typed, asking: Asking, *, html: bool) -> None:
    """Show the two or three lines that go on from a run, with what was typed that decides its answers.

    `html` tells that a page was written.
    """
    from promptkit.reports import note

    note("next:")
    for line, what in islice(_next(ended, typed, asking, html=html), MOST):
        note(f"  {line}  # {what}")


def _next(ended: Evaluated, typed: Typed, asking: Asking, *, html: bool) -> Iterator[tuple[str, str]]:
    options = typed_options(model=asking.model or None, set=asking.sets)
    whole = ["promptkit", "eval", typed.named, *options, *typed.how]
    record = ended.record
    missing = sum(each["missing"] for each in record["variants"])
    if ended.status == "incomplete" and missing > ended.wrong:
        retry = [] if ended.gave_up else ["--retry-errors"]
        yield join([*whole, *typed.rows, *retry]), "only what has no answer"
    if record["before"] is not None:
        yield f"promptkit runs compare {record['before']} {ended.number}", f"what changed since run {record['before']}"
    if _fails(record["variants"][0]):
        yield f"promptkit runs show {ended.number} --failures", "what failed, with its messages"
    if record["limited"]:
        yield join(whole), "all rows, these not asked again"
    if not html:
        yield join([*whole, *typed.rows, "--html", f"{record['suite']}.html"]), "as one page"
    yield f"promptkit runs show {ended.number}", "this again"


def _fails(variant: Mapping[str, Any]) -> bool:
    """Tell whether some of a variant's cells have no answer that can be read, or less than the best by the aim."""
    aim: Mapping[str, Any] = next(iter(variant["metrics"].values()))
    best = aim["bounds"] and aim["bounds"][1 if aim["higher_is_better"] else 0]
    # A baseline ties with itself: that is the best a pairwise judge says of it.
    short = best is not None and aim["kind"] != "pairwise" and aim["mean"] not in (best, None)
    return bool(short or variant["missing"] or variant["unparsed"] or variant["truncated"])
