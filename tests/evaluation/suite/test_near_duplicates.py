"""Rows that say nearly the same as others."""

from __future__ import annotations

import pytest

from promptkit.evaluation.suite.near_duplicates import mutual_near_duplicates, near_duplicates

LONG = " ".join(f"word{number}" for number in range(40))


@pytest.mark.parametrize(
    ("inputs", "is_near"),
    [
        ({"text": "a  Fine film!"}, True),
        ({"text": "a fine film and more"}, False),
        ({"text": LONG + " more"}, True),
        ({"text": " ".join(LONG.split()[:20]) + " " + " ".join(f"other{number}" for number in range(20))}, False),
        ({"text": ["a fine", {"of": "film"}]}, True),
        ({"text": 7}, True),
        ({"text": 8}, False),
    ],
)
def test_a_row_is_near_where_the_words_or_most_of_their_runs_are_another_ones(
    inputs: dict[str, object], is_near: bool
) -> None:
    rows: list[dict[str, object]] = [{"text": "A fine film."}, {"text": LONG}, {"text": 7}]

    assert near_duplicates(rows, [{"text": "no other"}, inputs]) == ({1} if is_near else set())


def test_what_two_rows_say_together_is_not_near_to_either() -> None:
    words = LONG.split()
    rows = [{"text": " ".join(words[:20])}, {"text": " ".join(words[20:])}]

    assert near_duplicates(rows, [{"text": LONG}]) == set()


def test_rows_that_repeat_each_other_are_found_in_one_list() -> None:
    long = " ".join(f"word{at}" for at in range(40))
    texts = ["a fine day", long, "rain", f"so {long}", "A fine day!", "rain again", long.replace("word20", "other")]

    assert mutual_near_duplicates([{"text": text} for text in texts]) == {0, 1, 3, 4}
    assert mutual_near_duplicates([]) == set()
