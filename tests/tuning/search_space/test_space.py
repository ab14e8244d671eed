"""The space of a target: axes in the order of what they pay, narrowed by `tune:` and by `only`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from promptkit.errors import InputError
from promptkit.runtimes.base import Model
from promptkit.runtimes.scripted import Scripted
from promptkit.tuning.data_split import DataSplit
from promptkit.tuning.search_space.candidate import AS_WRITTEN, KINDS
from promptkit.tuning.search_space.demonstration import Demonstration
from promptkit.tuning.search_space.space import SearchSpace, derive_search_space, step_models
from tests.engine.helpers import Folder
from tests.evaluation.suites import PIPELINE, SUITE, Bench, Given
from tests.tuning.data_splits import data_split, model

TWO = """
name: mood
inputs: {text: {example: fine}}
steps:
  mood: {prompt: mood}
  size: {tool: size, with: {text: "{{ text }}"}}
  said: {prompt: "Say {{ text }} again.", cache: false}
  told: {prompt: "Tell {{ mood }}.", tools: [size]}
output: "{{ mood }}"
tools: {size: own.py:size}
"""


@pytest.fixture
def bench(folder: Folder) -> Bench:
    return Bench(folder)


def space(found: DataSplit, able: Model | None = None, **how: Any) -> SearchSpace:
    steps = found.suite.baseline.pipeline.steps.values()
    return derive_search_space(found, {step.name: able or model() for step in steps if step.prompt_call}, **how)


def names(found: SearchSpace) -> list[str]:
    return [parameter.name for parameter in found.parameters]


def levels(found: SearchSpace, name: str) -> list[str]:
    return next(
        [choice.name for choice in parameter.choices] for parameter in found.parameters if parameter.name == name
    )


def test_axes_come_from_what_usually_pays_most(bench: Bench) -> None:
    assert names(space(data_split(bench))) == [
        "mood.decide",
        "mood.examples",
        "mood.layout",
        "mood.technique",
        "mood.wording",
    ]


def test_the_first_level_of_each_axis_changes_nothing_and_no_two_are_called_the_same(bench: Bench) -> None:
    for parameter in space(data_split(bench)).parameters:
        assert (parameter.choices[0].name, parameter.choices[0].changes) == (AS_WRITTEN, {})
        assert all(choice.changes for choice in parameter.choices[1:])
        assert len({choice.name for choice in parameter.choices}) == len(parameter.choices) > 1


def test_the_same_seed_gives_the_same_space_and_another_one_other_examples(bench: Bench) -> None:
    found = data_split(bench)
    changes = [
        [choice.changes for parameter in space(found, seed=seed).parameters for choice in parameter.choices]
        for seed in (1, 1, 2)
    ]

    assert changes[0] == changes[1] != changes[2]


def test_a_model_that_can_little_has_a_small_space_and_that_is_told(bench: Bench) -> None:
    found = space(data_split(bench), model("chat"))

    assert all("score" not in name for name in levels(found, "mood.decide"))
    assert any("`score` is not tried" in note for note in found.notes)
    assert "messages system" not in levels(found, "mood.layout")


def test_what_is_left_out_is_told(bench: Bench, folder: Folder) -> None:
    folder.write("pipelines/mood.yaml", TWO)
    folder.write("pipelines/own.py", "def size(text: str) -> int:\n    return len(text)\n")
    found = space(data_split(bench))

    assert {parameter.step for parameter in found.parameters} == {"mood", "told"}
    assert "size: not tuned: it asks no model" in found.notes
    assert "said: not tuned: with `cache: false` a row's answer changes each time" in found.notes
    assert "told: its technique is not varied, as the step has tools" in found.notes
    assert "told.technique" not in names(found)


@pytest.mark.parametrize(
    ("only", "expected"),
    [
        (["examples,layout"], ["mood.examples", "mood.layout"]),
        (["examples", "layout"], ["mood.examples", "mood.layout"]),
        (["mood.decide"], ["mood.decide"]),
        (["mood"], [f"mood.{kind}" for kind in KINDS if kind not in ("given", "think", "weights")]),
    ],
)
def test_only_narrows_the_space(bench: Bench, only: Sequence[str], expected: list[str]) -> None:
    assert names(space(data_split(bench), only=only)) == expected


def test_only_names_what_there_is(bench: Bench) -> None:
    with pytest.raises(InputError, match="nothing to tune called `exampels`") as caught:
        space(data_split(bench), only=["exampels"])

    assert "`examples`" in (caught.value.problems[0].hint or "")


def test_tune_of_the_pipeline_takes_the_place_of_the_derived_space(bench: Bench, folder: Folder) -> None:
    folder.write(
        "pipelines/mood.yaml",
        PIPELINE
        + "tune:\n  mood.layout: [xml, prefix]\n  mood.technique: [vanilla, chain_of_thought]\n"
        + "  mood.options.temperature: [0.5]\n",
    )
    found = space(data_split(bench))

    assert [(parameter.name, parameter.kind) for parameter in found.parameters] == [
        ("mood.layout", "layout"),
        ("mood.technique", "technique"),
        ("mood.options.temperature", "given"),
    ]
    assert levels(found, "mood.layout") == [AS_WRITTEN, "prefix"]
    assert [choice.requests for choice in found.parameters[1].choices] == [1.0, 2.0]
    assert names(space(data_split(bench), only=["technique"])) == ["mood.technique"]


def test_what_is_wrong_in_tune_is_told_before_anything_is_derived(bench: Bench, folder: Folder) -> None:
    folder.write("pipelines/mood.yaml", PIPELINE + "tune:\n  mood.layout: [xnl]\n")

    with pytest.raises(InputError, match="unknown layout `xnl`") as caught:
        space(data_split(bench))
    assert caught.value.problems[0].line == 6


def test_tune_of_other_steps_is_no_matter_where_one_is_tuned_alone(bench: Bench, folder: Folder) -> None:
    text = TWO.split("  size:")[0] + '  told: {prompt: "Tell {{ mood }}."}\n' + 'output: "{{ mood }}"\n'
    folder.write("pipelines/mood.yaml", text + "tune:\n  mood.layout: [prefix]\n  told.layout: [prefix]\n")
    suite = SUITE + "steps: {mood: {inputs: {text: '{{ row.text }}'}, metrics: {accuracy: label}}}\n"
    data_split(bench)
    from promptkit.tuning.data_split import read_data_split

    (step,) = bench.suite(suite).steps
    assert names(space(read_data_split(step))) == ["mood.layout"]


def test_given_values_of_the_same_beginning_are_called_apart(bench: Bench, folder: Folder) -> None:
    long = "Say in one word whether this is a good or a bad thing"
    values = ", ".join(f"{{instructions: {long}{mark}}}" for mark in ".!")
    folder.write("pipelines/mood.yaml", PIPELINE + f"tune:\n  mood.prompt: [{values}]\n")

    first, second = levels(space(data_split(bench)), "mood.prompt")[1:]
    assert second == f"{first} #2"


def test_demonstrations_that_a_model_made_are_sets_of_examples(bench: Bench) -> None:
    found = data_split(bench)
    made = [Demonstration({"text": f"x {place}"}, "good", "So.", label="good", row=place) for place in found.demo_pool]

    shown = levels(space(found, generated={"mood": {"that it solved": made}}), "mood.examples")
    assert any("that it solved" in name for name in shown)


def test_a_level_that_the_target_cannot_have_is_not_there(bench: Bench) -> None:
    found = data_split(bench)
    made = [Demonstration({"no_input": "x"}, "good", label="good", row=place) for place in found.demo_pool]
    tried = space(found, generated={"mood": {"odd": made}}, only=["examples"])

    assert all("odd" not in name for name in levels(tried, "mood.examples"))
    assert any("is not tried" in note for note in tried.notes)


async def test_the_models_are_those_of_the_steps(bench: Bench) -> None:
    found = data_split(bench)

    assert (await step_models(found.suite, Given(Scripted(["x"])))).keys() == {"mood"}


INNER = """
name: outer
inputs: {text: {example: fine}}
steps:
  sub: {pipeline: mood}
  told: {prompt: "Tell {{ sub }}."}
output: "{{ told }}"
tune: {sub.mood.cue: ["Mood:"], sub.when: ["{{ text != '' }}"], told.cue: ["Told:"]}
"""


def test_a_step_of_another_pipeline_is_not_tried_for_it_is_tuned_by_itself(bench: Bench, folder: Folder) -> None:
    folder.write("pipelines/outer.yaml", INNER)
    found = space(data_split(bench, suite=SUITE.replace("target: mood", "target: outer")))

    assert names(found) == ["sub.when", "told.cue"]
    assert found.notes == ("sub.mood.cue: not tried: it belongs to `mood`, which is tuned by itself",)
