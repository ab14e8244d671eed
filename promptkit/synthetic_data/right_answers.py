"""Right answers of stored evaluations as rows for each step: its inputs, its answer, and its thoughts."""

from __future__ import annotations

import operator
import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from typing import Any, Final

from promptkit.engine.inputs import step_inputs
from promptkit.engine.pipeline import Pipeline, Step
from promptkit.errors import InputError, nearest
from promptkit.evaluation.cells.cell import Cell
from promptkit.evaluation.stored_run import StoredRun, build_metrics
from promptkit.evaluation.suite.binding import EXPECT, Binder
from promptkit.evaluation.suite.data import DataRow
from promptkit.evaluation.suite.generated import GENERATED
from promptkit.evaluation.suite.suite import Suite
from promptkit.storage.strict_json import compact, plain
from promptkit.synthetic_data.generator import portable

VOTES: Final = "votes"
"""The name of the winner's share of the votes, in a condition; it holds for each step alone."""
THOUGHTS: Final = "thoughts"
_CONDITION: Final = re.compile(r"\s*(?P<name>[^<>=\s]+)\s*(?P<sign>>=|<=|==|>|<)\s*(?P<bound>-?\d+(?:\.\d+)?)\s*")
_SIGNS: Final[Mapping[str, Callable[[float, float], bool]]] = {
    ">=": operator.ge,
    "<=": operator.le,
    "==": operator.eq,
    ">": operator.gt,
    "<": operator.lt,
}


@dataclass(frozen=True, slots=True)
class Condition:
    """A condition on a metric's score, or on the share of the votes: `accuracy >= 1`."""

    name: str
    sign: str
    bound: float

    def holds(self, value: float | None) -> bool:
        """Return True where a value is there and fulfils the condition."""
        return value is not None and _SIGNS[self.sign](value, self.bound)

    def __str__(self) -> str:
        return f"{self.name} {self.sign} {self.bound:g}"


@dataclass(slots=True)
class RightAnswers:
    """Rows by step. `read` counts the cells of the runs, `right` those that fulfil the conditions, `repeated` rows that
    another one has already.
    """

    rows: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    read: int = 0
    right: int = 0
    repeated: Counter[str] = field(default_factory=Counter)


def read_condition(text: str) -> Condition:
    """Read `METRIC >= NUMBER`. Raises InputError."""
    found = _CONDITION.fullmatch(text)
    if found is None:
        raise InputError(f"`--where {text}` must be METRIC >= NUMBER", hint="--where 'accuracy >= 1'")
    return Condition(found["name"], found["sign"], float(found["bound"]))


def conditions_of(view: StoredRun, suite: Suite, given: Sequence[Condition]) -> list[Condition]:
    """Return the conditions for a run: those given, otherwise that the first metric has its highest value.

    Raises InputError for a metric that the run does not have, and where the first metric has no highest value.
    """
    for condition in given:
        if condition.name not in (*view.metrics, VOTES):
            known = [*view.metrics, VOTES]
            hint = nearest(condition.name, known) or f"it has: {', '.join(known)}"
            raise InputError(f"run {view.number} has no metric `{condition.name}`", hint=hint)
    if given:
        return list(given)
    built = build_metrics(view, suite.project).metrics
    first = next(iter(view.metrics), "")
    bounds = built[first].bounds if first in built else None
    if bounds is None:
        raise InputError(f"`{first}` has no highest value: say what is right", hint=f"--where '{first} >= 0.8'")
    return [Condition(first, ">=", bounds[1])]


def collect(
    suite: Suite, view: StoredRun, conditions: Sequence[Condition], into: RightAnswers, step: str | None
) -> None:
    """Add the right answers of a run, of one step or of all, by the suite as it is now. Equal rows are taken once."""
    places = {variant.name: place for place, variant in enumerate(suite.variants)}
    binder = Binder(suite)
    seen = {step: {_identity(row) for row in rows} for step, rows in into.rows.items()}
    for number, group in groupby(view.cells(), key=lambda cell: cell.row):
        cells = [cell for cell in group if cell.variant in places and cell.flag == ""]
        into.read += len(cells)
        right = [cell for cell in cells if _is_right(cell, conditions)]
        if not right:
            continue
        bound = binder.bind(DataRow(number=number, fields=right[0].fields, place=suite.data.where), number)
        if not bound.inputs:
            continue
        for cell in right:
            into.right += 1
            place = places[cell.variant]
            made = _rows_of_cell(suite.variants[place].pipeline, bound.inputs[place], cell, view, conditions)
            for name, row in made:
                if step not in (None, name):
                    continue
                known = seen.setdefault(name, set())
                if (identity := _identity(row)) in known:
                    into.repeated[name] += 1
                else:
                    known.add(identity)
                    into.rows.setdefault(name, []).append(row)


def _identity(row: Mapping[str, Any]) -> str:
    """Return a row's inputs as text: of two answers to the same inputs the first is taken."""
    inputs = {name: value for name, value in row.items() if name not in (EXPECT, THOUGHTS, GENERATED)}
    return compact(dict(sorted(inputs.items())))


def _is_right(cell: Cell, conditions: Sequence[Condition]) -> bool:
    scores = {name: score.value for name, score in cell.scores.items()}
    return all(condition.holds(scores.get(condition.name)) for condition in conditions if condition.name != VOTES)


def _rows_of_cell(
    pipeline: Pipeline, inputs: Mapping[str, Any], cell: Cell, view: StoredRun, conditions: Sequence[Condition]
) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield a row for each answer of a step that asked a model, with the step's name."""
    nodes = {part.get("name"): part for part in cell.trace.get("parts", ())}
    for name, step in pipeline.steps.items():
        value = cell.steps.get(name)
        if step.prompt_call is None or value is None:
            continue
        answers = value if step.for_each is not None else [value]
        try:
            given = step_inputs(pipeline, step, {**inputs, **cell.steps})
        except InputError:
            continue
        if len(given) != len(answers):
            continue
        node = nodes.get(name, {})
        parts = node.get("parts", ()) if step.for_each is not None else [node]
        found = parts if len(parts) == len(answers) else [{}] * len(answers)
        for item, answer, part in zip(given, answers, found, strict=True):
            votes = _winning_share(part)
            if answer is None or not all(rule.holds(votes) for rule in conditions if rule.name == VOTES):
                continue
            yield name, _row(step, item, answer, part, cell, view, conditions)


def _row(
    step: Step,
    inputs: Mapping[str, Any],
    answer: Any,
    part: Mapping[str, Any],
    cell: Cell,
    view: StoredRun,
    conditions: Sequence[Condition],
) -> dict[str, Any]:
    thoughts = _thoughts(part)
    made = {
        "by": portable(view.settings.get(cell.variant, {}).get("model") or view.model.get("reference", "")),
        "for": {"step": step.name},
        "from": {"run": view.number, "row": cell.row, "variant": cell.variant},
        "right": [str(condition) for condition in conditions],
    }
    return {
        **{name: plain(value) for name, value in inputs.items()},
        EXPECT: plain(answer),
        **({THOUGHTS: thoughts} if thoughts else {}),
        GENERATED: made,
    }


def _thoughts(part: Mapping[str, Any]) -> str:
    """Return the thoughts of a step: those of the deciding reply, or the one reply before it."""
    calls = [call for call in part.get("calls", ()) if not call.get("repair")]
    deciding = [call for call in calls if call.get("deciding")]
    if deciding and deciding[-1].get("thoughts"):
        return str(deciding[-1]["thoughts"]).strip()
    before = [call for call in calls if not call.get("deciding")]
    return str(before[0].get("reply", "")).strip() if len(before) == 1 else ""


def _winning_share(part: Mapping[str, Any]) -> float | None:
    """Return the winner's share of a step's votes, None where it did not vote."""
    votes = part.get("extra", {}).get("votes")
    weights = [vote.get("weight", 0.0) for vote in votes] if isinstance(votes, list) and votes else []
    total = sum(weights)
    return max(weights) / total if total else None
