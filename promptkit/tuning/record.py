"""The record of a tuning run: what `--json` prints, the store keeps and reports read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from promptkit.tuning.pareto import late_trials, pareto_front
from promptkit.tuning.search_space.candidate import Candidate
from promptkit.tuning.trials import SearchResult
from promptkit.tuning.tune_record import ObjectiveRecord, TuneRecord

if TYPE_CHECKING:
    from promptkit.evaluation.metrics.base import Metric
    from promptkit.runtimes.base import Model
    from promptkit.tuning.confirmation.ablation import Contribution
    from promptkit.tuning.confirmation.confirm import Confirmation
    from promptkit.tuning.data_split import DataSplit
    from promptkit.tuning.evaluator import Evaluator
    from promptkit.tuning.options import TuneOptions
    from promptkit.tuning.trials import Estimates

NOT_CONFIRMED = "it ended before anything was picked"


@dataclass(slots=True, kw_only=True)
class TuningState:
    """What a tuning has so far. `chosen` is what is confirmed: the pick with its calibration as numbers."""

    number: int
    target: str
    model: Model
    why: str
    wishes: TuneOptions
    ground: DataSplit
    evidence: Estimates
    smallest: float | None
    found: SearchResult = field(default_factory=SearchResult)
    confirmed: Confirmation | None = None
    ablation: Sequence[Contribution] = ()
    diff: str = ""
    written: Sequence[str] = ()
    stopped_by: str = "done"
    applied: bool = False
    seconds: float = 0.0
    notes: Sequence[str] = ()


def metric_record(metric: Metric) -> ObjectiveRecord:
    """Return the objective's metric as the record has it."""
    return ObjectiveRecord(
        name=metric.name,
        kind=metric.kind,
        bounds=list(metric.bounds or ()),
        higher_is_better=metric.higher_is_better,
    )


def tuning_record(state: TuningState, status: str) -> TuneRecord:
    """Return the record of a run, also of one that goes on."""
    ground, evidence, found, wishes = state.ground, state.evidence, state.found, state.wishes
    metric, budget, confirmed = evidence.field.metric, evidence.field.budget, state.confirmed
    record = {
        "run": state.number,
        "target": state.target,
        "suite": ground.suite.name,
        "metric": metric_record(metric),
        "status": status,
        "model": {"reference": state.model.reference, "digest": state.model.digest, "why": state.why},
        "optimizer": wishes.optimizer,
        "mode": wishes.mode,
        "seed": wishes.seed,
        "prefer": wishes.prefer,
        "budget": wishes.limits.record(),
        "rows": {
            "search": len(ground.order),
            "pool": len(ground.pool),
            "confirm": len(ground.confirm),
            "wrong": ground.wrong,
            "duplicates": ground.duplicates,
            "salt": ground.salt,
            "share": ground.share,
        },
        "stages": [each.record() for each in found.stages],
        "candidates": _candidates(state),
        "baseline": _side(state, is_pick=False),
        "best": _side(state, is_pick=True),
        "difference": confirmed.difference.record() if confirmed and confirmed.difference else None,
        "verdict": confirmed.outcome if confirmed else "not shown",
        "why": confirmed.why if confirmed else NOT_CONFIRMED,
        "ordinal": confirmed.ordinal if confirmed else 0,
        "rows_needed": confirmed.rows_needed if confirmed else None,
        "smallest_shown": state.smallest,
        "ablation": [each.record() for each in state.ablation],
        "calls": budget.spent,
        "cached": budget.cached,
        "tokens": budget.spent_tokens,
        "seconds": round(state.seconds, 3),
        "stopped_by": state.stopped_by,
        "diff": state.diff,
        "written": list(state.written),
        "applied": state.applied,
        "notes": list(state.notes),
    }
    return TuneRecord.model_validate(record)


def _candidates(state: TuningState) -> list[dict[str, Any]]:
    """Return all that was asked of the whole target, who came furthest first, each marked if no other dominates it."""
    seen = [each for each in state.found.seen.values() if each.rows]
    far = late_trials(seen)
    aims = [state.evidence.aims(each.candidate, each.rows) for each in far]
    on_front = {each.candidate.key for each, is_on in zip(far, pareto_front(aims), strict=True) if is_on}
    pick = state.found.pick.key
    records = [
        {
            **state.evidence.seen_record(each),
            "front": each.candidate.key in on_front,
            "start": not each.candidate.changes,
            "pick": each.candidate.key == pick,
        }
        for each in seen
    ]
    return sorted(records, key=lambda each: (-each["rows"], -(each["mean"] or 0.0)))


def _side(state: TuningState, *, is_pick: bool) -> dict[str, Any]:
    """Return the start or the pick, with what search and confirm rows say of it."""
    found, field_ = state.found, state.evidence.field
    searched = found.pick if is_pick else Candidate()
    confirmed = found.chosen if is_pick else Candidate()
    seen = found.seen.get(searched.key)
    search: Mapping[str, Any] | None = None
    if seen is not None and seen.rows:
        # The start is not calibrated: that would be another candidate.
        is_calibrated = is_pick and searched.key != confirmed.key
        search = (
            state.evidence.record(searched, seen.rows) if is_calibrated else _estimated(field_, searched, seen.rows)
        )
    confirm: Mapping[str, Any] | None = None
    if state.confirmed is not None and state.confirmed.difference is not None:
        confirm = _estimated(field_, confirmed, state.ground.confirm)
    told: dict[str, Any] = {"choices": confirmed.record() if is_pick else {}}
    if is_pick:
        told["changes"] = confirmed.changes
    return {**told, "search": search, "confirm": confirm}


def _estimated(field_: Evaluator, candidate: Candidate, rows: Sequence[int]) -> dict[str, Any]:
    said = field_.estimate(candidate, rows)
    return {"mean": said.mean, "low": said.low, "high": said.high, "n": said.n}
