"""What a run says while it goes on, reckoned beside it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Any, NamedTuple

from promptkit.evaluation.metrics import Estimate, Metric, Sample
from promptkit.evaluation.summary import cost, estimate_record

if TYPE_CHECKING:
    from promptkit.evaluation.evaluate import Evaluation


class SoFar(NamedTuple):
    """What the cells that are there say of a variant by a metric, and how many seconds of CPU that took to reckon."""

    variant: str
    metric: str
    estimate: dict[str, Any]
    seconds: float


async def estimates_so_far(evaluation: Evaluation) -> AsyncIterator[SoFar]:
    """Yield what each variant's cells say by each metric, one after the other.

    The cells are copied between events and reckoned in a thread: of a million of them a metric takes seconds. The
    intervals do not hold for one who stops when they please.
    """
    for contender in evaluation.execution.contenders:
        for metric in contender.tally.metrics:
            began = time.thread_time()
            sample = contender.tally.sample(metric, evaluation.execution.clusters.array())
            copied = time.thread_time() - began
            estimate, seconds = await asyncio.to_thread(_timed, metric, sample)
            yield SoFar(contender.variant.name, metric.name, estimate_record(metric, estimate), copied + seconds)


def cost_so_far(evaluation: Evaluation) -> float | None:
    """Return what the tokens of all variants cost by `prices` of `promptkit.yaml`; None without any."""
    costs = [cost(each, evaluation.suite) for each in evaluation.execution.contenders]
    known = [each for each in costs if each is not None]
    return sum(known) if known else None


def _timed(metric: Metric, sample: Sample) -> tuple[Estimate, float]:
    began = time.thread_time()
    return metric.estimate(sample), time.thread_time() - began
