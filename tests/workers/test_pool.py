"""Worker processes: they serve one call after the other, and each is killed when its time or memory is spent."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from promptkit.workers.process import MOST_PROCESSES, WorkFailed, run_in_worker, run_in_worker_blocking
from tests.tools.processes import children, state_of
from tests.workers import work

LINUX = pytest.mark.skipif(sys.platform != "linux", reason="processes are read as Linux tells them")


def ends(process: int, seconds: float = 10) -> bool:
    """Tell whether a process is gone in time."""
    until = time.monotonic() + seconds
    while state_of(process) not in ("", "Z") and time.monotonic() < until:
        time.sleep(0.02)
    return state_of(process) in ("", "Z")


async def begun(file: Path) -> int:
    """Return the process that `search_for_ever` told in a file, once it has."""
    async with asyncio.timeout(20):
        while not file.exists() or not file.read_text():
            await asyncio.sleep(0.01)
    return int(file.read_text())


@pytest.mark.parametrize("value", [None, 1, 10**400, "\ud800\n\0é", [1, [2.5, {"a": None}]], "x" * 1_000_000])
async def test_what_a_function_returns_comes_back_as_json(value: Any) -> None:
    assert await run_in_worker(work.echo, value, seconds=10) == value


async def test_a_process_serves_one_call_after_the_other() -> None:
    first = await run_in_worker(work.process, seconds=10)
    assert first != os.getpid()
    assert await run_in_worker(work.process, seconds=10) == first
    assert await asyncio.to_thread(run_in_worker_blocking, work.process, seconds=10) == first


async def test_there_are_no_more_processes_than_can_compute_at_once() -> None:
    calls = [run_in_worker(work.rest, 0.05, seconds=10) for _ in range(4 * MOST_PROCESSES)]
    assert len(set(await asyncio.gather(*calls))) <= MOST_PROCESSES


async def test_the_clock_does_not_count_the_wait_for_a_process() -> None:
    calls = [run_in_worker(work.rest, 0.3, seconds=1.0) for _ in range(5 * MOST_PROCESSES)]
    assert len(await asyncio.gather(*calls)) == 5 * MOST_PROCESSES


async def test_the_clock_does_not_count_imports() -> None:
    from tests.workers import slow

    assert await run_in_worker(slow.answer, seconds=0.5) == 42


async def test_a_value_error_is_raised_here_and_leaves_the_process_as_it_is() -> None:
    process = await run_in_worker(work.process, seconds=10)
    with pytest.raises(ValueError, match=r"^no such thing$"):
        await run_in_worker(work.refuse, "no such thing", seconds=10)
    assert await run_in_worker(work.process, seconds=10) == process


@pytest.mark.attack("process")
@pytest.mark.parametrize(
    ("function", "arguments", "why", "message"),
    [
        (work.rest, (60,), "time", "took longer than 0.3 seconds"),
        (work.search_for_ever, (os.devnull,), "time", "took longer than 0.3 seconds"),
        (work.die, (), "crash", "ended the process"),
        (work.fail, (), "error", "failed with KeyError: 'a\\\\nkey'"),
        pytest.param(work.allocate, (2**31,), "memory", "needed too much memory", marks=LINUX),
    ],
)
async def test_what_costs_too_much_or_breaks_is_told_and_the_next_call_is_served(
    function: Any, arguments: tuple[Any, ...], why: str, message: str
) -> None:
    with pytest.raises(WorkFailed, match=message) as failed:
        await run_in_worker(function, *arguments, seconds=0.3)
    assert failed.value.why == why
    assert await run_in_worker(work.echo, "next", seconds=10) == "next"


@LINUX
@pytest.mark.attack("process")
async def test_a_process_is_killed_at_the_deadline_though_it_holds_the_interpreter(tmp_path: Path) -> None:
    file = tmp_path / "begun"
    with pytest.raises(WorkFailed):
        await run_in_worker(work.search_for_ever, str(file), seconds=0.3)
    assert ends(await begun(file))


@LINUX
@pytest.mark.attack("process")
async def test_cancelling_a_call_kills_its_process(tmp_path: Path) -> None:
    file = tmp_path / "begun"
    call = asyncio.create_task(run_in_worker(work.search_for_ever, str(file), seconds=600))
    process = await begun(file)
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    assert ends(process)
    assert await run_in_worker(work.echo, "next", seconds=10) == "next"


async def test_a_cancelled_call_that_waits_is_never_made(tmp_path: Path) -> None:
    busy = [asyncio.create_task(run_in_worker(work.rest, 0.3, seconds=10)) for _ in range(MOST_PROCESSES)]
    await asyncio.sleep(0)
    waiting = asyncio.create_task(run_in_worker(work.search_for_ever, str(tmp_path / "begun"), seconds=600))
    await asyncio.sleep(0.05)
    waiting.cancel()
    await asyncio.gather(*busy)
    assert await run_in_worker(work.echo, "next", seconds=10) == "next"
    assert not (tmp_path / "begun").exists()


@pytest.mark.attack("process")
async def test_what_work_prints_is_neither_an_answer_nor_shown(capfd: pytest.CaptureFixture[str]) -> None:
    assert await run_in_worker(work.chatter, seconds=10) == "said"
    assert await run_in_worker(work.echo, "next", seconds=10) == "next"
    assert capfd.readouterr() == ("", "")


@LINUX
async def test_a_process_that_died_idle_is_replaced() -> None:
    process = await run_in_worker(work.process, seconds=10)
    os.kill(process, signal.SIGKILL)
    assert ends(process)
    time.sleep(0.2)  # until its other threads have ended too, the system does not tell the parent
    assert await run_in_worker(work.process, seconds=10) != process


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such signal to send")
async def test_ctrl_c_in_the_terminal_is_for_the_parent_alone() -> None:
    process = await run_in_worker(work.process, seconds=10)
    os.kill(process, signal.SIGINT)
    assert await run_in_worker(work.process, seconds=10) == process


def run_program(program: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-X", "dev", "-W", "error", "-c", program, *arguments]
    root = Path(__file__).parents[2]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, cwd=root)


@LINUX
def test_a_parent_ends_quietly_and_its_processes_with_it() -> None:
    program = (
        "from promptkit.workers.process import run_in_worker_blocking\nfrom tests.workers import work\n"
        "print(run_in_worker_blocking(work.process, seconds=10))"
    )
    ended = run_program(program)
    assert (ended.stderr, ended.returncode) == ("", 0)
    assert ends(int(ended.stdout))


@LINUX
@pytest.mark.attack("process")
def test_a_busy_process_ends_after_its_parent_was_killed(tmp_path: Path) -> None:
    program = (
        "import os, signal, sys, threading, time\nfrom promptkit.workers.process import run_in_worker_blocking\n"
        "from tests.workers import work\n"
        "call = lambda: run_in_worker_blocking(work.search_for_ever, sys.argv[1], seconds=1)\n"
        "threading.Thread(target=call, daemon=True).start()\n"
        "while not os.path.exists(sys.argv[1]): time.sleep(0.01)\n"
        "os.kill(os.getpid(), signal.SIGKILL)"
    )
    file = tmp_path / "begun"
    assert run_program(program, str(file)).returncode == -signal.SIGKILL
    assert ends(asyncio.run(begun(file)))


@LINUX
async def test_no_process_is_left_that_nobody_waits_for() -> None:
    for _ in range(3):
        with pytest.raises(WorkFailed):
            await run_in_worker(work.die, seconds=10)
    assert not [process for process, _ in children(os.getpid()) if state_of(process) == "Z"]


async def test_where_no_process_can_be_started_the_call_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("promptkit.workers.process._idle", [])
    monkeypatch.setattr(sys, "executable", "/nowhere/python")
    with pytest.raises(WorkFailed, match=r"could not be started in a process of its own: .*/nowhere/python"):
        await run_in_worker(work.process, seconds=10)


async def test_many_calls_from_many_threads_are_all_served() -> None:
    calls = [asyncio.to_thread(run_in_worker_blocking, work.echo, at, seconds=10) for at in range(200)]
    assert await asyncio.gather(*calls) == list(range(200))
