"""Preparing a technique for a step: the rows it gets, the artifact it leaves, and what it may not do."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from promptkit.engine.preparation import PreparedStep, plan_preparation, prepare, read_parameters, write_artifact
from promptkit.engine.run import run
from promptkit.engine.session import RunSettings
from promptkit.engine.step_rows import find_prompt_step, read_step_rows
from promptkit.errors import BudgetSpent, InputError, Unsupported
from promptkit.runtimes.client import Client
from promptkit.runtimes.models import Models
from promptkit.runtimes.scripted import Scripted
from promptkit.storage.store import Store
from promptkit.storage.yaml import load_file
from promptkit.techniques.artifacts import Artifact, read_artifact
from tests.engine.helpers import Folder, Given, asked, messages

MINE = """
from promptkit.techniques import Answer, Count, Prepared, Task, technique

async def prepare(task, rows, *, items: Count = 2, seed: int = 0):
    found = []
    for row in rows[:items]:
        reply = await task.on(row).ask("think")
        found.append({"input": row.inputs, "thoughts": reply.text, "output": row.expect})
    return Prepared(items=found, uncertain=[{"input": row.inputs, "disagreement": 0.5} for row in rows[items:]])

@technique(needs=["rows"], calls="1", prepare=prepare)
async def mine(task: Task) -> Answer:
    return await task.decide(await task.showing(task.artifact.items).ask("think"))
"""
THINK = """
---
produces: answer
thinks: true
---
{% extends prompt %}
{% block recap %}THINK FIRST{% endblock %}
"""
PROMPT = """
---
inputs: {mail: {}, tone: {default: calm}}
answer: {label: [delivery, payment]}
---
{% block instructions %}Sort the mail.{% endblock %}
{% block input %}{{ mail }}{% endblock %}
"""
PIPELINE = """
name: mails
inputs: {mail: {example: hi}}
steps:
  topic: {prompt: sort, technique: mine}
"""
ROWS = """
{"mail": "The parcel is late.", "expect": "delivery"}
{"mail": "My card was charged twice.", "expect": "payment"}
{"mail": "Where is the courier?", "expect": "delivery"}
"""


@pytest.fixture
def folder(folder: Folder) -> Folder:
    folder.write("techniques/mine.py", MINE)
    folder.write("templates/techniques/mine/think.j2", THINK)
    folder.write("templates/prompts/sort.j2", PROMPT)
    folder.write("rows.jsonl", ROWS)
    return folder


class Thinking(Given):
    """Models whose answers a store keeps."""

    def __init__(self, runtime: Scripted, store: Store | None = None) -> None:
        super().__init__(runtime)
        self._default_client = Client(runtime, store=store)


def scripted() -> Scripted:
    return Scripted(lambda request: "delivery" if request.grammar else "It is about a parcel.")


async def prepared(
    folder: Folder,
    text: str = PIPELINE,
    *,
    name: str = "mine",
    step: str | None = None,
    models: Models | None = None,
    budget: int | None = None,
    overwrite: bool = False,
    **parameters: Any,
) -> tuple[PreparedStep, Path]:
    """Prepare a technique on rows.jsonl and write its artifact."""
    pipeline = folder.load(text)
    plan = plan_preparation(name, pipeline, find_prompt_step(pipeline, step), parameters, overwrite=overwrite)
    rows = read_step_rows(pipeline, plan.step, folder.root / "rows.jsonl", labelled=plan.labelled)
    done = await prepare(plan, rows, models=models or Given(scripted()), settings=RunSettings(), budget=budget)
    write_artifact(done.artifact, plan.file, "promptkit techniques prepare mine mails")
    return done, plan.file


async def test_the_artifact_lies_beside_the_pipeline_and_says_what_made_it(folder: Folder) -> None:
    done, file = await prepared(folder, seed=3)

    assert file == folder.root / "pipelines" / "test.topic.mine.yaml"
    assert read_artifact(file) == done.artifact
    assert done.artifact.model == "scripted"
    assert (done.artifact.pipeline, done.artifact.step, done.artifact.seed) == ("mails", "topic", 3)
    assert done.artifact.parameters == {"items": 2, "seed": 3}
    assert [item["output"] for item in done.artifact.items] == ["delivery", "payment"]
    assert len(done.artifact.rows) == 3
    assert done.totals.calls == 2


async def test_the_file_is_read_by_people_first(folder: Folder) -> None:
    script = Scripted(lambda request: "First line.\nSecond line: 1e5")
    _, file = await prepared(folder, models=Given(script))

    lines = file.read_text().splitlines()

    assert lines[0].startswith("# Made by `promptkit techniques prepare mine mails`. It may be edited")
    assert [line.partition(":")[0] for line in lines[1:4]] == ["technique", "pipeline", "step"]
    assert "  thoughts: |-" in lines
    assert "    Second line: 1e5" in lines


async def test_the_step_uses_what_was_prepared_as_a_person_edited_it(folder: Folder) -> None:
    _, file = await prepared(folder)
    file.write_text(file.read_text().replace("It is about a parcel.", "A PARCEL, SAYS A PERSON."))
    runtime = scripted()

    result = await run(folder.load(PIPELINE), {"mail": "Where is my order?"}, models=Given(runtime))

    assert result.output == "delivery"
    assert "A PARCEL, SAYS A PERSON." in asked(runtime)[0]
    assert "The parcel is late." in asked(runtime)[0]


async def test_nothing_is_written_over_unless_it_is_wanted(folder: Folder) -> None:
    _, file = await prepared(folder)
    before = file.read_text()

    with pytest.raises(InputError, match=r"artifact already.*(?s:.*)--force"):
        await prepared(folder)

    assert file.read_text() == before
    await prepared(folder, items=1, overwrite=True)
    assert len((read_artifact(file) or Artifact(technique="")).items) == 1


async def test_a_broken_artifact_can_be_made_anew(folder: Folder) -> None:
    file = folder.write("pipelines/test.topic.mine.yaml", "itemz: []\n")

    await prepared(folder, overwrite=True)

    assert len((read_artifact(file) or Artifact(technique="")).items) == 2


async def test_a_spent_budget_keeps_what_was_answered_and_a_larger_one_goes_on(folder: Folder, tmp_path: Path) -> None:
    runtime = scripted()
    with Store.open(tmp_path / "store") as store:
        with pytest.raises(BudgetSpent) as spent:
            await prepared(folder, models=Thinking(runtime, store), budget=1)
        asked_before = len(runtime.requests)
        done, _ = await prepared(folder, models=Thinking(runtime, store), budget=2)

    assert spent.value.exit_code == 3
    assert "what was answered is kept" in str(spent.value)
    assert "--budget calls=2" in str(spent.value)
    assert asked_before == 1
    assert len(runtime.requests) == 2
    assert (done.totals.calls, done.totals.cached) == (2, 1)


async def test_a_technique_of_another_step_setting_is_prepared_with_its_usual_parameters(folder: Folder) -> None:
    done, file = await prepared(folder, PIPELINE.replace(", technique: mine", ""))

    assert file.name == "test.topic.mine.yaml"
    assert len(done.artifact.items) == 2


async def test_a_technique_beneath_another_is_prepared_as_it_stands_there(folder: Folder) -> None:
    done, file = await prepared(folder, PIPELINE.replace("technique: mine", "technique: {instructed: {over: mine}}"))

    assert file.name == "test.topic.mine.yaml"
    assert done.artifact.technique == "mine"


async def test_rows_of_options_of_their_own_are_asked_with_these(folder: Folder) -> None:
    folder.write("templates/prompts/sort.j2", PROMPT.replace("[delivery, payment]", '"{{ topics }}"').replace(
        "inputs: {mail: {}", "inputs: {mail: {}, topics: {type: list}"))  # fmt: skip
    folder.write(
        "rows.jsonl",
        '{"mail": "a", "topics": ["x1", "x2"], "expect": "x2"}\n'
        '{"mail": "b", "topics": ["y1", "y2"], "expect": "y1"}\n',
    )
    folder.write(
        "techniques/mine.py",
        MINE.replace("reply = await task.on(row).ask", "own = task.on(row)\n        reply = await own.ask").replace(
            '"thoughts": reply.text', '"thoughts": " ".join(own.answer_type.alternatives())'
        ),
    )
    text = PIPELINE.replace("{mail: {example: hi}}", "{mail: {example: hi}, topics: {type: list, example: [a, b]}}")

    done, _ = await prepared(folder, text)

    assert [item["thoughts"] for item in done.artifact.items] == ["x1 x2", "y1 y2"]


@pytest.mark.parametrize(
    ("parameters", "words"),
    [
        ({"itms": 3}, "no parameter `itms`(?s:.*)did you mean `items`"),
        ({"items": "many"}, "`items` of technique `mine`: .*integer"),
        ({"items": 0}, "`items` of technique `mine`"),
    ],
)
async def test_a_wrong_parameter_is_told_before_anything_is_asked(
    folder: Folder, parameters: Mapping[str, Any], words: str
) -> None:
    runtime = scripted()

    with pytest.raises(InputError, match=words):
        await prepared(folder, models=Given(runtime), **parameters)

    assert not runtime.requests


async def test_a_technique_that_needs_none_says_which_do(folder: Folder) -> None:
    with pytest.raises(InputError, match=r"`vanilla` needs no preparation(?s:.*)mine"):
        await prepared(folder, name="vanilla")


async def test_a_misspelt_technique_is_told_with_the_nearest(folder: Folder) -> None:
    with pytest.raises(InputError, match=r"unknown technique `mime`(?s:.*)did you mean `mine`"):
        await prepared(folder, name="mime")


@pytest.mark.parametrize(
    ("needs", "words"),
    [("labels", "row 1: there is no field `expect`"), ("rationales", "rows 1, 2, 3 are without one")],
)
async def test_what_a_technique_needs_of_its_rows_must_be_in_each(folder: Folder, needs: str, words: str) -> None:
    folder.write("techniques/mine.py", MINE.replace('["rows"]', f'["rows", "{needs}"]'))
    folder.write("rows.jsonl", '{"mail": "a"}\n{"mail": "b"}\n{"mail": "c"}\n')

    with pytest.raises(InputError, match=words):
        await prepared(folder)


async def test_what_the_model_lacks_is_told_before_anything_is_asked(folder: Folder) -> None:
    folder.write("techniques/mine.py", MINE.replace('["rows"]', '["rows", "sampling"]'))
    runtime = Scripted(lambda request: "x", capabilities=["chat"])

    with pytest.raises(Unsupported, match="sampling"):
        await prepared(folder, models=Given(runtime))

    assert not runtime.requests


def test_parameters_are_read_as_yaml_and_all_mistakes_are_told() -> None:
    assert read_parameters(["items=3", "name=a b"]) == {"items": 3, "name": "a b"}

    with pytest.raises(InputError) as wrong:
        read_parameters(["items", "x=[1"])

    assert "`--set items` must be PARAMETER=VALUE" in messages(wrong.value.problems)
    assert len(wrong.value.problems) == 2


TEXTS = st.text().filter(lambda text: "\0" not in text)
KEYS = st.text(alphabet="ab é:#'-1{", min_size=1)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=3),
    max_leaves=8,
)


@given(thoughts=TEXTS, output=VALUES, parameter=VALUES)
def test_what_is_written_is_read_back_as_it_was(
    tmp_path_factory: pytest.TempPathFactory, thoughts: str, output: Any, parameter: Any
) -> None:
    file = tmp_path_factory.getbasetemp() / "a.b.mine.yaml"
    item = {"input": {"mail": thoughts}, "thoughts": thoughts, "output": output}
    artifact = Artifact(technique="mine", parameters={"p": parameter}, items=(item,), rows=("1234567890123456", "12e4"))

    write_artifact(artifact, file, "promptkit\n\x07 techniques prepare")

    assert Artifact.model_validate(load_file(file).value) == artifact


async def test_what_no_file_can_hold_is_replaced(folder: Folder) -> None:
    _, file = await prepared(folder, models=Given(Scripted(lambda request: "a\0b\ud800c")))

    assert (read_artifact(file) or Artifact(technique="")).items[0]["thoughts"] == "a\ufffdb\ufffdc"
