"""Evaluates candidates on a suite's rows, within a budget, and keeps the results in the store."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import groupby
from typing import Any

import numpy as np
from numpy.typing import NDArray

from promptkit.engine.render import render
from promptkit.engine.results import calls_of
from promptkit.errors import BudgetSpent, InputError, Problem, PromptkitError, RuntimeFailure
from promptkit.evaluation.cells.cell import Cell, read_cell
from promptkit.evaluation.cells.execution import Execution
from promptkit.evaluation.cells.progress import Defects, EvalOptions
from promptkit.evaluation.cells.scoring import measure_cell
from promptkit.evaluation.metrics.base import Estimate, Metric, Sample, judge_usage
from promptkit.evaluation.metrics.judge import Judge
from promptkit.evaluation.metrics.score import Score
from promptkit.evaluation.metrics.turns import EachTurn
from promptkit.evaluation.suite.data import BoundRow
from promptkit.evaluation.suite.suite import Measure, Suite, Variant, answer_type, read_variant
from promptkit.runtimes.base import Model
from promptkit.runtimes.budget import Budget
from promptkit.runtimes.models import Models
from promptkit.storage.store import Store
from promptkit.techniques.warnings import WarnedBy, merged_sources
from promptkit.tuning.search_space.candidate import AGAIN, Candidate, distinct
from promptkit.tuning.search_space.equal_requests import FINGERPRINT_ROWS, Rehearsal, rehearse_target

MODEL_GONE = "the model failed repeatedly"
RESUMES = "answers received so far are kept: run the same command again to resume"
"""The hint of an error that ends a search in the middle."""


class SearchFailed(RuntimeFailure):
    """A model, server or tool is gone in the middle of a search. Answers received so far are kept."""


@dataclass(frozen=True, slots=True)
class RowResult:
    """The result of one candidate on one row, over all repeats.

    `score`: in [0, 1], higher is better; None if missing, and where the metric applies to no answer (`exempt`).
    `values`: the numbers that the metric estimates from, one tuple per repeat that has a score. `unparsed`: the share
    of repeats that do not parse or were cut off. `calls` includes those of a judge, whose tokens are `judge_tokens`.
    `cell_numbers`: the cells in the store, one per repeat. `warnings`: those of all repeats; `warned_by`: the
    techniques that gave them. `kept`: all answers were in the store, from an earlier run.
    """

    score: float | None
    values: tuple[tuple[float, ...], ...]
    unparsed: float
    calls: int
    tokens: int
    judge_tokens: int
    seconds: float
    output: Any
    steps: Mapping[str, Any]
    problem: str
    cell_numbers: tuple[int, ...]
    warnings: tuple[str, ...] = ()
    warned_by: WarnedBy = field(default_factory=dict)
    exempt: bool = False
    kept: bool = field(default=False, compare=False)


class Evaluator:
    """Evaluates candidates on a suite's rows and stores the results. The suite's first metric is the objective.

    `suite` has one variant, the start. `rows` are all rows that may be asked for, named by their places; `clusters`
    names the cluster of each, None if all are independent. `number` is the run that the cells belong to, `prefix` is
    put before variant names. Only `evaluate` sends requests.
    `last_failure` is the last failure of a server or its connection, which says nothing about the cell that met it.
    `defects` collects unexpected exceptions. Create it where the event loop runs.
    """

    def __init__(
        self,
        suite: Suite,
        rows: Sequence[BoundRow],
        *,
        models: Models,
        store: Store,
        budget: Budget,
        number: int,
        eval_options: EvalOptions | None = None,
        prefix: str = "",
        clusters: Sequence[str] | None = None,
    ) -> None:
        self.suite = replace(suite, measures=tuple(map(without_reasons, suite.measures)))
        self.rows = tuple(rows)
        self._clusters = clusters
        self.budget = budget
        self.notices: list[str] = []
        self.requests_sent = 0
        self.last_failure = ""
        self.defects = Defects()
        self._models = models.within(budget)
        self._store = store
        self._number = number
        self._options = replace(eval_options or EvalOptions(), retry_errors=True, gives_up_on_defects=False)
        self._prefix = prefix
        self._variants: dict[str, Variant] = {}
        self._names: dict[str, str] = {}
        self._spent: BudgetSpent | None = None
        self._results: dict[tuple[str, int], RowResult] = {}
        self._rehearsals: dict[tuple[str, tuple[int, ...]], Rehearsal] = {}
        self._places = {row.row.number: place for place, row in enumerate(self.rows)}

    @property
    def metric(self) -> Metric:
        """The metric that is optimized."""
        return self.suite.measures[0].metric

    def variant(self, candidate: Candidate) -> Variant:
        """Return the target with a candidate's changes. Raises InputError if the target cannot take them."""
        key = candidate.key
        if key not in self._variants:
            if not candidate.changes or candidate == AGAIN:
                self._variants[key] = replace(self.suite.baseline, name=self._name(candidate))
            else:
                settings = self.suite.source
                self._variants[key] = read_variant(self._name(candidate), candidate.changes, settings, Problem)
        return self._variants[key]

    async def evaluate(self, candidates: Sequence[Candidate], rows: Sequence[int]) -> None:
        """Evaluate candidates on rows, named by their places. Results that exist are not asked for again.

        Raises BudgetSpent once the budget allows no request, SearchFailed if the model is gone, InputError for a
        candidate that the target cannot take, and StoreFailed. What finished before that is kept.
        """
        lacking = {
            candidate.key: tuple(row for row in rows if (candidate.key, row) not in self._results)
            for candidate in candidates
        }
        ordered = sorted(distinct(candidates), key=lambda candidate: lacking[candidate.key])
        for missing, group in groupby(ordered, key=lambda candidate: lacking[candidate.key]):
            if missing:
                await self._execute(list(group), missing)

    def add_result(self, candidate: Candidate, row: int, result: RowResult) -> None:
        """Add a result that takes no request: that of a constant answer, which no target gives."""
        self._results[candidate.key, row] = result

    def score_output(self, row: int, output: Any, steps: Mapping[str, Any]) -> Score:
        """Return the objective's score of an output for a row, as if the start had given it. Sends no request.

        `steps` are the results of the target's steps. Only for a metric that is scored without requests.
        """
        bound, measure = self.rows[row], self.suite.measures[0]
        cell = Cell(
            variant="",
            row=bound.row.number,
            repeat=0,
            fields=bound.row.fields,
            output=output,
            steps=steps,
            source=bound,
        )
        return measure_cell(measure, cell, bound.expected[0], answer_type(self.suite.baseline.pipeline))

    def result(self, candidate: Candidate, row: int) -> RowResult | None:
        """Return a result if there is one."""
        return self._results.get((candidate.key, row))

    def _counted(self, candidate: Candidate, row: int) -> RowResult | None:
        """Return a result that counts for its candidate: not that on a row whose answer it shows."""
        return None if row in candidate.shows else self.result(candidate, row)

    def results(self, candidate: Candidate, rows: Sequence[int]) -> Iterator[RowResult]:
        """Yield the results that there are on rows."""
        results = (self._results.get((candidate.key, row)) for row in rows)
        return (result for result in results if result is not None)

    def known_rows(self, candidate: Candidate, order: Sequence[int]) -> int:
        """Return the number of rows of an order, from its first, that a candidate has results on."""
        return next((at for at, row in enumerate(order) if self.result(candidate, row) is None), len(order))

    def problems(self) -> Iterator[str]:
        """Yield the problem of each result without a score."""
        return (result.problem for result in self._results.values() if result.score is None and not result.exempt)

    def scores(self, candidate: Candidate, rows: Sequence[int]) -> NDArray[np.float64]:
        """Return the scores on rows as (rows,), NaN where there is none, and on rows that the candidate shows."""
        results = (self._counted(candidate, row) for row in rows)
        scores = (None if result is None else result.score for result in results)
        return np.array([np.nan if score is None else score for score in scores], dtype=np.float64)

    def applicable(self, candidates: Sequence[Candidate], rows: Sequence[int]) -> list[int]:
        """Return the rows without those whose answers by all of the candidates the metric does not apply to."""
        results = {row: [self._results.get((candidate.key, row)) for candidate in candidates] for row in rows}
        return [row for row, found in results.items() if not all(result and result.exempt for result in found)]

    def sample(self, candidate: Candidate, rows: Sequence[int]) -> Sample:
        """Return the metric's values on rows, for its estimate and its difference."""
        values: list[tuple[float, ...]] = []
        at: list[int] = []
        for row in rows:
            result = self._counted(candidate, row)
            row_values = result.values if result is not None else ()
            values += row_values
            at += [row] * len(row_values)
        array = np.array(values, dtype=np.float64).reshape(-1, len(self.metric.columns))
        numbers = np.array(at, dtype=np.int64)
        clusters = self.clusters(at)
        return Sample(array, numbers, numbers if clusters is None else clusters)

    def clusters(self, rows: Sequence[int]) -> NDArray[np.int64] | None:
        """Return the cluster code of each row; None if all rows are independent."""
        if self._clusters is None:
            return None
        codes: dict[str, int] = {}
        return np.array([codes.setdefault(self._clusters[row], len(codes)) for row in rows], dtype=np.int64)

    def estimate(self, candidate: Candidate, rows: Sequence[int]) -> Estimate:
        """Return the metric's estimate of a candidate from its results on rows, in the metric's own units."""
        return self.metric.estimate(self.sample(candidate, rows))

    def label(self, candidate: Candidate) -> str:
        """Return a candidate's name for people, with step names if the target has several steps."""
        return candidate.label(with_steps=len(self.suite.baseline.pipeline.steps) > 1)

    async def deduplicate(self, candidates: Sequence[Candidate], rows: Sequence[int]) -> list[Candidate]:
        """Return one of the candidates that send equal requests, with the fewest changes, in the place of the first.

        It gets the results that the others have. Sends no request.
        """
        kept: dict[str, Candidate] = {}
        for candidate in candidates:
            key = (await self.rehearse(candidate, rows[:FINGERPRINT_ROWS])).key
            other = kept.setdefault(key, candidate)
            if len(candidate.changes) < len(other.changes):
                kept[key], candidate, other = candidate, other, candidate
            self.share_results(other, candidate)
        return list(kept.values())

    async def rehearse(self, candidate: Candidate, rows: Sequence[int]) -> Rehearsal:
        """Return the requests that a candidate would send on rows, as far as they are known without a reply."""
        key = candidate.key, tuple(rows)
        if key not in self._rehearsals:
            values = [self.rows[row].inputs[0] for row in rows]
            pipeline = self.variant(candidate).pipeline
            self._rehearsals[key] = await rehearse_target(pipeline, candidate.changes, values, self._models)
        return self._rehearsals[key]

    def share_results(self, candidate: Candidate, other: Candidate) -> None:
        """Give a candidate the results of another that sends the same requests."""
        shared = {row: result for (key, row), result in self._results.items() if key == other.key}
        for row, result in shared.items():
            self._results.setdefault((candidate.key, row), result)

    async def request_size(self, candidate: Candidate, row: int) -> int:
        """Return the characters of a candidate's first requests on a row, 0 if they cannot be rendered. Sends none."""
        try:
            rendered = await render(self.variant(candidate).pipeline, self.rows[row].inputs[0], models=self._models)
        except PromptkitError:
            return 0
        return sum(len(message.content) for step in rendered for message in step.request.messages)

    def has_same_requests(self, candidate: Candidate, other: Candidate, rows: Sequence[int]) -> bool:
        """Tell whether two candidates sent the same requests on rows, and got the same answers."""
        pairs = [(self.result(candidate, row), self.result(other, row)) for row in rows]
        results = [(one, two) for one, two in pairs if one is not None and two is not None]
        if len(results) < len(pairs) or not all(_are_alike(one, two) for one, two in results):
            return False
        return all(self._requests(one) == self._requests(two) != [] for one, two in results)

    def _requests(self, result: RowResult) -> list[Any]:
        calls = calls_of(self.trace(result))
        return [[call.get(key) for key in ("messages", "begun", "prompt", "options")] for call in calls]

    async def model(self, candidate: Candidate, step: str) -> Model:
        """Return the model that answers a step. Raises the error of a missing model."""
        variant = self.variant(candidate)
        return await (await self._models.get(variant.pipeline.steps[step].model or variant.model)).model()

    def cells(self, candidate: Candidate, rows: Collection[int]) -> dict[int, Cell]:
        """Return a candidate's stored cells by their rows, of each row the first repeat, without damaged ones."""
        numbers = {self.rows[row].row.number: row for row in rows}
        found: dict[int, Cell] = {}
        for kept in self._store.cells.of_run(self._number, variant=self.variant(candidate).name):
            if kept.repeat == 0 and (row := numbers.get(kept.row)) is not None:
                with self._store.damage.skipping():
                    found[row] = read_cell(kept)
        return found

    def trace(self, result: RowResult) -> Mapping[str, Any]:
        """Return the trace record of a result's first repeat; empty if it is damaged."""
        return self._store.cells.trace_record(result.cell_numbers[0]) or {}

    async def _execute(self, candidates: Sequence[Candidate], rows: Sequence[int]) -> None:
        held = tuple(self.rows[row].row for row in rows)
        suite = replace(
            self.suite,
            data=replace(self.suite.data, held=held, only=(), limit=None),
            variants=tuple(self.variant(candidate) for candidate in candidates),
        )
        answered: dict[tuple[str, int], list[Cell]] = {}
        execution = Execution(
            suite,
            counted=suite.data.count(),
            models=self._models,
            store=self._store,
            options=self._options,
            on_cell=partial(self._on_cell, candidates, answered),
        )
        await execution.open()
        self._spent = None
        try:
            await execution.run(self._number)
        finally:
            for (key, row), cells in answered.items():
                if len(cells) == suite.repeat:
                    self._results[key, row] = self._row_result(sorted(cells, key=lambda cell: cell.repeat))
        self.notices = list(dict.fromkeys([*self.notices, *execution.notices]))
        self.last_failure = execution.progress.broken or self.last_failure
        self.defects.add(execution.progress.defects)
        if self._spent is not None:
            raise self._spent
        if execution.progress.gave_up:
            raise SearchFailed(execution.progress.failure or MODEL_GONE, hint=RESUMES)

    def _on_cell(
        self, candidates: Sequence[Candidate], answered: dict[tuple[str, int], list[Cell]], cell: Cell
    ) -> None:
        if not cell.is_kept:
            self.requests_sent += cell.calls - cell.cached
        elif not self._is_charged(cell):
            return
        key = candidates[cell.place].key, self._places[cell.row]
        answered.setdefault(key, []).append(cell)

    def _is_charged(self, cell: Cell) -> bool:
        """Charge a stored cell to the budget as if it were asked; after a refusal, charge no more."""
        if self._spent is None:
            calls, tokens = cell.calls, cell.tokens_in + cell.tokens_out
            for score in cell.kept_scores.values():
                judge_calls, judge_tokens = judge_usage(score)
                calls, tokens = calls + judge_calls, tokens + judge_tokens
            try:
                self.budget.charge(calls, tokens)
            except BudgetSpent as spent:
                self._spent = spent
        return self._spent is None

    def _row_result(self, cells: Sequence[Cell]) -> RowResult:
        name = self.suite.measures[0].name
        given = [score for cell in cells if (score := cell.scores.get(name))]
        exempt = sum(not score.applies for score in given)
        scores = [score for score in given if score.value is not None]
        marks = [self.normalized(score.value) for score in scores if score.value is not None]
        return RowResult(
            score=sum(marks) / len(marks) if marks and len(marks) == len(cells) - exempt else None,
            values=tuple(tuple(self.metric.numbers(score)) for score in scores),
            unparsed=sum(cell.flag in ("unparsed", "truncated") for cell in cells) / len(cells),
            calls=sum(cell.calls for cell in cells) + sum(judge_usage(score)[0] for score in scores),
            tokens=sum(cell.tokens_in + cell.tokens_out for cell in cells),
            judge_tokens=sum(judge_usage(score)[1] for score in scores),
            seconds=sum(cell.seconds for cell in cells),
            output=cells[0].output,
            steps=cells[0].steps,
            problem=next(filter(None, [*(cell.problem for cell in cells), *(score.why for score in given)]), ""),
            cell_numbers=tuple(cell.number for cell in cells),
            warnings=tuple(name for cell in cells for name in cell.warned),
            warned_by=merged_sources(cell.warned_by for cell in cells),
            exempt=exempt == len(cells),
            kept=all(cell.is_kept for cell in cells),
        )

    def normalized(self, value: float) -> float:
        """Return a value of the metric mapped to [0, 1], higher is better."""
        bounds = self.metric.bounds
        assert bounds is not None, "an objective has bounds"
        share = (value - bounds[0]) / (bounds[1] - bounds[0])
        return share if self.metric.higher_is_better else 1.0 - share

    def _name(self, candidate: Candidate) -> str:
        """Return a unique variant name: the store tells the variants of a run apart by it."""
        key, name = candidate.key, f"{self._prefix}{self.label(candidate)}"
        owner = self._names.setdefault(name, key)
        return name if owner == key else f"{name} ({key[:6]})"


def _are_alike(one: RowResult, two: RowResult) -> bool:
    return (one.output, one.score, one.calls, one.tokens) == (two.output, two.score, two.calls, two.tokens)


def without_reasons(measure: Measure) -> Measure:
    """Return a measure whose judge gives no reasons, which would use up the budget of a search."""
    metric = measure.metric
    if measure.turn is not None:
        turn = without_reasons(measure.turn)
        return replace(measure, turn=turn, metric=EachTurn(turn.metric))
    return replace(measure, metric=metric.without_reasons()) if isinstance(metric, Judge) else measure


def partition_valid(
    evaluator: Evaluator, candidates: Sequence[Candidate]
) -> tuple[list[Candidate], list[tuple[Candidate, str]]]:
    """Return the candidates that the target can take, and the others, each with its problem."""
    good, wrong = [], []
    for candidate in candidates:
        try:
            evaluator.variant(candidate)
            good.append(candidate)
        except InputError as error:
            wrong.append((candidate, "; ".join(str(problem) for problem in error.problems)))
    return good, wrong


_ITEM_NUMBER = re.compile(r"\[(\d+)\]$")


def step_nodes(trace: Mapping[str, Any], step: str) -> list[Mapping[str, Any]]:
    """Return the trace nodes in which a step asked: its own, or those of its items in order."""
    node = next((part for part in trace.get("parts", ()) if part["name"] == step), None)
    if node is None:
        return []
    items = [part for part in node["parts"] if part["kind"] == "item"]
    return sorted(items, key=_item_number) or [node]


def _item_number(item: Mapping[str, Any]) -> int:
    match = _ITEM_NUMBER.search(item["name"])
    return int(match[1]) if match else 0
