"""Real processes: killed at any moment, and several at once on one store."""

from __future__ import annotations

import random
import signal
import sqlite3
import subprocess
import sys
import textwrap
from contextlib import closing
from pathlib import Path

import pytest

from promptkit.storage.store import Store

SEED = 7
KILLS = 12
WRITERS = 6


def child(folder: Path, code: str, *arguments: str) -> subprocess.Popen[str]:
    """Start a process that runs `code` with an open `store`, inside a coroutine."""
    program = (
        "import asyncio, sys\nfrom pathlib import Path\nfrom promptkit.storage import key_index\n"
        "from promptkit.storage.store import Store\n"
        "key_index.LEAST_ROWS = 10\n"  # else so few rows would never be put into an index
        "async def main(store):\n"
        + textwrap.indent(textwrap.dedent(code), "    ")
        + "\nwith Store.open(Path(sys.argv[1])) as store:\n    asyncio.run(main(store))\n"
    )
    return subprocess.Popen([sys.executable, "-c", program, str(folder), *arguments], stdout=subprocess.PIPE, text=True)


def whole(folder: Path) -> bool:
    with closing(sqlite3.connect(folder / "store.db")) as connection:
        return bool(connection.execute("pragma integrity_check").fetchone() == ("ok",))


@pytest.mark.attack("kill")
def test_what_was_acknowledged_survives_a_kill_at_any_moment(tmp_path: Path) -> None:
    chance = random.Random(SEED)
    code = """
        run = store.begin_run("run", "t", model={})
        async def one(number):
            await store.keep(f"{run}.{number}", "x" * 500)
            await store.save_calls(run, [{"number": number}])
            print(run, number, flush=True)
        number = 0
        while True:
            await asyncio.gather(*(one(number + offset) for offset in range(5)))
            number += 5
        """
    acknowledged: dict[int, set[int]] = {}
    for _ in range(KILLS):
        process = child(tmp_path, code)
        assert process.stdout is not None
        with process:
            for _ in range(chance.randrange(1, 60)):
                run, number = process.stdout.readline().split()
                acknowledged.setdefault(int(run), set()).add(int(number))
            process.send_signal(signal.SIGKILL)
            for line in process.stdout:
                if line.endswith("\n"):
                    run, number = line.split()
                    acknowledged.setdefault(int(run), set()).add(int(number))
        assert whole(tmp_path)
    assert len(acknowledged) == KILLS
    with Store.open(tmp_path) as store:
        for run_number, numbers in acknowledged.items():
            saved = [call["number"] for call in store.calls(run_number)]
            assert numbers <= set(saved), f"seed {SEED}"
            assert len(saved) == len(set(saved)), f"seed {SEED}"
            assert all(store.cached(f"{run_number}.{number}") for number in numbers), f"seed {SEED}"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["store.db"]


@pytest.mark.attack("process")
def test_six_writers_on_a_new_store_lose_nothing(tmp_path: Path) -> None:
    code = """
        run = store.begin_run("run", sys.argv[2], model={})
        for number in range(30):
            await asyncio.gather(
                store.keep(f"{sys.argv[2]}.{number}", "x"), store.keep("shared", sys.argv[2]),
                store.save_calls(run, [{"number": number}]),
            )
            store.remember("t", sys.argv[2], {"number": number})
        store.end_run(run, "done", {})
        """
    processes = [child(tmp_path, code, str(writer)) for writer in range(WRITERS)]
    for process in processes:
        process.communicate(timeout=120)
    assert [process.returncode for process in processes] == [0] * WRITERS
    assert whole(tmp_path)
    with Store.open(tmp_path) as store:
        runs = store.runs(limit=100)
        assert sorted(run.target for run in runs) == [str(writer) for writer in range(WRITERS)]
        assert all(run.status == "done" for run in runs)
        assert all([call["number"] for call in store.calls(run.number)] == list(range(30)) for run in runs)
        for writer in range(WRITERS):
            assert all(store.cached(f"{writer}.{number}") == "x" for number in range(30))
            assert store.remembered("t", str(writer)) == {"number": 29}
        assert store.cached("shared") in {str(writer) for writer in range(WRITERS)}


@pytest.mark.attack("process")
def test_a_reader_does_not_wait_for_a_writer(tmp_path: Path) -> None:
    with Store.open(tmp_path) as store, closing(sqlite3.connect(tmp_path / "store.db")) as other:
        other.execute("begin immediate")
        assert store.cached("a") is None
        assert store.runs() == []
