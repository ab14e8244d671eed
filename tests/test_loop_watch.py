"""The watch over the event loop sees what blocks it, and nothing else."""

from __future__ import annotations

import asyncio
import gc
import sys
import threading
import time
from pathlib import Path

import pytest

from tests.loop_watch import LONGEST_SECONDS, LoopWatch


def compute(seconds: float) -> None:
    """Use so much CPU in this thread."""
    until = time.thread_time() + seconds
    while time.thread_time() < until:
        pass


def blocking(coroutine: object) -> list[str]:
    watch = LoopWatch()
    with watch.watching():
        asyncio.run(coroutine)  # type: ignore[arg-type]
    return watch.blocking


def test_a_callback_that_computes_too_long_is_named() -> None:
    async def stands_still() -> None:
        await asyncio.sleep(0)
        compute(LONGEST_SECONDS + 0.02)

    [told] = blocking(stands_still())
    assert "s of CPU in" in told and "stands_still" in told


def test_waiting_and_short_callbacks_are_no_blocking() -> None:
    async def waits() -> None:
        time.sleep(LONGEST_SECONDS + 0.02)
        for _ in range(4):
            compute(LONGEST_SECONDS / 3)
            await asyncio.sleep(0)

    assert blocking(waits()) == []


def test_other_threads_and_their_loops_are_not_watched() -> None:
    async def computes() -> None:
        compute(LONGEST_SECONDS + 0.02)

    async def waits() -> None:
        thread = threading.Thread(target=lambda: asyncio.run(computes()))
        thread.start()
        await asyncio.to_thread(thread.join)

    assert blocking(waits()) == []


def test_imports_do_not_count(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    until = f"until = time.thread_time() + {LONGEST_SECONDS + 0.02}\n"
    body = f"import time\n{until}while time.thread_time() < until: pass\n"
    (tmp_path / "slow_to_import.py").write_text(f"import slow_within\n{body}")
    (tmp_path / "slow_within.py").write_text(body)
    monkeypatch.syspath_prepend(tmp_path)

    async def imports() -> None:
        import slow_to_import  # type: ignore[import-not-found]  # noqa: F401

    assert blocking(imports()) == []
    del sys.modules["slow_to_import"], sys.modules["slow_within"]


def test_garbage_does_not_count() -> None:
    async def collects() -> None:
        gc.callbacks.append(computes)
        gc.collect()
        gc.callbacks.remove(computes)

    def computes(phase: str, info: object) -> None:
        if phase == "stop":
            return
        compute(LONGEST_SECONDS + 0.02)

    watch = LoopWatch()
    with watch.watching():
        asyncio.run(collects())
    assert watch.blocking == []


def test_nothing_is_watched_afterwards() -> None:
    before = (asyncio.Handle._run, list(gc.callbacks))
    with LoopWatch().watching():
        pass
    assert (asyncio.Handle._run, list(gc.callbacks)) == before
