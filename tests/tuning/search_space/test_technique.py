"""The axis of the technique: what suits the task, can be had, and is cheap."""

from __future__ import annotations

from promptkit.engine.load import load_target
from promptkit.project import LIBRARY
from promptkit.techniques.cost import cost
from promptkit.techniques.registry import find_technique
from promptkit.techniques.spec import parse_spec as parsed
from promptkit.tuning.search_space.candidate import Parameter
from promptkit.tuning.search_space.settings import technique_parameter, technique_requests
from tests.engine.helpers import Folder
from tests.tuning.data_splits import ABLE, model


def parameter_of(folder: Folder, name: str, *able: str) -> tuple[Parameter, tuple[str, ...]]:
    pipeline = load_target(LIBRARY / "pipelines" / f"{name}.yaml", folder.project)
    (step,) = pipeline.steps.values()
    return technique_parameter(pipeline, step, model(*able))  # type: ignore[arg-type]


def names(parameter: Parameter) -> list[str]:
    return [parsed(value)[0] for choice in parameter.choices for value in choice.changes.values()]


def test_techniques_are_those_of_the_task(folder: Folder) -> None:
    parameter, _ = parameter_of(folder, "arithmetic")

    assert {"pal", "chain_of_thought"} <= set(names(parameter))
    assert "vanilla" not in names(parameter)
    assert 2 <= len(parameter.choices) <= 4


def test_a_technique_costs_at_most_five_requests_a_row_and_says_how_many(folder: Folder) -> None:
    for target in ("arithmetic", "sentiment_plain", "table_questions", "extract"):
        parameter, _ = parameter_of(folder, target)
        assert all(1 <= choice.requests <= 5 for choice in parameter.choices)


def test_what_needs_preparing_or_what_the_model_cannot_is_not_tried(folder: Folder) -> None:
    for target in ("arithmetic", "sentiment_plain", "table_questions"):
        for name in names(parameter_of(folder, target, *(each for each in ABLE if each != "sampling"))[0]):
            technique = find_technique(name, folder.project)
            assert technique is not None
            assert technique.needs.isdisjoint({"rows", "sampling"})


def test_a_task_that_is_not_told_has_what_suits_any(folder: Folder) -> None:
    parameter, notes = parameter_of(folder, "extract")

    assert names(parameter) == ["chain_of_thought"]
    assert "neither answer nor inputs show the task" in notes[0]


def test_a_step_with_a_technique_may_do_without(folder: Folder) -> None:
    pipeline = load_target(
        LIBRARY / "pipelines" / "arithmetic.yaml", folder.project, changes={"solution.technique": "chain_of_thought"}
    )
    parameter, _ = technique_parameter(pipeline, pipeline.steps["solution"], model())

    assert "chain_of_thought" not in names(parameter)
    assert technique_requests(pipeline, pipeline.steps["solution"], "vanilla") == 0.5


def test_the_cost_is_that_of_the_formula(folder: Folder) -> None:
    pipeline = load_target(LIBRARY / "pipelines" / "sentiment_plain.yaml", folder.project)
    technique = find_technique("chain_of_thought", folder.project)
    assert technique is not None
    from promptkit.techniques.spec import ConfiguredTechnique

    expected = cost(ConfiguredTechnique(technique), folder.project).requests
    assert technique_requests(pipeline, pipeline.steps["sentiment"], "chain_of_thought") == expected
