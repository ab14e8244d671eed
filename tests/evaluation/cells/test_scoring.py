"""What becomes of a cell's score where the answer, the metric or its judge fails."""

from __future__ import annotations

from typing import Any

import pytest

from promptkit.errors import ConnectionFailed, ContextOverflow, InputError
from promptkit.evaluation.cells.failures import MOST_FAILURES
from promptkit.evaluation.cells.progress import EvalOptions
from promptkit.evaluation.suite.contamination import refuse_contamination
from promptkit.runtimes.base import Request
from promptkit.runtimes.scripted import CAPABILITIES, Scripted
from promptkit.techniques.artifacts import row_hash
from tests.engine.helpers import Folder, said
from tests.evaluation.suites import PIPELINE, SUITE, Bench, echo, moods, number_of

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


async def test_an_answer_without_that_part_is_unparsed_to_the_metric_whatever_else_it_says(bench: Bench) -> None:
    suite = OF.replace("exact:", "label:") + '  size: {length: {unit: characters, of: "{{ output.mood }}"}}\n'
    ran = await bench.run(suite, lambda request: "{}")

    assert ran.metric("mood")["parts"]["confusion"] == {"bad": {"(unparsed)": 4}}
    assert ran.metric("size")["mean"] == 0


async def test_a_step_that_does_not_parse_is_wrong_by_every_metric_that_reads_it(bench: Bench) -> None:
    bench.folder.write(
        "pipelines/two.yaml",
        """
        inputs: {text: {example: fine}}
        steps:
          first: {prompt: mood, on_error: skip}
          second: {prompt: mood, with: {text: "{{ text }} again"}}
        """,
    )
    suite = """
data: rows.jsonl
target: two
metrics:
  whole: {label: {of: "{{ steps.first }}"}}
  upper: {exact: {of: "{{ steps.first | upper }}", expect: "BAD"}}
  letter: {exact: {of: "{{ steps.first[0] }}", expect: "b"}}
"""

    ran = await bench.run(
        suite, lambda each: echo(each) if "again" in said(each) or " 0" not in said(each) else "no idea"
    )

    found = {name: (metric["n"], metric["mean"]) for name, metric in ran.variant()["metrics"].items()}
    assert found == {"whole": (4, 0.25), "upper": (4, 0.25), "letter": (4, 0.25)}
    assert ran.flags == [""] * 4


async def test_a_metric_that_reads_the_row_alone_says_nothing_where_the_row_has_nothing(bench: Bench) -> None:
    bench.rows([*moods(3), {"text": "bad 3", "expect": "bad", "tags": ["bad"]}])

    ran = await bench.run(SUITE.replace("accuracy: label", "first: {exact: {of: '{{ row.tags[0] }}'}}"))

    assert (ran.metric("first")["n"], ran.metric("first")["mean"]) == (1, 1)
    assert ran.record["status"] == "incomplete"


@pytest.mark.attack("regex")
async def test_a_pattern_of_a_row_that_finds_no_end_leaves_its_score_missing_and_the_run_goes_on(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("promptkit.workers.patterns.PATTERN_SECONDS", 0.3)
    long = "a" * 40 + "b"
    bench.rows([{**row, "long": long, "p": "(a+)+$" if at == 2 else "a+b"} for at, row in enumerate(moods(8))])
    found = "found: {regex: {of: '{{ row.long }}', expect: '{{ row.p }}'}}"

    ran = await bench.run(SUITE.replace("accuracy: label", found))

    assert (ran.metric("found")["n"], ran.metric("found")["mean"]) == (7, 1)
    scores = [cell.scores["found"] for cell in ran.view.cells()]
    assert [score.value for score in scores] == [1, 1, None, 1, 1, 1, 1, 1]
    assert scores[2].why == "the search for '(a+)+$' took longer than 0.3 seconds"


async def test_what_a_metric_does_to_its_row_nobody_else_sees(bench: Bench) -> None:
    bench.folder.write(
        "evals/mine.py", "def score(row):\n    row['tags'].append('x')\n    return float(len(row['tags']) == 2)\n"
    )
    bench.rows([{"text": "bad 1", "expect": "bad", "tags": ["a"]}])
    suite = SUITE.replace("accuracy: label", "one: {python: 'mine.py:score'}, other: {python: 'mine.py:score'}")

    ran = await bench.run(suite + "variants: {a: {}, b: {mood.layout: prefix}}\n")

    scores = [score.value for cell in ran.view.cells() for score in cell.scores.values()]
    assert scores == [1.0] * 4
    assert {tuple(cell.fields["tags"]) for cell in ran.view.cells()} == {("a",)}


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
    bench.folder.write("evals/mine.py", "def score(row):\n    return 'none' if row['text'] == 'bad 0' else 1\n")
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
    suite = SUITE.replace("accuracy: label", "kind: {judge: {rubric: Is it kind?, scale: [1, 5], reason: none}}")
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
    (said,) = next(each for cell in ran.view.cells() if (each := cell.scores["kind"].detail.get("judge")))
    assert "Is it kind?" in said["asked"] and said["reply"] == "4"
    assert len(again.runtime.requests) == 0


JUDGED = SUITE.replace("accuracy: label", "kind: {judge: {rubric: Is it kind?, scale: [1, 5], reason: none}}")


def is_judged(request: Request) -> bool:
    return "Is it kind?" in said(request)


def judged_row(request: Request) -> int:
    """Return the number of the row whose answer a judge is shown."""
    shown = (line for line in said(request).split("\n") if line.startswith(("> good", "> bad")))
    return int(next(shown).rpartition(" ")[2])


async def test_a_judge_that_is_gone_is_not_asked_for_every_cell_and_the_same_command_asks_it_for_all(
    bench: Bench,
) -> None:
    bench.rows(moods(60))
    asked = 0

    def script(request: Request) -> Any:
        nonlocal asked
        if not is_judged(request):
            return echo(request)
        asked += 1
        return ConnectionFailed("nobody there")

    ran = await bench.run(JUDGED, script, options=EvalOptions(in_flight=2), concurrency=2)
    after = await bench.run(JUDGED, lambda each: " 4" if is_judged(each) else echo(each))

    assert MOST_FAILURES <= asked < MOST_FAILURES + 10
    assert ran.record["status"] == "incomplete"
    assert (ran.variant()["missing"], ran.metric("kind")["n"]) == (0, 0)
    assert "nobody there" in ran.evaluated.failure
    assert all(is_judged(request) for request in after.runtime.requests)
    assert (len(after.runtime.requests), after.metric("kind")["n"]) == (60, 60)


async def test_a_judge_that_is_gone_is_given_up_whatever_needs_no_judge(bench: Bench) -> None:
    bench.rows(moods(60))
    bench.folder.write("evals/mine.py", "def score(output):\n    return 1\n")
    asked = 0

    def script(request: Request) -> Any:
        nonlocal asked
        if not is_judged(request):
            return "no idea" if number_of(request) % 5 == 0 else echo(request)
        asked += 1
        return ConnectionFailed("nobody there")

    ran = await bench.run(
        JUDGED.replace("{kind", "{mine: {python: 'mine.py:score'}, kind"),
        script,
        options=EvalOptions(in_flight=2),
        concurrency=2,
    )

    assert asked < MOST_FAILURES + 10
    assert ran.variant()["unparsed"] == 12
    assert ran.metric("mine")["n"] == 60
    assert ran.metric("kind")["n"] == 12


async def test_answers_that_are_too_long_for_the_judge_have_no_score_and_all_others_are_judged(bench: Bench) -> None:
    bench.rows(moods(40))

    def script(request: Request) -> Any:
        if not is_judged(request):
            return echo(request)
        return ContextOverflow("too long") if judged_row(request) < MOST_FAILURES + 2 else " 4"

    ran = await bench.run(JUDGED, script, options=EvalOptions(in_flight=1), concurrency=1)

    assert ran.metric("kind")["n"] == 40 - MOST_FAILURES - 2
    whys = {cell.scores["kind"].why for cell in ran.view.cells() if cell.scores["kind"].value is None}
    assert all("too long" in why for why in whys)


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
        refuse_contamination(bench.suite())
    assert len(refuse_contamination(bench.suite(), allow=True)) == 1
