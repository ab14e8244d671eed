"""What fails in a run as JSON: what `promptkit runs errors --json` prints."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from promptkit.evaluation.error_groups import APART

if TYPE_CHECKING:
    from promptkit.evaluation.error_groups import ErrorGroup, Errors, Failure
    from promptkit.evaluation.view import RunView


def reply_of(trace: Mapping[str, Any] | None) -> str | None:
    """Return what a model said last in a cell: the reply that could not be read, where one is marked so."""
    calls = list(_calls(trace)) if trace is not None else []
    marked = [call for call in calls if call.get("problem")] or calls
    return marked[-1]["reply"] if marked else None


def _calls(node: Mapping[str, Any]) -> Iterable[Mapping[str, Any]]:
    yield from node.get("calls", ())
    for part in node.get("parts", ()):
        yield from _calls(part)


def errors_record(errors: Errors, view: RunView) -> dict[str, Any]:
    """Return what fails as JSON; `view` gives the replies that could not be read."""
    return {
        "run": errors.run,
        "suite": errors.suite,
        "variant": errors.variant,
        "metric": errors.metric,
        "graded": errors.graded,
        "low": errors.low,
        "cells": errors.cells,
        "read": errors.read,
        "failed": errors.failed,
        "groups": [_group_record(group, view) for group in errors.groups],
        "by": errors.by,
        "slices_tried": errors.slices_tried,
        "slices": [
            {**each.numbers(), "rows": [_row_record(row, view) for row in each.typical]} for each in errors.slices
        ],
        "similar": [
            {
                "count": each.count,
                "share": each.share,
                "words": [word._asdict() for word in each.words],
                "rows": [_row_record(row, view) for row in each.rows],
            }
            for each in errors.similar
        ],
        "notes": list(errors.notes),
    }


def _group_record(group: ErrorGroup, view: RunView) -> dict[str, Any]:
    pair = {"expected": group.expected, "got": group.got, "of_expected": group.of_expected}
    return {
        "kind": group.kind,
        "count": group.count,
        "share": group.share,
        **(pair if group.kind == "pair" else {}),
        **({"defect": group.defect} if group.kind == "defect" else {}),
        "rows": [_row_record(row, view) for row in group.rows],
    }


def _row_record(failure: Failure, view: RunView) -> dict[str, Any]:
    cell = failure.cell
    reply = reply_of(view.trace(cell.cell)) if failure.fails in ("unparsed", "truncated") else None
    return {
        "row": cell.row,
        "repeat": cell.repeat,
        "fails": failure.fails,
        "fields": dict(cell.fields),
        "expected": json.loads(json.dumps(failure.expected, default=str)),
        "got": failure.got,
        "goodness": None if failure.fails in APART else failure.goodness,
        "why": failure.why,
        "reply": reply,
    }
