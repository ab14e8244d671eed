"""A run of the store without its suite: its metrics as it was made with them, and what its cells say by these."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from promptkit.errors import InputError
from promptkit.evaluation.metrics import Around, Metric, Score, kind_named
from promptkit.evaluation.scoring import checked, missing_score
from promptkit.evaluation.summary import variant_record
from promptkit.evaluation.tally import Clusters, Tally
from promptkit.storage import DAMAGED

if TYPE_CHECKING:
    from promptkit.evaluation.stored_run import StoredRun
    from promptkit.project import Project


_TOLD = {
    "running": "the run goes on: this is what it says so far",
    DAMAGED: "the run's record was damaged: this is what its cells say",
}


@dataclass(frozen=True, slots=True)
class BuiltMetrics:
    """The metrics of a run in the suite's order; `gone` says of those that cannot be built any more why."""

    metrics: Mapping[str, Metric]
    gone: Mapping[str, str]


def kind_record(metric: Metric) -> dict[str, Any]:
    """Return what builds a metric again, as JSON; with the labels that the answer's type has, where it tells them."""
    labels = {"labels": list(metric.declared)} if metric.declared else {}
    return {"kind": metric.kind, "parameters": metric.parameters.model_dump(mode="json", by_alias=True), **labels}


def build_metrics(view: StoredRun, project: Project) -> BuiltMetrics:
    """Return the metrics that a run was made with; the files that some of them name are read as they are now.

    Raises InputError for a run that an earlier promptkit kept.
    """
    if "kinds" not in view.how:
        hint = "evaluate again: what is known is not asked"
        raise InputError(f"run {view.number} does not say how its metrics were made", hint=hint)
    metrics: dict[str, Metric] = {}
    gone: dict[str, str] = {}
    for name, made in view.how["kinds"].items():
        around = Around(project=project, folder=project.root / view.how["folder"], metrics=dict(metrics))
        try:
            kind = kind_named(made["kind"])
            metrics[name] = metric = kind(name, kind.Parameters.model_validate(made["parameters"]), around)
            metric.declared = tuple(made.get("labels", ()))
        except InputError as error:
            gone[name] = "; ".join(problem.message for problem in error.problems)
        except ValueError:
            gone[name] = f"this version of promptkit reads the parameters of `{made['kind']}` otherwise"
    return BuiltMetrics(metrics, gone)


def _usable(metric: Metric, score: Score) -> Score:
    """Return a kept score, a missing one where the metric cannot make its numbers of what was kept."""
    try:
        return checked(metric, score)
    except Exception as error:
        return missing_score(error)


def rebuilt_record(view: StoredRun, project: Project) -> dict[str, Any]:
    """Return the record of a run that has none, since it was killed or goes on, from its cells: nothing is compared."""
    how, built = view.how, build_metrics(view, project)
    tallies = {name: Tally(tuple(built.metrics.values()), how["repeat"]) for name in view.variants}
    clusters = Clusters(how["cluster"])
    number, index = 0, -1
    for cell in view.cells():
        if cell.row != number:
            number, index = cell.row, index + 1
            clusters.add(cell.fields)
        scores = {
            name: _usable(built.metrics[name], each) for name, each in cell.scores.items() if name in built.metrics
        }
        tallies[cell.variant].put(index, cell.repeat, cell, scores, known=False)
    told = _TOLD.get(view.status, "the run was killed: this is what it had by then")
    return {
        "run": view.number,
        "suite": view.suite,
        "about": "",
        "target": how["target"],
        "status": view.status,
        "model": {**view.model, "why": "", "replayed": None},
        "exact": how["exact"],
        "in_flight": how["in_flight"],
        "limited": how["limited"],
        "data": how["data"],
        "known": 0,
        "before": None,
        "seconds": round((view.ended or time.time()) - view.started, 3),
        "rows": how["rows"],
        "repeat": how["repeat"],
        "variants": [
            {
                **variant_record(name, view.settings[name], tally, how["rows"] * how["repeat"], clusters.array(), None),
                "fallbacks": how.get("fallbacks", {}).get(name, []),
            }
            for name, tally in tallies.items()
        ],
        "comparisons": [],
        "missing_allowed": False,
        "thresholds": [],
        "against": None,
        "notes": [told, *(f"`{name}` cannot be measured any more: {why}" for name, why in built.gone.items())],
    }
