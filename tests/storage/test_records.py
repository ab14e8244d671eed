"""Reading what the store keeps: whatever stands there, it is a value of the shape or a DamagedRecord that says why."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from promptkit.errors import DamagedRecord, StoreFailed
from promptkit.storage.records import MOST_NAMED, Damage, read_json, read_record, reading_record
from promptkit.storage.shapes import MOST_COUNT, OutcomeShape, ScoresShape

OUTCOME = (
    '{"output": [1, null], "flag": "", "problem": "", "steps": {"mood": "\\ud800"}, "calls": 1, "cached": 0,'
    ' "tokens_in": 12, "tokens_out": 1, "seconds": 0.5}'
)


@pytest.mark.parametrize("kept", [OUTCOME, OUTCOME.encode()])
def test_a_record_is_read_from_text_and_from_bytes_half_characters_too(kept: str | bytes) -> None:
    found = read_record(kept, OutcomeShape, "cells 1")
    assert found["output"] == [1, None]
    assert found["steps"] == {"mood": "\ud800"}


def test_keys_that_are_not_known_are_left_out() -> None:
    assert "later" not in read_record(OUTCOME.replace("{", '{"later": 1, ', 1), OutcomeShape, "cells 1")


@pytest.mark.attack("store")
@pytest.mark.parametrize(
    ("kept", "why"),
    [
        (b"\xff\xfe", "it is not text"),
        (None, "it is not text"),
        (5, "it is not text"),
        (2.5, "it is not text"),
        ("", "it is not JSON"),
        ('{"output": ', "it is not JSON"),
        ("[" * 100_000, "it is not JSON"),
        ("9" * 5000, "it is not JSON"),
        (OUTCOME.replace("0.5", "NaN"), "NaN is not JSON"),
        ("[]", "valid dictionary"),
        ("null", "valid dictionary"),
        ('{"output": 1}', "`flag`: Field required"),
        (OUTCOME.replace('"flag": ""', '"flag": "good"'), "`flag`"),
        (OUTCOME.replace('"calls": 1', '"calls": -1'), "`calls`"),
        (OUTCOME.replace('"calls": 1', '"calls": true'), "`calls`"),
        (OUTCOME.replace('"calls": 1', '"calls": "1"'), "`calls`"),
        (OUTCOME.replace('"calls": 1', f'"calls": {MOST_COUNT + 1}'), "`calls`"),
        (OUTCOME.replace('"calls": 1', f'"calls": {"9" * 400}'), "`calls`"),
        (OUTCOME.replace("0.5", "1e999"), "too large"),
        (OUTCOME.replace("0.5", "-1"), "`seconds`"),
    ],
)
def test_what_is_not_a_record_is_named_with_the_reason(kept: object, why: str) -> None:
    with pytest.raises(DamagedRecord) as caught:
        read_record(kept, OutcomeShape, "cells 1")
    assert caught.value.where == "cells 1"
    assert why in caught.value.why
    assert caught.value.hint == "promptkit runs repair"


def test_the_largest_count_is_read() -> None:
    text = OUTCOME.replace('"calls": 1', f'"calls": {MOST_COUNT}')
    assert read_record(text, OutcomeShape, "cells 1")["calls"] == MOST_COUNT


@pytest.mark.attack("store")
@given(st.one_of(st.binary(), st.text(), st.integers(), st.floats(), st.none()))
def test_whatever_is_kept_reading_it_raises_nothing_else(kept: object) -> None:
    for shape in (OutcomeShape, ScoresShape):
        with suppress(DamagedRecord):
            assert isinstance(read_record(kept, shape, "cells 1"), dict)


def test_any_json_is_read_without_a_shape() -> None:
    found: Any = read_json("[1, {}]", "runs 1")
    assert found == [1, {}]


@pytest.mark.attack("store")
@pytest.mark.parametrize("error", [KeyError("n"), TypeError(), AttributeError("x"), IndexError(), RecursionError()])
def test_a_record_that_lacks_what_is_read_of_it_is_damaged(error: Exception) -> None:
    told = f"runs 1: it lacks what is read of it .unexpected {type(error).__name__}"
    with pytest.raises(DamagedRecord, match=told), reading_record("runs 1"):
        raise error


@pytest.mark.parametrize("error", [StoreFailed("full"), SystemExit(0), KeyboardInterrupt()])
def test_what_ends_a_command_is_not_damage(error: BaseException) -> None:
    with pytest.raises(type(error)) as caught, reading_record("runs 1"):
        raise error
    assert caught.value is error


def test_a_notice_names_the_first_records_each_once_and_counts_the_others() -> None:
    damage = Damage()
    assert damage.notice == ""
    for number in (1, 1, 2, 3, 4, 5):
        with damage.skipping():
            raise DamagedRecord(f"cells {number}", "it is not text")
    told = "; ".join(f"cells {number}: it is not text" for number in range(1, MOST_NAMED + 1))
    assert damage.notice == (
        f"the store is damaged, these records were left out ({told}; and 2 more): promptkit runs repair"
    )
    damage.forget()
    assert damage.notice == ""
