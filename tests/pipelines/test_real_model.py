"""One run of each shipped pipeline on the real embedded model: shapes and parsed answers, not how good they are.

The model's answers are recorded; `pytest -m real_model` asks the model itself, and makes the recording anew where
`PROMPTKIT_TEST_RECORD` is set.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from promptkit.engine.inputs import fill_inputs
from promptkit.engine.load import load_target
from promptkit.engine.results import Result
from promptkit.engine.run import run
from promptkit.project import LIBRARY, Project
from promptkit.runtimes.in_process.embedded import Embedded
from promptkit.runtimes.in_process.embedded_models import default_model
from promptkit.runtimes.replay import Recorder, Replay
from tests.pipelines.asking import Given

RECORDING = Path(__file__).parent / "recording.jsonl"
FEEDBACK = "My bill doubled and nobody answers the hotline."
CATEGORIES = {"service reliability", "pricing concerns", "customer support quality", "others"}


@pytest.fixture(params=["recorded", pytest.param("asked", marks=pytest.mark.real_model)])
def models(request: pytest.FixtureRequest) -> Iterator[Given]:
    """The real model, or its recording."""
    if request.param == "recorded":
        yield Given(Replay(RECORDING))
        return
    recorder = Recorder(RECORDING) if "PROMPTKIT_TEST_RECORD" in os.environ else None
    yield Given(request.getfixturevalue("embedded"), recorder)
    if recorder:
        recorder.close()


async def answered(models: Given, name: str, inputs: Mapping[str, Any] | None = None) -> Result:
    """Run a pipeline (on its examples) and return a result without errors and unparsed answers."""
    pipeline = load_target(LIBRARY / "pipelines" / f"{name}.yaml", Project.find(LIBRARY))
    result = await run(pipeline, fill_inputs(pipeline, inputs).values, models=models)
    assert result.error is None
    assert (result.totals.unparsed, result.notices) == (0, ())
    return result


async def test_ambiguity_answers_with_a_reading_and_its_reasoning(models: Given) -> None:
    output = (await answered(models, "ambiguity")).output
    assert list(output) == ["reading", "reasoning"]
    assert all(isinstance(text, str) and text.strip() for text in output.values())


async def test_arithmetic_answers_with_a_number(models: Given) -> None:
    assert isinstance((await answered(models, "arithmetic")).output, int | float)


async def test_table_questions_answers_with_a_list_of_values(models: Given) -> None:
    output = (await answered(models, "table_questions")).output
    assert 0 < len(output) <= 12
    assert all(isinstance(value, str) for value in output)


async def test_classify_gives_each_object_one_of_the_classes(models: Given) -> None:
    output = (await answered(models, "classify", {"objects": ["oak", "rose"], "classes": ["tree", "flower"]})).output
    assert list(output) == ["oak", "rose"]
    assert set(output.values()) <= {"tree", "flower"}


async def test_extract_makes_a_record_of_the_schema(models: Given) -> None:
    output = (await answered(models, "extract")).output
    assert list(output) == ["customer", "product", "quantity", "due"]
    assert isinstance(output["quantity"], int)


@pytest.mark.parametrize("name", ["sentiment", "sentiment_plain"])
async def test_sentiment_is_one_of_two(models: Given, name: str) -> None:
    assert (await answered(models, name)).output in ("positive", "negative")


async def test_a_text_of_several_parts_is_condensed_and_then_summarized(models: Given) -> None:
    paragraph = (
        "The council met on Monday. It decided to repair the old bridge over the river, which has been closed since "
        "the flood in autumn. The work will cost two million and begin in May. Until then a ferry carries people and "
        "bicycles across, and cars take the road through the valley."
    )
    text = "\n\n".join(f"Report {number}. {paragraph}" for number in range(1, 9))
    result = await answered(models, "summarize", {"text": text})
    assert result.steps["condensed"].calls >= 2
    assert 0 < len(result.output) < len(text) / 4
    assert "\n\n" not in result.output


def checked_feedback(output: Mapping[str, Any]) -> None:
    assert list(output) == ["issues", "recommendations"]
    assert 1 <= len(output["issues"]) <= 4
    assert set(output["issues"].values()) <= CATEGORIES
    assert set(output["recommendations"]) == set(output["issues"].values())
    assert all(text.strip() for text in output["recommendations"].values())


async def test_feedback_goes_from_issues_over_categories_to_recommendations(models: Given) -> None:
    result = await answered(models, "feedback", {"feedback": FEEDBACK})
    checked_feedback(result.output)
    assert [step.status for step in result.steps.values()] == ["done", "done", "done"]


def test_the_main_journey_is_one_command(model_file: Path, tmp_path: Path) -> None:
    kept = tmp_path / "models" / default_model().file
    kept.parent.mkdir()
    kept.symlink_to(model_file)
    environment = {**os.environ, "PROMPTKIT_CACHE": str(tmp_path), "OLLAMA_HOST": "127.0.0.1:9"}
    environment.pop("PROMPTKIT_MODEL", None)
    command = [sys.executable, "-m", "promptkit", "run", "pipelines/feedback.yaml", f"feedback={FEEDBACK}"]
    command += ["--no-cache", "--json"]
    done = subprocess.run(
        command, cwd=LIBRARY, env=environment, capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stderr
    printed = json.loads(done.stdout)
    checked_feedback(printed["output"])
    assert printed["model"]["reference"] == "embedded/smollm2"
    assert [step["unparsed"] for step in printed["steps"].values()] == [0, 0, 0]


async def test_offsets_of_the_small_model_are_left_out_on_another_one(model_file: Path) -> None:
    other = Embedded(model_file, reference=f"gguf:{model_file.name}", context=2048, slots=1)
    pipeline = load_target("classify_issue", Project.find(LIBRARY))
    try:
        result = await run(pipeline, fill_inputs(pipeline).values, models=Given(other))
    finally:
        await other.close()
    assert result.output in CATEGORIES
    [notice] = result.notices
    assert "scores without them" in notice
