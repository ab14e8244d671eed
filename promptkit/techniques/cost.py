"""A technique's cost for one row, from the formulas over its parameters."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from promptkit.errors import InputError, Problem
from promptkit.project import Project
from promptkit.prompts.expressions import Expression
from promptkit.techniques.registry import Technique
from promptkit.techniques.spec import ConfiguredTechnique, with_nested


@dataclass(frozen=True, slots=True)
class Cost:
    """The most a step's technique asks for one row. `depth` is how many of the requests wait for each other."""

    calls: float
    requests: float
    depth: float


def cost(
    chosen: ConfiguredTechnique,
    project: Project,
    *,
    decide: str = "constrain",
    examples_think: bool = False,
    answer: str = "text",
    documents: int = 3,
) -> Cost:
    """Return what a technique with its parameters costs at most.

    A formula sees the technique's parameters; `decide`, and `decided`, which is 0 under `generate` and else 1: the
    deciding request after thoughts; `examples_think`; `answer`, the answer type's name; `documents`, how many texts an
    input holds for a technique that reads each; and `over_calls`, `over_requests`, `over_depth` of the technique it is
    put over. Raises InputError for one that does not work out.
    """
    step = {
        "decide": decide,
        "decided": 0 if decide == "generate" else 1,
        "examples_think": examples_think,
        "answer": answer,
        "documents": documents,
    }
    found = Cost(0, 0, 0)
    for each in reversed(list(with_nested(chosen, project))):
        found = _cost_over(each, found, step)
    return found


def _cost_over(chosen: ConfiguredTechnique, inner: Cost, step: Mapping[str, Any]) -> Cost:
    """Return what a technique costs that is put over what costs `inner`."""
    over = {"over_calls": inner.calls, "over_requests": inner.requests, "over_depth": inner.depth}
    scope, technique = {**_values(chosen), **step, **over}, chosen.technique
    formulas = {"calls": technique.calls, "requests": technique.requests, "depth": technique.card.depth}
    return Cost(**{name: _evaluate_formula(name, formula, technique, scope) for name, formula in formulas.items()})


def samples(chosen: ConfiguredTechnique) -> bool:
    """Tell whether a technique with its parameters samples by its formula. Raises InputError as `cost` does."""
    formula = chosen.technique.sampling
    return bool(formula and _evaluate_formula("sampling", formula, chosen.technique, _values(chosen)))


def _values(chosen: ConfiguredTechnique) -> dict[str, Any]:
    return {name: each.default for name, each in chosen.technique.parameters.items()} | dict(chosen.parameters)


def _evaluate_formula(name: str, formula: str, technique: Technique, scope: Mapping[str, Any]) -> float:
    told = f"the formula `{name}` of technique `{technique.name}` does not work out: {formula}"
    try:
        value = Expression.parse(formula, bare=True).evaluate(scope)
    except InputError as error:
        why = error.problems[0]
        raise InputError(Problem(f"{told}: {why.message}", hint=why.hint)) from error
    if not isinstance(value, int | float):
        raise InputError(Problem(f"{told}: {value!r} is no number"))
    return float(value)
