"""Real replies of models are read right: those of the file that the environment variable PROMPTKIT_REPLIES names."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from benchmarks.replies import WAYS, lines_of, measure, read_rows

FILE = os.environ.get("PROMPTKIT_REPLIES", "")
LEAST_RIGHT = 0.97
MOST_WRONG = 0.01


@pytest.mark.skipif(not FILE, reason="PROMPTKIT_REPLIES names no file of real replies")
@pytest.mark.parametrize("way", WAYS)
async def test_real_replies_are_read_right(way: str) -> None:
    read = await measure(read_rows(Path(FILE)), [way])
    right, wrong = (sum(outcome.outcome == name for outcome in read) / len(read) for name in ("right", "wrong"))
    assert right >= LEAST_RIGHT and wrong <= MOST_WRONG, "\n".join(lines_of(read))


async def test_a_reply_is_counted_as_right_wrong_or_refused() -> None:
    rows: list[dict[str, Any]] = [
        {"id": "1", "kind": "number", "question": "3 + 4?", "reply": "3 + 4 = 7", "expected": 7},
        {"id": "2", "kind": "number", "question": "3 + 4?", "reply": "The answer is 8.", "expected": 7},
        {"id": "3", "kind": "number", "question": "3 + 4?", "reply": "I cannot say.", "expected": None},
        {"id": "4", "kind": "choice", "labels": ["x", "y"], "reply": "(B)", "expected": "A", "accept": ["B"]},
        {"id": "5", "kind": "number", "reply": "first 3, then 4 and so", "expected": None, "cut": True},
    ]
    found = await measure(rows, ["step", "technique"])
    assert [outcome.outcome for outcome in found if outcome.way == "step"] == [
        "right",
        "wrong",
        "right",
        "right",
        "right",
    ]
    assert "step       number       4      3 ( 75.0%)      1 ( 25.0%)      0 (  0.0%)" in list(lines_of(found))
