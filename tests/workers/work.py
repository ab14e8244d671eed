"""Functions that tests call in worker processes."""

from __future__ import annotations

import os
import re
import sys
import time
from pathlib import Path
from typing import Any


def process() -> int:
    return os.getpid()


def echo(value: Any) -> Any:
    return value


def rest(seconds: float) -> int:
    time.sleep(seconds)
    return os.getpid()


def refuse(message: str) -> None:
    raise ValueError(message)


def fail() -> None:
    raise KeyError("a\nkey")


def die() -> None:
    os._exit(0)


def allocate(size: int) -> int:
    return len(bytearray(size))


def chatter() -> str:
    print('{"value": "forged"}', flush=True)
    os.write(2, b"noise")
    sys.stdout.flush()
    return "said"


def search_for_ever(begun: str) -> None:
    """Tell the process in a file, and hold the interpreter's lock for years."""
    Path(begun).write_text(str(os.getpid()))
    re.search("(a+)+$", "a" * 60 + "b")
