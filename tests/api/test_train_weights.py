"""A training in a thread: the event loop stays free, and ctrl-C is passed on to it."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

from promptkit.api.train_weights import _in_thread
from promptkit.reports.training import TrainingScreen
from promptkit.training.fitting.settings import Evaluation, FitProgress


def screen() -> TrainingScreen:
    step: Any = SimpleNamespace(step=SimpleNamespace(name="sort"))
    examples: Any = SimpleNamespace(labelled=step, training=(), validation=(), too_long=())
    return TrainingScreen(None, examples)


async def test_a_cancelled_training_ends_itself_and_its_record_is_returned() -> None:
    loop, begun = asyncio.get_running_loop(), asyncio.Event()

    def work(stop: threading.Event, show: Callable[[FitProgress], None]) -> Any:
        show(FitProgress("training", 1, 8, 0.5, Evaluation(0, 1.0, (True, False))))
        loop.call_soon_threadsafe(begun.set)
        assert stop.wait(10)
        return "the best so far"

    shown = screen()
    training = asyncio.create_task(_in_thread(work, shown, None))
    await begun.wait()
    training.cancel()

    assert await training == "the best so far"  # type: ignore[comparison-overlap]
    assert next(iter(shown._lines(80))).plain == "… sort training 1 of 8 · loss 0.500 · validation 1.000, 50 % right"
