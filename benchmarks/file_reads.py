"""The CPU that seeing a project's reads costs: of an `open` anywhere in the process, and of a call of a tool.

    python benchmarks/file_reads.py [--times 5000] [--turns 5]

An audit hook sees each `open` of the process once a project's Python has run. The same opens of a file outside of the
project are measured in turn by a process that has the hook and by one that has not; and calls of a tool that opens one
file of its project with and without a cell that collects what is read. The median of the turns.

Bounds: 5 microseconds more for an open, 100 for a call.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import subprocess
import sys
import tempfile
import time
from contextlib import nullcontext
from pathlib import Path
from statistics import median

from promptkit.errors import ToolFailed
from promptkit.project import Project
from promptkit.project_code.file_reads import collecting_reads, watch_reads
from promptkit.project_code.reference import CodeReference, find_code

BOUND_OPEN, BOUND_CALL = 5.0, 100.0
"""Microseconds."""
TOOL = "import pathlib\nHERE = pathlib.Path(__file__).parent\ndef look():\n    return (HERE / 'a.txt').read_text()\n"


def open_microseconds(times: int, root: Path | None) -> float:
    """Return the CPU of an `open` outside of the project, with the hook where there is a `root`."""
    if root is not None:
        watch_reads(root)
    began = time.process_time()
    for _ in range(times):
        os.close(os.open(os.devnull, os.O_RDONLY))
    return 1e6 * (time.process_time() - began) / times


def open_in_a_process(times: int, root: Path | None) -> float:
    """Return the CPU of an `open`, measured in a process of its own: a hook cannot be taken away."""
    command = [sys.executable, __file__, "--times", str(times), "--opens", str(root) if root is not None else ""]
    return float(subprocess.run(command, capture_output=True, text=True, check=True).stdout)


async def call_microseconds(code: CodeReference, times: int, *, collected: bool) -> float:
    """Return the CPU of a call of a tool."""
    with collecting_reads() if collected else nullcontext():
        began = time.process_time()
        for _ in range(times):
            await code.call({}, ToolFailed)
    return 1e6 * (time.process_time() - began) / times


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--times", type=int, default=5_000)
    parser.add_argument("--turns", type=int, default=5)
    parser.add_argument("--opens", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.opens is not None:
        print(open_microseconds(given.times, Path(given.opens) if given.opens else None))
        return
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        for name, text in {"promptkit.yaml": "model: auto\n", "a.txt": "a", "tool.py": TOOL}.items():
            (root / name).write_text(text, encoding="utf-8")
        code = find_code("tool.py:look", root, Project.find(root), what="tool")
        opens = [[open_in_a_process(given.times, place) for place in (None, root)] for _ in range(given.turns)]
        calls = [
            [asyncio.run(call_microseconds(code, given.times, collected=collected)) for collected in (False, True)]
            for _ in range(given.turns)
        ]
    more = []
    for what, pairs in (("open", opens), ("call of a tool", calls)):
        plain, seen = (median(column) for column in zip(*pairs, strict=True))
        more.append(seen - plain)
        print(f"{what}: {plain:.1f} microseconds, {seen:.1f} where it is seen")
    sys.exit(int(more[0] > BOUND_OPEN or more[1] > BOUND_CALL))


if __name__ == "__main__":
    main()
