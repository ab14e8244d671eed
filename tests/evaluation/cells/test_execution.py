"""Running a suite: each cell is asked once, kept before it counts, and never scored as what it is not."""

from __future__ import annotations

import asyncio
import gc
import tracemalloc
from collections import Counter
from typing import Any

import pytest

from promptkit.errors import ConnectionFailed, ContextOverflow, InputError, RequestRefused
from promptkit.evaluation.cells.execution import ROWS_AT_ONCE
from promptkit.evaluation.cells.failures import MOST_FAILURES, MOST_REFUSED
from promptkit.evaluation.cells.progress import EvalOptions
from promptkit.evaluation.cells.saver import ReplyCache
from promptkit.evaluation.evaluate import Evaluation
from promptkit.evaluation.suite.binding import Binder
from promptkit.evaluation.suite.data import BoundRow
from promptkit.runtimes.base import Reply, Request
from promptkit.runtimes.scripted import Script, Scripted
from promptkit.storage.files import frozen_files
from promptkit.storage.store import Store
from tests.engine.helpers import Folder
from tests.evaluation.suites import PROMPT, SUITE, Bench, Given, Ran, echo, moods, number_of, rows_text

TWO = """
data: rows.jsonl
target: mood
metrics: {accuracy: label}
variants:
  plain: {}
  marked: {mood.layout: prefix}
"""


@pytest.fixture
def bench(folder: Folder) -> Bench:
    return Bench(folder, moods(40))


def says(request: Request, line: str) -> bool:
    return line in request.messages[-1].content.split("\n")


async def test_each_cell_is_asked_once_and_found_in_the_store_with_its_row_answer_score_and_trace(bench: Bench) -> None:
    ran = await bench.run(TWO)

    assert ran.record["status"] == "done"
    assert len(ran.runtime.requests) == 80
    cells = list(ran.view.cells())
    assert [(cell.row, cell.variant) for cell in cells[:4]] == [
        (1, "plain"),
        (1, "marked"),
        (2, "plain"),
        (2, "marked"),
    ]
    assert cells[0].fields == {"text": "bad 0", "expect": "bad"}
    assert (cells[0].output, cells[0].expect, cells[0].scores["accuracy"].value) == ("bad", "bad", 1.0)
    assert (cells[2].output, cells[2].scores["accuracy"].value) == ("good", 0.0)
    trace = ran.view.trace(cells[2].number)
    assert trace is not None
    assert "good 1" in trace["parts"][0]["calls"][0]["messages"][-1]["content"]
    assert ran.metric()["mean"] == 0.5
    assert ran.metric()["n"] == 40


async def test_a_second_run_asks_nothing_and_says_the_same(bench: Bench) -> None:
    first = await bench.run(TWO)
    second = await bench.run(TWO)

    assert second.runtime.requests == []
    assert second.metric() == first.metric()
    assert second.variant()["calls"] == second.variant()["cached"] == 40


async def test_a_changed_metric_is_scored_anew_without_asking(bench: Bench) -> None:
    await bench.run()
    ran = await bench.run(SUITE.replace("accuracy: label", "same: exact"))

    assert ran.runtime.requests == []
    assert ran.metric("same")["mean"] == 0.5


async def test_an_edit_of_the_prompt_asks_all_rows_again_and_an_edit_of_the_cases_asks_none(bench: Bench) -> None:
    await bench.run()
    bench.folder.write("pipelines/mood.yaml", (bench.folder.root / "pipelines/mood.yaml").read_text() + "cases: []\n")
    unchanged = await bench.run()
    bench.folder.write("templates/prompts/mood.j2", PROMPT.replace("Say whether", "Tell whether"))
    edited = await bench.run()

    assert unchanged.runtime.requests == []
    assert len(edited.runtime.requests) == 40


async def test_what_is_set_on_the_command_line_makes_other_cells(bench: Bench) -> None:
    await bench.run()
    ran = await bench.run(sets=["mood.cue=Verdict"])

    assert len(ran.runtime.requests) == 40


async def test_an_edit_while_a_run_goes_on_is_for_the_next_run(bench: Bench) -> None:
    layout = bench.folder.root / "templates/layouts/mine.j2"
    bench.folder.write("templates/layouts/mine.j2", "one {{ sections.input }}")

    def edit(request: Request) -> str:
        layout.write_text("another {{ sections.input }}", encoding="utf-8")
        return "bad"

    ran = await bench.run(script=edit, sets=["mood.layout=mine"], options=EvalOptions(in_flight=1))

    assert all(request.messages[-1].content.startswith("one") for request in ran.runtime.requests)
    after = await bench.run(sets=["mood.layout=mine"])
    assert len(after.runtime.requests) == 40


async def test_an_edit_between_reading_a_suite_and_running_it_is_for_the_next_run(bench: Bench) -> None:
    bench.folder.write("templates/layouts/mine.j2", "one {{ sections.input }}")
    with frozen_files():
        suite = bench.suite(sets=["mood.layout=mine"])
        bench.folder.write("templates/layouts/mine.j2", "another {{ sections.input }}")
        ran = await bench.run(suite)
    after = await bench.run(sets=["mood.layout=mine"])

    assert all(request.messages[-1].content.startswith("one") for request in ran.runtime.requests)
    assert [request.messages[-1].content[:7] for request in after.runtime.requests] == ["another"] * 40


async def test_an_edit_of_a_tool_while_a_run_goes_on_is_for_the_next_run(bench: Bench) -> None:
    tool = bench.folder.write("tools/up.py", "def up(text):\n    return 'one'\n")
    bench.folder.write(
        "pipelines/tooled.yaml",
        """
        inputs: {text: {example: fine}}
        tools: {up: "../tools/up.py:up"}
        steps:
          mood: {prompt: mood}
          made: {tool: up, with: {text: "{{ mood }}"}}
        output: "{{ made }}"
        """,
    )
    suite = SUITE.replace("target: mood", "target: tooled").replace("label", "exact")

    def edit(request: Request) -> str:
        tool.write_text("def up(text):\n    return 'another'\n", encoding="utf-8")
        return echo(request)

    ran = await bench.run(suite, script=edit, options=EvalOptions(in_flight=1), concurrency=1)
    after = await bench.run(suite)

    assert {cell.output for cell in ran.view.cells()} == {"one"}
    assert {cell.output for cell in after.view.cells()} == {"another"}


async def test_a_row_more_asks_for_that_row_alone(bench: Bench) -> None:
    await bench.run()
    bench.rows(moods(41))
    ran = await bench.run()

    assert len(ran.runtime.requests) == 1
    assert ran.record["rows"] == 41


async def test_a_changed_label_is_scored_anew_without_asking(bench: Bench) -> None:
    await bench.run()
    bench.rows([{**row, "expect": "good"} for row in moods(40)])
    ran = await bench.run()

    assert ran.runtime.requests == []
    assert ran.metric()["mean"] == 0.5


async def test_equal_rows_are_asked_once_and_each_scored_with_its_own_label(bench: Bench) -> None:
    bench.rows([{"text": "good one", "expect": "good"}, {"text": "good one", "expect": "bad"}])
    ran = await bench.run(cached=False)

    assert len(ran.runtime.requests) == 1
    assert [cell.scores["accuracy"].value for cell in ran.view.cells()] == [1.0, 0.0]


async def test_equal_inputs_are_asked_once_where_a_metric_is_slow_too(bench: Bench) -> None:
    bench.folder.write("evals/mine.py", "def score(row, output):\n    return float(row['expect'] == output)\n")
    bench.rows([{"text": "good one", "expect": label} for label in ("good", "bad", "good")])

    async def other_each_time(request: Request) -> str:
        await asyncio.sleep(0.01)
        return "good" if len(runtime.requests) == 1 else "bad"

    runtime = Scripted(other_each_time)
    ran = await bench.run(SUITE.replace("accuracy: label", "mine: {python: 'mine.py:score'}"), runtime, cached=False)

    assert len(runtime.requests) == 1
    assert [(cell.output, cell.scores["mine"].value) for cell in ran.view.cells()] == [
        ("good", 1.0),
        ("good", 0.0),
        ("good", 1.0),
    ]


async def test_what_a_tool_does_to_its_arguments_no_other_cell_sees(bench: Bench) -> None:
    bench.folder.write("tools/up.py", "def up(items):\n    items.append('x')\n    return len(items)\n")
    bench.folder.write(
        "pipelines/tooled.yaml",
        """
        inputs: {items: {type: list}}
        tools: {up: "../tools/up.py:up"}
        steps:
          made: {tool: up, with: {items: "{{ items }}"}}
        """,
    )
    bench.rows([{"items": ["a"], "expect": 2}])

    ran = await bench.run(SUITE.replace("target: mood", "target: tooled").replace("label", "exact") + "repeat: 3\n")

    assert [cell.output for cell in ran.view.cells()] == [2, 2, 2]
    assert [cell.fields["items"] for cell in ran.view.cells()] == [["a"]] * 3


async def test_repeats_are_different_samples_of_the_same_row(bench: Bench) -> None:
    ran = await bench.run(SUITE + "repeat: 3\n", limit=5)

    assert Counter(request.sample for request in ran.runtime.requests) == {"0": 5, "1": 5, "2": 5}
    assert ran.metric()["n"] == 15
    assert ran.metric()["clusters"] == 5


async def test_a_variant_that_is_the_same_as_another_is_asked_anew(bench: Bench) -> None:
    ran = await bench.run(SUITE + "variants: {a: {}, b: {}}\n")
    again = await bench.run(SUITE + "variants: {a: {}, b: {}}\n")

    assert Counter(request.sample for request in ran.runtime.requests) == {"0": 40, "0+1": 40}
    assert again.runtime.requests == []


async def test_an_unparsed_answer_is_wrong_and_counted(bench: Bench) -> None:
    ran = await bench.run(
        script=lambda request: "no idea" if "bad 0" in request.messages[-1].content else echo(request)
    )

    assert ran.record["status"] == "done"
    assert ran.variant()["unparsed"] == 1
    assert ran.variant()["missing"] == 0
    assert ran.metric()["mean"] == pytest.approx(19 / 40)
    assert ran.metric()["n"] == 40


async def test_a_cut_off_answer_is_wrong_and_counted_apart(bench: Bench) -> None:
    def cut(request: Request) -> Any:
        if "bad 0" in request.messages[-1].content:
            return Reply(text="well, I think that it may", finish="length")
        return echo(request)

    ran = await bench.run(script=cut)

    assert (ran.variant()["truncated"], ran.variant()["unparsed"]) == (1, 0)
    assert ran.metric()["mean"] == pytest.approx(19 / 40)


async def test_nothing_is_repaired_so_that_the_prompt_is_measured(bench: Bench) -> None:
    ran = await bench.run(script=lambda request: "no idea")

    assert len(ran.runtime.requests) == 40
    assert ran.metric()["mean"] == 0


async def test_a_failure_of_one_request_is_a_missing_cell_with_its_reason_and_the_run_is_incomplete(
    bench: Bench,
) -> None:
    def refuse(request: Request) -> Any:
        return RequestRefused("no such word") if says(request, "bad 2") else echo(request)

    ran = await bench.run(script=refuse)

    assert ran.record["status"] == "incomplete"
    assert ran.variant()["missing"] == 1
    assert ran.metric()["n"] == 39
    wrong = [cell for cell in ran.view.cells() if cell.flag == "error"]
    assert len(wrong) == 1 and "no such word" in wrong[0].problem
    assert wrong[0].scores == {}


async def test_only_retry_errors_asks_a_failed_cell_again(bench: Bench) -> None:
    def refuse(request: Request) -> Any:
        return RequestRefused("not now") if says(request, "bad 2") else echo(request)

    await bench.run(script=refuse)
    again = await bench.run()
    retried = await bench.run(options=EvalOptions(retry_errors=True))

    assert again.runtime.requests == []
    assert again.record["status"] == "incomplete"
    assert len(retried.runtime.requests) == 1
    assert retried.record["status"] == "done"


async def test_a_server_that_is_gone_is_not_asked_a_thousand_times_and_the_same_command_asks_the_rest(
    bench: Bench,
) -> None:
    asked = 0

    def die(request: Request) -> Any:
        nonlocal asked
        asked += 1
        return ConnectionFailed("nobody there") if asked > 15 else echo(request)

    # With no cache no answer waits for the disk, so answers are counted in the order in which they are asked for.
    ran = await bench.run(script=die, options=EvalOptions(in_flight=2), concurrency=2, cached=False)
    after = await bench.run(cached=False)

    assert ran.record["status"] == "incomplete"
    assert ran.evaluated.gave_up
    assert "nobody there" in ran.evaluated.failure
    assert 15 + MOST_FAILURES <= asked <= 15 + MOST_FAILURES + 8  # eight workers ask
    assert ran.metric()["n"] == 15
    assert len(after.runtime.requests) == 25
    assert after.record["status"] == "done"


async def test_rows_that_are_refused_are_missing_one_by_one_and_the_rows_after_them_are_asked(bench: Bench) -> None:
    def refuse(request: Request) -> Any:
        return ContextOverflow("too long") if number_of(request) < MOST_FAILURES + 5 else echo(request)

    ran = await bench.run(script=refuse, options=EvalOptions(in_flight=1), concurrency=1)
    again = await bench.run()

    assert ran.record["status"] == "incomplete" and not ran.evaluated.gave_up
    assert (ran.variant()["missing"], ran.metric()["n"]) == (MOST_FAILURES + 5, 25)
    assert [cell.row for cell in ran.view.cells() if cell.flag == "error"] == list(range(1, MOST_FAILURES + 6))
    assert again.runtime.requests == []


async def test_a_model_that_does_nothing_but_refuse_is_given_up_and_one_that_answers_is_not(bench: Bench) -> None:
    bench.rows(moods(MOST_REFUSED + 60))

    async def refuse(request: Request) -> Any:
        await asyncio.sleep(0.001)
        return RequestRefused("no such option") if number_of(request) >= 10 else echo(request)

    ran = await bench.run(script=lambda each: RequestRefused("no such option"), options=EvalOptions(in_flight=1))
    answers = await bench.run(script=refuse, options=EvalOptions(fresh=True), cached=False)

    assert ran.evaluated.gave_up and not answers.evaluated.gave_up
    assert MOST_REFUSED <= len(ran.runtime.requests) < MOST_REFUSED + 10
    assert len(answers.runtime.requests) == MOST_REFUSED + 60
    assert "no such option" in ran.evaluated.failure


async def test_once_a_run_has_given_up_no_more_rows_are_read(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    bench.rows(moods(20_000))
    suite = bench.suite()
    bound = 0
    bind = Binder.bind

    def counted(*given: Any) -> BoundRow:
        nonlocal bound
        bound += 1
        return bind(*given)

    monkeypatch.setattr(Binder, "bind", counted)
    ran = await bench.run(suite, script=lambda request: ConnectionFailed("nobody there"))

    assert ran.evaluated.gave_up
    assert bound < 10 * ROWS_AT_ONCE
    assert ran.variant()["missing"] == 20_000


async def test_a_connection_that_fails_for_good_leaves_no_cell(bench: Bench) -> None:
    bench.rows(moods(3))
    ran = await bench.run(script=lambda request: ConnectionFailed("nobody there"))

    assert ran.record["status"] == "incomplete"
    assert list(ran.view.cells()) == []
    assert ran.variant()["missing"] == 3


async def test_a_wrong_row_is_missing_with_its_place_and_the_others_are_measured(bench: Bench) -> None:
    path = bench.folder.root / "evals/rows.jsonl"
    path.write_text(path.read_text() + '{"text": "good"\n{"expect": "bad"}\n{"text": "bad x", "expect": "meh"}\n')

    ran = await bench.run()

    assert ran.record["status"] == "incomplete"
    problems = [cell.problem for cell in ran.view.cells() if cell.flag == "error"]
    assert "rows.jsonl:41" in problems[0] and "not JSON" in problems[0]
    assert "rows.jsonl:42" in problems[1] and "nothing gives the input `text`" in problems[1]
    assert "rows.jsonl:43" in problems[2] and "meh" in problems[2]
    assert ran.metric()["n"] == 40
    assert len(ran.runtime.requests) == 40


async def test_a_wrong_row_is_one_cell_however_often_it_is_met_and_says_what_is_wrong_with_it_now(bench: Bench) -> None:
    wrong = bench.folder.root / "evals/rows.jsonl"
    good = wrong.read_text()
    wrong.write_text(good + '{"text": \n')
    first = await bench.run()
    second = await bench.run(options=EvalOptions(retry_errors=True))
    wrong.write_text(good + "[1]\n")
    other = await bench.run()

    def met(ran: Ran) -> tuple[int, str]:
        return next((cell.number, cell.problem) for cell in ran.view.cells() if cell.flag == "error")

    assert met(first) == met(second)
    assert "not JSON" in met(first)[1]
    assert "not JSON" not in met(other)[1]
    assert first.evaluated.wrong == other.evaluated.wrong == 1


async def test_a_row_without_the_field_that_rows_are_clustered_by_is_wrong_and_the_nearest_is_named(
    bench: Bench,
) -> None:
    bench.rows([*({**row, "document": 1} for row in moods(4)), {"text": "bad 4", "expect": "bad", "documnet": 1}])
    ran = await bench.run(SUITE.replace("data: rows.jsonl", "data: {file: rows.jsonl, cluster: document}"))

    (problem,) = (cell.problem for cell in ran.view.cells() if cell.flag == "error")
    assert "there is no field `document`" in problem
    assert "rows.jsonl:5" in problem
    assert ran.metric()["n"] == 4


@pytest.mark.parametrize(
    "function",
    [
        "made = iter([{'text': 'bad 1', 'expect': 'bad'}] * 3)\ndef rows():\n    return made\n",
        "made = []\ndef rows():\n    made.append({'text': f'bad {len(made)}', 'expect': 'bad'})\n    return made\n",
        "made = []\ndef rows():\n    made.append(1)\n    return [{'text': f'bad {len(made)}', 'expect': 'bad'}]\n",
    ],
    ids=["rows that come once", "rows that grow", "rows that differ"],
)
async def test_rows_that_are_not_those_that_were_counted_end_the_run(bench: Bench, function: str) -> None:
    bench.folder.write("evals/rows.py", function)

    with pytest.raises(InputError, match=r"rows\.py:rows changed while they were read") as raised:
        await bench.run(SUITE.replace("rows.jsonl", "{python: 'rows.py:rows'}"))

    problem = raised.value.problems[0]
    assert (problem.line, "seed" in (problem.hint or "")) == (1, True)
    with Store.open(bench.store_folder) as store:
        run = store.run("last")
        assert run is not None and run.status == "failed"


async def test_a_file_that_is_saved_between_counting_and_running_ends_the_run(bench: Bench) -> None:
    suite = bench.suite()
    with Store.open(bench.store_folder) as store:
        evaluation = Evaluation(suite, models=Given(Scripted(echo)), store=store)
        bench.rows(moods(43))
        with pytest.raises(InputError, match=r"rows\.jsonl changed while they were read"):
            await evaluation.run()


async def test_fresh_asks_what_is_known_and_keeps_the_old_run_as_it_was(bench: Bench) -> None:
    first = await bench.run()
    fresh = await bench.run(script=lambda request: "bad", options=EvalOptions(fresh=True), cached=False)

    assert len(fresh.runtime.requests) == 40
    assert fresh.metric()["mean"] == 1
    assert bench.look(first.evaluated, first.runtime).metric()["mean"] == 0.5
    assert [cell.output for cell in bench.look(first.evaluated, first.runtime).view.cells()][:2] == ["bad", "good"]


async def test_exact_asks_one_at_a_time_and_takes_nothing_that_was_asked_otherwise(bench: Bench) -> None:
    async def slow(request: Request) -> str:
        await asyncio.sleep(0.001)
        return echo(request)

    together = Scripted(slow)
    alone = Scripted(slow)
    await bench.run(script=together)
    ran = await bench.run(script=alone, options=EvalOptions(exact=True))

    assert together.peak > 1
    assert alone.peak == 1
    assert len(alone.requests) == 40
    assert ran.record["exact"] is True and ran.record["in_flight"] == 1


async def test_what_is_finished_is_kept_when_a_run_is_cancelled(bench: Bench) -> None:
    suite = bench.suite()
    reached = asyncio.Event()
    asked = 0

    async def stop(request: Request) -> str:
        nonlocal asked
        asked += 1
        if asked > 20:
            reached.set()
            await asyncio.sleep(60)
        return echo(request)

    with Store.open(bench.store_folder) as store, ReplyCache(store) as replies:
        evaluation = Evaluation(suite, models=Given(Scripted(stop), replies), store=store)
        running = asyncio.create_task(evaluation.run())
        await reached.wait()
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running
        run = store.run("last")
    assert run is not None and run.status == "interrupted"

    ran = await bench.run()

    assert len(ran.runtime.requests) == 20
    assert ran.record["status"] == "done"


async def test_two_runs_at_once_share_the_work(bench: Bench) -> None:
    runtime = Scripted(_slowly)
    first, second = await asyncio.gather(
        bench.run(script=runtime, cached=False), bench.run(script=runtime, cached=False)
    )

    assert len(runtime.requests) == 40
    assert first.metric() == second.metric()
    assert first.record["status"] == second.record["status"] == "done"


async def from_both_ends(bench: Bench, script: Script, options: EvalOptions) -> tuple[Ran, Ran]:
    """Run two suites at once that have the same rows, one in their order and one from the last to the first."""
    rows = moods(120)
    bench.rows(rows)
    bench.folder.write("evals/back.jsonl", rows_text(rows[::-1]))
    suites = bench.suite(), bench.suite(SUITE.replace("rows.jsonl", "back.jsonl"))
    runtime = Scripted(script)
    async with asyncio.timeout(20):
        first, second = await asyncio.gather(
            *(bench.run(suite, runtime, options=options, cached=False, concurrency=2) for suite in suites)
        )
    return first, second


async def test_two_runs_that_wait_for_each_others_rows_both_end_when_the_server_dies(bench: Bench) -> None:
    answered = 0

    async def die(request: Request) -> Any:
        nonlocal answered
        await asyncio.sleep(0.001)
        answered += 1
        return ConnectionFailed("nobody there") if answered > 50 else echo(request)

    first, second = await from_both_ends(bench, die, EvalOptions(in_flight=2))
    after = await bench.run(cached=False)

    assert [each.record["status"] for each in (first, second)] == ["incomplete"] * 2
    assert len(after.runtime.requests) == 120 - 50
    assert after.record["status"] == "done"


async def test_two_runs_that_wait_for_rows_on_which_the_other_has_failed_both_end(bench: Bench) -> None:
    async def lose(request: Request) -> Any:
        await asyncio.sleep(0.001)
        return ConnectionFailed("lost") if number_of(request) in (0, 1, 118, 119) else echo(request)

    first, second = await from_both_ends(bench, lose, EvalOptions(in_flight=2))

    assert [(each.variant()["missing"], each.metric()["n"]) for each in (first, second)] == [(4, 116)] * 2
    assert not first.evaluated.gave_up


async def test_a_run_that_has_given_up_waits_for_nobody(bench: Bench) -> None:
    begun = asyncio.Event()

    async def never(request: Request) -> str:
        begun.set()
        await asyncio.sleep(3600)
        return echo(request)

    bench.rows(moods(20))
    other = asyncio.create_task(bench.run(script=never))
    await begun.wait()
    bench.rows([*moods(20), *({"text": f"bad {number}", "expect": "bad"} for number in range(100, 140))])
    async with asyncio.timeout(20):
        ran = await bench.run(script=lambda request: ConnectionFailed("nobody there"))
    other.cancel()

    assert ran.evaluated.gave_up
    assert ran.variant()["missing"] == 60
    with pytest.raises(asyncio.CancelledError):
        await other


async def test_two_runs_that_meet_where_every_request_is_refused_both_end(bench: Bench) -> None:
    async def refuse(request: Request) -> Any:
        await asyncio.sleep(0.001)
        return RequestRefused("no") if 50 <= number_of(request) < 70 else echo(request)

    first, second = await from_both_ends(bench, refuse, EvalOptions(in_flight=2))

    assert [(each.variant()["missing"], each.metric()["n"]) for each in (first, second)] == [(20, 100)] * 2


async def _slowly(request: Request) -> str:
    await asyncio.sleep(0.005)
    return echo(request)


async def test_data_that_breaks_off_is_told_before_anything_is_asked(bench: Bench) -> None:
    bench.folder.write("evals/rows.csv", 'text,expect\n"good 1,bad\n')

    with pytest.raises(InputError, match=r"rows\.csv"):
        await bench.run(SUITE.replace("jsonl", "csv"))


async def test_a_clustered_field_makes_its_rows_one_cluster(bench: Bench) -> None:
    bench.rows([{**row, "document": number // 4} for number, row in enumerate(moods(40))])
    ran = await bench.run(SUITE.replace("data: rows.jsonl", "data: {file: rows.jsonl, cluster: document}"))

    assert ran.metric()["clusters"] == 10


async def test_a_further_cell_holds_less_than_100_bytes_of_memory(bench: Bench) -> None:
    async def held(rows: int) -> int:
        """Return the memory that a run of so many cells holds at its end; 0 where none is traced."""
        bench.rows(moods(rows))
        with Store.open(bench.store_folder / str(rows)) as store, ReplyCache(store) as replies:
            evaluation = Evaluation(
                bench.suite(), models=Given(Scripted(echo, keep_requests=False), replies), store=store
            )
            before = tracemalloc.get_traced_memory()[0]
            await evaluation.run()
            gc.collect()
            return tracemalloc.get_traced_memory()[0] - before

    await held(1_100)  # what is loaded once, and the bounded caches, which keep a thousand texts
    tracemalloc.start()
    try:
        cost = (await held(1_000) - await held(500)) / 500
        if cost >= 100:  # What other threads of this process allocate is counted too.
            cost = (await held(1_000) - await held(500)) / 500
    finally:
        tracemalloc.stop()
    assert cost < 100
