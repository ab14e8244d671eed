"""Making a technique cheaper until it fits: the dearest settings that the budget allows, and why none does."""

from __future__ import annotations

from typing import Any

import pytest

from promptkit.evaluation.recommendation.recommend import COUNTED, SAMPLED, SMALLER, fit_to_budget, within
from promptkit.techniques.cost import Cost, cost
from promptkit.techniques.registry import find_technique, technique_names
from promptkit.techniques.spec import check_spec, configure
from tests.techniques.test_catalog import CATALOG, PROJECT


def fitting(name: str, *, budget: float | None = None, depth: float | None = None) -> Any:
    technique = find_technique(name, PROJECT)
    assert technique
    return fit_to_budget(technique, PROJECT, decide="constrain", budget=budget, depth=depth)


@pytest.mark.parametrize("name", CATALOG)
def test_without_a_bound_a_technique_keeps_its_defaults(name: str) -> None:
    assert fitting(name) == (name, cost(configure(name, PROJECT), PROJECT))


@pytest.mark.parametrize("name", CATALOG)
@pytest.mark.parametrize("budget", [1.0, 3.0, 6.0, 12.0, 40.0])
def test_what_fits_costs_no_more_than_the_budget_and_its_settings_are_right(name: str, budget: float) -> None:
    found = fitting(name, budget=budget)

    if isinstance(found, str):
        assert found.startswith("takes ") and f"more than {budget:g}" in found
        return
    spec, spent = found
    assert spent == cost(configure(spec, PROJECT), PROJECT)
    assert spent.requests <= budget
    assert check_spec(spec, PROJECT) == []


@pytest.mark.parametrize("name", CATALOG)
def test_a_larger_budget_never_buys_less(name: str) -> None:
    found = [fitting(name, budget=budget) for budget in range(1, 30)]
    amounts = [each[1].requests for each in found if not isinstance(each, str)]

    assert amounts == sorted(amounts)


@pytest.mark.parametrize(
    ("budget", "expected"),
    [
        (10, "self_consistency"),
        (9, {"self_consistency": {"samples": 3}}),
        (4, {"self_consistency": {"samples": 2}}),
    ],
)
def test_samples_are_the_first_to_be_fewer(budget: float, expected: Any) -> None:
    assert fitting("self_consistency", budget=budget)[0] == expected


def test_where_nothing_fits_the_least_that_it_takes_is_told() -> None:
    assert fitting("self_consistency", budget=2) == "takes 4 requests a row at the least, more than 2"
    assert fitting("chain_of_thought", depth=1) == "takes 2 requests that wait for each other, more than 1"


@pytest.mark.parametrize(("amount", "most", "holds"), [(3, None, True), (3, 3, True), (3.5, 3, False), (0, 0, True)])
def test_a_bound_is_at_most_so_much_and_none_is_no_bound(amount: float, most: float | None, holds: bool) -> None:
    assert within(amount, most) is holds


def test_what_is_made_smaller_is_there_to_be_set() -> None:
    parameters = {
        name
        for each in technique_names(PROJECT)
        if (found := find_technique(each, PROJECT))
        for name in found.parameters
    }

    assert set(SAMPLED) | set(COUNTED) <= parameters
    for name, variants in SMALLER.items():
        for variant in variants:
            assert isinstance(cost(configure({name: {"variant": variant}}, PROJECT), PROJECT), Cost)
