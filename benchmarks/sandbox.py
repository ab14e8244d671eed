"""The cost of a program in each backend of the sandbox: wall time, one after the other and several at once.

python benchmarks/sandbox.py [--programs 200] [--in-flight 8]
"""

from __future__ import annotations

import argparse
import asyncio
import time

from promptkit.tools.backends import Backend, jail_fault
from promptkit.tools.python import open_sandbox, run_python

PROGRAMS = {
    "one expression": "2 + 2",
    "a word problem": "def solution():\n    eggs = 16 - 3 - 4\n    return eggs * 2\nsolution()",
    "a loop of 100,000": "total = 0\nfor n in range(100_000):\n    total += n * n\ntotal",
}
PACKAGES = {
    "fractions": "from fractions import Fraction\nFraction(1, 3) + Fraction(1, 6)",
    "numpy": "import numpy as np\nnp.linalg.inv(np.eye(3) * 2)",
    "sympy": "import sympy\nx = sympy.symbols('x')\nsympy.solve(x**2 - 3 * x + 2)",
}


async def in_turn(program: str, backend: Backend, programs: int, in_flight: int) -> float:
    """Return the seconds a program takes, so many at once."""
    await run_python(program, backend=backend)
    waiting = iter(range(programs))

    async def work() -> None:
        for _ in waiting:
            execution = await run_python(program, backend=backend)
            assert execution.failure is None, execution.failure

    began = time.perf_counter()
    await asyncio.gather(*(work() for _ in range(in_flight)))
    return (time.perf_counter() - began) / programs


async def in_session(backend: Backend, programs: int) -> float:
    """Return the seconds that a line takes in one session."""
    async with open_sandbox(backend=backend) as sandbox:
        await sandbox.run("n = 0")
        began = time.perf_counter()
        for _ in range(programs):
            await sandbox.run("n += 1")
        return (time.perf_counter() - began) / programs


async def first(program: str, backend: Backend) -> float:
    """Return the seconds of the first program, with what it starts and imports."""
    began = time.perf_counter()
    await run_python(program, backend=backend)
    return time.perf_counter() - began


def ratio_text(name: str, monty: float, cpython: float) -> str:
    """Return the cost in both backends as text."""
    return f"{name:20} monty {monty * 1e3:7.2f} ms   cpython {cpython * 1e3:7.2f} ms ({cpython / monty:4.1f} ×)"


async def costs(programs: int, in_flight: int) -> None:
    """Print the costs."""
    backends: tuple[Backend, ...] = ("monty", "cpython")
    print(ratio_text("the first program", *[await first("1", backend) for backend in backends]))
    for name, program in PROGRAMS.items():
        for together in (1, in_flight):
            monty = await in_turn(program, "monty", programs, together)
            cpython = await in_turn(program, "cpython", programs, together)
            print(f"{ratio_text(name, monty, cpython)}   {together} at once")
    print(ratio_text("a line of a session", *[await in_session(backend, programs) for backend in backends]))
    for name, program in PACKAGES.items():
        begun, again = await first(program, "cpython"), await in_turn(program, "cpython", programs // 4, 1)
        print(f"{name:20} cpython {again * 1e3:7.2f} ms, the first {begun * 1e3:.0f} ms")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--programs", type=int, default=200)
    parser.add_argument("--in-flight", type=int, default=8)
    options = parser.parse_args()
    if why := jail_fault():
        raise SystemExit(f"CPython cannot be jailed here: {why}")
    asyncio.run(costs(options.programs, options.in_flight))


if __name__ == "__main__":
    main()
