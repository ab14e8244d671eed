"""A run in the store: its cells, its metrics built again, and its summary recomputed where it was killed."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from itertools import groupby
from typing import Any

from promptkit.engine.requirements import Fallback
from promptkit.errors import InputError
from promptkit.evaluation.cells.cell import Cell, read_cell
from promptkit.evaluation.cells.clusters import Clusters
from promptkit.evaluation.cells.scoring import checked_score, missing_score
from promptkit.evaluation.cells.tally import Tally
from promptkit.evaluation.metrics.base import Metric, MetricContext
from promptkit.evaluation.metrics.registry import kind_named
from promptkit.evaluation.metrics.score import Score
from promptkit.evaluation.metrics.turns import TURN, EachTurn
from promptkit.evaluation.record import AnsweringModel, EvalRecord
from promptkit.evaluation.suite.generated import generated_note, is_generated
from promptkit.evaluation.summary import variant_record
from promptkit.project import Project
from promptkit.storage.records import check_shape
from promptkit.storage.repair import DAMAGED
from promptkit.storage.shapes import EvalInputsShape
from promptkit.storage.store import Run, Store

KIND = "eval"
"""The kind of a run in the store that is an evaluation."""


class StoredRun:
    """A `RunView` of a run of the kind `eval`; tunings have a subclass.

    Raises DamagedRecord where it does not say how it was made.
    """

    def __init__(self, store: Store, run: Run) -> None:
        self._store = store
        self.number = run.number
        self.suite = run.target
        self.status = run.status
        self.started = run.started
        self.ended = run.ended
        self.model: Mapping[str, str] = run.model
        self._record = run.record
        self.how: Mapping[str, Any] = self._read_settings(run)
        self.settings: Mapping[str, Mapping[str, Any]] = self.how.get("variants", {})
        self.variants: tuple[str, ...] = tuple(self.settings)
        self.metrics: tuple[str, ...] = tuple(self.how.get("metrics", ()))

    @property
    def default_variant(self) -> str:
        """The variant that is shown where none is named."""
        return self.variants[0]

    @property
    def about(self) -> str:
        """A note on the origin of the cells, for a record that is recomputed from them."""
        return _NOTES.get(self.status, "the run was killed: these are the cells that it had by then")

    @cached_property
    def record(self) -> EvalRecord | None:
        """The record of the run; None where it was killed or goes on. Raises DamagedRecord."""
        if not self._record:
            return None
        return check_shape(self._record, EvalRecord, f"runs {self.number}, `record`")

    def cells(self, variant: str | None = None, *, first: int = 0) -> Iterator[Cell]:
        """Yield the cells in the order of rows, then variants, then repeats; of one variant where it is named.

        `first` is the number of the row to begin with. Damaged cells are left out.
        """
        for kept in self._store.cells.of_run(self.number, variant=variant, first=first):
            with self._store.damage.skipping():
                cell = read_cell(kept)
                cell.read_trace = self._store.cells.trace_reader(kept.number)
                yield cell

    def trace(self, cell: int) -> Mapping[str, Any] | None:
        """Return a cell's trace record, None where it has none or a damaged one."""
        return self._store.cells.trace_record(cell)

    def _read_settings(self, run: Run) -> Mapping[str, Any]:
        how = run.inputs or {}
        is_evaluation = run.kind == KIND and how
        return check_shape(how, EvalInputsShape, f"runs {run.number}, `inputs`") if is_evaluation else how


_NOTES = {
    "running": "the run has not ended: these are its cells so far",
    DAMAGED: "the run's record was damaged: this is recomputed from its cells",
}


@dataclass(frozen=True, slots=True)
class RunMetrics:
    """The metrics of a run in the suite's order; `gone` has the reasons for those that cannot be built any more."""

    metrics: Mapping[str, Metric]
    gone: Mapping[str, str]


def kind_record(metric: Metric) -> dict[str, Any]:
    """Return the JSON that builds a metric again, with the labels of the answer's type, where it has any."""
    more: dict[str, Any] = {"labels": list(metric.declared)} if metric.declared else {}
    more |= {"each": TURN} if isinstance(metric, EachTurn) else {}
    return {"kind": metric.kind, "parameters": metric.parameters.model_dump(mode="json", by_alias=True), **more}


def build_metrics(view: StoredRun, project: Project) -> RunMetrics:
    """Return the metrics that a run was made with; the files that some of them name are read as they are now.

    Raises InputError for a run that an earlier promptkit kept.
    """
    if "kinds" not in view.how:
        hint = "evaluate again: what is known is not asked"
        raise InputError(f"run {view.number} does not say how its metrics were made", hint=hint)
    metrics: dict[str, Metric] = {}
    gone: dict[str, str] = {}
    for name, made in view.how["kinds"].items():
        around = MetricContext(project=project, folder=project.root / view.how["folder"], metrics=dict(metrics))
        try:
            kind = kind_named(made["kind"], project.root)
            metrics[name] = metric = kind(name, kind.Parameters.model_validate(made["parameters"]), around)
            metric.declared = tuple(made.get("labels", ()))
            if made.get("each") == TURN:
                metrics[name] = EachTurn(metric)
        except InputError as error:
            gone[name] = "; ".join(problem.message for problem in error.problems)
        except ValueError:
            gone[name] = f"this version of promptkit reads the parameters of `{made['kind']}` otherwise"
    return RunMetrics(metrics, gone)


def _usable_score(metric: Metric, score: Score) -> Score:
    """Return a kept score, a missing one where the metric cannot make its numbers of it."""
    try:
        return checked_score(metric, score)
    except Exception as error:
        return missing_score(error)


def recomputed_record(view: StoredRun, project: Project) -> EvalRecord:
    """Return the record of a run that has none, since it was killed or goes on, from its cells: nothing is compared."""
    how, built = view.how, build_metrics(view, project)
    tallies = {name: Tally(tuple(built.metrics.values()), how["repeat"]) for name in view.variants}
    clusters = Clusters(how["cluster"])
    generated = 0
    for index, (_, row) in enumerate(groupby(view.cells(), key=lambda cell: cell.row)):
        cells = list(row)
        generated += is_generated(cells[0].fields)
        clusters.add(cells[0].fields, [cell.number for cell in cells if cell.repeat == 0])
        for cell in cells:
            cell.scores = {
                name: _usable_score(built.metrics[name], score)
                for name, score in cell.scores.items()
                if name in built.metrics
            }
            tallies[cell.variant].put(index, cell, known=False)
    record = EvalRecord(
        run=view.number,
        suite=view.suite,
        about="",
        target=how["target"],
        status=view.status,
        model=AnsweringModel.model_validate({**view.model, "why": "", "replayed": None}),
        exact=how["exact"],
        in_flight=how["in_flight"],
        limited=how["limited"],
        data=how["data"],
        known=0,
        seconds=round((view.ended or time.time()) - view.started, 3),
        before=None,
        notes=[
            view.about,
            *([generated_note(generated, how["rows"])] if generated else []),
            *clusters.notes(),
            *(f"`{name}` cannot be measured any more: {why}" for name, why in built.gone.items()),
        ],
        rows=how["rows"],
        repeat=how["repeat"],
        variants=[
            variant_record(
                name,
                view.settings[name],
                tally,
                how["rows"] * how["repeat"],
                clusters.array(),
                cost=None,
                fallbacks=[Fallback(**fallback) for fallback in how.get("fallbacks", {}).get(name, [])],
            )
            for name, tally in tallies.items()
        ],
        comparisons=[],
        missing_allowed=False,
        thresholds=[],
        against=None,
    )
    return record.model_copy(update={"generated": generated}) if generated else record
