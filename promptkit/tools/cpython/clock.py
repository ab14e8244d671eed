"""A clock that programs cannot read, and chance that draws the same for each program, as in Monty.

Libraries may need a clock where its value hardly matters (`dateutil.parser` completes dates by it): for them it stands
at the beginning of 1970.
"""

from __future__ import annotations

import datetime
import random
import sys
import time
from collections.abc import Callable
from typing import Any, Final

_PROGRAM: Final = "__main__"
_COUNTERS: Final = ("time", "monotonic", "perf_counter", "process_time", "thread_time", "clock_gettime")
# Functions that take the present where an argument is left out: the place of that argument.
_DEFAULTS_TO_NOW: Final = {"localtime": 0, "gmtime": 0, "ctime": 0, "asctime": 0, "strftime": 1}


def stop_clock() -> None:
    """Replace what tells the time in this process, before other modules import it.

    `date.today` is C code that asks `time.time`.
    """
    for name in _COUNTERS:
        setattr(time, name, _counter(name, 0.0))
        setattr(time, f"{name}_ns", _counter(f"{name}_ns", 0))
    for name, place in _DEFAULTS_TO_NOW.items():
        setattr(time, name, _defaulting(name, place, getattr(time, name)))
    time.sleep = lambda seconds: None
    datetime.datetime = _without_clock(datetime.datetime)  # type: ignore[misc]


def seed_chance() -> None:
    """Seed the generators of random numbers that are loaded."""
    seed = random.Random.seed

    def seeded(self: random.Random, a: Any = None, version: int = 2) -> None:
        seed(self, 0 if a is None else a, version)

    random.Random.seed = seeded  # type: ignore[method-assign]
    random.seed = random._inst.seed
    random.seed()
    if (numpy_random := sys.modules.get("numpy.random")) is not None:
        numpy_random.seed(0)
        draw = random.Random()
        sys.modules["numpy.random.bit_generator"].randbits = draw.getrandbits  # type: ignore[attr-defined]


def _refuse(name: str) -> None:
    """Raise PermissionError where the program itself has called the function that calls this."""
    if sys._getframe(2).f_globals.get("__name__") == _PROGRAM:
        raise PermissionError(f"`{name}` cannot be used here: programs have no clock")


def _counter(name: str, value: float) -> Callable[..., float]:
    def counter(*_: Any) -> float:
        _refuse(f"time.{name}")
        return value

    return counter


def _defaulting(name: str, place: int, function: Callable[..., Any]) -> Callable[..., Any]:
    fixed = time.gmtime(0) if name in ("asctime", "strftime") else 0.0

    def defaulting(*given: Any) -> Any:
        if len(given) > place and given[place] is not None:
            return function(*given)
        _refuse(f"time.{name}")
        return function(*given[:place], fixed)

    return defaulting


def _without_clock(base: type[datetime.datetime]) -> type[datetime.datetime]:
    def now(cls: Any, tz: Any = None) -> Any:
        _refuse("datetime.now")
        return cls.fromtimestamp(0, tz or datetime.UTC).replace(tzinfo=tz)

    def today(cls: Any) -> Any:
        _refuse("datetime.today")
        return cls(1970, 1, 1)

    members = {"now": now, "today": today, "utcnow": today}
    # By its name, objects are shown as those of the base are: `datetime.datetime(2024, 5, 1, 0, 0)`.
    return type("datetime.datetime", (base,), {name: classmethod(member) for name, member in members.items()})
