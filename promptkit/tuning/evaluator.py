"""Evaluates candidates on a suite's rows, within a budget, and keeps the results in the store."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import groupby
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from promptkit.engine.pipeline import Pipeline
from promptkit.engine.render import render
from promptkit.errors import BudgetSpent, InputError, Problem, PromptkitError, RuntimeFailure
from promptkit.evaluation.cells.cell import Cell
from promptkit.evaluation.cells.execution import Execution
from promptkit.evaluation.cells.progress import Defects, EvalOptions
from promptkit.evaluation.metrics.base import Estimate, Metric, Sample, judge_usage
from promptkit.evaluation.metrics.judge import Judge
from promptkit.evaluation.metrics.turns import EachTurn
from promptkit.evaluation.suite.data import BoundRow
from promptkit.evaluation.suite.suite import Measure, Suite, Variant, read_variant
from promptkit.runtimes.base import Model
from promptkit.runtimes.budget import Budget
from promptkit.runtimes.models import Models
from promptkit.runtimes.serialization import request_record
from promptkit.storage.hashes import content_key
from promptkit.storage.store import Store
from promptkit.techniques.warnings import WarnedBy, merged_sources
from promptkit.tuning.data_split import clusters_of
from promptkit.tuning.search_space.candidate import Candidate, distinct

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
    techniques that gave them.
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


class Evaluator:
    """Evaluates candidates on a suite's rows and stores the results. The suite's first metric is the objective.

    `suite` has one variant, the start. `rows` are all rows that may be asked for, named by their places. `number` is
    the run that the cells belong to, `prefix` is put before variant names. Only `evaluate` sends requests.
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
    ) -> None:
        # A search reads scores alone: reasons would use up its budget.
        self.suite = replace(suite, measures=tuple(map(_without_reasons, suite.measures)))
        self.rows = tuple(rows)
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
        self._places = {row.row.number: place for place, row in enumerate(self.rows)}

    @property
    def metric(self) -> Metric:
        """The metric that is optimized."""
        return self.suite.measures[0].metric

    def variant(self, candidate: Candidate) -> Variant:
        """Return the target with a candidate's changes. Raises InputError if the target cannot take them."""
        key = candidate.key
        if key not in self._variants:
            if not candidate.changes:
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
        """Return the cluster code of each row; None for a suite without clusters."""
        clusters = clusters_of(self.suite, [self.rows[row] for row in rows])
        if clusters is None:
            return None
        codes: dict[str, int] = {}
        return np.array([codes.setdefault(text, len(codes)) for text in clusters], dtype=np.int64)

    def estimate(self, candidate: Candidate, rows: Sequence[int]) -> Estimate:
        """Return the metric's estimate of a candidate from its results on rows, in the metric's own units."""
        return self.metric.estimate(self.sample(candidate, rows))

    def label(self, candidate: Candidate) -> str:
        """Return a candidate's name for people, with step names if the target has several steps."""
        return candidate.label(with_steps=len(self.suite.baseline.pipeline.steps) > 1)

    async def deduplicate(self, candidates: Sequence[Candidate], rows: Sequence[int]) -> list[Candidate]:
        """Return candidates without those whose requests equal an earlier one's. Sends no request."""
        values = [self.rows[row].inputs[0] for row in rows]
        return await deduplicate(candidates, lambda candidate: self.variant(candidate).pipeline, values, self._models)

    async def model(self, candidate: Candidate, step: str) -> Model:
        """Return the model that answers a step. Raises the error of a missing model."""
        variant = self.variant(candidate)
        return await (await self._models.get(variant.pipeline.steps[step].model or variant.model)).model()

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


def _without_reasons(measure: Measure) -> Measure:
    metric = measure.metric
    if measure.turn is not None:
        turn = _without_reasons(measure.turn)
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


FINGERPRINT_ROWS: Final = 2
"""The number of rows on which requests are compared."""
KEY_BYTES: Final = 8
VANILLA: Final = "vanilla"
LATER_SETTINGS: Final = frozenset({"technique", "decide", "calibrate"})
FIRST_REQUEST_SETTINGS: Final = LATER_SETTINGS | {"about", "prompt", "examples", "layout", "messages", "cue", "options"}
"""The settings of a step that show in its first request, for a technique that sends one kind of request."""


async def deduplicate(
    candidates: Sequence[Candidate],
    pipeline_of: Callable[[Candidate], Pipeline],
    values: Sequence[Mapping[str, Any]],
    models: Models,
) -> list[Candidate]:
    """Return candidates without those whose requests on the first rows equal an earlier one's. Sends no request.

    `pipeline_of` gives the target with a candidate's changes, `values` are the target's inputs, one mapping per row. A
    candidate whose requests cannot be rendered is told apart by its changes.
    """
    first: dict[str, Candidate] = {}
    for candidate in candidates:
        key = await request_fingerprint(pipeline_of(candidate), candidate.changes, values, models)
        first.setdefault(candidate.key if key is None else key, candidate)
    return list(first.values())


async def request_fingerprint(
    pipeline: Pipeline, changes: Mapping[str, Any], values: Sequence[Mapping[str, Any]], models: Models
) -> str | None:
    """Return a key that pipelines with equal requests share: first requests of each step, and what follows them.

    `changes` are those that make the pipeline from the start, as in `--set`. None if a request cannot be rendered.
    """
    content: list[Any] = [[name, *_later_requests(pipeline, name)] for name in pipeline.steps]
    content.append({key: value for key, value in changes.items() if not _shows_in_fingerprint(pipeline, key)})
    try:
        for row in values[:FINGERPRINT_ROWS]:
            rendered = await render(pipeline, row, models=models)
            content += [[step.step, request_record(step.request)] for step in rendered]
    except PromptkitError:
        return None
    text = json.dumps(content, sort_keys=True, ensure_ascii=False, default=str)
    return content_key(text, KEY_BYTES).hex()


def _shows_in_fingerprint(pipeline: Pipeline, key: str) -> bool:
    """Return whether the whole effect of a setting is in its step's first request or `_later_requests`."""
    name, _, below = key.partition(".")
    asking = pipeline.steps[name].prompt_call
    setting = below.partition(".")[0]
    return asking is not None and setting in (FIRST_REQUEST_SETTINGS if asking.technique == VANILLA else LATER_SETTINGS)


def _later_requests(pipeline: Pipeline, name: str) -> tuple[Any, ...]:
    """Return the settings of a step that decide its later requests and the reading of replies."""
    asking = pipeline.steps[name].prompt_call
    if asking is None:
        return ()
    thinks = [example.thoughts for example in asking.examples.all]
    return asking.technique, asking.decide, asking.calibrate if asking.decide == "score" else None, thinks


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
