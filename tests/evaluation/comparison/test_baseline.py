"""A baseline's file: small, a line a row, and never compared with what it is not."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from promptkit.errors import InputError, RequestRefused
from promptkit.evaluation.cells.progress import EvalOptions
from promptkit.evaluation.cells.saver import ReplyCache
from promptkit.evaluation.comparison.baseline import baseline_lines, find_baseline, read_baseline
from promptkit.evaluation.comparison.differences import model_names, same_model
from promptkit.evaluation.evaluate import Evaluation
from promptkit.evaluation.stored_run import StoredRun
from promptkit.runtimes.base import Request
from promptkit.runtimes.scripted import Scripted
from promptkit.storage.store import Store
from tests.engine.helpers import Folder
from tests.evaluation.suites import SUITE, Bench, Given, Ran, echo, moods

METRICS = SUITE.replace("{accuracy: label}", "{accuracy: label, f1: f1, near: edit, same: exact}")
GATE = "thresholds: {accuracy: {against: base.json, drop_at_most: 0.5}}\n"


@pytest.fixture
def bench(folder: Folder) -> Bench:
    return Bench(folder, moods(40))


def keep(bench: Bench, ran: Ran) -> Path:
    """Write a run's baseline beside the suite."""
    path = bench.folder.root / "evals/base.json"
    with Store.open(bench.store_folder) as store:
        run = store.run(str(ran.evaluated.number))
        assert run is not None
        path.write_text("".join(baseline_lines(StoredRun(store, run))), "utf-8")
    return path


async def against(bench: Bench, text: str, reference: str, script: Any = echo, **options: Any) -> Mapping[str, Any]:
    """Run a suite with `--against`, and return what is said of that."""
    with Store.open(bench.store_folder) as store:
        suite = bench.suite(text)
        chosen = EvalOptions(**options)
        found = find_baseline(reference, suite.name, store, folder=bench.folder.root / "evals")
        models = Given(Scripted(script), ReplyCache(store, exact=chosen.exact))
        evaluation = Evaluation(suite, models=models, store=store, options=chosen, against=found)
        record = (await evaluation.run()).record.to_json()
    said: Mapping[str, Any] = record["against"]
    return said


async def test_a_run_that_did_not_end_is_not_compared_with(bench: Bench) -> None:
    """Its rows are those that came first: those it did not come to are not new."""
    await bench.run()
    with Store.open(bench.store_folder) as store:
        run = store.run("1")
        assert run is not None
        store.end_run(1, "interrupted", run.record)
        with pytest.raises(InputError, match="run 1 is interrupted: there is nothing to compare with yet"):
            find_baseline("1", "test", store, folder=bench.folder.root)


async def test_rows_that_the_other_run_did_not_come_to_are_missing_and_not_new(bench: Bench) -> None:
    await bench.run()
    with Store.open(bench.store_folder) as store, sqlite3.connect(bench.store_folder / "store.db") as rows:
        run = store.run("1")
        assert run is not None
        store.end_run(1, "incomplete", run.record)
        rows.execute("delete from run_cells where row > 30")
    said = await against(bench, SUITE, "1")
    assert said["rows"] == {"both": 30, "new": 0, "gone": 0}
    assert said["comparisons"] == []
    assert "accuracy: 10 of 40 cells have no score in one of the two" in said["notes"]


async def test_a_file_says_the_same_as_the_run_it_was_made_of(bench: Bench) -> None:
    def other(request: Request) -> str:
        return "bad" if "good 3" in request.messages[-1].content else echo(request)

    keep(bench, await bench.run(METRICS))
    bench.folder.write("templates/prompts/mood.j2", bench_prompt(bench).replace("Say whether", "Tell whether"))
    by_run = await against(bench, METRICS, "1", other)
    by_file = await against(bench, METRICS, "base.json", other)

    assert by_run["comparisons"] == by_file["comparisons"]
    assert [each["metric"] for each in by_file["comparisons"]] == ["accuracy", "f1", "near", "same"]
    accuracy = by_file["comparisons"][0]
    assert (accuracy["better"], accuracy["worse"]) == (6, 0)
    assert accuracy["difference"] == pytest.approx(6 / 40)
    assert (by_run["reference"], by_file["variant"]) == ("run 1", "baseline")
    assert by_file["reference"].endswith("base.json")
    assert by_file["notes"] == []


def bench_prompt(bench: Bench) -> str:
    return (bench.folder.root / "templates/prompts/mood.j2").read_text()


async def test_it_is_json_with_a_line_a_row_so_that_one_answer_changes_one_line(bench: Bench) -> None:
    first = keep(bench, await bench.run()).read_text()
    bench.folder.write("templates/prompts/mood.j2", bench_prompt(bench).replace("Say whether", "Tell whether"))
    ran = await bench.run(
        script=lambda request: "bad" if "\ngood 3\n" in request.messages[-1].content else echo(request)
    )
    second = keep(bench, ran).read_text()

    record = json.loads(first)
    assert (record["promptkit"], record["suite"], record["model"]["reference"]) == (
        "baseline",
        "test",
        "scripted",
    )
    assert len(record["rows"]) == 40
    changed = [(a, b) for a, b in zip(first.split("\n"), second.split("\n"), strict=True) if a != b]
    assert sum("expected" in a for a, _ in changed) == 1
    assert {a.split(":")[0] for a, _ in changed if "expected" not in a} <= {'"metrics"', '"made"'}
    assert len(first) < 40 * 150 + 1000


async def test_rows_are_matched_by_what_they_hold_and_new_and_gone_ones_are_told(bench: Bench) -> None:
    keep(bench, await bench.run())
    bench.rows([*reversed(moods(43)[5:]), {"text": "good 42", "expect": "bad"}])
    said = await against(bench, SUITE, "base.json")

    assert said["rows"] == {"both": 35, "new": 4, "gone": 5}
    assert said["comparisons"][0]["n"] == 35
    assert said["comparisons"][0]["worse"] == 0
    assert said["notes"] == ["35 rows are in both; 4 are new, 5 are gone"]


async def test_regressions_have_the_numbers_of_rows_here(bench: Bench) -> None:
    keep(bench, await bench.run())
    bench.rows(list(reversed(moods(40))))
    bench.folder.write("templates/prompts/mood.j2", bench_prompt(bench).replace("Say whether", "Tell whether"))
    said = await against(bench, SUITE, "base.json", lambda request: "good")

    assert said["comparisons"][0]["regressions"] == [number for number in range(1, 41) if number % 2 == 0]


async def test_another_way_of_asking_is_told(bench: Bench) -> None:
    keep(bench, await bench.run())
    said = await against(bench, SUITE, "base.json", exact=True)

    (note,) = said["notes"]
    assert note.startswith("this run sent requests one at a time (--exact), ")


async def test_other_repeats_are_told_and_the_first_compared(bench: Bench) -> None:
    keep(bench, await bench.run())
    said = await against(bench, SUITE + "repeat: 2\n", "base.json")

    assert said["comparisons"][0]["n"] == 40
    assert said["notes"] == [f"repeats per row: 2 in this run, 1 in {said['reference']}; the first 1 are compared"]


def on_another_model(path: Path) -> None:
    here, other = (
        '{"reference": "scripted", "digest": "scripted"}',
        '{"reference": "ollama/other:7b", "digest": "0000"}',
    )
    text = path.read_text()
    assert here in text
    path.write_text(text.replace(here, other))


async def test_another_model_is_compared_only_where_that_is_asked_for_and_told(bench: Bench) -> None:
    on_another_model(keep(bench, await bench.run()))

    ran = await bench.run(SUITE + GATE)
    (threshold,) = ran.record["thresholds"]
    assert threshold["passed"] is False
    assert "not compared, since" in threshold["says"]
    assert "this run used scripted, " in threshold["says"] and "used ollama/other:7b" in threshold["says"]
    assert f"promptkit runs export {ran.evaluated.number} --baseline " in threshold["says"]

    said = await against(bench, SUITE, "base.json")
    assert said["comparisons"][0]["n"] == 40
    assert said["notes"][0].endswith("part of the difference may be the model's")


async def test_a_threshold_without_its_file_falls_short_and_says_how_to_make_it(bench: Bench) -> None:
    ran = await bench.run(SUITE + GATE)
    keep(bench, ran)
    after = await bench.run(SUITE + GATE)

    (threshold,) = ran.record["thresholds"]
    assert threshold["passed"] is False
    says = threshold["says"]
    assert "base.json yet; to make this run the baseline: promptkit runs export 1 --baseline " in says
    assert says.endswith("evals/base.json")
    assert [each["passed"] for each in after.record["thresholds"]] == [True]


async def test_a_baseline_of_another_suite_is_not_compared(bench: Bench) -> None:
    path = keep(bench, await bench.run())
    path.write_text(path.read_text().replace('"suite": "test"', '"suite": "other"'))
    (threshold,) = (await bench.run(SUITE + GATE)).record["thresholds"]

    assert threshold["passed"] is False
    assert "is of the suite `other`" in threshold["says"]


async def test_where_no_row_is_left_nothing_is_compared(bench: Bench) -> None:
    keep(bench, await bench.run())
    bench.rows([{"text": "good other", "expect": "good"}])
    (threshold,) = (await bench.run(SUITE + GATE)).record["thresholds"]

    assert threshold["passed"] is False
    assert "have no row in common" in threshold["says"]


async def test_equal_rows_are_matched_one_by_one(bench: Bench) -> None:
    bench.rows([{"text": "good one", "expect": "good"}] * 3)
    keep(bench, await bench.run())
    bench.rows([{"text": "good one", "expect": "good"}] * 2)
    said = await against(bench, SUITE, "base.json")

    assert said["rows"] == {"both": 2, "new": 0, "gone": 1}


async def test_a_run_with_missing_answers_makes_no_baseline(bench: Bench) -> None:
    ran = await bench.run(
        script=lambda request: RequestRefused("no") if "bad 2" in request.messages[-1].content else echo(request)
    )

    with pytest.raises(InputError, match="run 1 is incomplete"):
        keep(bench, ran)


@pytest.mark.parametrize(
    ("old", "new", "wrong"),
    [
        ('"promptkit": "baseline"', '"promptkit": "page"', "not a baseline"),
        ('"version": 1', '"version": 9', "not a baseline"),
        ('"suite": "test",', '<<<<<<< ours\n"suite": "test",', "not JSON"),
        ('"made"', '"when"', "`made` is missing"),
        ("]}", "", "not JSON"),
        ('"repeat": 1', '"repeat": 2', "a row has 1 of 2 repeats"),
        ('"rows": [\n["', '"rows": [\n["zz', "non-hexadecimal"),
        ('"rows": [\n[', '"rows": [\n7, [', "not a whole baseline"),
    ],
)
async def test_a_file_that_is_none_or_not_whole_is_refused(bench: Bench, old: str, new: str, wrong: str) -> None:
    path = keep(bench, await bench.run())
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1) if old != "]}" else text[: len(text) // 2])

    with pytest.raises(InputError, match=wrong):
        read_baseline(path)


async def test_scores_that_the_metric_cannot_have_given_are_not_compared(bench: Bench) -> None:
    path = keep(bench, await bench.run())
    path.write_text(path.read_text().replace('"predicted"', '"said"'))
    said = await against(bench, SUITE, "base.json")

    assert said["comparisons"] == []
    assert said["notes"][0].startswith("accuracy: its scores in ") and said["notes"][0].endswith(" cannot be read")


async def test_a_run_that_is_not_there_is_refused_with_those_that_are(bench: Bench) -> None:
    await bench.run()

    with Store.open(bench.store_folder) as store, pytest.raises(InputError) as caught:
        find_baseline("7", "test", store, folder=bench.folder.root)
    assert "there is no run 7 of a suite" in str(caught.value)
    assert "the latest of `test` are 1" in str(caught.value)


def test_two_runs_are_of_the_same_models_where_all_that_both_name_are() -> None:
    def made_on(digest: str | None, **others: str) -> dict[str, Any]:
        return {"reference": "a", "digest": digest, "others": others}

    model = made_on("1", b="2", c="3")

    assert same_model(model, made_on("1", b="2"))
    assert same_model(model, {"reference": "other name", "digest": "1"})
    assert not same_model(model, made_on("2", b="2"))
    assert not same_model(model, made_on("1", b="4"))
    assert model_names(model, made_on("1", b="4")) == ("b 2", "b 4")
    assert same_model(model, made_on(None))
    assert model_names(model, made_on(None, b="4")) == ("b 2", "b 4")


async def test_a_run_that_an_earlier_promptkit_made_is_compared_by_what_it_records(bench: Bench) -> None:
    await bench.run()
    with sqlite3.connect(bench.store_folder / "store.db") as rows:
        (text,) = rows.execute("select inputs from runs").fetchone()
        kept = {
            key: value for key, value in json.loads(text).items() if key not in ("target", "data", "contents", "set")
        }
        rows.execute("update runs set inputs = ?", (json.dumps(kept),))
    said = await against(bench, SUITE, "1")

    assert (said["rows"]["both"], said["notes"]) == (40, [])
