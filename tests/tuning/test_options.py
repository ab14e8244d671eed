"""The options of a tuning from the command line, and the messages for wrong ones."""

from __future__ import annotations

import pytest

from promptkit.errors import InputError
from promptkit.tuning.options import (
    PREFERENCES,
    Limits,
    TuneOptions,
    check_preference,
    preference_value,
    read_budget,
    read_only,
)


@pytest.mark.parametrize(
    ("text", "limits"),
    [
        ("calls=300", Limits(calls=300)),
        ("calls=300,tokens=5000,minutes=1.5", Limits(calls=300, tokens=5000, minutes=1.5)),
        (" minutes = 10 , calls=7,", Limits(calls=7, minutes=10)),
    ],
)
def test_a_budget_is_any_of_its_limits(text: str, limits: Limits) -> None:
    assert read_budget(text) == limits


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("cals=300", "did you mean `calls`?"),
        ("300", "--budget calls=300"),
        ("calls=many", "calls is a whole number above 0"),
        ("calls=0", "calls is a whole number above 0"),
        ("calls=1.5", "calls is a whole number above 0"),
        ("minutes=-1", "minutes is a number above 0\n  hint: --budget minutes=10"),
        ("minutes=inf", "minutes is a number above 0"),
        ("calls=1,calls=2", "gives `calls` twice"),
        ("", "is empty"),
    ],
)
def test_what_is_wrong_with_a_budget_is_told(text: str, told: str) -> None:
    with pytest.raises(InputError) as raised:
        read_budget(text)
    assert told in str(raised.value)


def test_all_that_is_wrong_with_a_budget_is_told_at_once() -> None:
    with pytest.raises(InputError) as raised:
        read_budget("cals=3,minutes=0")
    assert len(raised.value.problems) == 2


def test_what_may_vary_is_named_with_commas_and_at_least_one_name() -> None:
    assert read_only("examples, topic.layout,") == ("examples", "topic.layout")
    with pytest.raises(InputError, match="`--only` is empty"):
        read_only(" ,")


def test_a_mode_that_there_is_not_is_told_with_the_nearest() -> None:
    with pytest.raises(InputError, match="did you mean `stepwise`"):
        TuneOptions(mode="stepwize")  # type: ignore[arg-type]


@pytest.mark.parametrize("text", [*PREFERENCES, "score", "score - 0.001 * tokens", "score / latency", "-latency"])
def test_a_preference_is_a_word_or_a_formula(text: str) -> None:
    check_preference(text)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("chaep", "did you mean `cheap`?"),
        ("score - token", "did you mean `tokens`?"),
        ("score -", "is not a formula"),
        ("1 + 1", "is the same for all candidates"),
        (" ", "`--prefer` is empty"),
        ("score > 0.5", "is not a number at score 0, tokens 1"),
        ("score / unparsed", "is not a number at score 0, tokens 1, latency 0.001, unparsed 0, calls 1: "),
        ("score - 'a'", "is not a number at"),
        ("score.mean", "is not a number at"),
    ],
)
def test_what_is_wrong_with_a_preference_is_told(text: str, told: str) -> None:
    with pytest.raises(InputError) as raised:
        TuneOptions(prefer=text)
    assert told in str(raised.value)


def test_a_formula_is_worked_out_over_what_is_known_of_a_candidate() -> None:
    assert preference_value("score - 0.01 * tokens", {"score": 0.9, "tokens": 20.0}) == pytest.approx(0.7)
    with pytest.raises(InputError, match=r"is not a number at score 0\.9, tokens 20: it is False"):
        preference_value("score > tokens", {"score": 0.9, "tokens": 20.0})


def test_an_optimizer_that_there_is_not_is_told_with_the_nearest() -> None:
    with pytest.raises(InputError, match="did you mean `miprov2`"):
        TuneOptions(optimizer="mipro")  # type: ignore[arg-type]
