"""How `promptkit eval` ends: what leaves something open, and which thresholds fell short."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from promptkit.errors import PromptkitError

if TYPE_CHECKING:
    from promptkit.evaluation import Evaluated


class RunIncomplete(PromptkitError):
    """Some cells have no answer, since a model, server or tool failed."""


class FellShort(PromptkitError):
    """A threshold was not met."""

    exit_code = 1


def check_ended(ended: Sequence[Evaluated]) -> None:
    """Raise RunIncomplete where missing cells leave something open, and FellShort where a threshold was not met."""
    for each in ended:
        if (failure := what_is_open(each)) is not None:
            raise failure
    short = [
        f"{one.record['suite']}: {each['says']}" if len(ended) > 1 else each["says"]
        for one in ended
        for each in one.record["thresholds"]
        if each["passed"] is False
    ]
    if short:
        raise FellShort("\n".join(short))


def unscored(variant: Mapping[str, Any]) -> list[str]:
    """Return the metrics that have no score for some answers of a variant."""
    return [name for name, metric in variant["metrics"].items() if metric["unscored"]]


def what_is_open(ended: Evaluated) -> RunIncomplete | None:
    """Return what to say of a run in which missing cells or scores leave something open."""
    record = ended.record
    undecided = [each["says"] for each in record["thresholds"] if each["missing"]]
    if ended.status == "incomplete" and (undecided or not record["missing_allowed"]):
        missing = sum(variant["missing"] for variant in record["variants"])
        total = sum(variant["cases"] for variant in record["variants"])
        hint = "the same command asks only for the rest" if ended.gave_up else "--retry-errors asks again what failed"
        told = f"{missing} of {total} cells have no answer: {ended.failure}"
        if missing and missing == ended.wrong:
            hint = "mend the rows; the others are measured and kept"
        if not missing:
            lacking = sorted({name for each in record["variants"] for name in unscored(each)})
            told = f"some answers have no score by {', '.join(f'`{name}`' for name in lacking)}: {ended.failure}"
            hint = "the same command scores again what has no score"
        return RunIncomplete(told, hint=None if record["model"]["replayed"] else hint)
    if undecided:
        return RunIncomplete("\n".join(undecided), hint="the same command scores again what has no score")
    return None
