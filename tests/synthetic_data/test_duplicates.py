"""Near-duplicates: texts whose longest common subsequence is most of both."""

from __future__ import annotations

import pytest

from promptkit.synthetic_data.duplicates import KnownTexts

KNOWN = "the film was great and the actors were good"  # 9 words


@pytest.mark.parametrize(
    ("text", "repeats"),
    [
        ("The film was GREAT, and the actors were good!", True),
        ("the movie was great and the actors were good", True),  # 8 of 9
        ("the film was great and my cat slept here", False),  # 5 of 9
        ("good were actors the and great was film the", False),  # the same words in another order
        ("the parcel never came", False),
    ],
)
def test_a_text_repeats_another_from_a_rouge_l_of_seven_tenths(text: str, repeats: bool) -> None:
    known = KnownTexts()
    known.add({"text": KNOWN})
    assert known.repeats({"text": text}) is repeats


def test_just_at_the_bound_it_repeats() -> None:
    known = KnownTexts()
    known.add({"text": "a b c d e f g h i j"})
    assert known.repeats({"text": "a b c d e f g x y z"})
    assert not known.repeats({"text": "a b c d e f w x y z"})
