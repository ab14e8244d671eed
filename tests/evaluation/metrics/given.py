"""Builders for tests of metrics: a metric by its word, cells, and samples of their scores."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from promptkit.answers.base import AnswerType
from promptkit.evaluation.cells.cell import Cell
from promptkit.evaluation.metrics.base import Difference, Estimate, Metric, MetricContext, MetricInput, Sample
from promptkit.evaluation.metrics.registry import kind_named
from promptkit.project import Project

_SAME = object()


def metric(
    word: str,
    parameters: Mapping[str, Any] | None = None,
    *,
    folder: Path = Path("."),
    answer: AnswerType | None = None,
    name: str = "",
    others: Mapping[str, Metric] | None = None,
) -> Metric:
    """Return a metric as a suite's reader builds it."""
    kind = kind_named(word)
    around = MetricContext(project=Project(folder), folder=folder, answer=answer, metrics=others or {})
    return kind(name or word, kind.Parameters.model_validate(parameters or {}), around)


def given(
    got: Any,
    expected: Any = None,
    *,
    output: Any = _SAME,
    row: Mapping[str, Any] | None = None,
    answer: AnswerType | None = None,
    **cell: Any,
) -> MetricInput:
    """Return what a metric compares; the cell's output is what it got, and its row empty, unless said."""
    shown = got if output is _SAME else output
    return MetricInput(got, expected, Cell(variant="", row=1, repeat=0, fields=row or {}, output=shown, **cell), answer)


def scored(of: Metric, cells: Sequence[MetricInput], rows: Sequence[int] | None = None) -> Sample:
    """Return the sample of these cells, each a row of its own unless `rows` says otherwise."""
    scores = [of.unanswered(cell) if cell.cell.flag else of.measure(cell) for cell in cells]
    return sample([list(of.numbers(score)) for score in scores], rows)


def sample(values: Sequence[Any], rows: Sequence[int] | None = None, clusters: Sequence[int] | None = None) -> Sample:
    """Return a sample of numbers, one a cell or a vector a cell."""
    import numpy as np

    columns = np.array(values, dtype=np.float64)
    if columns.ndim == 1:
        columns = columns[:, None]
    numbered = np.arange(len(columns)) if rows is None else np.array(rows)
    return Sample(columns, numbered, numbered if clusters is None else np.array(clusters))


def told(of: Metric, cells: Sequence[MetricInput], rows: Sequence[int] | None = None) -> Estimate:
    """Return what the metric says of these cells."""
    return of.estimate(scored(of, cells, rows))


def between(of: Metric, a: Sequence[MetricInput], b: Sequence[MetricInput]) -> Difference:
    """Return what the metric says of two variants, which must be something."""
    found = of.difference(scored(of, a), scored(of, b))
    assert found is not None
    return found
