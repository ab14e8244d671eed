"""What reading one file may take: CPU time and memory."""

from __future__ import annotations

import resource
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

CPU_SECONDS = 5.0
MEMORY_BYTES = 500_000_000


class Limit(BaseException):
    """More than that was taken. Not an Exception: nothing that is tried may take it for one of its own."""


@contextmanager
def limited() -> Iterator[None]:
    """Raise Limit where what runs inside takes too much CPU time, or makes the process's peak grow too far."""

    def too_long(*_: Any) -> None:
        raise Limit(f"more than {CPU_SECONDS:g} s of CPU")

    before, peak = signal.signal(signal.SIGPROF, too_long), _peak()
    signal.setitimer(signal.ITIMER_PROF, CPU_SECONDS)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, before)
    if _peak() - peak > MEMORY_BYTES:
        raise Limit(f"more than {MEMORY_BYTES // 1_000_000} MB of memory")


def _peak() -> int:
    kilobytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return kilobytes if sys.platform == "darwin" else kilobytes * 1024
