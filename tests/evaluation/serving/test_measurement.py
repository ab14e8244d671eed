"""Serving measured on a script that reports its own times: what is asked, and which figures come of it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from promptkit.errors import InputError, ServerFailed
from promptkit.evaluation.record import ServingLevel, ServingRecord
from promptkit.evaluation.serving.measurement import ROUNDS, check_serving, served_request
from promptkit.runtimes.base import Memory, Model, Reply, Request
from promptkit.runtimes.scripted import Scripted
from tests.engine.helpers import Folder
from tests.evaluation.suites import SUITE, Bench, Given, Ran, moods

FAST, SLOW = 8, 9
VARIANTS = f"""\
variants:
  slow: {{mood.options: {{max_tokens: {SLOW}}}}}
  fast: {{mood.options: {{max_tokens: {FAST}}}}}
"""


@pytest.fixture
def bench(folder: Folder) -> Bench:
    return Bench(folder, moods(40))


def reply(request: Request, **changed: Any) -> Reply:
    """Return an answer of 11 tokens: the slow variant takes 2.5 s for it, the other half of that."""
    times = 1.0 if request.max_tokens == SLOW else 0.5
    values: dict[str, Any] = {
        "text": "good",
        "tokens_in": 100,
        "tokens_out": 11,
        "tokens_reused": 0,
        "seconds": 2.5 * times,
        "first_token": 0.5 * times,
        "prompt_seconds": 0.5 * times,
        "output_seconds": 2.0 * times,
    }
    return Reply(**{**values, **changed})


def measured(ran: Ran) -> ServingRecord:
    serving = ran.evaluated.record.serving
    assert serving is not None
    return serving


def level(ran: Ran, variant: str = "baseline", concurrency: int = 1) -> ServingLevel:
    found = measured(ran).level(variant, concurrency)
    assert found is not None
    return found


async def test_the_figures_are_those_that_the_runtime_reports(bench: Bench) -> None:
    ran = await bench.run(f"{SUITE}serving: {{rows: 10}}\n", reply)
    figures = level(ran).figures
    # A row goes on for as long as its one request, and nobody waits: half of the times of the slow variant.
    assert {name: figure.value for name, figure in figures.items()} == pytest.approx(
        {
            "first_token": 0.25,
            "tokens_per_second": 10.0,
            "throughput": 8.8,
            "latency": 1.25,
            "rows_per_second": 0.8,
            "inter_token_latency": 0.1,
            "prompt_tokens_per_second": 400.0,
        },
        rel=0.02,
    )
    assert figures["latency"].n == 10 and len(figures["latency"].rounds) == ROUNDS
    assert figures["latency"].p95 == pytest.approx(1.25, rel=0.02) and figures["throughput"].p95 is None


async def test_a_variant_is_compared_with_the_baseline_in_the_same_rounds(bench: Bench) -> None:
    ran = await bench.run(f"{SUITE}{VARIANTS}serving: {{rows: 10}}\n", reply)
    found = {comparison.figure: comparison for comparison in measured(ran).comparisons}
    assert found["latency"].ratio == pytest.approx(0.5, rel=0.05) and found["latency"].verdict == "better"
    assert found["throughput"].ratio == pytest.approx(2.0, rel=0.05) and found["throughput"].verdict == "better"
    assert (found["latency"].a, found["latency"].b, found["latency"].n) == ("fast", "slow", ROUNDS)


async def test_nothing_is_taken_from_the_cache_and_prompts_are_read_whole(bench: Bench) -> None:
    runtime = Scripted(reply)
    suite = f"{SUITE}serving: {{rows: 10, warmup: 1}}\n"
    await bench.run(suite, runtime)
    cells = 40
    assert len(runtime.requests) == cells + 10 + ROUNDS
    assert [request.reuse_prefix for request in runtime.requests] == [True] * cells + [False] * (10 + ROUNDS)
    again = Scripted(reply)
    await bench.run(suite, again)
    assert len(again.requests) == 10 + ROUNDS


async def test_variants_alternate_and_another_begins_each_round(bench: Bench) -> None:
    runtime = Scripted(reply)
    await bench.run(f"{SUITE}{VARIANTS}serving: {{rows: 10, warmup: 0}}\n", runtime)
    asked = [request.max_tokens for request in runtime.requests[-2 * 10 :]]
    pair = {0: [SLOW, SLOW, FAST, FAST], 1: [FAST, FAST, SLOW, SLOW]}
    assert asked == [tokens for number in range(ROUNDS) for tokens in pair[number % 2]]


@pytest.mark.parametrize("concurrency", [1, 3])
async def test_so_many_requests_are_in_flight(bench: Bench, concurrency: int) -> None:
    runtime = Scripted(reply, delay=0.001)
    ran = await bench.run(f"{SUITE}serving: {{concurrency: [{concurrency}], rows: 5}}\n", runtime, concurrency=1)
    assert runtime.peak == concurrency
    # Fewer rows than twice the concurrency would not keep so many busy.
    assert level(ran, concurrency=concurrency).rows == ROUNDS * max(1, 2 * concurrency)


async def test_rows_that_fail_have_no_times_and_are_named(bench: Bench) -> None:
    def script(request: Request) -> Reply | Exception:
        is_asked_again = not request.reuse_prefix and "bad 1" in request.messages[-1].content
        return ServerFailed("the server is tired") if is_asked_again else reply(request)

    ran = await bench.run(f"{SUITE}serving: {{rows: 40, warmup: 0}}\n", script)
    found = level(ran)
    assert 0 < found.errors < found.rows == 40 and found.figures["latency"].n == found.rows - found.errors
    assert any(f"{found.errors} of 40 rows failed" in note and "tired" in note for note in measured(ran).notes)


async def test_a_variant_whose_rows_all_fail_is_not_asked_in_further_rounds(bench: Bench) -> None:
    def script(request: Request) -> Reply | Exception:
        return reply(request) if request.reuse_prefix else ServerFailed("the server is tired")

    ran = await bench.run(f"{SUITE}serving: {{rows: 10, warmup: 0}}\n", script)
    found = level(ran)
    assert (found.errors, found.rows) == (2, 2)
    assert found.figures["latency"].value is None and found.figures["latency"].lack == "no row was answered"


async def test_what_a_runtime_does_not_report_is_lacking_with_its_reason(bench: Bench) -> None:
    ran = await bench.run(f"{SUITE}serving: {{rows: 10}}\n", lambda request: Reply(text="good", seconds=1.0))
    figures = level(ran).figures
    assert figures["latency"].value == pytest.approx(1.0, rel=0.02)
    for name in ("first_token", "tokens_per_second", "throughput", "prompt_tokens_per_second"):
        assert figures[name].value is None and figures[name].lack


async def test_rounds_that_differ_are_pointed_out(bench: Bench) -> None:
    asked = 0

    def script(request: Request) -> Reply:
        nonlocal asked
        asked += not request.reuse_prefix
        return reply(request, output_seconds=4.0 if asked > 8 else 2.0)

    ran = await bench.run(f"{SUITE}serving: {{rows: 10, warmup: 0}}\n", script)
    assert measured(ran).spread == pytest.approx(2.0)
    assert any("rounds of one variant differ by up to ×2.00" in note for note in measured(ran).notes)
    steady = await bench.run(f"{SUITE}serving: {{rows: 10, warmup: 0}}\n", reply)
    assert not any("rounds of one variant differ" in note for note in measured(steady).notes)


async def test_prompts_that_the_server_had_read_before_are_pointed_out(bench: Bench) -> None:
    ran = await bench.run(f"{SUITE}serving: {{rows: 10}}\n", lambda request: reply(request, tokens_reused=40))
    assert level(ran).reused == pytest.approx(0.4)
    assert any("up to 40 % of the prompt tokens came from" in note for note in measured(ran).notes)


async def test_answers_of_another_length_are_pointed_out(bench: Bench) -> None:
    def script(request: Request) -> Reply:
        return reply(request, tokens_out=22 if request.max_tokens == FAST else 11)

    ran = await bench.run(f"{SUITE}{VARIANTS}serving: {{rows: 10}}\n", script)
    assert any("of `fast` writes 22 tokens, one of `slow` 11" in note for note in measured(ran).notes)


async def test_more_requests_than_slots_and_the_memory_are_in_the_record(bench: Bench) -> None:
    class Served(Scripted):
        async def memory(self) -> Memory:
            return Memory(4096, "as the test counts it", gpu=1024)

        async def model(self) -> Model:
            return replace(await super().model(), slots=2)

    runtime = Served(reply)
    ran = await bench.run(f"{SUITE}serving: {{concurrency: [1, 3], rows: 10}}\n", runtime)
    (model,) = measured(ran).models
    assert (model.slots, model.memory, model.gpu_memory) == (2, 4096, 1024)
    assert any("decodes 2 requests together: at 3 the others wait" in note for note in measured(ran).notes)


async def test_a_script_is_named_as_one(bench: Bench) -> None:
    ran = await bench.run(f"{SUITE}serving: {{rows: 10}}\n", reply)
    assert measured(ran).notes[0].startswith("`baseline`: answered by a script")


async def test_a_run_without_serving_has_no_such_key(bench: Bench) -> None:
    ran = await bench.run(SUITE, reply)
    assert "serving" not in ran.record


def test_a_recording_cannot_be_served(bench: Bench) -> None:
    class Replayed(Given):
        def replayed(self, reference: str | None = None) -> str | None:
            return "replay:recorded.jsonl"

    suite = bench.suite(f"{SUITE}serving: 1\n")
    with pytest.raises(InputError, match="a recording is read, not served"):
        check_serving(suite, Replayed(Scripted(reply)), [None])
    check_serving(bench.suite(), Replayed(Scripted(reply)), [None])


def test_a_wait_in_the_servers_queue_comes_before_the_first_token() -> None:
    timed = served_request(Reply(text="x", seconds=2.0, first_token=0.5), 5.0)
    assert (timed.seconds, timed.first_token) == (5.0, 3.5)
    assert served_request(Reply(text="x", seconds=2.0), 5.0).first_token is None


@pytest.mark.parametrize(
    ("name", "bound", "passed"),
    [
        ("serving.latency", "at_most: 1.3", True),
        ("serving.latency", "at_most: 1.2", False),
        ("serving.tokens_per_second@1", "at_least: 9.9", True),
        ("serving.tokens_per_second", "at_least: 10.1", False),
        ("serving.latency_p95", "at_most: 9", False),
    ],
)
async def test_thresholds_bind_the_end_of_the_interval(bench: Bench, name: str, bound: str, passed: bool) -> None:
    text = f"{SUITE}serving: {{rows: 10}}\nthresholds: {{{name}: {{{bound}}}}}\n"
    ran = await bench.run(text, reply)
    (threshold,) = ran.evaluated.record.thresholds
    assert threshold.passed is passed, threshold.says
    assert threshold.says.startswith(f"{name}: ")


async def test_a_threshold_on_what_no_runtime_reports_is_missed(bench: Bench) -> None:
    text = f"{SUITE}serving: {{rows: 10}}\nthresholds: {{serving.throughput: {{at_least: 1}}}}\n"
    ran = await bench.run(text, lambda request: Reply(text="good", seconds=1.0))
    (threshold,) = ran.evaluated.record.thresholds
    assert threshold.passed is False and "does not count output tokens" in threshold.says


async def test_thresholds_are_not_judged_on_a_part_of_the_rows(bench: Bench) -> None:
    text = f"{SUITE}serving: {{rows: 10}}\nthresholds: {{serving.latency: {{at_most: 9}}}}\n"
    ran = await bench.run(text, reply, limit=20)
    (threshold,) = ran.evaluated.record.thresholds
    assert threshold.passed is None and "--limit" in threshold.says
