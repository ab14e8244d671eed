"""Live progress of a tuning run: lines that are kept up to date in a terminal, elsewhere a line now and then."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from contextlib import contextmanager
from math import isfinite

from rich.text import Text

from promptkit.reports.evaluation.figures import metric_text
from promptkit.reports.output import note
from promptkit.reports.progress import Progress
from promptkit.reports.text import counted, one_line, seconds_text
from promptkit.tuning.progress import TuningProgress
from promptkit.tuning.tune_record import EstimateRecord, ObjectiveRecord

TICK = 0.25
PLAIN_SECONDS = 30.0
"""Seconds between two lines where there is no terminal."""
BAR = 24
MOST_DROPPED = 4
LEAST_ROWS_SHOWN = 20
"""With fewer rows a leader has no score: of many candidates on a few rows one is nearly always right."""
STAGES = {
    "smoke": "smoke: candidates whose answers parse",
    "screen": "screen: joint configurations on a few rows",
    "examples": "examples: answers that the model itself gets right",
    "race": "race: more rows for those that do well",
    "wording": "wording: proposals of a teacher",
    "merge": "merge: two good proposals in one",
    "eliminate": "eliminate: changes that bring nothing",
    "train head": "train: a head on frozen vectors of the model",
    "train adapter": "train: a low-rank adapter",
    "weights": "weights: trained choices against the prompt",
    "prompt": "prompt: the incumbent without its weights, on the same rows",
    "keep": "keep: start and incumbent on the second suite",
    "confirm": "confirm: start and incumbent on rows the search never saw",
    "ablation": "ablation: each change taken back",
}


class TuningScreen:
    """Shows the progress of a search. `showing` wraps its run; made and used where the event loop runs.

    `metric` is the objective as the record has it.
    """

    def __init__(self, tuning: TuningProgress, progress: Progress, metric: ObjectiveRecord) -> None:
        self._tuning = tuning
        self._progress = progress
        self._metric = metric
        self._dropped = 0
        self._noted = 0
        self._stage: tuple[str, str | None] = ("", None)

    @contextmanager
    def showing(self) -> Iterator[None]:
        """Keep the lines on the screen until the block ends; notices stay above them."""
        task = asyncio.ensure_future(self._watch(live=self._progress.redraws))
        try:
            with self._progress.showing(lines=self._lines):
                yield
        finally:
            task.cancel()
            self._tell()

    async def _watch(self, *, live: bool) -> None:
        noted = time.monotonic()
        while True:
            await asyncio.sleep(TICK)
            self._tell()
            stage = (self._tuning.stage, self._tuning.step)
            if not live and (stage != self._stage or time.monotonic() - noted >= PLAIN_SECONDS):
                noted, self._stage = time.monotonic(), stage
                note(" · ".join(filter(None, [self._at(), self._spent(), self._best()])))

    def _tell(self) -> None:
        """Show the notices since the last time, and without a terminal the candidates dropped since."""
        progress = self._tuning
        notices, self._noted = progress.notes[self._noted :], len(progress.notes)
        for text in notices:
            self._progress.notice(text)
        dropped, self._dropped = progress.dropped[self._dropped :], len(progress.dropped)
        if dropped and not self._progress.redraws:
            for why in dict.fromkeys(why for _, why in dropped):
                names = [one_line(name, 60) for name, text in dropped if text == why]
                more = f" and {len(names) - MOST_DROPPED} more" if len(names) > MOST_DROPPED else ""
                note(f"dropped: {'; '.join(names[:MOST_DROPPED])}{more} ({one_line(why)})")

    def _lines(self, width: int) -> Iterator[Text]:
        """Yield the screen's lines. Called by the screen's own thread."""
        full = int(BAR * min(1.0, self._share()))
        yield Text.assemble(("━" * full, "cyan"), ("━" * (BAR - full), "dim"), " ", self._spent())
        yield Text(self._at(), style="bold")
        if best := self._best():
            yield Text(f"  {best}")
        for name, why in self._tuning.dropped[-MOST_DROPPED:]:
            yield Text(f"  dropped {one_line(name, max(20, width // 2))}: {one_line(why)}", style="dim")

    def _at(self) -> str:
        progress = self._tuning
        if not progress.stage:
            return "the start on a few rows, to know the rate"
        step = f"{progress.step}, " if progress.step else ""
        field = f": {progress.alive} of {progress.entered} candidates alive" if progress.entered > 1 else ""
        return f"{step}{STAGES.get(progress.stage, progress.stage)}{field}"

    def _best(self) -> str:
        best = self._tuning.best
        if best is None or best.mean is None:
            return ""
        name = one_line(best.name, 80)
        if best.rows < LEAST_ROWS_SHOWN:
            return f"leading after {counted(best.rows, 'row')}: {name}"
        metric = self._metric.with_mean(EstimateRecord(mean=best.mean, low=best.low, high=best.high))
        return f"leading with {metric_text(metric)} on {best.rows} search rows: {name}"

    def _share(self) -> float:
        """Return the spent share of the limit that is reached first."""
        progress = self._tuning
        shares = [progress.calls / progress.most_calls, progress.tokens / progress.most_tokens]
        if isfinite(progress.seconds_left):
            shares.append(progress.seconds / max(1e-9, progress.seconds + progress.seconds_left))
        return max(shares)

    def _spent(self) -> str:
        progress = self._tuning
        calls = f"{progress.calls:,}{_limit_text(progress.most_calls)} calls"
        tokens = f"{progress.tokens:,}{_limit_text(progress.most_tokens)} tokens"
        left = f" ({seconds_text(progress.seconds_left)} left)" if isfinite(progress.seconds_left) else ""
        return " · ".join([calls, tokens, f"{seconds_text(progress.seconds)}{left}"])


def _limit_text(most: float) -> str:
    return f" of {most:,.0f}" if isfinite(most) else ""
