"""The trace says by which rule an answer was read, and a weak reading, a refusal and an empty reply are warnings."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from promptkit.techniques.perform import perform
from tests.techniques.steps import Bench


@pytest.mark.parametrize(
    ("reply", "value", "rule", "warnings"),
    [
        ("7", 7, "whole reply", ()),
        ("The answer is 7.", 7, "marker", ()),
        ("There are 3 boxes. 7 fit.", 7, "last value", ("weak_reading",)),
        ("It cannot be determined.", None, None, ("refused",)),
        ("", None, None, ("empty_reply",)),
        ("many", None, None, ()),
    ],
)
async def test_a_record_has_the_rule_and_the_warnings_of_its_reading(
    tmp_path: Path, reply: str, value: int | None, rule: str | None, warnings: tuple[str, ...]
) -> None:
    bench = Bench(tmp_path, [reply])

    answer = await perform("vanilla", bench.step(decide="generate"))

    (record,) = bench.records
    assert (answer.value, record.rule, record.warnings) == (value, rule, warnings)


async def test_a_reply_that_a_grammar_bound_is_parsed_and_not_searched(tmp_path: Path) -> None:
    settings: dict[str, Any] = {"capabilities": {"chat", "grammar", "continue"}}
    bench = Bench(tmp_path, ["The answer is 7, not 8."], **settings)

    answer = await perform("vanilla", bench.step(decide="constrain"))

    assert (answer.value, answer.flag) == (None, "unparsed")
