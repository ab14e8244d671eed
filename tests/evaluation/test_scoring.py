"""What becomes of a cell's score where the answer, the metric or its judge fails."""

from __future__ import annotations

import pytest

from promptkit.errors import InputError
from promptkit.evaluation import refuse_seen
from promptkit.runtimes import Request, Scripted
from promptkit.runtimes.scripted import CAPABILITIES
from promptkit.techniques import row_hash
from tests.engine.helpers import Folder
from tests.evaluation.suites import PIPELINE, SUITE, Bench, moods

RECORD = """
name: record
inputs: {text: {example: fine}}
steps:
  record:
    prompt: "Read {{ text }}."
    answer: {json: {type: object, properties: {mood: {type: string}}}}
    decide: generate
"""
OF = """
data: rows.jsonl
target: record
metrics:
  mood: {exact: {of: "{{ output.mood }}"}}
  listed: {set_f1: {of: "{{ [output.mood] }}", expect: "{{ [row.expect] }}"}}
"""


@pytest.fixture
def bench(folder: Folder) -> Bench:
    folder.write("pipelines/record.yaml", RECORD)
    return Bench(folder, moods(4))


async def test_a_metric_reads_a_part_of_the_answer(bench: Bench) -> None:
    ran = await bench.run(OF, lambda request: '{"mood": "bad"}')

    assert ran.metric("mood")["mean"] == 1
    assert ran.metric("listed")["mean"] == 1


async def test_an_answer_without_the_part_that_a_metric_reads_is_wrong_and_says_why(bench: Bench) -> None:
    ran = await bench.run(OF, lambda request: "{}")

    assert ran.metric("mood")["mean"] == 0
    assert ran.metric("mood")["n"] == 4
    score = next(iter(ran.view.cells())).scores["mood"]
    assert score.value == 0 and "mood" in score.why


async def test_a_metric_that_raises_is_missing_with_its_reason_and_never_zero(bench: Bench) -> None:
    bench.folder.write("evals/mine.py", "def score(output):\n    return {'bad': 1.0}[output]\n")
    ran = await bench.run(SUITE.replace("accuracy: label", "mine: {python: 'mine.py:score'}"))

    assert ran.metric("mine")["mean"] == 1
    assert ran.metric("mine")["n"] == 2
    whys = [cell.scores["mine"].why for cell in ran.view.cells() if cell.scores["mine"].value is None]
    assert len(whys) == 2 and all("KeyError" in why for why in whys)


async def test_a_score_that_is_no_number_is_missing(bench: Bench) -> None:
    bench.folder.write("evals/mine.py", "def score(output):\n    return float('nan')\n")
    ran = await bench.run(SUITE.replace("accuracy: label", "mine: {python: 'mine.py:score'}"))

    assert ran.metric("mine")["mean"] is None
    assert ran.metric("mine")["n"] == 0


async def test_a_missing_score_makes_a_comparison_of_its_metric_impossible(bench: Bench) -> None:
    bench.folder.write("evals/mine.py", "def score(row):\n    return None if row['text'] == 'bad 0' else 1\n")
    ran = await bench.run(
        SUITE.replace("accuracy: label", "accuracy: label, mine: {python: 'mine.py:score'}")
        + "variants: {a: {}, b: {mood.layout: prefix}}\n"
    )

    assert [each["metric"] for each in ran.record["comparisons"]] == ["accuracy"]


async def test_a_costly_metric_is_not_computed_twice_for_one_cell(bench: Bench) -> None:
    bench.folder.write(
        "evals/mine.py",
        """
        from pathlib import Path

        def score(output):
            with open(Path(__file__).with_name("calls"), "a") as file:
                file.write("x")
            return 1
        """,
    )
    suite = SUITE.replace("accuracy: label", "mine: {python: 'mine.py:score'}")
    await bench.run(suite)
    await bench.run(suite)

    assert (bench.folder.root / "evals/calls").read_text() == "xxxx"


async def test_a_judge_is_asked_once_for_a_cell_and_babble_is_missing(bench: Bench) -> None:
    suite = SUITE.replace("accuracy: label", "kind: {judge: {rubric: Is it kind?, scale: [1, 5]}}")
    judged = []

    def script(request: Request) -> str:
        text = request.messages[-1].content
        if "Is it kind?" not in text:
            return "good" if "\ngood" in text else "bad"
        judged.append(text)
        return "I cannot say" if "> bad 0" in text or "> bad 2" in text else "4"

    def plain() -> Scripted:
        return Scripted(script, capabilities=CAPABILITIES - {"logprobs", "grammar", "schema"})

    ran = await bench.run(suite, plain())
    again = await bench.run(suite, plain())

    values = [cell.scores["kind"].value for cell in ran.view.cells()]
    assert sorted(value is None for value in values) == [False, False, True, True]
    assert ran.metric("kind")["mean"] == 4
    assert len(again.runtime.requests) == 0


async def test_rows_that_a_preparation_saw_are_refused_unless_they_are_allowed(bench: Bench) -> None:
    bench.folder.write("pipelines/mood.yaml", PIPELINE.replace("prompt: mood", "prompt: mood, technique: auto_cot"))
    bench.folder.write(
        "pipelines/mood.mood.auto_cot.yaml",
        f"""
        technique: auto_cot
        model: scripted
        digest: x
        seed: 1
        pipeline: mood
        step: mood
        rows: [{row_hash({"text": "bad 0"})}]
        items: [{{input: {{text: bad 0}}, thoughts: t, output: bad}}]
        """,
    )

    with pytest.raises(InputError, match="saw 1 of 4 rows"):
        refuse_seen(bench.suite())
    assert len(refuse_seen(bench.suite(), allow=True)) == 1
