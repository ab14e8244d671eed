"""Model-written Python: what a program gives, what it may call, and what state goes from one to the next."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from typing import Any

import pytest

from promptkit.errors import PromptkitError
from promptkit.tools.backends import Backend
from promptkit.tools.python import Execution, assigned_names, cut_program, open_sandbox, run_python
from promptkit.tools.sandbox import Failure, Limits
from tests.tools.processes import children, running_threads, state_of


class Refused(PromptkitError):
    """An error of promptkit's own, as a model-backed function raises it."""


def double(number: int) -> int:
    return number * 2


async def ask(text: str) -> str:
    await asyncio.sleep(0)
    return f"asked {text}"


async def test_the_last_expression_is_the_value(backend: Backend) -> None:
    assert await run_python("eggs = 16 - 3 - 4\neggs * 2", backend=backend) == Execution(value=18)


async def test_a_program_that_ends_in_a_statement_has_no_value(backend: Backend) -> None:
    assert await run_python("answer = 3", backend=backend) == Execution()


async def test_what_is_printed_is_kept_beside_the_value(backend: Backend) -> None:
    assert await run_python("print('one')\nprint(2)\n3", backend=backend) == Execution(value=3, output="one\n2\n")


async def test_inputs_are_the_variables_at_the_start(backend: Backend) -> None:
    rows = [{"name": "Ada", "born": 1815}]
    assert (await run_python("rows[0]['born'] + year", inputs={"rows": rows, "year": 1}, backend=backend)).value == 1816


@pytest.mark.parametrize(
    ("program", "value"),
    [
        ("(1, (2, 3))", [1, [2, 3]]),
        ("sorted({2, 1})", [1, 2]),
        ("{3}", [3]),
        ("{1: 'a', None: (2,)}", {"1": "a", "None": [2]}),
        ("from decimal import Decimal\n[Decimal('1.5'), Decimal('2.0')]", [1.5, 2]),
        ("from datetime import date\ndate(2024, 2, 28)", "2024-02-28"),
        ("from collections import Counter\nCounter('aab')", {"a": 2, "b": 1}),
        ("from collections import namedtuple\nnamedtuple('Point', 'x y')(1, 2)", [1, 2]),
        ("True", True),
        ("None", None),
        ("10**30", 10**30),
    ],
)
async def test_values_come_back_as_plain_data(program: str, value: Any, backend: Backend) -> None:
    execution = await run_python(program, backend=backend)
    assert execution.failure is None
    assert execution.value == value
    assert type(execution.value) is type(value)


@pytest.mark.parametrize(
    ("program", "kind", "line"),
    [
        ("x = 1\ny = (", "syntax", 2),
        ("x = 1\n1 / 0", "exception", 2),
        ("def f():\n    return g()\n\nf()", "undefined", 2),
        ("total", "undefined", 1),
        ("raise SystemExit", "exception", 1),
        ("assert 1 == 2", "exception", 1),
        ("import numpy", "unsupported", 1),
        ("globals()", "unsupported", 1),
        ("def f():\n    yield 1", "unsupported", 2),
        ("lambda: 1", "unsupported", None),
        ("float('nan')", "unsupported", None),
        ("{(1, 2): 3}", "unsupported", None),
        ("open('notes.txt')", "forbidden", 1),
        ("import datetime\ndatetime.date.today()", "forbidden", 2),
        ("while True: pass", "time", None),
        ("[0] * 10**9", "memory", 1),
        ("print('x' * 20_000)", "output", None),
    ],
)
async def test_a_failure_has_a_kind_and_a_line(program: str, kind: str, line: int | None) -> None:
    execution = await run_python(program, limits=Limits(seconds=0.3))
    assert execution.failure is not None
    assert (execution.failure.kind, execution.failure.line) == (kind, line)
    assert execution.value is None


async def test_a_message_is_one_short_line(backend: Backend) -> None:
    failure = (await run_python("raise ValueError('many\\n\\nlines ' * 10_000)", backend=backend)).failure
    assert failure and failure.message.startswith("ValueError: many lines many lines")
    assert "\n" not in failure.message and len(failure.message) < 400


async def test_a_program_that_prints_too_much_ends_at_once(backend: Backend) -> None:
    async with asyncio.timeout(20):
        execution = await run_python("while True: print('x' * 1000)", limits=Limits(seconds=600), backend=backend)
    assert execution.failure == Failure("output", "the program printed more than 10,000 characters")
    assert len(execution.output) == 10_000


async def test_output_before_a_failure_is_kept(backend: Backend) -> None:
    execution = await run_python("print('so far')\n1 / 0", backend=backend)
    assert execution.output == "so far\n"


async def test_functions_may_be_sync_or_async(backend: Backend) -> None:
    program = "[double(number) for number in numbers] + [ask('this')]"
    execution = await run_python(
        program, inputs={"numbers": [1, 2]}, functions={"double": double, "ask": ask}, backend=backend
    )
    assert execution.value == [2, 4, "asked this"]


async def test_a_function_is_called_by_the_name_it_is_handed_in_by(backend: Backend) -> None:
    execution = await run_python(
        "twice = times_two\ntwice(4)", functions={"times_two": lambda number: number * 2}, backend=backend
    )
    assert execution.value == 8


async def test_a_function_of_the_program_hides_one_that_is_handed_in(backend: Backend) -> None:
    assert (
        await run_python("def ask(x):\n    return 1\nask('this')", functions={"ask": ask}, backend=backend)
    ).value == 1


async def test_time_in_a_function_is_not_the_programs(backend: Backend) -> None:
    async def think(_: str) -> str:
        await asyncio.sleep(0.3)
        return "thought"

    execution = await run_python(
        "think('a') + think('b')", functions={"think": think}, limits=Limits(seconds=0.2), backend=backend
    )
    assert execution.value == "thoughtthought"


async def test_programs_that_wait_for_functions_hold_up_no_others(backend: Backend) -> None:
    everyone = asyncio.Event()
    arrived = []

    async def meet(number: int) -> int:
        arrived.append(number)
        if len(arrived) == 20:
            everyone.set()
        await everyone.wait()
        return number

    programs = [run_python(f"meet({number})", functions={"meet": meet}, backend=backend) for number in range(20)]
    assert [execution.value for execution in await asyncio.gather(*programs)] == list(range(20))


async def test_a_function_may_run_a_program(backend: Backend) -> None:
    async def inner(depth: int) -> Any:
        if depth == 0:
            return 1
        return (await run_python(f"inner({depth - 1}) + 1", functions={"inner": inner}, backend=backend)).value

    assert await inner(6) == 7


async def test_what_a_function_raises_is_raised_in_the_program(backend: Backend) -> None:
    def fail() -> None:
        raise ValueError("no such thing")

    program = "try:\n    fail()\nexcept ValueError as error:\n    caught = str(error)\ncaught"
    assert (await run_python(program, functions={"fail": fail}, backend=backend)).value == "no such thing"
    failure = (await run_python("fail()", functions={"fail": fail}, backend=backend)).failure
    assert failure == Failure("exception", "ValueError: no such thing", 1)


async def test_stop_iteration_from_a_function_is_an_exception_like_others(backend: Backend) -> None:
    failure = (
        await run_python("following()", functions={"following": lambda: next(iter([]))}, backend=backend)
    ).failure
    assert failure and failure.kind == "exception"


async def test_promptkits_own_errors_come_through_unchanged(backend: Backend) -> None:
    error = Refused("the model failed")

    async def ask_badly() -> None:
        raise error

    with pytest.raises(Refused) as caught:
        await run_python(
            "try:\n    ask_badly()\nexcept BaseException:\n    pass",
            functions={"ask_badly": ask_badly},
            backend=backend,
        )
    assert caught.value is error


async def test_cancellation_from_a_function_comes_through(backend: Backend) -> None:
    async def give_up() -> None:
        raise asyncio.CancelledError

    with pytest.raises(asyncio.CancelledError):
        await run_python("give_up()", functions={"give_up": give_up}, backend=backend)


async def test_cancelling_ends_the_work(backend: Backend) -> None:
    task = asyncio.create_task(run_python("while True: pass", limits=Limits(seconds=600), backend=backend))
    async with asyncio.timeout(5):
        while not _computing():
            await asyncio.sleep(0.01)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    async with asyncio.timeout(5):
        while _computing():
            await asyncio.sleep(0.01)


async def test_inputs_that_are_no_data_are_the_callers_mistake(backend: Backend) -> None:
    with pytest.raises(TypeError, match="inputs must be plain data"):
        await run_python("x", inputs={"x": object()}, backend=backend)


async def test_each_execution_starts_afresh(backend: Backend) -> None:
    await run_python("secret = 7", backend=backend)
    failure = (await run_python("secret", backend=backend)).failure
    assert failure and failure.kind == "undefined"


async def test_the_same_program_draws_the_same_random_numbers(backend: Backend) -> None:
    program = "import random\n[random.randint(1, 10**6) for _ in range(5)]"
    assert (await run_python(program, backend=backend)).value == (await run_python(program, backend=backend)).value


async def test_sleeping_takes_no_time(backend: Backend) -> None:
    async with asyncio.timeout(5):
        assert (await run_python("import time\ntime.sleep(1000)\n'woke'", backend=backend)).value == "woke"


def test_a_process_ends_quietly_and_leaves_no_worker() -> None:
    """Two event loops in one process, a program cut off in each, warnings as errors."""
    program = """
import asyncio, os
from promptkit.tools.python import run_python
from promptkit.tools.sandbox import Limits
from tests.tools.processes import children

async def main():
    asyncio.get_running_loop().slow_callback_duration = 60  # the first callback imports
    values = [run_python(f"{number} + 1") for number in range(8)]
    print([execution.value for execution in await asyncio.gather(*values)])
    spinning = asyncio.create_task(run_python("while True: pass", limits=Limits(seconds=600)))
    await asyncio.sleep(0.2)

asyncio.run(main())
asyncio.run(main())
print([process for process, name in children(os.getpid()) if "monty" in name])
"""
    python = [sys.executable, "-X", "dev", "-W", "error", "-c", program]
    ended = subprocess.run(python, capture_output=True, text=True, timeout=60)
    assert (ended.stderr, ended.returncode) == ("", 0)
    *printed, workers = ended.stdout.splitlines()
    assert printed == [str(list(range(1, 9)))] * 2
    assert not [worker for worker in json.loads(workers) if _alive(worker)]


def test_without_the_interpreter_the_error_says_how_to_get_it() -> None:
    program = "import asyncio\nfrom promptkit.tools.python import run_python\nasyncio.run(run_python('1'))"
    environment = {**os.environ, "MONTY_BIN": "/missing/monty"}
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, env=environment, timeout=60)
    assert "Unsupported: a program cannot be run" in ended.stderr
    assert "pip install --force-reinstall pydantic-monty" in ended.stderr


async def test_a_worker_that_runs_out_of_memory_says_nothing(capfd: pytest.CaptureFixture[str]) -> None:
    failure = (await run_python("[0] * 1_900_000", limits=Limits(memory=32 * 2**20))).failure
    assert failure and failure.kind == "memory"
    assert capfd.readouterr() == ("", "")
    subprocess.run([sys.executable, "-c", "import sys; print('heard', file=sys.stderr)"], check=True)
    assert capfd.readouterr().err == "heard\n"


async def test_a_burst_of_programs_takes_few_workers() -> None:
    before = _workers()
    executions = await asyncio.gather(*(run_python(f"{number} + 1") for number in range(60)))
    assert [execution.value for execution in executions] == list(range(1, 61))
    assert _workers() - before <= 4 * (os.cpu_count() or 1)


async def test_a_session_keeps_variables_functions_and_modules(backend: Backend) -> None:
    async with open_sandbox(functions={"ask": ask}, backend=backend) as opened:
        await opened.run("import math\ndef area(radius):\n    return round(math.pi * radius ** 2)")
        await opened.run("sizes = [area(1)]")
        assert await opened.run("sizes.append(area(2))\nsizes") == Execution(value=[3, 13])
        assert (await opened.run("ask(sizes[0])")).value == "asked 3"


async def test_values_may_be_put_into_a_session(backend: Backend) -> None:
    async with open_sandbox(backend=backend) as opened:
        await opened.run("guesses = []")
        await opened.run("guesses.append(guess)", inputs={"guess": True})
        assert (await opened.run("guesses, guess")).value == [[True], True]


@pytest.mark.parametrize(
    "failing",
    [
        "counts.append(2)\n1 / 0",
        "counts.append(2)\nwhile True: pass",
        "counts.append(2)\n[0] * 10**9",
        "counts.append(2)\nprint('x' * 20_000)",
        "counts = 1 +",
    ],
)
async def test_a_program_that_fails_leaves_a_session_as_it_was(failing: str, backend: Backend) -> None:
    async with open_sandbox(limits=Limits(seconds=0.3), backend=backend) as opened:
        assert (await opened.run(failing)).failure
        await opened.run("counts = [1]\ndef more(): return len(counts) + 1")
        assert (await opened.run(failing)).failure
        assert (await opened.run(failing)).failure
        assert (await opened.run("counts.append(more())\ncounts")).value == [1, 2]


@pytest.mark.parametrize(
    ("reply", "program"),
    [
        ("\n    x = 1\n    x\n", "x = 1\nx"),
        ("Here it is:\n```python\nx = 1\n```\nIt gives 1.", "x = 1"),
        ("1. Do this:\n\n   ```python\n   def f():\n       return 1\n   ```", "def f():\n    return 1"),
        ("", ""),
        ("I cannot do that.", ""),
    ],
)
def test_the_program_is_cut_out_of_a_reply_and_dedented(reply: str, program: str) -> None:
    assert cut_program(reply) == program


def test_assigned_names_are_the_variables_of_the_top_level() -> None:
    program = "a = 1\nb.c = [d for d in a]\nif (e := f()):\n    g, *h = e\ndef i():\n    j = 1\nwith k as l: pass"
    assert assigned_names(program) == ["a", "e", "g", "h", "l"]


def _computing() -> int:
    """How many threads are at work in the processes that this one, or a server of it, has started."""
    started = [process for process, _ in children(os.getpid())]
    forks = [process for server in started for process, _ in children(server)]
    return sum(map(running_threads, [*started, *forks]))


def _alive(process: int) -> bool:
    return state_of(process) not in ("", "Z")


def _workers() -> int:
    return [name for _, name in children(os.getpid())].count("monty")
