"""What a technique costs: its formulas over its parameters, worked out for a step."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from promptkit.project import Project
from promptkit.prompts import Expression
from promptkit.techniques.spec import Chosen, choose


@dataclass(frozen=True, slots=True)
class Cost:
    """The most a step's technique asks for one row. `depth` is how many of the requests wait for each other."""

    calls: float
    requests: float
    depth: float


def cost(
    chosen: Chosen,
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
    settings = {"decide": decide, "examples_think": examples_think, "answer": answer, "documents": documents}
    scope: dict[str, Any] = {name: each.default for name, each in chosen.technique.parameters.items()}
    scope |= chosen.parameters
    inner = Cost(0, 0, 0)
    if scope.get("over"):
        inner = cost(choose(scope["over"], project), project, **settings)  # type: ignore[arg-type]
    scope |= settings
    scope |= {
        "decided": 0 if decide == "generate" else 1,
        "over_calls": inner.calls,
        "over_requests": inner.requests,
        "over_depth": inner.depth,
    }
    technique = chosen.technique
    return Cost(
        _work_out(technique.calls, scope), _work_out(technique.requests, scope), _work_out(technique.card.depth, scope)
    )


def _work_out(formula: str, scope: Mapping[str, Any]) -> float:
    return float(Expression.parse(formula, bare=True).evaluate(scope))
