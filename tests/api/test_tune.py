"""`promptkit.tune`: what the command does, without its screen."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest

import promptkit
from promptkit.errors import InputError, RuntimeFailure
from promptkit.storage.store import Store
from tests.cli.runs_project import Here, make_project

SCRIPT = """\
def answer(request):
    text = request.messages[-1].content
    return "good" if "fine" in text and "TASK:" in text else "bad"
"""
PIPELINE = """\
name: mood
inputs: {text: {example: fine}}
steps:
  mood: {prompt: mood}
tune: {mood.layout: [xml, prefix, markdown]}
"""
SUITE = "data: many.jsonl\ntarget: mood\nmetrics: {accuracy: label}\n"
ROWS = [{"text": f"{'fine' if at % 2 else 'poor'} {at}", "expect": "good" if at % 2 else "bad"} for at in range(80)]
FILES = {
    "promptkit.yaml": "model: scripted:script.py:answer\n",
    "script.py": SCRIPT,
    "pipelines/mood.yaml": PIPELINE,
    "evals/mood.yaml": SUITE,
    "evals/many.jsonl": "".join(json.dumps(row) + "\n" for row in ROWS),
}
OF_THE_RUN = {"run", "seconds", "cached"}


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Here:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("PROMPTKIT_MODEL", raising=False)
    return make_project(tmp_path, FILES)


def files(folder: Path) -> dict[str, str]:
    """Return the files that are a person's."""
    paths = (path for path in folder.rglob("*") if path.is_file() and ".promptkit" not in path.parts)
    return {str(path.relative_to(folder)): path.read_text() for path in paths if "__pycache__" not in path.parts}


def alike(record: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in record.items() if key not in OF_THE_RUN}


def test_it_returns_the_object_that_the_command_prints(here: Here) -> None:
    limits, options = "calls=300,minutes=5", {"seed": 3, "prefer": "cheap", "mode": "joint", "only": ["layout"]}
    result = promptkit.tune("mood", "mood", budget=limits, sets=["mood.cue=Mood"], **options)  # type: ignore[arg-type]
    record = result.to_dict()
    written = files(here.root)

    typed = ["--seed", "3", "--prefer", "cheap", "--joint", "--only", "layout", "--set", "mood.cue=Mood"]
    printed = here("tune", "mood", "--suite", "mood", "--budget", limits, *typed, "--yes", "--json").json

    assert result.verdict == "improved"
    assert alike(record) == alike(printed) == alike(json.loads(result.to_json()))
    assert "improved: " in str(result)
    assert record["written"] == ["pipelines/mood.tuned.yaml"]
    assert written == files(here.root)


def test_target_and_suite_may_be_paths_and_the_one_suite_that_names_the_target_is_found(here: Here) -> None:
    found = promptkit.tune(Path("pipelines/mood.yaml"), Path("evals/mood.yaml"))

    assert alike(promptkit.tune("mood").to_dict()) == alike(found.to_dict())


def test_a_suite_that_cannot_be_read_here_does_not_hinder_the_one_that_is_meant(
    here: Here, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "rouge_score", None)
    (here.root / "evals/summary.yaml").write_text(SUITE.replace("accuracy: label", "overlap: rouge"))

    assert promptkit.tune("mood").record.suite == "mood"


def test_a_model_that_is_named_stands_before_that_of_the_project(here: Here) -> None:
    (here.root / "other.py").write_text(SCRIPT)

    record = promptkit.tune("mood", model="scripted:other.py:answer").record
    assert record.model.reference == "scripted:other.py:answer"


def test_without_writing_the_files_stay_and_the_record_has_the_diff(here: Here) -> None:
    before = files(here.root)

    record = promptkit.tune("mood", write=False).record

    assert files(here.root) == before
    assert (record.written, record.applied) == ([], False)
    assert "layout: prefix" in record.diff


def test_what_is_improved_replaces_the_original_where_that_is_asked_for(here: Here) -> None:
    record = promptkit.tune("mood", apply=True).record

    assert (record.verdict, record.applied) == ("improved", True)
    assert "layout: prefix" in (here.root / "pipelines/mood.yaml").read_text()


def test_to_replace_without_writing_is_refused(here: Here) -> None:
    with pytest.raises(InputError, match="`apply=True` contradicts `write=False`"):
        promptkit.tune("mood", write=False, apply=True)


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ({"budget": "call=3"}, "there is no limit `call`"),
        ({"only": "layout,wrding"}, "did you mean `wording`"),
        ({"only": ["wrding"]}, "did you mean `wording`"),
        ({"sets": "mood.layuot=xml"}, "did you mean `layout`"),
        ({"mode": "step"}, "there is no mode `step`"),
        ({"optimizer": "rase"}, "there is no optimizer `rase`"),
        ({"suite": "moood"}, "did you mean `mood`"),
        ({"metric": "acuracy"}, "did you mean `accuracy`"),
        ({"model": "nowhere:x"}, "nowhere"),
    ],
)
def test_a_mistake_is_an_input_error_before_anything_is_asked(here: Here, wrong: dict[str, Any], told: str) -> None:
    with pytest.raises(InputError, match=told):
        promptkit.tune("mood", **wrong)


async def test_in_a_running_loop_it_names_the_function_to_await_which_does_the_same(here: Here) -> None:
    with pytest.raises(InputError, match=r"await promptkit\.atune\("):
        promptkit.tune("mood", "mood")

    assert (await promptkit.atune("mood", "mood")).verdict == "improved"


def test_what_ends_it_in_the_middle_is_raised_and_its_record_is_kept(here: Here) -> None:
    script = here.root / "script.py"
    failing = SCRIPT.replace(":\n", ":\n    asked.append(request)\n    if len(asked) > 90:\n        raise OSError\n", 1)
    script.write_text(f"asked = []\n{failing}")
    with pytest.raises(RuntimeFailure, match="answers received so far are kept"):
        promptkit.tune("mood")
    with Store.open(here.root / ".promptkit") as store:
        run = store.run("last")
    assert run is not None
    assert (run.status, run.record["stopped_by"]) == ("incomplete", "failed")
