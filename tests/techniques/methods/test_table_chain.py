"""Dates as tables write them sort in time."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from promptkit.techniques.methods.table_chain import date_keys


@pytest.mark.parametrize(
    ("cell", "key"),
    [
        ("13 February 1686", (1686, 2, 13, "")),
        ("13th of February, 1686", (1686, 2, 13, "")),
        ("September 16, 1928", (1928, 9, 16, "")),
        ("Sept. 16, 1928", (1928, 9, 16, "")),
        ("Sun, Sep 16 1928", (1928, 9, 16, "")),
        ("October 1679", (1679, 10, 0, "")),
        ("September 10", (0, 9, 10, "")),
        ("August 7, 1986 (age 27)", (1986, 8, 7, "")),
        ("July 4, 19393", (1939, 7, 4, "")),
        ("1686-02-13", (1686, 2, 13, "")),
        ("2010-10", (2010, 10, 0, "")),
        ("2010-10-03T14:05:00", (2010, 10, 3, "14:05:00")),
        ("2/13/1986", (1986, 2, 13, "")),
        ("13/2/1986", (1986, 2, 13, "")),
        ("3.2.1986", (1986, 2, 3, "")),
    ],
)
def test_a_date_is_read(cell: str, key: tuple[Any, ...]) -> None:
    assert date_keys([cell]) == [key]


def test_years_alone_stand_among_dates_and_blanks_have_no_key() -> None:
    assert date_keys(["1886", "June 1920", ""]) == [(1886, 0, 0, ""), (1920, 6, 0, ""), None]


def test_one_day_above_12_says_that_days_come_first() -> None:
    assert date_keys(["3/4/2021", "13/4/2021"]) == [(2021, 4, 3, ""), (2021, 4, 13, "")]
    assert date_keys(["3/4/2021"]) == [(2021, 3, 4, "")]


@pytest.mark.parametrize(
    "cells",
    [
        ["1886", "1920"],
        ["May 1901", "Martha"],
        ["9", "10"],
        ["1928-29"],
        ["1234.5", "1234.10"],
        ["40 May 1901"],
        [""],
        [],
    ],
)
def test_other_columns_are_not_dates(cells: list[str]) -> None:
    assert date_keys(cells) is None


@given(st.lists(st.text(alphabet="0123456789-/. MayJuneSept", max_size=14), max_size=4))
def test_keys_always_compare(cells: list[str]) -> None:
    keys = date_keys(cells) or []

    assert sorted(key for key in keys if key is not None) is not None
