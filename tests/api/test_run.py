"""`promptkit.load`, `run` and `render`: what the commands do, as typed results."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import promptkit
from promptkit.errors import InputError, RuntimeFailure
from tests.cli.runs_project import Here, make_project

TWO = """\
name: two
inputs: {text: {example: fine}}
steps:
  mood: {prompt: mood}
  reply: {prompt: {instructions: "Reply to a {{ mood }} text.", input: "{{ text }}"}}
"""


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Here:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("PROMPTKIT_MODEL", raising=False)
    return make_project(tmp_path, {"pipelines/two.yaml": TWO})


def test_a_run_returns_the_output_the_costs_and_who_answered(here: Here) -> None:
    result = promptkit.run("mood", {"text": "It is broken"})

    assert (result.output, str(result), result.totals.calls) == ("bad", "bad", 1)
    assert result.steps["mood"].value == "bad"
    assert [(model.reference, model.why) for model in result.models] == [("scripted:script.yaml", "promptkit.yaml")]


def test_a_run_turns_into_the_object_that_the_command_prints(here: Here) -> None:
    mine, printed = promptkit.run("mood").to_dict(), here("run", "mood", "--json").json

    assert mine.keys() == printed.keys()
    assert json.loads(promptkit.run("mood").to_json())["output"] == printed["output"] == "good"
    assert printed["totals"]["cached"] == 1, "the run is kept as one of the command is"


def test_without_inputs_the_examples_are_used_and_a_wrong_one_is_an_input_error(here: Here) -> None:
    assert promptkit.run("mood").output == "good"
    with pytest.raises(InputError, match="has no input `txt`"):
        promptkit.run("mood", {"txt": "fine"})


def test_a_target_is_loaded_once_with_its_settings_and_run_often(here: Here) -> None:
    mood = promptkit.load(Path("pipelines/mood.yaml"), sets=["mood.layout=prefix"])

    assert [promptkit.run(mood, {"text": text}).output for text in ("It is broken", "fine")] == ["bad", "good"]
    assert "TEXT: fine" not in str(promptkit.render("mood")) != str(promptkit.render(mood))
    with pytest.raises(InputError, match="changes a target when it is loaded"):
        promptkit.run(mood, sets=["mood.layout=xml"])


def test_what_ends_a_run_is_raised_or_in_the_result_where_that_is_asked_for(here: Here) -> None:
    given = {"text": "So nice"}
    with pytest.raises(RuntimeFailure, match="the server is tired"):
        promptkit.run("mood", given, model="scripted:failing.yaml")

    result = promptkit.run("mood", given, model="scripted:failing.yaml", check=False)
    assert result.output is None
    assert "the server is tired" in str(result.error) and "the server is tired" in result.to_dict()["error"]


def test_progress_is_shown_where_one_is_given(here: Here, capsys: pytest.CaptureFixture[str]) -> None:
    promptkit.run("mood")
    assert capsys.readouterr() == ("", "")
    promptkit.run("mood", progress=promptkit.Progress())
    assert "mood" in capsys.readouterr().err


def test_a_recording_answers_in_place_of_the_model(here: Here) -> None:
    promptkit.run("mood", record="mood.recording")

    result = promptkit.run("mood", model="replay:mood.recording")
    assert (result.output, result.models[0].replay) == ("good", "replay:mood.recording")


def test_what_is_sent_is_rendered_with_results_of_steps_that_are_given(here: Here) -> None:
    mood, reply = promptkit.render("two", {"text": "hm", "mood": "bad"})

    assert "hm" in mood.request.messages[0].content
    assert "Reply to a bad text." in reply.request.messages[0].content
    assert dict(reply.assumed) == {"mood": "command line"}
    printed = here("render", "two", "text=hm", "mood=bad", "--json").json
    assert promptkit.render("two", {"text": "hm", "mood": "bad"}).to_dict() == printed


async def test_in_a_running_loop_each_names_what_to_await(here: Here) -> None:
    with pytest.raises(InputError, match=r"await promptkit\.arun\("):
        promptkit.run("mood")
    with pytest.raises(InputError, match=r"await asyncio\.to_thread\(promptkit\.render"):
        promptkit.render("mood")

    assert (await promptkit.arun("mood")).output == "good"
