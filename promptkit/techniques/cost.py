"""A technique's cost for one row, from the formulas over its parameters."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from promptkit.errors import InputError, Problem
from promptkit.project import Project
from promptkit.prompts.expressions import Expression
from promptkit.techniques.registry import Technique
from promptkit.techniques.spec import ConfiguredTechnique, with_nested


@dataclass(frozen=True, slots=True)
class Cost:
    """The most that a step's technique asks for one row. `depth` counts the requests that wait for each other."""

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
    """Return the most that a technique with its parameters costs.

    A formula may name the technique's parameters; `decide`; `decided`, the deciding request after thoughts (0 under
    `generate`, else 1); `examples_think`; `answer`, the answer type's name; `documents`, the number of texts in an
    input for a technique that reads each; and `over_calls`, `over_requests`, `over_depth` of the technique beneath.
    Raises InputError for a formula that cannot be evaluated.
    """
    step = _step_values(decide, examples_think, answer, documents)
    total = Cost(0, 0, 0)
    for nested in reversed(list(with_nested(chosen, project))):
        total = _cost_over(nested, total, step)
    return total


def wrong_formulas(chosen: ConfiguredTechnique) -> Iterator[tuple[str, Problem]]:
    """Yield the name of each formula of a technique that cannot be evaluated with its settings, and its problem."""
    technique, values = chosen.technique, _values(chosen)
    over = {"over_calls": 1, "over_requests": 1, "over_depth": 1}
    step = {**values, **_step_values("constrain", False, "text", 3), **over}
    scopes = {**dict.fromkeys(_formulas(technique), step), "sampling": values}
    for name, formula in {**_formulas(technique), "sampling": technique.sampling or "0"}.items():
        try:
            _evaluate_formula(name, formula, technique, scopes[name])
        except InputError as error:
            yield name, error.problems[0]


def _step_values(decide: str, examples_think: bool, answer: str, documents: int) -> dict[str, Any]:
    """Return a step's values that a formula may name."""
    return {
        "decide": decide,
        "decided": 0 if decide == "generate" else 1,
        "examples_think": examples_think,
        "answer": answer,
        "documents": documents,
    }


def _formulas(technique: Technique) -> dict[str, str]:
    return {"calls": technique.calls, "requests": technique.requests, "depth": technique.card.depth}


def _cost_over(chosen: ConfiguredTechnique, inner: Cost, step: Mapping[str, Any]) -> Cost:
    """Return the cost of a technique over one that costs `inner`."""
    over = {"over_calls": inner.calls, "over_requests": inner.requests, "over_depth": inner.depth}
    scope, technique = {**_values(chosen), **step, **over}, chosen.technique
    formulas = _formulas(technique).items()
    return Cost(**{name: _evaluate_formula(name, formula, technique, scope) for name, formula in formulas})


def samples(chosen: ConfiguredTechnique) -> bool:
    """Tell whether a technique samples with its parameters, by its formula. Raises InputError as `cost` does."""
    formula = chosen.technique.sampling
    return bool(formula and _evaluate_formula("sampling", formula, chosen.technique, _values(chosen)))


def _values(chosen: ConfiguredTechnique) -> dict[str, Any]:
    defaults = {name: parameter.default for name, parameter in chosen.technique.parameters.items()}
    return defaults | dict(chosen.parameters)


def _evaluate_formula(name: str, formula: str, technique: Technique, scope: Mapping[str, Any]) -> float:
    problem = f"the formula `{name}` of technique `{technique.name}` cannot be evaluated: {formula}"
    if not isinstance(formula, str):
        raise InputError(Problem(f"{problem}: it must be a text", hint='such as "1 + samples"'))
    try:
        value = Expression.parse(formula, bare=True).evaluate(scope)
    except InputError as error:
        why = error.problems[0]
        raise InputError(Problem(f"{problem}: {why.message}", hint=why.hint)) from error
    if not isinstance(value, int | float):
        raise InputError(Problem(f"{problem}: {value!r} is not a number"))
    return float(value)
