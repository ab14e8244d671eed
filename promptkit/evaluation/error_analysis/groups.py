"""Error analysis of a run, its wrong answers in groups, each with typical rows."""

from __future__ import annotations

import json
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from math import ceil
from typing import TYPE_CHECKING, Any, Literal

from promptkit.errors import InputError, nearest
from promptkit.evaluation.cells.cell import compared_values
from promptkit.evaluation.comparison.sides import named_variant
from promptkit.evaluation.error_analysis.slices import (
    ErrorCluster,
    ErrorSlice,
    categorical_fields,
    field_slices,
    find_clusters,
    find_slices,
    text_fields,
    typical_cells,
    value_text,
)
from promptkit.evaluation.metrics.base import DEFECT
from promptkit.evaluation.metrics.values import scalar_text

if TYPE_CHECKING:
    from promptkit.evaluation.cells.cell import Cell, RunView
    from promptkit.evaluation.metrics.base import Score
    from promptkit.evaluation.record import EvalRecord, MetricRecord

ErrorKind = Literal["missing", "unscored", "unparsed", "truncated", "wrong"]
GroupKind = Literal["missing", "unscored", "defect", "unparsed", "truncated", "pair", "other", "low"]
NOT_THE_PROMPTS = frozenset(["missing", "unscored", "defect"])
"""Failures that are not the prompt's: of a server or tool, of a metric or judge, or a defect in code."""

MOST_READ = 20_000
"""Cells that are looked through: so many say what fails, and a run of a million rows need not be read for it."""
MOST_PAIRS = 10
LONGEST_LABEL = 60
"""Characters up to which an answer can be a label."""
FEWEST_CONFUSIONS = 2
"""How often two answers that are no labels must have been confused to be a pair."""
LOWEST_SHARE = 0.25
"""The share of a graded metric's answers that count as failing, if they have less than the best score."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ErrorCase:
    """A cell that failed. `expected` and `got` are as the metric compared them; `goodness` is its score in [0, 1]."""

    cell: Cell
    fails: ErrorKind
    expected: Any
    got: Any
    score: Score | None = None
    why: str = ""
    goodness: float = 0.0

    @property
    def defect(self) -> str:
        """The type and place of the exception that nothing foresaw, of the cell or of its score."""
        score = self.score
        return self.cell.defect or (str(score.detail.get(DEFECT, "")) if score else "")

    @property
    def pair(self) -> tuple[str, str] | None:
        """What was expected and what came, where both can be labels."""
        expected, got = _label(self.expected), _label(self.got)
        return None if expected is None or got is None or expected == got else (expected, got)


@dataclass(frozen=True, slots=True, kw_only=True)
class ErrorGroup:
    """Failures of one kind. `share` is of all failures of the prompt, of those that are not the prompt's of all cells.

    A `pair` has what was expected, what came, and how many cells expect that (`of_expected`), a `defect` the type and
    place of its exception. `rows` are typical ones.
    """

    kind: GroupKind
    count: int
    share: float
    rows: tuple[ErrorCase, ...]
    expected: str = ""
    got: str = ""
    of_expected: int = 0
    defect: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ErrorAnalysis:
    """What fails in a variant by a metric. `read` of its `cells` were looked through; `failed` of these are failures
    of the prompt.

    Of a `graded` metric those count that score at most `low`. `slices` are of `slices_tried`.
    """

    run: int
    suite: str
    variant: str
    metric: str
    graded: bool
    low: float | None
    cells: int
    read: int
    failed: int
    groups: tuple[ErrorGroup, ...]
    slices: tuple[ErrorSlice, ...]
    slices_tried: int
    similar: tuple[ErrorCluster, ...]
    by: str | None = None
    notes: tuple[str, ...] = ()

    @property
    def pairs(self) -> tuple[ErrorGroup, ...]:
        return tuple(group for group in self.groups if group.kind == "pair")


def find_errors(
    view: RunView,
    record: EvalRecord,
    *,
    variant: str | None = None,
    metric: str | None = None,
    by: str | None = None,
    most: int = 3,
) -> ErrorAnalysis:
    """Return what fails in a variant of a run (left out: the first) by a metric (left out: the aim).

    `record` is the run's. With `by` the slices are the values of that field, else those of any field in which clearly
    more fails than elsewhere. Each group has at most `most` typical rows. Raises InputError for a variant, metric or
    field that there is not, and for a metric that has no best score.
    """
    name = named_variant(view, variant)
    told = next(each for each in record.variants if each.name == name)
    metric = _metric_named(told.metrics, metric)
    cells = list(islice(view.cells(name), MOST_READ))
    scored = [(cell, *_classified(cell, metric, told.metrics[metric])) for cell in cells]
    grades = sorted(goodness for _, fails, goodness, _ in scored if fails in (None, "wrong"))
    low = _lowest_grade(grades)
    failures, passed = [], []
    for cell, fails, goodness, why in scored:
        if fails is None or (fails == "wrong" and low is not None and goodness > low):
            passed.append(cell)
        else:
            failures.append(_error_case(cell, metric, fails, goodness, why))
    ours = [each for each in failures if each.fails not in NOT_THE_PROMPTS]
    few = categorical_fields(cells)
    texts = text_fields(cells, few)
    answered = [*passed, *(each.cell for each in ours)]
    if by is None:
        found, tried = find_slices(answered, ours, few, texts, most=most)
    else:
        _check_field(by, cells)
        found, tried = field_slices(by, answered, ours, texts, most=most)
    return ErrorAnalysis(
        run=view.number,
        suite=view.suite,
        variant=name,
        metric=metric,
        graded=low is not None,
        low=low,
        cells=told.cases,
        read=len(cells),
        failed=len(ours),
        groups=tuple(_groups(failures, passed, texts, metric, graded=low is not None, most=most)),
        slices=found,
        slices_tried=tried,
        similar=find_clusters(ours, passed, texts, most=most),
        by=by,
        notes=tuple(_notes(view, len(cells), told.cases)),
    )


def _metric_named(metrics: Mapping[str, MetricRecord], named: str | None) -> str:
    bounded = [name for name, each in metrics.items() if each.bounds]
    if named is not None and named not in metrics:
        raise InputError(f"the run has no metric `{named}`", hint=nearest(named, metrics))
    if named is None and bounded:
        return bounded[0]
    if named not in bounded:
        told = f"`{named}` has no best score" if named else "no metric of the run has a best score"
        hint = f"--metric {bounded[0]} has one" if bounded else None
        raise InputError(f"{told}: nothing fails by it", hint=hint)
    assert named is not None, "what is bounded has a name"
    return named


def _classified(cell: Cell, metric: str, told: MetricRecord) -> tuple[ErrorKind | None, float, str]:
    """Return how a cell fails (None: not at all), how good it is from 0 to 1, and why it has no answer or score."""
    if cell.flag:
        return ("missing" if cell.flag == "error" else cell.flag), 0.0, cell.problem
    score = cell.scores.get(metric)
    if score is None or score.value is None:
        return "unscored", 0.0, score.why if score else ""
    if score.detail.get("flag") == "unparsed":
        return "unparsed", 0.0, score.why
    assert told.bounds is not None, "a metric by which something fails has bounds"
    low, high = told.bounds
    share = float((score.value - low) / (high - low))
    goodness = share if told.higher_is_better else 1 - share
    if told.kind == "pairwise":  # a tie with the baseline is no failure
        goodness = float(share >= 0.5)
    return (None if goodness >= 1 else "wrong"), goodness, score.why


def _lowest_grade(grades: Sequence[float]) -> float | None:
    """Return up to which score the answers of a graded metric count as failing; None where each is right or wrong."""
    if all(each in (0.0, 1.0) for each in grades):
        return None
    cut = grades[ceil(LOWEST_SHARE * len(grades)) - 1]
    return max(each for each in grades if each <= cut and each < 1)


def _error_case(cell: Cell, metric: str, fails: ErrorKind, goodness: float, why: str) -> ErrorCase:
    expected, got = compared_values(cell, metric)
    got = got if fails == "wrong" else None
    score = cell.scores.get(metric)
    return ErrorCase(cell=cell, fails=fails, expected=expected, got=got, score=score, why=why, goodness=goodness)


def _label(value: Any) -> str | None:
    text = (scalar_text(value) or "").strip()
    return text if text and len(text) <= LONGEST_LABEL and "\n" not in text else None


def _groups(
    failures: Sequence[ErrorCase],
    passed: Sequence[Cell],
    texts: Sequence[str],
    metric: str,
    *,
    graded: bool,
    most: int,
) -> list[ErrorGroup]:
    """Return the groups that part the failures: the largest first, then the other wrong ones, then what is apart."""
    others: list[ErrorCase] = []
    by_pair: defaultdict[tuple[str, str], list[ErrorCase]] = defaultdict(list)
    by_kind: defaultdict[GroupKind, list[ErrorCase]] = defaultdict(list)
    for failure in failures:
        if failure.fails != "wrong":
            by_kind[failure.fails].append(failure)
        elif failure.pair is None or graded:
            others.append(failure)
        else:
            by_pair[failure.pair].append(failure)
    ordered = sorted(by_pair.items(), key=lambda found: (-len(found[1]), found[0]))
    shown = [
        (pair, members)
        for pair, members in ordered[:MOST_PAIRS]
        if len(members) >= FEWEST_CONFUSIONS or _is_labelled(members[0], metric)
    ]
    kept = {pair for pair, _ in shown}
    others += (each for pair, members in ordered if pair not in kept for each in members)
    ours = sum(failure.fails not in NOT_THE_PROMPTS for failure in failures)
    expecting = Counter(_label(compared_values(cell, metric)[0]) for cell in passed)
    expecting.update(_label(each.expected) for each in failures if each.fails not in NOT_THE_PROMPTS)
    groups = [
        ErrorGroup(
            kind="pair",
            count=len(members),
            share=len(members) / ours,
            rows=_nearest_centre(members, texts, most),
            expected=pair[0],
            got=pair[1],
            of_expected=expecting[pair[0]],
        )
        for pair, members in shown
    ]
    for kind in ("unparsed", "truncated"):
        if members := by_kind[kind]:
            groups.append(_group(kind, members, ours, _most_frequent(members, most)))
    groups.sort(key=lambda group: -group.count)
    if others:
        rows = _lowest(others, most) if graded else _nearest_centre(others, texts, most)
        groups.append(_group("low" if graded else "other", others, ours, rows))
    return [*groups, *_groups_not_the_prompts(failures, len(failures) + len(passed), most)]


def _groups_not_the_prompts(failures: Sequence[ErrorCase], cells: int, most: int) -> Iterator[ErrorGroup]:
    """Yield the groups of failures that are not the prompt's: a group for each defect, the largest first."""
    found: defaultdict[tuple[GroupKind, str], list[ErrorCase]] = defaultdict(list)
    for failure in failures:
        if failure.fails in ("unscored", "missing"):
            found["defect" if failure.defect else failure.fails, failure.defect].append(failure)
    order = ("unscored", "missing", "defect")
    for (kind, defect), members in sorted(found.items(), key=lambda each: (order.index(each[0][0]), -len(each[1]))):
        yield replace(_group(kind, members, cells, _most_frequent(members, most)), defect=defect)


def _group(kind: GroupKind, members: Sequence[ErrorCase], of: int, rows: tuple[ErrorCase, ...]) -> ErrorGroup:
    return ErrorGroup(kind=kind, count=len(members), share=len(members) / of, rows=rows)


def _is_labelled(failure: ErrorCase, metric: str) -> bool:
    """Tell whether the metric itself says which label it compared with which."""
    return "predicted" in failure.cell.scores[metric].detail


def _nearest_centre(members: Sequence[ErrorCase], texts: Sequence[str], most: int) -> tuple[ErrorCase, ...]:
    return tuple(members[at] for at in typical_cells([each.cell for each in members], texts, most))


def _lowest(members: Sequence[ErrorCase], most: int) -> tuple[ErrorCase, ...]:
    return tuple(sorted(members, key=lambda each: (each.goodness, each.cell.row))[:most])


def _most_frequent(members: Sequence[ErrorCase], most: int) -> tuple[ErrorCase, ...]:
    """Return the first of each shape of what is wrong, the most frequent shape first; then others, in their order."""
    shapes: defaultdict[str, list[ErrorCase]] = defaultdict(list)
    for member in members:
        shapes[_pattern(member.why)].append(member)
    ordered = sorted(shapes.values(), key=lambda found: -len(found))
    first = [found[0] for found in ordered]
    return tuple([*first, *(each for found in ordered for each in found[1:])][:most])


def _pattern(why: str) -> str:
    """Return a reason without what differs from cell to cell: numbers, and what is quoted."""
    return re.sub(r"`[^`]*`|\"[^\"]*\"|'[^']*'|[0-9]+", "·", why)


def _check_field(name: str, cells: Sequence[Cell]) -> None:
    values = [cell.fields[name] for cell in cells if name in cell.fields]
    if cells and not values:
        known = {field for cell in cells for field in cell.fields}
        raise InputError(f"the rows have no field `{name}`", hint=nearest(name, known))
    if values and all(value_text(value) is None for value in values):
        raise InputError(f"the field `{name}` holds lists or mappings: failures are told apart by single values")


def _notes(view: RunView, read: int, cells: int) -> Iterable[str]:
    if read == MOST_READ and cells > read:
        yield f"the first {read:,} of {cells:,} cells were looked through"
    if view.status != "done":
        yield f"the run is {view.status}: it may lack answers"


def reply_of(trace: Mapping[str, Any] | None) -> str | None:
    """Return what a model said last in a cell: the reply that could not be read, where one is marked so."""
    calls = list(_calls_below(trace)) if trace is not None else []
    marked = [call for call in calls if call.get("problem")] or calls
    return marked[-1]["reply"] if marked else None


def _calls_below(node: Mapping[str, Any]) -> Iterable[Mapping[str, Any]]:
    yield from node.get("calls", ())
    for part in node.get("parts", ()):
        yield from _calls_below(part)


def errors_record(errors: ErrorAnalysis, view: RunView) -> dict[str, Any]:
    """Return what fails as JSON; `view` gives the replies that could not be read."""
    return {
        "run": errors.run,
        "suite": errors.suite,
        "variant": errors.variant,
        "metric": errors.metric,
        "graded": errors.graded,
        "low": errors.low,
        "cells": errors.cells,
        "read": errors.read,
        "failed": errors.failed,
        "groups": [_group_record(group, view) for group in errors.groups],
        "by": errors.by,
        "slices_tried": errors.slices_tried,
        "slices": [
            {**each.numbers(), "rows": [_row_record(row, view) for row in each.typical]} for each in errors.slices
        ],
        "similar": [
            {
                "count": each.count,
                "share": each.share,
                "words": [word._asdict() for word in each.words],
                "rows": [_row_record(row, view) for row in each.rows],
            }
            for each in errors.similar
        ],
        "notes": list(errors.notes),
    }


def _group_record(group: ErrorGroup, view: RunView) -> dict[str, Any]:
    pair = {"expected": group.expected, "got": group.got, "of_expected": group.of_expected}
    return {
        "kind": group.kind,
        "count": group.count,
        "share": group.share,
        **(pair if group.kind == "pair" else {}),
        **({"defect": group.defect} if group.kind == "defect" else {}),
        "rows": [_row_record(row, view) for row in group.rows],
    }


def _row_record(failure: ErrorCase, view: RunView) -> dict[str, Any]:
    cell = failure.cell
    reply = reply_of(view.trace(cell.cell)) if failure.fails in ("unparsed", "truncated") else None
    return {
        "row": cell.row,
        "repeat": cell.repeat,
        "fails": failure.fails,
        "fields": dict(cell.fields),
        "expected": json.loads(json.dumps(failure.expected, default=str)),
        "got": failure.got,
        "goodness": None if failure.fails in NOT_THE_PROMPTS else failure.goodness,
        "why": failure.why,
        "reply": reply,
    }
