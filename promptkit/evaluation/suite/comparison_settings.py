"""Settings of a suite's comparisons: margins of metrics, and which variants are compared."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from math import inf
from typing import TYPE_CHECKING

from promptkit.errors import InputError, Problem, nearest
from promptkit.evaluation.metrics.base import Metric

if TYPE_CHECKING:
    from promptkit.evaluation.suite.suite import Suite

MARGIN_HINT = "0.02 is 2 points of a share, and 2 % of an amount such as tokens"
MOST_PAIRED_VARIANTS = 20
"""Variants of which all pairs can be compared: 190 pairs, whose intervals are wide already."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ComparisonSettings:
    """The key `compare` of a suite.

    `margins` maps metrics to the largest loss that does not matter, in the metric's unit; of an amount without bounds,
    such as tokens, as a share. With `all_pairs` each variant is compared with each other one, else with the first.
    """

    margins: Mapping[str, float] = field(default_factory=dict)
    all_pairs: bool = False


def margin_problems(margins: Mapping[str, float], metrics: Sequence[Metric]) -> Iterator[tuple[str, str, str | None]]:
    """Yield the metric of each wrong margin with a message and a hint."""
    named = {metric.name: metric for metric in metrics}
    for name, margin in margins.items():
        if name not in named:
            yield name, f"there is no metric `{name}`", nearest(name, named)
            continue
        bounds = named[name].bounds
        most = inf if bounds is None else bounds[1] - bounds[0]
        if not 0 < margin < most:
            end = "" if most == inf else f" and below {most:g}"
            yield name, f"the margin of `{name}` must be above 0{end}, not {margin:g}", MARGIN_HINT


def pairs_problem(variants: int) -> str | None:
    """Return the reason why all pairs of so many variants cannot be compared."""
    if variants <= MOST_PAIRED_VARIANTS:
        return None
    return f"all pairs of {variants} variants are too many to compare: at most {MOST_PAIRED_VARIANTS} variants"


def with_comparison_options(
    suite: Suite, margins: Sequence[str], *, all_pairs: bool, on_ignored: Callable[[str], None] | None = None
) -> Suite:
    """Return a suite with the command line's `--margin [METRIC=]SIZE` and `--all-pairs` before its own settings.

    A size without a metric is that of the first one. `on_ignored` gets a sentence for a margin whose metric the suite
    lacks, as one of several suites may; without it that is an error. Raises InputError.
    """
    found = dict(suite.compare.margins)
    metrics = [measure.metric for measure in suite.measures]
    problems = []
    for text in margins:
        name, size = _read_margin(text, metrics[0].name)
        if on_ignored is not None and name not in {metric.name for metric in metrics}:
            on_ignored(f"`{suite.name}` has no metric `{name}`: --margin {text} is ignored")
            continue
        wrong = margin_problems({name: size}, metrics)
        problems += [Problem(f"--margin {text}: {message}", hint=hint) for _, message, hint in wrong]
        found[name] = size
    is_paired = all_pairs or suite.compare.all_pairs
    if all_pairs and (why := pairs_problem(len(suite.variants))):
        problems.append(Problem(f"--all-pairs: {why}"))
    if problems:
        raise InputError(problems)
    return replace(suite, compare=ComparisonSettings(margins=found, all_pairs=is_paired))


def read_margins(texts: Sequence[str], metrics: Sequence[Metric]) -> dict[str, float]:
    """Return `[METRIC=]SIZE` texts as margins by metric; without a metric it is the first one's. Raises InputError."""
    margins = dict(_read_margin(text, metrics[0].name) for text in texts)
    problems = [Problem(f"--margin: {message}", hint=hint) for _, message, hint in margin_problems(margins, metrics)]
    if problems:
        raise InputError(problems)
    return margins


def _read_margin(text: str, first: str) -> tuple[str, float]:
    name, equals, size = text.rpartition("=")
    try:
        return (name if equals else first), float(size)
    except ValueError:
        hint = f"`--margin 0.02`, or `--margin accuracy=0.02`; {MARGIN_HINT}"
        raise InputError(Problem(f"`--margin {text}` has no number", hint=hint)) from None
