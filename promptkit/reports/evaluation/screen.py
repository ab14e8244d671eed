"""Live progress of an evaluation: a table in a terminal, elsewhere a line now and then."""

from __future__ import annotations

import asyncio
import time
from collections import Counter, deque
from collections.abc import Iterator
from contextlib import contextmanager

from rich.text import Text

from promptkit.evaluation.evaluate import Evaluation, live_cost, live_estimates
from promptkit.evaluation.record import MetricRecord, VariantRecord
from promptkit.reports.evaluation.report import print_evaluation
from promptkit.reports.evaluation.variants import cost_text, metric_lines
from promptkit.reports.output import note
from promptkit.reports.progress import Progress
from promptkit.reports.text import calls_text, hint_in_brackets, one_line, seconds_text, tokens_text, warning_texts
from promptkit.techniques.warnings import in_table_order, merged_sources

TICK = 0.25
PLAIN_SECONDS = 30.0
"""Seconds between two lines where there is no terminal."""

LOOK_SECONDS = 1.0
LOOK_SHARE = 0.02
"""The share of the time that live estimates may take: with many cells they are computed less often."""

RATE_SECONDS = 20.0
"""Seconds over which the rate is measured that the remaining time is estimated from."""

BAR = 24


class EvaluationScreen:
    """Shows the progress of an evaluation. `showing` wraps its run; made and used where the event loop runs."""

    def __init__(self, evaluation: Evaluation, progress: Progress) -> None:
        self._evaluation = evaluation
        self._progress = progress
        self._means: dict[str, dict[str, MetricRecord]] = {}
        self._pace = Pace()
        self._failed = self._gave_up = False

    @contextmanager
    def showing(self) -> Iterator[None]:
        """Keep the table on the screen until the block ends, and report failures as they come."""
        live, progress = self._progress.redraws, self._evaluation.execution.progress
        if not live:
            note(self._begun())
        tasks = [asyncio.ensure_future(self._watch(live))]
        tasks += [asyncio.ensure_future(self._look())] if live else []
        try:
            with self._progress.showing(lines=self._lines):
                yield
        finally:
            for task in tasks:
                task.cancel()
            self._progress.cells_done(progress.done, progress.total)
        self._tell_failures()

    def interrupted(self) -> None:
        """Show the cells that are finished."""
        print_evaluation(self._evaluation.so_far().model_copy(update={"status": "interrupted"}), stderr=True)

    def _begun(self) -> str:
        suite, progress = self._evaluation.suite, self._evaluation.execution.progress
        variants = f", {len(suite.variants)} variants" if len(suite.variants) > 1 else ""
        cells = f"{suite.name}: {progress.total:,} cells ({self._evaluation.counted.rows:,} rows{variants})"
        if suite.serving is None:
            return cells
        return f"{cells}, then serving at {', '.join(map(str, suite.serving.concurrency))} concurrent"

    async def _watch(self, live: bool) -> None:
        noted = time.monotonic()
        while True:
            await asyncio.sleep(TICK)
            progress = self._evaluation.execution.progress
            self._pace.add(progress.done)
            self._progress.cells_done(progress.done, progress.total)
            self._tell_failures()
            if not live and time.monotonic() - noted >= PLAIN_SECONDS:
                noted = time.monotonic()
                note(
                    f"{self._evaluation.suite.name}: {' · '.join([self._done(), *self._pace_parts(), *self._spent()])}"
                )

    async def _look(self) -> None:
        """Update the live estimates, in no more than a share of the time."""

        loaded: set[str] = set()
        await asyncio.sleep(LOOK_SECONDS)
        while True:
            seconds = 0.0
            async for live in live_estimates(self._evaluation):
                self._means.setdefault(live.variant, {})[live.metric] = live.estimate
                if live.metric in loaded:
                    seconds += live.seconds
                elif live.estimate.n:
                    loaded.add(live.metric)  # The first time includes loading, which says nothing of the next.
            await asyncio.sleep(max(LOOK_SECONDS, seconds / LOOK_SHARE))

    def _tell_failures(self) -> None:
        progress = self._evaluation.execution.progress
        if progress.failure and not self._failed:
            self._failed = True
            self._progress.notice(f"the first failure: {hint_in_brackets(progress.failure)}")
        if progress.gave_up and not self._gave_up:
            self._gave_up = True
            self._progress.notice("the model does not answer: no further requests are sent")

    def _lines(self, width: int) -> Iterator[Text]:
        """Yield the screen's lines. Called by the screen's own thread."""
        progress = self._evaluation.execution.progress
        full = BAR * progress.done // max(1, progress.total)
        yield Text.assemble(
            (one_line(self._evaluation.suite.name, 30), "bold"),
            " ",
            ("━" * full, "cyan"),
            ("━" * (BAR - full), "dim"),
            " ",
            " · ".join([self._done(), *self._pace_parts()]),
        )
        yield Text("  " + " · ".join(self._spent()), style="dim")
        means = [
            VariantRecord(name=run.variant.name, metrics=self._means[run.variant.name])
            for run in self._evaluation.execution.variants
            if len(self._means.get(run.variant.name, ())) == len(self._evaluation.suite.measures)
        ]
        if any(metric.n for variant in means for metric in variant.metrics.values()):
            yield from metric_lines(means, width, mark="so far", whole=False)

    def _done(self) -> str:
        progress = self._evaluation.execution.progress
        known = f" ({progress.known:,} cached)" if progress.known else ""
        return f"{progress.done:,} of {progress.total:,}{known}"

    def _pace_parts(self) -> Iterator[str]:
        """Yield the cells finished a second, and the time that the rest takes at that rate."""
        progress = self._evaluation.execution.progress
        left = progress.total - progress.done
        rate = self._pace.rate
        if not left:
            pairs = any(measure.metric.pairs for measure in self._evaluation.suite.measures)
            yield progress.serving or ("scoring" if pairs else "summing up")
        elif not rate:
            yield seconds_text(self._pace.seconds)
        else:
            yield f"{rate:.0f}/s" if rate >= 10 else f"{rate:.1f}/s" if rate >= 1 else f"{60 * rate:.0f}/min"
            yield f"{seconds_text(left / rate)} left"

    def _spent(self) -> Iterator[str]:
        """Yield the cost of the cells, and the number without a readable answer."""

        tallies = [run.tally for run in self._evaluation.execution.variants]
        spent = [tally.spent for tally in tallies]
        yield calls_text(sum(cost.calls for cost in spent), sum(cost.cached for cost in spent))
        yield tokens_text(sum(cost.tokens_in for cost in spent), sum(cost.tokens_out for cost in spent))
        counts = {"unparsed": 0, "cut off": 0, "failed": 0}
        warnings: Counter[str] = Counter()
        warned_by = merged_sources(tally.warned_by for tally in tallies)
        for tally in tallies:
            warnings.update(tally.count_warnings())
            counts["unparsed"] += tally.unparsed
            counts["cut off"] += tally.truncated
            counts["failed"] += tally.missing
        yield from (f"{count:,} {what}" for what, count in counts.items() if count)
        yield from warning_texts(in_table_order(warnings), warned_by)
        if (cost := live_cost(self._evaluation)) is not None:
            yield f"cost {cost_text(cost)}"


class Pace:
    """The recent rate of finished cells."""

    def __init__(self) -> None:
        self._began = time.monotonic()
        self._seen: deque[tuple[float, int]] = deque([(self._began, 0)])

    def add(self, done: int) -> None:
        """Record how many cells are finished now."""
        now = time.monotonic()
        self._seen.append((now, done))
        while len(self._seen) > 2 and now - self._seen[0][0] > RATE_SECONDS:
            self._seen.popleft()

    @property
    def seconds(self) -> float:
        """Seconds since the start."""
        return time.monotonic() - self._began

    @property
    def rate(self) -> float:
        (began, before), (now, done) = self._seen[0], self._seen[-1]
        return (done - before) / (now - began) if now - began >= 2 * TICK else 0.0
