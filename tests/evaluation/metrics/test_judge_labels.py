"""Persons' labels of answers: where a judge finds them, and which of them it uses."""

from __future__ import annotations

import json
from math import isnan
from typing import Any

import pytest

from promptkit.evaluation.answer_labels import AnswerLabel, AnswerLabels, answer_key
from promptkit.evaluation.metrics.base import Estimate, MetricContext, MetricInput
from promptkit.evaluation.metrics.judge import Judge
from promptkit.evaluation.metrics.judge_parameters import JudgeParameters
from promptkit.evaluation.metrics.score import Score
from promptkit.project import Project
from promptkit.runtimes.base import Request
from promptkit.runtimes.scripted import Scripted
from tests.engine.helpers import Folder, said
from tests.evaluation.metrics.given import given, sample
from tests.evaluation.suites import Bench
from tests.techniques.steps import without

LEVELS = ["poor", "fair", "good"]
INPUTS = {"text": "asked"}


def labelled(metric: str, inputs: dict[str, Any], answer: Any, level: str, **more: Any) -> AnswerLabel:
    more = {"drawn": "random", **more}
    return AnswerLabel(metric=metric, key=answer_key(inputs, answer), answer=answer, level=level, **more)


def judge(folder: Folder, *labels: AnswerLabel, **parameters: Any) -> Judge:
    found = JudgeParameters.model_validate({"rubric": "Is it good?", "levels": LEVELS, **parameters})
    file = AnswerLabels(folder.root / "evals/test.labels.jsonl", labels)
    return Judge("helpful", found, MetricContext(project=Project(folder.root), folder=folder.root, labels=file))


def cell(got: Any = "x", **row: Any) -> MetricInput:
    read = given(got, row=row)
    return MetricInput(read.got, None, read.cell, None, INPUTS)


def label_of(of: Judge, read: MetricInput) -> dict[str, Any]:
    detail = of.with_label(Score(1.0, {"level": "good"}), read).detail
    return {key: detail[key] for key in ("label", "random") if key in detail}


def test_a_label_is_of_the_metric_the_inputs_and_the_answer(folder: Folder) -> None:
    of = judge(
        folder, labelled("helpful", INPUTS, "x", "fair"), labelled("helpful", INPUTS, "z", "poor", drawn="chosen")
    )
    assert label_of(of, cell("x")) == {"label": "fair", "random": True}
    assert label_of(of, cell("z")) == {"label": "poor", "random": False}
    assert label_of(of, cell("y")) == {}
    assert label_of(judge(folder, labelled("other", INPUTS, "x", "fair")), cell("x")) == {}
    assert label_of(judge(folder, labelled("helpful", {"text": "else"}, "x", "fair")), cell("x")) == {}


@pytest.mark.parametrize(("level", "named"), [("right", "good"), ("wrong", "poor"), ("FAIR", "fair"), ("great", None)])
def test_right_is_the_best_level_wrong_the_worst_and_other_words_are_not_used(
    folder: Folder, level: str, named: str | None
) -> None:
    of = judge(folder, labelled("helpful", INPUTS, "x", level))
    assert label_of(of, cell("x")).get("label") == named
    assert bool(of.setting_notes) == (named is None)
    assert of.is_mean == (named is None)


def test_of_several_persons_the_label_of_most_counts(folder: Folder) -> None:
    of = judge(
        folder, *(labelled("helpful", INPUTS, "x", level, person=level + str(at)) for at, level in enumerate("ffp"))
    )
    assert label_of(of, cell("x")) == {}
    levels = ("poor", "fair", "fair")
    of = judge(folder, *(labelled("helpful", INPUTS, "x", level, person=str(at)) for at, level in enumerate(levels)))
    assert label_of(of, cell("x"))["label"] == "fair"


def test_labels_false_leaves_the_file_out(folder: Folder) -> None:
    of = judge(folder, labelled("helpful", INPUTS, "x", "fair"), labels=False)
    assert label_of(of, cell("x")) == {} and of.is_mean


def test_an_expression_that_reads_the_answer_stands(folder: Folder) -> None:
    of = judge(folder, labels="{{ row.human.get(output) }}")
    assert label_of(of, cell("x", human={"x": "Fair"})) == {"label": "fair", "random": True}
    assert label_of(of, cell("y", human={"x": "Fair"})) == {}
    assert not of.setting_notes and not of.is_mean
    with pytest.raises(ValueError, match=r"great.* not one of the levels poor, fair, good"):
        of.with_label(Score(1.0, {}), cell("x", human={"x": "great"}))


def test_two_fields_name_a_label_and_the_answer_that_it_is_of(folder: Folder) -> None:
    of = judge(folder, levels=None, scale=[1, 5], labels={"level": "human", "of": "seen"})
    assert label_of(of, cell(3, human=4.0, seen="3")) == {"label": "4", "random": True}
    for row in ({"human": 4, "seen": 5}, {"human": 4}, {"human": "", "seen": 3}):
        assert label_of(of, cell(3, **row)) == {}


@pytest.mark.parametrize("labels", ["human", "{{ row.human }}"])
def test_a_field_that_does_not_say_which_answer_its_label_is_of_is_not_used_and_a_note_says_what_to_do(
    folder: Folder, labels: str
) -> None:
    of = judge(folder, labels=labels)
    assert label_of(of, cell("x", human="good")) == {} and of.is_mean
    assert "promptkit label test --import human --variant NAME" in of.setting_notes[0]
    imported = judge(folder, labelled("helpful", INPUTS, "x", "fair"), labels=labels)
    assert label_of(imported, cell("x", human="good"))["label"] == "fair" and not imported.setting_notes


def test_a_label_is_no_part_of_the_score_that_is_kept_for_other_runs(folder: Folder) -> None:
    of = judge(folder, labelled("helpful", INPUTS, "x", "fair", drawn="chosen"))
    score = Score(1.0, {"level": "good", "tokens": 3})
    found = of.with_label(score, cell("x"))
    assert list(of.numbers(found))[:7] == [1, 2, 1, 0, 3, 0, 0] and of.without_label(found) == score
    assert of.with_label(found, cell("y")) == score
    assert all(isnan(number) for number in of.numbers(score)[2:4])
    assert of.numbers(Score(1.0, {"level": "good", "label": "poor"}))[3] == 1
    assert of.key == judge(folder, labels=False).key


# In a run

SUITE = """
data: rows.jsonl
target: mood
metrics:
  helpful: {judge: {rubric: Is it right?, levels: [poor, good], question: text, labels: human}}
variants: {a: {}, b: {mood.layout: prefix}}
"""


@pytest.fixture
def bench(folder: Folder) -> Bench:
    rows = [{"text": f"row {n}", "human": ("good" if n % 10 < 3 else "poor") if n < 20 else ""} for n in range(40)]
    return Bench(folder, rows)


def answers(request: Request) -> str:
    """Answer `bad` in the default layout and `good` in the other; judge 3 of 10 rows of one good, 9 of the other's."""
    text = said(request)
    if "rubric" not in text:
        return "good" if "TASK:" in text else "bad"
    good = number_in(text) % 10 < (9 if "> good" in text else 3)
    return "good" if good else "poor"


def script() -> Scripted:
    return Scripted(answers, capabilities=without("logprobs"))


def number_in(text: str) -> int:
    return int(text.partition("> row ")[2].split()[0])


def add_labels(bench: Bench, answer: str, level: Any, rows: int) -> None:
    path = bench.folder.root / "evals/test.labels.jsonl"
    labels = AnswerLabels.read(path)
    for n in range(rows):
        labels.add(labelled("helpful", {"text": f"row {n}"}, answer, level(n)))


async def test_a_variant_does_not_inherit_the_labels_of_the_others_answers(bench: Bench) -> None:
    ran = await bench.run(SUITE, script())
    means = {name: ran.metric("helpful", name)["mean"] for name in "ab"}
    assert means == {"a": pytest.approx(0.3), "b": pytest.approx(0.9)}
    assert any("does not say which answer" in note for note in ran.metric("helpful", "b")["notes"])
    difference = next(found for found in ran.record["comparisons"] if found["metric"] == "helpful")
    assert difference["difference"] == pytest.approx(0.6)


async def test_new_labels_ask_no_judge_again_and_equal_answers_share_them(bench: Bench) -> None:
    await bench.run(SUITE, script())
    add_labels(bench, "bad", lambda n: "right" if n % 10 < 3 else "wrong", 20)
    ran = await bench.run(SUITE, script())

    assert ran.runtime.requests == []
    parts = {name: ran.metric("helpful", name)["parts"] for name in "ab"}
    assert parts["a"]["agreement with labels"]["n"] == 20 and "agreement with labels" not in parts["b"]
    details = [cell.scores["helpful"].detail.get("label") for cell in ran.view.cells("a")]
    assert details == ["good" if n % 10 < 3 else "poor" for n in range(20)] + [None] * 20

    both = await bench.run(SUITE.replace("layout: prefix", "layout: xml"), script())
    assert both.metric("helpful", "b")["parts"]["agreement with labels"]["n"] == 20


async def test_a_label_that_is_taken_back_is_gone_in_the_next_run(bench: Bench) -> None:
    add_labels(bench, "bad", lambda n: "right", 4)
    await bench.run(SUITE, script())
    (bench.folder.root / "evals/test.labels.jsonl").unlink()
    ran = await bench.run(SUITE, script())
    assert all("label" not in cell.scores["helpful"].detail for cell in ran.view.cells("a"))


def test_every_wrong_line_of_a_label_file_is_a_problem_of_the_suite(bench: Bench) -> None:
    path = bench.folder.root / "evals/test.labels.jsonl"
    path.write_text('{"metric": "helpful"}\n{\n' + json.dumps({"metric": 1}) + "\n", "utf-8")
    problems = bench.problems(SUITE)
    assert [problem.line for problem in problems] == [1, 2, 3]


def test_labels_of_unchanged_answers_are_no_random_sample_and_a_note_says_so(folder: Folder) -> None:
    rows = [{"text": f"row {n}"} for n in range(30)]
    labels = (labelled("helpful", inputs, "x", "poor") for inputs in rows)
    of = judge(
        folder, *(label.model_copy(update={"inputs": inputs}) for label, inputs in zip(labels, rows, strict=True))
    )

    def estimated(changed: int) -> Estimate:
        reads = [MetricInput("y" if n < changed else "x", None, given("x").cell, None, rows[n]) for n in range(30)]
        scores = [of.with_label(Score(1.0, {"level": "good", "tokens": 3}), read) for read in reads]
        return of.estimate(sample([list(of.numbers(score)) for score in scores]))

    few, most = estimated(10), estimated(5)
    assert any(found.startswith("no answer has a label: 30 inputs drawn at random") for found in estimated(30).notes)
    note = "20 of the 30 rows drawn at random have a label of this variant's answer"
    assert any(found.startswith(note) for found in few.notes)
    assert not any("drawn at random" in found for found in most.notes)
    # The judge finds all good, as 10 answers without a label count then; the labels say that all are poor.
    assert few.mean == pytest.approx(1 / 3) and most.mean == 0
