"""What a step did in a cell."""

from __future__ import annotations

from typing import Any

from promptkit.tuning.traces import step_nodes


def node(name: str, kind: str = "step", *parts: dict[str, Any]) -> dict[str, Any]:
    return {"name": name, "kind": kind, "calls": [], "parts": list(parts)}


def test_a_step_is_its_own_node() -> None:
    step = node("mood", "step", node("round 1", "round"))

    assert step_nodes(node("run", "run", node("topic"), step), "mood") == [step]


def test_the_items_of_a_step_are_in_their_order_whenever_they_began() -> None:
    began = [node(f"step2[{number}]", "item") for number in (10, 2, 0, 11, 1)]
    found = step_nodes(node("run", "run", node("step2", "step", *began)), "step2")

    assert [each["name"] for each in found] == [f"step2[{number}]" for number in (0, 1, 2, 10, 11)]


def test_of_a_step_that_did_not_run_there_is_nothing() -> None:
    assert step_nodes(node("run", "run"), "mood") == []
    assert step_nodes({}, "mood") == []
