"""Metrics of pairs: each answer against the baseline's of the same row, once all cells are there."""

from __future__ import annotations

import pytest

from promptkit.runtimes import Request, Scripted
from tests.engine.helpers import Folder
from tests.evaluation.suites import Bench, moods

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
