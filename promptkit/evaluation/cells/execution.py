"""Runs a suite's cells: each unknown cell is asked, scored, saved and then counted."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from itertools import islice
from typing import TYPE_CHECKING

from promptkit.engine.requirements import fallbacks
from promptkit.engine.run import Runner
from promptkit.engine.session import RunSettings
from promptkit.errors import (
    BudgetSpent,
    DamagedRecord,
    InputError,
    PromptkitError,
    StoreFailed,
    UnexpectedError,
    catching_unexpected,
    first_error,
)
from promptkit.evaluation.cells.cell import Outcome, cell_key, failure_of, outcome_of, read_outcome, variant_key
from promptkit.evaluation.cells.failures import FailurePolicy
from promptkit.evaluation.cells.progress import EvalOptions, EvalProgress, Job, Known, VariantRun
from promptkit.evaluation.cells.saver import CellSaver, Finished, Planned, trace_bytes
from promptkit.evaluation.cells.scoring import CellScorer, Scores, defects_of
from promptkit.evaluation.cells.tally import Clusters, Tally
from promptkit.evaluation.suite.binding import Binder, BoundRow
from promptkit.evaluation.suite.data import RowsHash
from promptkit.evaluation.suite.suite import Suite, answer_type

if TYPE_CHECKING:
    from promptkit.evaluation.suite.data import DataCount
    from promptkit.runtimes.base import Model
    from promptkit.runtimes.models import Models
    from promptkit.storage.cells import KeptCell
    from promptkit.storage.store import Store

ROWS_AT_ONCE = 256
REFRESH_SECONDS = 30.0
POLL_SECONDS = 0.25


class Execution:
    """One run of a suite. Make it where the event loop runs; `open`, then `run`.

    `contenders`, `clusters` and `progress` may be looked at meanwhile; nothing is counted in them that is not saved.
    `on_cell` gets each cell once it is saved, with its number in the store.
    """

    def __init__(
        self,
        suite: Suite,
        *,
        counted: DataCount,
        models: Models,
        store: Store,
        options: EvalOptions,
        on_saved: Callable[[], None] | None = None,
        on_cell: Callable[[Finished, int], None] | None = None,
    ) -> None:
        self.suite = suite
        self.progress = EvalProgress(total=counted.rows * len(suite.variants) * suite.repeat)
        self.contenders: list[VariantRun] = []
        self.named: str | None = None  # how the baseline's model is called: a step may name another than the default
        self.clusters = Clusters(suite.data.spec.cluster)
        self._counted = counted
        self._models = models
        self._store = store
        self._options = options
        self._fresh = options.fresh
        self._on_saved = on_saved or _nothing
        self._on_cell = on_cell
        self._measuring = CellScorer(suite.measures, models, store.cells)
        self._jobs: asyncio.Queue[Job] = asyncio.Queue(maxsize=ROWS_AT_ONCE)
        self._pending: dict[bytes, list[Planned]] = {}
        self._elsewhere: list[Planned] = []
        self._again: list[Job] = []
        self._saver: CellSaver
        self._failures: FailurePolicy

    async def open(self) -> Model:
        """Open the models of all variants and return the baseline's. Raises what their absence raises."""
        metrics = [each.metric for each in self.suite.measures]
        settings = RunSettings(strict=self._options.strict, repairs=0, kind="eval")
        for variant in self.suite.variants:
            runner = Runner(variant.pipeline, models=self._models, settings=settings, model=variant.model)
            await runner.open()
            key = variant_key(variant, self._answering(runner), exact=self._options.exact)
            again = sum(each.key == key for each in self.contenders)
            tally = Tally(metrics, self.suite.repeat)
            fell_back = await fallbacks(variant.pipeline, self._models, model=variant.model)
            answer = answer_type(variant.pipeline)
            self.contenders.append(VariantRun(variant, runner, key, tally, answer, again, fell_back))
        await self._measuring.open()
        answered, own = self.contenders[0].runner.session.answered, self.suite.baseline.model
        self.named = own if own in answered else next(iter(answered), None)
        return answered.get(self.named) or await (await self._models.get()).model()

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
        self._saver = CellSaver(self._store, number, names, self._measuring.keys, self._saved)
        gives_up = self._options.gives_up_on_defects
        self._failures = FailurePolicy(self.progress, self._saver, gives_up_on_defects=gives_up)
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
        model = await (await self._models.get(self.named)).model()
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
                    number = None if kept is None or kept.outcome is None else kept.number
                    self._saver.add(Finished(Planned(place, row, repeat, key), outcome, {}, number))
                    self.progress.wrong += 1
                else:
                    key = cell_key(contender.key, row.inputs[place], contender.sample(repeat))
                    yield Planned(place, row, repeat, key)

    async def _place(self, planned: Sequence[Planned]) -> None:
        """Take what is known, queue what is not, and note what another process is at work on."""
        known: dict[bytes, Known] = {}
        damaged: set[bytes] = set()
        if not self._fresh:
            keys = list({each.key for each in planned})
            for key, found in self._store.cells.find(keys, errors=not self._options.retry_errors).items():
                try:
                    known[key] = self._read(found)
                except DamagedRecord as error:
                    self._store.damage.add(error)
                    damaged.add(key)
        unknown: list[Planned] = []
        scores = self._measuring.kept([kept.number for kept in known.values()])
        for each in planned:
            if each.key in self._pending:
                self._pending[each.key].append(each)
            elif (kept := known.get(each.key)) is None:
                self._pending[each.key] = []
                unknown.append(each)
            elif self._measuring.has_slow:
                said = self._measuring.kept_of(each.row, kept.number, scores.get(kept.number, {}))
                await self._jobs.put(Job(each, kept, said))
            else:
                self._finish_kept(each, kept)
        # A damaged cell cannot be claimed, for it is there; the one that is asked now takes its place.
        ours = damaged | await self._claim([each.key for each in unknown if each.key not in damaged])
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
        self._failures.release()
        await self._saver.all_saved()

    async def _take_from_others(self) -> None:
        """Take what other processes have finished meanwhile, and ask what they left."""
        waiting, self._elsewhere = self._elsewhere, []
        taken = [(each, self._pending.pop(each.key, [])) for each in waiting]
        await self._place([each for first, others in taken for each in (first, *others)])
        await self._settle()
        if self._elsewhere:
            await asyncio.sleep(POLL_SECONDS)

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
            number, outcome = job.kept
        elif self.progress.gave_up:
            return
        else:
            outcome, trace, failure = await self._ask(planned)
            if not self._failures.take(Finished(planned, outcome, {}), failure):
                return
        scores = self._quick(planned, outcome)
        if outcome.flag != "error" and not self.progress.gave_up:
            answer = self.contenders[planned.place].answer
            scores |= await self._measuring.slow(outcome, planned.row, answer, job.scores)
        self._saver.add(Finished(planned, outcome, scores, number, trace, job.scores))

    async def _ask(self, planned: Planned) -> tuple[Outcome, bytes | None, PromptkitError | None]:
        """Return what the target gives, its trace, and what failed. Raises StoreFailed and BudgetSpent."""
        contender = self.contenders[planned.place]
        inputs = planned.row.inputs[planned.place]
        try:
            with catching_unexpected():
                result = await contender.runner.run(inputs, sample=contender.sample(planned.repeat))
                if isinstance(result.error, StoreFailed | BudgetSpent):
                    raise result.error
                outcome, failure = outcome_of(result, contender.variant), failure_of(result)
                # What cannot be kept fails here, and not where a group of cells is saved.
                trace, _ = trace_bytes(outcome.trace) if outcome.trace else None, outcome.text
        except UnexpectedError as error:
            outcome, trace, failure = Outcome(flag="error", problem=error.message, defect=error.defect), None, error
        self.progress.defects.explain(failure)
        return outcome, trace, failure

    def _quick(self, planned: Planned, outcome: Outcome) -> Scores:
        return self._measuring.quick(outcome, planned.row, self.contenders[planned.place].answer)

    def _finish_kept(self, planned: Planned, kept: Known) -> None:
        scores = self._quick(planned, kept.outcome)
        self._saver.add(Finished(planned, kept.outcome, scores, kept.number))

    def _read(self, kept: KeptCell) -> Known:
        """Return a cell that the store kept. Raises DamagedRecord."""
        return Known(kept.number, read_outcome(kept, lambda: self._store.cells.trace_record(kept.number) or {}))

    def _saved(self, some: Sequence[Finished], numbers: Sequence[int]) -> None:
        """Count cells that are on disk; those that waited for one of them follow."""
        for finished, number in zip(some, numbers, strict=True):
            self._count(finished)
            if self._on_cell is not None:
                self._on_cell(finished, number)
            for other in self._pending.pop(finished.planned.key, ()):
                if self._measuring.has_slow and other.row.key != finished.planned.row.key:
                    self._again.append(Job(other, Known(number, finished.outcome)))
                else:
                    known = self._measuring.of_slow(finished.scores)
                    scores = {**self._quick(other, finished.outcome), **known}
                    self._saver.add(Finished(other, finished.outcome, scores, number, known=known))
        self._on_saved()

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
        unscored = [score for score in finished.scores.values() if score.value is None]
        progress.failure = progress.failure or next((score.why for score in unscored), "")
        progress.defects.cells.update(defects_of(finished.outcome, unscored))
        for score in unscored:
            progress.defects.explain(score.error)

    async def _keep_claims(self) -> None:
        while True:
            await asyncio.sleep(REFRESH_SECONDS)
            await asyncio.to_thread(self._store.cells.refresh)


def _nothing() -> None:
    """Do nothing."""
