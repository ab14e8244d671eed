"""The words about an answer that a model reads."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from promptkit.answers.build import build_answer_type, instruction, repair_message
from promptkit.project import Project
from tests.answers.kinds import IDS, KINDS


@pytest.mark.parametrize("spec", [spec for spec, _ in KINDS], ids=IDS)
def test_every_type_has_an_instruction_and_a_repair(spec: Any) -> None:
    answer = build_answer_type(spec)
    assert bool(instruction(answer)) == (answer.name != "text")
    repair = repair_message(answer, "it is empty {{ x }}")
    assert "it is empty {{ x }}" in repair
    assert instruction(answer) in repair


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        ({"label": {"a": "the first", "b": "the other"}}, ["a, b", "- a: the first", "- b: the other"]),
        ({"label": ["a, b", "c"]}, ["a, b; c"]),
        ({"labels": ["a", "b"]}, ["a, b", '", "', "write none"]),
        ({"choice": ["x", "y"]}, ["A) x", "B) y", "letter"]),
        ({"number": {"min": 1, "max": 5, "decimals": 0}}, ["at least 1", "at most 5", "whole number"]),
        ({"list": {"separator": ";", "of": {"label": ["a", "b"]}}}, ['";"', "a, b", "none"]),
        ({"list": {"max": 4}}, ["at most 4 items"]),
        ({"list": {"of": {"json": {"type": "integer"}}, "max": 1}}, ["at most 1 item."]),
        ({"json": {"type": "integer"}}, ['{"type": "integer"}']),
        ("code", ["```python"]),
        ({"spans": {"classes": ["problem"], "text": "x"}}, ["<span class=", "problem"]),
    ],
)
def test_an_instruction_says_what_the_parser_reads(spec: Any, words: list[str]) -> None:
    text = instruction(build_answer_type(spec))
    for word in words:
        assert word in text


def test_a_project_may_word_an_instruction_itself(tmp_path: Path) -> None:
    folder = tmp_path / "templates" / "answers"
    folder.mkdir(parents=True)
    (folder / "boolean.j2").write_text("Ja oder nein: {{ name }}")
    (tmp_path / "promptkit.yaml").write_text("")
    assert instruction(build_answer_type("boolean"), project=Project.find(tmp_path)) == "Ja oder nein: boolean"
