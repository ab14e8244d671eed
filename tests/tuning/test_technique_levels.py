"""The axis of the technique: what suits the task, can be had, and is cheap."""

from __future__ import annotations

from promptkit.engine import load_target
from promptkit.project import LIBRARY
from promptkit.techniques import cost, find
from promptkit.techniques import parse_spec as parsed
from promptkit.tuning.candidate import Axis
from promptkit.tuning.technique_levels import technique_axis, technique_requests
from tests.engine.helpers import Folder
from tests.tuning.grounds import ABLE, model


def axis_of(folder: Folder, name: str, *able: str) -> tuple[Axis, tuple[str, ...]]:
    pipeline = load_target(LIBRARY / "pipelines" / f"{name}.yaml", folder.project)
    (step,) = pipeline.steps.values()
    return technique_axis(pipeline, step, model(*able))  # type: ignore[arg-type]


def names(axis: Axis) -> list[str]:
    return [parsed(value)[0] for level in axis.levels for value in level.changes.values()]


def test_techniques_are_those_of_the_task(folder: Folder) -> None:
    axis, _ = axis_of(folder, "arithmetic")

    assert {"pal", "chain_of_thought"} <= set(names(axis))
    assert "vanilla" not in names(axis)
    assert 2 <= len(axis.levels) <= 4


def test_a_technique_costs_at_most_five_requests_a_row_and_says_how_many(folder: Folder) -> None:
    for target in ("arithmetic", "sentiment_plain", "table_questions", "extract"):
        axis, _ = axis_of(folder, target)
        assert all(1 <= level.requests <= 5 for level in axis.levels)


def test_what_needs_preparing_or_what_the_model_cannot_is_not_tried(folder: Folder) -> None:
    for target in ("arithmetic", "sentiment_plain", "table_questions"):
        for name in names(axis_of(folder, target, *(each for each in ABLE if each != "sampling"))[0]):
            technique = find(name, folder.project)
            assert technique is not None
            assert technique.needs.isdisjoint({"rows", "sampling"})


def test_a_task_that_is_not_told_has_what_suits_any(folder: Folder) -> None:
    axis, notes = axis_of(folder, "extract")

    assert names(axis) == ["chain_of_thought"]
    assert "neither answer nor inputs name one" in notes[0]


def test_a_step_with_a_technique_may_do_without(folder: Folder) -> None:
    pipeline = load_target(
        LIBRARY / "pipelines" / "arithmetic.yaml", folder.project, changes={"solution.technique": "chain_of_thought"}
    )
    axis, _ = technique_axis(pipeline, pipeline.steps["solution"], model())

    assert "chain_of_thought" not in names(axis)
    assert technique_requests(pipeline, pipeline.steps["solution"], "vanilla") == 0.5


def test_the_cost_is_that_of_the_formula(folder: Folder) -> None:
    pipeline = load_target(LIBRARY / "pipelines" / "sentiment_plain.yaml", folder.project)
    technique = find("chain_of_thought", folder.project)
    assert technique is not None
    from promptkit.techniques import Chosen

    expected = cost(Chosen(technique), folder.project).requests
    assert technique_requests(pipeline, pipeline.steps["sentiment"], "chain_of_thought") == expected
