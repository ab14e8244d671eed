"""The spread of rows, and the test that tells generated from real ones."""

from __future__ import annotations

from promptkit.synthetic_data.spread import comparison_record, spread_record
from promptkit.synthetic_data.task import LabelledInputs


def labelled(*texts: str, label: str = "good") -> list[LabelledInputs]:
    return [LabelledInputs(inputs={"text": text}, label=label) for text in texts]


def test_copies_are_nearest_at_one_and_foreign_texts_at_zero() -> None:
    assert spread_record(labelled("a b", "a b"))["nearest"] == 1.0
    assert spread_record(labelled("a b", "c d"))["nearest"] == 0.0
    assert spread_record(labelled("a b"))["nearest"] is None
    assert spread_record([])["rows"] == 0


def test_distinct_ngrams_are_shares_of_all() -> None:
    found = spread_record(labelled("a b a b", "a b"))
    assert (found["distinct_1"], found["distinct_2"]) == (round(2 / 6, 3), 0.5)
    assert found["words"] == {"mean": 3.0, "median": 3.0}
    assert found["labels"] == {"good": 1.0}


def test_rows_of_other_words_are_told_apart_and_rows_of_one_kind_are_not() -> None:
    films = labelled(*(f"film {number} actor scene" for number in range(10)))
    meals = labelled(*(f"meal {number + 50} waiter table" for number in range(10)))
    apart = comparison_record(films, meals)
    assert (apart["told_apart"], apart["vocabulary"]) == (1.0, 0.0)
    copies = comparison_record(films, films)
    assert (copies["told_apart"], copies["vocabulary"]) == (0.0, 1.0)


def test_too_few_rows_are_not_told_apart() -> None:
    assert comparison_record(labelled("a", "b"), labelled("c"))["told_apart"] is None
