"""Prepared items: shown as examples of a step, and refused with all that a person has still to do."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from promptkit.engine.inputs import fill_inputs
from promptkit.engine.load import load_target
from promptkit.engine.run import run
from promptkit.engine.session import RunSettings
from promptkit.errors import InputError
from promptkit.project import Project
from promptkit.runtimes.scripted import Scripted
from promptkit.techniques.artifacts import Artifact
from promptkit.techniques.context import Answer
from promptkit.techniques.methods.prepared import prepared_items, with_prepared_examples
from promptkit.techniques.perform import perform
from promptkit.techniques.registry import technique
from promptkit.techniques.spec import ConfiguredTechnique
from promptkit.techniques.task import Task
from tests.pipelines.asking import Given
from tests.techniques.steps import Bench, flat, in_order

GOOD = {"input": {"question": "PREPARED 2+2?"}, "thoughts": "THOUGHT-A", "output": 4}
SAME = {"input": {"question": "QUESTION-MARK 3+4?"}, "thoughts": "THOUGHT-B", "output": 7}


@technique()
async def chain_of_thought(task: Task) -> Answer:
    """Show what was prepared, in the templates of the shipped technique of this name."""
    return await task.decide(await with_prepared_examples(task).ask("reason", zero_shot=False))


def chosen(bench: Bench) -> ConfiguredTechnique:
    from dataclasses import replace

    from promptkit.techniques.registry import find_technique

    shipped = find_technique("chain_of_thought", bench.project)
    assert shipped
    return ConfiguredTechnique(replace(chain_of_thought, files=shipped.files))


def step_with(bench: Bench, *items: dict[str, Any]) -> Any:
    artifact = Artifact(technique="chain_of_thought", items=items)
    return bench.step(artifacts={"chain_of_thought": artifact}, home="sums.add", decide="generate")


async def test_prepared_items_are_the_examples(tmp_path: Path) -> None:
    bench = Bench(tmp_path, ["so\nOutput: 7"])

    answer = await perform(chosen(bench), step_with(bench, GOOD))

    assert answer.value == 7
    assert in_order(bench.texts[0], ["PREPARED 2+2?", "THOUGHT-A", "Output: 4", "QUESTION-MARK"])


async def test_an_item_about_the_very_input_asked_is_not_shown(tmp_path: Path) -> None:
    bench = Bench(tmp_path, ["so\nOutput: 7"])

    await perform(chosen(bench), step_with(bench, SAME, GOOD))

    assert "THOUGHT-A" in bench.texts[0] and "THOUGHT-B" not in bench.texts[0]


@pytest.mark.parametrize("empty", ["", "  \n", None])
async def test_all_that_is_to_be_filled_in_is_named_with_its_file(tmp_path: Path, empty: Any) -> None:
    bench = Bench(tmp_path, [])
    items = ({**GOOD, "thoughts": empty}, GOOD, {"input": {"question": "OTHER?"}, "thoughts": empty})

    with pytest.raises(InputError) as raised:
        await perform(chosen(bench), step_with(bench, *items))

    assert [(problem.file, problem.message) for problem in raised.value.problems] == [
        ("sums.add.chain_of_thought.yaml", "item 1: fill in `thoughts`"),
        ("sums.add.chain_of_thought.yaml", "item 3: fill in `thoughts` and `output`"),
    ]
    assert "OTHER?" in (raised.value.problems[1].hint or "")


async def test_an_item_without_an_input_is_told(tmp_path: Path) -> None:
    bench = Bench(tmp_path, [])

    with pytest.raises(InputError, match="item 1 has no `input`"):
        await perform(chosen(bench), step_with(bench, {"thoughts": "a", "output": 1}))


@pytest.mark.parametrize(
    ("item", "said"),
    [
        ({**GOOD, "input": {}}, "item 2 has no `input`"),
        (
            {**GOOD, "input": {"qestion": "2+2?"}},
            "item 2: there is no input `qestion`\n  hint: did you mean `question`?",
        ),
        ({**GOOD, "output": "four"}, "item 2: the output is not an answer: 'four' is not a number"),
    ],
)
async def test_an_item_that_a_person_has_spoilt_is_named_with_its_file(tmp_path: Path, item: Any, said: str) -> None:
    bench = Bench(tmp_path, [])

    with pytest.raises(InputError) as raised:
        await perform(chosen(bench), step_with(bench, GOOD, item))

    assert str(raised.value).startswith(f"sums.add.chain_of_thought.yaml: {said}")
    assert bench.runtime.requests == []


async def test_of_items_that_are_no_examples_what_the_technique_needs_is_to_be_filled_in(tmp_path: Path) -> None:
    bench = Bench(tmp_path, [])
    items = ({"input": "How many?", "output": "def solution():\n    return 1"}, {"input": "How much?", "otput": "x"})
    artifacts = {"synthetic_prompting": Artifact(technique="synthetic_prompting", items=items)}

    with pytest.raises(InputError, match="item 2: fill in `output`"):
        await perform("synthetic_prompting", bench.step(artifacts=artifacts, home="sums.add"))


@pytest.mark.parametrize("artifacts", [{}, {"mine": Artifact(technique="mine")}])
async def test_without_items_the_line_that_prepares_them_is_told(tmp_path: Path, artifacts: Any) -> None:
    @technique()
    async def mine(task: Task) -> Answer:
        """Need what was prepared."""
        return task.answer(len(prepared_items(task)))

    bench = Bench(tmp_path, [])

    with pytest.raises(InputError, match="promptkit techniques prepare mine sums --step add --data FILE"):
        await perform(ConfiguredTechnique(mine), bench.step(artifacts=artifacts, home="sums.add"))


CHOOSING = """\
name: choosing
inputs:
  question: {type: text, example: ASKED?}
  options: {type: list, example: [cup, spoon]}
steps:
  pick:
    prompt:
      instructions: Choose.
      input: "{{ question }} {{ options | join(', ') }}"
    answer: {choice: "{{ options }}"}
    technique: complex_cot
"""


async def test_where_options_differ_by_row_each_item_is_shown_with_the_letter_of_its_own(tmp_path: Path) -> None:
    (tmp_path / "promptkit.yaml").touch()
    file = tmp_path / "choosing.yaml"
    file.write_text(CHOOSING)
    item = {"input": {"question": "OTHER?", "options": ["red", "blue", "green"]}, "thoughts": "so", "output": "green"}
    artifact = Artifact(technique="complex_cot", items=(item,))
    (tmp_path / "choosing.pick.complex_cot.yaml").write_text(artifact.model_dump_json())
    runtime = Scripted(["hence", "B"])
    pipeline = load_target(file, Project.find(file))

    result = await run(pipeline, fill_inputs(pipeline).values, models=Given(runtime), settings=RunSettings(repairs=0))

    assert result.error is None
    assert result.output == "spoon"
    assert in_order(flat(runtime.requests[0]), ["OTHER? red, blue, green", "Output: C", "ASKED? cup, spoon"])
