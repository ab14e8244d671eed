"""Error analysis of a run: its wrong answers in groups, each with typical rows."""

from __future__ import annotations

import json
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from math import ceil
from typing import Any, Literal

from promptkit.engine.results import calls_of
from promptkit.errors import InputError, nearest
from promptkit.evaluation.cells.cell import Cell, RunView, compared_values
from promptkit.evaluation.comparison.run_rows import named_variant
from promptkit.evaluation.error_analysis.cases import ErrorCase, ErrorKind, label_text
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
from promptkit.evaluation.record import EvalRecord, MetricRecord

GroupKind = Literal["missing", "unscored", "defect", "unparsed", "truncated", "pair", "other", "low"]
NOT_THE_PROMPTS = frozenset(["missing", "unscored", "defect"])
"""Kinds of errors that the prompt did not cause: a server or tool, a metric or judge, or a defect in code."""

MOST_READ = 20_000
"""The most cells that are read: enough to see what fails, without reading a run of a million rows."""
MOST_PAIRS = 10
FEWEST_CONFUSIONS = 2
"""The fewest confusions that make a pair of two answers that are not labels."""
LOWEST_SHARE = 0.25
"""The share of a graded metric's answers that count as wrong, if they have less than the best score."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ErrorGroup:
    """Errors of one kind, with typical `rows`. `share` is of all errors of the prompt; for other errors, of all cells.

    A `pair` has the expected and the given answer, and how many cells expect the former (`of_expected`); a `defect` has
    the type and place of its exception.
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
    """The errors of a variant by a metric. `read` of its `cells` were read; `failed` of these are errors of the prompt.

    For a `graded` metric, cells that score at most `low` count as errors. `slices` were found among `slices_tried`.
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
    """Return the errors of a variant of a run (by default the first) by a metric (by default the first).

    `record` is the run's. With `by` the slices are the values of that field, else the values of any field with clearly
    more errors than elsewhere. Each group has at most `most` typical rows. Raises InputError for an unknown variant,
    metric or field, and for a metric that has no best score.
    """
    name = named_variant(view, variant)
    summary = next(variant for variant in record.variants if variant.name == name)
    metric = _metric_named(summary.metrics, metric)
    read = list(islice(view.cells(name), MOST_READ))
    cells = [cell for cell in read if metric not in cell.scores or cell.scores[metric].applies]
    scored = [(cell, *_classified(cell, metric, summary.metrics[metric])) for cell in cells]
    grades = sorted(goodness for _, fails, goodness, _ in scored if fails in (None, "wrong"))
    low = _lowest_grade(grades)
    cases, passed = [], []
    for cell, fails, goodness, why in scored:
        if fails is None or (fails == "wrong" and low is not None and goodness > low):
            passed.append(cell)
        else:
            cases.append(_error_case(cell, metric, fails, goodness, why))
    ours = [case for case in cases if case.fails not in NOT_THE_PROMPTS]
    few = categorical_fields(cells)
    texts = text_fields(cells, few)
    answered = [*passed, *(case.cell for case in ours)]
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
        cells=summary.cases,
        read=len(read),
        failed=len(ours),
        groups=tuple(_groups(cases, passed, texts, metric, graded=low is not None, most=most)),
        slices=found,
        slices_tried=tried,
        similar=find_clusters(ours, passed, texts, most=most),
        by=by,
        notes=tuple(_notes(view, len(read), summary.cases)),
    )


def _metric_named(metrics: Mapping[str, MetricRecord], named: str | None) -> str:
    bounded = [name for name, metric in metrics.items() if metric.bounds]
    if named is not None and named not in metrics:
        raise InputError(f"the run has no metric `{named}`", hint=nearest(named, metrics))
    if named is None and bounded:
        return bounded[0]
    if named not in bounded:
        hint = f"--metric {bounded[0]} has one" if bounded else None
        message = f"`{named}` has no best score" if named else "no metric of the run has a best score"
        raise InputError(f"{message}: it does not say which answers are wrong", hint=hint)
    assert named is not None, "a bounded metric has a name"
    return named


def _classified(cell: Cell, metric: str, estimate: MetricRecord) -> tuple[ErrorKind | None, float, str]:
    """Return a cell's kind of error (None: right), its goodness from 0 to 1, and why it has no answer or score."""
    if cell.flag:
        return ("missing" if cell.flag == "error" else cell.flag), 0.0, cell.problem
    score = cell.scores.get(metric)
    if score is None or score.value is None:
        return "unscored", 0.0, score.why if score else ""
    if score.detail.get("flag") == "unparsed":
        return "unparsed", 0.0, score.why
    goodness = estimate.goodness(score.value)
    return (None if goodness >= 1 else "wrong"), goodness, score.why


def _lowest_grade(grades: Sequence[float]) -> float | None:
    """Return the highest score of a graded metric that counts as an error; None where each answer is right or wrong."""
    if all(grade in (0.0, 1.0) for grade in grades):
        return None
    cut = grades[ceil(LOWEST_SHARE * len(grades)) - 1]
    return max(grade for grade in grades if grade <= cut and grade < 1)


def _error_case(cell: Cell, metric: str, fails: ErrorKind, goodness: float, why: str) -> ErrorCase:
    expected, got = compared_values(cell, metric)
    got = got if fails == "wrong" else None
    score = cell.scores.get(metric)
    return ErrorCase(cell=cell, fails=fails, expected=expected, got=got, score=score, why=why, goodness=goodness)


def _groups(
    cases: Sequence[ErrorCase],
    passed: Sequence[Cell],
    texts: Sequence[str],
    metric: str,
    *,
    graded: bool,
    most: int,
) -> list[ErrorGroup]:
    """Return the errors in groups: the largest first, then other wrong answers, then those not the prompt's."""
    others: list[ErrorCase] = []
    by_pair: defaultdict[tuple[str, str], list[ErrorCase]] = defaultdict(list)
    by_kind: defaultdict[GroupKind, list[ErrorCase]] = defaultdict(list)
    for case in cases:
        if case.fails != "wrong":
            by_kind[case.fails].append(case)
        elif case.pair is None or graded:
            others.append(case)
        else:
            by_pair[case.pair].append(case)
    ordered = sorted(by_pair.items(), key=lambda found: (-len(found[1]), found[0]))
    shown = [
        (pair, members)
        for pair, members in ordered[:MOST_PAIRS]
        if len(members) >= FEWEST_CONFUSIONS or _is_labelled(members[0], metric)
    ]
    kept = {pair for pair, _ in shown}
    others += (case for pair, members in ordered if pair not in kept for case in members)
    ours = sum(case.fails not in NOT_THE_PROMPTS for case in cases)
    expecting = Counter(label_text(compared_values(cell, metric)[0]) for cell in passed)
    expecting.update(label_text(case.expected) for case in cases if case.fails not in NOT_THE_PROMPTS)
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
    return [*groups, *_groups_not_the_prompts(cases, len(cases) + len(passed), most)]


def _groups_not_the_prompts(cases: Sequence[ErrorCase], cells: int, most: int) -> Iterator[ErrorGroup]:
    """Yield the groups of errors that are not the prompt's, with a group for each defect, the largest first."""
    found: defaultdict[tuple[GroupKind, str], list[ErrorCase]] = defaultdict(list)
    for case in cases:
        if case.fails in ("unscored", "missing"):
            found["defect" if case.defect else case.fails, case.defect].append(case)
    order = ("unscored", "missing", "defect")
    for (kind, defect), members in sorted(found.items(), key=lambda group: (order.index(group[0][0]), -len(group[1]))):
        yield replace(_group(kind, members, cells, _most_frequent(members, most)), defect=defect)


def _group(kind: GroupKind, members: Sequence[ErrorCase], of: int, rows: tuple[ErrorCase, ...]) -> ErrorGroup:
    return ErrorGroup(kind=kind, count=len(members), share=len(members) / of, rows=rows)


def _is_labelled(case: ErrorCase, metric: str) -> bool:
    """Tell whether the metric recorded which labels it compared."""
    return "predicted" in case.cell.scores[metric].detail


def _nearest_centre(members: Sequence[ErrorCase], texts: Sequence[str], most: int) -> tuple[ErrorCase, ...]:
    return tuple(members[at] for at in typical_cells([member.cell for member in members], texts, most))


def _lowest(members: Sequence[ErrorCase], most: int) -> tuple[ErrorCase, ...]:
    return tuple(sorted(members, key=lambda member: (member.goodness, member.cell.row))[:most])


def _most_frequent(members: Sequence[ErrorCase], most: int) -> tuple[ErrorCase, ...]:
    """Return the first case of each pattern of reasons, the most frequent pattern first; then others in their order."""
    shapes: defaultdict[str, list[ErrorCase]] = defaultdict(list)
    for member in members:
        shapes[_pattern(member.why)].append(member)
    ordered = sorted(shapes.values(), key=lambda found: -len(found))
    first = [found[0] for found in ordered]
    return tuple([*first, *(member for found in ordered for member in found[1:])][:most])


def _pattern(why: str) -> str:
    """Return a reason without the parts that differ from cell to cell: numbers and quoted texts."""
    return re.sub(r"`[^`]*`|\"[^\"]*\"|'[^']*'|[0-9]+", "·", why)


def _check_field(name: str, cells: Sequence[Cell]) -> None:
    values = [cell.fields[name] for cell in cells if name in cell.fields]
    if cells and not values:
        known = {field for cell in cells for field in cell.fields}
        raise InputError(f"the rows have no field `{name}`", hint=nearest(name, known))
    if values and all(value_text(value) is None for value in values):
        raise InputError(f"the field `{name}` holds lists or mappings: slices need single values")


def _notes(view: RunView, read: int, cells: int) -> Iterable[str]:
    if read == MOST_READ and cells > read:
        yield f"the first {read:,} of {cells:,} cells were read"
    if view.status != "done":
        yield f"the run is {view.status}: answers may be missing"


def reply_of(trace: Mapping[str, Any] | None) -> str | None:
    """Return the last reply of a model in a cell, or the reply that could not be parsed where one is marked so."""
    calls = list(calls_of(trace)) if trace is not None else []
    marked = [call for call in calls if call.get("problem")] or calls
    return marked[-1]["reply"] if marked else None


def errors_record(errors: ErrorAnalysis, view: RunView) -> dict[str, Any]:
    """Return an error analysis as JSON; `view` has the replies that could not be parsed."""
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
            {**part.numbers(), "rows": [_row_record(row, view) for row in part.typical]} for part in errors.slices
        ],
        "similar": [
            {
                "count": cluster.count,
                "share": cluster.share,
                "words": [word._asdict() for word in cluster.words],
                "rows": [_row_record(row, view) for row in cluster.rows],
            }
            for cluster in errors.similar
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


def _row_record(case: ErrorCase, view: RunView) -> dict[str, Any]:
    cell = case.cell
    reply = reply_of(view.trace(cell.number)) if case.fails in ("unparsed", "truncated") else None
    return {
        "row": cell.row,
        "repeat": cell.repeat,
        "fails": case.fails,
        "fields": dict(cell.fields),
        "expected": json.loads(json.dumps(case.expected, default=str)),
        "got": case.got,
        "goodness": None if case.fails in NOT_THE_PROMPTS else case.goodness,
        "why": case.why,
        "reply": reply,
    }
