"""The reasons that people gave with their labels of an answer, for models that learn from wrong answers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from promptkit.errors import InputError
from promptkit.evaluation.answer_labels import answer_key
from promptkit.evaluation.cells.cell import Cell
from promptkit.evaluation.suite.binding import evaluate_of
from promptkit.evaluation.suite.suite import Suite


def label_reasons(suite: Suite, inputs: Mapping[str, Any], cell: Cell) -> list[str]:
    """Return the reasons of all labels that a cell's answer to these inputs has, under any metric, each once."""
    reasons: dict[str, None] = {}
    for measure in suite.measures:
        labels = measure.metric.context.labels
        if not labels:
            continue
        try:
            answer = cell.output if measure.of is None else evaluate_of(measure.of, cell)
        except InputError:
            continue
        given = labels.of_answer(measure.name, answer_key(inputs, answer))
        reasons.update((label.why, None) for label in given if label.why)
    return list(reasons)
