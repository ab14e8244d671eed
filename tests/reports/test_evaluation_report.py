"""What the terminal says of a run."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from itertools import combinations
from typing import Any

import pytest

from promptkit.evaluation.cells.cell import Cell
from promptkit.evaluation.metrics.score import Score
from promptkit.evaluation.record import EvalRecord
from promptkit.reports.evaluation import report
from promptkit.reports.evaluation.failing_rows import inputs_line
from promptkit.reports.layout import cell_width
from promptkit.reports.runs import answer_lines
from promptkit.reports.text import when_text
from promptkit.techniques.warnings import WARNING_TEXTS
from tests.reports.demo_view import DemoView

LONG = "plain layout=xml technique=chain_of_thought"


def evaluation_text(record: Mapping[str, Any], view: Any = None, *, width: int = 80) -> str:
    return report.evaluation_text(EvalRecord.model_validate(record), view, width=width)


def print_evaluation(record: Mapping[str, Any], view: Any = None) -> None:
    report.print_evaluation(EvalRecord.model_validate(record), view)


def lines_of(record: Mapping[str, Any], view: Any = None, *, width: int = 80) -> list[str]:
    return evaluation_text(record, view, width=width).split("\n")


def part(lines: list[str], head: str) -> list[str]:
    """Return the lines from one that begins so to the next blank one."""
    start = next(at for at, line in enumerate(lines) if line.startswith(head))
    end = next((at for at, line in enumerate(lines[start:], start) if not line), len(lines))
    return lines[start:end]


def changed(record: Mapping[str, Any], **values: Any) -> dict[str, Any]:
    return {**record, **values}


def with_metric(record: Mapping[str, Any], name: str, **values: Any) -> dict[str, Any]:
    """Return a record in which a metric of all variants says something else."""
    variants = [
        {**each, "metrics": {**each["metrics"], name: {**each["metrics"][name], **values}}}
        for each in record["variants"]
    ]
    return changed(record, variants=variants)


class Cells:
    """The cells of a run, without its record."""

    def __init__(self, *cells: Cell) -> None:
        self._cells = cells

    def cells(self, variant: str | None = None) -> Iterator[Cell]:
        return (cell for cell in self._cells if variant in (None, cell.variant))


def cell(row: int, output: Any = "negative", **more: Any) -> Cell:
    given = {"variant": "short", "repeat": 0, "fields": {"text": f"text {row}"}, "expect": "positive"}
    value = more.pop("value", 0.0)
    scores = {"accuracy": Score(value, {"expected": "positive", "predicted": output}, more.pop("why", ""))}
    return Cell(**{**given, "row": row, "output": output, "scores": scores, **more})


class TestHeading:
    def test_it_says_what_was_run_how_it_ended_and_which_model_answered_and_why(self) -> None:
        first, second, third = lines_of(DemoView(rows=20).record)[:3]
        assert first == "sentiment  run 12  done  20 rows × 3 variants, 1 min 34 s"
        assert second == "answered by embedded/smollm2 (named by promptkit.yaml) 0d1c4f5a77aa"
        assert third == "8 concurrent requests"

    def test_it_says_how_the_run_was_made(self) -> None:
        record = changed(DemoView(rows=20).record, exact=True, limited=True, known=60, repeat=3)
        assert " × 3 variants × 3 repeats" in lines_of(record)[0]
        assert "one request at a time (exact), 60 of 60 cells cached, limited by" in lines_of(record)[2]

    def test_a_variant_of_another_model_is_named(self) -> None:
        record = DemoView(rows=20).record
        record["variants"][1]["sets"]["model"] = "ollama/other:1b"
        assert "thinking: answered by ollama/other:1b (named by the variant)" in lines_of(record)


class TestFailures:
    def test_they_come_first_those_without_an_answer_before_the_wrong_ones(self) -> None:
        view = Cells(cell(1), cell(2, value=1.0), cell(3, None, flag="unparsed", problem="step `mood`: no label"))
        record = DemoView(rows=20).record
        record["variants"][0] |= {"unparsed": 1, "truncated": 0, "missing": 0}
        said = lines_of(record, view)
        shown = part(said, "failing rows of short")
        assert [line.split() for line in shown[2:]] == [
            ["3", "positive", "unparsed:", "no", "label", "text", "3"],
            ["1", "positive", "negative", "text", "1"],
        ]
        assert said.index(shown[0]) < next(at for at, line in enumerate(said) if "accuracy" in line)

    def test_at_most_ten_are_shown_five_of_them_without_an_answer(self) -> None:
        view = Cells(*(cell(row, None, flag="truncated") if row > 15 else cell(row) for row in range(1, 41)))
        record = DemoView(rows=40).record
        record["variants"][0]["truncated"] = 25
        rows = [line.split()[0] for line in part(lines_of(record, view), "failing rows")[2:]]
        assert rows == ["16", "17", "18", "19", "20", "1", "2", "3", "4", "5"]

    def test_of_graded_scores_the_worst_come_first(self) -> None:
        view = Cells(cell(1, value=0.5), cell(2, value=0.1), cell(3, value=1.0), cell(4, value=0.3))
        assert [line.split()[0] for line in part(lines_of(DemoView(rows=20).record, view), "failing rows")[2:]] == [
            "2",
            "4",
            "1",
        ]

    def test_an_answer_that_has_no_score_is_shown_with_the_reason(self) -> None:
        view = Cells(cell(1, value=None, why="division by zero"))
        assert "no score: division by zero" in "\n".join(lines_of(DemoView(rows=20).record, view))

    def test_where_nothing_is_expected_there_is_no_column_for_it(self) -> None:
        failing = Cell(variant="short", row=1, repeat=0, fields={"text": "x"}, output="y", expect=None, flag="error")
        assert part(lines_of(DemoView(rows=20).record, Cells(failing)), "failing")[1].split() == [
            "row",
            "answer",
            "input",
        ]

    def test_no_more_cells_are_read_than_are_needed(self) -> None:
        read = []

        class Endless(Cells):
            def cells(self, variant: str | None = None) -> Iterator[Cell]:
                for row in range(1, 1_000_000):
                    read.append(row)
                    yield cell(row)

        view, record = Endless(), DemoView(rows=20).record
        record["variants"][0] |= {"unparsed": 0, "truncated": 0, "missing": 0}
        assert len(part(lines_of(record, view), "failing rows")) == 12
        assert len(read) < 20

    @pytest.mark.attack("terminal")
    def test_what_a_model_says_cannot_steer_the_terminal(self) -> None:
        said = evaluation_text(DemoView(rows=100).record, DemoView(rows=100))
        assert said.replace("\n", "").isprintable()

    def test_a_row_is_shown_once_with_how_many_of_its_repeats_failed(self) -> None:
        view = Cells(cell(1, repeat=1), cell(1, None, repeat=2, flag="truncated"), cell(2, repeat=0))
        shown = part(lines_of(DemoView(rows=20).record, view), "failing rows")[2:]
        assert [line.split()[:4] for line in shown] == [
            ["2", "×", "1", "positive"],
            ["2", "positive", "negative", "text"],
        ]


class TestTable:
    def test_each_variant_is_a_line_with_each_metric_and_its_interval(self) -> None:
        record = with_metric(DemoView(rows=20).record, "accuracy", mean=0.8, low=0.584, high=0.919)
        table = part(lines_of(record), "               accuracy")
        assert [line.split()[0] for line in table[1:]] == ["short", "thinking", "examples"]
        assert all("80 % [58, 92]" in line for line in table[1:])

    def test_of_one_variant_each_metric_is_a_line(self) -> None:
        record = DemoView(rows=20, variants=("short",)).record
        assert [line.split()[0] for line in part(lines_of(record), "accuracy")] == ["accuracy", "similarity", "tokens"]

    def test_a_median_is_called_one(self) -> None:
        record = with_metric(DemoView(rows=20).record, "tokens", parts={"mean_is": "median"})
        assert "tokens (median)" in evaluation_text(record)

    @pytest.mark.parametrize("width", [80, 100, 140])
    def test_no_line_is_wider_than_asked_and_no_number_is_lost(self, width: int) -> None:
        view = DemoView(rows=40, variants=(LONG, f"{LONG} 短さ", "short"))
        said = lines_of(view.record, view, width=width)
        assert [line for line in said if cell_width(line) > width] == []
        assert sum(line.count("…") for line in said if "%" in line or "[" in line) == 0

    def test_long_names_are_written_once_and_numbered_where_they_leave_no_room(self) -> None:
        record = DemoView(rows=40, variants=(LONG, "short")).record
        narrow, wide = evaluation_text(record, width=80), evaluation_text(record, width=160)
        assert f"#1 {LONG}" in narrow and "#2 against #1 on the same rows" in narrow
        assert "#1" not in wide

    def test_missing_answers_are_told_as_n_of_all(self) -> None:
        record = DemoView(rows=20, status="incomplete").record
        record["variants"][0] |= {"missing": 3, "cases": 20}
        said = lines_of(record)
        assert any("17 of 20" in line for line in said)
        assert "nothing is compared before they are there" in " ".join(said)

    def test_what_the_aim_is_among_parsed_answers_stands_where_some_do_not_parse(self) -> None:
        record = DemoView(rows=20).record
        assert "of parsed" not in evaluation_text(record)
        record = with_metric(record, "accuracy", mean=0.8, low=0.58, high=0.92, of_parsed=0.9)
        assert "thinking  80 % [58, 92]       90 %" in evaluation_text(record)
        alone = changed(record, variants=record["variants"][:1], comparisons=[])
        assert re.search(r"accuracy +80 % +\[58, 92\] +of parsed 90 %", evaluation_text(alone))

    def test_answers_that_cannot_be_read_are_counted_with_their_share(self) -> None:
        record = DemoView(rows=200).record
        record["variants"][0] |= {"unparsed": 11, "truncated": 1, "missing": 0, "cases": 200}
        assert re.search(r"short +200 +11 \(6 %\) +1 \(<1 %\)", evaluation_text(record))

    def test_warnings_are_counted_by_variant_and_those_of_none_leave_no_line(self) -> None:
        record = DemoView(rows=240).record
        record["variants"][0]["warnings"] = {"weak_reading": 1_200, "empty_reply": 3}
        record["variants"][0] |= {"cases": 2_000}
        said = lines_of(record)
        at = next(at for at, line in enumerate(said) if line.startswith("read by a weak rule"))
        assert said[at - 1].split() == ["short", "thinking", "examples"]
        assert re.fullmatch(r"read by a weak rule  1,200 of 2,000  20 of 240 *", said[at])
        assert re.fullmatch(r"empty reply +3 of 2,000 *", said[at + 1])
        assert said[at + 2] == ""

    def test_one_variants_warnings_are_counted_by_step_too(self) -> None:
        record = changed(DemoView(rows=20).record, variants=DemoView(rows=20).record["variants"][:1], comparisons=[])
        record["variants"][0]["warnings"] = {"weak_reading": 9, "refused": 1}
        record["variants"][0]["step_warnings"] = {"a": {"weak_reading": 8}, "b": {"weak_reading": 2, "refused": 1}}
        said = lines_of(record)
        assert "read by a weak rule  9 of 20  a 8, b 2" in said
        assert "refused to answer    1 of 20  b 1" in said

    def test_a_table_of_warnings_fits_a_narrow_terminal(self) -> None:
        record = DemoView(rows=20).record
        for variant in record["variants"]:
            variant["warnings"] = dict.fromkeys(WARNING_TEXTS, 12)
        assert all(len(line) <= 60 for line in lines_of(record, width=60) if re.search("rule|thoughts|labels", line))

    def test_answers_whose_warnings_are_not_recorded_are_told(self) -> None:
        record = DemoView(rows=20).record
        record["variants"][0]["unrecorded"] = 5
        del record["variants"][2]["warnings"]
        said = " ".join(lines_of(record))
        assert "warnings (short): not recorded for 5 of 20 answers, of an older promptkit" in said
        assert "warnings (examples): not recorded for 20 of 20 answers" in said
        assert "warnings (thinking)" not in said

    def test_answers_without_a_score_are_told(self) -> None:
        record = with_metric(DemoView(rows=20).record, "similarity", unscored=3)
        assert "similarity (thinking): 3 of 20 answers have no score" in evaluation_text(record)

    def test_each_note_is_told_once(self) -> None:
        said = evaluation_text(DemoView(rows=20).record)
        assert said.count("unparsed and cut-off answers count as wrong") == 1

    def test_what_goes_on_is_marked_so_far_and_says_nothing_more(self) -> None:
        said = evaluation_text(changed(DemoView(rows=20).record, status="interrupted"))
        assert "so far" in said and "count as wrong" not in said


class TestClasses:
    def test_the_confusion_matrix_is_shown_with_recall_and_precision(self) -> None:
        table = part(lines_of(DemoView(rows=200).record), "short: expected classes down")
        assert table[1].split() == ["negative", "neutral", "positive", "unparsed", "recall"]
        assert [line.split()[0] for line in table[2:]] == ["negative", "neutral", "positive", "precision"]

    def test_of_many_classes_the_pairs_most_often_confused(self) -> None:
        confusion = {f"class {at}": {f"class {at}": 5, "class 0": at} for at in range(30)}
        record = with_metric(DemoView(rows=20).record, "accuracy", parts={"confusion": confusion, "classes": {}})
        assert "29 ×  class 29 → class 0" in part(lines_of(record), "short: most often confused")[1]


class TestComparisons:
    def test_each_has_a_difference_an_interval_a_p_rows_that_moved_and_a_verdict(self) -> None:
        said = part(lines_of(DemoView(rows=200).record), "against short on the same rows")
        assert said[2] == "  accuracy, points"
        assert said[3].split()[0] == "thinking" and "[" in said[3] and "0.043" in said[3]
        assert said[3].split()[-3:-1] == ["31", "14"] or said[3].split()[-1] in ("better", "worse")

    def test_with_one_other_variant_each_metric_is_a_line(self) -> None:
        said = part(lines_of(DemoView(rows=200, variants=("short", "thinking")).record), "thinking against short")
        assert [line.split()[0] for line in said[2:]] == ["accuracy,", "tokens,"]

    def test_it_says_how_many_rows_would_tell_where_nothing_is_shown(self) -> None:
        record = DemoView(rows=100, variants=("short", "thinking")).record
        one = record["comparisons"][0]
        one |= {"low": -0.1, "high": 0.1, "better": 12, "worse": 8, "n": 100, "rows_needed": 626}
        one |= {"smallest": 0.05, "smallest_shown": 0.12}
        told = "accuracy: about 20 % of rows flip; 626 rows would show a difference of 5 points four times in five; "
        assert told + "the 100 here show 12 or more" in " ".join(map(str.strip, lines_of(record)))

    def test_of_many_those_by_other_metrics_that_show_nothing_are_counted_only(self) -> None:
        record = DemoView(rows=20, variants=("short", *(f"v{at}" for at in range(8)))).record
        for each in record["comparisons"]:
            each |= {"low": 0.9, "high": 1.1} if each["is_ratio"] else {}
        said = evaluation_text(record)
        assert "tokens, ratio" not in said and "and 8 by other metrics that show nothing" in said

    def test_of_all_pairs_each_line_names_both_variants(self) -> None:
        record = DemoView(rows=20).record
        third = {**record["comparisons"][2], "b": "thinking"}
        said = part(
            lines_of(changed(record, comparisons=[*record["comparisons"], third])), "each pair on the same rows"
        )
        assert "    examples vs thinking" in "\n".join(said)
        assert "    thinking vs short" in "\n".join(said)

    def test_of_many_pairs_those_that_show_something_are_listed(self) -> None:
        names = ("short", *(f"v{at}" for at in range(8)))
        record = DemoView(rows=20, variants=names).record
        pairs = [
            {**record["comparisons"][0], "a": b, "b": a, "low": -0.1, "high": 0.1} for a, b in combinations(names, 2)
        ]
        pairs[-1] |= {"low": 0.02}
        said = part(lines_of(changed(record, comparisons=pairs)), "each pair on the same rows")
        assert "v7 vs v6" in said[3] and said[3].endswith("better")
        assert said[4:] == ["  and 35 that show nothing"]

    def test_a_margin_is_named_with_the_rows_that_would_show_no_larger_loss(self) -> None:
        record = DemoView(rows=100, variants=("short", "thinking")).record
        one = record["comparisons"][0]
        one |= {"difference": -0.01, "low": -0.04, "high": 0.02, "margin": 0.03, "rows_for_margin": 461, "n": 100}
        said = " ".join(map(str.strip, lines_of(record)))
        assert "margin: accuracy 3 points; equivalent lies within it on both sides" in said
        assert "accuracy (thinking): 461 rows would show no worse four times in five, if the two are equal" in said

    def test_a_verdict_by_a_margin_stands_in_its_line(self) -> None:
        record = DemoView(rows=100, variants=("short", "thinking")).record
        one = record["comparisons"][0]
        for low, high, verdict in ((-0.02, 0.05, "no worse"), (-0.02, -0.01, "equivalent")):
            one |= {"low": low, "high": high, "margin": 0.03}
            said = part(lines_of(record), "thinking against short")
            assert said[2].endswith(verdict)
        text = " ".join(map(str.strip, lines_of(record)))
        assert "the difference is shown, and it is smaller than the margin" in text

    @pytest.mark.parametrize(("width", "has_rows", "has_p"), [(80, True, True), (70, False, True), (54, False, False)])
    def test_in_a_narrow_terminal_the_verdict_stays(self, width: int, has_rows: bool, has_p: bool) -> None:
        record = DemoView(rows=100, variants=("short", "thinking")).record
        said = part(lines_of(record, width=width), "thinking against short")
        assert said[2].split()[-1] in ("better", "worse", "shown")
        assert ("worse" in said[1], " p" in said[1]) == (has_rows, has_p)

    def test_a_difference_that_is_not_compared_says_so_and_why(self) -> None:
        record = DemoView(rows=100, variants=("short", "thinking")).record
        record["comparisons"][1] |= dict.fromkeys(("difference", "low", "high", "p", "adjusted"))
        record["comparisons"][1] |= {"notes": ["not compared: 12 of 100 cells have a time of an earlier run"]}
        said = part(lines_of(record), "thinking against short")
        assert said[3].split()[-2:] == ["not", "compared"]
        assert "31" not in said[3], "no rows are counted either"
        assert "12 of 100 cells have a time of an earlier run" in " ".join(map(str.strip, lines_of(record)))

    def test_several_are_said_to_be_adjusted(self) -> None:
        assert "adjusted for 4 comparisons (Holm)" in evaluation_text(DemoView(rows=20).record)


def effect(**values: Any) -> dict[str, Any]:
    interaction = {"settings": {"layout": "xml"}, "difference": -0.12, "adjusted": 0.003}
    found = {"key": "mood.prompt", "value": "curt", "first": "mood", "variants": 2, "interaction": interaction}
    found |= {"metric": "accuracy", "difference": 0.03, "low": -0.01, "high": 0.07, "p": 0.1, "n": 20}
    return {**found, "comparisons": 2, "adjusted": 0.2, **values}


class TestMainEffects:
    def test_each_value_stands_against_the_first_of_its_key(self) -> None:
        record = changed(DemoView(rows=20).record, main_effects=[effect()])
        said = part(lines_of(record), "main effects against prompt=mood, averaged over the other keys")
        assert said[-2:][0] == "  accuracy, points"
        assert said[-1].split()[:2] == ["prompt=curt", "+3"]

    @pytest.mark.parametrize(
        ("there", "adjusted", "is_told"), [(-0.12, 0.003, True), (-0.12, 0.06, False), (0.034, 0.003, False)]
    )
    def test_an_effect_that_clearly_depends_on_another_key_is_told(
        self, there: float, adjusted: float, is_told: bool
    ) -> None:
        interaction = {"settings": {"layout": "xml"}, "difference": there, "adjusted": adjusted}
        record = changed(DemoView(rows=20).record, main_effects=[effect(interaction=interaction)])
        said = " ".join(map(str.strip, lines_of(record)))
        told = "depends on the other keys: −12 points where layout=xml, +3 on average (p 0.003)"
        assert (told in said) == is_told
        assert ("depends on the other keys" in said) == is_told


def test_thresholds_say_whether_they_hold() -> None:
    record = DemoView(rows=20).record
    said = evaluation_text(record)
    assert "✗ the mean is near it" in said and "✓ so few do not parse" in said


def test_a_run_against_another_says_which_rows_are_right_no_longer() -> None:
    record = DemoView(rows=20).record
    comparison = {**record["comparisons"][0], "low": -0.3, "high": -0.1, "difference": -0.2, "comparisons": 1}
    del comparison["a"], comparison["b"]
    against = {
        "reference": "run 11",
        "variant": "short",
        "rows": {"both": 20, "new": 0, "gone": 0},
        "notes": ["run 11 was made on another model"],
        "comparisons": [{**comparison, "regressions": [3, 14]}],
    }
    said = part(lines_of(changed(record, against=against)), "short against run 11 on the 20 rows of both")
    assert said[2].split()[:2] == ["accuracy,", "points"] and said[2].endswith("worse")
    assert "  accuracy: right there, wrong here: rows 3, 14" in said
    assert "  run 11 was made on another model" in said


def test_a_pipe_gets_no_colours(capsys: pytest.CaptureFixture[str]) -> None:
    view = DemoView(rows=60)
    print_evaluation(view.record, view)
    assert capsys.readouterr().out == evaluation_text(view.record, view) + "\n"


def test_a_terminal_gets_colours_but_under_no_color_none(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("NO_COLOR", raising=False)
    print_evaluation(DemoView(rows=20).record)
    assert "\x1b[" in capsys.readouterr().out
    monkeypatch.setenv("NO_COLOR", "1")
    print_evaluation(DemoView(rows=20).record)
    assert "\x1b" not in capsys.readouterr().out


def test_a_comparison_of_cells_of_different_times_says_when_each_was_asked() -> None:
    record = DemoView(rows=20).record
    first, last, before = 1_796_161_800.0, 1_796_162_000.0, 1_795_600_000.0
    apart = {"cells": 60, "a": [first, last], "b": [before, before]}
    comparisons = [{**each, "asked_apart": apart} for each in record["comparisons"]]

    shown = " ".join(evaluation_text(changed(record, comparisons=comparisons)).split())

    assert f"was asked {when_text(first)} to {when_text(last).split()[1]}, " in shown
    assert f" {when_text(before)} (60 cells each): the difference holds what else changed in between" in shown
    assert "was asked" not in evaluation_text(record)


def test_a_judges_reason_stands_under_its_score_in_full() -> None:
    score = Score(0.0, {"level": "poor", "reason": "It is rude.\x1b[2J " + "word " * 60})
    cell = Cell(variant="a", row=1, repeat=0, fields={}, output="x", scores={"kind": score})
    lines = list(answer_lines(cell))
    assert lines[1] == "  kind: 0 · level poor"
    assert lines[2].startswith("    reason: It is rude.") and lines[2].count("word") == 60 and "\x1b" not in lines[2]


def test_the_note_of_a_generated_row_is_no_input() -> None:
    assert (
        inputs_line({"text": "late again", "generated": {"by": "tiny", "for": {"label": "bad"}}}, "bad") == "late again"
    )
