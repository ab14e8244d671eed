"""Measurements are kept in the project, a line each."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from promptkit.evaluation.recommendation.evidence import (
    Evidence,
    keep_evidence,
    measured_on,
    read_evidence,
    read_measured,
)
from promptkit.evaluation.recommendation.recommend import tasks
from promptkit.runtimes.base import Model
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


@pytest.mark.parametrize(("reference", "digest"), [("ollama/tiny", "other"), ("gguf:tiny.gguf", "abc")])
def test_what_was_measured_for_a_task_is_found_by_the_models_name_or_digest(
    tmp_path: Path, reference: str, digest: str
) -> None:
    file = tmp_path / "measured.jsonl"
    lines = [Evidence(**GIVEN, task="math"), Evidence(**GIVEN, task="sentiment")]
    lines.append(Evidence(**{**GIVEN, "model": {"reference": "ollama/large", "digest": "def"}}, task="math"))
    file.write_text("".join(f"{line.model_dump_json(exclude_defaults=True)}\n" for line in lines))
    model = Model(reference=reference, digest=digest, capabilities=frozenset())
    assert measured_on(model, "math", file) == [lines[0]]
    assert measured_on(model, "code", file) == []


def test_the_shipped_measurements_are_of_tasks_that_there_are() -> None:
    assert {line.task for line in read_measured()} <= tasks().keys()
