"""What fails in a run, and how: the failures of one variant in groups, each with rows that are typical of it."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from math import ceil
from typing import TYPE_CHECKING, Any, Literal

from promptkit.errors import InputError, nearest
from promptkit.evaluation.error_groups_fields import ErrorSlice, few_valued, slices, slices_of, text_fields, value_text
from promptkit.evaluation.error_groups_similar import SimilarErrors, similar, typical
from promptkit.evaluation.metrics import DEFECT
from promptkit.evaluation.metrics.values import scalar_text
from promptkit.evaluation.sides import named_variant
from promptkit.evaluation.view import compared

if TYPE_CHECKING:
    from promptkit.evaluation.metrics import Score
    from promptkit.evaluation.view import CellView, RunView

Fails = Literal["missing", "unscored", "unparsed", "truncated", "wrong"]
Kind = Literal["missing", "unscored", "defect", "unparsed", "truncated", "pair", "other", "low"]
APART = frozenset(["missing", "unscored", "defect"])
"""Failures that are not the prompt's: of a server or tool, of a metric or judge, or a defect in code."""

MOST_READ = 20_000
"""Cells that are looked through: so many say what fails, and a run of a million rows need not be read for it."""
MOST_PAIRS = 10
LONGEST_LABEL = 60
"""Characters up to which an answer can be a label."""
TIMES = 2
"""How often two answers that are no labels must have been confused to be a pair."""
LOWEST = 0.25
"""The share of a graded metric's answers that count as failing, if they have less than the best score."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """A cell that failed. `expected` and `got` are as the metric compared them; `goodness` is its score in [0, 1]."""

    cell: CellView
    fails: Fails
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

    kind: Kind
    count: int
    share: float
    rows: tuple[Failure, ...]
    expected: str = ""
    got: str = ""
    of_expected: int = 0
    defect: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Errors:
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
    similar: tuple[SimilarErrors, ...]
    by: str | None = None
    notes: tuple[str, ...] = ()

    @property
    def pairs(self) -> tuple[ErrorGroup, ...]:
        return tuple(group for group in self.groups if group.kind == "pair")


def find_errors(
    view: RunView,
    record: Mapping[str, Any],
    *,
    variant: str | None = None,
    metric: str | None = None,
    by: str | None = None,
    most: int = 3,
) -> Errors:
    """Return what fails in a variant of a run (left out: the first) by a metric (left out: the aim).

    `record` is the run's. With `by` the slices are the values of that field, else those of any field in which clearly
    more fails than elsewhere. Each group has at most `most` typical rows. Raises InputError for a variant, metric or
    field that there is not, and for a metric that has no best score.
    """
    name = named_variant(view, variant)
    told = next(each for each in record["variants"] if each["name"] == name)
    metric = _metric(told["metrics"], metric)
    cells = list(islice(view.cells(name), MOST_READ))
    scored = [(cell, *_judged(cell, metric, told["metrics"][metric])) for cell in cells]
    grades = sorted(goodness for _, fails, goodness, _ in scored if fails in (None, "wrong"))
    low = _low(grades)
    failures, passed = [], []
    for cell, fails, goodness, why in scored:
        if fails is None or (fails == "wrong" and low is not None and goodness > low):
            passed.append(cell)
        else:
            failures.append(_failure(cell, metric, fails, goodness, why))
    ours = [each for each in failures if each.fails not in APART]
    few = few_valued(cells)
    texts = text_fields(cells, few)
    answered = [*passed, *(each.cell for each in ours)]
    if by is None:
        found, tried = slices(answered, ours, few, texts, most=most)
    else:
        _check_field(by, cells)
        found, tried = slices_of(by, answered, ours, texts, most=most)
    return Errors(
        run=view.number,
        suite=view.suite,
        variant=name,
        metric=metric,
        graded=low is not None,
        low=low,
        cells=told["cases"],
        read=len(cells),
        failed=len(ours),
        groups=tuple(_groups(failures, passed, texts, metric, graded=low is not None, most=most)),
        slices=found,
        slices_tried=tried,
        similar=similar(ours, passed, texts, most=most),
        by=by,
        notes=tuple(_notes(view, len(cells), told["cases"])),
    )


def _metric(metrics: Mapping[str, Mapping[str, Any]], named: str | None) -> str:
    bounded = [name for name, each in metrics.items() if each["bounds"]]
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


def _judged(cell: CellView, metric: str, told: Mapping[str, Any]) -> tuple[Fails | None, float, str]:
    """Return how a cell fails (None: not at all), how good it is from 0 to 1, and why it has no answer or score."""
    if cell.flag:
        return ("missing" if cell.flag == "error" else cell.flag), 0.0, cell.problem
    score = cell.scores.get(metric)
    if score is None or score.value is None:
        return "unscored", 0.0, score.why if score else ""
    if score.detail.get("flag") == "unparsed":
        return "unparsed", 0.0, score.why
    low, high = told["bounds"]
    share = float((score.value - low) / (high - low))
    goodness = share if told["higher_is_better"] else 1 - share
    if told.get("kind") == "pairwise":  # a tie with the baseline is no failure
        goodness = float(share >= 0.5)
    return (None if goodness >= 1 else "wrong"), goodness, score.why


def _low(grades: Sequence[float]) -> float | None:
    """Return up to which score the answers of a graded metric count as failing; None where each is right or wrong."""
    if all(each in (0.0, 1.0) for each in grades):
        return None
    cut = grades[ceil(LOWEST * len(grades)) - 1]
    return max(each for each in grades if each <= cut and each < 1)


def _failure(cell: CellView, metric: str, fails: Fails, goodness: float, why: str) -> Failure:
    expected, got = compared(cell, metric)
    got = got if fails == "wrong" else None
    score = cell.scores.get(metric)
    return Failure(cell=cell, fails=fails, expected=expected, got=got, score=score, why=why, goodness=goodness)


def _label(value: Any) -> str | None:
    text = (scalar_text(value) or "").strip()
    return text if text and len(text) <= LONGEST_LABEL and "\n" not in text else None


def _groups(
    failures: Sequence[Failure],
    passed: Sequence[CellView],
    texts: Sequence[str],
    metric: str,
    *,
    graded: bool,
    most: int,
) -> list[ErrorGroup]:
    """Return the groups that part the failures: the largest first, then the other wrong ones, then what is apart."""
    others: list[Failure] = []
    by_pair: defaultdict[tuple[str, str], list[Failure]] = defaultdict(list)
    by_kind: defaultdict[Kind, list[Failure]] = defaultdict(list)
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
        if len(members) >= TIMES or _is_labelled(members[0], metric)
    ]
    kept = {pair for pair, _ in shown}
    others += (each for pair, members in ordered if pair not in kept for each in members)
    ours = sum(failure.fails not in APART for failure in failures)
    expecting = Counter(_label(compared(cell, metric)[0]) for cell in passed)
    expecting.update(_label(each.expected) for each in failures if each.fails not in APART)
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
            groups.append(_group(kind, members, ours, _frequent(members, most)))
    groups.sort(key=lambda group: -group.count)
    if others:
        rows = _lowest(others, most) if graded else _nearest_centre(others, texts, most)
        groups.append(_group("low" if graded else "other", others, ours, rows))
    return [*groups, *_groups_apart(failures, len(failures) + len(passed), most)]


def _groups_apart(failures: Sequence[Failure], cells: int, most: int) -> Iterator[ErrorGroup]:
    """Yield the groups of failures that are not the prompt's: a group for each defect, the largest first."""
    found: defaultdict[tuple[Kind, str], list[Failure]] = defaultdict(list)
    for failure in failures:
        if failure.fails in ("unscored", "missing"):
            found["defect" if failure.defect else failure.fails, failure.defect].append(failure)
    order = ("unscored", "missing", "defect")
    for (kind, defect), members in sorted(found.items(), key=lambda each: (order.index(each[0][0]), -len(each[1]))):
        yield replace(_group(kind, members, cells, _frequent(members, most)), defect=defect)


def _group(kind: Kind, members: Sequence[Failure], of: int, rows: tuple[Failure, ...]) -> ErrorGroup:
    return ErrorGroup(kind=kind, count=len(members), share=len(members) / of, rows=rows)


def _is_labelled(failure: Failure, metric: str) -> bool:
    """Tell whether the metric itself says which label it compared with which."""
    return "predicted" in failure.cell.scores[metric].detail


def _nearest_centre(members: Sequence[Failure], texts: Sequence[str], most: int) -> tuple[Failure, ...]:
    return tuple(members[at] for at in typical([each.cell for each in members], texts, most))


def _lowest(members: Sequence[Failure], most: int) -> tuple[Failure, ...]:
    return tuple(sorted(members, key=lambda each: (each.goodness, each.cell.row))[:most])


def _frequent(members: Sequence[Failure], most: int) -> tuple[Failure, ...]:
    """Return the first of each shape of what is wrong, the most frequent shape first; then others, in their order."""
    shapes: defaultdict[str, list[Failure]] = defaultdict(list)
    for member in members:
        shapes[_shape(member.why)].append(member)
    ordered = sorted(shapes.values(), key=lambda found: -len(found))
    first = [found[0] for found in ordered]
    return tuple([*first, *(each for found in ordered for each in found[1:])][:most])


def _shape(why: str) -> str:
    """Return a reason without what differs from cell to cell: numbers, and what is quoted."""
    return re.sub(r"`[^`]*`|\"[^\"]*\"|'[^']*'|[0-9]+", "·", why)


def _check_field(name: str, cells: Sequence[CellView]) -> None:
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
