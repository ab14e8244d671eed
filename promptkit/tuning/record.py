"""The record of a tuning run: what `--json` prints, the store keeps and reports read."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from promptkit.evaluation.metrics.base import Metric
from promptkit.runtimes.base import Model
from promptkit.techniques.warnings import in_table_order, merged_sources
from promptkit.tuning.confirmation.ablation import Contribution
from promptkit.tuning.confirmation.confirm import Confirmation
from promptkit.tuning.confirmation.constant_answer import ConstantAnswer
from promptkit.tuning.confirmation.forgetting import Forgetting
from promptkit.tuning.confirmation.weights_gain import WeightsGain
from promptkit.tuning.data_split import DataSplit
from promptkit.tuning.evaluator import Evaluator
from promptkit.tuning.evidence import (
    calls_for_all_candidates,
    curve_record,
    gain_record,
    rows_for_gain,
    shared_rows,
    turned_record,
)
from promptkit.tuning.minimal import TakenBack
from promptkit.tuning.options import TuneOptions
from promptkit.tuning.pareto import late_trials, pareto_front
from promptkit.tuning.progress import Lead
from promptkit.tuning.repeatability import Repeatability
from promptkit.tuning.search_space.candidate import Candidate
from promptkit.tuning.trials import Estimates, SearchResult
from promptkit.tuning.tune_record import ObjectiveRecord, PriorRecord, TuneRecord
from promptkit.tuning.weights.stage import WeightsResult

NOT_CONFIRMED = "it ended before a candidate was chosen"


@dataclass(slots=True, kw_only=True)
class TuningState:
    """The state of a tuning run, from which its record is made."""

    number: int
    target: str
    model: Model
    why: str
    options: TuneOptions
    split: DataSplit
    estimates: Estimates
    smallest_gain: float | None
    result: SearchResult = field(default_factory=SearchResult)
    confirmation: Confirmation | None = None
    constant: ConstantAnswer | None = None
    repeatability: Repeatability | None = None
    ablation: Sequence[Contribution] = ()
    taken_back: Sequence[TakenBack] = ()
    weights: WeightsResult | None = None
    weights_gain: WeightsGain | None = None
    forgetting: Forgetting | None = None
    prior: PriorRecord | None = None
    diff: str = ""
    written: Sequence[str] = ()
    stopped_by: str = "done"
    applied: bool = False
    seconds: float = 0.0
    notes: Sequence[str] = ()
    leads: Sequence[Lead] = ()


def metric_record(metric: Metric) -> ObjectiveRecord:
    """Return the objective's metric as the record has it."""
    return ObjectiveRecord(
        name=metric.name,
        kind=metric.kind,
        bounds=list(metric.bounds or ()),
        higher_is_better=metric.higher_is_better,
    )


def tuning_record(state: TuningState, status: str) -> TuneRecord:
    """Return the record of a tuning run, finished or not."""
    split, estimates, result, options = state.split, state.estimates, state.result, state.options
    metric, budget, confirmation = estimates.evaluator.metric, estimates.evaluator.budget, state.confirmation
    record = {
        "run": state.number,
        "target": state.target,
        "suite": split.suite.name,
        "metric": metric_record(metric),
        "status": status,
        "model": {"reference": state.model.reference, "digest": state.model.digest, "why": state.why},
        "optimizer": options.optimizer,
        "mode": options.mode,
        "seed": options.seed,
        "prefer": options.prefer,
        "budget": options.limits.record(),
        "rows": {
            "search": len(split.search),
            "pool": len(split.demo_pool),
            "confirm": len(split.holdout),
            "wrong": split.wrong,
            "duplicates": split.duplicates,
            "independent": split.independent_size,
            **({"generated": split.generated_holdout} if split.generated_holdout else {}),
            "salt": split.salt,
            "share": split.share,
        },
        "stages": [stage.record() for stage in result.stages],
        "candidates": _candidates(state),
        "baseline": _side(state, is_incumbent=False),
        "best": _side(state, is_incumbent=True),
        "confirmation": confirmation.record() if confirmation and confirmation.looks else None,
        "difference": confirmation.difference.record() if confirmation and confirmation.difference else None,
        "constant": state.constant.record() if state.constant else None,
        "repeatability": state.repeatability.record() if state.repeatability else None,
        "verdict": confirmation.outcome if confirmation else "not shown",
        "why": confirmation.why if confirmation else NOT_CONFIRMED,
        "ordinal": confirmation.ordinal if confirmation else 0,
        "rows_needed": confirmation.rows_needed if confirmation else None,
        **_evidence(state),
        "smallest_shown": state.smallest_gain,
        "ablation": [contribution.record() for contribution in state.ablation],
        "taken_back": [change.record() for change in state.taken_back],
        **_weights(state),
        "prior": state.prior,
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


def _weights(state: TuningState) -> dict[str, Any]:
    """Return the gain of training and the loss on the kept suite, as far as they were asked for."""
    found: dict[str, Any] = {}
    if (weights := state.weights) is not None:
        gain, evaluator = state.weights_gain, state.estimates.evaluator
        confirmed = state.confirmation.rows if state.confirmation else ()
        found["weights"] = {
            "compared": len(weights.compared),
            "trained": [choice.record() for choice in weights.trained],
            "prompt": {
                "variant": evaluator.variant(weights.prompt).name,
                "choices": weights.prompt.record(),
                "changes": weights.prompt.changes,
                "confirm": _estimated(evaluator, weights.prompt, confirmed) if gain is not None else None,
            },
            **(gain.record() if gain is not None else {}),
        }
    if state.forgetting is not None:
        found["keep"] = state.forgetting.record()
    return found


def _evidence(state: TuningState) -> dict[str, Any]:
    """Return the evidence of the report beside the verdict."""
    estimates, result, confirmation = state.estimates, state.result, state.confirmation
    calls = estimates.evaluator.budget.spent
    left_out, calls_for_all = calls_for_all_candidates(estimates, result.trials, calls)
    found: dict[str, Any] = {
        "curve": curve_record(estimates, state.leads),
        "left_out": left_out,
        "calls_for_all": calls_for_all,
    }
    if confirmation is not None and (difference := confirmation.difference) is not None:
        found["turned"] = turned_record(estimates, result.calibrated, confirmation.rows)
        if confirmation.outcome != "improved":
            found["rows_for_gain"] = rows_for_gain(estimates, result.calibrated, confirmation.rows, difference.level)
    return found


def _candidates(state: TuningState) -> list[dict[str, Any]]:
    """Return the trials on the whole target, those with the most rows first, each marked if it is on the Pareto
    front.
    """
    trials = [trial for trial in state.result.trials.values() if trial.rows]
    far = late_trials(trials)
    means = [state.estimates.means(trial.candidate, trial.rows) for trial in far]
    on_front = {trial.candidate.key for trial, is_on in zip(far, pareto_front(means), strict=True) if is_on}
    incumbent = state.result.incumbent.key
    records = [
        {
            **state.estimates.trial_record(trial),
            "gain": gain_record(state.estimates, trial.candidate, trial.rows) if trial.candidate.changes else None,
            "front": trial.candidate.key in on_front,
            "start": not trial.candidate.changes,
            "pick": trial.candidate.key == incumbent,
        }
        for trial in trials
    ]
    return sorted(records, key=lambda record: (-record["rows"], -(record["mean"] or 0.0)))


def _side(state: TuningState, *, is_incumbent: bool) -> dict[str, Any]:
    """Return the start or the incumbent, with its estimates on search rows and on held-out rows."""
    result, evaluator = state.result, state.estimates.evaluator
    searched = result.incumbent if is_incumbent else Candidate()
    confirmed = result.calibrated if is_incumbent else Candidate()
    # The start is not calibrated: calibrated, it would be another candidate.
    is_calibrated = is_incumbent and searched.key != confirmed.key
    trial = result.trials.get(searched.key)
    search: Mapping[str, Any] | None = None
    if trial is not None and trial.rows:
        search = _searched(state.estimates, searched, trial.rows, is_calibrated=is_calibrated)
    compared = result.trials.get(result.incumbent.key)
    both = shared_rows(state.estimates, compared.rows) if compared is not None else []
    confirm: dict[str, Any] | None = None
    if state.confirmation is not None and state.confirmation.difference is not None:
        confirm = _estimated(evaluator, confirmed, state.confirmation.rows)
        confirm |= _warnings(evaluator, confirmed, state.confirmation.rows)
    choices: dict[str, Any] = {"choices": {}}
    if is_incumbent:
        choices = {"choices": confirmed.record(), "changes": confirmed.changes}
    return {
        "variant": evaluator.variant(confirmed).name,
        **choices,
        "search": search and {**search, **_warnings(evaluator, searched, trial.rows if trial else ())},
        "shared": _searched(state.estimates, searched, both, is_calibrated=is_calibrated) if both else None,
        "confirm": confirm,
    }


def _searched(
    estimates: Estimates, candidate: Candidate, rows: Sequence[int], *, is_calibrated: bool
) -> dict[str, Any]:
    return (
        estimates.estimate_record(candidate, rows)
        if is_calibrated
        else _estimated(estimates.evaluator, candidate, rows)
    )


def _warnings(evaluator: Evaluator, candidate: Candidate, rows: Sequence[int]) -> dict[str, Any]:
    """Return the number of answers with each warning, if there are some."""
    results = list(evaluator.results(candidate, rows))
    found = Counter(name for result in results for name in result.warnings)
    if not found:
        return {}
    warned_by = merged_sources(result.warned_by for result in results)
    return {"warnings": in_table_order(found), **({"warned_by": warned_by} if warned_by else {})}


def _estimated(evaluator: Evaluator, candidate: Candidate, rows: Sequence[int]) -> dict[str, Any]:
    estimate = evaluator.estimate(candidate, rows)
    return {"mean": estimate.mean, "low": estimate.low, "high": estimate.high, "n": estimate.n}
