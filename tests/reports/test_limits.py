"""Numbers that decide what a report shows: each test fails when its number changes."""

from __future__ import annotations

from typing import Any

import pytest

from promptkit.evaluation.cells.cell import Cell
from promptkit.evaluation.metrics.score import Score
from promptkit.evaluation.record import Defect, EvalRecord, MetricRecord, VariantRecord
from promptkit.reports.evaluation.comparisons import baseline_lines, comparison_notes, notable_comparisons
from promptkit.reports.evaluation.failing_rows import normalized_score
from promptkit.reports.evaluation.report import class_lines, defects_text, note_lines
from promptkit.reports.evaluation.variants import variant_tags
from promptkit.reports.layout import around_difference, grid
from promptkit.reports.output import plain_text
from promptkit.reports.page.values import page_values
from promptkit.reports.tuning.plan import plan_text
from promptkit.reports.tuning.report import tuning_text
from promptkit.reports.tuning.scatter import make_plot
from promptkit.reports.word_diff import diff_words
from promptkit.tuning.search_space.candidate import Choice, Parameter
from promptkit.tuning.tune_record import TuneRecord
from tests.reports.demo_tuning import candidate, demo_tuning
from tests.reports.demo_view import DemoView
from tests.reports.test_tuning_report import plan


def variants(*names: str, **metric: Any) -> list[VariantRecord]:
    return [VariantRecord(name=name, metrics={"accuracy": MetricRecord(**metric)}) for name in names]


def difference(a: str, metric: str = "accuracy", **more: Any) -> dict[str, Any]:
    shown = {"difference": 0.0, "low": -0.1, "high": 0.1, "n": 100, "better": 3, "worse": 3, "comparisons": 1}
    return {"a": a, "b": "short", "metric": metric, **shown, **more}


@pytest.mark.parametrize(("length", "tag"), [(24, "x" * 24), (25, "#2")])
def test_a_name_of_more_than_three_tenths_of_the_width_is_numbered(length: int, tag: str) -> None:
    assert variant_tags(variants("short", "x" * length), 80)["x" * length] == tag


def test_the_first_column_keeps_four_tenths_of_the_width_and_the_others_are_cut() -> None:
    lines = [line.plain for line in grid([["a" * 30 + " " + "b" * 30, "c" * 40]], width=50)]
    assert lines[0] == "a" * 20 + "  " + "c" * 27 + "…"


def test_a_third_of_a_column_shows_what_stands_before_a_difference() -> None:
    left, _ = around_difference(["a" * 50 + "left" + "b" * 50, "a" * 50 + "right" + "b" * 50], [30, 30])
    assert left.index("left") == 11


@pytest.mark.parametrize(("count", "shown"), [(12, 12), (13, 1)])
def test_twelve_comparisons_are_all_shown_and_of_more_those_that_show_something(count: int, shown: int) -> None:
    others = [difference(f"v{at}", "tokens") for at in range(count - 1)]
    record = EvalRecord.model_validate({"comparisons": [difference("v"), *others]})
    metrics = {"accuracy": MetricRecord(), "tokens": MetricRecord()}
    assert len(notable_comparisons(record.comparisons, metrics)) == shown


def test_rows_needed_are_noted_for_three_differences() -> None:
    found = [difference(f"v{at}", rows_needed=100 + at, smallest=0.05) for at in range(4)]
    record = EvalRecord.model_validate({"comparisons": found, "variants": variants("short", bounds=[0, 1])})
    assert sum("four times in five" in line for line in comparison_notes(record)) == 3


def test_a_note_that_variants_and_comparisons_share_is_shown_once() -> None:
    metrics = {name: MetricRecord(notes=["few rows"]) for name in ("accuracy", "balanced", "f1")}
    found = [difference("v", metric, notes=["few rows"]) for metric in metrics]
    both = [VariantRecord(name=name, metrics=metrics) for name in ("short", "v")]
    record = EvalRecord.model_validate({"comparisons": found, "variants": both})
    shown = [line.plain for line in note_lines(record, 80) if "few rows" in line.plain]
    assert shown == ["· accuracy, balanced, f1: few rows"]


@pytest.mark.parametrize(("p", "noted"), [(0.05, True), (0.049, False)])
def test_an_interval_that_shows_a_difference_at_a_p_of_five_percent_is_explained(p: float, noted: bool) -> None:
    found = difference("v", low=0.01, p=p)
    record = EvalRecord.model_validate({"comparisons": [found], "variants": variants("short")})
    assert any(line.startswith("the interval decides") for line in comparison_notes(record)) is noted


def test_twelve_rows_that_regressed_are_named() -> None:
    both = {"metric": "accuracy", "difference": 0.0, "n": 20, "regressions": list(range(1, 15))}
    against = {"reference": "run 1", "rows": {"both": 20}, "comparisons": [both]}
    record = EvalRecord.model_validate({"against": against, "variants": variants("short")})
    assert "rows 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12 and 2 more" in plain_text(baseline_lines(record, 120))


@pytest.mark.parametrize(("value", "score"), [(0.49, 0.0), (0.5, 1.0)])
def test_a_tie_with_the_baseline_is_not_a_failure(value: float, score: float) -> None:
    cell = Cell(variant="v", row=1, repeat=0, fields={}, output="x", expect=None, scores={"better": Score(value)})
    assert normalized_score(cell, {"better": MetricRecord(kind="pairwise", bounds=[0, 1])}) == score


@pytest.mark.parametrize(("classes", "head"), [(12, "expected classes down"), (13, "most often confused")])
def test_twelve_classes_are_a_matrix_and_of_more_the_pairs_are_shown(classes: int, head: str) -> None:
    names = [f"c{at}" for at in range(classes)]
    confusion = {name: {name: 5, names[at - 1]: at + 1} for at, name in enumerate(names)}
    record = EvalRecord(variants=variants("short", parts={"confusion": confusion}))
    lines = plain_text(class_lines(record, 200)).split("\n")
    assert lines[0].startswith(head)
    assert classes == 12 or len(lines) == 1 + 5


def test_three_defects_are_named() -> None:
    found = [Defect(defect=f"ValueError at {at}", cells=1) for at in range(5)]
    assert "ValueError at 2 (1), 2 others" in defects_text(found, 1)


@pytest.mark.parametrize("classes", [30, 31])
def test_a_page_shows_thirty_classes_as_a_matrix_shaded_in_tenths_and_of_more_twenty_pairs(classes: int) -> None:
    names = [f"c{at}" for at in range(classes)]
    confusion = {name: {name: 9, names[at - 1]: 1} for at, name in enumerate(names)}
    record = EvalRecord(variants=variants("short", parts={"confusion": confusion}))
    (part,) = page_values(DemoView(variants=("short",), metrics=("accuracy",)), record)["classes"]
    assert (len(part.matrix), len(part.pairs)) == ((30, 0) if classes == 30 else (0, 20))
    assert classes == 31 or part.matrix[0][1][0].level == 8


def test_eight_candidates_of_a_front_are_shown() -> None:
    front = [candidate(f"c{at}", 0.5 + at / 100, 10.0 + at, front=True) for at in range(12)]
    said = tuning_text(TuneRecord.model_validate(demo_tuning(candidates=front)), width=100)
    assert "  and 4 between these" in said


@pytest.mark.parametrize(("words", "kept"), [(3000, True), (3001, False)])
def test_texts_of_up_to_three_thousand_words_are_compared_by_words(words: int, kept: bool) -> None:
    old, new = "same " * (words - 1) + "old", "same " * (words - 1) + "new"
    assert any(change == "kept" for change, _ in diff_words(old, new)) is kept


def test_sixty_characters_of_a_parameters_choices_are_in_the_plan() -> None:
    choices = tuple(Choice(f"choice {at}", {}) for at in range(20))
    parameter = Parameter(name="mood.layout", step="mood", kind="layout", choices=choices)
    (line,) = [line for line in plan_text(plan(parameters=(parameter,))).split("\n") if "mood.layout" in line]
    assert len(line.split("20  ", 1)[1]) == 60


@pytest.mark.parametrize(("tokens", "is_at_edge"), [(86.0, False), (87.0, True)])
def test_a_label_nearer_than_120_to_the_right_edge_stands_to_the_left(tokens: float, is_at_edge: bool) -> None:
    known = [candidate("a", 0.5, 0.0), candidate("b", 0.6, 100.0), candidate("c", 0.55, tokens, pick=True)]
    plot = make_plot(TuneRecord.model_validate(demo_tuning(candidates=known)))
    assert plot is not None
    assert [point.is_at_edge for point in plot.points if point.label] == [is_at_edge]
