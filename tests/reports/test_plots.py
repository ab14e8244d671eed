"""Figures in the terminal, as they stand in 80 and in 40 columns."""

from __future__ import annotations

import io
from itertools import pairwise
from typing import Any

import pytest
from rich.console import Console
from rich.text import Text

from promptkit.evaluation.record import EvalRecord
from promptkit.reports.evaluation.plots import bar_lines, forest_lines
from promptkit.reports.evaluation.score_cost import front_lines
from promptkit.reports.layout import cell_width
from promptkit.reports.output import encodable, plain_text

SHARE: dict[str, Any] = {"kind": "label", "bounds": [0, 1], "n": 100, "clusters": 100}


def variant(name: str, mean: float | None, low: float | None, high: float | None, tokens: int, **more: Any) -> Any:
    accuracy = {**SHARE, "mean": mean, "low": low, "high": high}
    spent = {"calls": 100, "cached": 100, "tokens_in": 90 * tokens, "tokens_out": 10 * tokens}
    return {"name": name, "cases": 100, "metrics": {"accuracy": accuracy}, **spent, **more}


def comparison(a: str, b: str, difference: float, low: float, high: float, **more: Any) -> dict[str, Any]:
    found = {"a": a, "b": b, "metric": "accuracy", "difference": difference, "low": low, "high": high, "p": 0.2}
    return {**found, "n": 100, "better": 9, "worse": 5, "comparisons": 2, "adjusted": 0.2, **more}


def record(**more: Any) -> EvalRecord:
    variants = [
        variant("full", 0.82, 0.75, 0.88, 61),
        variant("eight bits", 0.80, 0.72, 0.86, 61),
        variant("four bits", 0.71, 0.62, 0.79, 40),
    ]
    comparisons = [
        comparison("eight bits", "full", -0.02, -0.04, 0.02, margin=0.05),
        comparison("four bits", "full", -0.11, -0.2, -0.03, margin=0.05),
    ]
    return EvalRecord.model_validate({"variants": variants, "comparisons": comparisons, **more})


def text(lines: Any) -> str:
    return plain_text(lines)


AT_80 = {
    bar_lines: """\
accuracy, %
full                                        ├───────────────●────────────┤
eight bits                            ├────────────────●────────────┤
four bits       ├───────────────────●────────────────┤
            60        65         70        75         80         85         90""",
    forest_lines: """\
accuracy: difference in points
eight bits                                         ┊  ├────●────┼────┤       ┊
four bits   ├──────────────────────●────────────────────┤       │            ┊
            −20         −15          −10          −5            0            5""",
    front_lines: """\
accuracy by tokens of a row
four bits   71 %                                ●
full        82 %                                               ●
eight bits  80 %                                               ○
                  0             20             40            60             80
  ● on the front   ○ dominated by another in mean, tokens and calls""",
}
AT_40 = {
    bar_lines: """\
accuracy, %
full                 ├────●───┤
eight bits          ├───●───┤
four bits    ├─────●────┤
            60         80          100""",
    forest_lines: """\
accuracy: difference in points
eight bits           ┊├●┼─┤ ┊
four bits   ├─────●────┤│   ┊
            −20         0           20""",
    front_lines: """\
accuracy by tokens of a row
four bits   71 %          ●
full        82 %              ●
eight bits  80 %              ○
                  0        50      100
  ● on the front   ○ dominated by
  another in mean, tokens and calls""",
}


@pytest.mark.parametrize(("width", "figures"), [(80, AT_80), (40, AT_40)])
def test_each_figure_stands_so_in_a_terminal(width: int, figures: Any) -> None:
    for lines, figure in figures.items():
        assert text(lines(record(), width)) == figure


def test_a_difference_is_within_its_margin_where_the_marks_enclose_it() -> None:
    eight, _ = AT_80[forest_lines].split("\n")[1:3]
    assert eight.index("┊") < eight.index("├") < eight.index("┤") < eight.rindex("┊")


@pytest.mark.parametrize("width", [40, 60, 80, 140])
def test_no_line_is_wider_than_the_terminal(width: int) -> None:
    found = record()
    for lines in (bar_lines, forest_lines, front_lines):
        assert all(cell_width(line.plain) <= width for line in lines(found, width))


@pytest.mark.parametrize("width", [10, 24])
def test_a_terminal_too_narrow_for_an_axis_has_no_figure(width: int) -> None:
    assert text(bar_lines(record(), width)) == ""
    assert text(forest_lines(record(), width)) == ""


def test_a_single_variant_has_no_figure() -> None:
    alone = record(variants=[variant("full", 0.8, 0.7, 0.9, 60)], comparisons=[])

    assert [*bar_lines(alone, 80), *forest_lines(alone, 80), *front_lines(alone, 80)] == []


def test_a_difference_without_an_interval_is_not_drawn() -> None:
    without = comparison("four bits", "full", -0.1, 0, 0) | {"low": None, "high": None}

    assert text(forest_lines(record(comparisons=[without]), 80)) == ""


def test_the_front_marks_a_variant_that_another_dominates_in_score_and_cost() -> None:
    lines = text(front_lines(record(), 80)).split("\n")

    marks = {line.split("  ")[0].strip(): "●" in line for line in lines[1:4]}
    assert marks == {"four bits": True, "full": True, "eight bits": False}
    assert lines[0] == "accuracy by tokens of a row"
    assert lines[-1] == "  ● on the front   ○ dominated by another in mean, tokens and calls"


def test_seconds_count_in_the_front_where_they_were_measured_together() -> None:
    variants = [
        variant("full", 0.82, 0.75, 0.88, 61, cached=0, seconds=9.0),
        variant("eight bits", 0.80, 0.72, 0.86, 61, cached=0, seconds=5.0),
        variant("four bits", 0.71, 0.62, 0.79, 40, cached=0, seconds=3.0),
    ]
    lines = text(front_lines(record(variants=variants), 80)).split("\n")

    assert "○" not in "".join(lines[:-1]), "eight bits is faster than full"
    assert lines[-1].endswith("mean, tokens, seconds and calls")


@pytest.mark.parametrize("means", [(0.9989, 0.9991), (0.2, 0.9), (0.5, 0.5)])
def test_an_axis_has_round_numbers_whatever_the_range(means: tuple[float, float]) -> None:
    variants = [variant(f"v{at}", mean, mean - 0.0001, mean + 0.0001, 5 + at) for at, mean in enumerate(means)]

    axis = text(bar_lines(record(variants=variants, comparisons=[]), 80)).split("\n")[-1].split()

    assert len(axis) >= 3
    steps = {round(float(b) - float(a), 6) for a, b in pairwise(axis)}
    assert len(steps) == 1, "ticks are equally far from each other"
    assert float(str(steps.pop()).strip("0.") or 1) in {1, 2, 5, 10, 20, 50}


def test_figures_are_ascii_where_the_stream_cannot_write_more() -> None:
    stream = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    lines = [encodable(line, Console(file=stream)) for line in forest_lines(record(), 60)]

    assert all(line.plain.isascii() for line in lines)
    assert "[" in lines[1].plain and "*" in lines[1].plain and "|" in lines[2].plain
    unicode = io.TextIOWrapper(io.BytesIO(), encoding="utf-8")
    assert encodable(Text("●"), Console(file=unicode)).plain == "●"
