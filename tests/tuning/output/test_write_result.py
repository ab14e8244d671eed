"""The result of a tuning, written: a failure to write it never loses it."""

from __future__ import annotations

from pathlib import Path

import pytest

from promptkit.errors import InputError, StoreFailed
from promptkit.evaluation.suite.reader import load_suite
from promptkit.evaluation.suite.suite import Suite
from promptkit.storage.store import Store
from promptkit.tuning.output import write
from promptkit.tuning.output.write import heading, plain_reference, write_result
from promptkit.tuning.prompt_edits import edit_sections
from promptkit.tuning.run import TuningResult
from promptkit.tuning.search_space.candidate import Candidate, Choice
from promptkit.tuning.tune_record import TuneRecord
from tests.engine.helpers import Folder
from tests.evaluation.suites import Bench
from tests.reports.demo_tuning import demo_tuning

CHOSEN = Candidate({"mood.layout": Choice("json", {"mood.layout": "json"})})


@pytest.fixture
def suite(folder: Folder) -> Suite:
    bench = Bench(folder)
    bench.suite()
    start = (folder.root / "pipelines/mood.yaml").resolve()
    return load_suite(folder.root / "evals/test.yaml", folder.project, start=start)


def tuned(store: Store, verdict: str = "improved", chosen: Candidate | None = CHOSEN) -> TuningResult:
    number = store.begin_run("tune", "mood", model={})
    data = demo_tuning(run=number, verdict=verdict, diff="", written=[], applied=False)
    record = TuneRecord.model_validate(data)
    return TuningResult(number=number, status="done", record=record, candidate=chosen)


def test_what_is_written_is_in_the_record_that_is_kept(suite: Suite, folder: Folder) -> None:
    with Store.open(folder.root / ".promptkit") as store:
        given = write_result(tuned(store), suite, store)
        run = store.run("1")

    assert given.record.written == ["pipelines/mood.tuned.yaml"]
    assert "+  mood: {prompt: mood, layout: json}" in given.record.diff
    assert run is not None and run.record == given.record.to_json()


def test_what_cannot_be_written_is_in_the_record_as_a_diff(
    suite: Suite, folder: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(drafted: object) -> list[Path]:
        raise StoreFailed("the disk is full")

    monkeypatch.setattr(write, "write", full)
    with Store.open(folder.root / ".promptkit") as store:
        given = write_result(tuned(store), suite, store)

    assert (given.record.written, given.record.applied) == ([], False)
    assert "layout: json" in given.record.diff
    assert "nothing is written: the disk is full" in given.record.notes
    assert given.failure is not None


def test_a_prompt_whose_sections_change_stays_and_a_pipeline_is_written_in_its_place(folder: Folder) -> None:
    bench = Bench(folder)
    bench.suite()
    prompt = folder.root / "templates/prompts/mood.j2"
    suite = load_suite(folder.root / "evals/test.yaml", folder.project, start=prompt.resolve())
    before = prompt.read_text("utf-8")
    changes = edit_sections(suite.baseline.pipeline, "mood", {"recap": "One word."})
    with Store.open(folder.root / ".promptkit") as store:
        chosen = Candidate({"mood.wording": Choice("recap", changes)})
        given = write_result(tuned(store, chosen=chosen), suite, store, in_place=True)

    assert given.record.applied is False and prompt.read_text("utf-8") == before
    assert "pipelines/mood.tuned.yaml" in given.record.written
    assert any("the prompt is not replaced" in entry for entry in given.record.notes)


def test_where_nothing_is_worth_it_nothing_is_written(suite: Suite, folder: Folder) -> None:
    with Store.open(folder.root / ".promptkit") as store:
        assert write_result(tuned(store, chosen=None), suite, store).record.written == []
    assert not (folder.root / "pipelines/mood.tuned.yaml").exists()


def test_only_what_is_shown_to_be_better_replaces_the_original(suite: Suite, folder: Folder) -> None:
    original = folder.root / "pipelines/mood.yaml"
    before = original.read_text("utf-8")
    with Store.open(folder.root / ".promptkit") as store:
        unsure = write_result(tuned(store, "not shown"), suite, store, in_place=True)
        assert (unsure.record.applied, original.read_text("utf-8")) == (False, before)
        assert "the original is not replaced: nothing was shown to be better" in unsure.record.notes
        sure = write_result(tuned(store), suite, store, in_place=True)
    assert (sure.record.applied, sure.record.written) == (True, ["pipelines/mood.yaml"])
    assert original.read_text("utf-8") == before.replace("{prompt: mood}", "{prompt: mood, layout: json}")


def test_what_was_shown_to_be_better_is_not_lost_to_what_was_not(suite: Suite, folder: Folder) -> None:
    with Store.open(folder.root / ".promptkit") as store:
        shown = write_result(tuned(store), suite, store)
        unsure = write_result(tuned(store, "not shown"), suite, store)
        better = write_result(tuned(store), suite, store)

    assert shown.record.written == better.record.written == ["pipelines/mood.tuned.yaml"]
    assert unsure.record.written == ["pipelines/mood.tuned-2.yaml"]
    assert "\nname: mood.tuned-2\n" in (folder.root / "pipelines/mood.tuned-2.yaml").read_text("utf-8")


def test_what_cannot_be_written_fails_and_is_kept_all_the_same(
    suite: Suite, folder: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> list[Path]:
        raise InputError("there is no room")

    monkeypatch.setattr(write, "write", refuse)
    with Store.open(folder.root / ".promptkit") as store:
        given = write_result(tuned(store), suite, store)
        run = store.run("1")
    assert given.failure is not None and given.failure.exit_code == 2
    assert run is not None
    assert "nothing is written: there is no room" in run.record["notes"]
    assert run.record["best"] == given.record.best.to_json()


@pytest.mark.parametrize(
    ("reference", "plain"),
    [
        ("embedded/smollm2", "embedded/smollm2"),
        ("gguf:/home/me/models/x.gguf", "gguf:x.gguf"),
        ("scripted:/tmp/p/script.py:answer", "scripted:script.py:answer"),
        ("openai/name@http://10.0.0.1:8080/v1", "openai/name"),
        ("ollama/qwen2.5:1.5b", "ollama/qwen2.5:1.5b"),
    ],
)
def test_a_tuned_file_names_no_folder_and_no_server_of_the_machine(reference: str, plain: str) -> None:
    assert plain_reference(reference) == plain
    data = demo_tuning(model={"reference": reference, "digest": "sha256:0123456789abcdef", "why": ""})
    how, text = heading(TuneRecord.model_validate(data))
    assert how == f"Suite moods, optimizer race, seed 0, 597 calls, on {plain} 0123456789ab."
    assert text.startswith("improved by accuracy (+0.100 [+0.020, +0.180] on 142 rows): ")
