"""The summary of a training: what the validation rows show, and what they do not."""

from __future__ import annotations

from typing import Any

from promptkit.reports.training import next_lines, training_text
from promptkit.training.records import (
    AccuracyRecord,
    DifferenceRecord,
    RowsRecord,
    SettingsRecord,
    StepRecord,
    TrainRecord,
)


def record(kind: Any = "adapter", **changes: Any) -> TrainRecord:
    values: dict[str, Any] = {
        "step": "sort",
        "file": "pipelines/mails.sort.lora.gguf",
        "model": "embedded/smollm2",
        "base": "0" * 64,
        "architecture": "llama",
        "rows": RowsRecord(training=128, validation=32, hash="1"),
        "settings": SettingsRecord(
            seed=0,
            rank=8,
            alpha=16,
            vectors=None,
            first_layer=15,
            layers=30,
            batch=8,
            epochs=6,
            rate=0.001,
            weights="float16",
        ),
        "measure": "constrained",
        "before": AccuracyRecord(accuracy=0.34, low=0.2, high=0.52, loss=4.575),
        "after": AccuracyRecord(accuracy=1.0, low=0.89, high=1.0, loss=0.002),
        "difference": DifferenceRecord(
            difference=0.66, low=0.48, high=0.8, p=0.0001, better=21, worse=0, method="Tango"
        ),
        "evaluations": (),
        "steps": 72,
        "best_step": 56,
        "ending": "stopped early",
        "seconds": 370.0,
        "peak_memory": None,
        **changes,
    }
    return TrainRecord(kind=kind, pipeline="mails", steps=(StepRecord(**values),))


def test_the_summary_has_base_and_adapter_with_intervals_on_the_same_rows() -> None:
    assert training_text(record()).splitlines() == [
        "sort: stopped early: the validation loss no longer fell (72 steps, 6 min 10 s)",
        "  validation   32 rows, held to the allowed answers",
        "  base         34 % right [20, 52], loss 4.575",
        "  adapter      100 % right [89, 100], loss 0.002",
        "  difference   +66 points [+48, +80]",
        "               the rows also chose the step that is kept, so this flatters it a little",
        "  written      pipelines/mails.sort.lora.gguf (step 56)",
    ]


def test_what_is_not_shown_is_said() -> None:
    difference = DifferenceRecord(difference=0.03, low=-0.1, high=0.16, p=0.6, better=2, worse=1, method="Tango")
    rows = RowsRecord(training=128, validation=32, generated=40, generated_validation=8, hash="1")
    text = training_text(record(difference=difference, rows=rows, file=None, measure="exact"))

    assert "+3 points [-10, +16]; not shown to differ" in text
    assert "a model wrote 8 of these rows: no proof for real ones" in text
    assert "no adapter written: no step of training had a lower validation loss than the base" in text
    assert "32 rows, the whole answer as expected" in text


def test_the_next_lines_name_the_file_as_the_step_uses_it() -> None:
    soft = record("soft prompt", file="pipelines/mails.sort.soft.gguf")

    assert any("  adapter: mails.sort.lora.gguf " in line for line in next_lines(record(), "promptkit eval mails"))
    assert any("  model: gguf:mails.sort.soft.gguf " in line for line in next_lines(soft, "promptkit eval mails"))
    assert not any("in the step" in line for line in next_lines(record(applied=True), "promptkit eval mails"))
    assert list(next_lines(record(file=None), "promptkit eval mails")) == []
