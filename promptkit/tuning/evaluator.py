"""Evaluates candidates on a suite's rows, within a budget, and keeps the results in the store."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import groupby
from typing import TYPE_CHECKING, Any, Final

from promptkit.engine.render import render
from promptkit.errors import BudgetSpent, InputError, Problem, PromptkitError, RuntimeFailure
from promptkit.evaluation.cells.execution import Execution
from promptkit.evaluation.cells.progress import Defects, EvalOptions
from promptkit.evaluation.cells.saver import Finished
from promptkit.evaluation.metrics.base import Estimate, Sample, judge_usage
from promptkit.evaluation.suite.binding import BoundRow
from promptkit.evaluation.suite.suite import Suite, Variant, read_variant
from promptkit.runtimes.serialization import request_record
from promptkit.tuning.data_split import clusters_of
from promptkit.tuning.search_space.candidate import distinct

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from promptkit.engine.pipeline import Pipeline
    from promptkit.evaluation.metrics.base import Metric
    from promptkit.runtimes.base import Model
    from promptkit.runtimes.budget import Budget
    from promptkit.runtimes.models import Models
    from promptkit.storage.store import Store
    from promptkit.tuning.search_space.candidate import Candidate

MODEL_GONE = "the model failed again and again"


class SearchFailed(RuntimeFailure):
    """A model, server or tool is gone in the middle of a search. What was asked is kept."""


@dataclass(frozen=True, slots=True)
class RowResult:
    """A row under a candidate, all its repeats. `score` is in [0, 1], the higher the better; None: missing.

    `values` are the numbers that the aim's estimate is made of, one tuple a repeat that has a score. `unparsed` is the
    share of repeats that do not parse or were cut off; `calls` are those of a judge too, whose tokens are `judging`.
    `numbers` are the cells' in the store, one a repeat.
    """

    score: float | None
    values: tuple[tuple[float, ...], ...]
    unparsed: float
    calls: int
    tokens: int
    judging: int
    seconds: float
    output: Any
    steps: Mapping[str, Any]
    problem: str
    numbers: tuple[int, ...]


class Evaluator:
    """What candidates give on the rows of a suite, its first measure being the aim. Make it where the event loop runs.

    `suite` has one variant, the start. `rows` are all rows that may be asked for, by their place in it. `number` is the
    run that the cells belong to, `prefix` stands before the names of its variants. Nothing is asked but by `have`.
    `broken` is the last failure of a server or its connection, which says nothing of the cell that met it. `defects`
    are the exceptions that nothing foresaw.
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
        options: EvalOptions | None = None,
        prefix: str = "",
    ) -> None:
        self.suite = suite
        self.rows = tuple(rows)
        self.budget = budget
        self.notices: list[str] = []
        self.asked = 0
        self.broken = ""
        self.defects = Defects()
        self._models = models.within(budget)
        self._store = store
        self._number = number
        self._options = replace(options or EvalOptions(), retry_errors=True, gives_up_on_defects=False)
        self._prefix = prefix
        self._variants: dict[str, Variant] = {}
        self._names: dict[str, str] = {}
        self._refused: BudgetSpent | None = None
        self._cells: dict[tuple[str, int], RowResult] = {}
        self._places = {each.row.number: place for place, each in enumerate(self.rows)}

    @property
    def metric(self) -> Metric:
        """The aim."""
        return self.suite.measures[0].metric

    def variant(self, candidate: Candidate) -> Variant:
        """Return the target as a candidate changes it. Raises InputError where it cannot be so."""
        key = candidate.key
        if key not in self._variants:
            if not candidate.changes:
                self._variants[key] = replace(self.suite.baseline, name=self._name(candidate))
            else:
                wanted = self.suite.wanted
                self._variants[key] = read_variant(self._name(candidate), candidate.changes, wanted, Problem)
        return self._variants[key]

    async def have(self, candidates: Sequence[Candidate], rows: Sequence[int]) -> None:
        """Have the cells of candidates on rows, by their places; what is not known is asked, row by row.

        Raises BudgetSpent once nothing more may be asked, SearchFailed where the model is gone, InputError where a
        candidate cannot be, and StoreFailed. What is finished then is kept, and `cells` has it.
        """
        lacking = {each.key: tuple(row for row in rows if (each.key, row) not in self._cells) for each in candidates}
        wanted = sorted(distinct(candidates), key=lambda each: lacking[each.key])
        for missing, group in groupby(wanted, key=lambda each: lacking[each.key]):
            if missing:
                await self._ask(list(group), missing)

    def cell(self, candidate: Candidate, row: int) -> RowResult | None:
        """Return a cell that is there."""
        return self._cells.get((candidate.key, row))

    def cells(self, candidate: Candidate, rows: Sequence[int]) -> Iterator[RowResult]:
        """Yield the cells of rows that are there."""
        found = (self._cells.get((candidate.key, row)) for row in rows)
        return (cell for cell in found if cell is not None)

    def known(self, candidate: Candidate, order: Sequence[int]) -> int:
        """Return on how many rows of an order, from its first on, a candidate has cells."""
        return next((at for at, row in enumerate(order) if self.cell(candidate, row) is None), len(order))

    def problems(self) -> Iterator[str]:
        """Yield of each cell without a score what is wrong with it."""
        return (cell.problem for cell in self._cells.values() if cell.score is None)

    def scores(self, candidate: Candidate, rows: Sequence[int]) -> NDArray[np.float64]:
        """Return the scores on rows, NaN where one is missing or not there."""
        import numpy as np

        cells = (self._cells.get((candidate.key, row)) for row in rows)
        scores = (None if cell is None else cell.score for cell in cells)
        return np.array([np.nan if each is None else each for each in scores], dtype=np.float64)

    def sample(self, candidate: Candidate, rows: Sequence[int]) -> Sample:
        """Return what is there of the aim on rows, for its estimate and its difference."""
        import numpy as np

        values: list[tuple[float, ...]] = []
        at: list[int] = []
        for row in rows:
            cell = self._cells.get((candidate.key, row))
            own = cell.values if cell is not None else ()
            values += own
            at += [row] * len(own)
        array = np.array(values, dtype=np.float64).reshape(-1, len(self.metric.columns))
        numbers = np.array(at, dtype=np.int64)
        clusters = self.clusters(at)
        return Sample(array, numbers, numbers if clusters is None else clusters)

    def clusters(self, rows: Sequence[int]) -> NDArray[np.int64] | None:
        """Return the cluster of each row, None where rows stand alone."""
        import numpy as np

        told = clusters_of(self.suite, [self.rows[row] for row in rows])
        if told is None:
            return None
        codes: dict[str, int] = {}
        return np.array([codes.setdefault(each, len(codes)) for each in told], dtype=np.int64)

    def estimate(self, candidate: Candidate, rows: Sequence[int]) -> Estimate:
        """Return what the rows that are there say of a candidate by the aim, in the metric's own units."""
        return self.metric.estimate(self.sample(candidate, rows))

    def called(self, candidate: Candidate) -> str:
        """Return what people read of a candidate: which step a choice is of, where there are several."""
        return candidate.called(with_steps=len(self.suite.baseline.pipeline.steps) > 1)

    async def asking_differently(self, candidates: Sequence[Candidate], rows: Sequence[int]) -> list[Candidate]:
        """Return candidates of which those that ask the same of the first of `rows` are one. Nothing is asked."""
        values = [self.rows[row].inputs[0] for row in rows]
        return await deduplicate(candidates, lambda each: self.variant(each).pipeline, values, self._models)

    async def model(self, candidate: Candidate, step: str) -> Model:
        """Return what answers a step. Raises what its absence raises."""
        variant = self.variant(candidate)
        return await (await self._models.get(variant.pipeline.steps[step].model or variant.model)).model()

    def trace(self, cell: RowResult) -> Mapping[str, Any]:
        """Return the trace of a cell's first repeat, as `engine.trace_record` gives it; empty where it is damaged."""
        return self._store.cells.trace_record(cell.numbers[0]) or {}

    async def _ask(self, candidates: Sequence[Candidate], rows: Sequence[int]) -> None:
        held = tuple(self.rows[row].row for row in rows)
        suite = replace(
            self.suite,
            data=replace(self.suite.data, held=held, only=(), limit=None),
            variants=tuple(self.variant(each) for each in candidates),
        )
        found: dict[tuple[str, int], list[tuple[Finished, int]]] = {}
        execution = Execution(
            suite,
            counted=suite.data.count(),
            models=self._models,
            store=self._store,
            options=self._options,
            on_cell=partial(self._take, candidates, found),
        )
        await execution.open()
        self._refused = None
        try:
            await execution.run(self._number)
        finally:
            for (key, row), parts in found.items():
                if len(parts) == suite.repeat:
                    self._cells[key, row] = self._cell(sorted(parts, key=lambda each: each[0].planned.repeat))
        self.notices = list(dict.fromkeys([*self.notices, *execution.notices]))
        self.broken = execution.progress.broken or self.broken
        self.defects.add(execution.progress.defects)
        if self._refused is not None:
            raise self._refused
        if execution.progress.gave_up:
            told = execution.progress.failure or MODEL_GONE
            raise SearchFailed(told, hint="what was answered is kept: the same command goes on from there")

    def _take(
        self,
        candidates: Sequence[Candidate],
        found: dict[tuple[str, int], list[tuple[Finished, int]]],
        finished: Finished,
        number: int,
    ) -> None:
        planned, outcome = finished.planned, finished.outcome
        if finished.number is None:
            self.asked += outcome.calls - outcome.cached
        elif not self._is_charged(finished):
            return
        key = candidates[planned.place].key, self._places[planned.row.row.number]
        found.setdefault(key, []).append((finished, number))

    def _is_charged(self, finished: Finished) -> bool:
        """Count what the store has as if it were asked; once that is refused, all is that follows."""
        if self._refused is None:
            outcome = finished.outcome
            calls, tokens = outcome.calls, outcome.tokens_in + outcome.tokens_out
            for score in finished.known.values():
                judge_calls, judge_tokens = judge_usage(score)
                calls, tokens = calls + judge_calls, tokens + judge_tokens
            try:
                self.budget.charge(calls, tokens)
            except BudgetSpent as spent:
                self._refused = spent
        return self._refused is None

    def _cell(self, parts: Sequence[tuple[Finished, int]]) -> RowResult:
        outcomes = [each.outcome for each, _ in parts]
        name = self.suite.measures[0].name
        given = [score for each, _ in parts if (score := each.scores.get(name))]
        scores = [each for each in given if each.value is not None]
        marks = [self.scaled(score.value) for score in scores if score.value is not None]
        return RowResult(
            score=sum(marks) / len(marks) if len(marks) == len(parts) else None,
            values=tuple(tuple(self.metric.numbers(each)) for each in scores),
            unparsed=sum(each.flag in ("unparsed", "truncated") for each in outcomes) / len(outcomes),
            calls=sum(each.calls for each in outcomes) + sum(judge_usage(each)[0] for each in scores),
            tokens=sum(each.tokens_in + each.tokens_out for each in outcomes),
            judging=sum(judge_usage(each)[1] for each in scores),
            seconds=sum(each.seconds for each in outcomes),
            output=outcomes[0].output,
            steps=outcomes[0].steps or {},
            problem=next(filter(None, [*(each.problem for each in outcomes), *(each.why for each in given)]), ""),
            numbers=tuple(number for _, number in parts),
        )

    def scaled(self, value: float) -> float:
        """Return a score of the aim in [0, 1], the higher the better."""
        bounds = self.metric.bounds
        assert bounds is not None, "an aim has bounds"
        share = (value - bounds[0]) / (bounds[1] - bounds[0])
        return share if self.metric.higher_is_better else 1.0 - share

    def _name(self, candidate: Candidate) -> str:
        """Return a name that no other candidate has: the store tells variants of a run apart by it."""
        key, told = candidate.key, f"{self._prefix}{self.called(candidate)}"
        taken = self._names.setdefault(told, key)
        return told if taken == key else f"{told} ({key[:6]})"


def partition_valid(
    field: Evaluator, candidates: Sequence[Candidate]
) -> tuple[list[Candidate], list[tuple[Candidate, str]]]:
    """Return the candidates that can be, and those that cannot, each with what is wrong with it."""
    good, wrong = [], []
    for each in candidates:
        try:
            field.variant(each)
            good.append(each)
        except InputError as error:
            wrong.append((each, "; ".join(str(problem) for problem in error.problems)))
    return good, wrong


FINGERPRINT_ROWS: Final = 2
"""On so many rows requests are compared."""
KEY_BYTES: Final = 8
VANILLA: Final = "vanilla"
LATER_SETTINGS: Final = frozenset({"technique", "decide", "calibrate"})
FIRST_REQUEST_SETTINGS: Final = LATER_SETTINGS | {"about", "prompt", "examples", "layout", "messages", "cue", "options"}
"""The settings of a step whose effect shows in its first request, where that is its only kind of request."""


async def deduplicate(
    candidates: Sequence[Candidate],
    pipeline_of: Callable[[Candidate], Pipeline],
    values: Sequence[Mapping[str, Any]],
    models: Models,
) -> list[Candidate]:
    """Return candidates of which those that ask the same on the first rows are one, the first of them.

    `pipeline_of` gives the target as a candidate changes it, `values` what the target takes of each row. No request is
    sent. Those whose requests cannot be made are told apart by what they change.
    """
    found: dict[str, Candidate] = {}
    for candidate in candidates:
        key = await request_fingerprint(pipeline_of(candidate), candidate.changes, values, models)
        found.setdefault(candidate.key if key is None else key, candidate)
    return list(found.values())


async def request_fingerprint(
    pipeline: Pipeline, changes: Mapping[str, Any], values: Sequence[Mapping[str, Any]], models: Models
) -> str | None:
    """Return what pipelines share that ask the same: each step's first request on the first rows, and how it goes on.

    `changes` are those by which the pipeline differs from the start, as in `--set`. None where a request cannot be
    made.
    """
    told: list[Any] = [[name, *_later_requests(pipeline, name)] for name in pipeline.steps]
    told.append({key: value for key, value in changes.items() if not _shows_in_fingerprint(pipeline, key)})
    try:
        for row in values[:FINGERPRINT_ROWS]:
            rendered = await render(pipeline, row, models=models)
            told += [[each.step, request_record(each.request)] for each in rendered]
    except PromptkitError:
        return None
    text = json.dumps(told, sort_keys=True, ensure_ascii=False, default=str)
    return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=KEY_BYTES).hexdigest()


def _shows_in_fingerprint(pipeline: Pipeline, key: str) -> bool:
    """Tell whether all that a setting changes shows in the first request of its step, or in how it goes on."""
    name, _, below = key.partition(".")
    asking = pipeline.steps[name].prompt_call
    setting = below.partition(".")[0]
    return asking is not None and setting in (FIRST_REQUEST_SETTINGS if asking.technique == VANILLA else LATER_SETTINGS)


def _later_requests(pipeline: Pipeline, name: str) -> tuple[Any, ...]:
    """Return of a step what its first request does not show and later ones, or what is made of replies, rest on."""
    asking = pipeline.steps[name].prompt_call
    if asking is None:
        return ()
    thinks = [each.thoughts for each in asking.examples.all]
    return asking.technique, asking.decide, asking.calibrate if asking.decide == "score" else None, thinks


_ITEM_NUMBER = re.compile(r"\[(\d+)\]$")


def step_nodes(trace: Mapping[str, Any], step: str) -> list[Mapping[str, Any]]:
    """Return the nodes of a trace record that asked for a step: its own, or those of its items in their order."""
    node = next((part for part in trace.get("parts", ()) if part["name"] == step), None)
    if node is None:
        return []
    items = [part for part in node["parts"] if part["kind"] == "item"]
    return sorted(items, key=_item_number) or [node]


def _item_number(item: Mapping[str, Any]) -> int:
    found = _ITEM_NUMBER.search(item["name"])
    return int(found[1]) if found else 0
