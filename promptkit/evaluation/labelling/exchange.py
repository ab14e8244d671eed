"""Labels taken from a field of the rows, and labelled answers as rows of a file."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from typing import Any

from promptkit.errors import InputError, Problem, nearest
from promptkit.evaluation.answer_labels import AnswerLabel, AnswerLabels
from promptkit.evaluation.labelling.items import LabelItems
from promptkit.evaluation.labelling.levels import LabelLevels
from promptkit.evaluation.stored_run import StoredRun
from promptkit.evaluation.suite.suite import Suite

MOST_PROBLEMS = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportedLabels:
    """Labels made of a field of the rows, not written yet.

    `known` counts answers that the person has labelled before, `unanswered` rows with a label and without an answer,
    `several` rows whose repeats gave different answers, so that nobody knows which of them the label is of.
    """

    labels: Sequence[AnswerLabel]
    known: int = 0
    unanswered: int = 0
    several: int = 0


def import_labels(
    view: StoredRun, suite: Suite, found: LabelItems, field: str, template: AnswerLabel, levels: LabelLevels
) -> ImportedLabels:
    """Return the labels that the rows have in a field, as those of the answers that one variant gave.

    `found` has the answers of that variant alone; `template` has the metric, the person and the time. Raises InputError
    for a field that no row has, and with all values that are not levels.
    """
    (variant,) = found.variants
    items = {number: [item for item in found.items if number in item.rows] for number in _numbers(found)}
    labels: dict[str, AnswerLabel] = {}
    problems: list[Problem] = []
    counts = {"unanswered": 0, "several": 0}
    fields: set[str] = set()
    for number, cells in groupby(view.cells(variant), key=lambda cell: cell.row):
        row = next(cells).fields
        fields |= row.keys()
        try:
            level = levels.read(row.get(field))
        except ValueError as error:
            problems.append(replace(suite.data.where, message=f"row {number}: `{field}`: {error}"))
            continue
        answers = [item for item in items.get(number, ()) if not item.flag]
        if level is not None and len(answers) == 1:
            item = answers[0]
            labels.setdefault(item.key, template.model_copy(update={**item.content, "level": level}))
        elif level is not None:
            counts["several" if answers else "unanswered"] += 1
    if field not in fields:
        raise InputError(f"the rows of run {view.number} have no field `{field}`", hint=nearest(field, fields))
    if problems:
        more = len(problems) - MOST_PROBLEMS
        rest = [replace(suite.data.where, message=f"and {more} more rows")] if more > 0 else []
        raise InputError([*problems[:MOST_PROBLEMS], *rest])
    return ImportedLabels(labels=list(labels.values()), **counts)


def _numbers(found: LabelItems) -> set[int]:
    return {number for item in found.items for number in item.rows}


def without_known(imported: ImportedLabels, labels: AnswerLabels) -> ImportedLabels:
    """Return imported labels without those of answers that the same person has labelled before."""
    new = [
        label
        for label in imported.labels
        if all(other.person != label.person for other in labels.of_answer(label.metric, label.key))
    ]
    return replace(imported, labels=new, known=len(imported.labels) - len(new))


def labelled_rows(
    found: LabelItems, labels: AnswerLabels, metric: str, levels: LabelLevels
) -> Iterator[dict[str, Any]]:
    """Yield the labelled answers of a run as rows: the target's inputs, the answer and its label.

    `expect` is the right answer, where it is known: the value that a person typed, or an answer of the best level. Of
    several people's labels the consensus is taken. A key that an input has too begins with `label_`.
    """
    for item in found.items:
        label = labels.consensus(metric, item.key)
        level = None if label is None else levels.level(label.level)
        if label is None or level is None or item.flag:
            continue
        row: dict[str, Any] = {"answer": item.answer, "level": level}
        if label.value is not None:
            row["value"] = label.value
        if label.why:
            row["why"] = label.why
        if label.value is not None or level == levels.best:
            row["expect"] = item.answer if label.value is None else label.value
        yield {**item.inputs, **{f"label_{key}" if key in item.inputs else key: part for key, part in row.items()}}
