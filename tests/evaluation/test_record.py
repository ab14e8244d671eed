"""Records of evaluations and tuning runs: read from the store, printed as they were."""

from __future__ import annotations

import json
from typing import Any

import pytest
from pydantic import ValidationError

from promptkit.evaluation.record import BaselineMetric, ComparisonRecord, EvalRecord, Record
from promptkit.tuning.tune_record import TuneRecord
from tests.reports.demo_tuning import demo_tuning
from tests.reports.demo_view import DemoView


def printed(record: Record) -> str:
    return json.dumps(record.to_json())


@pytest.mark.parametrize(("model", "data"), [(EvalRecord, dict(DemoView(rows=20).record)), (TuneRecord, demo_tuning())])
def test_a_record_is_printed_as_it_was_kept(model: type[Record], data: Any) -> None:
    assert json.loads(printed(model.model_validate(data))) == json.loads(json.dumps(data))


def test_an_older_record_lacks_keys_that_reports_read_as_their_defaults() -> None:
    older = {"run": 3, "variants": [{"name": "short", "metrics": {"accuracy": {"mean": 1, "low": 0.5, "high": 1}}}]}
    record = EvalRecord.model_validate(older)
    assert (record.variants[0].fallbacks, record.thresholds, record.against) == ([], [], None)
    assert record.to_json() == older


def test_a_key_of_a_newer_promptkit_is_kept() -> None:
    newer = {"run": 3, "colour": "blue", "variants": [{"name": "short", "shade": 2}]}
    assert EvalRecord.model_validate(newer).to_json() == newer


def test_an_integer_stays_one() -> None:
    assert printed(EvalRecord.model_validate({"seconds": 2, "variants": []})) == '{"seconds": 2, "variants": []}'


def test_comparisons_begin_with_what_is_compared() -> None:
    assert list(ComparisonRecord.model_fields)[:4] == ["a", "b", "metric", "difference"]
    assert list(ComparisonRecord.model_fields)[-4:] == ["adjusted", "comparisons", "same_requests", "asked_apart"]
    assert list(BaselineMetric.model_fields)[:2] == ["metric", "difference"]


def test_a_record_does_not_change() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        EvalRecord().run = 4
