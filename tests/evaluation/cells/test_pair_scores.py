"""Metrics of pairs: each answer against the baseline's of the same row, once all cells are there."""

from __future__ import annotations

from typing import Any

import pytest

from promptkit.errors import ContextOverflow, ServerFailed
from promptkit.evaluation.cells.failures import MOST_FAILURES
from promptkit.evaluation.cells.pair_scoring import PAIRS_AT_ONCE
from promptkit.evaluation.cells.progress import EvalOptions
from promptkit.runtimes.base import Request
from promptkit.runtimes.scripted import Scripted
from tests.engine.helpers import Folder, said
from tests.evaluation.suites import Bench, moods, number_of

SUITE = """
data: rows.jsonl
target: say
metrics:
  better: {pairwise: {rubric: Is it kinder?}}
variants:
  plain: {}
  kind: {say.layout: prefix}
"""


@pytest.fixture
def bench(folder: Folder) -> Bench:
    folder.write("pipelines/say.yaml", "inputs: {text: {example: x}}\nsteps:\n  say: {prompt: 'Say {{ text }}.'}\n")
    return Bench(folder, moods(6))


def judged(request: Request) -> str:
    """Answer kindly in the prefix layout; as a judge prefer what is kind, wherever it stands."""
    text = "\n".join(message.content for message in request.messages)
    if "kinder" not in text:
        return "kind words" if "TASK:" in text else "words"
    return "first" if text.index("> kind words") < text.index("> words") else "second"


async def test_each_variant_is_judged_against_the_baseline_in_both_orders_and_the_baseline_against_itself(
    bench: Bench,
) -> None:
    runtime = Scripted(judged)
    ran = await bench.run(SUITE, runtime)

    assert ran.record["status"] == "done"
    assert ran.metric("better", "plain")["mean"] == 0.5
    assert {cell.scores["better"].value for cell in ran.view.cells("kind")} == {1.0}
    judgements = [each for each in runtime.requests if "kinder" in each.messages[-1].content]
    assert len(judgements) == 12
    comparison = next(each for each in ran.record["comparisons"] if each["metric"] == "better")
    assert comparison["low"] > 0


async def test_a_second_run_asks_no_judge_again(bench: Bench) -> None:
    await bench.run(SUITE, Scripted(judged))
    again = await bench.run(SUITE, Scripted(judged))

    assert again.runtime.requests == []
    assert {cell.scores["better"].value for cell in again.view.cells("kind")} == {1.0}


def is_judged(request: Request) -> bool:
    return "kinder" in said(request)


async def test_an_answer_in_which_the_metric_finds_nothing_to_compare_loses(bench: Bench) -> None:
    bench.folder.write(
        "pipelines/record.yaml",
        """
        inputs: {text: {example: fine}}
        steps:
          record:
            prompt: "Read {{ text }}."
            answer: {json: {type: object, properties: {mood: {type: string}}}}
            decide: generate
        """,
    )
    suite = SUITE.replace("target: say", "target: record").replace("say.layout", "record.layout")
    suite = suite.replace("Is it kinder?", "Is it kinder?, of: '{{ output.mood }}'")

    def script(request: Request) -> str:
        if "TASK:" not in said(request):
            return '{"mood": "x"}'
        return "none" if number_of(request) % 2 else "{}"

    ran = await bench.run(suite, script)

    assert [cell.flag for cell in ran.view.cells("kind")] == ["", "unparsed"] * 3
    assert (ran.metric("better", "kind")["n"], ran.metric("better", "kind")["mean"]) == (6, 0)
    assert {each["metric"] for each in ran.record["comparisons"]} == {"better"}


async def test_a_judge_that_is_gone_is_not_asked_for_every_pair_and_pairs_that_need_none_have_their_score(
    bench: Bench,
) -> None:
    bench.rows(moods(100))
    asked = 0

    def script(request: Request) -> Any:
        nonlocal asked
        if is_judged(request):
            asked += 1
            return ServerFailed("over")
        if "TASK:" not in said(request):
            return "words"
        return "words" if number_of(request) >= 60 else "kind words"

    ran = await bench.run(SUITE, script, options=EvalOptions(in_flight=1), concurrency=1)

    assert MOST_FAILURES <= asked <= MOST_FAILURES + PAIRS_AT_ONCE
    assert ran.record["status"] == "incomplete"
    assert (ran.metric("better", "plain")["n"], ran.metric("better", "kind")["n"]) == (100, 40)


async def test_pairs_that_are_too_long_for_the_judge_have_no_score_and_all_others_are_judged(bench: Bench) -> None:
    bench.rows(moods(60))

    def script(request: Request) -> Any:
        if not is_judged(request):
            return f"{'kind ' if 'TASK:' in said(request) else ''}words {number_of(request)}"
        return ContextOverflow("too long") if number_of(request) < 40 else "first"

    ran = await bench.run(SUITE, script, options=EvalOptions(in_flight=1), concurrency=1)

    assert ran.metric("better", "kind")["n"] == 20


async def test_once_a_run_has_given_up_no_judge_is_asked(bench: Bench) -> None:
    bench.rows(moods(100))
    judged = 0

    def script(request: Request) -> Any:
        nonlocal judged
        judged += is_judged(request)
        if number_of(request) >= 50 or is_judged(request):
            return ServerFailed("over")
        return "kind words" if "TASK:" in said(request) else "words"

    ran = await bench.run(SUITE, script, options=EvalOptions(in_flight=1), concurrency=1)

    assert ran.evaluated.gave_up
    assert judged == 0


# All pairs

ALL = SUITE.replace("rubric: Is it kinder?", "rubric: Is it kinder?, pairs: all").replace(
    "kind: {say.layout: prefix}", "kind: {say.layout: prefix}\n  list: {say.layout: markdown}"
)
KINDNESS = ("good words", "words", "kind words")


def answer_by_layout(request: Request) -> str:
    if is_judged(request):
        first, last = (KINDNESS.index(line) for line in lines_judged(request))
        return "first" if first > last else "second"
    text = said(request)
    return "kind words" if "TASK:" in text else "words" if "#" in text else "good words"


def lines_judged(request: Request) -> list[str]:
    answers = said(request).partition("The first answer:")[2]
    return [line.removeprefix("> ") for line in answers.splitlines() if line.startswith("> ")]


async def test_all_pairs_are_asked_in_both_orders_and_rank_the_variants(bench: Bench) -> None:
    ran = await bench.run(ALL, Scripted(answer_by_layout))

    assert sum(map(is_judged, ran.runtime.requests)) == 6 * 3 * 2
    (ranking,) = ran.record["rankings"]
    assert [found["variant"] for found in ranking["variants"]] == ["kind", "list", "plain"]
    assert [found["n"] for found in ranking["variants"]] == [12, 12, 12]
    assert {(pair["a"], pair["b"]) for pair in ranking["pairs"]} == {
        ("kind", "list"),
        ("kind", "plain"),
        ("list", "plain"),
    }
    against = [cell.scores["better"].detail["against"] for cell in ran.view.cells("list")]
    assert [each["kind"]["score"] for each in against] == [0.0] * 6
    assert {cell.scores["better"].value for cell in ran.view.cells("list")} == {1.0}


async def test_a_pair_without_a_verdict_is_left_out_of_the_ranking_and_the_run_says_why(bench: Bench) -> None:
    def babble(request: Request) -> str:
        is_kinds = is_judged(request) and "kind words" in lines_judged(request)
        return "Both have merits." if is_kinds and number_of_pair(request) == 3 else answer_by_layout(request)

    ran = await bench.run(ALL, Scripted(babble, capabilities={"chat"}))

    (ranking,) = ran.record["rankings"]
    assert (ran.record["status"], ranking["unscored"]) == ("incomplete", 2)
    assert "2 pairs have no verdict, and are left out: no two variants are compared" in ranking["notes"]
    assert ranking["pairs"] == []
    assert "Both have merits." in ran.evaluated.failure


def number_of_pair(request: Request) -> int:
    return int(said(request).partition("> ")[2].split()[1].split("\n")[0])


async def test_a_judge_that_goes_by_place_has_a_ranking_that_is_called_unreliable(bench: Bench) -> None:
    def by_place(request: Request) -> str:
        return "first" if is_judged(request) else answer_by_layout(request)

    ran = await bench.run(ALL, Scripted(by_place))

    (ranking,) = ran.record["rankings"]
    assert any("in only 0% of pairs" in note for note in ranking["notes"])
    assert ranking["pairs"] == []


async def test_pairs_of_the_baseline_alone_make_no_ranking(bench: Bench) -> None:
    ran = await bench.run(SUITE, Scripted(judged))
    assert "rankings" not in ran.record
