"""What is measured of a cell: one class a kind of metric, found by the word a suite names it by."""

from promptkit.evaluation.metrics.base import (
    DEFECT,
    Answered,
    Around,
    Askers,
    Difference,
    Estimate,
    Given,
    Metric,
    Sample,
    Score,
    judging,
)
from promptkit.evaluation.metrics.registry import kind_named, kinds

__all__ = [
    "DEFECT",
    "Answered",
    "Around",
    "Askers",
    "Difference",
    "Estimate",
    "Given",
    "Metric",
    "Sample",
    "Score",
    "judging",
    "kind_named",
    "kinds",
]
