"""Running a suite: every cell that is not known is asked, saved, and only then counted."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from itertools import islice
from typing import TYPE_CHECKING, Any

from promptkit.engine import Runner, Settings
from promptkit.errors import (
    BudgetSpent,
    ConnectionFailed,
    InputError,
    PromptkitError,
    RuntimeFailure,
    StoreFailed,
    first_error,
)
from promptkit.evaluation.binding import Binder, BoundRow
from promptkit.evaluation.data import RowsHash
from promptkit.evaluation.metrics import Score
from promptkit.evaluation.outcome import (
    OF_THE_REQUEST,
    Outcome,
    cell_key,
    failure_of,
    outcome_of,
    read_outcome,
    variant_key,
)
from promptkit.evaluation.saving import Finished, Planned, Saver, packed
from promptkit.evaluation.scoring import Scores, judge_cell, measure_cell, read_kept_score
from promptkit.evaluation.suite import Measure, Suite, Variant, answer_type
from promptkit.evaluation.tally import Clusters, Tally
from promptkit.storage import KeptCell

if TYPE_CHECKING:
    from promptkit.answers import AnswerType
    from promptkit.evaluation.data import Counted
    from promptkit.runtimes import Model, Models
    from promptkit.storage import Store

ROWS_AT_ONCE = 64
REFRESH_SECONDS = 30.0
POLL_SECONDS = 0.25
MOST_REFUSED = 100
"""Refusals after which nothing more is asked, where nothing was answered yet."""

MOST_FAILURES = 10
"""Failures one after the other after which nothing more is asked: a dead server is not asked a thousand times."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """How to run a suite. `in_flight` is how many requests at once (None: what the model says is worth while).

    `exact` asks one at a time, since answers made in a batch can differ. `fresh` asks anew what is known,
    `retry_errors` what failed.
    """

    in_flight: int | None = None
    exact: bool = False
    fresh: bool = False
    retry_errors: bool = False
    strict: bool = False


@dataclass(slots=True)
class Contender:
    """A variant at work: what runs it, what tells its cells from others, and what they say so far.

    `again` counts the variants before it that are the same but for the name: it is asked anew, to show by how much
    answers differ when nothing does.
    """

    variant: Variant
    runner: Runner
    key: bytes
    tally: Tally
    answer: AnswerType | None
    again: int = 0

    def sample(self, repeat: int) -> str:
        """Return the number of the sample that a repeat is."""
        return f"{repeat}+{self.again}" if self.again else str(repeat)


@dataclass(frozen=True, slots=True)
class Job:
    """Work on a cell: to ask it, or, where it is `kept`, to score it; `scores` are those that are known already."""

    planned: Planned
    kept: KeptCell | None = None
    scores: Scores = field(default_factory=dict)


@dataclass(slots=True)
class Progress:
    """How far a run is: of `total` cells `done` are saved, `known` of them were there before, `missing` have no answer.

    `failure` is the first reason for a missing answer; `gave_up` tells that nothing more was asked after many. `wrong`
    of the cells are of rows that are wrong.
    """

    total: int
    done: int = 0
    known: int = 0
    missing: int = 0
    failure: str = ""
    gave_up: bool = False
    wrong: int = 0


class Execution:
    """One run of a suite. Make it where the event loop runs; `open`, then `run`.

    `contenders`, `clusters` and `progress` may be looked at meanwhile; nothing is counted in them that is not saved.
    """

    def __init__(
        self,
        suite: Suite,
        *,
        counted: Counted,
        models: Models,
        store: Store,
        options: Options,
        on_saved: Callable[[], None] | None = None,
    ) -> None:
        self.suite = suite
        self.progress = Progress(total=counted.rows * len(suite.variants) * suite.repeat)
        self.contenders: list[Contender] = []
        self.clusters = Clusters(suite.data.spec.cluster)
        self._counted = counted
        self._models = models
        self._store = store
        self._options = options
        self._fresh = options.fresh
        self._on_saved = on_saved or (lambda: None)
        self._plain = [(at, each) for at, each in enumerate(suite.measures) if not _is_slow(each)]
        self._slow = [(at, each) for at, each in enumerate(suite.measures) if _is_slow(each) and not each.metric.pairs]
        self._jobs: asyncio.Queue[Job] = asyncio.Queue(maxsize=4 * ROWS_AT_ONCE)
        self._pending: dict[bytes, list[Planned]] = {}
        self._elsewhere: list[Planned] = []
        self._held: list[Finished | None] = []
        self._again: list[Job] = []
        self._judge_failures = self._refused = 0
        self._answers = False
        self._score_keys: dict[str, str] = {}
        self._saver: Saver

    async def open(self) -> Model:
        """Open the models of all variants and return the baseline's. Raises what their absence raises."""
        metrics = [each.metric for each in self.suite.measures]
        settings = Settings(strict=self._options.strict, repairs=0, kind="eval")
        for variant in self.suite.variants:
            runner = Runner(variant.pipeline, models=self._models, settings=settings, model=variant.model)
            await runner.open()
            key = variant_key(variant, self._answering(runner), exact=self._options.exact)
            again = sum(each.key == key for each in self.contenders)
            tally = Tally(metrics, self.suite.repeat)
            self.contenders.append(Contender(variant, runner, key, tally, answer_type(variant.pipeline), again))
        for _, measure in self._slow:
            judge = await (await self._models.get(measure.metric.model)).model() if measure.metric.asks else None
            self._score_keys[measure.name] = f"{measure.key} {judge.digest}" if judge else measure.key
        answered = self.contenders[0].runner.session.answered
        named = answered.get(self.suite.baseline.model) or next(iter(answered.values()), None)
        return named or await (await self._models.get()).model()

    @property
    def notices(self) -> list[str]:
        """What the variants' runs had to say, each line once."""
        return list(dict.fromkeys(line for each in self.contenders for line in each.runner.session.notices))

    def lacks(self) -> bool:
        """Tell whether a cell has no answer, or an answer no score."""
        progress = self.progress
        tallies = (each.tally for each in self.contenders)
        return (
            progress.missing > 0
            or progress.done < progress.total
            or any(tally.unscored(metric) > 0 for tally in tallies for metric in tally.metrics)
        )

    def _answering(self, runner: Runner) -> dict[str | None, Model]:
        """Return what answers a variant. A recording is not the model: what it answers is never taken for known."""
        found = dict(runner.session.answered)
        for name, model in found.items():
            if recording := self._models.replayed(name):
                self._fresh = True
                found[name] = replace(model, reference=recording)
        return found

    async def run(self, number: int) -> None:
        """Have every cell, in the run of that number. Raises StoreFailed, and InputError where the data breaks off.

        Where it is cancelled, what is finished is saved before that goes on.
        """
        names = [each.variant.name for each in self.contenders]
        self._store.cells.name_variants(number, names)
        self._saver = Saver(self._store, number, names, self._score_keys, self._saved)
        try:
            async with asyncio.TaskGroup() as group:
                saving = group.create_task(self._saver.keep_saving())
                beats = group.create_task(self._keep_claims())
                workers = [group.create_task(self._work()) for _ in range(await self._width())]
                await self._plan()
                await self._settle()
                while self._elsewhere and not self.progress.gave_up:
                    await self._take_from_others()
                for worker in (*workers, beats):
                    worker.cancel()
                self._saver.end()
                await saving
        except BaseExceptionGroup as raised:
            raise first_error(raised) from None
        finally:
            with suppress(StoreFailed):
                await asyncio.shield(self._saver.save())

    async def _width(self) -> int:
        """Return how many cells to work on: more than may be in flight, for an answer is also scored and saved."""
        if self._options.exact:
            return 1
        model = await (await self._models.get(self.suite.baseline.model)).model()
        return 2 * (self._options.in_flight or model.parallel) + 4

    async def _plan(self) -> None:
        """Bring the cells of all rows on their way. Raises InputError where they are not the rows that were counted."""
        binder, digest = Binder(self.suite), RowsHash()
        rows = enumerate(self.suite.data.rows())
        while some := [binder.bind(row, index) for index, row in islice(rows, ROWS_AT_ONCE)]:
            for bound in some:
                self.clusters.add(bound.row.fields)
                digest.add(bound.key)
            if digest.rows > self._counted.rows:
                break
            await self._place([each for bound in some for each in self._cells(bound)])
            await self._saver.room()
            if self.progress.gave_up:
                return
        if digest.hexdigest() != self._counted.hash:
            raise InputError(self.suite.data.changed())

    def _cells(self, row: BoundRow) -> Iterator[Planned]:
        """Yield the cells of a row; those of a row that is wrong are finished at once."""
        for place, contender in enumerate(self.contenders):
            for repeat in range(self.suite.repeat):
                if row.problems:
                    outcome = Outcome(flag="error", problem="; ".join(str(each) for each in row.problems))
                    told = {"row": row.row.number, "fields": row.text, "problem": outcome.problem}
                    key = cell_key(b"wrong row", told, str(repeat))
                    kept = self._store.cells.find([key]).get(key)
                    number = None if kept is None else kept.number
                    self._saver.add(Finished(Planned(place, row, repeat, key), outcome, {}, number))
                    self.progress.wrong += 1
                else:
                    key = cell_key(contender.key, row.inputs[place], contender.sample(repeat))
                    yield Planned(place, row, repeat, key)

    async def _place(self, planned: Sequence[Planned]) -> None:
        """Take what is known, queue what is not, and note what another process is at work on."""
        known: Mapping[bytes, KeptCell] = {}
        if not self._fresh:
            keys = list({each.key for each in planned})
            known = self._store.cells.find(keys, errors=not self._options.retry_errors)
        unknown: list[Planned] = []
        scores = self._known_scores([kept.number for kept in known.values()])
        for each in planned:
            if each.key in self._pending:
                self._pending[each.key].append(each)
            elif (kept := known.get(each.key)) is None:
                self._pending[each.key] = []
                unknown.append(each)
            elif self._slow:
                said = {name: read_kept_score(text, each.row.key) for name, text in scores.get(kept.number, {}).items()}
                await self._jobs.put(Job(each, kept, {name: score for name, score in said.items() if score}))
            else:
                self._finish_kept(each, kept)
        ours = await self._claim([each.key for each in unknown])
        for each in unknown:
            if each.key in ours:
                await self._jobs.put(Job(each))
            else:
                self._elsewhere.append(each)

    async def _claim(self, keys: Sequence[bytes]) -> set[bytes]:
        if self._fresh or not keys:
            return set(keys)
        return await asyncio.to_thread(self._store.cells.claim, keys, errors=not self._options.retry_errors)

    async def _settle(self) -> None:
        """Wait until all that was begun is saved, and let others ask what was claimed and not asked."""
        await self._all_saved()
        while self._again:
            again, self._again = self._again, []
            for job in again:
                await self._jobs.put(job)
            await self._all_saved()
        elsewhere = {each.key for each in self._elsewhere}
        left = [key for key in self._pending if key not in elsewhere]
        if left and not self._fresh:
            await asyncio.to_thread(self._store.cells.release, left)
        for key in left:
            del self._pending[key]

    async def _all_saved(self) -> None:
        await self._jobs.join()
        self._release_held()
        await self._saver.all_saved()

    async def _take_from_others(self) -> None:
        """Take what other processes have finished meanwhile, and ask what they left."""
        waiting, self._elsewhere = self._elsewhere, []
        taken = [(each, self._pending.pop(each.key, [])) for each in waiting]
        await self._place([each for first, others in taken for each in (first, *others)])
        await self._settle()
        if self._elsewhere:
            await asyncio.sleep(POLL_SECONDS)

    def _known_scores(self, numbers: Sequence[int]) -> dict[int, dict[str, str]]:
        """Return what slow measures have said of kept cells, as the store has it, by the cells' numbers."""
        found: dict[int, dict[str, str]] = {}
        for _, measure in self._slow if numbers else ():
            for number, text in self._store.cells.kept_scores(numbers, self._score_keys[measure.name]).items():
                found.setdefault(number, {})[measure.name] = text
        return found

    async def _work(self) -> None:
        while True:
            job = await self._jobs.get()
            try:
                await self._do(job)
            finally:
                self._jobs.task_done()

    async def _do(self, job: Job) -> None:
        planned, number, trace = job.planned, None, None
        if job.kept is not None:
            number = job.kept.number
            outcome = self._kept_outcome(job.kept)
        elif self.progress.gave_up:
            return
        else:
            contender = self.contenders[planned.place]
            inputs = planned.row.inputs[planned.place]
            result = await contender.runner.run(inputs, sample=contender.sample(planned.repeat))
            if isinstance(result.error, StoreFailed | BudgetSpent):
                raise result.error
            outcome, failure = outcome_of(result, contender.variant), failure_of(result)
            if isinstance(failure, RuntimeFailure) and not isinstance(failure, OF_THE_REQUEST):
                self._hold(Finished(planned, outcome, {}), failure)
                return
            self._note(failure)
            trace = packed(outcome.trace)
        scores = self._scores(planned, outcome)
        if outcome.flag != "error" and not self.progress.gave_up:
            scores |= await self._slow_scores(planned, outcome, job.scores)
        self._saver.add(Finished(planned, outcome, scores, number, trace))

    def _note(self, failure: PromptkitError | None) -> None:
        """Note that the model answers, or refuses: where there are only refusals it is not asked for ever."""
        if failure is None:
            self._answers = True
            self._release_held()
        elif isinstance(failure, OF_THE_REQUEST) and not self._answers:
            self._refused += 1
            self.progress.failure = self.progress.failure or str(failure)
            self.progress.gave_up = self._refused >= MOST_REFUSED

    def _hold(self, failed: Finished, error: RuntimeFailure) -> None:
        """Note a failure. It becomes a cell once another one succeeds: of a server that is gone it would say nothing.

        That a server could not be reached never says anything of a cell.
        """
        self.progress.failure = self.progress.failure or str(error)
        if self.progress.gave_up:
            return
        self._held.append(None if isinstance(error, ConnectionFailed) else failed)
        if len(self._held) >= MOST_FAILURES:
            self.progress.gave_up = True
            self._held.clear()

    def _release_held(self) -> None:
        held, self._held = self._held, []
        for each in held:
            if each is not None:
                self._saver.add(each)

    def _scores(self, planned: Planned, outcome: Outcome) -> Scores:
        if outcome.flag == "error":
            return {}
        row, answer = planned.row, self.contenders[planned.place].answer
        return {
            measure.name: measure_cell(measure, outcome, row.row.fields, row.expected[at], answer)
            for at, measure in self._plain
        }

    async def _slow_scores(self, planned: Planned, outcome: Outcome, known: Scores) -> Scores:
        """Return the scores of metrics that ask a model or take long; those that are known are not made again."""
        found: Scores = {}
        answer = self.contenders[planned.place].answer
        for at, measure in self._slow:
            given = (measure, outcome, planned.row.row.fields, planned.row.expected[at], answer)
            if measure.name in known:
                found[measure.name] = known[measure.name]
            elif measure.metric.asks:
                found[measure.name] = await self._judged(*given)
            else:
                found[measure.name] = await asyncio.to_thread(measure_cell, *given)
        return found

    async def _judged(
        self, measure: Measure, outcome: Outcome, row: Mapping[str, Any], expected: Any, answer: AnswerType | None
    ) -> Score:
        """Return what a judge says; one that has failed again and again is not asked any more."""
        if self._judge_failures >= MOST_FAILURES:
            return Score(None, why=f"not judged: the judge has failed {MOST_FAILURES} times, one after the other")
        try:
            score = await judge_cell(measure, outcome, row, expected, answer, self._models)
        except RuntimeFailure as failure:
            self._judge_failures += not isinstance(failure, OF_THE_REQUEST)
            return Score(None, why=failure.message)
        self._judge_failures = 0
        return score

    def _finish_kept(self, planned: Planned, kept: KeptCell) -> None:
        outcome = self._kept_outcome(kept)
        self._saver.add(Finished(planned, outcome, self._scores(planned, outcome), kept.number))

    def _kept_outcome(self, kept: KeptCell) -> Outcome:
        return read_outcome(kept.outcome, lambda: json.loads(self._store.cells.trace(kept.number) or b"{}"))

    def _saved(self, some: Sequence[Finished], numbers: Sequence[int]) -> None:
        """Count cells that are on disk; those that waited for one of them follow."""
        for finished, number in zip(some, numbers, strict=True):
            self._count(finished)
            for other in self._pending.pop(finished.planned.key, ()):
                if self._slow and other.row.key != finished.planned.row.key:
                    self._again.append(Job(other, KeptCell(number, finished.outcome.text)))
                else:
                    self._saver.add(Finished(other, finished.outcome, self._scores_again(other, finished), number))
        self._on_saved()

    def _scores_again(self, planned: Planned, finished: Finished) -> Scores:
        """Return the scores of a cell that is answered as another; a slow metric tells only rows apart."""
        slow = {measure.name for _, measure in self._slow}
        known = {name: score for name, score in finished.scores.items() if name in slow}
        return {**self._scores(planned, finished.outcome), **known}

    def _count(self, finished: Finished) -> None:
        planned, progress = finished.planned, self.progress
        known = finished.number is not None
        tally = self.contenders[planned.place].tally
        tally.put(planned.row.index, planned.repeat, finished.outcome, finished.scores, known=known)
        progress.done += 1
        progress.known += known
        if finished.outcome.flag == "error":
            progress.missing += 1
            progress.failure = progress.failure or finished.outcome.problem
        unscored = next((score.why for score in finished.scores.values() if score.value is None), "")
        progress.failure = progress.failure or unscored

    async def _keep_claims(self) -> None:
        while True:
            await asyncio.sleep(REFRESH_SECONDS)
            await asyncio.to_thread(self._store.cells.refresh)


def _is_slow(measure: Measure) -> bool:
    return measure.metric.asks or measure.metric.costly or measure.metric.pairs
