"""Two processes on one suite, of which one is killed: the other takes over what it began, and asks nothing twice."""

from __future__ import annotations

import asyncio
import signal
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path

import pytest

from promptkit.evaluation.cells.progress import EvalOptions
from promptkit.runtimes.scripted import Scripted
from promptkit.storage.store import Store
from tests.engine.helpers import Folder
from tests.evaluation.suites import Bench, echo, moods, number_of

ROWS = 40
ANSWERED = 10

# An eval that answers some rows, tells once they are saved, and then waits for ever.
OTHER = f"""
    import asyncio, sys
    from pathlib import Path
    from promptkit.evaluation.cells.progress import EvalOptions
    from promptkit.evaluation.cells.saver import ReplyCache
    from promptkit.evaluation.evaluate import Evaluation
    from promptkit.evaluation.suite.reader import load_suite
    from promptkit.project import Project
    from promptkit.runtimes.scripted import Scripted
    from promptkit.storage.store import Store
    from tests.evaluation.suites import Given, echo

    async def main(root):
        answered = []

        async def some(request):
            if len(answered) == {ANSWERED}:
                await asyncio.sleep(3600)
            answered.append(request)
            return echo(request)

        def told():
            if evaluation.execution.progress.done == {ANSWERED}:
                print("saved", flush=True)

        suite = load_suite(root / "evals/test.yaml", Project.find(root))
        with Store.open(root / ".promptkit") as store, ReplyCache(store) as replies:
            evaluation = Evaluation(
                suite,
                models=Given(Scripted(some), replies, concurrency=2),
                store=store,
                options=EvalOptions(in_flight=2),
                on_saved=told,
            )
            await evaluation.run()

    asyncio.run(main(Path(sys.argv[1])))
"""


@pytest.fixture
def bench(folder: Folder) -> Bench:
    return Bench(folder, moods(ROWS))


@pytest.fixture
def other(bench: Bench) -> Iterator[subprocess.Popen[str]]:
    """Start the other process and return once what it answered is saved."""
    bench.suite()
    process = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(OTHER), str(bench.folder.root)],
        cwd=Path(__file__).parents[3],
        stdout=subprocess.PIPE,
        text=True,
    )
    with process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "saved\n"
            yield process
        finally:
            process.kill()


def kill(process: subprocess.Popen[str]) -> None:
    process.send_signal(signal.SIGKILL)
    process.wait()


@pytest.mark.attack("kill")
async def test_what_a_killed_process_had_claimed_is_asked_by_the_one_that_waits_for_it(
    bench: Bench, other: subprocess.Popen[str]
) -> None:
    runtime = Scripted(echo)
    running = asyncio.create_task(bench.run(script=runtime))
    await asyncio.sleep(0.5)
    assert runtime.requests == []

    kill(other)
    async with asyncio.timeout(30):
        ran = await running

    asked = [number_of(request) for request in runtime.requests]
    assert len(asked) == len(set(asked)) == ROWS - ANSWERED
    assert ran.record["status"] == "done"
    assert (ran.record["known"], ran.metric()["n"], ran.metric()["mean"]) == (ANSWERED, ROWS, 0.5)


@pytest.mark.attack("kill")
async def test_the_same_command_after_a_kill_asks_only_for_the_rest(bench: Bench, other: subprocess.Popen[str]) -> None:
    kill(other)

    ran = await bench.run(cached=False)
    again = await bench.run(cached=False)

    assert len(ran.runtime.requests) == ROWS - ANSWERED
    assert again.runtime.requests == []
    assert ran.metric() == again.metric()
    with Store.open(bench.store_folder) as store:
        statuses = [run.status for run in store.runs()]
    assert statuses == ["done", "done", "interrupted"]


@pytest.mark.attack("process")
async def test_a_fresh_run_waits_for_nobody(bench: Bench, other: subprocess.Popen[str]) -> None:
    async with asyncio.timeout(30):
        ran = await bench.run(options=EvalOptions(fresh=True), cached=False)

    assert other.poll() is None
    assert len(ran.runtime.requests) == ROWS
    assert ran.record["status"] == "done"
