"""Values side by side: columns as wide as they need, long values cut where they differ."""

from __future__ import annotations

import shlex

import pytest

from promptkit.reports.layout import (
    GAP,
    around_difference,
    cell_width,
    columns,
    fitted,
    fold,
    shared_widths,
    value_line,
)


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


@pytest.mark.parametrize(
    ("line", "folded"),
    [
        ("short", "short"),
        ("error: the words of a message go on", "error: the words of a\n  message go on"),
        ("  hint: the words of a hint that go on", "  hint: the words of a\n    hint that go on"),
        ("· a note of the run that is too long", "· a note of the run\n    that is too long"),
        ("│  ├─ call answer · 12 tokens · cut", "│  ├─ call answer · 12\n│  │    tokens · cut"),
        ("│  └─ call answer · 12 tokens · cut", "│  └─ call answer · 12\n│       tokens · cut"),
    ],
)
def test_further_lines_hang_under_the_first(line: str, folded: str) -> None:
    assert fold(line, 25) == folded


@pytest.mark.parametrize(
    "text", ["word " * 60, "x" * 300, "漢字 " * 60, "│  │  └─ " + "word " * 60, " " * 70 + "a b " * 9]
)
@pytest.mark.parametrize("width", [40, 60, 80])
def test_no_line_is_wider(text: str, width: int) -> None:
    assert all(cell_width(line) <= width for line in fold(text, width).split("\n"))


def test_a_path_stays_whole() -> None:
    path = "/a/long/path/" * 5 + "file.yaml"
    assert path in fold(f"error: {path} is not there", 40).split("\n  ")


@pytest.mark.parametrize("value", ["mail=a", "mail='it came late and was broken'"])
def test_a_proposed_command_can_be_copied(value: str) -> None:
    command = f"promptkit run pipelines/triage.tuned.yaml {value} --set teams.layout=prefix --model ollama/llama3.2"
    about, *lines = fold(f"  {command}    # what was found", 60).split("\n")
    assert about == "  # what was found" and max(map(len, lines)) <= 60 and len(lines) > 1
    assert shlex.split("\n".join(lines).replace("\\\n", "")) == shlex.split(command)


def test_columns_fit_however_many_there_are() -> None:
    rows = [tuple(f"{name}{at} word" * 3 for at in range(6)) for name in ("a", "b")]
    for width in (40, 60, 80):
        assert all(cell_width(line) <= width for line in columns(rows, width=width))
