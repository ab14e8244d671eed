"""Warnings of an evaluation: a cell knows those of each step, a variant counts cells, a threshold may be on one."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from typing import Any

import pytest

from promptkit.errors import ServerFailed
from promptkit.evaluation.cells.cell import Cell
from promptkit.evaluation.cells.tally import Tally
from promptkit.evaluation.metrics.score import Score
from promptkit.evaluation.record import VariantRecord
from promptkit.evaluation.stored_run import recomputed_record
from promptkit.runtimes.base import Request
from promptkit.storage.store import Store
from tests.engine.helpers import Folder
from tests.evaluation.suites import PIPELINE, SUITE, Bench, Ran, echo, moods, number_of

GUESS = """
    from promptkit.techniques import technique

    @technique(calls={"answer": {}})
    async def guess(task):
        first, second = await task.ask("answer"), await task.ask("answer", temperature=0.5)
        for exchange in (first, second):
            number = int(str(task.inputs["text"]).split()[1])
            exchange.record.warnings = ("weak_reading",) if number % 5 == 0 else ()
        return await task.decide(first)
"""
SPLIT = """
    from promptkit.techniques import technique

    @technique()
    async def guess(task):
        if int(str(task.inputs["text"]).split()[1]) % 5 == 0:
            task.warn("no_sub_question")
        return await task.decide(await task.ask("answer"))
"""
GUESSED = PIPELINE.replace("{prompt: mood}", "{prompt: mood, technique: guess}")
TWO = """
name: mood
inputs: {text: {example: fine}}
steps:
  first: {prompt: mood, technique: guess}
  second: {prompt: mood, technique: guess, with: {text: "{{ text }}"}}
"""
GATE = SUITE + "thresholds: {weak_reading: {at_most: LIMIT}}\n"


@pytest.fixture
def bench(folder: Folder) -> Bench:
    folder.write("techniques/guess.py", GUESS)
    folder.write("templates/techniques/guess/answer.j2", "{% extends prompt %}\n")
    bench = Bench(folder, moods(20))
    folder.write("pipelines/mood.yaml", GUESSED)
    return bench


def forget_warnings(bench: Bench, rows: int) -> None:
    """Make the first cells in the store those of a promptkit that recorded no warnings."""
    with closing(sqlite3.connect(bench.store_folder / "store.db")) as database, database:
        for number, outcome in database.execute("select number, outcome from cells limit ?", (rows,)).fetchall():
            old = {name: value for name, value in json.loads(outcome).items() if name != "warnings"}
            database.execute("update cells set outcome = ? where number = ?", (json.dumps(old).encode(), number))


def threshold(ran: Ran) -> Any:
    (found,) = ran.record["thresholds"]
    return found


async def test_a_cell_counts_once_however_many_of_its_replies_have_a_warning(bench: Bench) -> None:
    ran = await bench.run()
    assert (ran.variant()["warnings"], ran.variant()["calls"]) == ({"weak_reading": 4}, 40)
    warned = [(cell.row, cell.warnings) for cell in ran.view.cells() if cell.warnings]
    assert warned == [(row, {"mood": ["weak_reading"]}) for row in (1, 6, 11, 16)]
    assert not {"step_warnings", "unrecorded"} & ran.variant().keys()


async def test_cells_that_are_known_have_their_warnings_too(bench: Bench) -> None:
    await bench.run()
    again = await bench.run(cached=False)
    assert (again.runtime.requests, again.variant()["warnings"]) == ([], {"weak_reading": 4})


async def test_a_variant_knows_which_techniques_gave_a_warning_also_where_its_cells_are_known(bench: Bench) -> None:
    bench.folder.write("techniques/guess.py", SPLIT)
    for again in (False, True):
        ran = await bench.run()
        assert bool(ran.runtime.requests) is not again
        assert ran.variant()["warnings"] == {"no_sub_question": 4}
        assert ran.variant()["warned_by"] == {"no_sub_question": ["guess"]}


async def test_where_several_steps_have_warnings_they_are_counted_by_step(bench: Bench) -> None:
    bench.folder.write("pipelines/mood.yaml", TWO)
    ran = await bench.run()
    assert ran.variant()["warnings"] == {"weak_reading": 4}
    assert ran.variant()["step_warnings"] == {"first": {"weak_reading": 4}, "second": {"weak_reading": 4}}


async def test_of_a_step_that_is_measured_alone_only_its_warnings_count(bench: Bench) -> None:
    bench.folder.write("pipelines/mood.yaml", TWO.replace("technique: guess, with", "with"))
    ran = await bench.run(SUITE.replace("target: mood", "target: {pipeline: mood, step: second, feed: recorded}"))
    assert ran.variant()["warnings"] == {}


async def test_a_missing_cell_has_no_warning_though_a_step_before_had_one(bench: Bench) -> None:
    bench.folder.write("pipelines/mood.yaml", TWO.replace("{{ text }}", "{{ text }} again {{ text }}"))

    def script(request: Request) -> Any:
        is_second = "again" in request.messages[-1].content
        return ServerFailed("gone") if is_second and number_of(request) == 5 else echo(request)

    ran = await bench.run(script=script)
    assert (ran.variant()["missing"], ran.variant()["warnings"]) == (1, {"weak_reading": 3})


async def test_cells_of_a_promptkit_that_recorded_none_are_told_from_those_without_any(bench: Bench) -> None:
    await bench.run()
    forget_warnings(bench, 6)
    again = await bench.run(cached=False)
    assert (again.variant()["warnings"], again.variant()["unrecorded"]) == ({"weak_reading": 2}, 6)
    assert VariantRecord.model_validate(again.variant()).recorded == 14


def test_a_record_without_the_key_says_nothing_of_warnings() -> None:
    assert VariantRecord(name="old", cases=5).recorded == 0
    assert VariantRecord(name="new", cases=5, missing=1, warnings={}).recorded == 4


async def test_a_killed_run_is_summed_up_with_its_warnings(bench: Bench) -> None:
    ran = await bench.run()
    with Store.open(bench.store_folder) as store:
        found = store.run(str(ran.evaluated.number))
        assert found is not None
    record = recomputed_record(ran.view, bench.folder.project)
    assert record.variants[0].warnings == {"weak_reading": 4}


@pytest.mark.parametrize(
    ("limit", "passed", "says"),
    [
        (0.42, True, "at most 0.42 is required; 20 rows show ≤ 0.42 (4 of 20 read by a weak rule)"),
        (0.3, False, "at most 0.30 is required, but 20 rows only show ≤ 0.42 (4 of 20 read by a weak rule)"),
    ],
)
async def test_a_threshold_holds_the_upper_end_of_the_share(
    bench: Bench, limit: float, passed: bool, says: str
) -> None:
    found = threshold(await bench.run(GATE.replace("LIMIT", str(limit))))
    assert (found["metric"], found["passed"]) == ("weak_reading", passed)
    assert found["says"].startswith(f"weak_reading: {says}")


async def test_a_threshold_is_not_judged_by_answers_without_their_warnings(bench: Bench) -> None:
    await bench.run()
    forget_warnings(bench, 1)
    found = threshold(await bench.run(GATE.replace("LIMIT", "0.9"), cached=False))
    assert (found["passed"], found["says"]) == (
        None,
        "weak_reading: not judged, since the warnings of 1 of 20 answers are not recorded; --fresh asks again",
    )


def test_a_threshold_on_an_unknown_warning_or_beyond_a_share_is_refused(bench: Bench) -> None:
    (unknown,) = bench.problems(SUITE + "thresholds: {weak_readings: {at_most: 0.1}}\n")
    assert (unknown.message, unknown.hint) == (
        "there is no metric or warning `weak_readings`",
        "did you mean `weak_reading`?",
    )
    (beyond,) = bench.problems(GATE.replace("LIMIT", "5"))
    assert beyond.message == "`weak_reading` is never 5: it lies between 0 and 1"


async def test_a_threshold_may_be_on_a_warning_of_a_technique_and_on_one_of_the_projects_own(bench: Bench) -> None:
    bench.folder.write("techniques/guess.py", SPLIT.replace("no_sub_question", "short_text"))
    suite = SUITE + "thresholds: {short_text: {at_most: 0.42}, no_sub_question: {at_most: 0.17}}\n"
    short, none = (await bench.run(suite)).record["thresholds"]
    assert (short["passed"], none["passed"]) == (True, True)
    assert short["says"].endswith("at most 0.42 is required; 20 rows show ≤ 0.42 (4 of 20 short text)")
    bench.folder.write("techniques/guess.py", SPLIT)
    assert [
        found["passed"] for found in (await bench.run(suite.replace("short_text", "tie"))).record["thresholds"]
    ] == [
        True,
        False,
    ]


async def test_a_metric_of_the_name_of_a_warning_is_what_the_threshold_is_on(bench: Bench) -> None:
    suite = GATE.replace("accuracy:", "weak_reading:").replace("at_most: LIMIT", "at_least: 0.9")
    assert threshold(await bench.run(suite))["passed"] is False


def test_a_cell_that_is_set_again_has_only_its_last_warnings() -> None:
    tally = Tally((), 1)
    for warnings in ({"mood": ["refused"]}, {"mood": ["weak_reading"], "next": ["weak_reading"]}):
        cell = Cell(variant="plain", row=1, repeat=0, fields={}, warnings=warnings)
        cell.scores = {"accuracy": Score(1.0)}
        tally.put(0, cell, known=False)
    assert tally.count_warnings() == {"weak_reading": 1}
    assert tally.count_step_warnings() == {"mood": {"weak_reading": 1}, "next": {"weak_reading": 1}}
    assert tally.warned("weak_reading").scores.tolist() == [1.0]
    assert tally.warned("refused").scores.tolist() == [0.0]


def test_a_warning_of_a_later_cell_leaves_the_earlier_ones_without_it() -> None:
    tally = Tally((), 2)
    for row in range(600):
        warnings: dict[str, list[str]] | None = None if row == 2 else {"mood": ["refused"]} if row == 599 else {}
        tally.put(row, Cell(variant="plain", row=row, repeat=1, fields={}, warnings=warnings), known=False)
    assert (tally.unrecorded, tally.count_warnings()) == (1, {"refused": 1})
    sample = tally.warned("refused")
    assert (len(sample), sample.scores.sum(), sample.rows[-1]) == (599, 1.0, 599)
