"""`tune:` of a pipeline: its keys and values are checked where it is looked for, and a run does not read it."""

from __future__ import annotations

import json
from typing import Any

import pytest

from promptkit.api.check import check_all, find_targets
from promptkit.engine.tune_keys import tune_problems
from tests.engine.helpers import Folder

PIPELINE = """
inputs: {{text: {{example: x}}}}
steps:
  categories: {{prompt: "Sort {{{{ text }}}}.", answer: {{label: [a, b]}}}}
tune:
  {tune}
"""


def problems(folder: Folder, tune: str) -> list[tuple[int | None, int | None, str, str | None]]:
    found = tune_problems(folder.load(PIPELINE.format(tune=tune)))
    assert all(str(problem.file).endswith("test.yaml") for problem in found)
    return [(problem.line, problem.column, problem.message, problem.hint) for problem in found]


def test_what_can_be_set_is_right(folder: Folder) -> None:
    tune = "\n  ".join(
        [
            "categories.technique: [vanilla, chain_of_thought, {self_consistency: {samples: 3}}]",
            "categories.decide: [score]",
            'categories.cue: ["Sort:", none]',
            "categories.options.temperature: [0, 0.7]",
            "categories.examples: [[{input: x, output: a}], []]",
            "categories.prompt: [sentiment_plain, {instructions: 'Sort {{ text }} well.'}]",
            "categories.answer: [{label: {a: first, b: second}}]",
        ]
    )

    assert problems(folder, tune) == []


@pytest.mark.parametrize(
    ("tune", "expected"),
    [
        (
            "categorys.decide: [score]",
            (5, 3, "`categorys.decide`: there is no step `categorys`", "`categories`"),
        ),
        ("categories: [score]", (5, 3, "`categories` must be STEP.KEY, as in `--set`", "`categories.technique`")),
        (
            "categories.tecnique: [vanilla]",
            (5, 3, "`categories.tecnique`: a step has no key `tecnique`", "`technique`"),
        ),
        (
            "categories.decide: score",
            (5, 22, "`categories.decide` must be a list of values to try", "[ONE, "),
        ),
        ("categories.decide: []", (5, 22, "`categories.decide` must be a list of values to try", "[ONE, ")),
        (
            "categories.technique: [vanilla, chain_of_though]",
            (5, 35, "unknown technique `chain_of_though`", "`chain_of_thought`"),
        ),
        ("categories.layout: [xml, markdwn]", (5, 28, "unknown layout `markdwn`", "`markdown`")),
        ("categories.options.temprature: [1]", (5, 35, "temprature", None)),
        ("categories.examples: [[{input: x, output: c}]]", (5, 25, "the output of example 1 is not an answer", None)),
    ],
)
def test_what_is_wrong_has_its_place_and_the_nearest_spelling(folder: Folder, tune: str, expected: Any) -> None:
    ((line, column, message, hint),) = problems(folder, tune)

    assert (line, column) == expected[:2]
    assert expected[2] in message
    assert expected[3] is None or expected[3] in (hint or "")


def test_the_steps_of_a_pipeline_that_a_step_runs_are_named_too(folder: Folder) -> None:
    folder.write("pipelines/inner.yaml", "inputs: {text: {}}\nsteps: {mood: {prompt: 'How is {{ text }}?'}}")
    outer = "inputs: {{text: {{}}}}\nsteps: {{part: {{pipeline: inner}}}}\ntune:\n  part.{key}: [xml, prefix]"

    assert tune_problems(folder.load(outer.format(key="mood.layout"))) == []
    (problem,) = tune_problems(folder.load(outer.format(key="mod.layout")))
    assert (problem.line, problem.message) == (4, "`part.mod.layout`: a step has no key `mod`")
    assert "`mood`" in (problem.hint or "")


def test_check_finds_it_and_a_run_does_not_read_it(folder: Folder) -> None:
    path = folder.write("pipelines/test.yaml", PIPELINE.format(tune="categories.layout: [markdwn]"))
    found = check_all(find_targets([str(path)])).problems

    assert [json.dumps(problem.message) for problem in found] == ['"unknown layout `markdwn`"']
    assert folder.problems(PIPELINE.format(tune="categories.layout: [markdwn]")) == []
