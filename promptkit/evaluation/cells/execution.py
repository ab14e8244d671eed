"""Runs a suite's cells: each unknown cell is asked, scored, saved and then counted."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from itertools import islice

from promptkit.answers.base import AnswerType
from promptkit.engine.requirements import fallbacks
from promptkit.engine.run import Runner
from promptkit.engine.session import RunSettings
from promptkit.errors import (
    InputError,
    PromptkitError,
    StoreFailed,
    UnexpectedError,
    catching_unexpected,
    first_error,
)
from promptkit.evaluation.cells.cell import Cell, take_result
from promptkit.evaluation.cells.changed_files import ChangedFiles
from promptkit.evaluation.cells.clusters import Clusters
from promptkit.evaluation.cells.conversation import ConversationPlayer
from promptkit.evaluation.cells.failures import FailurePolicy, raise_if_it_ends_the_run
from promptkit.evaluation.cells.kept import KeptCells
from promptkit.evaluation.cells.keys import cell_key
from promptkit.evaluation.cells.progress import EvalOptions, EvalProgress, VariantRun
from promptkit.evaluation.cells.saver import CellSaver
from promptkit.evaluation.cells.scoring import CellScorer, defects_of
from promptkit.evaluation.cells.tally import Tally
from promptkit.evaluation.metrics.score import Score
from promptkit.evaluation.suite.binding import Binder
from promptkit.evaluation.suite.data import BoundRow, DataCount, RowsHash
from promptkit.evaluation.suite.suite import Suite, answer_type
from promptkit.project_code.file_reads import collecting_reads
from promptkit.runtimes.base import Model
from promptkit.runtimes.models import Models
from promptkit.storage.store import Store

ROWS_AT_ONCE = 256
REFRESH_SECONDS = 30.0
POLL_SECONDS = 0.25


class Execution:
    """One run of a suite. Make it where the event loop runs; `open`, then `run`.

    `variants`, `clusters` and `progress` may be read meanwhile; they count only cells that are saved. `on_cell` gets
    each cell once it is saved. `settings` are those of the variants' runs.
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
        on_cell: Callable[[Cell], None] | None = None,
    ) -> None:
        self.suite = suite
        self.progress = EvalProgress(total=counted.rows * len(suite.variants) * suite.repeat)
        self.variants: list[VariantRun] = []
        self.model_name: str | None = None  # of the baseline: a step may name another than the default
        self.clusters = Clusters(suite.data.spec.cluster)
        self._counted = counted
        self._models = models
        self._store = store
        self._options = options
        self.settings = RunSettings(strict=options.strict, strict_on=options.strict_on, repairs=0, kind="eval")
        self._fresh = options.fresh
        self._on_saved = on_saved
        self._on_cell = on_cell
        self.changed_files = ChangedFiles(suite.project.root)
        self._kept = KeptCells(store, self.changed_files, errors=not options.retry_errors)
        self._scorer = CellScorer(suite, models, store.cells, self.changed_files)
        self._player = ConversationPlayer(suite.conversation, models) if suite.conversation else None
        self._queue: asyncio.Queue[Cell] = asyncio.Queue(maxsize=ROWS_AT_ONCE)
        self._pending: dict[bytes, list[Cell]] = {}  # cells being asked, with those that wait for the same answer
        self._elsewhere: list[Cell] = []  # claimed by other processes
        self._rescore: list[Cell] = []
        self._saver: CellSaver
        self._failures: FailurePolicy

    async def open(self) -> Model:
        """Open the models of all variants and return the baseline's. Raises RuntimeFailure where one is not there."""
        metrics = [measure.metric for measure in self.suite.measures]
        options = self._options
        played = await self._player.open() if self._player is not None else b""
        for variant in self.suite.variants:
            runner = Runner(variant.pipeline, models=self._models, settings=self.settings, model=variant.model)
            await runner.open()
            key = played + variant.key(self._answering(runner), exact=options.exact, strict_on=options.strict_on)
            self.variants.append(
                VariantRun(
                    variant=variant,
                    runner=runner,
                    key=key,
                    tally=Tally(metrics, self.suite.repeat),
                    answer=answer_type(variant.pipeline),
                    again=sum(earlier.key == key for earlier in self.variants),
                    fallbacks=await fallbacks(variant.pipeline, self._models, model=variant.model),
                )
            )
        await self._scorer.open()
        answered, named = self.variants[0].runner.session.answered, self.suite.baseline.model
        self.model_name = named if named in answered else next(iter(answered), None)
        return answered.get(self.model_name) or await (await self._models.get()).model()

    @property
    def notices(self) -> list[str]:
        """The notices of the variants' runs, each line once."""
        runners = [run.runner for run in self.variants]
        runners += [self._player.user] if self._player is not None and self._player.user is not None else []
        return list(dict.fromkeys(line for runner in runners for line in runner.session.notices))

    def lacks(self) -> bool:
        """Tell whether a cell has no answer, or an answer no score."""
        progress = self.progress
        tallies = (run.tally for run in self.variants)
        return (
            progress.missing > 0
            or progress.done < progress.total
            or any(tally.unscored(metric) > 0 for tally in tallies for metric in tally.metrics)
        )

    def _answering(self, runner: Runner) -> dict[str | None, Model]:
        """Return the models that answer a variant. A recording is not the model: its answers are asked for again."""
        models = dict(runner.session.answered)
        for name, model in models.items():
            if recording := self._models.replayed(name):
                self._fresh = True
                models[name] = replace(model, reference=recording)
        return models

    async def run(self, number: int) -> None:
        """Run every cell, in the run of that number. Raises StoreFailed, and InputError where the data breaks off.

        Where it is cancelled, finished cells are saved before that goes on.
        """
        names = [variant.name for variant in self.suite.variants]
        self._store.cells.name_variants(number, names)
        self._saver = CellSaver(self._store, number, self._scorer.keys, self._scorer.kept_text, self._saved)
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
        """Return the number of workers: more than may be in flight, for an answer is also scored and saved."""
        if self._options.exact:
            return 1
        model = await (await self._models.get(self.model_name)).model()
        return 2 * (self._options.in_flight or model.parallel) + 4

    async def _plan(self) -> None:
        """Queue the cells of all rows. Raises InputError where they are not the rows that were counted."""
        binder, digest = Binder(self.suite), RowsHash()
        rows = enumerate(self.suite.data.rows())
        while some := [binder.bind(row, index) for index, row in islice(rows, ROWS_AT_ONCE)]:
            for bound in some:
                self.clusters.add_bound(bound)
                digest.add(bound.key)
            if digest.rows > self._counted.rows:
                break
            await self._place([cell for bound in some for cell in self._cells(bound)])
            await self._saver.room()
            if self.progress.gave_up:
                return
        if digest.hexdigest() != self._counted.hash:
            raise InputError(self.suite.data.changed())

    def _cells(self, row: BoundRow) -> Iterator[Cell]:
        """Yield the cells of a row; those of an invalid row are finished at once."""
        for place, run in enumerate(self.variants):
            for repeat in range(self.suite.repeat):
                cell = Cell(
                    variant=run.variant.name,
                    row=row.row.number,
                    repeat=repeat,
                    fields=row.row.fields,
                    expect=row.expect,
                    case=row.case.hex(),
                    source=row,
                    place=place,
                )
                if row.problems:
                    self._finish_invalid(cell)
                else:
                    cell.key = cell_key(run.key, row.inputs[place], run.sample(repeat))
                    yield cell

    def _finish_invalid(self, cell: Cell) -> None:
        row = cell.bound
        cell.fail("; ".join(str(problem) for problem in row.problems))
        content = {"row": cell.row, "fields": row.text, "problem": cell.problem}
        cell.key = cell_key(b"wrong row", content, str(cell.repeat))
        kept = self._store.cells.find([cell.key]).get(cell.key)
        if kept is not None and kept.outcome is not None:
            cell.number, cell.is_kept = kept.number, True
        self._saver.add(cell)
        self.progress.wrong += 1

    async def _place(self, planned: Sequence[Cell]) -> None:
        """Take the cells that are known, queue the others, and note those that another process is asking."""
        replaced = set() if self._fresh else await self._kept.read(planned)
        unknown: list[Cell] = []
        kept_scores = self._scorer.kept(list(dict.fromkeys(cell.number for cell in planned if cell.is_kept)))
        for cell in planned:
            if cell.key in self._pending:
                self._pending[cell.key].append(cell)
            elif not cell.is_kept:
                self._pending[cell.key] = []
                unknown.append(cell)
            elif self._scorer.has_slow:
                cell.kept_scores = self._scorer.kept_of(cell, kept_scores.get(cell.number, {}))
                await self._queue.put(cell)
            else:
                cell.scores = self._quick(cell)
                self._saver.add(cell)
        # A damaged or stale cell cannot be claimed, for it is there; the one that is asked now takes its place.
        ours = replaced | await self._claim([cell.key for cell in unknown if cell.key not in replaced])
        for cell in unknown:
            if cell.key in ours:
                await self._queue.put(cell)
            else:
                self._elsewhere.append(cell)

    async def _claim(self, keys: Sequence[bytes]) -> set[bytes]:
        if self._fresh or not keys:
            return set(keys)
        return await asyncio.to_thread(self._store.cells.claim, keys, errors=not self._options.retry_errors)

    async def _settle(self) -> None:
        """Wait until all queued cells are saved, and release the claims of those that were not asked."""
        await self._all_saved()
        while self._rescore:
            cells, self._rescore = self._rescore, []
            for cell in cells:
                await self._queue.put(cell)
            await self._all_saved()
        elsewhere = {cell.key for cell in self._elsewhere}
        left = [key for key in self._pending if key not in elsewhere]
        if left and not self._fresh:
            await asyncio.to_thread(self._store.cells.release, left)
        for key in left:
            del self._pending[key]

    async def _all_saved(self) -> None:
        await self._queue.join()
        self._failures.release()
        await self._saver.all_saved()

    async def _take_from_others(self) -> None:
        """Take the cells that other processes have finished meanwhile, and ask those that they left."""
        waiting, self._elsewhere = self._elsewhere, []
        taken = [(cell, self._pending.pop(cell.key, [])) for cell in waiting]
        await self._place([cell for first, others in taken for cell in (first, *others)])
        await self._settle()
        if self._elsewhere:
            await asyncio.sleep(POLL_SECONDS)

    async def _work(self) -> None:
        while True:
            cell = await self._queue.get()
            try:
                await self._do(cell)
            finally:
                self._queue.task_done()

    async def _do(self, cell: Cell) -> None:
        """Ask a cell that is not kept, score it, and give it to the saver."""
        if not cell.is_kept:
            if self.progress.gave_up:
                return
            failure = await self._ask(cell)
            if not self._failures.take(cell, failure):
                return
        scores = self._quick(cell)
        if cell.flag != "error" and not self.progress.gave_up:
            scores |= await self._scorer.slow(cell, self._answer(cell))
        cell.scores = scores
        self._saver.add(cell)

    async def _ask(self, cell: Cell) -> PromptkitError | None:
        """Ask a cell and return the failure that it met. Raises StoreFailed and BudgetSpent."""
        run = self.variants[cell.place]
        failure: PromptkitError | None
        cell.asked = round(time.time(), 3)
        with collecting_reads() as reads:
            try:
                with catching_unexpected():
                    if self._player is not None:
                        failure = await self._player.play(cell, run, run.sample(cell.repeat))
                    else:
                        failure = await self._ask_once(cell, run)
            except UnexpectedError as error:
                cell.fail(error.message, error.defect)
                failure = error
        cell.reads, cell.is_timed = reads.record(self.suite.project.root), not cell.cached
        try:
            # What cannot be kept fails here, and not where a group of cells is saved.
            with catching_unexpected():
                cell.encode()
        except UnexpectedError as error:
            cell.fail(error.message, error.defect)
            failure = error
        self.progress.defects.explain(failure)
        return failure

    async def _ask_once(self, cell: Cell, run: VariantRun) -> PromptkitError | None:
        result = await run.runner.run(cell.bound.inputs[cell.place], sample=run.sample(cell.repeat))
        raise_if_it_ends_the_run(result.error)
        return take_result(cell, result, read=run.variant.pipeline.output.names, counted=run.variant.counted)

    def _quick(self, cell: Cell) -> dict[str, Score]:
        return self._scorer.quick(cell, self._answer(cell))

    def _answer(self, cell: Cell) -> AnswerType | None:
        return self.variants[cell.place].answer

    def _saved(self, cells: Sequence[Cell]) -> None:
        """Count cells that are on disk; those that waited for one of them follow."""
        for cell in cells:
            self._count(cell)
            if self._on_cell is not None:
                self._on_cell(cell)
            for other in self._pending.pop(cell.key, ()):
                other.take(cell)
                if self._scorer.has_slow and other.bound.key != cell.bound.key:
                    self._rescore.append(other)
                else:
                    other.kept_scores = self._scorer.of_slow(cell.scores)
                    other.scores = {**self._quick(other), **other.kept_scores}
                    self._saver.add(other)
        if self._on_saved is not None:
            self._on_saved()

    def _count(self, cell: Cell) -> None:
        progress = self.progress
        self.variants[cell.place].tally.put(cell.bound.index, cell, known=cell.is_kept)
        progress.done += 1
        progress.known += cell.is_kept
        if cell.flag == "error":
            progress.missing += 1
            progress.failure = progress.failure or cell.problem
        unscored = [score for score in cell.scores.values() if score.is_missing]
        progress.failure = progress.failure or next((score.why for score in unscored), "")
        progress.defects.cells.update(defects_of(cell.defect, unscored))
        for score in unscored:
            progress.defects.explain(score.error)

    async def _keep_claims(self) -> None:
        while True:
            await asyncio.sleep(REFRESH_SECONDS)
            await asyncio.to_thread(self._store.cells.refresh)
