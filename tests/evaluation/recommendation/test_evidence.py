"""Measurements are kept in the project, a line each."""

from __future__ import annotations

from typing import Any

import pytest

from promptkit.evaluation.recommendation.evidence import Evidence, keep_evidence, read_evidence
from tests.engine.helpers import Folder

GIVEN: dict[str, Any] = {
    "pipeline": "mails",
    "step": "topic",
    "technique": {"self_consistency": {"samples": 3}},
    "model": {"reference": "ollama/tiny", "digest": "abc"},
    "data": {"file": "rows.jsonl", "rows": "0123456789abcdef"},
    "n": 20,
    "right": 15,
    "low": 0.53,
    "high": 0.89,
    "unparsed": 1,
    "requests": 6.0,
    "tokens": 420.5,
    "date": "2026-01-02T03:04:05+00:00",
}


@pytest.fixture
def kept(folder: Folder) -> Folder:
    folder.project.store_folder.mkdir()
    return folder


def test_what_is_added_is_read_back(kept: Folder) -> None:
    evidence = Evidence(**GIVEN)

    keep_evidence(kept.project, [evidence])

    assert read_evidence(kept.project) == [evidence]


def test_the_last_of_a_measurement_stands_and_of_another_model_both(kept: Folder) -> None:
    first, again = Evidence(**GIVEN), Evidence(**{**GIVEN, "right": 16})
    other = Evidence(**{**GIVEN, "model": {"reference": "ollama/large", "digest": "def"}})
    keep_evidence(kept.project, [first, other])
    keep_evidence(kept.project, [again])

    assert read_evidence(kept.project) == [other, again]


def test_a_line_that_is_none_is_left_out(kept: Folder) -> None:
    file = kept.project.store_folder / "techniques.jsonl"
    file.write_bytes(b'{"pipeline": "half\n\xff\xfe\n{}\n')
    keep_evidence(kept.project, [Evidence(**{**GIVEN, "technique": "a b"})])

    assert [each.technique for each in read_evidence(kept.project)] == ["a b"]


def test_without_a_measurement_there_is_none(folder: Folder) -> None:
    assert read_evidence(folder.project) == []


def test_nothing_is_kept_where_there_is_no_store(folder: Folder) -> None:
    keep_evidence(folder.project, [Evidence(**GIVEN)])

    assert not folder.project.store_folder.exists()
