"""Labelled answers as examples of a judge."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import islice, zip_longest
from typing import Any

from promptkit.evaluation.answer_labels import AnswerLabel
from promptkit.evaluation.metrics.base import MetricInput
from promptkit.evaluation.metrics.values import text_of
from promptkit.storage.strict_json import json_bytes


class JudgeExamples:
    """The labelled answers that a judge is shown: the first ones of the label file, as many of each level.

    An example is never shown for an answer to the same inputs or in the same cluster. So a label corrects only scores
    that were given without it: cross-fitting, as in cross-prediction-powered inference (Zrnic and Candès 2024, PNAS
    121). `labels` have the levels of the judge, by `levels`; `cluster` is the field of the suite's clusters.
    """

    def __init__(self, labels: Sequence[AnswerLabel], levels: Sequence[str], count: int, cluster: str | None) -> None:
        self._count = count
        self._cluster = cluster
        usable = [
            (label, level)
            for label, level in zip(labels, levels, strict=True)
            if label.inputs and (cluster is None or label.cluster is not None)
        ]
        self._chosen = list(islice(_by_turns(usable), count))

    @property
    def content(self) -> list[dict[str, Any]]:
        """All examples, as the judge reads them."""
        return [_as_read(label, level) for label, level in self._chosen]

    @property
    def notes(self) -> list[str]:
        """The note on examples that are lacking."""
        lacking = self._count - len(self._chosen)
        if not lacking:
            return []
        return [
            f"{lacking} of {self._count} `examples` of the judge are lacking: `promptkit label` keeps answers with "
            "their inputs, which are shown"
        ]

    def of(self, given: MetricInput) -> list[dict[str, Any]]:
        """Return the examples that the judge is shown for an answer."""
        return [_as_read(label, level) for label, level in self._chosen if not self._is_near(label, given)]

    def _is_near(self, label: AnswerLabel, given: MetricInput) -> bool:
        if given.inputs is not None and _same(label.inputs, given.inputs):
            return True
        return self._cluster is not None and _same(label.cluster, given.cell.fields.get(self._cluster))


def _by_turns(labels: Sequence[tuple[AnswerLabel, str]]) -> Iterator[tuple[AnswerLabel, str]]:
    """Yield labels by turns of their levels, each level's in the order of the file."""
    by_level: dict[str, list[tuple[AnswerLabel, str]]] = {}
    for label, level in labels:
        by_level.setdefault(level, []).append((label, level))
    for turn in zip_longest(*by_level.values()):
        yield from (found for found in turn if found is not None)


def _as_read(label: AnswerLabel, level: str) -> dict[str, Any]:
    question = {name: text_of(value) for name, value in label.inputs.items()}
    return {"question": question, "answer": text_of(label.answer), "level": level, "why": label.why}


def _same(one: Any, other: Any) -> bool:
    return _key(one) == _key(other)


def _key(value: Mapping[str, Any] | Any) -> bytes:
    return json_bytes(value, sort_keys=True, allow_nan=True, default=str)
