"""The screen of an answer that a person labels."""

from __future__ import annotations

from typing import Any

import pytest

from promptkit.evaluation.answer_labels import AnswerLabel
from promptkit.evaluation.labelling.items import LabelItem
from promptkit.evaluation.labelling.levels import LabelLevels
from promptkit.evaluation.labelling.summary import Agreement
from promptkit.reports.evaluation.labels import MOST_ANSWER_LINES, agreement_text, help_lines, item_lines, level_keys
from promptkit.reports.layout import cell_width

GRADES = LabelLevels(names=("poor", "fair", "good"), rubric="Is it kind?", meanings={"good": "warm and plain"})


def screen(answer: Any, *, width: int = 80, whole: bool = False, label: AnswerLabel | None = None) -> list[str]:
    item = LabelItem(key="k", inputs={}, shown={"mail": "It is late."}, answer=answer, expected=None, row=1)
    lines = item_lines(item, GRADES, width, head="3 of 50 · helpful", label=label, whole=whole)
    return [line.plain for line in lines]


def test_an_answer_stands_below_what_was_asked_and_above_the_levels() -> None:
    assert screen("We look into it.")[1:] == [
        "mail",
        "  It is late.",
        "answer",
        "  We look into it.",
        "Is it kind?",
        "1 poor   2 fair   3 good   y good   n poor",
        "v value  w why  s skip  u undo  b back  a all  ? help  q quit",
    ]
    assert screen("x")[0].startswith("── 3 of 50 · helpful ──")


def test_a_long_answer_is_cut_until_all_of_it_is_asked_for() -> None:
    long = "\n".join(f"line {number}" for number in range(40))
    assert f"  … {40 - MOST_ANSWER_LINES} more lines: a shows all" in screen(long)
    assert "  line 39" in screen(long, whole=True) and "  line 39" not in screen(long)
    barely = "\n".join(f"line {number}" for number in range(MOST_ANSWER_LINES + 1))
    assert f"  line {MOST_ANSWER_LINES}" in screen(barely)


def test_json_is_an_outline_and_control_characters_are_harmless() -> None:
    assert "  reply: Sorry" in screen({"reply": "Sorry", "tags": ["late", "parcel"]})
    assert "  \\x1b[2J gone" in screen("\x1b[2J gone")
    assert "  (nothing)" in screen(None)


@pytest.mark.parametrize("width", [20, 80])
def test_no_line_is_wider_than_the_terminal(width: int) -> None:
    lines = screen("語" * 50 + " and a text of many words " * 5, width=width)
    assert max(map(cell_width, lines)) <= width
    assert all(cell_width(line.plain) <= max(width, 50) for line in help_lines(GRADES, width))


def test_a_label_that_was_given_is_shown_with_its_reason() -> None:
    label = AnswerLabel(metric="m", key="k", answer="x", level="fair", drawn="random", why="no date")
    assert "your label: fair, since no date" in screen("x", label=label)


@pytest.mark.parametrize(
    ("names", "keys"),
    [
        (("poor", "fair", "good"), "123"),
        (("1", "2", "3", "4", "5"), "12345"),
        (tuple(map(str, range(11))), "0123456789-"),
        (tuple(map(str, range(1, 11))), "1234567890"),
        (("-1", "0", "1"), "201"),
    ],
)
def test_each_level_has_a_key_its_own_digit_where_it_is_one(names: tuple[str, ...], keys: str) -> None:
    assert {name: key for key, name in level_keys(LabelLevels(names=names)).items()} == dict(
        zip(names, keys, strict=True)
    )


def test_an_agreement_has_its_share_and_a_coefficient_where_there_are_answers_enough() -> None:
    few = Agreement(raters=("ann", "ben"), n=4, equal=3, low=0.3, high=0.95)
    assert agreement_text(few) == "3 of 4 equal, 75 % [30, 95]; no coefficient below 20 answers"
    many = Agreement(
        raters=("ann", "ben"), n=50, equal=42, low=0.71, high=0.92, method="Cohen's kappa", value=0.62,
        value_low=0.41, value_high=0.8,
    )  # fmt: skip
    assert agreement_text(many) == "42 of 50 equal, 84 % [71, 92]; Cohen's kappa 0.62 [0.41, 0.80]"
