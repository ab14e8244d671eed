"""Costs of techniques: formulas over parameters, the step's way of deciding, and the technique beneath."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from promptkit.errors import InputError
from promptkit.project import Project
from promptkit.techniques.calls import Card
from promptkit.techniques.context import Answer, Spec
from promptkit.techniques.cost import Cost, cost
from promptkit.techniques.registry import technique
from promptkit.techniques.spec import ConfiguredTechnique, configure
from promptkit.techniques.task import Task
from tests.techniques.test_catalog import PROJECT


@technique()
async def costly(task: Task, *, samples: int = 3, over: Spec | None = None) -> Answer:
    """Cost what its formulas say."""
    return task.no_answer("it is not asked")


def costs(formula: str, *, over: Any = None, samples: int | None = None, **settings: Any) -> Cost:
    """Return what a technique of these formulas costs."""
    own = replace(costly, calls=formula, requests=formula, card=Card(depth=formula))
    given = {"over": over, "samples": samples}
    parameters = {name: value for name, value in given.items() if value is not None}
    return cost(ConfiguredTechnique(own, parameters), PROJECT, **settings)


@pytest.mark.parametrize(
    ("formula", "amount"),
    [("samples", 3), ("2 * samples + 1", 7), ("4 if samples > 2 else 9", 4), ("over_calls or 8", 8), ("decided", 1)],
)
def test_a_formula_sees_the_parameters_at_their_defaults(formula: str, amount: float) -> None:
    assert costs(formula) == Cost(amount, amount, amount)


def test_a_formula_sees_the_parameters_that_a_step_sets() -> None:
    assert costs("samples", samples=9).requests == 9


@pytest.mark.parametrize(("decide", "amount"), [("constrain", 1), ("score", 1), ("generate", 0)])
def test_deciding_after_thoughts_is_a_request_but_where_a_step_generates(decide: str, amount: float) -> None:
    assert costs("decided", decide=decide).requests == amount


@pytest.mark.parametrize(
    ("formula", "settings", "amount"),
    [
        ("2 if examples_think else 5", {}, 5),
        ("2 if examples_think else 5", {"examples_think": True}, 2),
        ("1 if answer == 'label' else 0", {"answer": "label"}, 1),
        ("documents + 1", {"documents": 12}, 13),
    ],
)
def test_a_formula_sees_what_the_step_is_like(formula: str, settings: dict[str, Any], amount: float) -> None:
    assert costs(formula, **settings).requests == amount


@pytest.mark.parametrize(
    ("over", "expected"),
    [
        (None, Cost(0, 0, 0)),
        ("vanilla", Cost(1, 1, 1)),
        ("chain_of_thought", cost(configure("chain_of_thought", PROJECT), PROJECT)),
        ({"self_consistency": {"samples": 4}}, cost(configure({"self_consistency": {"samples": 4}}, PROJECT), PROJECT)),
    ],
)
def test_a_formula_sees_what_the_technique_beneath_costs(over: Any, expected: Cost) -> None:
    assert costs("over_calls", over=over).calls == expected.calls
    assert costs("over_requests", over=over).requests == expected.requests
    assert costs("over_depth", over=over).depth == expected.depth


def test_what_is_beneath_counts_to_any_depth_and_is_decided_as_the_step_is() -> None:
    nested = {"self_consistency": {"samples": 4, "over": {"instructed": {"over": "chain_of_thought"}}}}

    assert costs("over_requests", over=nested, examples_think=True).requests == 8
    assert costs("over_requests", over=nested, examples_think=True, decide="generate").requests == 4


@pytest.mark.parametrize(
    ("formula", "why"),
    [
        ("sampels", "`sampels` is undefined"),
        ("samples / 0", "division by zero"),
        ("samples +", "unexpected"),
        ("'many'", "'many' is not a number"),
        ("none", "None is not a number"),
        ("[1]", "[1] is not a number"),
    ],
)
def test_a_formula_that_cannot_be_evaluated_is_told_with_its_technique(formula: str, why: str) -> None:
    with pytest.raises(InputError) as raised:
        costs(formula)

    (problem,) = raised.value.problems
    assert problem.message.startswith("the formula `calls` of technique `costly` cannot be evaluated")
    assert why in problem.message


def test_a_misspelt_name_in_a_formula_is_told_with_the_nearest() -> None:
    with pytest.raises(InputError, match="samples"):
        costs("sampels")


def test_a_technique_that_its_default_leads_back_to_is_told(tmp_path: Path) -> None:
    (tmp_path / "techniques").mkdir()
    (tmp_path / "templates" / "techniques" / "round").mkdir(parents=True)
    (tmp_path / "techniques" / "round.py").write_text(
        "from promptkit.techniques import Answer, Spec, Task, technique\n\n\n"
        '@technique(calls="over_calls")\nasync def round(task: Task, *, over: Spec = "round") -> Answer:\n'
        '    """Go round."""\n    return await task.run(over)\n'
    )
    project = Project(tmp_path)

    with pytest.raises(InputError, match="without an end"):
        cost(configure("round", project), project)
