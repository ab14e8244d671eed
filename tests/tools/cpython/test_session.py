"""Programs in CPython's sandbox: the Python that they may use, their state, and the processes that run them."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import Iterator
from typing import Any

import pytest

from promptkit.errors import Unsupported
from promptkit.tools.backends import importable, resolve_backend
from promptkit.tools.cpython import server_client
from promptkit.tools.cpython.modules import _FURTHER, PACKAGES, STANDARD_MODULES
from promptkit.tools.cpython.server_client import ForkServer, jail_fault
from promptkit.tools.python import Execution, open_sandbox, run_python
from promptkit.tools.sandbox import Limits
from tests.tools.processes import children, state_of

pytestmark = pytest.mark.usefixtures("jail")


async def run(program: str, **options: Any) -> Execution:
    return await run_python(program, backend="cpython", **options)


@pytest.mark.parametrize(
    ("program", "value"),
    [
        ("def f():\n    yield from (1, 2)\nlist(f())", [1, 2]),
        ("x = [1, 2]\ndel x[0]\nx", [2]),
        ("class A:\n    n = 1\nclass B(A):\n    pass\nB().n", 1),
        ("from enum import Enum\nclass C(Enum):\n    red = 1\nC.red.name", "red"),
        ("from dataclasses import dataclass\n@dataclass\nclass P:\n    x: int = 1\nP().x", 1),
        ("from __future__ import annotations\ndef f(x: nothing) -> nothing: return x\nf(1)", 1),
        ("from fractions import Fraction\n[Fraction(1, 4), Fraction(6, 2)]", [0.25, 3]),
        ("import statistics\nstatistics.median([3, 1, 2])", 2),
        ("import heapq\nheapq.nsmallest(2, [3, 1, 2])", [1, 2]),
        ("import calendar\ncalendar.monthrange(2024, 2)[1]", 29),
        ("import string, operator, cmath\noperator.add(len(string.digits), cmath.sqrt(-4).imag)", 12.0),
        ("from datetime import datetime\ndatetime.strptime('3 May 2024', '%d %B %Y').date()", "2024-05-03"),
        ("import datetime\nrepr(datetime.datetime(2024, 5, 3))", "datetime.datetime(2024, 5, 3, 0, 0)"),
        ("from decimal import Decimal\nDecimal('0.1') + Decimal('0.2')", 0.3),
        ("range(3)", [0, 1, 2]),
        ("map(str, {1: 2}.values())", ["2"]),
        ("'''text'''", "text"),
    ],
)
async def test_programs_have_all_of_python_that_computes(program: str, value: Any) -> None:
    assert await run(program) == Execution(value=value)


@pytest.mark.parametrize(
    ("package", "program", "value"),
    [
        ("dateutil", "from dateutil.relativedelta import relativedelta\nfrom datetime import date\n"
         "date(2024, 1, 31) + relativedelta(months=1)", "2024-02-29"),
        ("dateutil", "from dateutil import parser\nparser.parse('May 3, 2024')", "2024-05-03T00:00:00"),
        ("numpy", "import numpy as np\n(np.eye(2) * 2, np.float64(0.5), np.int64(3), np.array(['a']))",
         [[[2.0, 0.0], [0.0, 2.0]], 0.5, 3, ["a"]]),
        ("numpy", "import numpy as np\nnp.random.default_rng().random() == np.random.default_rng().random()", False),
        ("sympy", "import sympy\nx, y = sympy.symbols('x y')\nsympy.solve([x + y - 3, x - y - 1])", {"x": 2, "y": 1}),
        ("sympy", "from sympy import *\nx = symbols('x')\n[Rational(1, 4), Integer(3), sqrt(4), diff(x**2), pi, true]",
         [0.25, 3, 2, "2*x", 3.141592653589793, True]),
    ],
)  # fmt: skip
async def test_packages_are_there_where_they_are_installed(package: str, program: str, value: Any) -> None:
    if package not in importable("cpython"):
        pytest.skip(f"{package} is not installed")
    assert await run(program) == Execution(value=value)


@pytest.mark.parametrize(
    ("program", "kind", "message", "line"),
    [
        ("x = 1\ny = (", "syntax", "'(' was never closed", 2),
        ("yield 1", "syntax", "'yield' outside function", 1),
        ("x = 1\x00", "syntax", "null bytes", None),
        ("def f():\n    return g()\n\nf()", "undefined", "NameError: name 'g' is not defined", 2),
        ("def f():\n    x += 1\nf()", "exception", "UnboundLocalError", 2),
        ("assert 1 == 2, 'no'", "exception", "AssertionError: no", 1),
        ("raise KeyboardInterrupt", "exception", "KeyboardInterrupt", 1),
        ("class E(Exception):\n    def __str__(self): raise E\nraise E", "exception", "cannot be shown", 3),
        ("exec('x = (')", "exception", "SyntaxError", 1),
        ("import socket", "unsupported", "No module named 'socket' in the sandbox", 1),
        ("import json.nothing", "unsupported", "No module named 'json.nothing'", 1),
        ("lambda: 1", "unsupported", "of the type function", None),
        ("open('notes.txt')", "forbidden", "PermissionError", 1),
        ("import datetime\ndatetime.datetime.now()", "forbidden", "programs have no clock", 2),
        ("import datetime\ndatetime.date.today()", "forbidden", "programs have no clock", 2),
        ("import time\ntime.perf_counter()", "forbidden", "programs have no clock", 2),
        ("import time\ntime.localtime()", "forbidden", "programs have no clock", 2),
        ("import time\ntime.strftime('%Y')", "forbidden", "programs have no clock", 2),
        ("import time\ntime.clock_gettime(0)", "forbidden", "programs have no clock", 2),
        ("list(range(300_000))", "output", "too large", None),
    ],
)
async def test_a_failure_says_its_kind_its_reason_and_its_line(
    program: str, kind: str, message: str, line: int | None
) -> None:
    failure = (await run(program)).failure
    assert failure is not None and message in failure.message
    assert (failure.kind, failure.line) == (kind, line)


async def test_each_listed_module_can_be_imported() -> None:
    program = "".join(f"import {name}\n" for name in (*STANDARD_MODULES, *_FURTHER))
    assert (await run(program)).failure is None


def test_the_list_of_modules_has_the_packages_that_are_there(monkeypatch: pytest.MonkeyPatch) -> None:
    assert set(STANDARD_MODULES) <= set(importable("cpython")) <= {*STANDARD_MODULES, *PACKAGES}
    monkeypatch.setattr(server_client, "package_folders", list)
    assert importable("cpython") == tuple(sorted(STANDARD_MODULES))
    assert "fractions" not in importable("monty")


async def test_a_module_that_is_imported_late_starts_the_program_again() -> None:
    """What it printed and asked before counts once."""
    calls: list[int] = []
    program = "print('once')\ncount(1)\n__import__('graphlib').TopologicalSorter({1: {2}}).static_order()"
    execution = await run(program, functions={"count": calls.append})
    assert execution == Execution(value=[2, 1], output="once\n")
    assert calls == [1]


async def test_sets_have_one_order() -> None:
    program = "[*{'a', 'b', 'c', 'd'}]"
    assert await run(program) == await run(program)


async def test_a_session_is_made_again_with_the_answers_that_functions_gave() -> None:
    answers = iter(range(100))
    async with open_sandbox(functions={"ask": lambda: next(answers)}, backend="cpython") as sandbox:
        await sandbox.run("import random\nasked = [ask(), ask(), random.random()]")
        before = (await sandbox.run("asked")).value
        assert (await sandbox.run("asked.append(ask())\n1 / 0")).failure
        assert (await sandbox.run("asked")).value == before
        assert (await sandbox.run("ask()")).value == 3


async def test_a_call_too_many_ends_a_program() -> None:
    failure = (await run("for i in range(4): f()", functions={"f": lambda: 1}, limits=Limits(calls=3))).failure
    assert failure is not None and failure.message == "the program called out more than 3 times"
    assert (await run("for i in range(3): f()", functions={"f": lambda: 1}, limits=Limits(calls=3))).failure is None


async def test_arguments_and_results_cross_as_json() -> None:
    async def run_with(program: str, result: Any = None) -> Execution:
        return await run(program, functions={"f": lambda *given, **named: [given, named, result]})

    assert (await run_with("f((1, {2}), a=None)")).value == [[[1, [2]]], {"a": None}, None]
    failure = (await run_with("f(lambda: 1)")).failure
    assert failure is not None and failure.message.startswith("TypeError: an argument of `f`")
    failure = (await run_with("f()", object())).failure
    assert failure is not None and "not JSON serializable" in failure.message


async def test_no_process_is_left() -> None:
    """Not of programs that end, fail or take too long, nor of those that are cancelled at any moment."""
    await run("1")
    (server,) = server_client._servers
    await asyncio.gather(*(run(program, limits=Limits(seconds=0.2)) for program in ["1", "1 / 0", "while True: pass"]))
    for moment in range(10):
        task = asyncio.create_task(run("while True: pass"))
        await asyncio.sleep(moment / 1_000)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
    async with asyncio.timeout(5):
        while [*children(server._popen.pid)]:
            await asyncio.sleep(0.01)


async def test_a_server_that_died_is_started_again() -> None:
    await run("1")
    (server,) = server_client._servers
    os.kill(server._popen.pid, signal.SIGKILL)
    server._popen.wait()
    assert await run("2") == Execution(value=2)


@pytest.fixture
def server() -> Iterator[ForkServer]:
    server = ForkServer()
    yield server
    server.close()


def test_processes_end_with_promptkit(server: ForkServer) -> None:
    process = server.fork((), Limits().memory)
    assert process.receive(10) == {"ready": True}
    server._control.close()  # as its end does
    server._popen.wait(timeout=10)
    deadline = time.monotonic() + 5
    while state_of(process._number) not in ("", "Z") and time.monotonic() < deadline:
        time.sleep(0.01)
    assert state_of(process._number) in ("", "Z")
    process.close()


REFUSALS = {
    "jail.Jail._prctl = lambda *given: None": "the filter has no effect",
    "jail._SECCOMP_MODE_FILTER = 99": "the kernel refuses prctl(22): Invalid argument",
    "import resource; resource.setrlimit = None": "ended its process",
    "sys.exit()": "the server of programs has ended",
}


@pytest.mark.parametrize(("change", "why"), REFUSALS.items(), ids=["no_effect", "refused", "broken", "no_server"])
async def test_nothing_runs_where_there_is_no_jail(change: str, why: str, monkeypatch: pytest.MonkeyPatch) -> None:
    before, after = server_client._PROGRAM.split("from promptkit.tools.cpython.fork_server")
    changed = (
        f"{before}from promptkit.tools.cpython import jail; {change}; from promptkit.tools.cpython.fork_server{after}"
    )
    monkeypatch.setattr(server_client, "_PROGRAM", changed)
    monkeypatch.setattr(server_client, "_servers", [])
    jail_fault.cache_clear()
    try:
        assert why in (jail_fault() or "")
        with pytest.raises(Unsupported, match="CPython cannot run programs here") as caught:
            await run("open('/etc/passwd').read()")
        assert why in caught.value.message and "monty" in (caught.value.hint or "")
        assert resolve_backend("auto") == "monty"
        assert await run_python("1 + 1", backend="auto") == Execution(value=2)
    finally:
        server_client._close()
        jail_fault.cache_clear()
