"""Values side by side: columns as wide as they need, long values cut where they differ."""

from __future__ import annotations

import pytest

from promptkit.reports.cells import cell_width
from promptkit.reports.columns import shared_widths
from promptkit.reports.evaluation.compared import around_difference, fitted, value_line
from promptkit.reports.evaluation.grid import GAP


@pytest.mark.parametrize(
    ("wanted", "room", "widths"),
    [
        ([5, 8, 20], 40, [5, 8, 20]),
        ([5, 30, 30], 45, [5, 20, 20]),
        ([30, 30, 30], 30, [10, 10, 10]),
        ([0, 12, 90], 40, [0, 12, 28]),
        ([50, 50], 0, [1, 1]),
        ([], 10, []),
    ],
)
def test_narrow_columns_have_what_they_want_and_wide_ones_share_the_rest(
    wanted: list[int], room: int, widths: list[int]
) -> None:
    assert shared_widths(wanted, room) == widths


def test_short_values_stay_whole() -> None:
    assert around_difference(["account, billing", "account"], [20, 20]) == ["account, billing", "account"]


def test_long_values_are_cut_around_the_first_difference() -> None:
    same = "the same words " * 10
    left, right = around_difference([f"{same}expected here", f"{same}got there"], [24, 24])
    assert "expected" in left and "got there" in right
    assert left.startswith("…") and max(map(len, (left, right))) <= 24


def test_values_that_differ_early_keep_their_beginning() -> None:
    left, right = around_difference(["one " * 20, "two " * 20], [12, 12])
    assert (left, right) == ("one one one…", "two two two…")


@pytest.mark.parametrize("text", ["x" * 90, "漢字" * 40, "a\u0301" * 60])
def test_no_row_is_wider_than_its_room(text: str) -> None:
    rows = [[text, f"{text}b", "input " * 30], ["a", "b", "c"]]
    for room in (20, 40, 74):
        for line in fitted(rows, room, alike=2):
            assert sum(map(cell_width, line)) + GAP * 2 <= room


def test_what_is_not_compared_has_a_fifth_where_values_are_long_and_the_rest_where_they_are_short() -> None:
    (long,) = fitted([["e" * 99, "g" * 99, "i" * 99]], 54, alike=2)
    assert [len(text) for text in long] == [20, 20, 10]
    (short,) = fitted([["e", "g", "i" * 99]], 54, alike=2)
    assert [len(text) for text in short] == [1, 1, 48]


@pytest.mark.parametrize(
    ("value", "line"),
    [(["a", "b"], "a, b"), ([], "[]"), ([1, 2], "[1, 2]"), (None, ""), ("a\nb", "a b"), ({"k": 1}, '{"k": 1}')],
)
def test_a_value_in_one_line(value: object, line: str) -> None:
    assert value_line(value) == line
