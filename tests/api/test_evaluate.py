"""`promptkit.evaluate` and `compare`: what the commands do, as typed results."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import promptkit
from promptkit.errors import InputError
from tests.cli.runs_project import SUITE, Here, make_project

STEPS = """\
data: rows.jsonl
target: mood
metrics: {accuracy: label}
steps: {mood: {inputs: {text: "{{ row.text }}"}, expect: "{{ row.expect }}", metrics: {right: label}}}
"""


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Here:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("PROMPTKIT_MODEL", raising=False)
    strict = SUITE + "thresholds: {accuracy: {at_least: 0.99}}\n"
    return make_project(tmp_path, {"evals/strict.yaml": strict, "evals/steps.yaml": STEPS})


def test_an_evaluation_returns_the_object_that_the_command_prints_and_the_report(here: Here) -> None:
    result = promptkit.evaluate("mood")
    printed = here("eval", "mood", "--json").json

    assert (result.number, result.status, result.passed) == (1, "done", True)
    mine = json.loads(result.to_json())
    assert [variant["metrics"] for variant in mine["variants"]] == [each["metrics"] for each in printed["variants"]]
    assert mine.keys() == printed.keys() and printed["known"] > 0
    assert str(result).startswith("mood  run 1  done")


def test_rows_are_limited_and_filtered(here: Here) -> None:
    assert promptkit.evaluate("mood", limit=2).record.rows == 2
    assert promptkit.evaluate(Path("evals/mood.yaml"), filters={"expect": "good"}).record.rows == 3


def test_a_threshold_that_is_missed_is_in_the_result(here: Here) -> None:
    result = promptkit.evaluate("strict")

    assert not result.passed
    assert [threshold.passed for threshold in result.record.thresholds] == [False]


def test_a_step_with_labels_of_its_own_has_a_result_of_its_own(here: Here) -> None:
    result = promptkit.evaluate("steps")

    assert {name: step.number for name, step in result.steps.items()} == {"mood": result.number + 1}
    assert str(result.steps["mood"]).startswith("steps.mood  run 2  done")
    assert result.passed


def test_a_mistake_is_an_input_error_before_anything_is_asked(here: Here) -> None:
    with pytest.raises(InputError, match="did you mean `mood`"):
        promptkit.evaluate("mooo")
    with pytest.raises(InputError, match="--smallest is a number of points"):
        promptkit.evaluate("mood", smallest=0)


def test_margins_and_pairs_are_those_of_the_command(here: Here) -> None:
    variants = "variants: {a: {}, b: {mood.layout: prefix}, c: {mood.layout: markdown}}"
    three = SUITE.replace("variants: {plain: {}, prefix: {mood.layout: prefix}}", variants)
    (here.root / "evals/three.yaml").write_text(three)
    result = promptkit.evaluate("three", margin=["0.9", "accuracy=0.95"], all_pairs=True)
    compared = promptkit.compare(f"{result.number}:b", f"{result.number}:a", margin="accuracy=0.001")

    assert [(found.a, found.b, found.margin) for found in result.record.comparisons][:3] == [
        ("b", "a", 0.95),
        ("c", "a", 0.95),
        ("c", "b", 0.95),
    ]
    assert [found.margin for found in compared.record.comparisons] == [0.001, None]


async def test_in_a_running_loop_it_names_what_to_await(here: Here) -> None:
    with pytest.raises(InputError, match=r"await promptkit\.aevaluate\("):
        promptkit.evaluate("mood")

    assert (await promptkit.aevaluate("mood")).number == 1


def test_two_runs_are_compared_as_the_command_compares_them(here: Here) -> None:
    promptkit.evaluate("mood")
    promptkit.evaluate("mood", model="scripted:other.yaml")

    result = promptkit.compare(2, "last~1")
    assert result.to_dict() == here("runs", "compare", "2", "1", "--json").json
    assert str(result).splitlines() == here("runs", "compare", "2", "1").out.splitlines()
    with pytest.raises(InputError, match="there is no evaluation `7`"):
        promptkit.compare(7, 1)


def test_the_variants_of_a_run_are_compared_from_another_folder(here: Here, monkeypatch: pytest.MonkeyPatch) -> None:
    promptkit.evaluate("mood")
    monkeypatch.chdir("/")

    assert promptkit.compare("1:prefix", "1:plain", folder=here.root).rows_shown == []
