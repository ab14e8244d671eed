"""Artifacts: plain files that a person may edit, and rows that are known by their inputs."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from promptkit.engine.step_rows import find_prompt_step, read_step_rows
from promptkit.errors import InputError
from promptkit.techniques.artifacts import Artifact, Row, artifact_file, read_artifact, row_hash
from tests.engine.helpers import Folder

VALUES = st.text() | st.integers() | st.booleans() | st.none() | st.lists(st.text(), max_size=3)
INPUTS = st.dictionaries(st.text(), VALUES, max_size=5)
WRITTEN = """\
technique: auto_cot
pipeline: sums
step: solve
model: ollama/tiny
parameters: {clusters: 4}
items:
  - {input: {question: 2+2}, thoughts: Two and two., output: 4}
rows: [0123456789abcdef]
"""


@given(INPUTS, st.randoms(use_true_random=False))
def test_a_row_is_known_whatever_the_order_of_its_inputs(inputs: dict[str, Any], random: Any) -> None:
    names = list(inputs)
    random.shuffle(names)

    assert row_hash({name: inputs[name] for name in names}) == row_hash(inputs)


@given(INPUTS, INPUTS)
def test_other_inputs_are_another_row(one: dict[str, Any], other: dict[str, Any]) -> None:
    same = repr(sorted(one.items())) == repr(sorted(other.items()))

    assert (row_hash(one) == row_hash(other)) == same


@given(INPUTS, VALUES, st.text())
def test_what_the_data_says_of_the_answer_does_not_tell_rows_apart(
    inputs: dict[str, Any], expect: Any, rationale: str
) -> None:
    assert Row(inputs=inputs, expect=expect, rationale=rationale).hash == row_hash(inputs)


def test_half_a_character_is_an_input_too() -> None:
    assert len(row_hash({"question": "\ud83d"})) == 16


PROMPT = """
---
inputs: {question: {type: text}, place: {type: text}}
---
{% block input %}{{ question }} {{ place }}{% endblock %}
"""
FILES = {
    "rows.jsonl": '{"question": "Who?", "place": "3", "expect": "Ada"}\n',
    "rows.json": '[{"place": "3", "question": "Who?"}]',
    "rows.csv": "expect,place,question,note\nAda,3,Who?,seen\n",
    "rows.yaml": "- {place: '3', question: Who?}\n",
}


def test_a_row_is_found_again_in_another_file(tmp_path: Path) -> None:
    folder = Folder(tmp_path)
    folder.write("templates/prompts/ask.j2", PROMPT)
    pipeline = folder.load("inputs: {question: {}, place: {type: text}}\nsteps: {solve: {prompt: ask}}\n")

    hashes = {
        read_step_rows(pipeline, find_prompt_step(pipeline, None), folder.write(name, text)).rows[0].hash
        for name, text in FILES.items()
    }

    assert len(hashes) == 1


def test_what_was_prepared_lies_beside_the_pipeline_under_the_steps_name(tmp_path: Path) -> None:
    assert artifact_file(tmp_path, "sums.solve", "auto_cot") == tmp_path / "sums.solve.auto_cot.yaml"


def test_a_file_is_read_with_what_it_leaves_out_empty(tmp_path: Path) -> None:
    file = tmp_path / "sums.solve.auto_cot.yaml"
    file.write_text(WRITTEN)

    assert read_artifact(file) == Artifact(
        technique="auto_cot",
        pipeline="sums",
        step="solve",
        model="ollama/tiny",
        parameters={"clusters": 4},
        items=({"input": {"question": "2+2"}, "thoughts": "Two and two.", "output": 4},),
        rows=("0123456789abcdef",),
    )


def test_where_there_is_no_file_nothing_was_prepared(tmp_path: Path) -> None:
    assert read_artifact(tmp_path / "sums.solve.auto_cot.yaml") is None


@pytest.mark.parametrize(
    ("text", "line", "message"),
    [
        (WRITTEN + "itms: []\n", 9, "unknown key `itms`"),
        (WRITTEN.replace("technique: auto_cot\n", ""), 1, "`technique` is missing"),
        (WRITTEN.replace("rows: [0123456789abcdef]", "rows: 3"), 8, "`rows`: must be a list"),
        (WRITTEN.replace("items:\n  - {", "items:\n  - text\n  - {"), 7, "must be a mapping"),
        (WRITTEN + "technique: twice\n", 9, "`technique` is given twice"),
        ("- a list\n", 1, "must be a mapping"),
    ],
)
def test_what_is_wrong_in_an_edited_file_is_told_at_its_line(
    tmp_path: Path, text: str, line: int, message: str
) -> None:
    file = tmp_path / "sums.solve.auto_cot.yaml"
    file.write_text(text)

    with pytest.raises(InputError) as raised:
        read_artifact(file)

    told = [(Path(problem.file or "").name, problem.line) for problem in raised.value.problems]
    assert told == [(file.name, line)]
    assert message in raised.value.problems[0].message


def test_an_edited_file_is_read_anew_and_one_that_is_not_is_kept(tmp_path: Path) -> None:
    file = tmp_path / "sums.solve.auto_cot.yaml"
    file.write_text(WRITTEN)
    first = read_artifact(file)
    kept = read_artifact(file)

    file.write_text(WRITTEN.replace("Two and two.", "Four and two."))
    edited = read_artifact(file)
    stamp = file.stat().st_mtime_ns + 1_000_000
    file.write_text(WRITTEN.replace("Two and two.", "Five and two."))
    os.utime(file, ns=(stamp, stamp))
    of_one_length = read_artifact(file)

    assert kept is first and first is not None
    assert [each.items[0]["thoughts"] for each in (first, edited, of_one_length) if each] == [
        "Two and two.",
        "Four and two.",
        "Five and two.",
    ]
