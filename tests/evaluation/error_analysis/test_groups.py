"""What fails in a run in groups: by kind, by pair, by slice, by similar text; and the draft of rules made of it."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import fisher_exact

from promptkit.engine.preparation import write_artifact
from promptkit.errors import InputError
from promptkit.evaluation.answer_labels import AnswerLabel, AnswerLabels, answer_key, label_file
from promptkit.evaluation.cells.cell import Cell
from promptkit.evaluation.error_analysis.groups import ErrorAnalysis, errors_record, find_errors
from promptkit.evaluation.error_analysis.guideline_draft import draft_guideline, plan_guideline
from promptkit.evaluation.error_analysis.slices import fisher
from promptkit.evaluation.metrics.score import Score
from promptkit.evaluation.record import EvalRecord
from promptkit.evaluation.suite.contamination import refuse_contamination
from promptkit.reports.evaluation.error_analysis import errors_lines
from promptkit.reports.output import PIPE_WIDTH, plain_text
from promptkit.reports.text import json_text
from promptkit.runtimes.base import Request
from promptkit.techniques.artifacts import read_artifact
from tests.engine.helpers import Folder
from tests.evaluation.suites import SUITE, Bench, Ran

GUIDED = """
name: mood
inputs:
  text: {example: fine}
  guideline: {default: Praise is good.}
steps:
  mood:
    prompt:
      instructions: Say whether it is good or bad.
      input: "{{ text }}"
    answer: {label: [good, bad]}
    decide: generate
    technique: annotation_guideline
"""
TOPICS = ("the refund never reached my account", "the driver was quick", "the chair is blue")


@dataclass
class View:
    """A run of given cells by a label metric."""

    found: Sequence[Cell]
    bounds: Sequence[float] | None = (0, 1)
    higher_is_better: bool = True
    traces: Mapping[int, Mapping[str, Any]] = field(default_factory=dict)
    number: int = 7
    suite: str = "sentiment"
    status: str = "done"
    started: float = 0.0
    variants: tuple[str, ...] = ("short",)
    metrics: tuple[str, ...] = ("accuracy",)

    @property
    def settings(self) -> Mapping[str, Mapping[str, Any]]:
        return {name: {} for name in self.variants}

    @property
    def record(self) -> EvalRecord:
        bounded = {"bounds": self.bounds, "higher_is_better": self.higher_is_better}
        metrics = {"accuracy": bounded, "tokens": {"bounds": None, "higher_is_better": False}}
        variant = {"name": "short", "cases": len(self.found), "metrics": metrics}
        return EvalRecord.model_validate({"variants": [variant]})

    def cells(self, variant: str | None = None) -> Iterator[Cell]:
        return iter(self.found)

    def trace(self, cell: int) -> Mapping[str, Any] | None:
        return self.traces.get(cell)

    def errors(self, **how: Any) -> ErrorAnalysis:
        return find_errors(self, self.record, **how)


def report(errors: ErrorAnalysis, view: View, width: int = PIPE_WIDTH) -> str:
    """Return the report as text."""
    return plain_text(errors_lines(errors, view, width))


def labelled(row: int, expected: str, got: str, text: str = "some text", **more: Any) -> Cell:
    """Return a cell that was scored by its label; `flag` and `problem` may be given, other names are fields."""
    flag, problem = more.pop("flag", ""), more.pop("problem", "")
    repeat = more.pop("repeat", 0)
    detail = {"expected": expected, "predicted": f"({flag})" if flag else got}
    scores = {} if flag == "error" else {"accuracy": Score(float(expected == got and not flag), detail)}
    return Cell(
        variant="short",
        row=row,
        repeat=repeat,
        fields={"text": text, "expect": expected, **more},
        output=None if flag else got,
        expect=expected,
        flag=flag,
        problem=problem,
        scores=scores,
        number=row,
    )


def graded(row: int, value: float, text: str = "some text") -> Cell:
    return Cell(
        variant="short",
        row=row,
        repeat=0,
        fields={"text": text},
        output="an answer",
        expect=None,
        scores={"accuracy": Score(value)},
    )


def kinds(errors: ErrorAnalysis) -> list[tuple[str, int]]:
    return [(group.kind, group.count) for group in errors.groups]


def test_failures_are_parted_the_largest_group_first_and_what_is_not_the_prompts_last() -> None:
    cells = [
        *(labelled(row, "good", "bad") for row in range(1, 5)),
        labelled(5, "bad", "good"),
        *(labelled(row, "good", "", flag="unparsed", problem="no label") for row in (6, 7)),
        labelled(8, "bad", "", flag="truncated"),
        *(labelled(row, "bad", "", flag="error", problem="503") for row in range(9, 15)),
        *(labelled(row, "good", "good") for row in range(15, 21)),
    ]

    errors = View(cells).errors()

    assert kinds(errors) == [("pair", 4), ("unparsed", 2), ("pair", 1), ("truncated", 1), ("missing", 6)]
    first, missing = errors.groups[0], errors.groups[-1]
    assert (first.expected, first.got, first.of_expected) == ("good", "bad", 12)
    assert errors.failed == 8
    assert (first.share, missing.share) == (0.5, 0.3)


def test_a_score_that_is_missing_is_no_failure_of_the_prompt() -> None:
    cell = labelled(1, "good", "bad")
    lost = Cell(
        variant="short",
        row=2,
        repeat=0,
        fields={},
        output="x",
        expect="good",
        scores={"accuracy": Score(None, why="the judge babbles")},
    )
    errors = View([cell, lost]).errors()

    assert kinds(errors) == [("pair", 1), ("unscored", 1)]
    assert errors.failed == 1
    assert errors.groups[1].rows[0].why == "the judge babbles"


def test_typical_rows_are_those_nearest_the_centre_of_their_texts() -> None:
    odd = ["zebra", "quartz", "walrus"]
    texts = [*odd, *(f"the refund is late again {number}" for number in "abcde")]
    errors = View([labelled(row, "good", "bad", text) for row, text in enumerate(texts, 1)]).errors(most=2)

    rows = errors.groups[0].rows
    assert len(rows) == 2
    assert all("refund" in row.cell.fields["text"] for row in rows)


def test_typical_unparsed_rows_are_the_first_of_the_most_frequent_shapes() -> None:
    problems = ["no label in `a`", "too long: 12", "no label in `b`", "no label in `c`"]
    cells = [labelled(row, "good", "", flag="unparsed", problem=each) for row, each in enumerate(problems, 1)]

    errors = View(cells).errors(most=2)

    assert [row.cell.row for row in errors.groups[0].rows] == [1, 2]


def test_repeats_of_a_row_are_one_typical_row() -> None:
    cells = [labelled(1, "good", "bad", repeat=repeat) for repeat in range(4)] + [labelled(2, "good", "bad")]
    errors = View(cells).errors()

    assert errors.groups[0].count == 5
    assert sorted(row.cell.row for row in errors.groups[0].rows) == [1, 2]


def test_of_a_graded_metric_the_lowest_quarter_fails_that_is_short_of_the_best() -> None:
    errors = View([graded(row, row / 20) for row in range(1, 21)]).errors()

    assert (errors.graded, errors.low) == (True, 0.25)
    assert kinds(errors) == [("low", 5)]
    assert [row.cell.row for row in errors.groups[0].rows] == [1, 2, 3]


def test_of_a_graded_metric_the_best_answers_never_fail() -> None:
    errors = View([*(graded(row, 1.0) for row in range(1, 10)), graded(10, 0.5)]).errors()
    assert (errors.low, kinds(errors)) == (0.5, [("low", 1)])


def test_where_lower_is_better_the_highest_scores_fail() -> None:
    errors = View([graded(row, row / 20) for row in range(1, 21)], higher_is_better=False).errors()
    assert [row.cell.row for row in errors.groups[0].rows] == [20, 19, 18]


def test_answers_that_are_no_labels_are_a_pair_only_where_they_are_confused_again() -> None:
    def exact(row: int, expected: str, got: str) -> Cell:
        scores = {"accuracy": Score(0.0)}
        fields = {"text": f"t {row}"}
        return Cell(
            variant="short", row=row, repeat=0, fields=fields, output=got, expect=expected, scores=scores, number=row
        )

    cells = [exact(1, "4", "5"), exact(2, "4", "5"), exact(3, "6", "7"), exact(4, "word " * 30, "x")]
    errors = View(cells).errors()

    assert kinds(errors) == [("pair", 2), ("other", 2)]


def test_a_planted_slice_is_found_and_an_even_one_is_not() -> None:
    cells = []
    for row in range(1, 121):
        channel, region = ("mail", "phone", "shop")[row % 3], ("north", "south")[row % 2]
        wrong = (channel == "shop" and row % 4 != 0) or row % 20 == 0
        cells.append(labelled(row, "good", "bad" if wrong else "good", f"text {row}", channel=channel, region=region))

    errors = View(cells).errors()

    assert [(each.field, each.value) for each in errors.slices] == [("channel", "shop")]
    found = errors.slices[0]
    assert errors.slices_tried == 5
    assert found.elsewhere is not None and found.low > found.elsewhere
    assert found.p is not None and found.q is not None and found.p < found.q < 0.01
    assert all(row.cell.fields["channel"] == "shop" for row in found.typical)


def test_what_is_expected_is_no_slice_and_an_id_is_none() -> None:
    cells = [labelled(row, "good" if row % 2 else "bad", "good", f"text {row}", id=f"r{row}") for row in range(1, 61)]
    errors = View(cells).errors()
    assert (errors.slices, errors.slices_tried) == ((), 0)


def test_by_a_field_each_value_is_told_whether_more_fail_or_not() -> None:
    cells = [labelled(row, "good", "good" if row % 3 else "bad", channel=f"c{row % 2}") for row in range(1, 13)]
    errors = View(cells).errors(by="channel")

    assert [(each.value, each.rows, each.failed) for each in errors.slices] == [("c0", 6, 2), ("c1", 6, 2)]
    with pytest.raises(InputError, match="no field `chanel`") as raised:
        View(cells).errors(by="chanel")
    assert "channel" in str(raised.value)


def test_a_row_fails_in_a_slice_where_half_of_its_repeats_do() -> None:
    cells = [
        labelled(row, "good", "bad" if repeat < row % 3 else "good", channel="x", repeat=repeat)
        for row in range(1, 7)
        for repeat in range(2)
    ]
    found = View(cells).errors(by="channel").slices[0]
    assert (found.rows, found.failed) == (6, 4)


@given(st.integers(1, 40), st.integers(0, 40), st.integers(0, 40), st.data())
def test_the_chance_of_a_slice_is_fishers(here: int, failed: int, others: int, data: st.DataObject) -> None:
    total = max(here, failed) + others
    least, most = max(0, here + failed - total), min(here, failed)
    wrong = data.draw(st.integers(least, most))

    table = [[wrong, here - wrong], [failed - wrong, total - here - failed + wrong]]
    assert fisher(wrong, here, failed, total) == pytest.approx(fisher_exact(table, alternative="greater").pvalue)


def test_rows_with_similar_texts_are_named_by_the_words_that_tell_them_from_all_others() -> None:
    cells = [
        labelled(row, "good", "bad" if "refund" in TOPICS[row % 3] else "good", f"{TOPICS[row % 3]} {row}")
        for row in range(1, 40)
    ]
    cells += [labelled(row, "good", "bad", f"{word} {word}ly") for row, word in enumerate(("apt", "odd", "wry"), 40)]

    (found,) = View(cells).errors().similar

    assert found.count == 13
    assert {word.word for word in found.words} <= set(TOPICS[0].split())
    assert all((word.rows, word.failed) == (13, 13) for word in found.words)


def test_texts_that_have_nothing_in_common_are_no_group() -> None:
    words = [f"{first}{second}" for first in ("ba", "ko", "lu", "mi") for second in ("ren", "tal", "vos")]
    cells = [labelled(row, "good", "bad", word) for row, word in enumerate(words, 1)]
    assert View(cells).errors().similar == ()


def test_what_fails_by_nothing_is_an_error_with_a_way_out() -> None:
    view = View([labelled(1, "good", "bad")])
    with pytest.raises(InputError, match="`tokens` has no best score") as raised:
        view.errors(metric="tokens")
    assert "--metric accuracy" in str(raised.value)
    with pytest.raises(InputError, match="no metric `acuracy`"):
        view.errors(metric="acuracy")
    with pytest.raises(InputError, match="no variant `long`"):
        view.errors(variant="long")


def test_a_run_without_failures_says_so() -> None:
    view = View([labelled(1, "good", "good")])
    errors = view.errors()
    assert (errors.groups, errors.slices, errors.similar) == ((), (), ())
    assert "no answer fails" in report(errors, view)


@pytest.mark.attack("terminal")
@pytest.mark.parametrize("width", [40, 80, 140])
def test_the_report_is_within_its_width_and_what_a_model_said_cannot_steer_the_terminal(width: int) -> None:
    hostile = "\x1b[2J\n\u202eevil\r" * 20
    cells = [
        labelled(1, "good", "", hostile, flag="unparsed", problem=hostile),
        labelled(2, hostile, "bad", hostile, channel=hostile),
        labelled(3, "good", "", flag="error", problem=hostile),
    ]
    view = View(cells, traces={1: {"calls": [{"reply": hostile, "problem": "x"}], "parts": []}})

    text = report(view.errors(), view, width)

    assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f\u202a-\u202e]", text)
    assert max(map(len, text.split("\n"))) <= width
    assert "\\x1b[2J" in text or width < 80


def test_the_reply_that_could_not_be_read_is_shown_and_told_to_programs() -> None:
    calls = [{"reply": "Thinking", "problem": None}, {"reply": "Perhaps good?", "problem": "no label"}]
    trace = {"calls": [], "parts": [{"calls": calls, "parts": []}]}
    view = View([labelled(1, "good", "", flag="unparsed", problem="no label")], traces={1: trace})
    errors = view.errors()

    assert "“Perhaps good?”" in report(errors, view)
    record = errors_record(errors, view)
    assert record["groups"][0]["rows"][0]["reply"] == "Perhaps good?"
    assert json_text(record)


async def guided(folder: Folder) -> tuple[Bench, Ran]:
    """Return a run of a pipeline with a guideline that takes what speaks of a refund for bad."""

    def script(request: Request) -> str:
        text = request.messages[-1].content
        return "bad" if "refund" in text or "\nbad" in text else "good"

    rows = [
        {"text": f"{label} {number}: {topic}", "expect": label}
        for number, topic in enumerate(TOPICS * 2)
        for label in ("good", "bad")
    ]
    bench = Bench(folder, rows)
    folder.write("pipelines/mood.yaml", GUIDED)
    return bench, await bench.run(script=script)


async def test_the_draft_is_what_the_technique_reads_and_its_requests_hold_the_rules(folder: Folder) -> None:
    bench, ran = await guided(folder)
    plan = plan_guideline(ran.view, ran.view.variants[0], folder.project)

    made = draft_guideline(find_errors(ran.view, ran.evaluated.record), ran.view, plan)
    write_artifact(made, plan.file, "promptkit runs errors 1 --write auto")

    assert plan.file == folder.root / "pipelines" / "mood.mood.annotation_guideline.yaml"
    artifact = read_artifact(plan.file)
    assert artifact == made
    assert artifact is not None and [*artifact.items[0]] == ["rule"]
    rule = artifact.items[0]["rule"]
    assert '"good 0: the refund never reached my account"' in rule
    assert (artifact.model, artifact.digest) == (ran.view.model["reference"], ran.view.model["digest"])
    assert artifact.uncertain[0] == {
        "said": "bad",
        "right": "good",
        "times": 2,
        "of": 6,
        "example": "good 0: the refund never reached my account",
    }

    again = await bench.run(script=lambda request: "good")
    assert len(again.runtime.requests) == 12
    assert all(f"- {rule}" in request.messages[-1].content for request in again.runtime.requests)
    assert not any(rule in request.messages[-1].content for request in ran.runtime.requests)


async def test_a_rule_has_the_reasons_that_people_gave_with_their_labels(folder: Folder) -> None:
    _, ran = await guided(folder)
    cell = next(cell for cell in ran.view.cells() if cell.output != cell.expect)
    given = {
        "metric": "accuracy",
        "answer": cell.output,
        "level": "wrong",
        "drawn": "random",
        "why": "a refund is owed",
    }
    plan = plan_guideline(ran.view, ran.view.variants[0], folder.project)
    inputs = {name: cell.fields.get(name, spec.default) for name, spec in plan.pipeline.inputs.items()}
    label = AnswerLabel.model_validate({**given, "key": answer_key(inputs, cell.output)})
    AnswerLabels(label_file(plan.suite.file)).add(label)

    plan = plan_guideline(ran.view, ran.view.variants[0], folder.project)
    made = draft_guideline(find_errors(ran.view, ran.evaluated.record), ran.view, plan)
    assert str(made.items[0]["rule"]).endswith('Reasons given by a reviewer: "a refund is owed".')


async def test_rows_that_a_draft_was_made_of_are_refused_whatever_the_guideline_now_says(folder: Folder) -> None:
    bench, ran = await guided(folder)
    plan = plan_guideline(ran.view, ran.view.variants[0], folder.project)
    write_artifact(draft_guideline(find_errors(ran.view, ran.evaluated.record), ran.view, plan), plan.file, "x")
    folder.write("pipelines/mood.yaml", GUIDED.replace("Praise is good.", "Praise is good and blame is bad."))

    with pytest.raises(InputError, match="saw 12 of 12 rows"):
        refuse_contamination(bench.suite())
    bench.rows([{"text": "new", "expect": "good"}])
    refuse_contamination(bench.suite())


async def test_a_step_knows_its_rows_by_what_it_takes_of_them(folder: Folder) -> None:
    renamed = GUIDED.replace("text: {example", "note: {example").replace(
        "technique: annotation_guideline", "technique: annotation_guideline\n    with: {text: '{{ note }}'}"
    )
    bench = Bench(folder, [{"note": f"good {each}", "expect": "good"} for each in range(4)])
    folder.write("pipelines/mood.yaml", renamed)
    ran = await bench.run(script=lambda request: "bad")
    plan = plan_guideline(ran.view, ran.view.variants[0], folder.project)
    made = draft_guideline(find_errors(ran.view, ran.evaluated.record), ran.view, plan)
    write_artifact(made, plan.file, "x")

    assert len(made.rows) == 4
    bench.rows([{"note": f"good {each}", "expect": "good"} for each in range(2, 6)])
    with pytest.raises(InputError, match="saw 2 of 4 rows"):
        refuse_contamination(bench.suite())


async def test_a_rule_is_worded_by_the_projects_own_template_where_there_is_one(folder: Folder) -> None:
    _, ran = await guided(folder)
    shipped = Path(__file__).parents[3] / "templates/techniques/annotation_guideline"
    for file in shipped.iterdir():
        if file.is_file():
            folder.write(f"templates/techniques/annotation_guideline/{file.name}", file.read_text("utf-8"))
    plan = plan_guideline(ran.view, ran.view.variants[0], folder.project)
    errors = find_errors(ran.view, ran.evaluated.record)
    before = draft_guideline(errors, ran.view, plan)

    own = "{{ right }} beats {{ said }}: {{ cases | length }}"
    folder.write("templates/techniques/annotation_guideline/draft/pair.j2", own)

    assert before.items[0]["rule"].startswith("Before you answer")
    assert draft_guideline(errors, ran.view, plan).items == ({"rule": "good beats bad: 2"},)


async def test_nothing_is_drafted_where_no_two_answers_were_confused_twice(folder: Folder) -> None:
    bench = Bench(folder, [{"text": "good 1", "expect": "good"}, {"text": "bad 2", "expect": "bad"}])
    ran = await bench.run(script=lambda request: "bad")
    plan = plan_guideline(ran.view, ran.view.variants[0], folder.project)

    with pytest.raises(InputError, match="there is no rule to draft"):
        draft_guideline(find_errors(ran.view, ran.evaluated.record), ran.view, plan)


async def test_a_draft_needs_the_suite_as_it_was(folder: Folder) -> None:
    bench = Bench(folder)
    ran = await bench.run()
    folder.write("evals/test.yaml", SUITE + "variants: {other: {mood.layout: prefix}}\n")
    with pytest.raises(InputError, match="variant `baseline` no longer exists"):
        plan_guideline(ran.view, "baseline", folder.project)

    (folder.root / "evals/test.yaml").unlink()
    with pytest.raises(InputError, match="the suite of run 1 no longer exists"):
        plan_guideline(ran.view, "baseline", folder.project)
